"""Plain TFRecord files of tf.train.Example, one image and one label each, made a data set of TFDS.

Records are copied as they are; each is parsed once, to see that image and label are there and how
far the labels go. No image is decoded and nothing of TensorFlow is needed.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fits.base.counted import counted
from fits.base.errors import UserError
from fits.base.names import did_you_mean
from scaling.base.console import Say, complain
from scaling.data.files.patterns import files_of
from scaling.data.labels import MOST_CLASSES
from scaling.data.prepare.convert import Converted
from scaling.data.prepare.described import (
    VERSION,
    check_name,
    check_split,
    shard_name,
    write_description,
)
from scaling.data.prepare.shards import Progress, Shard, stamp, write_shard
from scaling.data.prepare.tfrecord import tfrecords
from scaling.data.tfds.example import IMAGE, LABEL, features_in, lacks

IMAGE_BEGINS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"RIFF", b"GIF8", b"BM")
WITHHELD = -1


class Keys(NamedTuple):
    """Names of the two features."""

    image: str
    label: str


class Labels:
    """Copies records on and keeps how far their labels go.

    Fields:
      withheld: number of records without a label, and the first of them.
    """

    def __init__(self, file: Path, keys: Keys, classes: int):
        self.file, self.keys, self.classes = file, keys, classes
        self.least, self.most = classes, WITHHELD
        self.withheld = [0, 0]

    def passed(self) -> Iterator[bytes]:
        for number, record in enumerate(tfrecords(self.file)):
            label = label_of(record, self.keys, f"{self.file}, record {number:_}")
            if label == WITHHELD:
                count, first = self.withheld
                self.withheld = [count + 1, first if count else number]
            if not WITHHELD <= label < self.classes:
                raise UserError(
                    [
                        f"{self.file}, record {number:_}: {self.keys.label} is {label:_}; "
                        f"{self.classes:_} classes have the labels 0 .. {self.classes - 1:_}."
                    ]
                )
            if label != WITHHELD:
                self.least, self.most = min(self.least, label), max(self.most, label)
            yield record


def convert_examples(
    patterns: Mapping[str, str],
    name: str,
    data_dir: Path,
    say: Say,
    *,
    image_key: str | None = None,
    label_key: str | None = None,
    classes: int | None = None,
) -> Converted:
    """Copy TFRecord files into data_dir/name/1.0.0 as ArrayRecord, a file for a file.

    Args:
      patterns: files of each split, as `patterns.files_of` reads them.
      image_key, label_key: features; None: the only ones that can be meant.
      classes: None: one more than the largest label.
    """
    check_name(name)
    splits = _files(patterns)
    keys = _keys(next(iter(splits.values()))[0], image_key, label_key)
    folder = data_dir / name / VERSION
    most_classes = classes or MOST_CLASSES
    targets = {
        shard_name(name, split, i, len(files)): (split, file)
        for split, files in splits.items()
        for i, file in enumerate(files)
    }
    made: dict[str, list[Shard]] = {split: [] for split in splits}
    withheld: dict[str, list[tuple[Path, int, int]]] = {split: [] for split in splits}
    with Progress(folder) as progress:
        progress.refuse_other(
            {target: _source(file, keys, most_classes) for target, (_, file) in targets.items()}
        )
        found = []
        for target, (split, file) in targets.items():
            kept = _copied(file, target, keys, most_classes, progress, say)
            made[split].append(Shard(kept["records"], kept["bytes"], kept["sha256"]))
            withheld[split].append((file, *kept.get("withheld", (0, 0))))
            found.append(kept)
        classes = classes or 1 + max(kept["largest_label"] for kept in found)
        if not classes:
            raise UserError([f"{keys.label} is {WITHHELD} throughout: no record has a label."])
        write_description(folder, name, keys.image, keys.label, classes, made)
    say(_words_of_labels(keys, classes, min(kept["smallest_label"] for kept in found)))
    for split, shards in made.items():
        _say_withheld(split, keys, sum(shard.records for shard in shards), withheld[split])
    shards = [shard for each in made.values() for shard in each]
    records, size = sum(s.records for s in shards), sum(s.bytes for s in shards)
    return Converted(folder, len(shards), records, size)


def _copied(
    file: Path, target: str, keys: Keys, classes: int, progress: Progress, say: Say
) -> dict[str, Any]:
    source = _source(file, keys, classes)
    if kept := progress.found(target, source):
        return kept
    labels = Labels(file, keys, classes)
    shard = write_shard(progress.folder / target, labels.passed())
    if not shard.records:
        (progress.folder / target).unlink()
        raise UserError([f"{file} holds no record; leave it out."])
    say(f"{target}: {counted(shard.records, 'record', form='_')}")
    more: dict[str, Any] = {"smallest_label": labels.least, "largest_label": labels.most}
    more |= {"withheld": labels.withheld}
    return progress.keep(target, source, shard, **more)


def _source(file: Path, keys: Keys, classes: int) -> list[Any]:
    return [*stamp(file), *keys, classes]


def _files(patterns: Mapping[str, str]) -> dict[str, list[Path]]:
    wrong: list[str] = []
    found: dict[str, list[Path]] = {}
    of: dict[Path, str] = {}
    for split, pattern in patterns.items():
        check_split(split)
        try:
            found[split] = files_of(pattern)
        except ValueError as error:
            wrong.append(f"--split {split}={pattern}: {error}.")
            continue
        for file in found[split]:
            if not file.is_file():
                wrong.append(f"{file} is not there.")
            elif (other := of.setdefault(file.absolute(), split)) != split:
                wrong.append(f"{file} is in both {other!r} and {split!r}.")
    if not patterns:
        wrong.append("name the files of each split: --split train=FILES --split test=FILES.")
    if wrong:
        raise UserError(wrong)
    return found


def label_of(record: bytes, keys: Keys, where: str) -> int:
    """The label, where both image and label are there, once each."""
    features = _features(record, where)
    wrong = [
        f"{where}, has {words}. Leave the record out of the file, or say by {option} a feature "
        "that every record has once."
        for key, option, kind in (
            (keys.image, "--image-key", IMAGE),
            (keys.label, "--label-key", LABEL),
        )
        if (words := lacks(features, key, option, kind))
    ]
    if wrong:
        raise UserError(wrong)
    return int(features[keys.label].int64_list.value[0])


def _features(record: bytes, where: str) -> Mapping[str, Any]:
    try:
        return features_in(record)
    except ValueError as error:
        raise UserError([f"{where}: {error}."]) from error


def _say_withheld(
    split: str, keys: Keys, records: int, files: Sequence[tuple[Path, int, int]]
) -> None:
    """Records of a split that have no label are counted, and the first is named.

    Args:
      records: of the split.
      files: each with the number of its records without a label, and the first of them.
    """
    if not (count := sum(each for _, each, _ in files)):
        return
    if count == records:
        complain(
            f"{split}: none of its {records:_} records has a label ({keys.label} is {WITHHELD}); "
            "nothing can be learned from this split or measured on it."
        )
        return
    file, _, first = next(each for each in files if each[1])
    complain(
        f"{split}: {count:_} of {records:_} records have no label, the first is {file}, record "
        f"{first:_}: {keys.label} is {WITHHELD}. They are copied, and a run stops at them; leave "
        f"them out of the files, or say skip_unreadable = {count} in [data]."
    )


def _keys(file: Path, image_key: str | None, label_key: str | None) -> Keys:
    """Those that are given, or the only ones that can be meant in the first record of `file`."""
    where = f"{file}, record 0"
    record = next(tfrecords(file), None)
    if record is None:
        raise UserError([f"{file} holds no record; leave it out."])
    features = _features(record, where)
    images = [key for key in features if _is_image(features[key])]
    labels = [key for key in features if len(features[key].int64_list.value) == 1]
    if len(labels) > 1:
        labels = [key for key in labels if "label" in key] or labels
    wrong, found = [], []
    for option, given, fitting, words in (
        ("--image-key", image_key, images, "an encoded image"),
        ("--label-key", label_key, labels, "one whole number"),
    ):
        if given is not None and given not in features:
            near = did_you_mean(given, features)
            there = ", ".join(sorted(features)) or "none"
            wrong.append(f"{option} {given}: {where} has no such feature. {near}It has {there}.")
        elif given is None and len(fitting) != 1:
            there = ", ".join(sorted(fitting)) or "none"
            wrong.append(f"{where}: features that hold {words}: {there}; say {option}.")
        found.append(given or (fitting or [""])[0])
    if wrong:
        raise UserError(wrong)
    return Keys(*found)


def _is_image(feature: Any) -> bool:
    values = feature.bytes_list.value
    return len(values) == 1 and values[0].startswith(IMAGE_BEGINS)


def _words_of_labels(keys: Keys, classes: int, least: int) -> str:
    words = f"{keys.image}, {keys.label}: {classes:_} classes"
    if least > 0:
        first = "0 has" if least == 1 else f"0 .. {least - 1:_} have"
        words += f"; {first} no image, as labels begin at {least:_}"
    return words
