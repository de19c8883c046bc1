"""What is wrong with Parquet files of images: by themselves, and beside each other."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from scaling.data.files.version import FileVersion
from scaling.data.parquet.files import Keys, header
from scaling.data.parquet.labels import fits, labels
from scaling.data.source import Fault

CAPTIONS = r"((large_)?list<\w+: )?(large_)?string(_view)?( not null)?>?"  # of Arrow's types


def bad_files(files: Sequence[FileVersion], keys: Keys) -> dict[Path, Fault]:
    """Those that cannot be read, or have not the columns."""
    found = {file.path: _fault_of_file(file, keys) for file in files}
    return {path: fault for path, fault in found.items() if fault is not None}


def _fault_of_file(file: FileVersion, keys: Keys) -> Fault | None:
    try:
        columns = header(file, keys.label).columns
        for kind, key in keys._asdict().items():
            if key is not None and (wrong := wrong_column(file.path, columns, key, kind)):
                return Fault(f"{kind}_key", wrong.removesuffix("."))
        labels(file, keys.label)
    except UserError as error:
        return Fault("path", str(error))
    return None


def wrong_column(file: Path, columns: dict[str, str], key: str, kind: str) -> str | None:
    if key not in columns:
        near = did_you_mean(key, columns)
        words = f"{file} has no column {key!r} ({kind}_key). {near}It has"
        return f"{words} {', '.join(columns) or 'none'}."
    found = columns[key]
    if kind == "label" and not fits(found):
        return f"{file}: {key!r} is {found}; a whole number is needed, or a list of them."
    if kind == "caption" and not re.fullmatch(CAPTIONS, found):
        return f"{file}: {key!r} is {found}; a text is needed, one an image, or a list of texts."
    if kind == "image" and not re.match(r"struct<(.*[ <])?bytes: (large_)?binary", found):
        return f"{file}: {key!r} is {found}; a struct with the encoded image as `bytes` is needed."
    return None


def disagreement(
    root: Path,
    sets: Mapping[str, tuple[str, Sequence[FileVersion]]],
    keys: Keys,
    all_classes: int | None,
    bad: Mapping[Path, Fault],
) -> Fault | None:
    """What files that can be read say against each other, or against the study.

    Args:
      root: the folder of the data set.
      sets: by the field that names it, each split and its files.
      all_classes: what the study says; None: nothing.
      bad: files that cannot be read.
    """
    described: dict[int | None, Path] = {}
    called: dict[tuple[str, ...], Path] = {}
    lists: dict[tuple[str, bool], Path] = {}
    for field, (split, files) in sets.items():
        rows = 0
        for file in (each for each in files if each.path not in bad):
            found = header(file, keys.label)
            rows += found.rows
            described.setdefault(found.classes, file.path)
            if found.names is not None:
                called.setdefault(found.names, file.path)
            for key in (keys.label, keys.caption):
                if key is not None:
                    lists.setdefault((key, "list" in found.columns[key]), file.path)
        if not rows and not any(file.path in bad for file in files):
            return Fault(field, f"{root}: split {split!r} holds no rows.")
    if len(described) > 1:
        words = " and ".join(
            f"{path.name} has {count} classes" for count, path in list(described.items())[:2]
        )
        return Fault("path", f"{root}: {words}; files of one data set have the same.")
    if len(called) > 1:
        return Fault("path", f"{root}: {_other_names(called)}")
    named = next(iter(described), None)
    if all_classes is not None and named not in (None, all_classes):
        words = f"{root}: the metadata name {named:_} classes, all_classes says {all_classes:_}"
        return Fault("all_classes", f"{words}; leave it out.")
    return _of_two_kinds(root, keys, lists)


def _other_names(called: dict[tuple[str, ...], Path]) -> str:
    """The first class that two files of as many classes call otherwise."""
    (one, first), (other, second) = list(called.items())[:2]
    number = next(k for k, names in enumerate(zip(one, other, strict=True)) if len({*names}) > 1)
    return (
        f"class {number} is {one[number]!r} in {first.name} and {other[number]!r} in "
        f"{second.name}; files of one data set call classes the same."
    )


def _of_two_kinds(root: Path, keys: Keys, lists: dict[tuple[str, bool], Path]) -> Fault | None:
    """A column that holds lists in one file and single values in another."""
    for field, key, one in (
        ("label_key", keys.label, "label"),
        ("caption_key", keys.caption, "text"),
    ):
        if key is not None and (key, True) in lists and (key, False) in lists:
            words = f"{key!r} is a list of {one}s in {lists[key, True].name}, and a {one} in "
            return Fault(field, f"{root}: {words}{lists[key, False].name}; use one kind.")
    return None
