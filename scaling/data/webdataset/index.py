"""Where the images of WebDataset's archives lie, with which labels: read from headers, and kept.

An index is kept below the user's cache folder, under a name that changes with the archive. Knows no
source, and not how many classes there are.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fits.base.files import written_aside
from scaling.base.machine import cache_folder
from scaling.data.files.readable import alone
from scaling.data.files.tar_members import TarMember, read_member, tar_members
from scaling.data.files.version import FileVersion
from scaling.data.labels import NONE, assigned, rectangular, why_unusable

IMAGES = ("jpg", "jpeg", "png")
LINK = (
    "it is a link; write the archive with the file itself (tar --hard-dereference, and "
    "--dereference for symbolic links)"
)
LONGEST_LABEL = 4096  # bytes of a .cls member
RULES = 2  # of which keys are wrong: what an index of other rules says is read anew


class Index(NamedTuple):
    """The images of one archive, in its order."""

    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int32]
    """[n, most], padded with -1."""
    names: NDArray[np.bytes_]
    """UTF-8; of a key without an image that of its label."""
    wrong: NDArray[np.bytes_]
    """Why a key is of no use, whatever the classes are; nothing where it is of use."""
    caption_offsets: NDArray[np.int64]
    caption_sizes: NDArray[np.int64]
    """Both 0 where there are no captions."""


@cache
def index_of(shard: FileVersion, label_key: str | None, caption_key: str | None = None) -> Index:
    """Where the images of an archive lie; read from its headers, unless that was done.

    Raises:
      ValueError: it is cut off.
    """
    decides = json.dumps([str(shard.path), *shard[1:], label_key, caption_key, IMAGES, RULES])
    digest = hashlib.sha256(decides.encode()).hexdigest()[:16]
    file = cache_folder() / f"{shard.path.stem[-40:]}-{digest}.index.npz"
    with alone(file) as keeps:
        found = _kept(file) if keeps else None
        if found is None:
            found = _read_headers(shard.path, label_key, caption_key)
            if keeps:
                with written_aside(file) as aside, aside.open("wb") as stream:
                    np.savez(stream, **found._asdict())
    return found


def _kept(file: Path) -> Index | None:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            found = Index(**{name: arrays[name] for name in Index._fields})
    except Exception:  # of zipfile, zlib and NumPy, whatever a damaged file makes of them
        return None
    kinds = [array.dtype.kind for array in found]
    same = len({len(array) for array in found}) == 1
    flat = [array.ndim for array in found] == [1, 1, 2, 1, 1, 1, 1]
    return found if same and flat and kinds == ["i", "i", "i", "S", "S", "i", "i"] else None


def _read_headers(archive: Path, label_key: str | None, caption_key: str | None) -> Index:
    images: dict[str, TarMember] = {}
    labels: dict[str, tuple[int, ...] | None] = {}
    captions: dict[str, TarMember] = {}
    lone: dict[str, str] = {}
    dotted: dict[str, list[str]] = {}
    twice: dict[str, str] = {}
    links: list[str] = []
    for member in tar_members(archive, links=links):
        key, ends = _parts(member.name)
        if ends in IMAGES and key in images:
            lone[member.name] = f"it is a second image of the key {key!r}"
        elif ends in IMAGES:
            images[key] = member
        elif caption_key is not None and ends == caption_key.lower():
            if key in captions:
                twice[key] = f"it has two .{caption_key}"
            captions[key] = member
        elif label_key is not None and ends == label_key.lower():
            if key in labels:
                twice[key] = f"it has two .{label_key}"
            labels[key] = _labels(archive, member)
        elif key.rpartition("/")[2] and ends.endswith(tuple(f".{image}" for image in IMAGES)):
            dotted.setdefault(key, []).append(member.name)
    linked = {_parts(name)[0]: name for name in links if _parts(name)[1] in IMAGES}
    no_image = [key for key in labels if key not in images and key not in linked]
    lone |= {f"{key}.{label_key}": "it has no image" for key in no_image}
    lone |= {name: LINK for key, name in linked.items() if key not in images}
    for key in (each for each in dotted if each not in images and each not in labels):
        lone |= {name: _dotted(key, name) for name in dotted[key]}
    wrong = {key: twice.get(key, "") for key in images}
    for key in images:
        if caption_key is not None and key not in captions:
            wrong[key] = f"it has no .{caption_key}"
        if label_key is not None and labels.get(key, ()) is None:
            wrong[key] = f"its .{label_key} holds no class, a whole number from 0"
        if label_key is not None and key not in labels:
            wrong[key] = f"it has no .{label_key}"
    rows = [(labels.get(key) or ()) if label_key else (0,) for key in images] + [()] * len(lone)
    nowhere = TarMember("", 0, 0)
    whole = [*images.values(), *(TarMember(name, 0, 0) for name in lone)]
    said = [captions.get(key, nowhere) for key in images] + [nowhere] * len(lone)
    return Index(
        np.array([member.offset for member in whole], np.int64),
        np.array([member.size for member in whole], np.int64),
        rectangular(rows, max(map(len, rows), default=1) or 1),
        _texts([member.name for member in whole]),
        _texts([*wrong.values(), *lone.values()]),
        np.array([member.offset for member in said], np.int64),
        np.array([member.size for member in said], np.int64),
    )


def _dotted(key: str, name: str) -> str:
    return (
        f"its key {key!r} ends at the first dot, and {name[len(key) :]} is no ending of an image; "
        "rename it, without a dot in the key"
    )


def _parts(name: str) -> tuple[str, str]:
    """The key of a member, and what its name ends in: what lies behind the first dot of its file,
    in small letters."""
    folder, slash, file = name.rpartition("/")
    stem, _, ends = file.partition(".")
    return f"{folder}{slash}{stem}", ends.lower()


def _texts(texts: Sequence[str]) -> NDArray[np.bytes_]:
    return np.array([text.encode("utf-8", "replace") for text in texts] or [b""], "S")[: len(texts)]


def _labels(archive: Path, member: TarMember) -> tuple[int, ...] | None:
    """The numbers that a member holds, without -1; None: it holds something else."""
    if member.size > LONGEST_LABEL:
        return None
    text = read_member(archive, member.offset, member.size).strip()
    if text[:1] + text[-1:] == b"[]":
        text = text[1:-1]
    words = re.split(rb"\s*,\s*|\s+", text.strip()) if text.strip() else []
    if not all(re.fullmatch(rb"-?[0-9]{1,9}", word) for word in words):
        return None
    return tuple(number for number in map(int, words) if number != NONE)


def called(shard: FileVersion, index: Index, i: int) -> str:
    return f"{shard.path}: {index.names[i].decode('utf-8', 'replace')}"


def wrong_in(index: Index, classes: int, most: int | None) -> dict[int, str]:
    """Why keys of an archive are of no use, by their place in it.

    Args:
      most: labels of an image, at most; None: each has one.
    """
    rows = index.labels
    doubtful = ((rows < NONE) | (rows >= classes)).any(1) | (index.wrong != b"")
    counts = (rows != NONE).sum(1)
    doubtful |= counts != 1 if most is None else counts > most
    found = {}
    for i in np.flatnonzero(doubtful).tolist():
        why = index.wrong[i].decode("utf-8", "replace")
        found[i] = why or why_unusable(assigned(rows[i]), classes, most) or ""
    return found
