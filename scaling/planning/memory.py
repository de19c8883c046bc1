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

from scaling.objectives.config import Pass
from scaling.planning.activations import Arrays
from scaling.planning.arrays import all_arrays, moments, outputs, padded_bytes, passes_of, shard
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
    act = _Activations.of(run, now, topology, spec)
    kept, logits = act.kept, act.logits
    fused, sums = spec.update == "fused", 1.0 + (spec.microbatches > 1)
    if run.recipe.privacy is not None:  # the gradient of each image of a part, and their sum
        sums = 1 + math.ceil(now)
    early = not fused and _above_first(state, act, kept, logits)
    of_blocks = 0.0 if fused else state.blocks * sums
    of_top = state.top * sums if early else 0.0
    block = act.block
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
        blocks += state.layer * act.of_compute + (top if fused else state.layer)
    together = early or spec.fsdp > 1 or state.top <= COMBINED * MIB
    return Memory(
        state=state.bytes,
        batch=spec.microbatches * run.views * act.image,
        kept=kept,
        gradients=of_blocks + of_top + fused * state.layer,
        made=act.made,
        moments={
            "patches": act.patches + fused * kept,
            "beside": act.beside,
            "top": below + (top if together else state.largest) + 2 * logits,
            "blocks": blocks,
            "updates": act.flat + (0.0 if fused else (state.blocks + top) * sums),
        },
    )


def _above_first(state: _State, act: _Activations, kept: float, logits: float) -> bool:
    """Whether a plain step's gradients above the blocks come before those of the blocks.

    They do where what they would wait with is more than they are; and, as if the compiler's
    scheduler counted twice what a loop is given and gives back, where the forward loop then has
    more (twice what is kept) than the backward loop (that once, twice the blocks' gradients, and
    those above them). Inferred from schedules.
    """
    return act.pooled + logits > state.top or kept > 2 * state.blocks + state.top


class _Activations(NamedTuple):
    """Bytes that the passes of a step make on one device, of the images that it sees at once.

    Fields:
      image: as they come, one view of each.
      flat: of patches, for the gradients of embeddings.
      patches: the images as they are cut.
      kept: of all blocks of what is trained, for their backward passes.
      block: one block's backward pass at its fullest.
      pooled: what the gradients above the blocks need.
      logits: what the layers on networks make, or similarities of all images with each other.
      made: all that all blocks make.
      beside: a pass of what is not trained, at its fullest.
      of_compute: bytes of the compute dtype over those of float32.
    """

    image: float
    flat: float
    patches: float
    kept: float
    block: float
    pooled: float
    logits: float
    made: float
    beside: float
    of_compute: float

    @classmethod
    def of(cls, run: Run, now: float, topology: Topology, spec: PlacementSpec) -> _Activations:
        """
        Args:
          now: images that a device sees at once.
        """
        kind, passes = topology.kind, passes_of(run)

        def arrays(each: Pass) -> Arrays:
            assert each.shape is not None
            return Arrays.of_network(each.shape, run, now * each.examples, kind, spec.tensor)

        trained, beside = (
            [arrays(each) for each in passes if each.shape and each.trained is wanted]
            for wanted in (True, False)
        )
        backward = [each.to_inputs > 0 for each in passes if each.shape and not each.trained]
        fused = spec.update == "fused"

        def block(a: Arrays) -> float:
            return max(a.moments(spec.recomputed, fused=fused).values())

        alone = [  # not trained, but with a gradient of what goes in
            a.patches + (a.depth * a.kept(spec.recomputed) + block(a) if to_inputs else a.forward)
            for a, to_inputs in zip(beside, backward, strict=True)
        ]
        logits = sum(4.0 * math.ceil(now * each.examples) * outputs(each) for each in passes)
        image = Arrays.of(run, now, kind, spec.tensor)
        return cls(
            image=image.image,
            flat=sum(a.flat for a in trained),
            patches=max([a.patches for a in (*trained, *beside)]),
            kept=sum(a.depth * a.kept(spec.recomputed) for a in trained),
            block=max(map(block, trained)),
            pooled=sum(a.pooled for a in trained),
            logits=logits + _similarities(run, now),
            made=sum(a.depth * a.made for a in (*trained, *beside)),
            beside=max(alone, default=0.0),
            of_compute=image.size / 4,
        )


def _similarities(run: Run, now: float) -> float:
    """Of what an objective compares, those of this device with all of the batch, or with as many
    at a time as it does; an upper bound where it compares parts of them."""
    objective = run.objective
    if not (objective.couples_examples and (objective.views > 1 or objective.reads_text)):
        return 0.0
    others = run.batch * objective.views
    if objective.compared_at_once is not None:  # parts of equal size
        others = math.ceil(others / math.ceil(others / objective.compared_at_once))
    return 4.0 * (now * objective.views) * others


class _State(NamedTuple):
    """Bytes of parameters and moments on one device, and of what an objective has beside.

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
        trained, beside = all_arrays(run)
        for array, own_moments in [(a, True) for a in trained] + [(a, False) for a in beside]:
            stacked = array.place == "blocks"

            def size_of(shape: tuple[int, ...], each: int, stacked: bool = stacked) -> int:
                part = shard(shape, sizes, stacked=stacked, tensor=tensor, width=width)
                return padded_bytes(part, each, tiled=tiled)

            def whole(shape: tuple[int, ...]) -> int:  # gathered for its use
                part = shard(shape, (), stacked=False, tensor=tensor, width=width)
                return padded_bytes(part, 4, tiled=tiled)

            own = size_of(array.whole, 4)
            if not own_moments:
                everything += own
                continue
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
    trained, beside = all_arrays(run)

    def resident(sizes: tuple[int, ...]) -> float:
        found = 0.0
        kept = [(array, moments(array, run.recipe.optimizer)) for array in trained]
        for array, more in [*kept, *((array, []) for array in beside)]:
            stacked = array.place == "blocks"
            for shape, size in [(array.whole, 4), *more]:
                found += size * math.prod(shard(shape, sizes, stacked=stacked))
        return found

    return min(pairs, key=lambda sizes: (resident(sizes), len(sizes)))
