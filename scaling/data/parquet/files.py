"""Parquet files of images, as they lie on disk, and their copies of which any row can be read.

A file's header and its labels are read once in a process. Knows nothing of sources.
"""

import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fits.base.counted import counted
from fits.base.errors import UserError
from fits.base.files import written_aside
from scaling.base.machine import cache_folder
from scaling.data.captions import Caption
from scaling.data.files.readable import alone
from scaling.data.files.version import FileVersion

ROWS = 256  # copied at once
ABANDONED = 24 * 3600  # seconds without a write after which a file is a killed process's
COUNTED = re.compile(r"-\d+-of-(\d+)(-[0-9a-f]+)?")


class Keys(NamedTuple):
    """Columns of a file; None: there is no such."""

    image: str
    label: str | None
    caption: str | None = None


class Header(NamedTuple):
    """What a file says of itself."""

    rows: int
    columns: dict[str, str]
    """Type of each column, as Arrow writes it."""
    classes: int | None
    """Of the label, where the metadata name them."""
    names: tuple[str, ...] | None = None
    """Theirs, in the order of their numbers."""


def files_below(root: Path) -> list[Path]:
    """Parquet files anywhere below a folder, but hidden ones, in alphabetical order."""
    return sorted(file for file in root.rglob("*.parquet") if not is_hidden(file, root))


def is_hidden(file: Path, root: Path) -> bool:
    """Whether its name, or that of a folder below `root` that it lies in, begins with a dot."""
    return any(part.startswith(".") for part in file.relative_to(root).parts)


def split_files(root: Path, split: str) -> list[Path]:
    """Files of a split, in alphabetical order."""
    return [file for file in files_below(root) if split_of(file) == split]


def split_of(file: Path) -> str:
    """`train` of train-00000-of-00002.parquet, train.parquet and train/0000.parquet."""
    stem = COUNTED.sub("", file.stem)
    return file.parent.name if re.fullmatch(r"(part-)?\d+", stem) else stem


def incomplete(files: Sequence[Path]) -> str | None:
    """Of files that count themselves, that some are missing."""
    counts = {int(m[1]) for file in files if (m := COUNTED.search(file.stem))}
    if counts and counts != {len(files)}:
        said = " and ".join(map(str, sorted(counts)))
        return f"{files[0].parent} has {counted(len(files), 'file')} as {files[0].name}, of {said}."
    return None


@cache
def header(file: FileVersion, label_key: str | None) -> Header:
    """Rows, columns and classes. UserError: it is no Parquet file, or it is cut off."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file.path) as opened:
            schema, rows = opened.schema_arrow, opened.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable(file, error) from error
    columns = {field.name: str(field.type) for field in schema}
    if label_key is None:
        return Header(rows, columns, 1)
    names = _names((schema.metadata or {}).get(b"huggingface"), label_key)
    return Header(rows, columns, None if names is None else len(names), names)


def _names(metadata: bytes | None, label_key: str) -> tuple[str, ...] | None:
    """Those of the ClassLabel in the metadata that `datasets` writes, or of the ClassLabel that a
    Sequence is of: a list, or a table whose keys are the numbers of the classes."""
    try:
        feature = json.loads(metadata or b"{}")["info"]["features"][label_key]
        while isinstance(feature, list) or "feature" in feature:  # a Sequence, a List, or [ ]
            feature = feature[0] if isinstance(feature, list) else feature["feature"]
        names = feature.get("names")
        if isinstance(names, dict):
            names = [names[number] for number in sorted(names, key=int)]
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return tuple(map(str, names)) if isinstance(names, list) and names else None


def captions_of(
    files: Sequence[FileVersion], rows: Sequence[int], key: str, numbers: NDArray[np.int64]
) -> list[Caption]:
    """What these rows of several files say, one file after another; UserError where one says
    nothing.

    Args:
      rows: of each file.
      key: the column.
      numbers: of rows, counted through all files.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    found, first = np.full(len(numbers), None, object), 0
    for file, count in zip(files, rows, strict=True):
        here = np.flatnonzero((numbers >= first) & (numbers < first + count))
        if len(here):
            try:
                column = pq.read_table(file.path, columns=[key], partitioning=None)[key]
            except (pa.ArrowException, OSError) as error:
                raise unreadable(file, error) from error
            said = column.take(numbers[here] - first).to_pylist()
            _check_said(file, key, said, numbers[here] - first)
            found[here] = _objects([x if isinstance(x, str) else tuple(x) for x in said])
        first += count
    return found.tolist()


def _objects(values: Sequence[Any]) -> NDArray[np.object_]:
    """One object each, tuples too."""
    found = np.empty(len(values), object)
    for i, value in enumerate(values):
        found[i] = value
    return found


def _check_said(file: FileVersion, key: str, said: Sequence[Any], rows: Iterable[int]) -> None:
    """Raise UserError where a row says nothing.

    Args:
      said: of each row, a text, a list of texts, or None.
    """
    for row, each in zip(map(int, rows), said, strict=True):
        if each is None:
            raise UserError([f"{file.path}: row {row:_} has no {key!r}."])
        if not isinstance(each, str) and (not each or None in each):
            words = "one text of its list is missing" if each else "its list has no text"
            raise UserError([f"{file.path}: row {row:_} of {key!r}: {words}; give one or more."])


def unreadable(file: FileVersion, error: Exception) -> UserError:
    why = str(error).splitlines()[0] if str(error) else repr(error)
    return UserError([f"{file.path} is no Parquet file that can be read: {why}"])


def all_copied(files: Sequence[FileVersion], keys: Keys) -> list[Path]:
    """As `copied`, of each file; the damaged ones are named together."""
    found, wrong = [], []
    for file in files:
        try:
            found.append(copied(file, keys))
        except UserError as error:
            wrong.extend(error.mistakes)
    if wrong:
        raise UserError(list(dict.fromkeys(wrong)))
    return found


def copied(file: FileVersion, keys: Keys) -> Path:
    """The file's encoded images and captions as an Arrow file, which is made where it is not there.

    Raises:
      UserError: the Parquet file is damaged, or there is no room for the copy.
    """
    decides = json.dumps([str(file.path), *file[1:], keys.image, keys.caption])
    digest = hashlib.sha256(decides.encode()).hexdigest()[:16]
    copy = cache_folder() / f"{file.path.stem[-40:]}-{digest}.arrow"
    with alone(copy) as keeps:
        if not keeps:
            raise UserError([f"{copy.parent} cannot be written; point XDG_CACHE_HOME elsewhere."])
        if copy.is_file() and len(mapped(copy)) == header(file, keys.label).rows:
            return copy
        for aside in copy.parent.glob(f".{copy.name}.*.part"):
            if time.time() - aside.stat().st_mtime > ABANDONED:
                aside.unlink(missing_ok=True)
        with written_aside(copy, durable=True) as aside:
            _copy(file, aside, keys)
    return copy


def _copy(file: FileVersion, aside: Path, keys: Keys) -> None:
    import pyarrow as pa

    fields = [("image", pa.large_binary())]
    if keys.caption is not None:
        several = "list" in header(file, keys.label).columns[keys.caption]
        of_caption = pa.large_list(pa.large_string()) if several else pa.large_string()
        fields.append(("caption", of_caption))
    schema = pa.schema(fields)
    columns = [f"{keys.image}.bytes", *([] if keys.caption is None else [keys.caption])]
    with pa.OSFile(str(aside), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        written = 0
        for batch in _batches(file, columns):
            images = batch.column(keys.image).flatten()[0].cast(pa.large_binary())
            found = [images]
            if keys.caption is not None:
                captions = batch.column(keys.caption)
                rows = range(written, written + len(batch))
                _check_said(file, keys.caption, captions.to_pylist(), rows)
                found.append(captions.cast(of_caption))
            written += len(batch)
            writer.write_batch(pa.record_batch(found, schema))


def _batches(file: FileVersion, columns: list[str]) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file.path, page_checksum_verification=True) as opened:
            yield from opened.iter_batches(ROWS, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(file, error) from error


def mapped(copy: Path) -> Any:
    """An Arrow file as a table that lies in the file; an empty one where the file is damaged."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(copy)) as source:
            return pa.ipc.open_file(source).read_all()
    except pa.ArrowException:
        return pa.table({"image": pa.array([], pa.large_binary())})
