"""Rows of equal x whose y differ by more than noise, and the columns by which they differ.

A long table holds several metrics, tasks or conditions in one column of numbers, or the runs of a
sweep over learning rate and batch. A law through all of them is one of neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array, Indices
from fits.data.tables import Table, is_number

PLACES = 3  # x that have several rows, at least
SHARE = 1 / 3  # of the rows that lie at such x, at least
APART = 0.03  # standard deviation of log y at one x that is more than noise
VALUES = 20  # of a column that tells rows apart, at most
EXPLAINED = 0.8  # of the variance at one x, by a column that tells kinds of rows apart
SWEPT = 0.1  # the same of one that was swept
CHANCE = 0.01  # that noise seems to be told apart by any of the columns
LOOKED_AT = 20_000  # rows, at most
OF_A_RUN = {"seed", "run", "id", "name", "index", "trial", "rep", "repeat", "replicate"}
"""Names of columns that tell equal runs apart, whatever they were given."""
MEASURED_ON = {
    *("metric", "dataset", "task", "split", "benchmark", "eval", "evaluation", "condition"),
    *("testset", "test", "subset"),
}
"""Words in names of columns that say what was measured; the best of such rows is no frontier."""
TRAINED_ON = {"train", "training", "pretrain", "pretraining", "pretrained", "upstream"}
"""Words in names of columns that do not, whatever else these are called."""


class Setting(NamedTuple):
    """A column of few values, which rows of one x have not all in common."""

    name: str
    is_text: bool
    explained: float
    """Share of the variance of log y at one x that it explains, less that of chance."""
    chance: float
    """That noise alone seems to be explained so well: the F test's."""


def of_rows_alike(
    table: Table, names: Sequence[str], x: Array, y: str, error: Array, *, frontier: bool
) -> Iterator[Diagnostic]:
    """A warning where rows of equal x are of several kinds, or runs of a sweep.

    Args:
      names: columns of x, and then of what the caller uses otherwise.
      x: [runs], or [variables, runs].
      y: the column that was measured.
      error: > 0, [runs].
      frontier: whether the best of the rows are fitted; the best of a sweep then are.
    """
    spent = np.atleast_2d(x)
    rows, place = _repeated(spent)
    places = int(place.max(initial=-1)) + 1
    if places < PLACES:
        return
    log_y = np.log(error[rows])
    off = _about_means(log_y, place)
    variance = float(off @ off) / (len(rows) - places)
    if variance < APART**2:
        return
    few = table.keep(rows)
    every = list(_settings(few, {table.columns.full_name(each) for each in names}, log_y, place))
    settings = [each for each in every if each.chance <= CHANCE / len(every)]
    about = y, ", ".join(names[: len(spent)])
    numbers = {"places": places, "apart": float(np.expm1(np.sqrt(variance)))}
    kinds = [
        each for each in settings if each.is_text and (_is_of_measuring(each.name) or not frontier)
    ]
    kind = max(kinds, key=lambda each: round(each.explained, 6), default=None)
    if kind and (kind.explained >= EXPLAINED or frontier):
        values = dict.fromkeys(few.column(kind.name))
        yield Diagnostic("rows_of_kinds", (*about, kind.name, *values), numbers)
        return
    swept = sorted(
        (each for each in settings if each.explained >= SWEPT), key=lambda each: -each.explained
    )
    if swept and not frontier:
        yield Diagnostic("rows_of_sweep", (*about, *(each.name for each in swept)), numbers)


def _is_of_measuring(name: str) -> bool:
    words = set(re.split(r"[^a-z]+", name.lower()))
    return bool(words & MEASURED_ON) and not words & TRAINED_ON


def _repeated(x: Array) -> tuple[Indices, Indices]:
    """Rows whose x several have, in their order, and a number for each such x, [rows]; none where
    most rows are alone."""
    if x.shape[1] < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    order = np.lexsort(x)
    new = np.r_[True, (np.diff(x[:, order], axis=1) != 0).any(axis=0)]
    group = np.cumsum(new) - 1
    several = np.bincount(group)[group] > 1
    if several.mean() < SHARE:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    rows, group = order[several][:LOOKED_AT], group[several][:LOOKED_AT]
    back = np.argsort(rows)
    return rows[back], np.unique(group[back], return_inverse=True)[1].ravel()


def _about_means(values: Array, place: Indices) -> Array:
    """Values less their mean at each place, [rows], or [rows, columns]."""
    count = np.bincount(place)
    if values.ndim == 1:
        return np.asarray(values - (np.bincount(place, values) / count)[place])
    return np.stack([_about_means(each, place) for each in values.T], axis=1)


def _settings(table: Table, used: set[str], log_y: Array, place: Indices) -> Iterator[Setting]:
    for name in table.columns:
        if name in used or name.lower() in OF_A_RUN:
            continue
        code = table.groups([name])
        first = np.unique(code, return_index=True)[1]
        count = len(first)
        if not 1 < count <= VALUES:
            continue
        pairs = len(np.unique(place * count + code))
        if pairs >= 2 * count and pairs > int(place.max()) + 1:
            cells = [table.column(name)[row] for row in first.tolist()]
            told = _explained(log_y, code, place)
            yield Setting(name, not any(map(is_number, cells)), *told)


def _explained(log_y: Array, code: Indices, place: Indices) -> tuple[float, float]:
    """As of a setting, by a line in the mean at each place, another for each value: an offset, and
    one that grows as y does (a loss beside a perplexity)."""
    from scipy.special import fdtrc

    off = _about_means(log_y, place)
    value = np.eye(int(code.max()) + 1)[code]
    height = (log_y - off)[:, None]
    members = _about_means(np.hstack([value, value * (height - height.mean())]), place)
    found, _, rank, _ = np.linalg.lstsq(members, off, rcond=None)
    free = len(off) - int(place.max()) - 1
    if free <= rank:
        return 0.0, 1.0
    residuals = off - members @ found
    left = float(residuals @ residuals / (off @ off))
    f = (1 - left) / rank / max(left / (free - rank), 1e-300)
    return 1 - left * free / (free - rank), float(fdtrc(rank, free - rank, f))
