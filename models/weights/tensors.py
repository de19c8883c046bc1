"""What containers of arrays have in common, whatever their format: names, shapes, types, bytes.

A container says first what it holds, without reading it; then hands out one array at a time. It
is written in the same way, a piece at a time, so that neither way needs a second copy in memory.
Knows nothing of networks.
"""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, TypeAlias

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

PIECE = 4 * 2**20  # bytes that are copied or converted at a time
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = {
    "float64": np.dtype("<f8"),
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": BFLOAT16,
}
"""Types that weights may have."""

Give: TypeAlias = Callable[[str], NDArray[Any]]
"""Gives the array of a name."""


class Unusable(ValueError):
    """A file that cannot be read, or weights that do not fit: all that is wrong, one a line.

    `models` and `fits` do not know each other, so this is no `fits.base.errors.UserError`;
    `scaling` makes it one.
    """

    def __init__(self, mistakes: Iterable[str]):
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(self.mistakes))


class Spec(NamedTuple):
    """Shape and type of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{list(self.shape)} {self.dtype.name}"


class Tensors(Protocol):
    """An open container."""

    specs: Mapping[str, Spec]
    metadata: Mapping[str, str]
    """What the file says about itself, in words of whoever wrote it."""

    def read(self, name: str) -> NDArray[Any]:
        """One array; `Unusable` where its bytes are not what the file promised."""


def float_type(name: str) -> np.dtype[Any]:
    """The type of that name in `FLOATS`; `Unusable` where there is none."""
    if name not in FLOATS:
        raise Unusable([f"weights have no type {name!r}; use {', '.join(FLOATS)}."])
    return FLOATS[name]


def damaged(path: Path, name: str, how: object) -> Unusable:
    return Unusable([f"{path}: {name} cannot be read ({how}); the file is damaged or cut short."])


def filled(file: Any, spec: Spec) -> NDArray[Any]:
    """A flat array of the next bytes of an open file; EOFError where there are too few."""
    flat = np.empty(math.prod(spec.shape), spec.dtype)
    rest = flat.view(np.uint8).data
    while rest:
        count = file.readinto(rest[:PIECE])  # zipfile makes a copy of what it is asked for
        if not count:
            raise EOFError("its bytes end early")
        rest = rest[count:]
    return flat


def pieces(array: NDArray[Any], dtype: np.dtype[Any]) -> Iterator[memoryview]:
    """The array's bytes in C order as `dtype`, little-endian, at most about `PIECE` at a time."""
    if array.ndim == 0 or array.size * max(array.itemsize, dtype.itemsize) <= PIECE:
        yield np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8).data
        return
    row = array[0].size * max(array.itemsize, dtype.itemsize)
    step = PIECE // row
    for first in range(0, len(array), max(step, 1)):
        yield from pieces(array[first : first + step] if step else array[first], dtype)


@contextmanager
def written_aside(path: Path) -> Iterator[IO[bytes]]:
    """A file that becomes `path` when the block ends well, and vanishes otherwise.

    Where `path` is a link, what it points to is replaced and not the link. `fits.base.files` has
    such a writer too, which `models` may not import.

    Raises:
      OSError: no file can be made there; it names `path`.
    """
    path = path.resolve()
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        opened = aside.open("wb")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
