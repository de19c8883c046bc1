"""From what people have to what a source opens: ArrayRecord described as TFDS does, or a folder.

Encoded bytes are kept as they are.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fits.base.counted import counted
from fits.base.errors import UserError
from fits.base.files import folder_made
from scaling.base.console import Say
from scaling.base.json_file import read_json
from scaling.base.toml_text import toml_line
from scaling.data.hashing import key
from scaling.data.order import permute
from scaling.data.prepare.collection import CIFAR_NAMES, Collection, Item, opened
from scaling.data.prepare.convert import Converted
from scaling.data.prepare.described import (
    VERSION,
    check_classes,
    check_name,
    check_split,
    shard_name,
    write_description,
)
from scaling.data.prepare.published.table import PUBLISHED
from scaling.data.prepare.shards import INFO, Progress, Shard, write_shard
from scaling.data.tfds.example import FILE_NAME

RESOLUTION, CIFAR_SIDE = 224, 32
LARGE = 10_000  # images of which a hundredth is enough to measure on
YOURS = "pixels a side that the network sees, yours to choose"
SHUFFLED = 22  # one order for all data sets, so that a slice of a split has all classes
SHARD = 256 << 20  # bytes of a file, about


def prepare(source: Path, name: str, data_dir: Path, say: Say) -> Converted:
    """Images of a folder or an archive (`collection.opened`) as data_dir/name/1.0.0.

    A name of `PUBLISHED` says which archives are looked for, and the classes of TFDS.

    What is there of the same images is kept, so that a killed preparation goes on.

    Raises:
      UserError: what is wrong with what is there; nothing that was there is lost.
    """
    if name not in PUBLISHED:
        check_name(name)
    folder = data_dir / name / VERSION
    with opened(source, data_dir, name) as collection:
        for split in collection.splits:
            check_split(split)
        check_classes(collection.classes)
        _refuse_empty(source, collection)
        if len(collection.splits) < 2:
            say(_of_one_split(source, *collection.splits))
        files = [file for split in collection.splits for file in _files(collection, split, name)]
        made: dict[str, list[Shard]] = {split: [] for split in collection.splits}
        with Progress(folder) as progress:
            progress.refuse_other({file.name: file.source for file in files})
            for file in files:
                made[file.split].append(_made(collection, file, progress, say))
            keys = "image", "label"
            write_description(folder, name, *keys, collection.classes, made, file_names=True)
    shards = [shard for each in made.values() for shard in each]
    records, size = sum(s.records for s in shards), sum(s.bytes for s in shards)
    return Converted(folder, len(shards), records, size)


def table_of(name: str, folder: Path, data_dir: Path) -> str:
    """What a study says of the data set that lies in `folder`, as TOML."""
    lengths = {
        split["name"]: sum(map(int, split["shardLengths"]))
        for split in read_json(folder / INFO)["splits"]
    }
    splits = list(lengths)
    keys = {"kind": "tfds", "name": name, "data_dir": str(data_dir)}
    if splits != ["test"]:
        keys |= _halves(lengths)
    side = CIFAR_SIDE if name in CIFAR_NAMES else RESOLUTION
    lines = [toml_line(key, value) for key, value in {**keys, "resolution": side}.items()]
    if splits == ["test"]:
        return (
            f"data = {{ {', '.join(lines)} }}  # of an [[evaluate]]; resolution: as [data] has it"
        )
    return "\n".join(["[data]", *lines]) + f"  # {YOURS}"


def _halves(lengths: Mapping[str, int]) -> dict[str, str]:
    """Splits to learn from and to measure on, where they are not those that a study has anyway.

    Args:
      lengths: number of images of each split.
    """
    first = next(iter(lengths))
    train = next((name for name in lengths if name.lower().startswith("train")), first)
    if len(lengths) == 1:
        share = 99 if lengths[train] >= LARGE else 90
        return {"train_split": f"{train}[:{share}%]", "heldout_split": f"{train}[{share}%:]"}
    others = [name for name in lengths if name != train]
    heldout = "test" if "test" in others else others[0]
    default = {"train_split": "train", "heldout_split": "test"}
    found = {"train_split": train, "heldout_split": heldout}
    return {key: name for key, name in found.items() if name != default[key]}


def _of_one_split(source: Path, split: str) -> str:
    if split == "test":
        return f"{source} has one split, test: it is only to measure on."
    return f"{source} has one split; a study holds a slice of it out."


class File(NamedTuple):
    """One file of records to make."""

    name: str
    split: str
    items: list[Item]
    source: str
    """A hash of what it is made of."""


def _files(collection: Collection, split: str, name: str) -> Iterator[File]:
    items = collection.splits[split]
    wanted = -(-sum(item.size for item in items) // SHARD)
    count = min(max(1, wanted), len(items))
    order = permute(np.arange(len(items)), len(items), key(SHUFFLED))
    for i, numbers in enumerate(np.array_split(order, count)):
        chosen = [items[number] for number in numbers]
        text = json.dumps([FILE_NAME, collection.classes, chosen])
        source = hashlib.sha256(text.encode()).hexdigest()
        yield File(shard_name(name, split, i, count), split, chosen, source)


def _made(collection: Collection, file: File, progress: Progress, say: Say) -> Shard:
    kept = progress.found(file.name, file.source)
    if kept is None:
        shard = write_shard(progress.folder / file.name, _examples(collection, file.items))
        kept = progress.keep(file.name, file.source, shard)
        say(f"{file.name}: {counted(shard.records, 'record', form='_')}")
    return Shard(kept["records"], kept["bytes"], kept["sha256"])


def _examples(collection: Collection, items: list[Item]) -> Iterator[bytes]:
    from tensorflow_datasets.proto import tf_example_pb2

    for item in items:
        example = tf_example_pb2.Example()
        features = example.features.feature
        features["image"].bytes_list.value.append(_read(collection, item))
        features["label"].int64_list.value.append(item.label)
        name = collection.file_name(item)
        features[FILE_NAME].bytes_list.value.append(name.encode("utf-8", "replace"))
        yield example.SerializeToString(deterministic=True)


def _read(collection: Collection, item: Item) -> bytes:
    try:
        found = collection.read(item)
    except ValueError as error:
        raise UserError([f"{item.name}: {error}."]) from error
    if not found:
        raise UserError([f"{collection.classes[item.label]}/{item.name} is empty; remove it."])
    return found


def unpack(source: Path, out: Path, say: Say) -> int:
    """The same images as files out/split/class/image; returns their number.

    Raises:
      UserError: `out` is there already, or what is wrong with `source`.
    """
    if out.exists():
        raise UserError([f"{out} is there already; remove it, or name another folder."])
    aside = out.with_name(f".{out.name}.part")
    with folder_made(out.parent), opened(source, out.parent) as collection:
        _refuse_empty(source, collection)
        if aside.exists():
            shutil.rmtree(aside)  # of one that was killed
        try:
            _write_files(collection, aside, say)
            aside.rename(out)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return sum(map(len, collection.splits.values()))


def _write_files(collection: Collection, root: Path, say: Say) -> None:
    for split, items in collection.splits.items():
        for name in collection.classes:
            (root / split / name).mkdir(parents=True)
        for item in items:
            file = root / split / collection.classes[item.label] / item.name
            file.write_bytes(_read(collection, item))
        classes = counted(len({i.label for i in items}), "class", "classes", "_")
        say(f"{split}: {counted(len(items), 'image', form='_')} of {classes}")
    for empty in root.glob("*/*"):
        if not any(empty.iterdir()):
            empty.rmdir()  # the source refuses classes without images


def _refuse_empty(source: Path, collection: Collection) -> None:
    """Raise UserError where a split has no images, or images have no bytes: all of them."""
    none = [
        f"{source}: split {split!r} holds no images."
        for split, items in collection.splits.items()
        if not items
    ]
    empty = [
        f"{source}: {split}/{collection.classes[item.label]}/{item.name} is empty; remove it."
        for split, items in collection.splits.items()
        for item in items
        if not item.size
    ]
    if none or empty:
        raise UserError(none, empty)
