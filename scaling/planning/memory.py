"""What a training step takes of a device's memory, in closed form. Nothing is compiled.

A sum over what is alive together, at each of the moments that may be the fullest:

    patches  state, and the images as they are cut
    top      state, what blocks keep, gradients above the blocks, logits
    blocks   state, what blocks keep, all gradients, or one layer's in a fused step, and one block
             forward and backward

State and batch are exact: every array with its padding. What is alive inside a block is counted in
arrays of scores, of hidden features and of tokens; the counts are what the TPU's compiler was seen
to keep at once (`benchmarks/memory_model.py` holds the sum against it). Knows no JAX.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from models.cost import forward_macs
from models.precision import precision_for
from models.shapes import CHANNELS, BiTShape, ViTShape
from scaling.planning.arrays import LANES, SUBLANES, moments, padded_bytes, parameter_arrays, shard
from scaling.planning.devices import Platform, Topology
from scaling.training.placement_spec import PlacementSpec
from scaling.training.run import Run

HIDDEN, TOKENS, HEADS = 2, 7, 3
"""Arrays in the compute dtype that are alive at once inside one block, forward and backward: hidden
features before the GELU and their gradient; tokens; query, key and value, head by head. Beside them
scores: float32 weights, their cast, and a copy of it in the layout of the other product."""
KEPT_HIDDEN, KEPT_TOKENS, KEPT_HEADS = 5, 3, 3
KEPT_FLOATS, KEPT_HEAD_FLOATS = 6, 1
"""The same of what is kept of a block when nothing is computed again, and float32 arrays of tokens
by the norms and by the softmax; scores: float32 weights and their cast. The cast of the block's own
parameters is kept as well."""
VMEM = {"v2": 16, "v3": 16, "v4": 16, "v5e": 128, "v5p": 64, "v6e": 128}
"""MiB of a TPU's memory on the chip, where the arrays of a block live instead if each fits: v3's as
its compiler was seen to use it."""
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one device.

    Fields:
      state: parameters and moments, as a device holds them.
      batch: its images.
      kept: of all blocks, for the backward pass.
      gradients: alive with one block.
      block: one block's arrays, in memory, forward and backward.
      top: gradients above the blocks, and logits.
      patches: the images as they are cut.
      made: all that all blocks make, wherever it lives.
    """

    state: float
    batch: float
    kept: float
    gradients: float
    block: float
    top: float
    patches: float
    made: float

    @property
    def peak(self) -> float:
        """At the fullest moment."""
        moments = (
            self.patches,
            self.kept + self.top,
            self.kept + self.gradients + self.block,
        )
        return self.state + self.batch + max(moments)

    @property
    def moved(self) -> float:
        """Between memory and device in a step, at the least: all is written once and read once."""
        return 2 * (self.state + self.batch + self.kept + self.gradients + self.made)


def predicted(run: Run, spec: PlacementSpec, topology: Topology) -> Memory:
    """Of each device.

    Args:
      run: its batch is that of all devices together.
    """
    sizes = mesh_sizes(spec.fsdp, run)
    state = _State.of(run, sizes, tiled=topology.kind.platform == "tpu")
    images = run.batch / topology.devices
    now = images / spec.microbatches
    act = _Activations.of(run, now, topology.kind.platform)
    fused, shared = spec.update == "fused", spec.fsdp > 1
    cast = state.layer * act.size / 4
    casts = cast if spec.recomputed == "none" and act.size < 4 else 0.0
    gradients = state.layer if fused else state.parameters * (1 + (spec.microbatches > 1))
    return Memory(
        state=state.bytes,
        batch=images * run.objective.views * act.image,
        kept=act.depth * (act.kept(spec.recomputed) + casts) + act.flat * fused,
        gradients=gradients + state.layer * (shared and not fused),
        block=_in_memory(act, spec, topology) + cast * shared,
        top=state.top + 2 * 4.0 * math.ceil(now) * run.data.classes,
        patches=act.patches,
        made=act.depth * act.block,
    )


def _in_memory(act: _Activations, spec: PlacementSpec, topology: Topology) -> float:
    """Bytes of one block, forward and backward, that are not on the chip.

    Where all is kept, as much again is alive of the block at hand: its slice and its gradients.
    """
    if spec.recomputed == "none":
        return act.kept("none")
    on_chip = VMEM.get(topology.kind.name, 0) * MIB
    return act.block if 4 * act.scores > on_chip else max(0.0, act.block - on_chip)


class _State(NamedTuple):
    """Bytes of parameters and moments on one device.

    Fields:
      bytes: of all.
      parameters: without moments; as many float32 gradients have.
      layer: parameters of one whole layer.
      top: parameters above the blocks.
    """

    bytes: float
    parameters: float
    layer: float
    top: float

    @classmethod
    def of(cls, run: Run, sizes: tuple[int, ...], *, tiled: bool) -> _State:
        everything, parameters, layer, top = 0.0, 0.0, 0.0, 0.0
        for array in parameter_arrays(run.model, run.data.classes):
            stacked = array.place == "blocks"

            def size_of(shape: tuple[int, ...], each: int, stacked: bool = stacked) -> int:
                return padded_bytes(shard(shape, sizes, stacked=stacked), each, tiled=tiled)

            own = size_of(array.whole, 4)
            parameters += own
            everything += own * (2 if run.recipe.polyak else 1)
            everything += sum(size_of(*each) for each in moments(array, run.recipe.optimizer))
            layer += padded_bytes(array.shape, 4, tiled=tiled) if stacked else 0
            top += own if array.place == "top" else 0
        return cls(everything, parameters, layer, top)


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


@dataclass(frozen=True, kw_only=True)
class _Activations:
    """Bytes of what a block makes of a batch, padded as a TPU pads it where it is one.

    Fields:
      depth: of blocks.
      size: bytes a number of the compute dtype.
      scores: how many numbers, padded.
      whole_scores: the same in the layout that a large batch has, whose padding is none.
      hidden, tokens, heads: one array of each in the compute dtype; tokens by head have the tokens
        innermost.
      image: one image, as it comes.
      flat: all images as rows of patches, which the embedding's gradient needs.
      patches: all images as they are cut.
      convolutions: a BiT, whose `tokens` are all that is kept.
    """

    depth: int
    size: int
    scores: float
    whole_scores: float
    hidden: float
    tokens: float
    heads: float
    image: float
    flat: float
    patches: float
    convolutions: bool = False

    @classmethod
    def of(cls, run: Run, images: float, platform: Platform) -> _Activations:
        shape, size = run.model, 4 if run.compute == "float32" else 2
        tiled = platform == "tpu"
        side = run.data.resolution
        rows, lanes = (SUBLANES, LANES) if tiled else (1, 1)
        image = side * _up(side, lanes) * CHANNELS
        if isinstance(shape, BiTShape):
            return cls._of_convolutions(shape, images, size, float(image))
        n = shape.tokens if isinstance(shape, ViTShape) else shape.patches
        padded = images * _up(n, rows) * size
        heads = shape.heads if isinstance(shape, ViTShape) else 0
        hidden = shape.mlp if isinstance(shape, ViTShape) else max(shape.mlp, shape.mlp_tokens)
        grid, patch = shape.grid, shape.patch
        fused = precision_for(platform, run.compute).attention == "cudnn"  # never writes scores
        padded_scores = 0.0 if fused else images * heads * _up(n, rows) * _up(n, lanes)
        by_head = padded * shape.width
        if isinstance(shape, ViTShape):
            each = shape.width // heads
            padding = min(_up(n, lanes) * _up(each, rows), _up(n, rows) * _up(each, lanes))
            by_head = images * heads * padding * size
        return cls(
            depth=shape.depth,
            size=size,
            scores=padded_scores,
            whole_scores=images * heads * n**2 if tiled and images >= lanes else padded_scores,
            hidden=padded * _up(hidden, lanes),
            tokens=padded * _up(shape.width, lanes),
            heads=by_head,
            image=image,
            flat=images * _up(n, rows) * CHANNELS * patch**2 * size,
            patches=images * size * grid * patch**2 * CHANNELS * _up(grid, lanes),
        )

    @classmethod
    def _of_convolutions(
        cls, shape: BiTShape, images: float, size: int, image: float
    ) -> _Activations:
        """A BiT: about two numbers are kept of each that a kernel makes; told apart no further."""
        outputs = 2 * images * size * forward_macs(shape) / (9 * shape.width)
        nothing = {"scores": 0.0, "whole_scores": 0.0, "hidden": 0.0, "heads": 0.0}
        return cls(
            depth=1,
            size=size,
            tokens=outputs,
            image=image,
            flat=0.0,
            patches=0.0,
            convolutions=True,
            **nothing,
        )

    @property
    def block(self) -> float:
        """One block, forward and backward."""
        if self.convolutions:
            return self.tokens / 4  # a guess: the largest of four stages
        scores = (4 + self.size) * self.whole_scores + self.size * self.scores
        return scores + HIDDEN * self.hidden + TOKENS * self.tokens + HEADS * self.heads

    def kept(self, remat: str) -> float:
        """Of one block, for the backward pass; its input is always kept."""
        match remat:
            case _ if self.convolutions:
                return self.tokens
            case "full" | "offload":
                return self.tokens
            case "dots":
                return 3 * self.tokens + 3 * self.heads + self.hidden
        floats = 4 / self.size * (KEPT_FLOATS * self.tokens + KEPT_HEAD_FLOATS * self.heads)
        arrays = KEPT_HIDDEN * self.hidden + KEPT_TOKENS * self.tokens + KEPT_HEADS * self.heads
        scores = (4 + self.size * (self.size < 4)) * self.whole_scores
        return floats + arrays + scores


def _up(number: int, to: int) -> int:
    return math.ceil(number / to) * to
