"""Images that lie encoded in files of records, decoded here whatever the format of the files.

`Records` is what a format gives: encoded images and labels by number. `EncodedImages` makes
`Images` of it, and `EncodedSource` a source that may leave out what cannot be read. Which records
those are is found out before anything is trained (`readable.py`): all runs and hosts see the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fits.base.counted import counted
from fits.base.errors import UserError
from scaling.base.config import Clash
from scaling.base.console import Say
from scaling.data.captions import Caption
from scaling.data.files.readable import (
    CaptionedRecords,
    Encoded,
    Records,
    allowed,
    read_each,
    refuse,
    verdict,
)
from scaling.data.labels import Labels, rectangular
from scaling.data.pixels.crops import Cropper
from scaling.data.pixels.decode import UnreadableImages, decode_all, together
from scaling.data.pixels.resize import DEFAULT, Decode
from scaling.data.source import (
    MOST_PIXELS,
    SAMPLE,
    Fault,
    Labelled,
    SourceConfig,
    check_each,
    sample,
)

AT_ONCE = 1024  # records whose labels alone are wanted


class EncodedImages:
    """One split: its readable records, numbered without gaps.

    Fields:
      skipped: what was left out, and why, by what each record is called.
    """

    shuffled = False

    def __init__(
        self,
        records: Records,
        resolution: int,
        how: Decode = DEFAULT,
        skip_unreadable: int = 0,
    ):
        """Where `skip_unreadable` is not 0, every record is looked at, once on each machine.

        Raises:
          UnreadableImages: more than `skip_unreadable` cannot be read, or none can.
        """
        self.records, self.resolution, self.classes = records, resolution, records.classes
        self.how = how
        self.skipped: dict[str, str] = {}
        self._numbers: NDArray[np.int64] | None = None  # None: all of them
        if skip_unreadable and (bad := allowed(records, skip_unreadable)):
            self.skipped = {records.called(number): why for number, why in bad.items()}
            self._numbers = np.delete(np.arange(records.size), sorted(bad))

    @property
    def size(self) -> int:
        return self.records.size if self._numbers is None else len(self._numbers)

    def spread(self) -> NDArray[np.int64]:
        """Numbers of the first and last image of each file, and of a sample."""
        ends = self.records.ends()
        if self._numbers is not None:
            ends = np.flatnonzero(np.isin(self._numbers, ends))
        return np.unique(np.concatenate([ends, sample(self, SAMPLE)]))

    def encoded(self, indices: NDArray[np.int64]) -> list[Encoded]:
        """The images of these numbers as they lie there, and their labels.

        Raises:
          UnreadableImages: names each record that cannot be read.
        """
        numbers = self._records_of(indices)
        read, wrong = read_each(self.records, numbers)
        if wrong:
            called = {self.records.called(number): why for number, why in wrong.items()}
            raise UnreadableImages(called, lasting=True)
        return [read[number] for number in numbers]

    def batch(self, indices: NDArray[np.int64], crop: Cropper | None = None) -> Labelled:
        examples = self.encoded(indices)
        names = [self.records.called(number) for number in self._records_of(indices)]
        files = [example.image for example in examples]
        return decode_all(files, names, self.resolution, self.how, crop), self._labels(examples)

    def labels_of(self, indices: NDArray[np.int64]) -> Labels:
        """Reads no image where labels lie apart from them; else the records whole, some at once."""
        if (apart := self.records.labels_of(self._records_of(indices))) is not None:
            return apart.astype(np.int32)
        parts = np.split(np.asarray(indices), np.arange(AT_ONCE, len(indices), AT_ONCE))
        return np.concatenate([self._labels(self.encoded(part)) for part in parts])

    def _labels(self, examples: Sequence[Encoded]) -> Labels:
        if (most := self.records.labels_each) is not None:
            return rectangular([example.labels for example in examples], most)
        return np.array([example.labels[0] for example in examples], np.int32)

    def _records_of(self, indices: NDArray[np.int64]) -> list[int]:
        chosen = np.asarray(indices, np.int64)
        return (chosen if self._numbers is None else self._numbers[chosen]).tolist()


class CaptionedImages(EncodedImages):
    """The same of records with captions."""

    records: CaptionedRecords

    def captions_of(self, indices: NDArray[np.int64]) -> list[Caption]:
        """The captions of these images."""
        return self.records.captions_of(self._records_of(indices))


class EncodedSource(SourceConfig, ABC):
    """A source of encoded images. A subclass adds `kind`, `records` and what may be wrong."""

    resolution: int = Field(ge=1, le=MOST_PIXELS)
    """Side of an image, pixels; images of another size are resized."""
    decode: Decode = DEFAULT
    """How files become squares of pixels."""
    skip_unreadable: int = Field(0, ge=0)
    """So many images or records, of each of the two sets, may be unreadable, or without a label
    that can be used: they are left out, the same ones in every run, and a run's manifest names
    them. With more the run stops."""
    check_images: Literal["all", "sample"] = "all"
    """Which images of both sets are read and decoded before the first step: `all`, once on each
    machine until a file changes, or the first and last of each file and 256 of each set. No part of
    a run's id. Where some may be unreadable, all are."""
    not_in_id: ClassVar[frozenset[str]] = frozenset({"check_images"})

    def clashes(self) -> Iterator[Clash]:
        yield from self.decode.clash_with(self.resolution)

    def fault(self, to_train: bool = True) -> Fault | None:
        return self.fault_of_opening(to_train) or self.fault_of_contents()

    def fault_of_opening(self, to_train: bool) -> Fault | None:
        """As `fault`, whatever the contents of files are."""
        if problem := self.decode.problem():
            return Fault("decode", problem)
        return self.fault_of_files(to_train)

    @abstractmethod
    def fault_of_files(self, to_train: bool) -> Fault | None:
        """Why there is nothing to look at here: files are missing, or are described as others than
        this source's. Decodes nothing.

        Args:
          to_train: as of `fault`.
        """

    def fault_of_contents(self) -> Fault | None:
        """What is wrong within files that are there, all of them together, as far as that is found
        without decoding an image."""
        return None

    @abstractmethod
    def salvaged(self, heldout: bool) -> tuple[Records | None, dict[str, str]]:
        """Of one set the records in those files that can be read, None where no file can, and why
        the others cannot, by their paths. Asked after `fault_of_files` found nothing. UserError:
        those files do not belong together."""

    @abstractmethod
    def records(self, heldout: bool) -> Records:
        """What there is to learn from, or to measure on; opened after `fault` found nothing. Where
        the source is captioned, they are `CaptionedRecords`."""

    def train(self) -> EncodedImages:
        return self._open(heldout=False)

    def heldout(self) -> EncodedImages:
        return self._open(heldout=True)

    def sizes(self) -> tuple[int, int]:
        """Without what is known to be unreadable, where it is left out; all records otherwise."""
        train = 0 if self.heldout_only else self._size(self.records(heldout=False))
        return train, self._size(self.records(heldout=True))

    def unreadable(self, heldout: bool = False) -> list[int]:
        if not self.skip_unreadable:
            return []
        return sorted(allowed(self.records(heldout), self.skip_unreadable))

    @property
    def labels_at_hand(self) -> bool:
        """Unless some images are left out, for which all are looked at."""
        return not self.skip_unreadable

    def check(self, say: Say) -> None:
        """All records, or the first and last of each file and a sample, and what a check of all
        has found before."""
        if problem := self.problem(to_train=False):
            raise UserError([problem])
        found: list[UnreadableImages] = []
        opens = {"train": self.train, "heldout": self.heldout}
        for name in self.sets():
            try:
                self._check_set(self.records(name == "heldout"), say)
            except UnreadableImages as error:
                found.append(error)
        if found:
            raise together(found)
        opened = [opens[name] for name in self.sets()]
        check_each(lambda images: images.batch(images.spread()), opened)

    def _check_set(self, records: Records, say: Say) -> None:
        """Raises UnreadableImages where more cannot be read than may be left out."""
        if not (self.skip_unreadable or self.check_images == "all"):
            refuse(records, verdict(records) or {}, most=0)
            return
        if verdict(records) is None:
            there = counted(records.size, "image is", "images are", form="_")
            say(f"{records.name}: {there} checked, once on this machine.")
        allowed(records, self.skip_unreadable)

    def provenance(self) -> dict[str, Any]:
        """With what was skipped, where the study allows it."""
        found = super().provenance() | self.decode.provenance(self.resolution)
        if self.skip_unreadable:
            found |= {"heldout_skipped": self.heldout().skipped}
            found |= {} if self.heldout_only else {"train_skipped": self.train().skipped}
        return found

    def _open(self, heldout: bool) -> EncodedImages:
        if problem := self.problem(to_train=not heldout):
            raise ValueError(problem)
        return (CaptionedImages if self.captioned else EncodedImages)(
            self.records(heldout), self.resolution, self.decode, self.skip_unreadable
        )

    def _size(self, records: Records) -> int:
        return records.size - (len(verdict(records) or {}) if self.skip_unreadable else 0)
