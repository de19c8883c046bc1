"""What looks odd in the runs themselves, whatever law is fitted to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array, Indices
from fits.data.frontier import on_frontier
from fits.data.misplaced import misplaced

FACTORS = 100.0, 10.0, 1000.0  # by which a slip of a unit or of the decimal point is off
NEAR = 1.3  # within this factor of one of them
NEIGHBOURS = 2  # on either side along x
ALIKE = 1.6  # a slip is seen where its neighbours lie within this factor of their line
MIXED = 0.1  # fractions among percentages: squares left if they are read so, of those as they are
AHEAD = 100.0  # times the next largest x, where the largest may be a slip
RISING = 0.8  # Spearman's rank correlation of x and y that is a rise


def rising(x: Array, y: Array) -> bool:
    """Whether y plainly grows with x: ranks that agree, and more than a hair of a change."""
    if len(y) < 3 or np.ptp(x) == 0 or np.ptp(np.log(y)) < 1e-3:
        return False
    correlation = np.atleast_2d(np.corrcoef(_ranks(x), _ranks(y)))
    return bool(correlation[0, 1] >= RISING)


def _ranks(numbers: Array) -> Array:
    """Their mean rank where several are equal."""
    _, group, count = np.unique(numbers, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[group.ravel()])


def slips(
    x: Array, measured: Array, whole: float = 0.0, among: Sequence[int] | None = None
) -> tuple[Indices, Array]:
    """Runs whose y is 10, 100 or 1,000 times that of their neighbours along x, or that part of it.

    Args:
      whole: of an accuracy, what it and its error add up to; 0: y is none.
      among: runs to look at; None: all.

    Returns:
      Which, and what a line through their neighbours gives: on log axes, of errors, by ranks.
    """
    error = whole - measured if whole else measured
    if len(x) <= 2 * NEIGHBOURS or not (measured > 0).all() or not (error > 0).all():
        return np.empty(0, np.int64), np.empty(0)
    order = np.lexsort((measured, x))
    y = np.log(error[order])
    last, width = len(y) - 1, 2 * NEIGHBOURS + 1
    rank = np.arange(len(y)) if among is None else np.flatnonzero(np.isin(order, among))
    first = np.clip(rank - NEIGHBOURS, 0, last - width + 1)
    window = y[first[:, None] + np.arange(width)]
    place = np.arange(width) - (rank - first)[:, None]  # 0: the run itself
    others, at = (each[place != 0].reshape(len(rank), width - 1) for each in (window, place))
    mean, away = others.mean(axis=1), at - at.mean(axis=1, keepdims=True)
    slope = (away * others).sum(axis=1) / (away**2).sum(axis=1)
    given = np.exp(mean - slope * at.mean(axis=1))
    expected = whole - given if whole else given
    about = others - (mean[:, None] + slope[:, None] * away)
    alike = (np.ptp(about, axis=1) <= np.log(ALIKE)) & (expected > 0)
    ratio = np.abs(np.log(measured[order[rank]] / np.where(alike, expected, 1.0)))
    odd = alike & (np.abs(np.log(FACTORS)[:, None] - ratio).min(axis=0) <= np.log(NEAR))
    return order[rank[odd]], expected[odd]


def of_slips(names: tuple[str, str], x: Array, measured: Array, kind: str) -> list[Diagnostic]:
    """Slips, in words.

    Args:
      names: of x and y.
      measured: y as in the table.
      kind: what y is.
    """
    which, typical = slips(x, measured, _whole(kind))
    if not len(which):
        return []
    percent = kind.endswith("percent") and bool((measured[which] <= 1).all())
    numbers: dict[str, float | tuple[float, ...]] = {
        "count": len(which),
        "n": len(x),
        "x": tuple(x[which].tolist()),
        "y": tuple(measured[which].tolist()),
        "near": tuple(typical.tolist()),
        "percent": percent,
    }
    return [Diagnostic("slip", names, numbers)]


def of_mixed_fractions(y: str, x: Array, measured: Array, kind: str) -> list[Diagnostic]:
    """Fractions among percentages: rows of at most 1 that fit in with the others as percentages.

    As they are, and 100 times as large, a straight line on log axes is laid through all rows.

    Args:
      x: [runs], or [variables, runs].
    """
    part = measured <= 1
    logs = np.log(np.atleast_2d(x))
    if not kind.endswith("percent") or min(part.sum(), (~part).sum()) < 2:
        return []
    whole, read = _whole(kind), np.where(part, 100 * measured, measured)
    errors = [whole - each if whole else each for each in (measured, read)]
    if len(measured) < 2 * (len(logs) + 1) or min(each.min() for each in errors) <= 0:
        return []
    design = np.vstack([np.ones_like(measured), logs]).T
    lines = [np.linalg.lstsq(design, np.log(each), rcond=None)[0] for each in errors]
    as_is, better = (
        float(((np.log(error) - design @ line) ** 2).sum())
        for error, line in zip(errors, lines, strict=True)
    )
    if better > MIXED * as_is:
        return []
    numbers = {"count": int(part.sum()), "n": len(part), "example": float(measured[part][0])}
    return [Diagnostic("fractions_among_percentages", (y,), numbers)]


def _whole(kind: str) -> float:
    """What an accuracy and its error add up to; 0 where y is none."""
    return (100.0 if kind.endswith("percent") else 1.0) * kind.startswith("accuracy")


def of_costliest(
    names: tuple[str, str], x: Array, error: Array, measured: Array, kind: str
) -> list[Diagnostic]:
    """Why the costliest run is not on the frontier, where it is not; where it is, how far ahead."""
    pair = _costliest(x, error)
    if pair is None:
        return _far_ahead(names, x)
    top, best = pair
    odd_y = slips(x, measured, _whole(kind), among=pair)
    near = dict(zip(*(each.tolist() for each in odd_y), strict=True))
    rate = float(kind.startswith(("error", "accuracy")))
    odd = {each.run: each for each in misplaced(x, error, rate, frontier=True)}
    moved = {run: each.x_factors[:1] for run, each in odd.items()}
    numbers = {
        "x": float(x[top]),
        "y": float(measured[top]),
        "better_x": float(x[best]),
        "better_y": float(measured[best]),
        "ratio": float(error[top] / error[best]),
        "near": near.get(top, 0.0),
        "better_near": near.get(best, 0.0),
        "ahead": float(x[top] / np.sort(x)[-2]),
        "times": next(iter(moved.get(top, ())), 1.0),
        "better_times": next(iter(moved.get(best, ())), 1.0),
        "mirrored": float(top in odd and odd[top].mirrored),
        "accuracy": float(kind.startswith("accuracy")),
    }
    return [Diagnostic("costliest_not_on_frontier", names, numbers)]


def _far_ahead(names: tuple[str, str], x: Array) -> list[Diagnostic]:
    """Whether the costliest run costs so much more than the next that it may be a slip."""
    if len(x) <= 2 * NEIGHBOURS:
        return []
    second, first = np.sort(x)[-2:].tolist()
    numbers = {"x": first, "next": second, "ahead": first / second}
    return (
        [Diagnostic("costliest_far_ahead", names[:1], numbers)] if first >= AHEAD * second else []
    )


def _costliest(x: Array, error: Array) -> tuple[int, int] | None:
    """The costliest run and the best of the frontier, where the first is not on it."""
    if len(x) < 2:
        return None
    largest = np.flatnonzero(x == x.max())
    top = int(largest[error[largest] == error[largest].min()][-1])
    chosen = np.flatnonzero(on_frontier(x, error, np.ones((1, len(x)), bool))[0])
    if top in chosen or x[top] == x[chosen].max():
        return None
    return top, int(chosen[error[chosen].argmin()])


def of_misplaced(
    names: tuple[str, str], x: Array, error: Array, measured: Array, kind: str, *, frontier: bool
) -> list[Diagnostic]:
    """Runs that a slip of x, or an error among accuracies, would set right.

    Args:
      frontier: whether `of_costliest` speaks of the runs that it names.
    """
    rate = float(kind.startswith(("error", "accuracy")))
    if not (found := misplaced(x, error, rate, frontier=frontier)):
        return []
    said = set(slips(x, measured, _whole(kind))[0].tolist())
    said |= set(_costliest(x, error) or ()) if frontier else set()
    return [
        Diagnostic(
            "misplaced",
            names,
            {
                "x": float(x[each.run]),
                "y": float(measured[each.run]),
                "times": next(iter(each.x_factors), 1.0),
                "mirrored": float(each.mirrored),
                "accuracy": float(kind.startswith("accuracy")),
            },
        )
        for each in found
        if each.run not in said
    ]
