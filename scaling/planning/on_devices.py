"""A study's plan on a slice of devices: its steps as compiled, and the time they are predicted to
take."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, get_args

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from models.precision import Remat
from scaling.base.console import print_table
from scaling.base.machine import cache_folder
from scaling.planning.closed_form import study_cost
from scaling.planning.compiled import compile_step
from scaling.planning.devices import Topology, topology
from scaling.planning.steps import StepPlan, plan_steps
from scaling.study.parse import read_study
from scaling.study.study import Study
from scaling.training.placement_spec import PlacementSpec, UpdateKind

UTILISATION = 0.4  # of peak, predicted where nothing was measured
HEADINGS = ("model", "images", "update", "remat", "fsdp", "GiB", "fits", "largest", "FLOPs a step")


@dataclass(frozen=True, kw_only=True)
class DevicePlan:
    """A study on a slice of devices.

    Fields:
      steps: one for every program.
      device_hours: predicted: training FLOPs, shared trunks counted once, over the peak of the
        devices times `UTILISATION`.
    """

    study: Study
    topology: Topology
    steps: tuple[StepPlan, ...]
    device_hours: float

    def as_json(self) -> dict[str, Any]:
        return {
            "study": self.study.name,
            "topology": self.topology.name,
            "devices": self.topology.devices,
            "hbm_gib": round(self.topology.kind.hbm / 2**30, 3),
            "steps": [each.as_json() for each in self.steps],
            "device_hours": self.device_hours,
            "predicted": {"utilisation": UTILISATION},
        }

    def show(self) -> None:
        """One line a step; what was compiled and what is predicted."""
        kind = self.topology.kind
        print(
            f"{self.study.name} on {self.topology.name}: {self.topology.devices} devices of "
            f"{kind.hbm / 2**30:.4g} GiB\n"
        )
        rows = [
            (
                each.run.model_name,
                f"{each.images_per_device}",
                each.spec.update,
                each.spec.recomputed,
                f"{each.spec.fsdp}",
                f"{each.verdict.gib:.2f}",
                "yes" if each.verdict.fits else "no",
                f"{each.largest_images_per_device}",
                f"{each.run.flops // each.run.steps:.3g}",
            )
            for each in self.steps
        ]
        print_table(HEADINGS, rows, left=("model", "update", "remat"))
        print(
            "\nimages: a device. GiB, fits, largest: as compiled, of one device.\n"
            f"{self.device_hours:.3g} device-hours, predicted: training FLOPs at "
            f"{UTILISATION:.0%} of {kind.peak / 1e12:.4g} TFLOP/s a device ({kind.source})."
        )
        for each in self.steps:
            if not each.verdict.fits:
                lacking = each.verdict.gib - kind.hbm / 2**30
                print(
                    f"{each.run.model_name} does not fit: {lacking:.2f} GiB too much. "
                    + (
                        f"{each.largest_images_per_device} images a device fit."
                        if each.largest_images_per_device
                        else "Use more devices, which share the state with --fsdp."
                    )
                )


def plan_on(
    study_name: str,
    topology_name: str,
    images_per_device: int | None,
    given: dict[str, Any],
    *,
    quiet: bool,
) -> DevicePlan:
    """Read, compile, and add up.

    Args:
      given: fields of a PlacementSpec that are not chosen.

    Raises:
      UserError: mistakes in the study or on the command line.
    """
    wanted = topology(topology_name)
    spec = _spec(given)
    study = read_study(study_name, planned=True)

    def tell(words: str) -> None:
        if not quiet or sys.stderr.isatty():
            print(f"compiling {words}", file=sys.stderr)

    steps = plan_steps(
        study,
        wanted,
        lambda run, on, how: compile_step(run, on, how, cache_folder() / "plans"),
        images_per_device=images_per_device,
        given=spec,
        tell=tell,
    )
    flops = study_cost(study).cost.flops
    hours = flops / (wanted.kind.peak * UTILISATION) / 3600
    return DevicePlan(study=study, topology=wanted, steps=tuple(steps), device_hours=hours)


def _spec(given: dict[str, Any]) -> PlacementSpec | None:
    if not given:
        return None
    choices = {"update": get_args(UpdateKind), "remat": get_args(Remat)}
    wrong = [
        f"--{name}: no '{given[name]}'. {did_you_mean(given[name], known)}Use {', '.join(known)}."
        for name, known in choices.items()
        if name in given and given[name] not in known
    ]
    if wrong:
        raise UserError(wrong)
    return PlacementSpec(**given)
