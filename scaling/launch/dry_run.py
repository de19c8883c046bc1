"""Who would get what, and why: the jobs of a launch, the slots of its workers and their devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scaling.base.console import print_table
from scaling.launch.devices import Machine, Slot
from scaling.launch.jobs import Job
from scaling.launch.launch_spec import row
from scaling.study.study import Study

SHOWN = 50  # runs that are printed


@dataclass(frozen=True)
class DryRun:
    """A launch that is not begun.

    Fields:
      slots: one for every worker at a time.
      jobs: in the order in which they start: the first on the first slots, each other one on the
        next slot that is free.
      reasons: why each of their runs is to be done, by its id.
    """

    study: Study
    machine: Machine
    slots: Sequence[Slot]
    jobs: Sequence[Job]
    reasons: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        return {
            "study": self.study.name,
            "placement": self.study.placement.model_dump(),
            "machine": {"kind": self.machine.kind, "devices": list(self.machine.names)},
            "slots": [slot.as_json() for slot in self.slots],
            "jobs": [
                {
                    "trunk": job.trunk,
                    "model": job.segments[0].run.model_name,
                    "runs": [
                        {"id": segment.run.id, "why": self.reasons[segment.run.id]}
                        for segment in job.segments
                    ],
                    "flops": round(job.flops),
                    "slot": number if number < len(self.slots) else None,
                }
                for number, job in enumerate(self.jobs)
            ],
        }

    def show(self) -> None:
        """A table of the slots and one of the jobs."""
        print(f"{self.study.name} on this machine: {self.machine}")
        if self.machine.remark:
            print(self.machine.remark)
        print()
        rows = [
            (
                str(slot.number),
                ",".join(slot.devices),
                ",".join(map(str, slot.cores)),
                " ".join(f"{key}={value}" for key, value in slot.environment.items()),
            )
            for slot in self.slots
        ]
        name = {"cpu": "cores", "gpu": "GPUs", "tpu": "chips"}[self.machine.kind]
        print_table(("slot", name, "on cores", "environment"), rows, left=("environment",))
        print()
        found = self.as_json()["jobs"]
        table = [
            (
                job["trunk"],
                job["model"],
                str(len(job["runs"])),
                f"{job['flops']:.3g}",
                "next that is free" if job["slot"] is None else str(job["slot"]),
            )
            for job in found
        ]
        headings = ("trunk", "model", "runs", "FLOPs", "slot")
        print_table(headings, table, left=("trunk", "model", "slot"))
        runs = [segment.run for job in self.jobs for segment in job.segments]
        if runs:
            print()
            cells = [[*list(row(run).values())[:-1], self.reasons[run.id]] for run in runs[:SHOWN]]
            print_table((*list(row(runs[0]))[:-1], "why"), cells, left=("run", "model", "why"))
        if len(runs) > SHOWN:
            print(f"and {len(runs) - SHOWN:_} more; --json has them all.")
        print("\nNothing was trained or written.")
