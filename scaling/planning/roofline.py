"""How long a step takes, predicted: the slowest of arithmetic and memory, and then communication.

    seconds = max(FLOPs / (peak x efficiency), bytes moved / bandwidth) + bytes sent / link

Williams et al. 2009, "Roofline". FLOPs are the useful ones, 6 a multiply-add of the forward pass,
so the efficiency is what is called MFU: what is computed again makes it smaller. It comes from a
measurement where there is one, else from a publication, else it is assumed, and the plan says
which. Knows no JAX.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from scaling.objectives.config import Pass
from scaling.planning.arrays import all_arrays, passes_of
from scaling.planning.calibration import Measurement, nearest
from scaling.planning.devices import TPUS, Topology
from scaling.planning.memory import predicted
from scaling.planning.published import Rate, interpolated, published_rates
from scaling.training.placement_spec import PlacementSpec
from scaling.training.run import Run

Basis: TypeAlias = Literal["measured", "published", "given", "assumed"]
AGAIN = {"none": 1.0, "dots": 1.0, "full": 4 / 3, "offload": 1.0}
"""Arithmetic of a step over that of one that computes nothing again: a forward pass is a third."""
NORM_FIRST = 7 / 4
"""Arithmetic of a fused step that takes the gradient's norm in a pass of its own over that of one
that does not: a forward pass is 1, the pass that takes norms 3, the one that updates 3; 7/3 of a
plain step."""
OF_PRODUCTS = 0.4
"""Share of a processor's rate in matrix products alone that a training step reaches: Ti/16 in
float32, batch 32, on two cores: 15.7 images/s, of 280 GFLOP/s (`benchmarks/train_step.py`)."""
ASSUMED = 0.4
"""Share of the peak where nothing at all is known of a device: that of g/14 and G/14 on v3."""


@dataclass(frozen=True)
class Efficiency:
    """Useful arithmetic of one device in a second, and how it is known.

    Fields:
      flops_a_second: useful ones.
      basis: how it is known.
      source: in words.
      count: measurements it is the median of; 0 where it was not measured here.
      together: whether it is that of devices that train together, what they send included.
    """

    flops_a_second: float
    basis: Basis
    source: str
    count: int = 0
    together: bool = False


@dataclass(frozen=True)
class StepTime:
    """A step's predicted seconds on one device.

    Fields:
      arithmetic, memory, communication: seconds of each; of the first two the longer counts.
      efficiency: what the arithmetic was predicted with.
    """

    arithmetic: float
    memory: float
    communication: float
    efficiency: Efficiency

    @property
    def seconds(self) -> float:
        return max(self.arithmetic, self.memory) + self.communication

    @property
    def bound(self) -> str:
        """What decides the time."""
        longest = max(self.arithmetic, self.memory)
        if self.communication > longest:
            return "communication"
        return "arithmetic" if self.arithmetic == longest else "memory"


def step_time(
    run: Run,
    topology: Topology,
    spec: PlacementSpec,
    measurements: Sequence[Measurement] = (),
    *,
    rates: Sequence[Rate] | None = None,
    products: Callable[[], float] | None = None,
) -> StepTime:
    """Of one step of `run`.

    Args:
      run: its batch is that of all devices together.
      measurements: of real training.
      rates: published ones; None: all that are known.
      products: measures the FLOP/s of matrix products on this machine, for a CPU.
    """
    found = efficiency(run, topology, spec, measurements, rates=rates, products=products)
    flops = run.flops / run.images_seen * run.batch / topology.devices
    moved = predicted(run, spec, topology).moved
    bandwidth, link = topology.kind.bandwidth, topology.kind.link
    alone = topology.devices == 1 or found.together or link is None
    return StepTime(
        flops / found.flops_a_second,
        0.0 if bandwidth is None else moved / bandwidth,
        0.0 if alone or link is None else sent(run, topology, spec) / link,
        found,
    )


def efficiency(
    run: Run,
    topology: Topology,
    spec: PlacementSpec,
    measurements: Sequence[Measurement] = (),
    *,
    rates: Sequence[Rate] | None = None,
    products: Callable[[], float] | None = None,
) -> Efficiency:
    """The best that is known: given, measured, published, or assumed, in this order."""
    kind, an_image = topology.kind, run.flops / run.images_seen
    again = _again(run, spec)
    if kind.efficiency is not None and kind.peak is not None:
        return Efficiency(kind.peak * kind.efficiency / again, "given", "given with --on")
    measured = nearest(
        measurements,
        is_called=kind.is_called,
        compute=run.compute,
        model=run.model_name,
        flops_an_image=an_image,
        preferred={
            "devices": topology.devices,
            "update": spec.update,
            "remat": spec.recomputed,
            "images_per_device": run.batch / topology.devices,
        },
    )
    if measured is not None:
        words = "" if measured.same_model else ", interpolated between models"
        return Efficiency(
            measured.flops_a_second,
            "measured",
            f"calibration.jsonl{words}",
            measured.count,
            together=topology.devices > 1,
        )
    if kind.peak is None:
        rate = 1e10 if products is None else products()
        words = f"{OF_PRODUCTS:.0%} of {rate / 1e9:.0f} GFLOP/s of matrix products, measured now"
        return Efficiency(rate * OF_PRODUCTS, "assumed", words)
    return _published(run, topology, published_rates() if rates is None else rates, again)


def _again(run: Run, spec: PlacementSpec) -> float:
    """Arithmetic of a step over that of one that computes nothing again; forward passes that no
    backward pass follows are done once."""
    passes = passes_of(run)
    again = 1 + (AGAIN[spec.recomputed] - 1) * _followed(passes) / sum(p.flops for p in passes)
    return again * (NORM_FIRST if takes_norm_first(run, spec) else 1)


def _followed(passes: Sequence[Pass]) -> float:
    """FLOPs of as many trained passes as a backward pass follows, to parameters or to inputs."""
    return sum(
        each._replace(trained=True, to_inputs=0).flops
        for each in passes
        if each.trained or each.to_inputs
    )


def takes_norm_first(run: Run, spec: PlacementSpec) -> bool:
    """Whether a step goes through the network once more to know how much it clips."""
    clips = run.recipe.clip_norm is not None and run.recipe.clip_by == "current"
    return spec.update == "fused" and clips


def _published(run: Run, topology: Topology, rates: Sequence[Rate], again: float) -> Efficiency:
    """From a publication on the same kind of device; else with v3's share of the peak.

    The publications do not say what they computed again: theirs are taken as they are, and a fused
    step that takes the norm first is slower than they.

    Args:
      again: arithmetic of the step over that of one that computes nothing again.
    """
    kind, an_image = topology.kind, 6.0 * passes_of(run)[0].macs  # of one pass: a network's size
    slower = max(1.0, again / AGAIN["full"])
    assert kind.peak is not None
    paper = [(rate.flops_an_image, rate.flops_a_second) for rate in rates if rate.kind == "v3"]
    own = [rate for rate in rates if rate.kind == kind.name]
    if kind.name == "v3" and paper:
        same = any(rate.model == run.model.name for rate in own)
        words = "" if same else ", interpolated between models"
        rate = interpolated(paper, an_image) / slower
        return Efficiency(rate, "published", own[0].source + words, together=True)
    if not paper or kind.name == "device":
        return Efficiency(kind.peak * ASSUMED / again, "assumed", f"{ASSUMED:.0%} of the peak")
    peak = TPUS["v3"].peak
    assert peak is not None
    share, level = interpolated(paper, an_image) / peak, 1.0
    words = "v3's share of the peak, model by model"
    if own:
        there = own[0]
        level = there.flops_a_second / kind.peak * peak / interpolated(paper, there.flops_an_image)
        words += f", at the level of {there.source}"
    rate = kind.peak * min(1.0, share * level) / slower
    if own:
        return Efficiency(rate, "published", words, together=True)
    return Efficiency(rate, "assumed", words)


def sent(run: Run, topology: Topology, spec: PlacementSpec) -> float:
    """Bytes that a device sends in a step, nothing overlapped.

    Ring algorithms: gradients are summed over all devices, 2 (n - 1) / n of their bytes; a state
    that is split over m devices is gathered for the forward pass and once more for the backward
    pass, its gradient is scattered and then summed over the n / m groups.
    """
    size = 4 * sum(math.prod(array.whole) for array in all_arrays(run)[0])
    groups = topology.devices // spec.fsdp
    summed = 2 * (groups - 1) / groups * size / spec.fsdp
    return summed + 3 * (spec.fsdp - 1) / spec.fsdp * size
