"""How to divide compute between a larger model and more data: what the three methods share.

Hoffmann et al. 2022 ("Training Compute-Optimal Large Language Models", section 3) give three: the
envelope of all runs (`envelope.py`), the minima of profiles at equal compute (`isoflop.py`), and a
law of size and data (`parametric.py`). Each is an `Allocation` with assumptions of its own;
`disagreements` finds where two of them contradict each other, `report.py` asks all three.

Loss means any error above 0; compute is k N D, size N, data D.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array, Estimate, Indices
from fits.base.order import canonical
from fits.laws.law import Law
from fits.regression.inputs import numbered
from fits.spec import FLOPS_PER_EXAMPLE, LEVEL

BY_ENVELOPE = "envelope of all runs"
BY_PROFILES = "profiles at equal compute"
BY_LAW = "law of size and data"

EQUAL = 1.25  # computes within this factor stand for one budget
DISAGREE = 0.99  # level at which two methods are compared: several pairs are, at several places


@dataclass(frozen=True, kw_only=True, eq=False)
class Trainings:
    """Where model size, data and compute led.

    Fields:
      size: N, parameters, > 0, [points].
      data: D, images or tokens seen, > 0, [points].
      compute: FLOPs spent up to there, > 0, [points].
      loss: > 0, [points].
      run: a number from 0, [points]; points that share one are the learning curve of one run.
    """

    size: Array
    data: Array
    compute: Array
    loss: Array
    run: Indices

    @property
    def per(self) -> float:
        """FLOPs a parameter and an image or token: the k of compute = k N D, the median."""
        return float(np.exp(np.median(np.log(self.compute / self.size / self.data))))

    @property
    def collinear(self) -> dict[str, float] | None:
        """The line that log data and log size follow, where the one decides the other.

        At no compute were two sizes tried then, or (slope -1) all at one. None: they do not lie
        along a line.
        """
        size, data = np.log(self.size), np.log(self.data)
        if np.ptp(size) < math.log(EQUAL):
            return {"slope": math.inf, "size": math.exp(float(size.mean()))}
        slope, level = np.polyfit(size - size.mean(), data, 1)
        if np.ptp(data - slope * (size - size.mean())) > math.log(EQUAL):
            return None
        if np.ptp(data) < math.log(EQUAL):
            return {"slope": 0.0, "data": math.exp(level)}
        if np.ptp(data + size) < math.log(EQUAL):
            return {"slope": -1.0, "compute": math.exp(float(np.log(self.compute).mean()))}
        if np.ptp(data - size) < math.log(EQUAL):
            return {"slope": 1.0, "data": math.exp(float((data - size).mean()))}
        return {"slope": float(slope), "data": math.exp(level)}

    def keep(self, rows: NDArray[np.bool_]) -> Trainings:
        """Those of the points."""
        of = np.unique(self.run[rows], return_inverse=True)[1].ravel()
        size, data, compute, loss = (
            each[rows] for each in (self.size, self.data, self.compute, self.loss)
        )
        return Trainings(size=size, data=data, compute=compute, loss=loss, run=of)

    def diagnostics(self, law: Law) -> tuple[Diagnostic, ...]:
        """What does not fit compute = k N D, or is not identifiable by runs such as these.

        Args:
          law: of size and data, fitted to them.
        """
        found = []
        if line := self.collinear:
            exponents = tuple(name for name, role in law.roles.items() if role == "exponent")
            found.append(Diagnostic("collinear", exponents, line))
        ratio = self.compute / self.size / self.data / self.per
        low, high = float(ratio.min()), float(ratio.max())
        if high / low >= 1.2:
            numbers = {"low": low, "high": high, "median": self.per}
            found.append(Diagnostic("compute_not_proportional", numbers=numbers))
        return tuple(found)


def trainings(
    size: ArrayLike,
    data: ArrayLike,
    loss: ArrayLike,
    *,
    compute: ArrayLike | None = None,
    per: float = FLOPS_PER_EXAMPLE,
    run: Sequence[Hashable] | None = None,
) -> Trainings:
    """Points of runs; without `compute` it is `per` N D, without `run` each is a run of its own.

    They are in canonical order, so that no answer depends on the order of a table's rows. `run`
    is a label a point.

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
    order, of = canonical(np.stack([n, d, c, y]), numbered(run, len(n)))
    n, d, c, y = (each[order] for each in (n, d, c, y))
    return Trainings(size=n, data=d, compute=c, loss=y, run=of)


class Allocation(ABC):
    """The best size for a budget, by one method.

    Fields:
      method: its name.
      best: computes, and the best sizes seen there; empty where the method reads none.
      diagnostics: which of its assumptions fail.
    """

    method: str
    best: tuple[Array, Array]
    diagnostics: tuple[Diagnostic, ...]

    @abstractmethod
    def exponent(self, level: float = LEVEL) -> Estimate:
        """a of N = k C^a."""

    @abstractmethod
    def size(self, compute: float, level: float = LEVEL) -> Estimate:
        """The best size at a compute."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LineOfSizes(Allocation):
    """A power N = k C^a through best sizes: on log axes a line.

    Fields:
      centre: mean logarithm of the computes, where height and slope are uncorrelated.
      values: logarithm of the size there, and a.
    """

    best: tuple[Array, Array]
    centre: float
    values: Array
    diagnostics: tuple[Diagnostic, ...]

    @abstractmethod
    def _reach(self, basis: Array, level: float) -> float:
        """Half the width of the interval of basis @ values."""

    def exponent(self, level: float = LEVEL) -> Estimate:
        return self._combined(np.array([0.0, 1.0]), level)

    def size(self, compute: float, level: float = LEVEL) -> Estimate:
        found = self._combined(np.array([1.0, math.log(compute) - self.centre]), level)
        with np.errstate(over="ignore"):
            return Estimate(*np.exp(found).tolist())

    def _combined(self, basis: Array, level: float) -> Estimate:
        value, reach = float(basis @ self.values), self._reach(basis, level)
        return Estimate(value, value - reach, value + reach)


def disagreements(
    methods: Sequence[Allocation], computes: Sequence[float], level: float = DISAGREE
) -> list[Diagnostic]:
    """Where two methods differ by more than their intervals allow.

    Args:
      computes: at which the best sizes are compared.
      level: of the intervals.
    """
    found = []
    for one, other in combinations(methods, 2):
        apart = [c for c in computes if not _same_size(one.size(c, level), other.size(c, level))]
        numbers: dict[str, Any] = {}
        if apart:
            numbers["compute"] = apart[0]
            numbers["size"] = one.size(apart[0])[0], other.size(apart[0])[0]
        if not _same(one.exponent(level), other.exponent(level)):
            numbers["exponent"] = one.exponent()[0], other.exponent()[0]
        if numbers:
            numbers["diagnostics"] = len(one.diagnostics) + len(other.diagnostics)
            names = one.method, other.method
            found.append(Diagnostic("methods_disagree", names, numbers))
    return found


def _same_size(one: Estimate, other: Estimate) -> bool:
    return _same(_log(one), _log(other))


def _log(size: Estimate) -> Estimate:
    """Of a size whose interval may go down to 0."""
    value, low, high = (math.log(each) if each > 0 else -math.inf for each in size)
    return Estimate(value, low, high)


def _same(one: Estimate, other: Estimate) -> bool:
    """Whether the difference of two estimates may be 0, as of independent ones.

    An end without bound reaches anywhere, also where the value itself is beyond all numbers:
    nothing is then known to be farther away.
    """
    (a, _, a_high), (b, b_low, _) = sorted((one, other))
    return not b - a > math.hypot(a_high - a, b - b_low)
