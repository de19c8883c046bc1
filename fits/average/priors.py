"""What is believed of a law's parameters before its runs are seen.

Wide enough for every published law of error against compute, data or size, and proper, so that
laws of different numbers of parameters can be compared (their evidence is a mean over the prior).
Coordinates are those of `Law.coordinates`, for x in units of its geometric mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fits.base.numbers import Array
from fits.laws.law import Law

EXPONENT = 0.3  # typical; published ones lie from .05 to 1
SPREAD = 0.7  # of its logarithm
LOWER = 1.02  # a floor may lie as much above the lowest error, which has noise of its own
SHIFT = 0.5  # of log1p(d), d in units of the geometric mean of x

Kind = Literal["normal", "uniform", "exponential"]


@dataclass(frozen=True)
class Prior:
    """Of one coordinate: normal(at, size), uniform from 0 to `size`, exponential of mean `size`."""

    kind: Kind
    size: float
    at: float = 0.0

    @property
    def bounded(self) -> bool:
        """Whether the coordinate is at least 0."""
        return self.kind != "normal"

    def log_density(self, value: Array) -> Array:
        with np.errstate(over="ignore"):
            if self.kind == "normal":
                z = (value - self.at) / self.size
                return -(z**2) / 2 - np.log(self.size * np.sqrt(2 * np.pi))
            inside = value >= 0
            if self.kind == "uniform":
                return np.where(inside & (value <= self.size), -np.log(self.size), -np.inf)
            return np.where(inside, -value / self.size - np.log(self.size), -np.inf)

    def draws(self, rng: np.random.Generator, count: int) -> Array:
        if self.kind == "normal":
            return rng.normal(self.at, self.size, count)
        if self.kind == "uniform":
            return rng.uniform(0, self.size, count)
        return rng.exponential(self.size, count)

    @property
    def deviation(self) -> float:
        return self.size / np.sqrt(12) if self.kind == "uniform" else self.size

    def within(self, value: float) -> float:
        """The nearest that the prior does not all but exclude."""
        if self.kind == "normal":
            return float(np.clip(value, self.at - 3 * self.size, self.at + 3 * self.size))
        return float(np.clip(value, 0, (0.98 if self.kind == "uniform" else 6) * self.size))


def log_prior(priors: Sequence[Prior], at: Array) -> Array:
    """Of coordinates [draws, parameters]."""
    every = [prior.log_density(at[:, k]) for k, prior in enumerate(priors)]
    return np.sum(every, axis=0)


def priors_of(law: Law, x: Array, y: Array) -> list[Prior]:
    """Of each coordinate of a law that the average knows (`LAWS`), for points [points]."""
    line = np.log(x)
    level = Prior("normal", 2.0, float(np.log(y).mean()))
    exponent = Prior("normal", SPREAD, float(np.log(EXPONENT)))
    floor = Prior("uniform", LOWER * float(y.min()))
    shift = Prior("exponential", SHIFT)
    middle, width = float(line[0] + line[-1]) / 2, float(np.ptp(line)) / 3
    known = {
        "power": (level, exponent),
        "power-floor": (level, exponent, floor),
        "power-shift": (level, exponent, shift),
        "saturating": (level, exponent, floor, shift),
        "m4": (
            *(Prior("normal", 4.0), exponent, floor),
            *(Prior("normal", 0.5, float(np.log(1.5 * y.max()))), Prior("normal", 0.7)),
        ),
        "broken": (
            *(level, Prior("normal", EXPONENT, EXPONENT), floor, Prior("normal", EXPONENT)),
            *(Prior("normal", width, middle), Prior("normal", 0.7, float(np.log(0.5)))),
        ),
    }
    return list(known[law.name])
