"""What a training step takes of a device's memory, in closed form. Nothing is compiled.

A sum over what is alive together, at each of the moments that may be the fullest:

    patches  the images as they are cut
    top      what blocks keep, gradients above the blocks, logits
    blocks   what blocks keep, their gradients or one layer's in a fused step, and one block's
             backward pass at its fullest
    updates  all gradients, when the backward pass is over

beside state and batch. State and batch are exact: every array with its padding. What blocks make
is in `activations.py`, array by array. Both follow the TPU's compiler, whose list of live buffers
was read at each peak (`benchmarks/memory_model.py` holds the sum against it). Knows no JAX.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from scaling.planning.activations import Arrays
from scaling.planning.arrays import moments, padded_bytes, parameter_arrays, shard
from scaling.planning.devices import Topology
from scaling.training.placement_spec import PlacementSpec
from scaling.training.run import Run

ON_CHIP = {"v5e": 112, "v5p": 48, "v6e": 112}
"""MiB of a TPU's VMEM that arrays of a program can live in: all but the 16 that single operations
work in. A v3 has no more than those."""
COMBINED = 120
"""MiB of gradients above the blocks, up to which a fused step has all at once: seen of 114, and not
of 165."""
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one device.

    Fields:
      state: parameters and moments, as a device holds them.
      batch: its images.
      kept: of all blocks, for the backward pass.
      gradients: alive while the blocks' backward passes run.
      made: all that all blocks make, wherever it lives.
      moments: what is alive besides state and batch, at each moment that may be the fullest.
    """

    state: float
    batch: float
    kept: float
    gradients: float
    made: float
    moments: dict[str, float]

    @property
    def peak(self) -> float:
        """At the fullest moment."""
        return self.state + self.batch + max(self.moments.values())

    @property
    def moved(self) -> float:
        """Between memory and device in a step, at the least: all is written once and read once."""
        return 2 * (self.state + self.batch + self.kept + self.gradients + self.made)


def predicted(run: Run, spec: PlacementSpec, topology: Topology) -> Memory:
    """Of each device.

    Args:
      run: its batch is that of all devices together.
    """
    kind = topology.kind
    sizes = mesh_sizes(spec.fsdp, run)
    state = _State.of(run, sizes, spec.tensor, tiled=kind.platform == "tpu")
    now = run.batch * spec.tensor / topology.devices / spec.microbatches
    act = Arrays.of(run, now, kind, spec.tensor)
    kept = act.depth * act.kept(spec.recomputed)
    logits = 4.0 * math.ceil(now) * run.data.classes
    fused, sums = spec.update == "fused", 1 + (spec.microbatches > 1)
    early = not fused and _above_first(state, act, kept, logits)
    of_blocks = 0.0 if fused else state.blocks * sums
    of_top = state.top * sums if early else 0.0
    block = max(act.moments(spec.recomputed, fused=fused).values())
    # on the chip lives first what lasts no longer than the loop over blocks
    on_chip = ON_CHIP.get(kind.name, 0) * MIB
    blocks = max(0.0, of_blocks + block - on_chip)
    room = max(0.0, on_chip - of_blocks - block)
    below = act.flat + max(0.0, kept - (0.0 if fused else room))
    blocks += below + of_top
    if not (fused or early):
        blocks += act.pooled + logits  # what the gradients above the blocks need
    top = state.top
    if spec.fsdp > 1:  # a layer is gathered for its use; gradients are whole until all are there
        top = state.whole_top
        blocks += state.layer * act.size / 4 + (top if fused else state.layer)
    together = early or spec.fsdp > 1 or state.top <= COMBINED * MIB
    return Memory(
        state=state.bytes,
        batch=spec.microbatches * run.objective.views * act.image,
        kept=kept,
        gradients=of_blocks + of_top + fused * state.layer,
        made=act.depth * act.made,
        moments={
            "patches": act.patches + fused * kept,
            "top": below + (top if together else state.largest) + 2 * logits,
            "blocks": blocks,
            "updates": act.flat + (0.0 if fused else (state.blocks + top) * sums),
        },
    )


def _above_first(state: _State, act: Arrays, kept: float, logits: float) -> bool:
    """Whether a plain step's gradients above the blocks come before those of the blocks.

    They do where what they would wait with is more than they are; and, as if the compiler's
    scheduler counted twice what a loop is given and gives back, where the forward loop then has
    more (twice what is kept) than the backward loop (that once, twice the blocks' gradients, and
    those above them). Inferred from schedules.
    """
    return act.pooled + logits > state.top or kept > 2 * state.blocks + state.top


class _State(NamedTuple):
    """Bytes of parameters and moments on one device.

    Fields:
      bytes: of all.
      layer: parameters of one whole layer.
      blocks: of all layers; as many float32 gradients have.
      top: parameters above the blocks.
      whole_top: the same, brought together from all devices that share them.
      largest: the largest array of these.
    """

    bytes: float
    layer: float
    blocks: float
    top: float
    whole_top: float
    largest: float

    @classmethod
    def of(cls, run: Run, sizes: tuple[int, ...], tensor: int, *, tiled: bool) -> _State:
        width = run.model.width
        everything, layer, blocks, top, largest = 0.0, 0.0, 0.0, 0.0, 0.0
        whole_top = 0.0
        for array in parameter_arrays(run.model, run.data.classes):
            stacked = array.place == "blocks"

            def size_of(shape: tuple[int, ...], each: int, stacked: bool = stacked) -> int:
                part = shard(shape, sizes, stacked=stacked, tensor=tensor, width=width)
                return padded_bytes(part, each, tiled=tiled)

            def whole(shape: tuple[int, ...]) -> int:  # gathered for its use
                part = shard(shape, (), stacked=False, tensor=tensor, width=width)
                return padded_bytes(part, 4, tiled=tiled)

            own = size_of(array.whole, 4)
            everything += own * (2 if run.recipe.polyak else 1)
            everything += sum(size_of(*each) for each in moments(array, run.recipe.optimizer))
            layer += whole(array.shape) if stacked else 0
            blocks += own if stacked else 0
            top += own if array.place == "top" else 0
            whole_top += whole(array.shape) if array.place == "top" else 0
            largest = max(largest, own) if array.place == "top" else largest
        return cls(everything, layer, blocks, top, whole_top, largest)


def mesh_sizes(fsdp: int, run: Run) -> tuple[int, ...]:
    """The mesh axes that the state is split over, as `placement.best_fsdp` chooses them."""
    pairs = [(fsdp,)] + [(fsdp // n, n) for n in range(2, math.isqrt(fsdp) + 1) if fsdp % n == 0]
    if len(pairs) == 1:
        return pairs[0]
    arrays = parameter_arrays(run.model, run.data.classes)

    def resident(sizes: tuple[int, ...]) -> float:
        found = 0.0
        for array in arrays:
            stacked = array.place == "blocks"
            for shape, size in [(array.whole, 4), *moments(array, run.recipe.optimizer)]:
                found += size * math.prod(shard(shape, sizes, stacked=stacked))
        return found

    return min(pairs, key=lambda sizes: (resident(sizes), len(sizes)))
