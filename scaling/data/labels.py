"""Labels of images: one each, or a few of very many classes; and what a hierarchy adds to them.

int32 [n], or int32 [n, most] with -1 where there is no further label. So a batch of images with a
few labels of 30,000 classes is a few numbers an image until the device makes targets of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fits.base.errors import UserError

MOST_CLASSES = 10_000_000
"""That labels may tell: a larger label is no class but an identifier, or a mistake."""

NONE = -1
"""In the place of a label that is not there."""

MISSING = -(2**31)
"""In the place of the labels of an image, where a file does not say them; in no batch."""

Labels: TypeAlias = NDArray[np.int32]
"""[n], or [n, most] padded with `NONE`."""


def check_labels(
    labels: Labels, classes: int, numbers: NDArray[np.int64], *, needed: bool = False
) -> None:
    """Raise UserError where a label is no class or, if `needed`, where an image has none.

    Args:
      labels: of the images `numbers` of a source.
      classes: labels are 0 .. classes - 1.
      needed: whether the loss is one label's, so that every image must have one.
    """
    if not labels.size:
        return
    rows = as_rows(labels)
    if rows.min() < NONE or rows.max() >= classes:
        row, column = np.argwhere((rows < NONE) | (rows >= classes))[0]
        raise UserError(
            [
                f"image {numbers[row]:_} has the label {rows[row, column]}; labels are 0 .. "
                f"{classes - 1:_}, as there are {classes:_} classes. Correct the label."
            ]
        )
    if needed and rows.max(1).min() == NONE:
        row = int(rows.max(1).argmin())
        raise UserError(
            [
                f"image {numbers[row]:_} has no label, and this loss needs one of every image. "
                'Leave such images out, or say loss = "sigmoid", for which they are of no class.'
            ]
        )


def unusable(labels: NDArray[Any], classes: int) -> NDArray[np.bool_]:
    """Of which images no labels can be used, [n]: one is no class, or there is none where each has
    one, which is so of labels [n]."""
    lowest = 0 if labels.ndim == 1 else NONE
    wrong = (as_rows(labels) < lowest) | (as_rows(labels) >= classes)
    return np.asarray(wrong.any(1))


def why_unusable(labels: Sequence[int], classes: int, most: int | None) -> str | None:
    """The same of one image, in words; None: they can be used.

    Args:
      most: labels that an image may have; None: each has one.
    """
    none = MISSING in labels or (most is None and not {*labels} - {NONE})
    if none:  # -1: withheld, as TFDS marks it
        return "it has no label; use another split"
    if most is None and len(labels) > 1:
        return f"it has {len(labels)} labels, and each image has one; say most_labels"
    if wrong := [label for label in labels if not NONE <= label < classes]:
        named = ", ".join(map(str, wrong))
        are = f"labels {named} are" if len(wrong) > 1 else f"label is {named}"
        return f"its {are}, and there are {classes} classes, 0 .. {classes - 1}"
    if most is not None and (count := sum(label != NONE for label in labels)) > most:
        return f"it has {count} labels, and most_labels is {most}"
    return None


def assigned(labels: NDArray[Any]) -> tuple[int, ...]:
    """The labels of one image: of one label [], that; of [most], those that are there."""
    return tuple(x for x in labels.tolist() if x != NONE) if labels.ndim else (int(labels),)


def rectangular(rows: Sequence[Sequence[int]], most: int) -> Labels:
    """Labels of images as [n, most]."""
    found = np.full((len(rows), most), NONE, np.int32)
    for i, row in enumerate(rows):
        found[i, : len(row)] = row
    return found


def as_rows(labels: NDArray[Any]) -> NDArray[Any]:
    """[n, most], one column where every image has one label."""
    return labels if labels.ndim > 1 else labels[:, None]


def padded(labels: NDArray[Any], most: int | None) -> NDArray[Any]:
    """With `most` columns; None: [n] as it is."""
    if most is None:
        return labels
    rows = as_rows(labels)
    return np.pad(rows, ((0, 0), (0, most - rows.shape[1])), constant_values=NONE)


def ancestor_table(above: Sequence[Sequence[int]]) -> Labels:
    """Each class and all that is above it, in rising order, padded: int32 [classes, widest].

    Args:
      above: of each class, the classes right above it; none for those at the top, several where
        the hierarchy is no tree.

    Raises:
      ValueError: a class is above itself, or above one and no class.
    """
    found: dict[int, frozenset[int]] = {}
    for start in range(len(above)):
        _climb(start, above, found)
    widest = max(map(len, found.values()), default=1)
    table = np.full((len(above), widest), NONE, np.int32)
    for each, line in found.items():
        table[each, : len(line)] = sorted(line)
    return table


def _climb(start: int, above: Sequence[Sequence[int]], found: dict[int, frozenset[int]]) -> None:
    """Adds `start` and whatever is above it to `found`; without recursion, as lines are long."""
    path: list[int] = [start]
    while path:
        here = path[-1]
        if here in found:
            path.pop()
            continue
        if unknown := [each for each in above[here] if not 0 <= each < len(above)]:
            raise ValueError(
                f"class {here} is below {unknown[0]}, and classes are 0 .. {len(above) - 1}."
            )
        waiting = [each for each in above[here] if each not in found]
        if not waiting:
            found[here] = frozenset({here}).union(*(found[each] for each in above[here]))
            path.pop()
        elif waiting[0] in path:
            line = " below ".join(map(str, [*path[path.index(waiting[0]) :], waiting[0]]))
            raise ValueError(f"the hierarchy goes round in a circle: class {line}.")
        else:
            path.append(waiting[0])


def with_ancestors(labels: Labels, table: Labels) -> Labels:
    """Every image's labels and all above them, each once: int32 [n, most * widest], the largest
    first.

    Args:
      table: as `ancestor_table` makes it.
    """
    rows = as_rows(labels)
    beyond = np.vstack([table, np.full((1, table.shape[1]), NONE, np.int32)])  # row -1 is of none
    whole = -np.sort(-beyond[rows].reshape(len(rows), -1), axis=1)
    whole[:, 1:][whole[:, 1:] == whole[:, :-1]] = NONE
    return -np.sort(-whole, axis=1)
