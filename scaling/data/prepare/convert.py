"""A data set that TFDS has prepared as TFRecord, copied record for record into ArrayRecord.

No record is decoded and nothing of TensorFlow is needed. What TFDS says of the data set (its name,
splits, features) goes with it, so that the source `tfds` opens the copy.
"""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from fits.base.counted import counted
from fits.base.errors import UserError
from fits.base.files import write_text
from scaling.base.console import Say
from scaling.base.json_file import read_json
from scaling.data.prepare.shards import INFO, Progress, stamp, write_shard
from scaling.data.prepare.tfrecord import tfrecords

FEATURES = "features.json"
ARRAY_RECORD, TFRECORD = "array_record", "tfrecord"
TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


class Part(NamedTuple):
    """One file to copy: where from, what the copy is called, how many records it should have."""

    source: Path
    name: str
    records: int


class Converted(NamedTuple):
    """What a conversion has made."""

    folder: Path
    files: int
    records: int
    bytes: int

    def __str__(self) -> str:
        size = f"{self.bytes / 2**20:_.1f} MiB"
        return (
            f"{self.folder}: {counted(self.records, 'record', form='_')}, {size}, in "
            f"{counted(self.files, 'file', form='_')}; compared"
        )


def convert_prepared(folder: Path, data_dir: Path | None, say: Say) -> Converted:
    """Copy the TFRecords of a prepared data set, root/name[/config]/version.

    Args:
      folder: the version's folder.
      data_dir: where data sets are kept; None: the copies go beside the TFRecords.

    Raises:
      UserError: what is wrong, before anything is written; or the record that is damaged.
    """
    info = _described(folder)
    try:
        parts = _parts(folder, info)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise _not_as_tfds(folder, error) from error
    absent = [f"{part.source} is not there." for part in parts if not part.source.is_file()]
    if absent:
        raise UserError(absent)
    target = folder if data_dir is None else data_dir / _below(info)
    with Progress(target) as progress:
        if target != folder:
            progress.refuse_other({part.name: stamp(part.source) for part in parts})
        kept = [
            progress.found(part.name, stamp(part.source)) or _copy(part, progress, say)
            for part in parts
        ]
        _describe(folder, target, info, parts)
    records, size = sum(each["records"] for each in kept), sum(each["bytes"] for each in kept)
    return Converted(target, len(parts), records, size)


def _describe(folder: Path, target: Path, info: dict[str, Any], parts: list[Part]) -> None:
    """The description of what is there now, written last."""
    _carry_over(folder, target, {part.source.name for part in parts})
    formats = [info["fileFormat"], *info.get("alternativeFileFormats", [])]
    if target == folder:
        new: dict[str, Any] = {"alternativeFileFormats": [*formats[1:], ARRAY_RECORD]}
    else:
        new = {"fileFormat": ARRAY_RECORD, "alternativeFileFormats": []}
    if ARRAY_RECORD not in formats or target != folder:
        write_text(target / INFO, json.dumps(info | new, indent=2), durable=True)


def _copy(part: Part, progress: Progress, say: Say) -> dict[str, Any]:
    target, source = progress.folder, stamp(part.source)  # as it was before it was read
    shard = write_shard(target / part.name, tfrecords(part.source))
    if shard.records != part.records:
        (target / part.name).unlink()
        raise UserError(
            [
                f"{part.source}: {shard.records:_} records, and {INFO} says {part.records:_}; "
                "get the file again."
            ]
        )
    say(f"{part.name}: {counted(shard.records, 'record', form='_')}")
    return progress.keep(part.name, source, shard)


def _described(folder: Path) -> dict[str, Any]:
    for name in (INFO, FEATURES):
        if not (folder / name).is_file():
            words = f"{folder} has no {name}: it is no data set that TFDS has prepared"
            raise UserError([f"{words} (give the folder of a version, as cifar10/3.0.2)."])
    try:
        info = read_json(folder / INFO)
        formats = [info["fileFormat"], *info.get("alternativeFileFormats", [])]
        splits = info["splits"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _not_as_tfds(folder, error) from error
    if TFRECORD not in formats:
        words = f"{folder} is prepared as {', '.join(map(str, formats))}, not as {TFRECORD}"
        raise UserError([f"{words}; there is nothing to convert."])
    if not splits:
        raise UserError([f"{folder / INFO} names no split."])
    return info


def _not_as_tfds(folder: Path, error: Exception) -> UserError:
    return UserError([f"{folder / INFO} is not as TFDS >= 4 writes it: {error!r}."])


def _parts(folder: Path, info: dict[str, Any]) -> list[Part]:
    found = []
    for split in info["splits"]:
        template = str(split.get("filepathTemplate") or TEMPLATE)
        lengths = [int(length) for length in split["shardLengths"]]
        for i, length in enumerate(lengths):
            fill = {
                "{DATASET}": str(info["name"]),
                "{SPLIT}": str(split["name"]),
                "{SHARD_X_OF_Y}": f"{i:05d}-of-{len(lengths):05d}",
                "{SHARD_INDEX}": f"{i:05d}",
                "{NUM_SHARDS}": f"{len(lengths):05d}",
            }
            source, target = (
                _plain(_filled(template, fill | {"{FILEFORMAT}": form}), folder)
                for form in (TFRECORD, ARRAY_RECORD)
            )
            if source == target:
                raise UserError([f"{folder / INFO}: {template!r} does not tell formats apart."])
            found.append(Part(folder / source, target, length))
    return found


def _filled(template: str, fill: dict[str, str]) -> str:
    for word, value in fill.items():
        template = template.replace(word, value)
    return template


def _plain(name: str, folder: Path) -> str:
    """`name`, when it can only mean a file of the folder itself."""
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise UserError([f"{folder / INFO} names a file {name!r} that is not in its folder."])
    return name


def _below(info: dict[str, Any]) -> Path:
    """name[/config]/version, each a plain name."""
    words = [info.get("name"), info.get("configName"), info.get("version")]
    return Path(*(_plain(str(word), Path()) for word in words if word))


def _carry_over(folder: Path, target: Path, records: set[str]) -> None:
    """All files that are no records: features, names of classes."""
    if folder == target:
        return
    for file in sorted(folder.iterdir()):
        described = file.suffix in (".json", ".txt") and file.name != INFO
        if file.is_file() and described and file.name not in records:
            shutil.copyfile(file, target / file.name)
