"""How to divide compute between a larger model and more data: what the ways to find out share.

Hoffmann et al. 2022 ("Training Compute-Optimal Large Language Models", section 3) know three: the
envelope of all runs (`envelope.py`), the lowest points of profiles at equal compute
(`isoflop.py`), and a law of size and data (`parametric.py`). Each is an `Allocation` and assumes
something else; where they part, `disagreements` says so, and what failed.

Loss means any error above 0; compute is k N D, size N, data D.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from fits.base.numbers import Array
from fits.spec import LEVEL

BY_ENVELOPE = "envelope of all runs"
BY_PROFILES = "profiles at equal compute"
BY_LAW = "law of size and data"

EQUAL = 1.25  # computes within this factor stand for one budget

Estimate: TypeAlias = tuple[float, float, float]
"""Value, low and high end of its interval."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trainings:
    """Where model size, data and compute led.

    Fields:
      size: N, parameters, > 0, [points].
      data: D, images or tokens seen, > 0, [points].
      compute: FLOPs spent up to there, > 0, [points].
      loss: > 0, [points].
      run: a label, [points]; points that share one are the learning curve of one run.
    """

    size: Array
    data: Array
    compute: Array
    loss: Array
    run: tuple[Hashable, ...]

    @property
    def per(self) -> float:
        """FLOPs a parameter and an image or token: the k of compute = k N D, as on average."""
        return float(np.exp(np.log(self.compute / self.size / self.data).mean()))

    @property
    def in_step(self) -> str:
        """How data grew with size, in words, where the one decided the other; else empty.

        Then the runs lie along a line: at no compute were two sizes tried.
        """
        size, data = np.log(self.size), np.log(self.data)
        if np.ptp(size) < math.log(EQUAL):
            return ""
        slope, height = np.polyfit(size - size.mean(), data, 1)
        if np.ptp(data - slope * (size - size.mean())) > math.log(EQUAL):
            return ""
        if np.ptp(data) < math.log(EQUAL):
            return f"all runs saw about the same data, {math.exp(height):.3g}"
        if np.ptp(data - size) < math.log(EQUAL):
            times = math.exp(float((data - size).mean()))
            return f"data were in proportion to size, {times:.3g} times it"
        return f"data grew in step with size, as its power of {slope:.2g}"

    def doubts(self) -> list[str]:
        """What does not fit compute = k N D, or is not told by runs such as these."""
        return [*self._untold(), *self._uneven()]

    def _untold(self) -> list[str]:
        if not self.in_step:
            return []
        return [
            f"{self.in_step}: what a larger model gives and what more data give, alpha and beta, "
            "are not told apart, and so neither is the best size; add runs of the same compute "
            "and other sizes"
        ]

    def _uneven(self) -> list[str]:
        ratio = self.compute / self.size / self.data / self.per
        if ratio.max() / ratio.min() < 1.2:
            return []
        return [
            f"compute is not a constant times size times data: from {ratio.min():.2g} to "
            f"{ratio.max():.2g} of its mean, {self.per:.3g}; the best size at a compute is what "
            "the runs say, the best data only about"
        ]


def trainings(
    size: ArrayLike,
    data: ArrayLike,
    loss: ArrayLike,
    *,
    compute: ArrayLike | None = None,
    per: float = 6.0,
    run: Sequence[Hashable] | None = None,
) -> Trainings:
    """Points of runs; without `compute` it is `per` N D, without `run` each is a run of its own.

    Raises:
      ValueError: not all above 0, finite and one for every point.
    """
    n, d, y = (np.asarray(each, float) for each in (size, data, loss))
    c = per * n * d if compute is None else np.asarray(compute, float)
    for name, each in (("size", n), ("data", d), ("loss", y), ("compute", c)):
        if each.shape != n.shape or each.ndim != 1:
            raise ValueError(f"{name} has shape {each.shape}, size {n.shape}; give one a point.")
        if not (np.isfinite(each) & (each > 0)).all():
            raise ValueError(f"{name} must be above 0 and finite. Leave the other points out.")
    labels = range(len(n)) if run is None else run
    return Trainings(size=n, data=d, compute=c, loss=y, run=tuple(labels))


class Allocation(Protocol):
    """The size that is best for a budget, as one way sees it."""

    @property
    def approach(self) -> str:
        """Its name."""

    @property
    def best(self) -> tuple[Array, Array]:
        """Computes, and the best sizes seen there; empty where the way looks at no single ones."""

    @property
    def doubts(self) -> tuple[str, ...]:
        """In words, which of its assumptions fail."""

    def exponent(self, level: float = LEVEL) -> Estimate:
        """a of N = k C^a: value, low, high."""

    def size(self, compute: float, level: float = LEVEL) -> Estimate:
        """The best size at a compute: value, low, high."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """A power N = k C^a through best sizes, and the lines of studies that might have been.

    Fields:
      approach: which way found them.
      best: computes and sizes, [points] each.
      centre: mean logarithm of the computes, where height and slope scatter apart.
      values: logarithm of the size there, and a.
      replicates: the same of studies that might have been, [replicates, 2].
      doubts: in words.
    """

    approach: str
    best: tuple[Array, Array]
    centre: float
    values: Array
    replicates: Array
    doubts: tuple[str, ...]

    def exponent(self, level: float = LEVEL) -> Estimate:
        value, reach = self.values[1], self._reach(self.replicates[:, 1] - self.values[1], level)
        return float(value), float(value - reach), float(value + reach)

    def size(self, compute: float, level: float = LEVEL) -> Estimate:
        basis = np.array([1.0, np.log(compute) - self.centre])
        value = basis @ self.values
        reach = self._reach((self.replicates - self.values) @ basis, level)
        low, high = np.exp(value - reach), np.exp(value + reach)
        return float(np.exp(value)), float(low), float(high)

    def _reach(self, distances: Array, level: float) -> float:
        return float(np.quantile(np.abs(distances), level))


def disagreements(
    ways: Sequence[Allocation], computes: Sequence[float], level: float = 0.99
) -> list[str]:
    """Where two ways part by more than their intervals allow, and which assumptions fail.

    Args:
      computes: at which the best sizes are compared.
      level: of the intervals; high, because several pairs are compared at several places.
    """
    said = []
    for one, other in combinations(ways, 2):
        apart = [c for c in computes if not _same_size(one.size(c, level), other.size(c, level))]
        steep = not _same(one.exponent(level), other.exponent(level))
        if not apart and not steep:
            continue
        what = []
        if apart:
            a, b = one.size(apart[0])[0], other.size(apart[0])[0]
            what.append(
                f"at {apart[0]:.3g} the best size is {a:.3g} by one and {b:.3g} by the other"
            )
        if steep:
            a, b = one.exponent()[0], other.exponent()[0]
            what.append(f"it grows as C^{a:.3f} by one and C^{b:.3f} by the other")
        doubts = [*(f"{one.approach}: {d}" for d in one.doubts)]
        doubts += [f"{other.approach}: {d}" for d in other.doubts]
        why = "; ".join(doubts) or "no assumption was seen to fail: the intervals may be too narrow"
        said.append(f"{one.approach} and {other.approach} part: {', and '.join(what)}. {why}")
    return said


def _same_size(one: Estimate, other: Estimate) -> bool:
    return _same(_log(one), _log(other))


def _log(size: Estimate) -> Estimate:
    """Of a size whose interval may go down to 0."""
    value, low, high = (math.log(each) if each > 0 else -math.inf for each in size)
    return value, low, high


def _same(one: Estimate, other: Estimate) -> bool:
    """Whether the difference of two estimates may be 0, as of independent ones.

    An end without bound reaches anywhere, also where the value itself is beyond all numbers:
    nothing is then known to be farther away.
    """
    (a, _, a_high), (b, b_low, _) = sorted((one, other))
    return not b - a > math.hypot(a_high - a, b - b_low)
