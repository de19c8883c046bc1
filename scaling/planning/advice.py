"""What would make a step fit that does not: by the closed form, nothing compiled."""

from __future__ import annotations

from collections.abc import Iterator

from models.precision import compute_for
from scaling.planning.devices import GIB, KINDS, DeviceKind, Topology, topology
from scaling.planning.memory import predicted
from scaling.planning.steps import StepPlan, leanest, with_images, words
from scaling.training.placement_spec import PlacementSpec
from scaling.training.run import Run

ROOM = 0.97  # of a device's memory that a prediction may fill
DEVICES = 4096


def what_would_fit(step: StepPlan, on: Topology) -> list[str]:
    """Ways to train the model of a step that does not fit, each in a few words.

    In this order, and only those that fit by the closed form: another step with as many images;
    this one, or the leanest, with fewer images; more devices of the kind that share the state; one
    chip or GPU of another kind.
    """
    return [
        *_other_steps(step, on),
        *_fewer_images(step, on),
        *_more_devices(step, on),
        *_other_kinds(step, on),
    ]


def _fits(run: Run, spec: PlacementSpec, on: Topology) -> bool:
    return predicted(run, spec, on).peak <= ROOM * on.kind.hbm


def _other_steps(step: StepPlan, on: Topology) -> Iterator[str]:
    for spec in leanest(step.run, on.devices):
        run = with_images(step.run, step.images_per_device, on)
        if words(spec) != words(step.spec) and _fits(run, spec, on):
            yield f"{words(spec)}, {step.images_per_device} images a device"
            return


def _fewer_images(step: StepPlan, on: Topology) -> Iterator[str]:
    for spec in [step.spec, *reversed(leanest(step.run, on.devices))]:
        images = step.images_per_device // 2
        while images:
            if _fits(with_images(step.run, images, on, spec.tensor), spec, on):
                yield f"{words(spec)}, {images} images a device"
                return
            images //= 2


def _more_devices(step: StepPlan, on: Topology) -> Iterator[str]:
    devices = 2 * on.devices
    while devices <= DEVICES:
        more = Topology(on.name, on.kind, devices)
        run = with_images(step.run, step.images_per_device, more)
        for spec in leanest(run, devices)[-2:]:
            if _fits(run, spec, more):
                yield (
                    f"{words(spec)} on {devices} {_such(on.kind)}, "
                    f"{step.images_per_device} images a device"
                )
                return
        devices *= 2


def _such(kind: DeviceKind) -> str:
    return "such devices" if kind.name == "device" else f"devices of {kind.name}"


def _other_kinds(step: StepPlan, planned: Topology) -> Iterator[str]:
    """The smallest device of another kind on which the leanest step fits alone, as --on has it."""
    fits: list[tuple[float, Topology, PlacementSpec]] = []
    for on in _one_of_each_kind():
        other = on.kind.name != planned.kind.name and _has_dtype(on.kind, step.run)
        run = with_images(step.run, step.images_per_device, on)
        for spec in leanest(run, 1)[-1:]:
            if other and _fits(run, spec, on):
                fits.append((on.kind.hbm, on, spec))
    if fits and planned.kind.platform != "cpu":
        _, on, spec = min(fits, key=lambda each: each[0])
        whole = KINDS[on.kind.name].hbm / GIB
        yield (
            f"{words(spec)} on {on.name} of {whole:.4g} GiB, "
            f"{step.images_per_device} images a device"
        )


def _one_of_each_kind() -> Iterator[Topology]:
    """The least that can be had of each: a chip, or a GPU with the memory that JAX takes of it."""
    for kind in KINDS.values():
        one_chip = "x".join("1" * len(kind.pod))
        yield topology(f"gpu:{kind.name}" if kind.platform == "gpu" else f"{kind.name}:{one_chip}")


def _has_dtype(kind: DeviceKind, run: Run) -> bool:
    """Whether such devices have the dtype that the step was planned in."""
    return run.compute == "float32" or compute_for(kind.platform, kind.name) == run.compute
