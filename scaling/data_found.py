"""Sources of files that are named without a study: Parquet files and archives of WebDataset."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fits.base.errors import UserError
from scaling.base.console import complain
from scaling.data.files.patterns import files_of
from scaling.data.files.version import FileVersion
from scaling.data.labels import MOST_CLASSES, NONE
from scaling.data.parquet.files import files_below, header, is_hidden, split_of
from scaling.data.parquet.labels import fits
from scaling.data.parquet.source import Parquet
from scaling.data.webdataset.index import Index, index_of
from scaling.data.webdataset.source import WebDataset

NUMBER = re.compile(r"[-_.]?\d+$")
ABSENT = "(no split)"  # of no file


def has_parquet(folder: Path) -> bool:
    """Whether Parquet files lie in a folder or in folders of it; classes of images are no such."""
    depths = ["*.parquet", "*/*.parquet"]
    if not (folder / "train").is_dir():
        depths.append("*/*/*.parquet")
    found = (file for depth in depths for file in folder.glob(depth))
    return any(not is_hidden(each, folder) for each in found)


def sources_of_parquet(folder: Path, resolution: int) -> list[Parquet]:
    """All splits, with the columns that only can be meant."""
    files = files_below(folder)
    splits = sorted({split_of(file) for file in files}, key=lambda split: (split != "train", split))
    first, *others = splits
    pairs = [(first, other) for other in others] or [(ABSENT, first)]
    keys = _columns(files)
    return [
        Parquet(path=folder, resolution=resolution, train_split=a, heldout_split=b, **keys)
        for a, b in pairs
    ]


def _columns(files: list[Path]) -> dict[str, str | None]:
    """`image_key` and `label_key` of the first file that can be read; what it lacks is said where
    the source is opened."""
    for file in files:
        try:
            columns = header(FileVersion.of(file), None).columns
        except UserError:
            continue
        images = [name for name, kind in columns.items() if "bytes: " in kind]
        labels = [name for name, kind in columns.items() if fits(kind)]
        image = "image" if "image" in images or len(images) != 1 else images[0]
        label = next((name for name in ("label", "labels", *labels) if name in labels), None)
        if label is None:
            others = ", ".join(
                f"{name} ({kind})" for name, kind in columns.items() if name != image
            )
            complain(
                f"{file} has no column of labels, whole numbers or lists of them: all images are "
                f"taken as of one class. Other columns: {others or 'none'}."
            )
        return {"image_key": image, "label_key": label}
    return {}


def sources_of_archives(folder: Path, resolution: int) -> list[WebDataset]:
    """A source of every group of archives in a folder whose names differ in their number alone."""
    groups: dict[str, list[str]] = {}
    for file in sorted(each for each in folder.glob("*.tar") if not is_hidden(each, folder)):
        groups.setdefault(NUMBER.sub("", file.stem), []).append(file.name)
    names = sorted(groups, key=lambda name: (name != "train", name))
    patterns = [each for name in names for each in _patterns(folder, name, groups[name])]
    return [source_of_shards(pattern, resolution) for pattern in patterns]


def _patterns(folder: Path, name: str, archives: list[str]) -> list[str]:
    """One that names all these archives, or where their names hold what it is made of, one each."""
    if any(each in archive for archive in archives for each in "{,}"):
        return [f"{folder}/{archive}" for archive in archives]
    short = f"{folder}/{glob.escape(name)}*.tar"
    if [file.name for file in files_of(short)] == archives:
        return [short]
    escaped = [glob.escape(archive) for archive in archives]
    return [f"{folder}/{{{','.join(escaped)}}}" if escaped[1:] else f"{folder}/{archives[0]}"]


def source_of_shards(pattern: str, resolution: int) -> WebDataset:
    """Archives as images to be looked at, with the classes and labels that they turn out to have.

    Raises:
      UserError: the pattern names no file.
    """
    try:
        files = files_of(pattern)
    except ValueError as error:
        raise UserError([f"{error}."]) from None
    found = list(_indices(files))
    labels = np.concatenate([index.labels.max(1) for index in found] or [np.array([NONE])])
    most = max((int((index.labels != NONE).sum(1).max(initial=0)) for index in found), default=0)
    labelled = bool(most)
    return WebDataset(
        heldout_shards=pattern,
        classes=min(1 + int(labels.max(initial=0)), MOST_CLASSES) if labelled else 1,
        label_key="cls" if labelled else None,
        most_labels=most if most > 1 else None,
        resolution=resolution,
    )


def _indices(files: list[Path]) -> Iterator[Index]:
    """Of those archives that can be read."""
    for file in files:
        try:
            yield index_of(FileVersion.of(file), "cls")
        except (OSError, ValueError):
            continue
