"""NumPy's archives of arrays, read and written one array at a time.

An .npz is a zip of .npy files. Pickled objects in it are never loaded. bfloat16, which NumPy does
not know, stands there as two bytes of nothing (dtype V2), as JAX's own tools write it.
"""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
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

SUFFIX = ".npy"
LARGEST_RATIO = 1100  # of deflate, which reaches 1032
EPOCH = (1980, 1, 1, 0, 0, 0)  # a zip must name a time; with this one equal weights, equal bytes
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    TypeError,
    MemoryError,
    KeyError,
    OverflowError,
    OSError,  # a seek to where no file has bytes
)
"""What zipfile, zlib and NumPy raise on bytes that they cannot make sense of."""


class Npz:
    """An open .npz."""

    def __init__(self, path: Path, archive: zipfile.ZipFile):
        self.metadata: Mapping[str, str] = {}
        self._path = path
        self._archive = archive
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._fortran: set[str] = set()
        self.specs: dict[str, Spec] = {}
        for member in archive.infolist():
            self._note(member)

    def read(self, name: str) -> NDArray[Any]:
        spec = self.specs[name]
        try:
            with self._archive.open(self._members[name]) as file:
                _header(file)
                flat = filled(file, spec)
                if file.read(1):  # also has zipfile look at the checksum
                    raise ValueError("bytes are left over")
        except BROKEN as error:
            raise damaged(self._path, name, error) from None
        if name in self._fortran:
            return flat.reshape(spec.shape[::-1]).T
        return flat.reshape(spec.shape)

    def _note(self, member: zipfile.ZipInfo) -> None:
        """Takes down what a member holds; nothing but its head is read."""
        path, name = self._path, member.filename.removesuffix(SUFFIX)
        if name == member.filename:
            raise Unusable([_not_an_array(path, name)])
        if name in self.specs:
            raise Unusable([f"{path} holds {name} twice."])
        if member.file_size > LARGEST_RATIO * (member.compress_size + 1):
            raise damaged(path, name, f"{member.file_size:_} bytes cannot have been so small")
        try:
            with self._archive.open(member) as file:
                shape, fortran, dtype = _header(file)
                begins = file.tell()
        except BROKEN as error:
            raise damaged(path, name, error) from None
        if dtype.hasobject:
            raise Unusable(
                [
                    f"{path}: {name} is a pickled Python object, which could run code when it is "
                    f"read; it is not. Save plain arrays."
                ]
            )
        spec = Spec(shape, BFLOAT16 if dtype == np.dtype("V2") else dtype)
        if member.file_size != begins + spec.bytes:
            how = f"{spec} takes {spec.bytes:_} bytes, {member.file_size - begins:_} are there"
            raise damaged(path, name, how)
        self._members[name], self.specs[name] = member, spec
        if fortran:
            self._fortran.add(name)


@contextmanager
def opened(path: Path) -> Iterator[Npz]:
    """The .npz at `path`; `Unusable` where it is none, OSError where it cannot be opened."""
    with path.open("rb") as file:
        try:
            archive = zipfile.ZipFile(file)
        except BROKEN as error:
            how = f"({error}): it is damaged, cut short or of another kind"
            raise Unusable([f"{path} cannot be read as .npz {how}."]) from None
        with archive:
            yield Npz(path, archive)


def write(path: Path, specs: Mapping[str, Spec], give: Give, metadata: Mapping[str, str]) -> None:
    """Write arrays as an .npz, uncompressed; the file appears when it is whole.

    Args:
      specs: what will be in it, in that order.
      give: gives the arrays, one after another; their types are converted to those of `specs`.
      metadata: has no place in an .npz, whose readers take every member for weights.
    """
    del metadata
    with written_aside(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, spec in specs.items():
            member = zipfile.ZipInfo(name + SUFFIX, EPOCH)
            with archive.open(member, "w", force_zip64=True) as out:
                out.write(_head(spec))
                for piece in pieces(give(name), spec.dtype):
                    out.write(piece)


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    if version == (1, 0):
        return npy.read_array_header_1_0(file)
    if version == (2, 0):
        return npy.read_array_header_2_0(file)
    raise ValueError(f"it is .npy of version {version}")


def _head(spec: Spec) -> bytes:
    descr = "|V2" if spec.dtype == BFLOAT16 else spec.dtype.newbyteorder("<").str
    about = {"descr": descr, "fortran_order": False, "shape": spec.shape}
    head = io.BytesIO()
    npy.write_array_header_1_0(head, about)
    return head.getvalue()


def _not_an_array(path: Path, name: str) -> str:
    if name.endswith(".pkl"):
        return (
            f"{path} holds {name}: it is PyTorch's own format, a pickle, which could run code when "
            f"it is read; it is not. Save the weights as .safetensors."
        )
    return f"{path} holds {name}, which is no array ({SUFFIX}); it is a zip, but no .npz."
