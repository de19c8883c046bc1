"""A source without some of its training images, as near-duplicates of what is measured on.

Which images they are stands in a file that `scaling duplicates` writes. The file's name holds the
digest of its contents, so that a run which names the file has decided what it trains on. Images are
numbered as they lie in the source's files, unreadable ones too, so that it does not matter on which
machine those are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fits.base.files import write_text
from scaling.base.config import Config, digest
from scaling.base.files import expanded
from scaling.data.around.hierarchy import Hierarchy
from scaling.data.around.source import Around, Renumbered, renumbered
from scaling.data.file_ranges import numbering, own_identity
from scaling.data.labels import Labels
from scaling.data.source import Fault, SourceConfig, missing

if TYPE_CHECKING:
    from scaling.data import Source


class LeftOut(Config):
    """The contents of the file."""

    source: dict[str, Any]
    """The source that is meant, as `identity` says it."""
    numbering: str
    """Digest of what decides which of its training images has which number: the names of their
    files in order, and what tells those from their changed selves."""
    size: int = Field(ge=1)
    """Number of its training images, unreadable ones too."""
    images: tuple[int, ...]
    """Numbers of those that are left out, rising."""
    why: dict[str, Any]
    """How they were found; for a person."""
    format: Literal[1] = 1

    @classmethod
    def of(cls, source: SourceConfig, images: Sequence[int], why: dict[str, Any]) -> LeftOut:
        """Of a source without a fault, which is no `Subset` and has an end.

        Args:
          images: numbers among all training images, unreadable ones too, rising.
        """
        ranges = source.file_ranges()
        return cls(
            source=identity(source),
            numbering=numbering(ranges),
            size=sum(each.images for each in ranges),
            images=tuple(images),
            why=why,
        )

    @property
    def kept(self) -> int:
        return self.size - len(self.images)

    def write(self, folder: Path, name: str) -> Path:
        """The path of the file, folder/<name>-<digest>.json."""
        path = folder / f"{name}-{digest(self)}.json"
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, self.model_dump_json() + "\n")
        return path


class Without(Around):
    """Another source, less the training images that a file of `scaling duplicates` names.

    The others keep their order; held-out images are all there.
    """

    kind: Literal["without"] = "without"
    file: Path
    """As `scaling duplicates` named it: its name holds the digest of what is in it."""
    of: Source = Field(description="the source it was made for; what it shows of images may differ")

    def train(self) -> Renumbered:
        if problem := self.problem():
            raise ValueError(problem)
        images = self.of.train()
        kept = self._kept(images.size)
        if not len(kept):
            raise ValueError(
                f"{self.file} leaves out all images that can be read: no training image is left. "
                "Run `scaling duplicates` with a smaller distance, or another source."
            )
        return renumbered(images, len(kept), kept.__getitem__, shuffled=images.shuffled)

    @property
    def labels_at_hand(self) -> bool:
        return self.of.labels_at_hand

    def labels(self, heldout: bool = False) -> Labels:
        if heldout:
            return self.of.labels(heldout)
        if problem := self.problem():
            raise ValueError(problem)
        whole = self.of.labels()
        return whole[self._kept(len(whole))]

    def heldout_names(self, shown: bool = True) -> Sequence[str] | None:
        return self.of.heldout_names(shown)

    def sizes(self) -> tuple[int | None, int | None]:
        train, heldout = self.of.sizes()
        return len(self._kept(train)), heldout

    def _kept(self, there: int | None) -> NDArray[np.int64]:
        """Numbers of the images that stay, among those that the source has.

        Args:
          there: their number: fewer than in the file where the source leaves out unreadable ones.
        """
        left_out = read_left_out(expanded(self.file))
        unreadable = self.of.unreadable() if there and there < left_out.size else ()
        records = np.delete(np.arange(left_out.size), np.array(unreadable, np.int64))
        return np.flatnonzero(~np.isin(records, np.array(left_out.images, np.int64)))

    def fault(self, to_train: bool = True) -> Fault | None:
        del to_train  # what is left out is of images to learn from
        if (fault := self.of.fault()) is not None:
            return Fault("of", f"{fault.key}: {fault.words}")
        if words := missing(expanded(self.file)):
            return Fault("file", f"{words} `scaling duplicates` writes such a file.")
        try:
            found = read_left_out(expanded(self.file))
        except ValueError as error:
            return Fault("file", str(error))
        if found.source != identity(self.of):
            return Fault(
                "file",
                f"{self.file} was made for another source, {found.source}; this one is "
                f"{identity(self.of)}. Run `scaling duplicates` for this one.",
            )
        ranges = self.of.file_ranges()
        if found.numbering != numbering(ranges):
            return Fault(
                "file",
                f"{self.file} was made for {found.size:_} training images, and their files have "
                f"changed since (they now hold {sum(each.images for each in ranges):_}): it may "
                "mean other images. Run `scaling duplicates` again.",
            )
        return None

    def irreducible_error(self) -> float | None:
        return self.of.irreducible_error()


def identity(source: SourceConfig) -> dict[str, Any]:
    """What a source says that decides which of its images has which number."""
    if isinstance(source, Hierarchy):  # of labels alone
        return identity(source.of)
    found = own_identity(source)
    return found | {"of": identity(source.of)} if isinstance(source, Around) else found


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
