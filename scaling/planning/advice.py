"""What would make a step fit that does not: by the closed form, nothing compiled."""

from __future__ import annotations

from collections.abc import Iterator

from scaling.planning.devices import GIB, KINDS, DeviceKind, Topology
from scaling.planning.memory import predicted
from scaling.planning.steps import StepPlan, leanest, with_images, words
from scaling.training.placement_spec import PlacementSpec
from scaling.training.run import Run

ROOM = 0.97  # of a device's memory that a prediction may fill
DEVICES = 4096


def what_would_fit(step: StepPlan, topology: Topology) -> list[str]:
    """Ways to train the model of a step that does not fit, each in a few words.

    In this order, and only those that fit by the closed form: another step with as many images;
    this one, or the leanest, with fewer images; more devices of the kind that share the state; one
    device of another kind.
    """
    return [
        *_other_steps(step, topology),
        *_fewer_images(step, topology),
        *_more_devices(step, topology),
        *_other_kinds(step, topology),
    ]


def _fits(run: Run, spec: PlacementSpec, topology: Topology) -> bool:
    return predicted(run, spec, topology).peak <= ROOM * topology.kind.hbm


def _other_steps(step: StepPlan, topology: Topology) -> Iterator[str]:
    for spec in leanest(step.run, topology.devices):
        run = with_images(step.run, step.images_per_device, topology)
        if spec != step.spec and _fits(run, spec, topology):
            yield f"{words(spec)}, {step.images_per_device} images a device"
            return


def _fewer_images(step: StepPlan, topology: Topology) -> Iterator[str]:
    for spec in [step.spec, *reversed(leanest(step.run, topology.devices))]:
        images = step.images_per_device // 2
        while images:
            if _fits(with_images(step.run, images, topology, spec.tensor), spec, topology):
                yield f"{words(spec)}, {images} images a device"
                return
            images //= 2


def _more_devices(step: StepPlan, topology: Topology) -> Iterator[str]:
    devices = 2 * topology.devices
    while devices <= DEVICES:
        more = Topology(topology.name, topology.kind, devices)
        run = with_images(step.run, step.images_per_device, more)
        for spec in leanest(run, devices)[-2:]:
            if _fits(run, spec, more):
                yield (
                    f"{words(spec)} on {devices} {_such(topology.kind)}, "
                    f"{step.images_per_device} images a device"
                )
                return
        devices *= 2


def _such(kind: DeviceKind) -> str:
    return "such devices" if kind.name == "device" else f"devices of {kind.name}"


def _other_kinds(step: StepPlan, topology: Topology) -> Iterator[str]:
    """The smallest device on which the leanest step fits alone."""
    fits: list[tuple[float, DeviceKind, PlacementSpec]] = []
    for kind in KINDS.values():
        one = Topology(kind.name, kind, 1)
        run = with_images(step.run, step.images_per_device, one)
        fits += [(kind.hbm, kind, spec) for spec in leanest(run, 1)[-1:] if _fits(run, spec, one)]
    if fits and topology.kind.platform != "cpu":
        hbm, kind, spec = min(fits, key=lambda each: each[0])
        prefix = "gpu:" if kind.platform == "gpu" else ""
        yield (
            f"{words(spec)} on {prefix}{kind.name} of {hbm / GIB:.4g} GiB, "
            f"{step.images_per_device} images a device"
        )
