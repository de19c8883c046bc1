"""A study's plan on some devices: its steps, the time they are predicted to take, and the money."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from models.precision import compute_for
from scaling.base.machine import cache_folder
from scaling.planning import calibration
from scaling.planning.advice import what_would_fit
from scaling.planning.closed_form import cost_of, remarks, trained_by_evaluations
from scaling.planning.compiled import Compiler, Verdict, compiler_of
from scaling.planning.devices import GIB, Topology, topology
from scaling.planning.given import dollars
from scaling.planning.gpu_compiler import why_not
from scaling.planning.memory import predicted
from scaling.planning.products import products_rate
from scaling.planning.roofline import StepTime, step_time
from scaling.planning.steps import StepPlan, plan_steps
from scaling.study.parse import read_study
from scaling.study.study import Study
from scaling.training.placement_spec import PlacementSpec
from scaling.training.run import Run


@dataclass(frozen=True, kw_only=True)
class PricedStep:
    """One step of a plan, with its time.

    Fields:
      plan: the step and its memory.
      predicted_bytes: of a device, in closed form, whatever the compiler says.
      time: of one step.
      device_hours: of all runs of the study that take this step, shared trunks counted once.
      would_fit: where it does not fit: what would, in words.
    """

    plan: StepPlan
    predicted_bytes: float
    time: StepTime
    device_hours: float
    would_fit: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        found = self.time.efficiency
        return {
            **self.plan.as_json(),
            "memory": self.plan.verdict.basis,
            "closed_form_gib": round(self.predicted_bytes / GIB, 3),
            "seconds": self.time.seconds,
            "bound": self.time.bound,
            "rate": {
                "tflops_a_device": found.flops_a_second / 1e12,
                "basis": found.basis,
                "source": found.source,
                "measurements": found.count,
            },
            "device_hours": self.device_hours,
            "would_fit": list(self.would_fit),
        }


@dataclass(frozen=True, kw_only=True)
class DevicePlan:
    """A study on some devices.

    Fields:
      steps: one for every program.
      price: US dollars a device-hour; None: not given.
      not_compiled: why not, in a line, and what would have it compiled; None: it was, or need not.
    """

    study: Study
    topology: Topology
    steps: tuple[PricedStep, ...]
    price: float | None = None
    not_compiled: str | None = None

    @property
    def device_hours(self) -> float:
        """Predicted, of the whole study."""
        return sum(step.device_hours for step in self.steps)

    @property
    def dollars(self) -> float | None:
        """What they cost."""
        return None if self.price is None else self.price * self.device_hours

    def as_json(self) -> dict[str, Any]:
        return {
            "study": self.study.name,
            "topology": self.topology.name,
            "devices": self.topology.devices,
            "hbm_gib": round(self.topology.kind.hbm / GIB, 3),
            "steps": [each.as_json() for each in self.steps],
            "device_hours": self.device_hours,
            "dollars_a_device_hour": self.price,
            "dollars": self.dollars,
            "remarks": list(remarks(self.study)),
        }

    def show(self) -> None:
        """One line a step, then what was compiled, measured, published and assumed."""
        from scaling.planning.show import show

        show(self)


def plan_on(
    study_name: str,
    topology_name: str,
    images_per_device: int | None,
    given: dict[str, Any],
    *,
    closed_form: bool = False,
    search: bool = False,
    price: str | None = None,
    quiet: bool,
) -> DevicePlan:
    """Read, compile where there is a compiler, and add up.

    Args:
      given: fields of a PlacementSpec that are not chosen.
      closed_form: compile nothing.
      search: compile the largest batches too.
      price: as on the command line.

    Raises:
      UserError: mistakes in the study or on the command line.
    """
    wanted = topology(topology_name)
    a_device_hour = dollars(price, _kind_name(wanted))
    study = read_study(study_name, planned=True)
    if study.compute_open:
        study = study.computed_in(compute_for(wanted.kind.platform, wanted.kind.name))
    compiler = None if closed_form else compiler_of(wanted)
    steps = plan_steps(
        study,
        wanted,
        _word(compiler),
        images_per_device=images_per_device,
        given=given,
        search=search,
        tell=_teller(compiler, quiet),
    )
    return DevicePlan(
        study=study,
        topology=wanted,
        steps=tuple(_priced(steps, wanted, trained_by_evaluations(study))),
        price=a_device_hour,
        not_compiled=None if closed_form or not wanted.name.startswith("gpu:") else why_not(wanted),
    )


def _priced(steps: list[StepPlan], on: Topology, alone: Sequence[Run] = ()) -> list[PricedStep]:
    """
    Args:
      alone: runs that share no trunk with others.
    """
    ids = {run.id for run in alone}
    measurements, products = calibration.read(), cache(products_rate)
    priced = []
    for step in steps:
        time = step_time(step.run, on, step.spec, measurements, products=products)
        shared = [run for run in step.runs if run.id not in ids]
        images = sum(run.images_seen for run in step.runs if run.id in ids)
        images += cost_of(shared).images if shared else 0
        hours = images / step.run.batch * time.seconds * on.devices / 3600
        priced.append(
            PricedStep(
                plan=step,
                predicted_bytes=predicted(step.run, step.spec, on).peak,
                time=time,
                device_hours=hours,
                would_fit=() if step.verdict.fits else tuple(what_would_fit(step, on)),
            )
        )
    return priced


def _word(compiler: Compiler | None) -> Callable[[Run, Topology, PlacementSpec], Verdict]:
    """What says how much a step takes."""
    if compiler is not None:
        return lambda run, on, spec: compiler(run, on, spec, cache_folder() / "plans")

    def closed_form(run: Run, on: Topology, spec: PlacementSpec) -> Verdict:
        found = predicted(run, spec, on).peak
        return Verdict(found, found <= on.kind.hbm, "closed form")

    return closed_form


def _teller(compiler: Compiler | None, quiet: bool) -> Callable[[str], None]:
    def tell(words: str) -> None:
        if compiler is not None and (not quiet or sys.stderr.isatty()):
            print(f"compiling {words}", file=sys.stderr)

    return tell


def _kind_name(on: Topology) -> str:
    """As in --on, without its count."""
    prefix = "gpu:" if on.kind.platform == "gpu" and on.kind.name != "device" else ""
    return f"{prefix}{on.kind.name}"
