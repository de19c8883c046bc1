"""Data sets that TensorFlow Datasets has prepared as ArrayRecord files, read without TensorFlow.

What is there, and whether it fits, is read from the small JSON files that TFDS leaves beside the
data; `tensorflow_datasets` itself, two seconds to import, is loaded to open the data alone.
"""

import difflib
import importlib.util
import json
import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from scaling.data.decode import decode_all, decoder
from scaling.data.source import Batch, SourceConfig, missing

FORMAT = "array_record"
PACKAGES = {"tensorflow_datasets": "tensorflow-datasets", "array_record": "array-record"}
SPLIT = re.compile(r"(?P<name>[\w.-]+)(\[(-?\d+%?)?:(-?\d+%?)?\])?")  # train, train[:90%]


class Tfds(SourceConfig):
    """A TFDS data set of images with one label each, prepared with `--file_format=array_record`."""

    kind: Literal["tfds"] = "tfds"
    name: str
    """As in TFDS: name[/config][:version]; without a version, the newest that is there."""
    data_dir: Path | None = None
    """Where data sets are prepared; by default $TFDS_DATA_DIR, or else ~/tensorflow_datasets."""
    train_split: str = "train"
    """Images to learn from; slices work as in TFDS, `train[:90%]`."""
    heldout_split: str = "test"
    """Images to measure on."""
    image_key: str = "image"
    """Feature that holds the image."""
    label_key: str = "label"
    """Feature that holds the class."""
    resolution: int = Field(ge=1)
    """Side of an image, pixels; images of another size are resized."""

    @model_validator(mode="after")
    def _splits_differ(self) -> "Tfds":
        if self.train_split == self.heldout_split:
            raise ValueError(f"train_split and heldout_split are both {self.train_split!r}.")
        return self

    @property
    def root(self) -> Path:
        default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
        return (self.data_dir or Path(default)).expanduser()

    @property
    def classes(self) -> int:
        return int(self._features()[self.label_key]["classLabel"]["numClasses"])

    def train(self) -> "TfdsImages":
        return self._open(self.train_split)

    def heldout(self) -> "TfdsImages":
        return self._open(self.heldout_split)

    def _open(self, split: str) -> "TfdsImages":
        if problem := self.problem():
            raise ValueError(problem)
        return TfdsImages(self, split)

    def problem(self) -> str | None:
        for module, package in PACKAGES.items():
            if importlib.util.find_spec(module) is None:
                return f"reading TFDS data sets needs the package {package}: pip install {package}."
        if problem := missing(self.root):
            return problem
        if self.name not in (there := _prepared(self.root)):
            names = ", ".join(name for name in there if ":" in name) or "none"
            near = difflib.get_close_matches(self.name, there, n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            return f"{self.root} holds no data set {self.name!r}; prepared there: {names}.{hint}"
        return self._problem_of_format() or self._problem_of_splits() or self._problem_of_features()

    @property
    def folder(self) -> Path:
        """Folder of the data set's very version."""
        return _prepared(self.root)[self.name]

    def _problem_of_format(self) -> str | None:
        info = self._info()
        formats = [info.get("fileFormat"), *info.get("alternativeFileFormats", [])]
        if FORMAT in formats:
            return None
        return (
            f"{self.folder} is prepared as {formats[0]}, which cannot be read in any order. Add "
            f"ArrayRecord files to it with (TensorFlow is needed for this once): tfds "
            f"convert_format --dataset_version_dir={self.folder} --out_file_format={FORMAT}"
        )

    def _problem_of_splits(self) -> str | None:
        there = [split["name"] for split in self._info()["splits"]]
        for field, split in (
            ("train_split", self.train_split),
            ("heldout_split", self.heldout_split),
        ):
            found = SPLIT.fullmatch(split)
            if found is None:
                return f"{field}={split!r} is neither a split nor a slice like train[:90%]."
            if found["name"] not in there:
                return f"{self.name} has no split {found['name']!r} ({field}); it has {there}."
        return None
