"""Labels of Parquet files: a number a row, or a list of them; read once in a process."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fits.base.counted import counted
from scaling.data.files.version import FileVersion
from scaling.data.labels import MISSING, NONE, as_rows, padded, unusable
from scaling.data.parquet.files import header, unreadable

NUMBER = r"u?int\d+"  # of Arrow's types
LISTS = re.compile(rf"(large_|fixed_size_)?list(_view)?<\w+: {NUMBER}( not null)?>(\[\d+\])?")
SHOWN = 5  # rows that an error names before it counts the rest


def fits(kind: str) -> bool:
    """Whether a column of this type of Arrow holds labels."""
    return several(kind) or bool(re.fullmatch(NUMBER, kind))


def several(kind: str) -> bool:
    """Whether it holds several a row."""
    return bool(LISTS.fullmatch(kind))


@cache
def labels(file: FileVersion, label_key: str | None) -> NDArray[np.integer[Any]]:
    """All labels of a file: [n], or [n, most] of a column of lists; zeros without a column.

    Where a row says nothing stands `MISSING`. UserError: the file cannot be read.
    """
    if label_key is None:
        return np.zeros(header(file, None).rows, np.int32)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        column = pq.read_table(
            file.path, columns=[label_key], partitioning=None, page_checksum_verification=True
        )[label_key]
        lists = several(str(column.type))
        return _narrow(_of_lists(column) if lists else _numbers(column))
    except (pa.ArrowException, OSError) as error:
        raise unreadable(file, error) from error


def _numbers(column: Any) -> NDArray[np.int64]:
    import pyarrow as pa

    return column.cast(pa.int64()).fill_null(MISSING).to_numpy()


def _of_lists(column: Any) -> NDArray[np.int64]:
    """Lists as [n, most], in which -1 has no meaning of its own: it fills up."""
    import pyarrow.compute as pc

    lengths = pc.list_value_length(column).fill_null(0).to_numpy()
    absent = column.is_null().to_numpy()
    lengths = np.where(absent, 0, lengths).astype(np.int64)
    values = _numbers(pc.list_flatten(column))
    row = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(values)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    found = np.full((len(lengths), max(1, int(lengths.max(initial=1)))), NONE, np.int64)
    found[row, place] = values
    found[absent, 0] = MISSING
    return found


def _narrow(found: NDArray[np.int64]) -> NDArray[np.integer[Any]]:
    """In half the room, where that holds them: a set may have hundreds of millions of rows."""
    limits = np.iinfo(np.int32)
    fit = found.min(initial=0) >= limits.min and found.max(initial=0) <= limits.max
    return found.astype(np.int32) if fit else found


def most_labels(files: Sequence[FileVersion], label_key: str | None) -> int | None:
    """Most labels of a row of these files; None where each has one."""
    shapes = [labels(file, label_key).shape for file in files]
    return max((shape[1] for shape in shapes if len(shape) == 2), default=None)


def all_labels(
    files: Sequence[FileVersion], label_key: str | None, most: int | None
) -> NDArray[np.integer[Any]]:
    """Those of several files, one after another: [n], or [n, most]."""
    return np.concatenate([padded(labels(file, label_key), most) for file in files])


def unusable_rows(file: FileVersion, label_key: str | None, classes: int) -> tuple[int, list[str]]:
    """How many rows of a file have no labels that can be used, and what they have, in words."""
    found = labels(file, label_key)
    wrong = np.flatnonzero(unusable(found, classes))
    rows = as_rows(found)
    none = (rows[wrong] == MISSING).any(1)
    if found.ndim == 1:
        none |= found[wrong] == NONE
    words, beyond = [], wrong[~none]
    if none.any():
        have = counted(int(none.sum()), "row has", "rows have", "_")
        first = f"the first is row {wrong[none][0]:_}"
        words.append(f"{file.path}: {have} no label, {first}; use another split")
    if len(beyond):
        named = ", ".join(f"row {i:_}: {_shown(rows[i])}" for i in beyond[:SHOWN])
        more = f", and {len(beyond) - SHOWN:_} more" if len(beyond) > SHOWN else ""
        are = counted(len(beyond), "label is", "labels are", "_")
        if found.ndim == 2:
            are = f"labels of {counted(len(beyond), 'row', form='_')} are"
        where = f"none of the {classes:_} classes, 0 .. {classes - 1:_}"
        words.append(f"{file.path}: {are} {where} ({named}{more})")
    return len(wrong), words


def _shown(row: NDArray[np.integer[Any]]) -> str:
    return " ".join(str(label) for label in row.tolist() if label != NONE)
