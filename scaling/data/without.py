"""A source without some of its training images, as near-duplicates of what is measured on.

Which images they are stands in a file that `scaling duplicates` writes. The file's name holds the
digest of its contents, so that a run which names the file has decided what it trains on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from fits.base.files import write_text
from scaling.base.config import Config, contents, digest
from scaling.base.files import expanded
from scaling.data.around import Around, Renumbered, renumbered
from scaling.data.labels import Labels
from scaling.data.source import Fault, SourceConfig, missing

if TYPE_CHECKING:
    from scaling.data import Source

NOT_IDENTITY = {
    "resolution",
    "decode",
}  # fields of a source that do not change which image has which number


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


class Without(Around):
    """Another source, less the training images that a file of `scaling duplicates` names.

    The others keep their order; held-out images are all there.
    """

    kind: Literal["without"] = "without"
    file: Path
    """As `scaling duplicates` named it: its name holds the digest of what is in it."""
    of: Source = Field(description="the source it was made for; its resolution may be another")

    def train(self) -> Renumbered:
        if problem := self.problem():
            raise ValueError(problem)
        left_out = read_left_out(expanded(self.file))
        kept = np.delete(np.arange(left_out.size), np.array(left_out.images, np.int64))
        images = self.of.train()
        return renumbered(images, len(kept), kept.__getitem__, shuffled=images.shuffled)

    @property
    def labels_at_hand(self) -> bool:
        return self.of.labels_at_hand

    def labels(self, heldout: bool = False) -> Labels:
        whole = self.of.labels(heldout)
        if heldout:
            return whole
        left_out = read_left_out(expanded(self.file))
        return np.delete(whole, np.array(left_out.images, np.int64), axis=0)

    def heldout_names(self) -> Sequence[str] | None:
        return self.of.heldout_names()

    def sizes(self) -> tuple[int | None, int | None]:
        return read_left_out(expanded(self.file)).kept, self.of.sizes()[1]

    def fault(self) -> Fault | None:
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
        size = self.of.sizes()[0]
        if found.size != size:
            return Fault(
                "file",
                f"{self.file} was made for {found.size:_} training images, and there are {size}: "
                "their numbers may have changed. Run `scaling duplicates` again.",
            )
        return None

    def irreducible_error(self) -> float | None:
        return self.of.irreducible_error()


def identity(source: SourceConfig) -> dict[str, Any]:
    """What decides which image of a source has which number."""
    found = {name: value for name, value in contents(source).items() if name not in NOT_IDENTITY}
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
