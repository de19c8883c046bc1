"""Which kind of file a path is, by its extension; what else it may be, by its beginning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from models.weights import npz, safetensors
from models.weights.tensors import Tensors, Unusable

CONTAINERS = {".npz": npz, ".safetensors": safetensors}
BEGINNINGS = (
    (b"PK", "a zip archive, as .npz and PyTorch's own files are"),
    (b"\x93NUMPY", "a single NumPy array (.npy)"),
    (b"\x80", "a Python pickle, which could run code when it is read"),
    (b"\x89HDF", "an HDF5 file"),
)
"""How files begin that are mistaken for others."""


def container(path: Path) -> ModuleType:
    """`npz` or `safetensors`: what reads and writes files of that extension."""
    if path.suffix not in CONTAINERS:
        known = " or ".join(CONTAINERS)
        raise Unusable([f"{path} does not end in {known}, which are what weights are kept in."])
    return CONTAINERS[path.suffix]


@contextmanager
def opened(path: Path) -> Iterator[Tensors]:
    """The file at `path`, open; `Unusable` where it is not what its extension says."""
    kind = container(path)
    beginning = path.open("rb")
    with beginning:
        head = beginning.read(9)
    found = next((words for start, words in BEGINNINGS if head.startswith(start)), None)
    if head[8:] == b"{":
        found = "a .safetensors"
    right = "a .safetensors" if kind is safetensors else BEGINNINGS[0][1]
    if found is not None and found != right:
        raise Unusable([f"{path} is no {path.suffix}: it begins like {found}."])
    with kind.opened(path) as tensors:
        yield tensors
