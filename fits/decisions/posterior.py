"""An ensemble of curves from the posterior of several laws, given a few runs.

Each law is fitted from several guesses, with weak priors (`priors.py`); around each minimum the
posterior is normal by Laplace's approximation. Curves are drawn from Student's t about these
normals and weighed by the posterior over the density that they were drawn with (importance
sampling), so that a law counts by its evidence, up to a limit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fits.base.numbers import Array, Indices
from fits.decisions.priors import prior_of
from fits.laws.law import Law
from fits.regression.loss import LOG, Penalty
from fits.regression.solver import in_units, levenberg_marquardt, unit_of

GUESSES = 6  # of a law's own
MODES = 4  # minima of a law that are kept
DRAWS = 400  # curves drawn around each
KEPT = 256  # curves of the ensemble
EFFECTIVE = 10.0  # runs, that laws are weighed by at most
MISFIT = 0.01  # likely relative error of a law, an e-fold of x beyond its runs
FREEDOM = 5.0  # degrees of freedom of Student's t
NOISE, WORTH = 0.01, 2.0  # likely relative noise, and how many runs that guess is worth
SAME = 0.05  # of a prior's standard deviation: two minima so near are one
LOWER = 12.0  # of log posterior, below which a minimum is dropped
GAIN = 1e-6  # of the objective, below which a fit is done
LOWEST = 1e-12  # error, and one over the largest


@dataclass(frozen=True, eq=False)
class PoolLaw:
    """A law, and the units in which it counts x, whatever runs have been bought."""

    law: Law
    unit: Array

    @classmethod
    def of(cls, law: Law, x: Array) -> PoolLaw:
        return cls(law, unit_of(law, x))

    @property
    def bounds(self) -> tuple[Array, Array]:
        with np.errstate(divide="ignore"):
            low, high = self.law.to_unconstrained(*np.array(self.law.bounds)).T
        return low, high

    def log_error(self, x: Array, at: Array) -> Array:
        """Of curves with these coordinates [curves, coordinates], [curves, runs]."""
        with np.errstate(all="ignore"):
            values = self.law.from_unconstrained(*at.T[..., None])
            found = self.law.predict(in_units(x, self.unit), *values)
            found = np.log(np.clip(np.nan_to_num(found, nan=1 / LOWEST), LOWEST, 1 / LOWEST))
        return np.broadcast_to(found, (len(at), x.shape[1]))


@dataclass(frozen=True, eq=False)
class Modes:
    """Minima of one law: coordinates, noise, Cholesky factors of the covariance."""

    law: PoolLaw
    at: Array  # [modes, coordinates]
    variance: float  # of log error of a run of weight 1
    factors: Array  # [modes, coordinates, coordinates]
    log_height: Array  # log posterior at each, [modes]
    prior: tuple[Array, Array]


class Ensemble:
    """Log errors of many curves at the runs on offer and at the targets.

    Fields:
      modes: minima of each law, for the next fit to begin with.
      fitted: mean log error of the curves at the runs on offer, [runs].
    """

    def __init__(self, log: Array, aim: Array, chance: Array, noise: Array, modes: list[Modes]):
        """
        Args:
          log, aim: of each curve at the runs on offer, and at the targets, [curves, ...].
          chance: of each curve, summing to 1, [curves].
          noise: variance of log error of each run on offer, [runs].
        """
        self.modes, self._noise = modes, noise
        self.fitted, self._mean = chance @ log, chance @ aim
        root = np.sqrt(chance)[:, None]
        self._log = root * (log - self.fitted)
        self._aim = root * (aim - self._mean)

    def gains(self) -> Array:
        """By how much each run would lower the mean variance at the targets, [runs]."""
        both = self._log.T @ self._aim
        alone = (self._log**2).sum(axis=0) + self._noise
        return np.asarray((both**2).sum(axis=1) / alone / self._aim.shape[1])

    def condition(self, run: int) -> None:
        """On a run of the pool having been measured, whatever came out (ensemble square root)."""
        mine = self._log[:, run].copy()
        size, noise = float(mine @ mine), float(self._noise[run])
        if size <= 0:
            return
        shrink = (1 - np.sqrt(noise / (size + noise))) / size
        self._log = self._log - shrink * np.outer(mine, mine @ self._log)
        self._aim = self._aim - shrink * np.outer(mine, mine @ self._aim)

    def prediction(self) -> tuple[Array, Array]:
        """Mean and variance of the curves' log error, [targets] each."""
        return self._mean, (self._aim**2).sum(axis=0)


def ensemble(
    laws: tuple[PoolLaw, ...],
    x: Array,
    target: Array,
    weights: Array,
    bought: Indices,
    error: Array,
    rng: np.random.Generator,
    before: Ensemble | None,
) -> Ensemble:
    """Of all laws together, given some runs of the pool.

    Args:
      x, target: of the pool, and where the error is wanted.
      weights: of all runs of the pool, one over the variance of their log errors, [runs].
      bought: runs that were measured, and their errors.
      before: the last one, whose minima are guesses for these.
    """
    here, counts = x[:, bought], weights[bought]
    known = dict.fromkeys(laws)
    if before is not None:
        known |= {each.law: each.at for each in before.modes}
    modes = [_modes(law, here, error, counts, known[law]) for law in laws]
    coordinates, log_weight = zip(
        *(_drawn(each, here, error, counts, rng) for each in modes), strict=True
    )
    chance = _together(log_weight, len(bought))
    kept = _systematic(chance, KEPT, rng)
    places, count = np.unique(kept, return_counts=True)
    edges = np.cumsum([0, *(len(each) for each in coordinates)])
    logs, aims, variances = [], [], []
    for each, at, first, last in zip(modes, coordinates, edges, edges[1:], strict=False):
        mine = at[places[(places >= first) & (places < last)] - first]
        if len(mine):
            logs.append(each.law.log_error(x, mine))
            aims.append(each.law.log_error(target, mine))
            variances.append(np.full(len(mine), each.variance))
    share = count / KEPT
    variance = float(share @ np.concatenate(variances))
    return Ensemble(np.concatenate(logs), np.concatenate(aims), share, variance / weights, modes)


def _together(log_weight: tuple[Array, ...], runs: int) -> Array:
    """Of each curve of each law, summing to 1.

    Laws are weighed by their evidence as if at most EFFECTIVE runs spoke: where none is quite true,
    the misfits of many runs are not independent, and evidence is soon too sure of itself.
    """
    tops = [float(each.max()) for each in log_weight]
    inside = [np.exp(each - top) for each, top in zip(log_weight, tops, strict=True)]
    evidence = np.array(tops) + np.log([each.mean() for each in inside])
    log = min(1.0, EFFECTIVE / runs) * evidence
    share = np.exp(log - log.max())
    parts = [
        mine * each / each.sum() for mine, each in zip(share / share.sum(), inside, strict=True)
    ]
    return np.concatenate(parts)


def beyond(x: Array, among: Array) -> Array:
    """Squared distance to the nearest of some runs, in e-folds of x, [runs]."""
    away = np.log(x)[:, :, None] - np.log(among)[:, None]
    return np.asarray((away**2).sum(axis=0).min(axis=1))


def relevance_of(x: Array, target: Array, relevance: float) -> Array:
    """How much each run counts, 1 near the targets and exp(-relevance) at the far end, [runs]."""
    log, aim = np.log(x), np.log(target)
    size = np.maximum(log.std(axis=1), 1e-9)[:, None, None]
    away = (((log[:, :, None] - aim[:, None]) / size) ** 2).sum(axis=0)
    distance = np.sqrt(away.min(axis=1))
    span = max(float(np.ptp(distance)), 1e-9)
    return np.asarray(np.exp(-relevance * (distance - distance.min()) / span))


def _modes(law: PoolLaw, x: Array, error: Array, weights: Array, known: Array | None) -> Modes:
    low, high = law.bounds
    centre, spread = prior_of(law.law, float(np.exp(np.log(error).mean())))
    at = _guesses(law, x, error, weights, known, centre)
    rows = np.broadcast_to(weights, (len(at), len(error)))
    variance, which = NOISE**2, np.zeros(len(at), np.int64)
    for _ in range(3):
        penalty = Penalty(
            lambda where, _: where,
            which,
            np.broadcast_to(centre, at.shape),
            np.broadcast_to(variance / spread**2, at.shape),
        )
        with np.errstate(all="ignore"):
            values, losses = levenberg_marquardt(
                law.law, in_units(x, law.unit), error, rows, law.law.from_unconstrained(*at.T),
                loss=LOG, penalty=penalty, gain=GAIN,
            )  # fmt: skip
            at = np.clip(law.law.to_unconstrained(*values).T, low, high)
        objective = losses + penalty.value(at)
        best = float(losses[int(np.argmin(np.where(np.isfinite(objective), objective, np.inf)))])
        variance = (2 * best + WORTH * NOISE**2) / (len(error) + WORTH)
    height = -np.where(np.isfinite(objective), objective, np.inf) / variance
    height -= (len(error) + WORTH) / 2 * np.log(variance) - np.log(weights).sum() / 2
    chosen = _apart(at, height, spread)
    factors = np.array([_factor(law, x, weights, at[k], variance, spread) for k in chosen])
    return Modes(law, at[chosen], variance, factors, height[chosen], (centre, spread))


def _guesses(
    law: PoolLaw, x: Array, error: Array, weights: Array, known: Array | None, centre: Array
) -> Array:
    low, high = law.bounds
    with np.errstate(all="ignore"):
        found = law.law.guess(in_units(x, law.unit), error, weights)
        at = law.law.to_unconstrained(*found[:, :GUESSES]).T
    if known is not None:
        at = np.concatenate([known, at])
    at = at[np.isfinite(np.clip(at, low, high)).all(axis=1)]
    return np.clip(at, low, high) if len(at) else np.clip(centre, low, high)[None]


def _apart(at: Array, height: Array, spread: Array) -> Indices:
    """The highest of the minima that are not one."""
    chosen: list[int] = []
    for k in np.argsort(-height).tolist():
        away = [np.abs((at[k] - at[j]) / spread).max() > SAME for j in chosen]
        if height[k] > height.max() - LOWER and all(away):
            chosen.append(k)
        if len(chosen) == MODES:
            break
    return np.array(chosen, np.int64)


def _factor(
    law: PoolLaw, x: Array, weights: Array, at: Array, variance: float, spread: Array
) -> Array:
    """Of the covariance of the coordinates."""
    jacobian = _relative(law, x, at)
    information = (jacobian * (weights / variance)) @ jacobian.T + np.diag(spread**-2)
    return np.asarray(np.linalg.inv(np.linalg.cholesky(information)).T)


def _relative(law: PoolLaw, x: Array, at: Array) -> Array:
    """Derivatives of log error by the coordinates, [coordinates, runs]."""
    values, plain = law.law.from_unconstrained(*at), in_units(x, law.unit)
    with np.errstate(all="ignore"):
        found = law.law.derivatives(plain, *values) / law.law.predict(plain, *values)
    return np.nan_to_num(np.broadcast_to(found, (len(at), x.shape[1])))


def _drawn(
    modes: Modes, x: Array, error: Array, weights: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Coordinates of curves, [curves, coordinates], and log posterior over density, [curves]."""
    count, size = modes.at.shape
    normal = rng.standard_normal((count, DRAWS, size))
    scale = np.sqrt(FREEDOM / rng.chisquare(FREEDOM, (count, DRAWS)))
    at = modes.at[:, None] + np.einsum("mpq,mdq->mdp", modes.factors, normal * scale[..., None])
    at = np.concatenate([at.reshape(-1, size), modes.at])
    low, high = modes.law.bounds
    inside = np.clip(at, low, high)
    centre, spread = modes.prior
    residuals = modes.law.log_error(x, inside) - np.log(error)
    squares = (weights * residuals**2).sum(axis=1)
    points = len(error) + WORTH
    log_posterior = -points / 2 * np.log(squares / 2 + WORTH * NOISE**2 / 2)
    log_posterior -= (((inside - centre) / spread) ** 2).sum(axis=1) / 2
    log_posterior -= np.log(spread[spread < 100]).sum()
    share = np.exp(modes.log_height - modes.log_height.max())
    share /= share.sum()
    density = np.full((count, len(at)), -np.inf)
    for k in range(count):
        inverse = np.linalg.inv(modes.factors[k])
        away = (((at - modes.at[k]) @ inverse.T) ** 2).sum(axis=1)
        determinant = float(np.log(np.abs(np.diag(inverse))).sum())
        density[k] = determinant - (FREEDOM + size) / 2 * np.log1p(away / FREEDOM)
    top = density.max(axis=0)
    mixed = top + np.log(np.exp(density - top).mean(axis=0))
    return inside, log_posterior - mixed


def _systematic(chance: Array, count: int, rng: np.random.Generator) -> Indices:
    """Draws with these chances, as even as can be (systematic resampling)."""
    at = (rng.random() + np.arange(count)) / count
    return np.minimum(np.searchsorted(np.cumsum(chance), at), len(chance) - 1).astype(np.int64)
