"""Which records of a set can be read and decoded: found out once on each machine, and kept.

The answer is kept below the user's cache folder, under a name that changes with the files and with
the decoder. Knows no format of files.
"""

import fcntl
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fits.base.files import write_text
from scaling.base.json_file import read_json
from scaling.base.machine import cache_folder
from scaling.data.captions import Caption
from scaling.data.labels import why_unusable
from scaling.data.pixels.decode import UnreadableImages, check_all, decoder

CHUNK = 1024  # records in memory at once


class Encoded(NamedTuple):
    """One image as it lies in a file."""

    image: bytes
    """An image file's contents."""
    labels: tuple[int, ...]
    """One, or as many as it has where `Records.labels_each` is not None."""


class Records(Protocol):
    """Encoded images of one set by number, each with its label."""

    @property
    def name(self) -> str:
        """What the set is called."""

    @property
    def classes(self) -> int:
        """Labels are 0 .. classes - 1."""

    @property
    def labels_each(self) -> int | None:
        """Most labels of an image; None: each has one."""

    @property
    def size(self) -> int:
        """Number of records, readable or not."""

    def read(self, numbers: Sequence[int]) -> list[Encoded]:
        """The records of these numbers. ValueError: one of them is damaged. OSError: of a disk."""

    def labels_of(self, numbers: Sequence[int]) -> NDArray[Any] | None:
        """Labels of these records, none of which is bad, where they lie apart from the images: [n],
        or [n, labels_each]. None: a label is read with its record."""

    def called(self, number: int) -> str:
        """What an error calls this record."""

    def ends(self) -> NDArray[np.int64]:
        """Numbers of the first and last record of each file."""

    def identity(self) -> list[Any]:
        """What tells these records from others, and files from their changed selves; for JSON."""


class SomeRecords:
    """Some records of a set, as those in files that are whole, under numbers of their own."""

    def __init__(self, records: Records, numbers: NDArray[np.int64]):
        self._records, self._numbers = records, numbers
        self.name, self.classes = records.name, records.classes
        self.labels_each, self.size = records.labels_each, len(numbers)

    def read(self, numbers: Sequence[int]) -> list[Encoded]:
        return self._records.read([int(self._numbers[number]) for number in numbers])

    def labels_of(self, numbers: Sequence[int]) -> NDArray[Any] | None:
        return self._records.labels_of([int(self._numbers[number]) for number in numbers])

    def called(self, number: int) -> str:
        return self._records.called(int(self._numbers[number]))

    def ends(self) -> NDArray[np.int64]:
        return np.flatnonzero(np.isin(self._numbers, self._records.ends()))

    def identity(self) -> list[Any]:
        digest = hashlib.sha256(self._numbers.astype("<i8").tobytes()).hexdigest()[:16]
        return ["some", digest, *self._records.identity()]


class CaptionedRecords(Records, Protocol):
    """Records of which something is said in words."""

    def captions_of(self, numbers: Sequence[int]) -> list[Caption]:
        """The captions of these records; no image is read.

        Raises:
          ValueError: one of them is no text.
        """


def read_each(
    records: Records, numbers: Sequence[int]
) -> tuple[dict[int, Encoded], dict[int, str]]:
    """What can be read of these records, by number, and why the others cannot.

    All are read together, and one by one only where that fails.
    """
    try:
        found = dict(zip(numbers, records.read(numbers), strict=True))
        wrong: dict[int, str] = {}
    except ValueError:
        found, wrong = {}, {}
        for number in dict.fromkeys(numbers):
            try:
                (found[number],) = records.read([number])
            except ValueError as error:
                wrong[number] = str(error)
    for number, example in list(found.items()):
        if why := why_unusable(example.labels, records.classes, records.labels_each):
            wrong[number] = why
            del found[number]
    return found, wrong


def unreadable(records: Records) -> dict[int, str]:
    """Why records cannot be read, by number: all are read and decoded, unless that was done.

    Raises:
      UnreadableImages: a disk could not be read, which is kept by nobody.
    """
    file = _file(records)
    with alone(file) as keeps:
        found = _kept(file) if keeps else None
        if found is None:
            found = look_at_all(records)
            if keeps:
                text = {str(number): why for number, why in found.items()}
                write_text(file, json.dumps(text))
    return found


def allowed(records: Records, most: int) -> dict[int, str]:
    """As `unreadable`, when they may all be left out.

    Raises:
      UnreadableImages: they are more than `most`, or all that there are.
    """
    bad = unreadable(records)
    refuse(records, bad, most)
    return bad


def refuse(records: Records, bad: dict[int, str], most: int) -> None:
    """Raise UnreadableImages where the bad ones are more than `most`, or all that there are."""
    if bad and (len(bad) > most or len(bad) == records.size):
        why = {records.called(number): words for number, words in bad.items()}
        raise UnreadableImages(why, lasting=True)


def verdict(records: Records) -> dict[int, str] | None:
    """What `unreadable` has found on this machine; None where nobody has looked."""
    return _kept(_file(records))


def look_at_all(records: Records) -> dict[int, str]:
    """As `unreadable`, without asking what is kept and without keeping it."""
    found: dict[int, str] = {}
    for first in range(0, records.size, CHUNK):
        numbers = range(first, min(first + CHUNK, records.size))
        read, wrong = read_each(records, numbers)
        found |= wrong
        names = {records.called(number): number for number in read}
        try:
            check_all([example.image for example in read.values()], list(names))
        except UnreadableImages as error:
            if not error.lasting:
                raise
            found |= {names[name]: why for name, why in error.why.items()}
    return dict(sorted(found.items()))


@contextmanager
def alone(file: Path) -> Iterator[bool]:
    """Keeps processes of one machine that start together waiting for the first of them, where the
    disk knows locks: elsewhere, as on some NFS, each does the work.

    Yields:
      Whether anything can be kept on this machine.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.with_suffix(".lock").open("w")
    except OSError:
        yield False
        return
    with lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield True


def _file(records: Records) -> Path:
    decides = json.dumps([records.identity(), records.classes, decoder()])
    digest = hashlib.sha256(decides.encode()).hexdigest()[:16]
    name = re.sub(r"[^\w.-]+", "-", records.name)[-60:]
    return cache_folder() / f"{name}-{digest}.unreadable.json"


def _kept(file: Path) -> dict[int, str] | None:
    try:
        found = read_json(file)
        return {int(number): str(why) for number, why in found.items()}
    except (OSError, ValueError, AttributeError):
        return None
