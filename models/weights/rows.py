"""A layout as a table: our parameter, their array, and the small step between the two.

One table serves reading, writing, the dry run and the mistakes. Most steps are views that copy
nothing. A row stands for all layers; `entries` writes it out, one entry a layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.weights.ours import Parameter

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Rearrangement:
    """There and back again, for one layer.

    Fields:
      there: our arrays -> theirs.
      here: their arrays and our shapes -> ours.
    """

    there: Callable[[Sequence[Array]], list[Array]]
    here: Callable[[Sequence[Array], Sequence[tuple[int, ...]]], list[Array]]


@dataclass(frozen=True)
class TensorRow:
    """Our parameters (mostly one) and their arrays (mostly one) that hold the same numbers.

    Fields:
      ours: paths of `ours.parameters`.
      theirs: names, with {layer} where there is one array a layer.
      first: their number of our layer 0.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    step: Rearrangement
    first: int = 0


@dataclass(frozen=True)
class Entry:
    """A row in one layer.

    Fields:
      layer: which of ours; None where ours has none, or all of them are meant.
      shapes: of our arrays.
      their_shapes: of theirs.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    step: Rearrangement
    layer: int | None
    shapes: tuple[tuple[int, ...], ...]
    their_shapes: tuple[tuple[int, ...], ...]


def row(ours: str, theirs: str, step: Rearrangement | None = None, first: int = 0) -> TensorRow:
    """One of ours, one of theirs; without a step they are the same."""
    return TensorRow((ours,), (theirs,), step or SAME, first)


def entries(rows: Iterable[TensorRow], parameters: Mapping[str, Parameter]) -> list[Entry]:
    """Every row of a parameter that is there, written out over its layers.

    A row without {layer} for a parameter that has layers means the whole stack.
    """
    found = []
    for each in rows:
        there = [parameters[path] for path in each.ours if path in parameters]
        if len(there) < len(each.ours):
            continue
        layers = there[0].layers
        if layers is None or "{layer" not in each.theirs[0]:
            found.append(_entry(each, None, each.theirs, [p.whole for p in there]))
            continue
        for layer in range(layers):
            names = tuple(name.format(layer=layer + each.first) for name in each.theirs)
            found.append(_entry(each, layer, names, [p.shape for p in there]))
    return found


def _entry(
    row: TensorRow, layer: int | None, names: tuple[str, ...], shapes: Sequence[tuple[int, ...]]
) -> Entry:
    nothing = [np.broadcast_to(np.uint8(0), shape) for shape in shapes]  # one byte each
    theirs = tuple(array.shape for array in row.step.there(nothing))
    return Entry(row.ours, names, row.step, layer, tuple(shapes), theirs)


def _one(there: Callable[[Array], Array], here: Callable[[Array], Array]) -> Rearrangement:
    """A step of one array to one; `here` may leave splitting of axes to the reshape at its end."""
    return Rearrangement(
        lambda arrays: [there(arrays[0])],
        lambda arrays, shapes: [here(arrays[0]).reshape(shapes[0])],
    )


def _to_weight(kernel: Array) -> Array:
    """Inputs before outputs, as here, to PyTorch's [outputs, inputs]."""
    return kernel.T


def _into_heads_to_weight(kernel: Array) -> Array:
    """[width, heads, size] to PyTorch's [heads * size, width]."""
    return kernel.reshape(len(kernel), -1).T


def _out_of_heads_to_weight(kernel: Array) -> Array:
    """[heads, size, width] to PyTorch's [width, heads * size]."""
    return kernel.reshape(-1, kernel.shape[-1]).T


def _to_patches(kernel: Array) -> Array:
    """[patch * patch * 3, width] to the convolution [patch, patch, 3, width] that it is."""
    patch = math.isqrt(len(kernel) // 3)
    return kernel.reshape(patch, patch, 3, -1)


SAME = _one(lambda a: a, lambda a: a)
TRANSPOSED = _one(_to_weight, lambda a: a.T)
FLAT = _one(lambda a: a.reshape(-1), lambda a: a)
INTO_HEADS = _one(_into_heads_to_weight, lambda a: a.T)
OUT_OF_HEADS = _one(_out_of_heads_to_weight, lambda a: a.T)
PATCHES = _one(_to_patches, lambda a: a)
PATCHES_OIHW = _one(
    lambda a: _to_patches(a).transpose(3, 2, 0, 1), lambda a: a.transpose(2, 3, 1, 0)
)
OIHW = _one(lambda a: a.transpose(3, 2, 0, 1), lambda a: a.transpose(2, 3, 1, 0))
POINT_OIHW = _one(lambda a: a.T[:, :, None, None], lambda a: a[:, :, 0, 0].T)
"""A matrix as PyTorch's 1x1 convolution."""
POINT_HWIO = _one(lambda a: a[None, None], lambda a: a)
"""A matrix as a 1x1 convolution."""
IMAGE = _one(lambda a: a[None, None, None], lambda a: a)
"""A vector of channels that is broadcast over an image."""
UNBATCHED = _one(lambda a: a[0], lambda a: a)
"""Without the leading axis of length 1."""


def fused(step: Rearrangement) -> Rearrangement:
    """Several of ours, each after `step`, as one array of theirs, one below the other."""

    def there(arrays: Sequence[Array]) -> list[Array]:
        return [np.concatenate([step.there([array])[0] for array in arrays])]

    def here(arrays: Sequence[Array], shapes: Sequence[tuple[int, ...]]) -> list[Array]:
        parts = np.split(arrays[0], len(shapes))
        return [step.here([part], [shape])[0] for part, shape in zip(parts, shapes, strict=True)]

    return Rearrangement(there, here)


def _token_to_table(arrays: Sequence[Array]) -> list[Array]:
    token, position = arrays
    return [token, np.concatenate([np.zeros_like(token), position], axis=1)]


def _token_from_table(arrays: Sequence[Array], _: Sequence[tuple[int, ...]]) -> list[Array]:
    token, table = arrays
    token = token.astype(np.float64)  # in the type of the file the sum would be rounded
    return [token + table[:, :1], table[:, 1:]]


TOKEN_IN_TABLE = Rearrangement(_token_to_table, _token_from_table)
"""Class token and positions, where theirs has a position for the token too.

Only the sum of the two ever counts, so reading adds them; writing leaves the position zero.
"""


def linear(ours: str, theirs: str, step: Rearrangement | None = None) -> list[TensorRow]:
    """A product with a bias as PyTorch has it; `step` is that of the kernel."""
    flat = FLAT if step is INTO_HEADS else SAME
    return [
        row(f"{ours}/kernel", f"{theirs}.weight", step or TRANSPOSED),
        row(f"{ours}/bias", f"{theirs}.bias", flat),
    ]


def norm(ours: str, theirs: str, first: int = 0) -> list[TensorRow]:
    """A norm as PyTorch has it."""
    return [
        row(f"{ours}/scale", f"{theirs}.weight", first=first),
        row(f"{ours}/bias", f"{theirs}.bias", first=first),
    ]


def qkv(ours: str, theirs: str, of: Sequence[str]) -> list[TensorRow]:
    """Several projections into heads as one of PyTorch's; their name ends before "weight"."""
    return [
        TensorRow(tuple(f"{ours}/{p}/kernel" for p in of), (f"{theirs}weight",), fused(INTO_HEADS)),
        TensorRow(tuple(f"{ours}/{p}/bias" for p in of), (f"{theirs}bias",), fused(FLAT)),
    ]
