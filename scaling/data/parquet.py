"""Parquet files as Hugging Face lays out data sets of images.

The column `image` is a struct {bytes, path}, `label` a whole number whose names stand in the
schema's metadata. Parquet has no way to one row: the encoded images are copied once, as they are,
into Arrow files below the user's cache folder, of which any row is read by itself.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fits.base.counted import counted
from fits.base.errors import UserError
from fits.base.names import did_you_mean
from scaling.base.config import Clash, NoneAs
from scaling.base.files import expanded
from scaling.data.captions import Caption
from scaling.data.encoded import EncodedSource
from scaling.data.labels import Labels
from scaling.data.parquet_files import (
    File,
    Keys,
    all_labels,
    captions_of,
    copied,
    header,
    incomplete,
    labels,
    mapped,
    split_files,
    split_of,
)
from scaling.data.readable import Encoded
from scaling.data.source import Fault, missing, same_sets, spread_over

CAPTIONS = r"((large_)?list<\w+: )?(large_)?string(_view)?( not null)?>?"  # of Arrow's types
SHOWN = 5  # rows that an error names before it counts the rest


class Parquet(EncodedSource):
    """A data set of images as `datasets` of Hugging Face writes it, or a repository holds it.

    Files of a split are called `train-00000-of-00042.parquet` or lie in a folder of its name,
    anywhere below `path`. Encoded images are copied once on each machine into
    `~/.cache/vit-scaling-laws`, as large as the Parquet files, since Parquet cannot be read in any
    order. The copies may be removed at any time. Before anything else all labels are read, and
    those beyond the classes are named; before the first step the first and last image of each file
    and 256 of each split are decoded.
    """

    kind: Literal["parquet"] = "parquet"
    path: Path
    """Folder with the files; `~` is one's home."""
    train_split: str = "train"
    """Images to learn from."""
    heldout_split: str = "test"
    """Images to measure on."""
    image_key: str = "image"
    """Column of images: a struct that has `bytes`."""
    label_key: Annotated[str | None, NoneAs("none")] = "label"
    """Column of labels: a whole number. Its names are those of the ClassLabel in the schema's
    metadata; without one there are as many classes as the largest label says. "none": images have
    no labels, and all are of the one class 0."""
    caption_key: str | None = None
    """Column of captions, such as "caption" or "text": a text an image, or a list of texts, of
    which each showing of the image draws one. Left out, images have no captions."""

    @property
    def captioned(self) -> bool:
        return self.caption_key is not None

    def clashes(self) -> Iterator[Clash]:
        yield from same_sets(("train_split", "heldout_split"), self.train_split, self.heldout_split)
        yield from super().clashes()

    @property
    def root(self) -> Path:
        return expanded(self.path).absolute()

    @property
    def classes(self) -> int:
        """As the metadata says; without them one more than the largest label of both splits."""
        files = [*self._files(self.train_split), *self._files(self.heldout_split)]
        described = {header(file, self.label_key).classes for file in files}
        if described != {None}:
            return max(each for each in described if each is not None)
        return 1 + max(int(labels(file, self.label_key).max(initial=0)) for file in files)

    @property
    def class_names(self) -> list[str] | None:
        """Those of the ClassLabel in the metadata."""
        files = [*self._files(self.train_split), *self._files(self.heldout_split)]
        names = next((n for file in files if (n := header(file, self.label_key).names)), None)
        return None if names is None else list(names)

    def records(self, heldout: bool) -> "ParquetRecords":
        split = self.heldout_split if heldout else self.train_split
        files = self._files(split)
        name = f"{self.root.name} {split}"
        keys = Keys(self.image_key, self.label_key, self.caption_key)
        return ParquetRecords(name, files, self.classes, keys)

    def sizes(self) -> tuple[int, int]:
        """As the files say it, which are not copied for this unless some images are left out."""
        if self.skip_unreadable:
            return super().sizes()
        train, heldout = (
            sum(header(file, self.label_key).rows for file in self._files(split))
            for split in (self.train_split, self.heldout_split)
        )
        return train, heldout

    def labels(self, heldout: bool = False) -> Labels:
        """Their column alone is read, unless some images are left out."""
        if self.skip_unreadable:
            return super().labels(heldout)
        if problem := self.problem():
            raise ValueError(problem)
        files = self._files(self.heldout_split if heldout else self.train_split)
        return all_labels(files, self.label_key).astype(np.int32)

    def captions(self, count: int, heldout: bool = False) -> Sequence[Caption]:
        """Their column alone is read, unless some images are left out."""
        if self.skip_unreadable or self.caption_key is None:
            return super().captions(count, heldout)
        if problem := self.problem():
            raise ValueError(problem)
        files = self._files(self.heldout_split if heldout else self.train_split)
        rows = [header(file, self.label_key).rows for file in files]
        wanted = spread_over(count, sum(rows))
        return captions_of(files, rows, self.caption_key, wanted)

    def _files(self, split: str) -> list[File]:
        return [File.of(file) for file in split_files(self.root, split)]

    def fault_of_files(self) -> Fault | None:
        if problem := missing(self.root):
            return Fault("path", problem)
        splits = {"train_split": self.train_split, "heldout_split": self.heldout_split}
        for field, split in splits.items():
            found = split_files(self.root, split)
            if not found:
                return Fault(field, self._no_split(split))
            if problem := incomplete(found):
                return Fault(field, problem)
        try:
            return self._fault_of_columns(splits) or self._fault_of_labels(splits)
        except UserError as error:
            return Fault("path", str(error))

    def _no_split(self, split: str) -> str:
        there = sorted({split_of(file) for file in self.root.rglob("*.parquet")})
        words = f"{self.root} has no Parquet files of a split {split!r}; "
        return f"{words}it has {', '.join(there) or 'none'}. {did_you_mean(split, there)}".rstrip()

    def _fault_of_columns(self, splits: dict[str, str]) -> Fault | None:
        described: dict[int | None, Path] = {}
        called: dict[tuple[str, ...], Path] = {}
        said: dict[bool, Path] = {}
        for field, split in splits.items():
            rows = 0
            for file in self._files(split):
                found = header(file, self.label_key)
                rows += found.rows
                described.setdefault(found.classes, file.path)
                if found.names is not None:
                    called.setdefault(found.names, file.path)
                keys = Keys(self.image_key, self.label_key, self.caption_key)._asdict()
                for kind, key in keys.items():
                    if key is None:
                        continue
                    if wrong := _wrong_column(file.path, found.columns, key, kind):
                        return Fault(f"{kind}_key", wrong)
                if self.caption_key is not None:
                    said.setdefault("list" in found.columns[self.caption_key], file.path)
            if not rows:
                return Fault(field, f"{self.root}: split {split!r} holds no rows.")
        if len(described) > 1:
            words = " and ".join(
                f"{path.name} has {count} classes" for count, path in list(described.items())[:2]
            )
            return Fault("path", f"{self.root}: {words}; files of one data set have the same.")
        if len(called) > 1:
            return Fault("path", f"{self.root}: {_other_names(called)}")
        if len(said) > 1:
            words = f"{self.caption_key!r} is a list of texts in {said[True].name}, and a text in"
            return Fault("caption_key", f"{self.root}: {words} {said[False].name}; use one kind.")
        return None

    def _fault_of_labels(self, splits: dict[str, str]) -> Fault | None:
        classes = self.classes
        for field, split in splits.items():
            for file in self._files(split):
                found = labels(file, self.label_key)
                wrong = np.flatnonzero((found < 0) | (found >= classes))
                if not len(wrong):
                    continue
                if (found[wrong] == -1).all():
                    words = (
                        f"{counted(len(wrong), 'row has', 'rows have', '_')} no label (-1), the "
                        f"first is row {wrong[0]:_}"
                    )
                    return Fault(field, f"{file.path}: {words}; use another split.")
                named = ", ".join(f"row {i:_}: {found[i]}" for i in wrong[:SHOWN])
                count = counted(len(wrong), "label is", "labels are", "_")
                words = f"{count} none of the {classes:_} classes, 0 .. "
                return Fault(field, f"{file.path}: {words}{classes - 1:_} ({named}).")
        return None


class ParquetRecords:
    """The rows of several files, one file after another."""

    def __init__(self, name: str, files: Sequence[File], classes: int, keys: Keys):
        import pyarrow as pa

        self.name, self.files, self.classes = name, files, classes
        self.keys = keys
        self._tables = [mapped(copied(file, keys)) for file in files]
        whole = pa.concat_tables(self._tables)
        self._images, self._labels = whole.column("image"), whole.column("label")
        self._captions = whole.column("caption") if keys.caption is not None else None
        self._ends = np.cumsum([len(table) for table in self._tables])
        self.size = len(whole)

    def read(self, numbers: Sequence[int]) -> list[Encoded]:
        found = []
        for number in numbers:
            image = self._images[int(number)].as_py()
            if not image:
                raise ValueError("the row holds no bytes of an image")
            found.append(Encoded(image, self._labels[int(number)].as_py()))
        return found

    def labels_of(self, numbers: Sequence[int]) -> NDArray[np.int64]:
        return all_labels(self.files, self.keys.label)[np.asarray(numbers, np.int64)]

    def captions_of(self, numbers: Sequence[int]) -> list[Caption]:
        assert self._captions is not None  # who asks knows that there are some
        found = (self._captions[int(number)].as_py() for number in numbers)
        return [each if isinstance(each, str) else tuple(each) for each in found]

    def called(self, number: int) -> str:
        i = int(np.searchsorted(self._ends, number, side="right"))
        row = number - (int(self._ends[i]) - len(self._tables[i]))
        return f"{self.files[i].path}, row {row:_}"

    def ends(self) -> NDArray[np.int64]:
        lengths = np.array([len(table) for table in self._tables])
        filled = lengths > 0
        return np.unique(np.concatenate([(self._ends - lengths)[filled], self._ends[filled] - 1]))

    def identity(self) -> list[Any]:
        files = [[str(f.path), f.bytes, f.modified] for f in self.files]
        keys = self.keys if self.keys.caption is not None else self.keys[:2]
        return ["parquet", *keys, *files]


def _other_names(called: dict[tuple[str, ...], Path]) -> str:
    """The first class that two files of as many classes call otherwise."""
    (one, first), (other, second) = list(called.items())[:2]
    number = next(k for k, names in enumerate(zip(one, other, strict=True)) if len({*names}) > 1)
    return (
        f"class {number} is {one[number]!r} in {first.name} and {other[number]!r} in "
        f"{second.name}; files of one data set call classes the same."
    )


def _wrong_column(file: Path, columns: dict[str, str], key: str, kind: str) -> str | None:
    if key not in columns:
        near = did_you_mean(key, columns)
        words = f"{file} has no column {key!r} ({kind}_key). {near}It has"
        return f"{words} {', '.join(columns) or 'none'}."
    found = columns[key]
    if kind == "label" and not re.fullmatch(r"u?int\d+", found):
        return f"{file}: {key!r} is {found}; a whole number is needed, one label an image."
    if kind == "caption" and not re.fullmatch(CAPTIONS, found):
        return f"{file}: {key!r} is {found}; a text is needed, one an image, or a list of texts."
    if kind == "image" and not re.match(r"struct<(.*[ <])?bytes: (large_)?binary", found):
        return f"{file}: {key!r} is {found}; a struct with the encoded image as `bytes` is needed."
    return None
