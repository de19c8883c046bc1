"""The safetensors format: a JSON table of names, types and places, then the bytes.

Everything that the table says is checked before a byte of an array is read: the places must fill
the file without gap or overlap, and be as long as shape and type demand. Eight bytes at the start
are the table's length, little-endian.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from models.weights.tensors import (
    BFLOAT16,
    Give,
    Spec,
    Unusable,
    damaged,
    filled,
    pieces,
    written_aside,
)

LONGEST_TABLE = 100_000_000  # bytes; the limit of the format's own library
ALIGNED = 8  # bytes
METADATA = "__metadata__"
DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": BFLOAT16,
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Safetensors:
    """An open .safetensors."""

    def __init__(self, path: Path, file: IO[bytes]):
        self._path = path
        self._file = file
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= min(LONGEST_TABLE, size - 8):
            raise Unusable(
                [f"{path} is no .safetensors, or is cut short: it begins with no table."]
            )
        self._begins = 8 + length
        try:
            self.specs, self._places, self.metadata = table(file.read(length), size - 8 - length)
        except ValueError as error:
            raise Unusable([f"{path}: {error}"]) from None

    def read(self, name: str) -> NDArray[Any]:
        spec = self.specs[name]
        self._file.seek(self._begins + self._places[name])
        try:
            return filled(self._file, spec).reshape(spec.shape)
        except EOFError as error:
            raise damaged(self._path, name, error) from None


def table(text: bytes, size: int) -> tuple[dict[str, Spec], dict[str, int], dict[str, str]]:
    """What the table says: each array's shape and type, where it begins, and the metadata.

    Args:
      text: the JSON.
      size: bytes that follow it.

    Raises:
      ValueError: it is not JSON, or what it says cannot be.
    """
    try:
        said = json.loads(text.decode("utf-8"), object_pairs_hook=_once)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"its table is not JSON ({error}).") from None
    if not isinstance(said, dict):
        raise ValueError("its table is not a JSON object.")
    metadata = said.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError(f"{METADATA} is not a table of texts.")
    specs, places = {}, {}
    for name, entry in said.items():
        specs[name], places[name] = _entry(name, entry)
    end = 0
    for name in sorted(places, key=lambda name: (places[name], specs[name].bytes)):
        if places[name] != end:
            raise ValueError(f"{name} begins at byte {places[name]:_}, but {end:_} is next.")
        end += specs[name].bytes
    if end != size:
        raise ValueError(f"its arrays take {end:_} bytes, {size:_} are there: it is cut short.")
    return specs, places, metadata


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("its table names something twice.")
    return found


def _entry(name: str, entry: Any) -> tuple[Spec, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name} does not say dtype, shape and data_offsets, and no more.")
    dtype = DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise ValueError(f"{name} has dtype {entry['dtype']!r}; known are {', '.join(DTYPES)}.")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:
        raise ValueError(f"{name}: shape {shape!r} or data_offsets {offsets!r} cannot be.")
    spec = Spec(tuple(shape), dtype)
    if offsets[1] - offsets[0] != spec.bytes:
        given = offsets[1] - offsets[0]
        raise ValueError(f"{name} is {spec}: {spec.bytes:_} bytes, but {given:_} are given.")
    return spec, offsets[0]


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) is int and each >= 0 for each in value)


@contextmanager
def opened(path: Path) -> Iterator[Safetensors]:
    """The .safetensors at `path`; `Unusable` where it is none, OSError where it cannot be read."""
    with path.open("rb") as file:
        yield Safetensors(path, file)


def write(path: Path, specs: Mapping[str, Spec], give: Give, metadata: Mapping[str, str]) -> None:
    """Write arrays as a .safetensors; the file appears when it is whole.

    Args:
      specs: what will be in it, in that order.
      give: gives the arrays, one after another; their types are converted to those of `specs`.
      metadata: what the file will say about itself.
    """
    said: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    end = 0
    for name, spec in specs.items():
        offsets = [end, end := end + spec.bytes]
        said[name] = {
            "dtype": NAMES[spec.dtype],
            "shape": list(spec.shape),
            "data_offsets": offsets,
        }
    text = json.dumps(said, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNED)
    with written_aside(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, spec in specs.items():
            for piece in pieces(give(name), spec.dtype):
                file.write(piece)
