"""The records of a data set that TFDS describes, and where prepared data sets lie.

`tensorflow_datasets` is imported by whoever makes the builder: it takes two seconds.
"""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.data.files.readable import Encoded, Records, SomeRecords
from scaling.data.labels import assigned
from scaling.data.tfds.example import IMAGE, LABEL, features_in, lacks


class TfdsRecords:
    """One split, or slice of one. Only the image and its label are read of each example."""

    def __init__(
        self,
        name: str,
        builder: Any,
        split: str,
        image_key: str,
        label_key: str,
        most: int | None = None,
    ):
        """`most`: labels of an image, at most; None: each has one."""
        import tensorflow_datasets as tfds

        self.name, self.split = name, split
        self.image_key, self.label_key = image_key, label_key
        self.labels_each = most
        info = builder.info
        wanted = {key: info.features[key] for key in (image_key, label_key)}
        label = info.features[label_key]
        self.classes = int((label if most is None else label.feature).num_classes)
        self.features = tfds.features.FeaturesDict(wanted)
        self.decoders = {image_key: tfds.decode.SkipDecoding()}  # TFDS would pick OpenCV
        self.size = info.splits[split].num_examples
        self.parts = info.splits[split].file_instructions
        self.source = builder.as_data_source(
            split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
        )

    def raw(self, numbers: Sequence[int]) -> Sequence[bytes]:
        """The records of these numbers as they are stored. ValueError: one of them is damaged."""
        try:
            return self.source.__getitems__([int(number) for number in numbers])
        except RuntimeError as error:  # array_record's: another hash than the one that is stored
            raise ValueError(f"damaged: {str(error).splitlines()[0]}") from error

    def read(self, numbers: Sequence[int]) -> list[Encoded]:
        found = self.raw(numbers)
        return [self._example(*each) for each in zip(numbers, found, strict=True)]

    def _example(self, number: int, record: bytes) -> Encoded:
        try:
            example = self.features.deserialize_example_np(record, decoders=self.decoders)
            labels = assigned(np.asarray(example[self.label_key], np.int64))
            return Encoded(bytes(example[self.image_key]), labels)
        except Exception as error:  # of protocol buffers and of NumPy, many kinds
            words = self._lacks(record) or str(error).partition("\n")[0]
            raise ValueError(
                f"{self._place(int(number))} is not the example that features.json describes: "
                f"{words}"
            ) from error

    def _lacks(self, record: bytes) -> str | None:
        """What a record has not got, where that is why it cannot be read."""
        try:
            features = features_in(record)
        except ValueError as error:
            return str(error)
        for key, called, kind in (
            (self.image_key, "image_key", IMAGE),
            (self.label_key, "label_key", LABEL),
        ):
            several = kind == LABEL and self.labels_each is not None
            if words := lacks(features, key, called, kind, several=several):
                return (
                    f"it has {words}. Make the data set again of records that have it, or leave "
                    "such records out by skip_unreadable"
                )
        return None

    def in_other_files(self, files: Collection[str]) -> Records | None:
        """The records that lie in none of these files; None where there are none."""
        kept = np.repeat(
            [str(part.filename) not in files for part in self.parts],
            [part.take for part in self.parts],
        )
        return SomeRecords(self, np.flatnonzero(kept)) if kept.any() else None

    def _place(self, number: int) -> str:
        """The file of a record, and which of that file's it is."""
        ends = np.cumsum([part.take for part in self.parts])
        i = int(np.searchsorted(ends, number, side="right"))
        part = self.parts[i]
        return f"{part.filename}, record {part.skip + number - (int(ends[i]) - part.take):_},"

    def labels_of(self, numbers: Sequence[int]) -> None:
        del numbers
        return  # an example holds both

    def called(self, number: int) -> str:
        return f"{self.name}, image {number}"

    def ends(self) -> NDArray[np.int64]:
        ends = np.cumsum([part.take for part in self.parts])
        begins = ends - [part.take for part in self.parts]
        return np.unique(np.concatenate([begins, ends - 1]))

    def identity(self) -> list[Any]:
        files = [Path(part.filename) for part in self.parts]
        stats = [file.stat() for file in files]
        return [
            *("tfds", self.split, self.image_key, self.label_key),
            *([] if self.labels_each is None else [f"most {self.labels_each}"]),
            *([str(f), s.st_size, s.st_mtime_ns] for f, s in zip(files, stats, strict=True)),
        ]


VERSION = re.compile(r"\d+\.\d+\.\d+")


def versions_below(folder: Path) -> list[Path]:
    """Folders of versions that lie below a root of data sets, a data set or a config of one."""
    below = ("*/dataset_info.json", "*/*/dataset_info.json", "*/*/*/dataset_info.json")
    found = {info.parent for pattern in below for info in folder.glob(pattern)}
    versions = [each for each in found if VERSION.fullmatch(each.name)]
    return sorted(versions, key=lambda each: (each.parent, *map(int, each.name.split("."))))


def prepared(root: Path) -> dict[str, Path]:
    """Data sets under `root` by every name that means them: with their version, and without.

    The bare name means the newest version. A config, where there is one, is never left out.
    """
    found = {}
    for info in [*root.glob("*/*/dataset_info.json"), *root.glob("*/*/*/dataset_info.json")]:
        folder = info.parent
        if VERSION.fullmatch(folder.name):
            name = folder.parent.relative_to(root).as_posix()
            found[(name, tuple(int(part) for part in folder.name.split(".")))] = folder
    newest_last = sorted(found.items())
    return {name: folder for (name, _), folder in newest_last} | {
        f"{name}:{folder.name}": folder for (name, _), folder in newest_last
    }
