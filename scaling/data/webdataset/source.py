"""WebDataset: tar archives whose members KEY.jpg and KEY.cls are one image and its label.

Where members lie is found out once, from the headers alone, and kept below the user's cache folder;
after that any image is read by itself. Archives are plain, not compressed.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fits.base.counted import counted
from fits.base.errors import UserError
from scaling.base.config import Clash, NoneAs
from scaling.data.captions import Caption
from scaling.data.file_ranges import FileRange
from scaling.data.files.bad_files import listed, not_allowed, without_name
from scaling.data.files.encoded import EncodedSource
from scaling.data.files.patterns import files_of
from scaling.data.files.readable import Encoded
from scaling.data.files.tar_members import read_member
from scaling.data.files.version import FileVersion
from scaling.data.labels import MOST_CLASSES, Labels, assigned, padded
from scaling.data.source import Fault, same_sets
from scaling.data.webdataset.index import IMAGES, Index, called, index_of, wrong_in

SHOWN = 5  # missing archives that are named


class WebDataset(EncodedSource):
    """Tar archives as WebDataset reads them: members `KEY.jpg` (or .jpeg, .png) and `KEY.cls`.

    A `.cls` member holds the class as a whole number from 0, or with `most_labels` several of them,
    separated by spaces, commas or line ends, in square brackets or not. Other members are passed
    over. Before anything else the headers of all archives are read, once on each machine (kept in
    `~/.cache/vit-scaling-laws`), and archives that are cut off, images without a label and labels
    beyond the classes are named.
    Before the first step the first and last image of each archive and 256 of each set are decoded.
    """

    kind: Literal["webdataset"] = "webdataset"
    train_shards: str | None = Field(None, min_length=1)
    """Archives to learn from: `data/train-{0000..1023}.tar`, `data/train-*.tar`; left out, the
    images are only measured on."""
    heldout_shards: str = Field(min_length=1)
    """Archives to measure on; none of those to learn from."""
    classes: int = Field(ge=1, le=MOST_CLASSES)
    """Labels are 0 .. classes - 1."""
    label_key: Annotated[str | None, NoneAs("none")] = "cls"
    """What the name of a label's member ends in; "none": images have no labels, and all are of the
    one class 0."""
    most_labels: int | None = Field(None, ge=1, le=10_000)
    """Most labels of an image: a `.cls` member then holds none to so many. Left out, each image has
    one."""
    caption_key: str | None = None
    """What the name of a caption's member ends in, such as "txt" or "caption": UTF-8 text, one an
    image. Left out, images have no captions."""
    caption_lines: bool = False
    """Whether every line of a caption's member is a caption of its own, of which each showing of
    the image draws one; else the whole text is one."""

    @property
    def captioned(self) -> bool:
        return self.caption_key is not None

    @property
    def labels_each(self) -> int | None:
        return self.most_labels

    def clashes(self) -> Iterator[Clash]:
        if self.label_key is None and self.classes != 1:
            yield Clash(
                ("label_key", "classes"),
                f'label_key = "none" makes all images one class; say classes = 1, not '
                f"{self.classes:_}.",
            )
        if self.label_key is None and self.most_labels is not None:
            yield Clash(
                ("label_key", "most_labels"),
                'label_key = "none" gives images no labels; leave most_labels out.',
            )
        if self.caption_lines and self.caption_key is None:
            yield Clash(
                ("caption_lines", "caption_key"),
                "caption_lines says how captions are read, and there are none; give caption_key.",
            )
        if self.train_shards is not None:
            keys = ("train_shards", "heldout_shards")
            yield from same_sets(keys, self.train_shards, self.heldout_shards)
        yield from super().clashes()

    @property
    def heldout_only(self) -> bool:
        return self.train_shards is None

    def _pattern(self, heldout: bool) -> str:
        pattern = self.heldout_shards if heldout else self.train_shards
        assert pattern is not None  # who asks knows that there are some
        return pattern

    def records(self, heldout: bool) -> "WebDatasetRecords":
        pattern = self._pattern(heldout)
        return self._records(pattern, [FileVersion.of(file) for file in files_of(pattern)])

    def _records(self, pattern: str, shards: Sequence[FileVersion]) -> "WebDatasetRecords":
        return WebDatasetRecords(
            pattern,
            shards,
            self.classes,
            self.label_key,
            self.caption_key,
            caption_lines=self.caption_lines,
            most=self.most_labels,
        )

    def _patterns(self) -> dict[str, str]:
        """Archives of each set that is there, by the key that says them."""
        train = {} if self.train_shards is None else {"train_shards": self.train_shards}
        return train | {"heldout_shards": self.heldout_shards}

    def file_ranges(self, heldout: bool = False) -> list[FileRange]:
        """Told by the names and sizes of their images: archives are padded to few sizes."""
        found = []
        for file in files_of(self._pattern(heldout)):
            index = index_of(FileVersion.of(file), self.label_key, self.caption_key)
            told = hashlib.sha256(index.names.tobytes() + index.sizes.tobytes()).hexdigest()[:16]
            where = str(file.absolute().parent)
            found.append(FileRange(where, file.name, told, 0, len(index.labels)))
        return found

    def fault_of_files(self, to_train: bool) -> Fault | None:
        if to_train and self.train_shards is None:
            words = "train_shards is left out, and these images are learnt from; name the archives."
            return Fault("train_shards", words)
        seen: dict[Path, str] = {}
        for field, pattern in self._patterns().items():
            try:
                files = files_of(pattern)
            except ValueError as error:
                return Fault(field, f"{error}.")
            if absent := [str(file) for file in files if not file.is_file()]:
                more = f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else ""
                return Fault(field, f"there is no {', '.join(absent[:SHOWN])}{more}.")
            for file in files:
                if (other := seen.setdefault(file.absolute(), field)) != field:
                    return Fault(field, f"{file} is one of {other} too.")
        return None

    def fault_of_contents(self) -> Fault | None:
        """All archives that are cut off, and all keys that are of no use."""
        wrong: dict[Path, list[str]] = {}
        of_sets: list[str] = []
        blamed = None
        for field, pattern in self._patterns().items():
            found, damaged = self._indices(pattern)
            bad = {s.path: wrong_in(index, self.classes, self.most_labels) for s, index in found}
            records = sum(len(index.names) for _, index in found)
            count = sum(map(len, bad.values()))
            words = not_allowed(count, records, self.skip_unreadable)
            wrong |= {file: [why] for file, why in damaged.items()}
            if words:
                for shard, index in found:
                    said = bad[shard.path].items()
                    wrong[shard.path] = [f"{called(shard, index, i)}: {why}" for i, why in said]
                keys = f"{counted(count, 'key', form='_')} of {records:_}"
                of_sets.append(f"{pattern}, {keys}: {words}")
            if not records and not damaged:
                of_sets.append(f"{pattern} holds no images ({', '.join(IMAGES)})")
            if words or damaged or not records:
                blamed = blamed or field
        wrong = {file: mistakes for file, mistakes in wrong.items() if mistakes}
        return Fault(blamed, listed(wrong, of_sets, "archive")) if blamed else None

    def salvaged(self, heldout: bool) -> tuple["WebDatasetRecords | None", dict[str, str]]:
        pattern = self._pattern(heldout)
        found, damaged = self._indices(pattern)
        short = {str(file): without_name(why, file.absolute()) for file, why in damaged.items()}
        shards = [shard for shard, _ in found]
        return (self._records(pattern, shards) if shards else None), short

    def _indices(self, pattern: str) -> tuple[list[tuple[FileVersion, Index]], dict[Path, str]]:
        """What the archives hold, and why others cannot be read."""
        found, damaged = [], {}
        for file in files_of(pattern):
            shard = FileVersion.of(file)
            try:
                found.append((shard, index_of(shard, self.label_key, self.caption_key)))
            except ValueError as error:
                damaged[file] = str(error)
        return found, damaged


class WebDatasetRecords:
    """The images of several archives, one after another."""

    def __init__(
        self,
        name: str,
        shards: Sequence[FileVersion],
        classes: int,
        label_key: str | None,
        caption_key: str | None = None,
        *,
        caption_lines: bool = False,
        most: int | None = None,
    ):
        """`most`: labels of an image, at most; None: each has one."""
        self.name, self.shards, self.classes = name, shards, classes
        self.labels_each = most
        self.keys, self._lines = (label_key, caption_key), caption_lines
        self.indices = [index_of(shard, label_key, caption_key) for shard in shards]
        self._ends = np.cumsum([len(index.labels) for index in self.indices])
        rows = [padded(index.labels[:, : most or 1], most or 1) for index in self.indices]
        self._labels = np.concatenate(rows) if most else np.concatenate(rows)[:, 0]
        self.size = int(self._ends[-1])

    def _place(self, number: int) -> tuple[FileVersion, Index, int]:
        if not 0 <= number < self.size:
            raise IndexError(f"{self.name} has no image {number}")
        i = int(np.searchsorted(self._ends, number, side="right"))
        index = self.indices[i]
        return self.shards[i], index, number - (int(self._ends[i]) - len(index.labels))

    def read(self, numbers: Sequence[int]) -> list[Encoded]:
        found = []
        for number in numbers:
            shard, index, i = self._place(number)
            if index.wrong[i]:
                raise ValueError(index.wrong[i].decode("utf-8", "replace"))
            image = read_member(shard.path, int(index.offsets[i]), int(index.sizes[i]))
            found.append(Encoded(image, assigned(index.labels[i])))
        return found

    def labels_of(self, numbers: Sequence[int]) -> Labels:
        return self._labels[np.asarray(numbers, np.int64)]

    def captions_of(self, numbers: Sequence[int]) -> list[Caption]:
        return [self._caption(number) for number in numbers]

    def _caption(self, number: int) -> Caption:
        shard, index, i = self._place(number)
        size = int(index.caption_sizes[i])
        text = read_member(shard.path, int(index.caption_offsets[i]), size)
        try:
            whole = text.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise UserError([f"{self.called(number)}: its caption is not UTF-8 text."]) from None
        if not self._lines:
            return whole
        if not whole:
            raise UserError([f"{self.called(number)}: its captions have no line with a text."])
        return tuple(line.strip() for line in whole.splitlines() if line.strip())

    def called(self, number: int) -> str:
        shard, index, i = self._place(number)
        return called(shard, index, i)

    def ends(self) -> NDArray[np.int64]:
        lengths = np.array([len(index.labels) for index in self.indices])
        filled = lengths > 0
        return np.unique(np.concatenate([(self._ends - lengths)[filled], self._ends[filled] - 1]))

    def identity(self) -> list[Any]:
        shards = [[str(s.path), s.bytes, s.modified] for s in self.shards]
        label_key, caption_key = self.keys
        told = [] if caption_key is None else [f"caption {caption_key}"]
        told += [] if self.labels_each is None else [f"most {self.labels_each}"]
        return ["webdataset", label_key, *told, *shards]
