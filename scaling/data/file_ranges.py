"""Where the images of a set lie: ranges of files, in the order of the images' numbers.

Their digest says which image has which number; two sets have those images in common that lie in the
same files. Knows no format: each source says its own ranges (`SourceConfig.file_ranges`).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from scaling.base.config import Config, contents

NOT_IDENTITY = {"resolution", "decode", "skip_unreadable"}
"""Fields of a source that do not change which record has which number."""


class FileRange(NamedTuple):
    """Images of a set that follow one another in a file.

    Fields:
      folder: in which the file lies; a copy of the set may lie in another.
      name: of the file, from there.
      contents: what tells it from its changed self, the same of every copy: its size or a checksum.
      first: number of the first of them, in the file.
      images: how many of them.
    """

    folder: str
    name: str
    contents: str
    first: int
    images: int

    @classmethod
    def of(cls, root: Path, name: str, first: int, images: int) -> FileRange:
        """Of the file root/name, told by its size."""
        return cls(str(root), name, str((root / name).stat().st_size), first, images)


def numbering(ranges: Iterable[FileRange]) -> str:
    """A digest that changes where an image may have got another number. Of a copy that lies
    elsewhere it is the same."""
    whole = hashlib.sha256()
    for each in ranges:
        whole.update("\0".join(map(str, each[1:])).encode(errors="surrogateescape") + b"\n")
    return whole.hexdigest()[:16]


def in_common(ranges: Iterable[FileRange], others: Iterable[FileRange]) -> int:
    """How many images of one set another has too."""
    there = defaultdict(list)
    for other in others:
        there[_file(other)].append(other)
    return sum(_overlap(each, other) for each in ranges for other in there.get(_file(each), ()))


def _overlap(one: FileRange, other: FileRange) -> int:
    last = min(one.first + one.images, other.first + other.images)
    return max(0, last - max(one.first, other.first))


def _file(found: FileRange) -> str:
    return f"{_resolved(found.folder)}/{found.name}"


@cache
def _resolved(folder: str) -> str:
    return str(Path(folder).resolve()) if folder else ""


def own_identity(source: Config) -> dict[str, Any]:
    """What a source says that decides which record has which number."""
    return {name: value for name, value in contents(source).items() if name not in NOT_IDENTITY}
