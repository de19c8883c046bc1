"""Evaluation sets whose classes are others than those of the classifier, and images that have
several right answers: both from files of the user's, or of those who published a set.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fits.base.names import near_names
from scaling.data.labels import NONE, Labels, as_rows
from scaling.evaluate.class_map_files import json_in, stated

PUBLISHED = re.compile(r"ILSVRC2012_val_(\d{8})\.\w+")
"""What a validation image of ImageNet is called: ReaL's list is in the order of these numbers."""
FEWEST = 20  # images of which the share that agrees says something


class ClassMap(NamedTuple):
    """Of each class of the images, the classes of the head that are right for it.

    Fields:
      right: int32 [classes of the images, most], padded with -1; a row of -1: is left out.
      known: which classes of the head are right for any, bool [classes of the head].
    """

    right: Labels
    known: NDArray[np.bool_]

    def labels(self, labels: Labels) -> Labels:
        """Labels of images as classes of the head, [images, most]."""
        beyond = np.vstack([self.right, np.full((1, self.right.shape[1]), NONE, np.int32)])
        return beyond[as_rows(labels)].reshape(len(labels), -1)


def among(scores: NDArray[Any], chosen: NDArray[np.bool_]) -> NDArray[Any]:
    """Scores with those of all classes but the chosen ones at -inf; `chosen` [classes]."""
    return np.where(chosen, scores, -np.inf)


def read_class_map(
    path: Path, classes: int, head: int, names: Sequence[str] | None = None
) -> ClassMap:
    """The map in a file, or a folder.

    Args:
      path: as of `class_map_files.stated`.
      classes: of the images.
      head: classes of the classifier.
      names: of the classes of the images, in the order of their numbers; None: they have none.

    Raises:
      ValueError: all that is wrong with the file, in words.
    """
    pairs, whole = stated(path)
    numbers = {name: i for i, name in enumerate(names or map(str, range(classes)))}
    mistakes, whose = [], _range(classes, names)
    if whole not in (None, head):
        mistakes.append(f"is of {whole:_} classes, and the classifier has {head:_}")
    right: list[list[int]] = [[] for _ in range(classes)]
    for name, targets in pairs.items():
        if name not in numbers:
            if whole is not None:
                continue  # of a class that these images lack
            near = near_names(name, numbers)
            hint = f"did you mean {near[0]!r}?" if near else whose
            mistakes.append(f"there is no class {name!r} of the images; {hint}")
            continue
        for target in targets:
            if not 0 <= target < head:
                mistakes.append(
                    f"{name!r} is {target}, and the classifier's classes are 0 .. {head - 1:_}"
                )
            right[numbers[name]].append(target)
    if not any(right):
        first = next((f"; its first is {name!r}, and {whose}" for name in pairs), "")
        mistakes.append(f"it maps no class of the images{first}")
    if mistakes:
        more = f" (and {len(mistakes) - 3} more)" if len(mistakes) > 3 else ""
        raise ValueError(f"{path}: {'. '.join(mistakes[:3])}{more}.")
    most = max(map(len, right))
    table = np.full((classes, most), NONE, np.int32)
    for row, targets in zip(table, right, strict=True):
        row[: len(targets)] = targets
    known = np.zeros(head, bool)
    known[table[table > NONE]] = True
    return ClassMap(table, known)


def read_labels(
    path: Path,
    head: int,
    size: int,
    names: Sequence[str] | None = None,
    known: Sequence[str] | None = None,
) -> Labels:
    """Labels of the held-out images from a JSON file: an object {file name: list of classes}, where
    images have names, or a list with a list of classes for each image.

    A list says by its order alone which image is meant. Images without names are taken in the
    source's order, those of ImageNet's validation set by the numbers in their names. Of other names
    the order is not known, and a list is refused.

    Args:
      head: classes of the classifier.
      size: number of images.
      names: of the images, in their order; None: they have none.
      known: all names that an object may have, of images too that are left out; None: `names`.

    Returns:
      int32 [size, most], padded with -1; an image that an object does not name has none.

    Raises:
      ValueError: what is wrong with the file, in words.
    """
    given = labels_in(path, head, size if names is None else None)
    if isinstance(given, dict):
        rows = _by_name(path, given, names, names if known is None else known)
    else:
        rows = given if names is None else _by_number(path, given, names)
    rows = [[row] if type(row) is int else row for row in rows]
    table = np.full((size, max(1, *map(len, rows))), NONE, np.int32)
    for row, labels in zip(table, rows, strict=True):
        row[: len(labels)] = labels
    if table.max() == NONE:
        raise ValueError(f"{path}: no image has a label.")
    return table


def contradiction(path: Path, given: Labels, own: Labels) -> str | None:
    """Why labels of a file are not those of these images: fewer than half of the images have the
    source's own label among them. ReaL has it for most. None: they may be.

    Args:
      given, own: labels of the same images, as classes of the classifier.
    """
    both = (as_rows(given).max(1) > NONE) & (as_rows(own).max(1) > NONE)
    given, own = as_rows(given)[both], as_rows(own)[both]
    same = (given[:, :, None] == own[:, None, :]) & (given[:, :, None] > NONE)
    agree, count = int(same.any((1, 2)).sum()), len(given)
    if count < FEWEST or 2 * agree >= count:
        return None
    return (
        f"{path}: of {count:_} images that have a label there, {agree:_} have that of the source "
        "among them: their order, or the numbers of the classes, are others than those of these "
        "images."
    )


def labels_in(path: Path, head: int, size: int | None) -> list[Any] | dict[str, Any]:
    """What the file says, looked at as far as that goes without the images.

    Args:
      size: number of images; None: not known.

    Raises:
      ValueError: what is wrong with it, in words.
    """
    given = json_in(path)
    if not isinstance(given, list | dict):
        raise ValueError(f"{path}: is neither a list nor an object.")
    if isinstance(given, list) and size not in (None, len(given)):
        raise ValueError(f"{path}: has labels of {len(given):_} images, and there are {size:_}.")
    for name, row in given.items() if isinstance(given, dict) else enumerate(given):
        each = row if isinstance(row, list) else [row]
        if not all(type(label) is int and 0 <= label < head for label in each):
            raise ValueError(
                f"{path}: image {name} has {str(row)[:40]}; give a list of classes in "
                f"0 .. {head - 1:_}."
            )
    return given


def _by_number(path: Path, given: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Rows of a list of ImageNet's validation images, those of these files."""
    found = []
    for name in names:
        match = PUBLISHED.fullmatch(name.rpartition("/")[2])
        if match is None:
            raise ValueError(
                f"{path}: is a list, and these images have names, as {name!r}; give an object "
                "{file name: list of classes}. Only names as ILSVRC2012_val_00000001.JPEG say "
                "which place of a list is theirs."
            )
        number = int(match[1])
        if not 0 < number <= len(given):
            raise ValueError(
                f"{path}: has labels of {len(given):_} images, and there is {name!r}, whose number "
                "is its place in the list; give the list of all 50_000, or an object {file name: "
                "list of classes}."
            )
        found.append(given[number - 1])
    return found


def _by_name(
    path: Path, given: Mapping[str, Any], names: Sequence[str] | None, known: Sequence[str] | None
) -> list[Any]:
    if names is None or known is None:
        raise ValueError(
            f"{path}: names files, and these images have no names; give a list in their order."
        )
    short = [name.rpartition("/")[2] for name in known]
    times, whole = Counter(short), set(known)
    if several := [name for name in given if times[name] > 1 and name not in whole]:
        full = next(name for name, last in zip(known, short, strict=True) if last == several[0])
        raise ValueError(
            f"{path}: {times[several[0]]} images are called {several[0]!r}; write {full!r}, each "
            "with its folder."
        )
    if strange := [name for name in given if name not in whole and name not in times]:
        near = near_names(strange[0], short[:10_000])
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"{path}: there is no image {strange[0]!r}{hint}")
    return [given.get(name, given.get(name.rpartition("/")[2], [])) for name in names]


def _range(classes: int, names: Sequence[str] | None) -> str:
    return f"they are 0 .. {classes - 1}" if names is None else f"the first is {names[0]!r}"
