"""Which step each model of a study can be trained with on a slice of devices.

Tries the steps in the order of their speed until one fits: plain, then with less and less kept for
the backward pass, then fused, then with the state split over all devices. A compiler says what
fits where there is one for such devices; the closed form says which steps need no compiler's word,
and where the largest batch is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from models.precision import Remat
from models.shapes import BiTShape
from scaling.planning.checks import check_batches, check_sharding
from scaling.planning.closed_form import trained_by_evaluations
from scaling.planning.compiled import Basis, Verdict
from scaling.planning.devices import Topology
from scaling.planning.given import candidates, named
from scaling.planning.memory import predicted
from scaling.study.study import Study
from scaling.study.variants import said, variant_fields
from scaling.training.placement_checks import check_runs
from scaling.training.placement_spec import DEFAULT, PlacementSpec
from scaling.training.run import Run

NOTHING: Mapping[str, Any] = MappingProxyType({})
REMAT: tuple[Remat, ...] = ("none", "dots", "full")
Compile: TypeAlias = Callable[[Run, Topology, PlacementSpec], Verdict]
TRIES = 3  # compilations, at most, to find the largest batch
HOPELESS = 1.15  # times the memory there is: what the closed form puts above it is not compiled
RESERVE = 0.1  # of what a larger batch adds in closed form: it is that far off where they are large
MOST = 2**16  # images a device, beyond which nobody asks


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """One step of a study on a slice of devices.

    Fields:
      run: any that takes this step; its batch is that of all devices together.
      runs: of the study, all that take it, with the batches they have there.
      variant: what these have in common of what tells the study's variants apart, in words; "":
        nothing.
      images_per_device: of `run`, that a device sees; devices along a tensor axis see the same.
      spec: how the step is computed: chosen, or as given.
      verdict: the compiler's, or the closed form's.
      largest_images_per_device: that fit with this spec; 0: not one.
      largest_basis: whether a compiler says so of that batch itself, or the closed form, from what
        it says of `images_per_device`.
    """

    run: Run
    runs: tuple[Run, ...]
    images_per_device: int
    spec: PlacementSpec
    verdict: Verdict
    largest_images_per_device: int
    largest_basis: Basis = "closed form"
    variant: str = ""

    @property
    def name(self) -> str:
        """Of the model, with the variant where the study has several."""
        return named_variant(self.run, self.variant)

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self.run.model_name,
            "variant": self.variant,
            "images_per_device": self.images_per_device,
            "update": self.spec.update,
            "remat": self.spec.recomputed,
            "microbatches": self.spec.microbatches,
            "sharding": {"fsdp": self.spec.fsdp, "tensor": self.spec.tensor},
            "hbm_gib": round(self.verdict.gib, 3),
            "fits": self.verdict.fits,
            "largest_images_per_device": self.largest_images_per_device,
            "largest": self.largest_basis,
            "flops": self.run.flops // self.run.steps,
        }


def plan_steps(
    study: Study,
    topology: Topology,
    compile_step: Compile,
    *,
    images_per_device: int | None = None,
    given: Mapping[str, Any] = NOTHING,
    search: bool = False,
    tell: Callable[[str], None] = lambda words: None,
) -> list[StepPlan]:
    """One plan for every distinct step of a study, in the order of its runs.

    Args:
      compile_step: what compiles, remembers or predicts.
      images_per_device: None: the study's batches, split over all devices.
      given: fields of a PlacementSpec that are not chosen, in place of the study's own.
      search: ask for the largest batch itself; False: the closed form tells.
      tell: is told which step is being compiled.

    Raises:
      UserError: batches or a sharding that do not fit the devices, each with the nearest that do.
    """
    asked = named(study.placement, given)
    check_sharding(asked, topology)
    check_runs(asked, study.runs, batches=False)
    programs = _programs(study, topology, images_per_device, asked.tensor)
    check_batches([run for run, _ in programs], topology, asked.tensor)
    fields = variant_fields(study.runs)

    def specs(run: Run) -> Iterator[PlacementSpec]:
        return ladder(run, topology, study.placement, given)

    found = []
    for run, runs in programs:
        variant = said([fields.get(each.id, {}) for each in runs])
        found.append(_plan(run, runs, variant, topology, compile_step, specs, search, tell))
    return found


def _plan(
    run: Run,
    runs: list[Run],
    variant: str,
    topology: Topology,
    compile_step: Compile,
    specs: Callable[[Run], Iterator[PlacementSpec]],
    search: bool,
    tell: Callable[[str], None],
) -> StepPlan:
    best: tuple[PlacementSpec, Verdict] | None = None
    name = named_variant(run, variant)
    for spec in specs(run):
        images = run.batch // (topology.devices // spec.tensor)
        tell(f"{name}, {images} images a device, {words(spec)}")
        verdict = compile_step(run, topology, spec)
        if best is None or verdict.bytes < best[1].bytes or verdict.fits:
            best = spec, verdict
        if verdict.fits:
            break
    assert best is not None
    spec, verdict = best
    tensor = spec.tensor

    def at(images: int) -> Verdict:
        tell(f"{name}, {images} images a device, {words(spec)}")
        return compile_step(with_images(run, images, topology, tensor), topology, spec)

    def guess(images: int) -> float:
        return predicted(with_images(run, images, topology, tensor), spec, topology).peak

    hbm = topology.kind.hbm
    most = likely(images, verdict, hbm, guess)
    if search:
        most = largest(at, images, verdict, hbm, guess)
    return StepPlan(
        run=run,
        runs=tuple(runs),
        images_per_device=images,
        spec=spec,
        verdict=verdict,
        largest_images_per_device=most,
        largest_basis=verdict.basis if search else "closed form",
        variant=variant,
    )


def likely(images: int, verdict: Verdict, hbm: float, guess: Callable[[int], float]) -> int:
    """The largest number of images a device that fits by the closed form, moved to go through what
    is known; 0: none. Rounded down to a multiple of 8; a compiler's word leaves a reserve.

    Args:
      images, verdict: what is known.
      hbm: bytes of a device.
      guess: bytes of so many images, in closed form.
    """
    here = guess(images)
    growth = 1 + RESERVE * (verdict.basis == "compiled")
    known, too_many = (images, MOST) if verdict.fits else (0, images)
    found = _last(lambda n: verdict.bytes + growth * (guess(n) - here), hbm, known, too_many)
    return max(known, found // 8 * 8 if found >= 8 else found)


def largest(
    at: Callable[[int], Verdict],
    images: int,
    verdict: Verdict,
    hbm: float,
    guess: Callable[[int], float],
) -> int:
    """The largest number of images a device that was seen to fit; 0: none was.

    Where the closed form, moved to go through what was seen, meets what there is, rounded down to a
    multiple of 8, is tried; and less where that does not fit. At most `TRIES` are.

    Args:
      at: compiles for so many images a device.
      images, verdict: what is known.
      hbm: bytes of a device.
      guess: bytes of so many images, in closed form.
    """
    found, too_many = (images, MOST) if verdict.fits else (0, images)
    seen_images, seen = images, verdict
    for _ in range(TRIES):
        room = hbm - (seen.bytes - guess(seen_images))
        tried = _last(guess, room, found, too_many)
        tried = tried // 8 * 8 if tried >= 8 else tried
        if tried <= found:
            return found
        seen_images, seen = tried, at(tried)
        if seen.fits:
            return tried
        too_many = tried
    return found


def _last(guess: Callable[[int], float], room: float, low: int, high: int) -> int:
    """The last whole number from `low` on, and below `high`, whose guess is no more than `room`."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if guess(middle) <= room else (low, middle)
    return low


def leanest(run: Run, devices: int) -> list[PlacementSpec]:
    """The steps that take least, the fastest of them first; the last takes the least of all."""
    shared = [1, devices] if devices > 1 else [1]
    if run.recipe.privacy is not None:  # the gradients of all images of a part at once
        images = max(1, run.batch // devices)
        return [PlacementSpec(microbatches=n) for n in range(1, images + 1) if images % n == 0]
    if isinstance(run.model, BiTShape):  # no single stack of equal blocks
        return [PlacementSpec(fsdp=n) for n in shared]
    if not run.objective.one_pass:
        return [PlacementSpec(remat="full", fsdp=n) for n in shared[1:]]
    one = [PlacementSpec(update="fused")]
    return one + [
        spec
        for n in shared[1:]
        for spec in (PlacementSpec(remat="full", fsdp=n), PlacementSpec(update="fused", fsdp=n))
    ]


def ladder(
    run: Run,
    topology: Topology,
    written: PlacementSpec = DEFAULT,
    given: Mapping[str, Any] = NOTHING,
) -> Iterator[PlacementSpec]:
    """Specs from the fastest to the leanest; those that the closed form rules out are left out.

    Args:
      written, given: as of `candidates`.
    """
    every = [PlacementSpec(remat=remat) for remat in REMAT] + leanest(run, topology.devices)
    if isinstance(run.model, BiTShape) or run.recipe.privacy is not None:
        every = leanest(run, topology.devices)
    specs = candidates(every, written, given)
    for spec in specs:
        last = spec is specs[-1]
        if last or predicted(run, spec, topology).peak <= HOPELESS * topology.kind.hbm:
            yield spec


def _programs(
    study: Study, topology: Topology, images_per_device: int | None, tensor: int
) -> list[tuple[Run, list[Run]]]:
    """For every program that the study compiles, those of its evaluations included, one run as it
    is planned, and all that take it."""
    found: dict[str, tuple[Run, list[Run]]] = {}
    for run in (*study.runs, *trained_by_evaluations(study)):
        planned = run
        if images_per_device is not None:
            planned = with_images(run, images_per_device, topology, tensor)
        found.setdefault(planned.step_digest, (planned, []))[1].append(run)
    return list(found.values())


def with_images(run: Run, images_per_device: int, topology: Topology, tensor: int = 1) -> Run:
    """A run of as many steps with another batch, of which groups of `tensor` devices share rows."""
    batch = images_per_device * (topology.devices // tensor)
    return run.model_copy(update={"batch": batch, "images_seen": run.steps * batch})


def named_variant(run: Run, variant: str) -> str:
    """A run's model, and its variant in brackets where there are several."""
    return f"{run.model_name} ({variant})" if variant else run.model_name


def words(spec: PlacementSpec) -> str:
    """A spec in a few words."""
    remat = "" if spec.update == "fused" or spec.remat == "none" else f", remat {spec.remat}"
    split = {"fsdp": spec.fsdp, "tensor": spec.tensor}
    shared = "".join(f", {name} {n}" for name, n in split.items() if n > 1)
    parts = f", {spec.microbatches} parts" if spec.microbatches > 1 else ""
    return f"{spec.update}{remat}{parts}{shared}"
