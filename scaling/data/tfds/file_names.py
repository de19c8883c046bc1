"""What the files were called that a data set of TFDS was made of: the feature `file_name`.

All records are read for it, once on each machine; the names are kept below the user's cache folder.
"""

import hashlib
import json
import re
from pathlib import Path

from fits.base.files import write_text
from scaling.base.json_file import read_json
from scaling.base.machine import cache_folder
from scaling.data.files.readable import CHUNK, alone
from scaling.data.tfds.example import FILE_NAME, features_in
from scaling.data.tfds.records import TfdsRecords


def file_names(records: TfdsRecords) -> list[str]:
    """Of all records in their order; "" of one that is damaged, or has none."""
    file = _file(records)
    with alone(file) as keeps:
        found = _kept(file) if keeps else None
        if found is None or len(found) != records.size:
            found = _read(records)
            if keeps:
                write_text(file, json.dumps(found))
    return found


def _read(records: TfdsRecords) -> list[str]:
    found: list[str] = []
    for first in range(0, records.size, CHUNK):
        numbers = range(first, min(first + CHUNK, records.size))
        try:
            raw = list(records.raw(numbers))
        except ValueError:  # one by one, to find those that are damaged
            raw = [_one(records, number) for number in numbers]
        found += map(_name, raw)
    return found


def _one(records: TfdsRecords, number: int) -> bytes:
    try:
        return records.raw([number])[0]
    except ValueError:
        return b""


def _name(record: bytes) -> str:
    try:
        features = features_in(record)
    except ValueError:
        return ""
    values = features[FILE_NAME].bytes_list.value if FILE_NAME in features else []
    return values[0].decode("utf-8", "replace") if len(values) == 1 else ""


def _file(records: TfdsRecords) -> Path:
    digest = hashlib.sha256(json.dumps(records.identity()).encode()).hexdigest()[:16]
    name = re.sub(r"[^\w.-]+", "-", records.name)[-60:]
    return cache_folder() / f"{name}-{digest}.names.json"


def _kept(file: Path) -> list[str] | None:
    try:
        found = read_json(file)
    except (OSError, ValueError):
        return None
    return [str(name) for name in found] if isinstance(found, list) else None
