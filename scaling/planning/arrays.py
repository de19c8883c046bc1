"""Every array of a train state: its shape, and the bytes it takes. Knows no JAX.

What a network allocates, told again from its shape, so that a plan needs no network; a test holds
it against the network's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal, TypeAlias

from models.cost import forward_macs, parameters
from models.shapes import CHANNELS, MixerShape, Shape, TextShape, ViTShape
from scaling.objectives.config import Pass
from scaling.training.run import Run

Place: TypeAlias = Literal["bottom", "blocks", "top"]
"""Below the blocks, one of their stacks, or above them, the classifier included."""

FACTOR_FROM = 32  # as `scaling.training.optimizer.FACTOR_FROM`, which needs JAX
WHOLE_UP_TO = 2**14  # as `scaling.training.placement.WHOLE_UP_TO`
LANES, SUBLANES = 128, 8  # a TPU's tile: the last two dimensions are padded to multiples


@dataclass(frozen=True)
class Parameter:
    """One array of parameters.

    Fields:
      place: where in the network.
      shape: of a stack, that of one layer.
      layers: that are stacked; 1 outside a stack.
    """

    place: Place
    shape: tuple[int, ...]
    layers: int = 1

    @property
    def whole(self) -> tuple[int, ...]:
        """The shape as it is kept: layers first."""
        return (self.layers, *self.shape) if self.place == "blocks" else self.shape


def parameter_arrays(shape: Shape, classes: int) -> list[Parameter]:
    """All of a network and of its classifier; those of a BiT as if they were one."""
    return arrays_of(Pass(forward_macs(shape, classes), shape=shape))


def all_arrays(run: Run) -> tuple[list[Parameter], list[Parameter]]:
    """What a run's optimizer trains, and what its objective has beside that: a teacher, a moving
    average."""
    own = [each for each in passes_of(run) if not each.shared]
    trained, beside = (
        [array for each in own if each.trained is wanted for array in arrays_of(each)]
        for wanted in (True, False)
    )
    return trained, beside


def passes_of(run: Run) -> Sequence[Pass]:
    """What a step sends images through; of an objective that does not say, a classifier."""
    model = run.model
    return run.passes or (Pass(forward_macs(model, run.data.classes), shape=model),)


def arrays_of(each: Pass) -> list[Parameter]:
    """Of the network of a pass and the layers on it."""
    match each.shape:
        case None:
            arrays = []
        case ViTShape() | TextShape():
            arrays = list(_transformer(each.shape))
        case MixerShape():
            arrays = list(_mixer(each.shape))
        case _:
            arrays = [Parameter("top", (parameters(each.shape),))]
    return arrays + [Parameter("top", shape) for shape in _layers(each) if math.prod(shape)]


def outputs(each: Pass) -> int:
    """Numbers that the layers on a network make of an example."""
    return sum(shape[1] for shape in _layers(each) if len(shape) == 2)


def _layers(each: Pass) -> Sequence[tuple[int, ...]]:
    """Parameters of the layers on a network."""
    if each.layers is not None:
        return each.layers
    assert each.shape is not None
    features = each.shape.features
    many = (each.macs - forward_macs(each.shape)) // features
    return [(features, many), (many,)]


def _transformer(shape: ViTShape | TextShape) -> Iterator[Parameter]:
    width, biased = shape.width, shape.qkv_and_norm_biases
    norm = [(width,)] * (1 + biased)
    attention = _attention(shape)
    mlp = _mlp(width, shape.mlp)
    if isinstance(shape, TextShape):
        yield Parameter("bottom", (shape.vocabulary, width))
        yield Parameter("bottom", (1, shape.length, width))
        norms = norm * 2
    else:
        yield from _bottom(shape)
        if shape.position == "learned":
            yield Parameter("bottom", (1, shape.patches, width))
        if shape.pool == "token":
            yield Parameter("bottom", (1, 1, width))
        norms = norm * (1 if shape.block == "parallel" else 2)
    for each in norms + attention + mlp:
        yield Parameter("blocks", each, shape.depth)
    top: list[tuple[int, ...]] = [*norm]
    if shape.pool == "map":
        top += [(1, 1, width), *attention, *norm, *mlp]
    if isinstance(shape, ViTShape) and shape.pre_logits:
        top += [(width, shape.pre_logits), (shape.pre_logits,)]
    for each in top:
        yield Parameter("top", each)


def _attention(shape: ViTShape | TextShape) -> list[tuple[int, ...]]:
    size, biased = shape.width // shape.heads, shape.qkv_and_norm_biases
    into = [(shape.width, shape.heads, size)] + [(shape.heads, size)] * biased
    norms = [(size,)] * (1 + biased) if shape.query_key_norm else []
    return into * 3 + [(shape.heads, size, shape.width), (shape.width,)] + norms * 2


def _mixer(shape: MixerShape) -> Iterator[Parameter]:
    yield from _bottom(shape)
    norms: list[tuple[int, ...]] = [(shape.width,)] * 4
    mlps = _mlp(shape.patches, shape.mlp_tokens) + _mlp(shape.width, shape.mlp)
    for each in norms + mlps:
        yield Parameter("blocks", each, shape.depth)
    for each in norms[:2]:
        yield Parameter("top", each)


def _bottom(shape: ViTShape | MixerShape) -> Iterator[Parameter]:
    yield Parameter("bottom", (CHANNELS * shape.patch**2, shape.width))
    yield Parameter("bottom", (shape.width,))


def _mlp(width: int, hidden: int) -> list[tuple[int, ...]]:
    return [(width, hidden), (hidden,), (hidden, width), (width,)]


def moments(parameter: Parameter, optimizer: str) -> list[tuple[tuple[int, ...], int]]:
    """Shape and bytes a number of every array that an optimizer keeps for a parameter.

    Counters and placeholders of a few bytes are left out.
    """
    whole = parameter.whole
    match optimizer:
        case "adam":
            return [(whole, 4), (whole, 4)]
        case "adam-bf16":
            return [(whole, 2), (whole, 4)]
        case "sgd":
            return [(whole, 4)]
        case "sgd-bf16":
            return [(whole, 2)]
    momentum = (whole, 4 if optimizer == "adafactor-f32" else 2)
    shape = parameter.shape
    if len(shape) < 2 or sorted(shape)[-2] < FACTOR_FROM:
        return [momentum, (whole, 4)]
    *_, second, largest = sorted(range(len(shape)), key=lambda dimension: shape[dimension])
    stack = whole[: len(whole) - len(shape)]
    means = [
        stack + tuple(size for k, size in enumerate(shape) if k != left_out)
        for left_out in (largest, second)
    ]
    return [momentum, *((mean, 4) for mean in means)]


def shard(
    shape: tuple[int, ...],
    sizes: tuple[int, ...],
    *,
    stacked: bool,
    tensor: int = 1,
    width: int | None = None,
) -> tuple[int, ...]:
    """The part of an array that one device has, by the rule of `placement.split_largest`.

    Args:
      sizes: of the mesh axes that the state is split over.
      stacked: whether the first dimension counts layers, which are never split.
      tensor: devices that share heads, hidden features and classes.
      width: features of a token, which `tensor` never splits.
    """
    part = list(shape)
    free = set(range(1 if stacked else 0, len(shape)))
    if math.prod(shape[dimension] for dimension in free) <= WHOLE_UP_TO:
        return shape
    shared = [d for d in sorted(free) if shape[d] % tensor == 0 and shape[d] != width]
    if tensor > 1 and shared:
        part[shared[0]] //= tensor
        free.remove(shared[0])
    for size in sorted(sizes, reverse=True):
        fits = [dimension for dimension in free if size > 1 and shape[dimension] % size == 0]
        if fits:
            chosen = max(fits, key=lambda dimension: (shape[dimension], dimension))
            part[chosen] //= size
            free.remove(chosen)
    return tuple(part)


def padded_bytes(shape: tuple[int, ...], size: int, *, tiled: bool) -> int:
    """Bytes of an array.

    Args:
      size: bytes a number.
      tiled: as a TPU keeps it: in tiles of 8 x 128 numbers over two of its dimensions, those whose
        padding is least, as the compiler chooses for what a program takes in and gives back.
    """
    numbers = math.prod(shape)
    if not tiled or not numbers:
        return numbers * size
    if len(shape) < 2:
        return rounded_up(numbers, LANES) * size
    return size * min(
        numbers
        // (shape[lanes] * shape[rows])
        * rounded_up(shape[lanes], LANES)
        * _rows(shape[rows])
        for lanes, rows in permutations(range(len(shape)), 2)
    )


def _rows(rows: int) -> int:
    """Padded: fewer than 8 rows come in smaller tiles of 1, 2 or 4."""
    return rounded_up(rows, SUBLANES) if rows > SUBLANES // 2 else 1 << (rows - 1).bit_length()


def rounded_up(number: float, to: int) -> int:
    """The next multiple of `to`."""
    return math.ceil(number / to) * to
