"""Which step each model of a study can be trained with on a slice of devices.

Compiles the steps in the order of their speed until one fits: plain, then with less and less kept
for the backward pass, then fused, then with the state split over all devices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from fits.base.errors import UserError
from models.precision import Remat
from scaling.base.config import digest
from scaling.data.augment import of_batches
from scaling.planning.compiled import Verdict
from scaling.planning.devices import Topology
from scaling.planning.memory import least_bytes
from scaling.study.study import Study
from scaling.training.placement_spec import PlacementSpec
from scaling.training.run import Run

REMAT: tuple[Remat, ...] = ("none", "dots", "full")
Compile: TypeAlias = Callable[[Run, Topology, PlacementSpec], Verdict]
TRIES = 4  # compilations, at most, to find the largest batch


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """One step of a study on a slice of devices.

    Fields:
      run: any that takes this step; its batch is that of all devices together.
      images_per_device: of it.
      spec: how the step is computed: chosen, or as given.
      verdict: the compiler's.
      largest_images_per_device: that fit with this spec, as compiled; 0: not one.
    """

    run: Run
    images_per_device: int
    spec: PlacementSpec
    verdict: Verdict
    largest_images_per_device: int

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self.run.model_name,
            "images_per_device": self.images_per_device,
            "update": self.spec.update,
            "remat": self.spec.recomputed,
            "sharding": {"fsdp": self.spec.fsdp},
            "hbm_gib": round(self.verdict.gib, 3),
            "fits": self.verdict.fits,
            "largest_images_per_device": self.largest_images_per_device,
            "flops": self.run.flops // self.run.steps,
        }


def plan_steps(
    study: Study,
    topology: Topology,
    compile_step: Compile,
    *,
    images_per_device: int | None = None,
    given: PlacementSpec | None = None,
    tell: Callable[[str], None] = lambda words: None,
) -> list[StepPlan]:
    """One plan for every distinct step of a study, in the order of its runs.

    Args:
      compile_step: what compiles, or remembers.
      images_per_device: None: the study's batches, split over all devices.
      given: how steps are computed; None: chosen for each.
      tell: is told which step is being compiled.

    Raises:
      UserError: batches that the devices do not divide, each with the nearest that they do.
    """
    runs = _distinct(study, topology, images_per_device)
    _check_batches(runs, topology)
    return [_plan(run, topology, compile_step, given, tell) for run in runs]


def _plan(
    run: Run,
    topology: Topology,
    compile_step: Compile,
    given: PlacementSpec | None,
    tell: Callable[[str], None],
) -> StepPlan:
    images = run.batch // topology.devices
    best: tuple[PlacementSpec, Verdict] | None = None
    for spec in [given] if given else _ladder(run, topology):
        tell(f"{run.model_name}, {images} images a device, {_words(spec)}")
        verdict = compile_step(run, topology, spec)
        if best is None or verdict.bytes < best[1].bytes or verdict.fits:
            best = spec, verdict
        if verdict.fits:
            break
    assert best is not None
    spec, verdict = best

    def at(images: int) -> Verdict:
        tell(f"{run.model_name}, {images} images a device, {_words(spec)}")
        return compile_step(_with_images(run, images, topology), topology, spec)

    return StepPlan(
        run=run,
        images_per_device=images,
        spec=spec,
        verdict=verdict,
        largest_images_per_device=largest(at, images, verdict, topology.kind.hbm),
    )


def largest(at: Callable[[int], Verdict], images: int, verdict: Verdict, hbm: float) -> int:
    """The largest number of images a device that was seen to fit; 0: none was.

    Memory grows as a straight line with the batch, nearly: where the line through two sizes meets
    what there is, rounded down to a multiple of 8, is tried, and less where that does not fit.

    Args:
      at: compiles for so many images a device.
      images, verdict: what is known.
      hbm: bytes of a device.
    """
    other = 2 * images if verdict.fits else max(1, images // 2)
    second = at(other)
    found = max((n for n, v in ((images, verdict), (other, second)) if v.fits), default=0)
    if other == images:
        return found
    slope = (second.bytes - verdict.bytes) / (other - images)
    if slope <= 0:
        return found
    room = images + (hbm - verdict.bytes) / slope
    for _ in range(TRIES):
        tried = int(room) // 8 * 8 if room >= 8 else int(room)
        if tried <= found:
            return found
        seen = at(tried)
        if seen.fits:
            return tried
        room = tried - max(1.0, (seen.bytes - hbm) / slope)
    return found


def _ladder(run: Run, topology: Topology) -> Iterator[PlacementSpec]:
    """Specs from the fastest to the leanest; those that cannot fit by arithmetic are left out."""
    ladder = [PlacementSpec(remat=remat) for remat in REMAT]
    ladder += [PlacementSpec(update="fused")]
    if topology.devices > 1:
        ladder += [
            PlacementSpec(remat="full", fsdp=topology.devices),
            PlacementSpec(update="fused", fsdp=topology.devices),
        ]
    for spec in ladder:
        last = spec is ladder[-1]
        if last or least_bytes(run, spec, topology.devices) <= topology.kind.hbm:
            yield spec


def _distinct(study: Study, topology: Topology, images_per_device: int | None) -> list[Run]:
    """A run for every program that the study compiles."""
    found: dict[str, Run] = {}
    for run in study.runs:
        if images_per_device is not None:
            run = _with_images(run, images_per_device, topology)
        same = {
            "images_seen": 10**9 * run.batch,
            "seed": 0,
            "data_size": None,
            "augment": of_batches(run.augment),
        }
        step = run.model_copy(update=same)
        found.setdefault(digest(step), run)
    return list(found.values())


def _with_images(run: Run, images_per_device: int, topology: Topology) -> Run:
    """A run of as many steps with another batch."""
    batch = images_per_device * topology.devices
    return run.model_copy(update={"batch": batch, "images_seen": run.steps * batch})


def _check_batches(runs: list[Run], topology: Topology) -> None:
    wrong = []
    for batch in sorted({run.batch for run in runs}):
        if batch % topology.devices:
            below = batch // topology.devices * topology.devices
            near = f"{below} or {below + topology.devices}" if below else f"{topology.devices}"
            wrong.append(
                f"a batch of {batch} cannot be split over the {topology.devices} devices of "
                f"{topology.name}; use {near}, or say --images-per-device."
            )
    if wrong:
        raise UserError(wrong)


def _words(spec: PlacementSpec) -> str:
    remat = "" if spec.update == "fused" or spec.remat == "none" else f", remat {spec.remat}"
    return f"{spec.update}{remat}{f', fsdp {spec.fsdp}' if spec.fsdp > 1 else ''}"
