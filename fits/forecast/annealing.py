"""Laws with annealing: an error that falls as the learning rate is summed up, and as it falls.

    E = c + a S^-b + k r^p

S is the learning rate summed up to x, r its value there. It is the law of Tissue et al. 2024
("Scaling Law with Learning Rate Annealing"), L0 + A S1^-alpha - C S2, where S2 has had time to
follow the rate (S2 is then proportional to the rate lost so far), with the power of the rate that
Luo et al. 2025 ("A Multi-Power Law for Loss Curve Prediction Across Learning Rate Schedules") find;
benchmarks/forecast_told.py compares p = 1/2 and 1 and Tissue's own S2. Given b and p the law is
linear, so that all of a grid are solved at once, under a, c, k >= 0.

y is counted in units of the last y.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fits.base.numbers import Array
from fits.forecast.ends import RESOLUTION, Belief
from fits.forecast.schedule import Schedule
from fits.laws.varpro import nnls

EXPONENTS = np.geomspace(0.03, 3.0, 24)
# Where a rate that nobody has told of may reach 0, in units of the largest x of the curve.
UNTIL = (1.5, 2.0, 3.0, 4.0, 8.0)
WORTH = 6.0  # independent points that a smooth misfit is worth at most


class Path(NamedTuple):
    """The learning rate at some x: its value, and its sum up to there over that up to the last."""

    rate: Array | None  # None: it is constant, and may have any effect
    area: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Annealed:
    """The law of every exponent, for each of some paths, fitted to one end of a curve."""

    power: float  # p
    fall: Array  # a, [paths, exponents]
    floor: Array  # c, the same
    lift: Array  # k, the same
    probability: Array  # of each, summing to 1
    squares: Array  # weighted mean of squared relative errors, the same
    covariance: Array | None  # of a, c and k, [paths, exponents, 3, 3]; None: not asked for

    def __call__(self, paths: Sequence[Path]) -> tuple[Array, Array]:
        """Mean and variance of log y, [x] each: over the laws, and of each where it is known."""
        terms = np.array([_terms(path, self.power) for path in paths])  # [paths, exponents, 3, x]
        found = np.stack([self.fall, self.floor, self.lift], axis=-1)
        y = np.maximum(np.einsum("pbk,pbkx->pbx", found, terms), self.least[..., None])
        every = np.log(y)
        mean = np.einsum("pb,pbx->x", self.probability, every)
        variances = (every - mean) ** 2
        if self.covariance is not None:
            own = np.einsum("pbkx,pbkl,pblx->pbx", terms, self.covariance, terms)
            variances = variances + np.minimum(own / y**2, 1.0)
        return mean, np.einsum("pb,pbx->x", self.probability, variances)

    @property
    def least(self) -> Array:
        """The least y that each law can say, in units of the last, [paths, exponents].

        What a law leaves over at the points hides an error as small as that: without a floor it
        would say 0 where its rate ends.
        """
        return np.sqrt(self.squares + RESOLUTION**2)


def fit_annealed(
    paths: Sequence[Path],
    y: Array,
    recency: Array,
    power: float,
    belief: Belief,
    *,
    lift: float | None = None,
) -> Annealed:
    """Fit every law.

    Args:
      paths: at the x of the points, one a hypothesis.
      y: [points], in units of the last.
      recency: weights, > 0, [points].
      power: p.
      belief: prior of b.
      lift: mean and standard deviation of a prior of k, in parts of the last error; None: there is
        none. The misfit of the best law without it tells how much it counts against the points.
    """
    weights = recency / recency.sum()
    count = min(WORTH, 1 / float((weights**2).sum()))
    prior = -0.5 * (np.log(EXPONENTS / belief.exponent) / belief.exponent_spread) ** 2
    found, squares, logs, covariances = [], [], [], []
    for path in paths:
        terms = 3 if path.rate is not None else 2
        columns = _terms(path, power)[:, :terms] / y
        target, counts = np.ones_like(y), weights
        values, left = nnls(columns, target, counts)
        if lift is not None:
            noise = max(float(left.min()), 0.0) + RESOLUTION**2
            rows = np.zeros((*columns.shape[:2], 1))
            rows[:, 2] = 1.0
            columns = np.concatenate([columns, rows], axis=2)
            target = np.append(target, lift)
            counts = np.append(counts, noise / count / lift**2)
            values, left = nnls(columns, target, counts)
            covariances.append(_covariance(columns * np.sqrt(counts), values, noise / count))
        found.append(np.pad(values, ((0, 0), (0, 3 - terms))))
        squares.append(np.maximum(left, 0))
        logs.append(prior - 0.5 * count * np.log(squares[-1] + RESOLUTION**2))
    log = np.array(logs)
    probability = np.exp(log - log.max())
    coefficients = np.moveaxis(np.array(found), 2, 0)
    return Annealed(
        power=power,
        fall=coefficients[0],
        floor=coefficients[1],
        lift=coefficients[2],
        probability=probability / probability.sum(),
        squares=np.array(squares),
        covariance=np.array(covariances) if covariances else None,
    )


def _covariance(rows: Array, values: Array, variance: float) -> Array:
    """Of least squares, [exponents, 3, 3]; a coefficient at its bound of 0 is taken as known.

    Args:
      rows: of the regression, weighted, [exponents, 3, points].
      values: coefficients, [exponents, 3].
      variance: of an error, over the points that all are worth.
    """
    size = np.maximum(np.linalg.norm(rows, axis=2), 1e-300)
    scaled = rows / size[..., None]
    precision = scaled @ scaled.transpose(0, 2, 1)
    precision += 1e12 * (values <= 0)[:, None, :] * np.eye(3) + 1e-9 * np.eye(3)
    return variance * np.linalg.inv(precision) / size[:, :, None] / size[:, None, :]


def untold(x: Array) -> tuple[Path, ...]:
    """Hypotheses of a rate that nobody has told of: constant, or a cosine to 0 at one of UNTIL.

    Args:
      x: in units of the largest x of the curve.
    """
    found = [Path(None, x)]
    for until in UNTIL:
        schedule = Schedule(kind="cosine", until=until)
        last = _cosine_area(np.ones(1), until)
        found.append(Path(schedule.rate(x), _cosine_area(x, until) / last))
    return tuple(found)


def _cosine_area(x: Array, until: float) -> Array:
    """Exact: a table would be coarse at the very beginning of a curve."""
    part = np.minimum(x / until, 1)
    return (part + np.sin(np.pi * part) / np.pi) / 2


def _terms(path: Path, power: float) -> Array:
    """What a, c and k are multiplied by, [exponents, 3, x]; k by 0 where the rate is constant."""
    falls = _falls(path.area)
    rate = np.zeros_like(path.area) if path.rate is None else path.rate**power
    return np.stack(np.broadcast_arrays(falls, np.ones_like(falls), rate), axis=1)


def _falls(area: Array) -> Array:
    logs = np.log(np.maximum(area, 1e-300))
    return np.exp(np.clip(-EXPONENTS[:, None] * logs, -600, 300))
