"""Data sets that TensorFlow Datasets has prepared as ArrayRecord files, read without TensorFlow.

What is there, and whether it fits, is read from the small JSON files that TFDS leaves beside the
data. `tensorflow_datasets` itself takes two seconds to import: that waits until all else is right.
"""

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from fits.base.counted import counted
from fits.base.errors import UserError
from scaling.base.config import Clash
from scaling.base.console import Say
from scaling.base.files import expanded
from scaling.base.json_file import read_json
from scaling.data.file_ranges import FileRange
from scaling.data.files.encoded import EncodedSource
from scaling.data.files.readable import Records, allowed
from scaling.data.source import Fault, missing, same_sets, splits_of
from scaling.data.tfds.example import FILE_NAME
from scaling.data.tfds.file_names import file_names
from scaling.data.tfds.names import hint
from scaling.data.tfds.records import TfdsRecords, prepared

FORMAT = "array_record"
CLASS, CLASSES = "ClassLabel", "Sequence(ClassLabel)"  # features
PACKAGES = {"tensorflow_datasets": "tensorflow-datasets", "array_record": "array-record"}
PREPARE = (
    "Make it of a folder or an archive with `scaling data prepare`, or of TFRecords with `scaling "
    "data convert`; neither needs TensorFlow (docs/data/sources.md)."
)
SPLIT = re.compile(r"(?P<name>[\w.-]+)(\[(-?\d+%?)?:(-?\d+%?)?\])?")  # train, train[:90%]


class Tfds(EncodedSource):
    """A TFDS data set of images with one label each, prepared with `--file_format=array_record`.

    Before the first step every file of both splits is opened and its records are counted; its first
    and last image and 256 images of each split are decoded, and all that cannot be read are named
    together. Other images are first looked at when their turn comes.
    """

    kind: Literal["tfds"] = "tfds"
    name: str
    """As in TFDS: name[/config][:version]; without a version, the newest that is there."""
    data_dir: Path | None = None
    """Where data sets are prepared; by default $TFDS_DATA_DIR, or else ~/tensorflow_datasets."""
    train_split: str = "train"
    """Images to learn from; slices work as in TFDS, `train[:90%]`. Where nothing is learnt from
    the images, the data set may have no such split, as `imagenet_v2`."""
    heldout_split: str = "test"
    """Images to measure on; none of those to learn from."""
    image_key: str = "image"
    """Feature that holds the image."""
    label_key: str = "label"
    """Feature that holds the class, or a sequence of classes, which needs `most_labels`."""
    most_labels: int | None = Field(None, ge=1, le=10_000)
    """Most labels of an image, where its feature is a sequence of classes. Left out, each image has
    one."""

    def clashes(self) -> Iterator[Clash]:
        yield from same_sets(("train_split", "heldout_split"), self.train_split, self.heldout_split)
        yield from super().clashes()

    @property
    def root(self) -> Path:
        default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
        return expanded(self.data_dir or Path(default))

    @property
    def classes(self) -> int:
        """As the data set's description says; 0: it is not prepared here."""
        if self.name not in prepared(self.root):
            return 0
        feature = self._features()[self.label_key]
        label = feature if self.most_labels is None else feature["sequence"]["feature"]
        return int(label["classLabel"]["numClasses"])

    @property
    def labels_each(self) -> int | None:
        return self.most_labels

    @property
    def folder(self) -> Path:
        """Where the data set's very version lies, root/name[/config]/version."""
        return prepared(self.root)[self.name]

    def records(self, heldout: bool) -> TfdsRecords:
        return self.records_of(self.heldout_split if heldout else self.train_split)

    def records_of(self, split: str) -> TfdsRecords:
        """Those of a split, or of a slice of one."""
        name = f"{self.name} {split}"
        keys = self.image_key, self.label_key
        return TfdsRecords(name, self.builder(), split, *keys, self.most_labels)

    def file_ranges(self, heldout: bool = False) -> list[FileRange]:
        split = self.heldout_split if heldout else self.train_split
        parts = self.builder().info.splits[split].file_instructions
        files = [Path(part.filename) for part in parts]
        return [
            FileRange.of(file.parent, file.name, part.skip, part.take)
            for file, part in zip(files, parts, strict=True)
        ]

    def builder(self) -> Any:
        """TFDS's own handle on the prepared files, whatever code once prepared them.

        Raises ValueError where TFDS cannot read their description.
        """
        import tensorflow_datasets as tfds

        try:
            builder = tfds.builder_from_directory(self.folder)
        except Exception as error:  # of protobuf, and of whatever a strange value meets first
            raise ValueError(str(error).partition("\n")[0]) from error
        if builder.info.file_format.value != FORMAT:  # there beside the format prepared first
            builder.info.set_file_format(FORMAT, override=True, override_if_initialized=True)
        return builder

    @property
    def labels_at_hand(self) -> bool:
        """A record holds an image and its label."""
        return False

    @property
    def names_at_hand(self) -> bool:
        """A record holds its name, where records have any."""
        return FILE_NAME not in self._features()

    def heldout_names(self, shown: bool = True) -> list[str] | None:
        if self.names_at_hand:
            return None
        records = self.records(heldout=True)
        names = file_names(records)
        skipped = allowed(records, self.skip_unreadable) if shown and self.skip_unreadable else {}
        return [name for number, name in enumerate(names) if number not in skipped]

    def check(self, say: Say) -> None:
        if wrong := self.damaged_files():
            raise UserError(wrong)
        super().check(say)

    def damaged_files(self) -> list[str]:
        """What is wrong with files of records of both splits, however much of them is used."""
        wrong: dict[str, str] = {}
        for split in splits_of(self).values():
            wrong |= self._damaged_files(split)
        return [f"{name}: {why}" for name, why in wrong.items()]

    def salvaged(self, heldout: bool) -> tuple[Records | None, dict[str, str]]:
        wrong = self._damaged_files(self.heldout_split if heldout else self.train_split)
        records = self.records(heldout)
        return (records.in_other_files(wrong) if wrong else records), wrong

    def _damaged_files(self, split: str) -> dict[str, str]:
        from array_record.python.array_record_module import ArrayRecordReader

        wrong = {}
        for part in self.builder().info.splits[split].file_instructions:
            try:
                reader = ArrayRecordReader(part.filename)
                there = reader.num_records()
                reader.close()
            except (OSError, ValueError, RuntimeError) as error:
                wrong[part.filename] = f"not readable: {str(error).splitlines()[0]}."
                continue
            if there != part.examples_in_shard:
                wrong[part.filename] = f"{there:_} records where {part.examples_in_shard:_} were."
        return {str(name): f"{why} Prepare the data set again." for name, why in wrong.items()}

    @property
    def heldout_only(self) -> bool:
        there = [split["name"] for split in self._info()["splits"]]
        train, heldout = (
            SPLIT.fullmatch(split) for split in (self.train_split, self.heldout_split)
        )
        if train is None or heldout is None:
            return False
        return train["name"] not in there and heldout["name"] in there

    def fault_of_files(self, to_train: bool) -> Fault | None:
        for module, package in PACKAGES.items():
            if importlib.util.find_spec(module) is None:
                needs = f"reading TFDS data sets needs the package {package}"
                return Fault("kind", f"{needs}: pip install {package}.")
        if problem := missing(self.root):
            return Fault(
                "data_dir",
                f"{problem} TFDS keeps prepared data sets there, and {self.name!r} is to be found "
                f"below it, or say data_dir. {hint(self.name, ())}{PREPARE}",
            )
        there = prepared(self.root)
        if self.name not in there:
            names = ", ".join(name for name in there if ":" in name) or "none"
            return Fault(
                "name",
                f"{self.root} holds no data set {self.name!r}; prepared there: {names}. "
                f"{hint(self.name, there)}{PREPARE}",
            )
        try:
            return (
                self._fault_of_format()
                or self._fault_of_splits(to_train)
                or self._fault_of_features()
                or self._fault_of_slices()
                or self._fault_of_records()
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            words = (
                f"{self.folder} is not described as TFDS >= 4 does, prepare it again: {error!r}."
            )
            return Fault("name", words)

    def _fault_of_format(self) -> Fault | None:
        folder, info = self.folder, self._info()
        formats = [info["fileFormat"], *info.get("alternativeFileFormats", [])]
        if FORMAT in formats:
            return None
        return Fault(
            "name",
            f"{folder} is prepared as {formats[0]}, which cannot be read in any order. Copy its "
            f"records into ArrayRecord, which needs no TensorFlow: scaling data convert {folder}",
        )

    def _fault_of_splits(self, to_train: bool) -> Fault | None:
        there = [split["name"] for split in self._info()["splits"]]
        for field, split in splits_of(self, to_train).items():
            found = SPLIT.fullmatch(split)
            if found is None:
                words = f"{field}={split!r} is neither a split nor a slice like train[:90%]."
                return Fault(field, words)
            if found["name"] not in there:
                words = f"{self.name} has no split {found['name']!r} ({field}); it has "
                return Fault(field, f"{words}{', '.join(there)}.")
        return None

    def likely_keys(self) -> dict[str, str]:
        """The fields `image_key` and `label_key` as the data set has them: those of this source,
        or else its only feature of that kind."""
        kinds = {key: _kind(feature) for key, feature in self._features().items()}
        found = {"image_key": self.image_key, "label_key": self.label_key}
        label = CLASS if self.most_labels is None else CLASSES
        for field, kind in (("image_key", "Image"), ("label_key", label)):
            fitting = [key for key in kinds if kinds[key] == kind]
            if found[field] not in kinds and len(fitting) == 1:
                found[field] = fitting[0]
        return found

    def _fault_of_features(self) -> Fault | None:
        features = self._features()
        for field, key, kind in (
            ("image_key", self.image_key, "Image"),
            ("label_key", self.label_key, CLASS if self.most_labels is None else CLASSES),
        ):
            if key not in features:
                names = ", ".join(features)
                return Fault(
                    field, f"{self.name} has no feature {key!r} ({field}); it has {names}."
                )
            kinds = {k: _kind(feature) for k, feature in features.items()}
            if (kinds[key], kind) == (CLASSES, CLASS):
                words = "holds several labels an image; say most_labels, how many at most."
                return Fault(field, f"{field}={key!r} of {self.name} {words}")
            if kinds[key] != kind:
                fitting = ", ".join(k for k in kinds if kinds[k] == kind) or "none"
                return Fault(
                    field,
                    f"{field}={key!r} of {self.name} is a {kinds[key]}; "
                    f"a feature of kind {kind} is needed: {fitting}.",
                )
        return None

    def _fault_of_slices(self) -> Fault | None:
        """Slices beyond their split, empty ones, and two that have images in common."""
        from tensorflow_datasets.core import ReadInstruction

        splits = self.builder().info.splits
        parts = []
        for field, split in splits_of(self).items():
            whole = splits[split.partition("[")[0]].num_examples
            try:
                (part,) = ReadInstruction.from_spec(split).to_absolute(splits)
            except ValueError:
                words = f"{self.name}: {split} goes beyond the {whole:_} images there are."
                return Fault(field, words)
            first, last = part.from_ or 0, whole if part.to is None else part.to
            if first >= last:
                return Fault(field, f"{self.name}: {split} holds no images.")
            parts.append((part.splitname, first, last))
        if len(parts) < 2:
            return None
        (name, *train), (other, *heldout) = parts
        first, last = max(train[0], heldout[0]), min(train[1], heldout[1])
        if name == other and first < last:
            return Fault(
                "heldout_split",
                f"{self.train_split} and {self.heldout_split} have "
                f"{counted(last - first, 'image', form='_')} in common "
                f"({name}[{first}:{last}]); what is measured on must not be learnt from.",
            )
        return None

    def _fault_of_records(self) -> Fault | None:
        splits = self.builder().info.splits
        for split in splits_of(self).values():
            for part in splits[split].file_instructions:
                if not Path(part.filename).exists():
                    words = f"{self.name}: {part.filename} is gone; prepare the data set again."
                    return Fault("name", words)
        return None

    def _info(self) -> dict[str, Any]:
        """TFDS's description of the data set: name, version, formats, splits."""
        return read_json(self.folder / "dataset_info.json")

    def _features(self) -> dict[str, Any]:
        """Of each feature, by name, the description that TFDS keeps."""
        described = read_json(self.folder / "features.json")
        return described["featuresDict"]["features"]

    def provenance(self) -> dict[str, Any]:
        return super().provenance() | {
            "tfds": f"{self._info()['name']}:{self._info()['version']}",
            "tensorflow-datasets": version("tensorflow-datasets"),
        }


def _kind(feature: Mapping[str, Any]) -> str:
    """What a feature is, as TFDS calls it."""
    name = str(feature["pythonClassName"]).rpartition(".")[2]
    within = feature.get("sequence", {}).get("feature")
    return f"{name}({_kind(within)})" if name == "Sequence" and within else name
