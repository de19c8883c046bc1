"""Parquet files as Hugging Face lays out data sets of images.

The column `image` is a struct {bytes, path}, `label` a whole number or a list of them, whose names
stand in the schema's metadata. Parquet has no way to one row: the encoded images are copied once,
as they are, into Arrow files below the user's cache folder, of which any row is read by itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from fits.base.counted import counted
from fits.base.errors import UserError
from fits.base.names import did_you_mean
from scaling.base.config import Clash, NoneAs
from scaling.base.files import expanded
from scaling.data.captions import Caption
from scaling.data.file_ranges import FileRange
from scaling.data.files.bad_files import listed, not_allowed, without_name
from scaling.data.files.encoded import EncodedSource
from scaling.data.files.version import FileVersion
from scaling.data.labels import MOST_CLASSES, Labels
from scaling.data.parquet.faults import bad_files, disagreement
from scaling.data.parquet.files import (
    Keys,
    captions_of,
    copied,
    files_below,
    header,
    incomplete,
    split_files,
    split_of,
)
from scaling.data.parquet.labels import all_labels, labels, most_labels, unusable_rows
from scaling.data.parquet.records import ParquetRecords
from scaling.data.source import Fault, missing, same_sets, splits_of, spread_over


class Parquet(EncodedSource):
    """A data set of images as `datasets` of Hugging Face writes it, or a repository holds it.

    Files of a split are called `train-00000-of-00042.parquet` or lie in a folder of its name,
    anywhere below `path`. Encoded images are copied once on each machine into
    `~/.cache/vit-scaling-laws`, as large as the Parquet files, since Parquet cannot be read in any
    order. The copies may be removed at any time. Before anything else all labels are read, and
    those beyond the classes are named, as are all files that cannot be read; before the first step
    the first and last image of each file and 256 of each split are decoded.
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
    """Column of labels: a whole number, or a list of them where images have several (an empty list:
    none). Their names are those of the ClassLabel in the schema's metadata. "none": images have no
    labels, and all are of the one class 0."""
    all_classes: int | None = Field(None, ge=1, le=MOST_CLASSES)
    """How many classes there are, where the metadata name none; left out, as many as the largest
    label of both splits says."""
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
        """As the metadata says; without them `all_classes`, or one more than the largest label of
        both splits. 0: there are no files here."""
        return self._classes(self._all_files())

    def _classes(self, files: Sequence[FileVersion]) -> int:
        if not files:
            return 0
        described = {header(file, self.label_key).classes for file in files}
        if described != {None}:
            return max(each for each in described if each is not None)
        if self.all_classes is not None:
            return self.all_classes
        largest = max(int(labels(file, self.label_key).max(initial=0)) for file in files)
        return min(1 + largest, MOST_CLASSES)

    @property
    def labels_each(self) -> int | None:
        """As many as the longest list of both splits has."""
        return most_labels(self._all_files(), self.label_key)

    @property
    def class_names(self) -> list[str] | None:
        """Those of the ClassLabel in the metadata."""
        files = self._all_files()
        names = next((n for file in files if (n := header(file, self.label_key).names)), None)
        return None if names is None else list(names)

    def records(self, heldout: bool) -> ParquetRecords:
        files = self._files(self.heldout_split if heldout else self.train_split)
        return self._records(heldout, files, self._all_files())

    def _records(
        self, heldout: bool, files: Sequence[FileVersion], described: Sequence[FileVersion]
    ) -> ParquetRecords:
        """Those of some files of a split; `described` say how many classes and labels there are."""
        name = f"{self.root.name} {self.heldout_split if heldout else self.train_split}"
        most = most_labels(described, self.label_key)
        return ParquetRecords(name, files, self._classes(described), self._keys, most)

    def sizes(self) -> tuple[int, int]:
        """As the files say it, which are not copied for this unless some images are left out."""
        if self.skip_unreadable:
            return super().sizes()
        train, heldout = (
            sum(header(file, self.label_key).rows for file in self._files(split))
            for split in (self.train_split, self.heldout_split)
        )
        return train, heldout

    def file_ranges(self, heldout: bool = False) -> list[FileRange]:
        """As the files say it, which are not copied for this."""
        files = self._files(self.heldout_split if heldout else self.train_split)
        rows = [header(file, self.label_key).rows for file in files]
        return [
            FileRange(str(self.root), str(f.path.relative_to(self.root)), str(f.bytes), 0, count)
            for f, count in zip(files, rows, strict=True)
        ]

    def labels(self, heldout: bool = False) -> Labels:
        """Their column alone is read, unless some images are left out."""
        if self.skip_unreadable:
            return super().labels(heldout)
        if problem := self.problem(to_train=not heldout):
            raise ValueError(problem)
        files = self._files(self.heldout_split if heldout else self.train_split)
        return all_labels(files, self.label_key, self.labels_each).astype(np.int32)

    def captions(self, count: int, heldout: bool = False) -> Sequence[Caption]:
        """Their column alone is read, unless some images are left out."""
        if self.skip_unreadable or self.caption_key is None:
            return super().captions(count, heldout)
        if problem := self.problem(to_train=not heldout):
            raise ValueError(problem)
        files = self._files(self.heldout_split if heldout else self.train_split)
        rows = [header(file, self.label_key).rows for file in files]
        wanted = spread_over(count, sum(rows))
        return captions_of(files, rows, self.caption_key, wanted)

    @property
    def heldout_only(self) -> bool:
        there = [bool(self._files(split)) for split in (self.train_split, self.heldout_split)]
        return there == [False, True]

    @property
    def _keys(self) -> Keys:
        return Keys(self.image_key, self.label_key, self.caption_key)

    def _all_files(self) -> list[FileVersion]:
        return [file for split in splits_of(self).values() for file in self._files(split)]

    def _files(self, split: str) -> list[FileVersion]:
        return [FileVersion.of(file) for file in split_files(self.root, split)]

    def fault_of_files(self, to_train: bool) -> Fault | None:
        if problem := missing(self.root):
            return Fault("path", problem)
        for field, split in splits_of(self, to_train).items():
            found = split_files(self.root, split)
            if not found:
                return Fault(field, self._no_split(split))
            if problem := incomplete(found):
                return Fault(field, problem)
        return None

    def fault_of_contents(self) -> Fault | None:
        """All files that cannot be read, and all in which labels are wrong; where the files say
        something against each other, that alone."""
        bad = bad_files(self._all_files(), self._keys)
        if fault := self._disagreement(bad):
            return fault
        blamed = next((fault.key for fault in bad.values()), None)
        wrong = {path: [fault.words] for path, fault in bad.items()}
        of_sets: list[str] = []
        sound = [file for file in self._all_files() if file.path not in bad]
        classes = self._classes(sound) if sound else 1
        for field, split in splits_of(self).items():
            here = [file for file in self._files(split) if file.path not in bad]
            found = {f: unusable_rows(f, self.label_key, classes) for f in here}
            count = sum(rows for rows, _ in found.values())
            there = sum(header(f, self.label_key).rows for f in here)
            if words := not_allowed(count, there, self.skip_unreadable):
                blamed = blamed or field
                wrong |= {f.path: said for f, (_, said) in found.items() if said}
                rows = f"{counted(count, 'row', form='_')} of {there:_}"
                of_sets.append(f"{self.root}, split {split!r}, {rows}: {words}")
        return Fault(blamed, listed(wrong, of_sets, "file")) if blamed else None

    def salvaged(self, heldout: bool) -> tuple[ParquetRecords | None, dict[str, str]]:
        bad = bad_files(self._all_files(), self._keys)
        if fault := self._disagreement(bad):
            raise UserError([fault.words])
        files, wrong = [], {}
        for file in self._files(self.heldout_split if heldout else self.train_split):
            if file.path in bad:
                wrong[str(file.path)] = without_name(bad[file.path].words, file.path)
                continue
            try:
                copied(file, self._keys)
                files.append(file)
            except UserError as error:
                wrong[str(file.path)] = without_name(str(error), file.path)
        sound = [file for file in self._all_files() if file.path not in bad]
        return (self._records(heldout, files, sound) if files else None), wrong

    def _disagreement(self, bad: Mapping[Path, Fault]) -> Fault | None:
        sets = {field: (split, self._files(split)) for field, split in splits_of(self).items()}
        return disagreement(self.root, sets, self._keys, self.all_classes, bad)

    def _no_split(self, split: str) -> str:
        there = sorted({split_of(file) for file in files_below(self.root)})
        words = f"{self.root} has no Parquet files of a split {split!r}; "
        return f"{words}it has {', '.join(there) or 'none'}. {did_you_mean(split, there)}".rstrip()
