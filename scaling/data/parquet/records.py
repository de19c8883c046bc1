"""The rows of Parquet files as records, read from the copies of the files."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.data.captions import Caption
from scaling.data.files.readable import Encoded
from scaling.data.files.version import FileVersion
from scaling.data.labels import assigned
from scaling.data.parquet.files import Keys, all_copied, mapped
from scaling.data.parquet.labels import all_labels


class ParquetRecords:
    """The rows of several files, one file after another."""

    def __init__(
        self,
        name: str,
        files: Sequence[FileVersion],
        classes: int,
        keys: Keys,
        most: int | None = None,
    ):
        """`most`: labels of an image, at most; None: each has one."""
        import pyarrow as pa

        self.name, self.files, self.classes = name, files, classes
        self.keys, self.labels_each = keys, most
        self._tables = [mapped(copy) for copy in all_copied(files, keys)]
        whole = pa.concat_tables(self._tables)
        self._images = whole.column("image")
        self._labels = all_labels(files, keys.label, most)
        self._captions = whole.column("caption") if keys.caption is not None else None
        self._ends = np.cumsum([len(table) for table in self._tables])
        self.size = len(whole)

    def read(self, numbers: Sequence[int]) -> list[Encoded]:
        found = []
        for number in numbers:
            image = self._images[int(number)].as_py()
            if not image:
                raise ValueError("the row holds no bytes of an image")
            found.append(Encoded(image, assigned(self._labels[int(number)])))
        return found

    def labels_of(self, numbers: Sequence[int]) -> NDArray[Any]:
        return self._labels[np.asarray(numbers, np.int64)]

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
