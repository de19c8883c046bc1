"""Round numbers for a logarithmic axis, and how to write them so that they are read at a glance."""

from __future__ import annotations

import math

import numpy as np

from fits.base.numbers import Array

# From dense to sparse: which multiples of 1, 10, 100 ... to name.
PLANS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8), (1, 1.5, 2, 3, 5, 7), (1, 2, 3, 5), (1, 3)


def ticks(low: float, high: float, most: float) -> Array:
    """Round numbers in low .. high: the densest plan that has at most `most` of them."""
    powers = _powers(low, high)
    decades = 10.0**powers
    plans = [np.outer(decades, plan).ravel() for plan in PLANS]
    if high < 2 * low:  # hardly a logarithmic axis any more
        steps = 10.0 ** math.floor(math.log10(high - low)) * np.array([0.1, 0.2, 0.5, 1, 2, 5])
        plans = [np.arange(math.ceil(low / step), high / step) * step for step in steps]
    elif not _is_plain(low, high) and ((low <= decades) & (decades <= high)).sum() > 1:
        plans = []  # 10^12 and 10^13 need no 3 x 10^12 between them
    plans += [10.0 ** powers[powers % every == 0] for every in (1, 2, 3, 4, 6, 10)]
    inside = [np.sort(plan[(low <= plan) & (plan <= high)]) for plan in plans]
    return next(plan for plan in [*inside, np.array([])] if len(plan) <= most)


def small_ticks(low: float, high: float) -> Array:
    """The ticks without numbers: 2 .. 9 in each decade, or the decades where these are many."""
    powers = _powers(low, high)
    numbers = np.arange(2, 10) if len(powers) <= 8 else np.array([1])
    between = np.outer(10.0**powers, numbers).ravel()
    return between[(low <= between) & (between <= high)]


def numeral(value: float, low: float, high: float) -> str:
    """0.05, 20, 10 000; on an axis low .. high that goes far, a power of ten for matplotlib."""
    if _is_plain(low, high):
        return f"{float(f'{value:.6g}'):,g}".replace(",", "\N{THIN SPACE}")
    power = math.floor(math.log10(value) + 1e-9)
    number = round(value / 10.0**power, 6)
    return ("" if number == 1 else f"{number:g}×") + f"$10^{{{power}}}$"


def _powers(low: float, high: float) -> Array:
    """Powers of ten in and around low .. high."""
    return np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1.0)


def _is_plain(low: float, high: float) -> bool:
    """Whether numbers of this range are read more easily without powers of ten."""
    return low >= 1e-4 and high < 1e6
