"""Who would get what, and why: the jobs of a launch, the slots of its workers and their devices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scaling.base.console import print_table, say
from scaling.launch.devices import Slot
from scaling.launch.jobs import Job
from scaling.launch.launch_spec import VARIANT, Budget, row
from scaling.launch.progress.events import RETRY, by_reason
from scaling.study.study import Study
from scaling.training.run import Run

SHOWN = 50  # runs that are printed
UNITS = {"cpu": "cores", "gpu": "GPUs", "tpu": "chips"}


@dataclass(frozen=True)
class Places:
    """Where a launcher would have runs trained.

    Fields:
      where: in words.
      remark: for the person, where something that is there is not used.
      kind: of device, "cpu", "gpu" or "tpu"; None: not seen from here.
      devices: of this machine, as environment variables name them.
      slots: one for every worker at a time on this machine.
      asked: what is asked of a cluster for each of its jobs, in its own words.
    """

    where: str
    remark: str | None = None
    kind: str | None = None
    devices: Sequence[str] = ()
    slots: Sequence[Slot] = ()
    asked: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "where": self.where,
            "machine": {"kind": self.kind, "devices": list(self.devices)} if self.kind else None,
            "slots": [slot.as_json() for slot in self.slots],
            "asked": dict(self.asked) if self.asked is not None else None,
        }

    def show(self) -> None:
        """A table of the slots, or of what is asked for."""
        if self.asked is not None:
            asked = [(key, str(value)) for key, value in self.asked.items()]
            print_table(("asked of the cluster", "each job"), asked, left=("each job",))
            return
        rows = [
            (
                str(slot.number),
                ",".join(slot.devices),
                ",".join(map(str, slot.cores)),
                " ".join(f"{key}={value}" for key, value in slot.environment.items()),
            )
            for slot in self.slots
        ]
        headings = ("slot", UNITS[self.kind or "cpu"], "on cores", "environment")
        print_table(headings, rows, left=("environment",))


@dataclass(frozen=True)
class DryRun:
    """A launch that is not begun.

    Fields:
      jobs: in the order in which they start: the first on the first slots, each other one on the
        next slot that is free.
      reasons: why each of their runs is to be done, by its id.
      variants: of the runs of the whole study, by their ids.
      failed: runs that are not tried again, each with its reason.
      budget: at which the launch ends.
    """

    study: Study
    places: Places
    jobs: Sequence[Job]
    reasons: Mapping[str, str]
    variants: Mapping[str, str]
    failed: Mapping[Run, str]
    budget: Budget | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "study": self.study.name,
            "placement": self.study.placement.model_dump(),
            **self.places.as_json(),
            "jobs": [
                {
                    "trunk": job.trunk,
                    "model": job.segments[0].run.model_name,
                    "runs": [
                        {"id": segment.run.id, "why": self.reasons[segment.run.id]}
                        for segment in job.segments
                    ],
                    "flops": round(job.flops),
                    "slot": number if number < len(self.places.slots) else None,
                }
                for number, job in enumerate(self.jobs)
            ],
            "failed": {run.id: why for run, why in self.failed.items()},
        }

    def show(self) -> None:
        """A table of the slots, one of the jobs and one of the runs."""
        say(f"{self.study.name} on {self.places.where}")
        if self.places.remark:
            say(self.places.remark)
        say("")
        self.places.show()
        say("")
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
            say("")
            rows = [row(run) | {VARIANT: self.variants[run.id]} for run in runs[:SHOWN]]
            hidden = {"trunk"} if any(self.variants.values()) else {"trunk", VARIANT}
            shown = [name for name in rows[0] if name not in hidden]
            cells = [[*(each[name] for name in shown), self.reasons[each["run"]]] for each in rows]
            print_table((*shown, "why"), cells, left=("run", "model", VARIANT, "why"))
        if len(runs) > SHOWN:
            say(f"and {len(runs) - SHOWN:_} more; --json has them all.")
        if self.failed:
            say("")
            for line in (*by_reason("failed", self.failed), RETRY):
                say(line)
        if self.budget is not None:
            say(f"\n{self._within(self.budget)}")
        say("\nNothing was trained or written.")

    def _within(self, budget: Budget) -> str:
        """How far the budget goes."""
        if budget.flops == math.inf:
            return f"The launch ends when {budget} are spent, wherever the jobs are then."
        ends = list(itertools.accumulate(job.flops for job in self.jobs))
        whole = sum(end <= budget.flops for end in ends)
        return (
            f"The launch ends when {budget} are spent: {whole} of {len(ends)} jobs fit into that, "
            "one after another; workers side by side leave more of them begun."
        )
