"""Image files as records, for the look at all of them that decides which may be left out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.data.files.readable import Encoded


class FileRecords:
    """Image files of one set, each with its label."""

    def __init__(
        self, name: str, files: Sequence[Path], labels: Sequence[int], classes: int, identity: list
    ):
        """`identity`: what tells these files from their changed selves, for JSON."""
        self.name, self.files, self.labels = name, files, labels
        self.labels_each = None
        self.classes, self.size = classes, len(files)
        self._identity = identity

    def read(self, numbers: Sequence[int]) -> list[Encoded]:
        try:
            return [Encoded(self.files[i].read_bytes(), (self.labels[i],)) for i in numbers]
        except FileNotFoundError as error:  # a link that leads nowhere
            raise ValueError(f"not a readable image: {error.strerror}") from error

    def labels_of(self, numbers: Sequence[int]) -> NDArray[np.int64]:
        return np.array([self.labels[i] for i in numbers], np.int64)

    def called(self, number: int) -> str:
        return str(self.files[number])

    def ends(self) -> NDArray[np.int64]:
        return np.unique([0, self.size - 1]) if self.size else np.array([], np.int64)

    def identity(self) -> list[Any]:
        return ["files", *self._identity]
