"""A source without some of its training images, as near-duplicates of what is measured on.

Which images they are stands in a file that `scaling duplicates` writes. The file's name holds the
digest of its contents, so that a run which names the file has decided what it trains on.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fits.base.files import write_text
from scaling.base.config import Config, contents, digest
from scaling.base.console import Say
from scaling.data.labels import Labels
from scaling.data.plain import PlainSource
from scaling.data.source import Fault, Images, Labelled, SourceConfig, missing

NOT_IDENTITY = {"resolution"}  # fields of a source that do not change which image has which number


class LeftOut(Config):
    """The contents of the file."""

    source: dict[str, Any]
    """The source that is meant, as `identity` says it."""
    size: int = Field(ge=1)
    """Number of its training images."""
    images: tuple[int, ...]
    """Numbers of those that are left out, rising."""
    why: dict[str, Any]
    """How they were found; for a person."""
    format: Literal[1] = 1

    @property
    def kept(self) -> int:
        return self.size - len(self.images)

    def write(self, folder: Path, name: str) -> Path:
        """The path of the file, folder/<name>-<digest>.json."""
        path = folder / f"{name}-{digest(self)}.json"
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, self.model_dump_json() + "\n")
        return path


class Without(SourceConfig):
    """Another source, less the training images that a file of `scaling duplicates` names.

    The others keep their order; held-out images are all there.
    """

    kind: Literal["without"] = "without"
    file: Path
    """As `scaling duplicates` named it: its name holds the digest of what is in it."""
    images: PlainSource
    """The source it was made for; its resolution may be another."""

    @property
    def classes(self) -> int:
        return self.images.classes

    @property
    def resolution(self) -> int:
        return self.images.resolution

    @property
    def private(self) -> bool:
        return self.images.private

    @property
    def labels_each(self) -> int | None:
        return self.images.labels_each

    def train(self) -> Remaining:
        if problem := self.problem():
            raise ValueError(problem)
        return Remaining(self.images.train(), read_left_out(self.file.expanduser()))

    def heldout(self) -> Images:
        return self.images.heldout()

    def sizes(self) -> tuple[int | None, int | None]:
        return read_left_out(self.file.expanduser()).kept, self.images.sizes()[1]

    def check(self, say: Say) -> None:
        self.images.check(say)

    def fault(self) -> Fault | None:
        if (fault := self.images.fault()) is not None:
            return Fault("images", f"{fault.key}: {fault.words}")
        if words := missing(self.file.expanduser()):
            return Fault("file", f"{words} `scaling duplicates` writes such a file.")
        try:
            found = read_left_out(self.file.expanduser())
        except ValueError as error:
            return Fault("file", str(error))
        if found.source != identity(self.images):
            return Fault(
                "file",
                f"{self.file} was made for another source, {found.source}; this one is "
                f"{identity(self.images)}. Run `scaling duplicates` for this one.",
            )
        size = self.images.sizes()[0]
        if found.size != size:
            return Fault(
                "file",
                f"{self.file} was made for {found.size:_} training images, and there are {size}: "
                "their numbers may have changed. Run `scaling duplicates` again.",
            )
        return None

    def irreducible_error(self) -> float | None:
        return self.images.irreducible_error()

    def provenance(self) -> dict[str, Any]:
        return self.images.provenance() | super().provenance()


class Remaining:
    """Images of a set, less some; those that remain are numbered anew, in their order."""

    def __init__(self, images: Images, left_out: LeftOut):
        assert images.size is not None  # `fault` has compared the numbers of images
        self._images = images
        self.resolution, self.classes = images.resolution, images.classes
        self.shuffled = images.shuffled
        self._numbers = np.setdiff1d(np.arange(images.size), np.array(left_out.images, np.int64))
        self.size: int | None = len(self._numbers)

    def batch(self, indices: NDArray[np.int64]) -> Labelled:
        return self._images.batch(self._numbers[indices])

    def labels_of(self, indices: NDArray[np.int64]) -> Labels:
        return self._images.labels_of(self._numbers[indices])


def identity(source: SourceConfig) -> dict[str, Any]:
    """What decides which image of a source has which number."""
    return {name: value for name, value in contents(source).items() if name not in NOT_IDENTITY}


@cache
def read_left_out(file: Path) -> LeftOut:
    """Raises ValueError, in words, where the file is not what was written."""
    try:
        found = LeftOut.model_validate_json(file.read_bytes())
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise ValueError(f"{file} is no file of `scaling duplicates` ({first}).") from None
    wanted = digest(found)
    if file.stem.rpartition("-")[2] != wanted:
        raise ValueError(
            f"{file} was edited or renamed: its contents have the digest {wanted}, which its name "
            "does not end with. Take the file that `scaling duplicates` wrote."
        )
    numbers = np.array(found.images, np.int64)
    if (np.diff(numbers) <= 0).any() or (numbers < 0).any() or (numbers >= found.size).any():
        raise ValueError(f"{file} names images that are no rising numbers below {found.size:_}.")
    if not found.kept:
        raise ValueError(f"{file} leaves out all of {found.size:_} images.")
    return found
