"""Which runs make a profile at equal compute, and what stands for them where they are many.

A profile of more than MANY runs is one of means: of neighbouring sizes, about as many runs in
each, none of sizes far apart. A mean counts as its runs do together, so that fitting takes the time
and the memory of a few runs, however many there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fits.allocation.allocation import EQUAL, Trainings
from fits.allocation.profile_forms import Profile
from fits.base.counted import counted
from fits.base.errors import UserError
from fits.base.numbers import Array, Indices

LEAST_SIZES = 5  # of a profile: a valley has three numbers, its noise one
MANY = 100  # runs of one budget
MEANS = 32  # of one budget; more only where WIDEST makes them
WIDEST = 0.35  # in log size, of one mean
SMOOTH = 12  # budgets, beyond which the fall of their lowest losses is smoothed
NEAR = 0.12  # in log size from one to the next, below which sizes are no ladder of sizes tried


def profiles(runs: Trainings, budgets: Sequence[float] | None, equal: float) -> list[Profile]:
    """The profile of each budget at which enough sizes were tried.

    Args:
      budgets: their computes; None: wherever many sizes were given about the same.
      equal: runs within this factor from end to end belong to one budget.
    """
    compute, size = np.log(runs.compute), np.log(runs.size)
    half = np.log(equal) / 2
    centres = crowded(compute, size, half) if budgets is None else np.log(sorted(set(budgets)))
    near = [np.flatnonzero(np.abs(compute - centre) <= half) for centre in centres]
    taken = [
        (float(centre), mine[np.argsort(size[mine], kind="stable")])
        for centre, mine in zip(centres, near, strict=True)
        if len(np.unique(size[mine])) >= LEAST_SIZES
    ]
    slopes = _falls(taken, runs.loss)
    found = []
    for (centre, mine), slope in zip(taken, slopes, strict=True):
        loss = runs.loss[mine] * np.exp(-slope * (compute[mine] - centre))
        place, height, count = _means(size[mine], loss)
        found.append(
            Profile(
                budget=float(np.exp(centre)),
                size=place,
                loss=height / height.min(),
                weight=count / count.mean(),
                margin=WIDEST if len(mine) > MANY or _dense(size[mine]) else 0.0,
            )
        )
    return found


def refuse_budgets(runs: Trainings, budgets: Sequence[float], equal: float = EQUAL) -> None:
    """Budgets of profiles that have none, or that share their runs with another.

    Args:
      budgets: as typed.
      equal: as of `profiles`.

    Raises:
      UserError: all that are wrong.
    """
    if not budgets:
        return
    compute, size = np.log(runs.compute), np.log(runs.size)
    half = np.log(equal) / 2
    known = [math.exp(each) for each in crowded(compute, size, half)]
    named = ", ".join(f"{each:.3g}" for each in known) or "none"
    wrong = []
    for budget in dict.fromkeys(budgets):
        near = np.abs(compute - math.log(budget)) <= half
        if (tried := len(np.unique(size[near]))) < LEAST_SIZES:
            wrong.append(
                f"--budgets: {counted(tried, 'size was', 'sizes were')} tried within {equal:g} "
                f"times {budget:g}, and a profile needs {LEAST_SIZES}. Budgets of so many: {named}."
            )
    for one, other in pairwise(sorted(budgets)):
        if one < other <= equal * one:
            wrong.append(
                f"--budgets: {one:g} and {other:g} are within {equal:g} times each other and "
                "share runs. Name one."
            )
    if wrong:
        raise UserError(wrong)


def _falls(taken: Sequence[tuple[float, Indices]], loss: Array) -> Array:
    """Slope of the log of the lowest loss against log compute, at each budget.

    From one budget to the next or, where there are many, that of a parabola through all of them.
    """
    floors, places = np.log([loss[mine].min() for _, mine in taken]), [each for each, _ in taken]
    if len(taken) < 2:
        return np.zeros(len(taken))
    if len(taken) < SMOOTH:
        return np.asarray(np.gradient(floors, places))
    at = np.array(places) - np.mean(places)
    bend, slope, _ = np.polyfit(at, floors, 2)
    return np.asarray(slope + 2 * bend * at)


def _dense(size: Array) -> bool:
    """Whether sizes lie so near to each other that noise decides which has the lowest loss.

    Args:
      size: logarithms, increasing, [runs].
    """
    return bool(size[-1] - size[0] < NEAR * (len(np.unique(size)) - 1))


def crowded(compute: Array, size: Array, half: float) -> list[float]:
    """Log computes about which the most different sizes were tried, no two so near that they share.

    Takes time in proportion to the runs, but for sorting them.
    """
    order = np.argsort(compute, kind="stable")
    at, of = compute[order], np.unique(size[order], return_inverse=True)[1].ravel()
    end = np.searchsorted(at, at + 2 * half, side="right")
    counts = _different(of, end)[np.searchsorted(at, at)]  # of all of equal compute
    centres = (at + at[end - 1]) / 2
    free = counts >= LEAST_SIZES
    taken: list[float] = []
    for k in np.argsort(counts)[::-1]:
        if free[k]:
            taken.append(float(centres[k]))
            free &= np.abs(centres - centres[k]) > 2 * half
    return sorted(taken)


def _different(of: NDArray[Any], end: NDArray[Any]) -> Array:
    """How many different values stand in of[k:end[k]], for every k; `end` never falls.

    One that enters a window counts where it does not stand there yet, one that leaves where it does
    not come again.
    """
    places = np.arange(len(of))
    by_value = np.argsort(of, kind="stable")
    again = of[by_value[1:]] == of[by_value[:-1]]
    before, after = np.full(len(of), -1), np.full(len(of), len(of))
    before[by_value[1:][again]] = by_value[:-1][again]
    after[by_value[:-1][again]] = by_value[1:][again]
    enters = np.searchsorted(end, places, side="right")  # the first window that holds each
    new = np.bincount(enters[before < enters], minlength=len(of))
    gone = np.r_[0, np.cumsum(after >= end)[:-1]]
    return np.asarray(np.cumsum(new) - gone)


def _means(size: Array, loss: Array) -> tuple[Array, Array, Array]:
    """Log size, loss and count of neighbouring sizes together; each run alone where they are few.

    Args:
      size: logarithms, increasing, [runs].
    """
    if len(size) <= MANY:
        return size, loss, np.ones(len(size))
    _, first, of, count = np.unique(
        size, return_index=True, return_inverse=True, return_counts=True
    )
    rank = (first + (count - 1) / 2)[of.ravel()]  # equal sizes stay together
    by_count = np.floor(rank * MEANS / len(size))
    by_width = np.floor((size - size[0]) / WIDEST)
    new = np.r_[True, (np.diff(by_count) > 0) | (np.diff(by_width) > 0)]
    start = np.flatnonzero(new)
    number = np.diff(np.r_[start, len(size)]).astype(float)
    return np.add.reduceat(size, start) / number, np.add.reduceat(loss, start) / number, number
