"""How far the errors in the target region may lie from the mean of a pool's curves.

The variance of a prediction is that of the curves, plus the residual variance of the laws over all
runs that were bought, each counted alike: where no law is quite true, a target is missed as any run
is. This is the prediction variance of universal kriging beyond the range of the residuals'
correlation (Cressie 1993). Intervals are of Student's t.

Rolling-origin hold-outs test it: the laws are fitted to the cheapest half of the runs, and to the
cheapest seven tenths, and predict the others. Where these are missed by more than an F test at 5 %
allows, the variance is multiplied by the excess (the scale factor of Birge 1932); beyond the
distance that the hold-outs reached, it grows with its square. docs/laws/pools.md says how well
that does.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fits.base.numbers import Array, Indices
from fits.decisions.posterior import (
    EFFECTIVE,
    MISFIT,
    NOISE,
    WORTH,
    Ensemble,
    PoolLaw,
    beyond,
    ensemble,
    relevance_of,
)
from fits.spec import SEED

CUTS = 0.5, 0.7  # of the runs, the cheapest, which the laws are fitted to
FEWEST = 6  # runs, of which half can be held out
TEST = 0.95  # level of the F test


def calibrated(
    known: Ensemble,
    residuals: Array,
    laws: tuple[PoolLaw, ...],
    x: Array,
    cost: Array,
    error: Array,
    target: Array,
    relevance: float,
) -> tuple[Array, float]:
    """Variance of log error in the target region, [targets], and its degrees of freedom.

    Args:
      known: the curves that the runs allow.
      residuals: of log error, about the mean of these curves, [runs].
      x, cost, error: of the runs that were bought, [variables, runs] and [runs].
      relevance: as of `Pool`.
    """
    residual, freedom = residual_variance(residuals, laws)
    variance = known.prediction()[1] + residual
    away = beyond(target, x)
    if len(error) < FEWEST:
        return variance + MISFIT**2 * away, freedom
    excess, reached = np.array(list(_held_out(laws, x, cost, error, relevance))).mean(axis=0)
    growth = np.maximum(1, away / max(reached, 1e-12))
    return variance * np.maximum(1, excess * growth), freedom


def residual_variance(residuals: Array, laws: tuple[PoolLaw, ...]) -> tuple[float, float]:
    """Of log error, with its degrees of freedom.

    The prior is a scaled inverse chi-squared of WORTH degrees of freedom about NOISE squared, as in
    the posterior of the laws: so few runs leave an interval too.
    """
    freedom = WORTH + max(len(residuals) - max(len(each.law.parameters) for each in laws), 0)
    return float(residuals @ residuals + WORTH * NOISE**2) / freedom, freedom


def _held_out(
    laws: tuple[PoolLaw, ...], x: Array, cost: Array, error: Array, relevance: float
) -> Iterator[tuple[float, float]]:
    """Of each cut: mean squared log error as a multiple of what the F test allows, and the mean
    squared distance in e-folds of x."""
    from scipy.special import fdtri

    order = np.argsort(cost, kind="stable")
    for cut in CUTS:
        count = round(cut * len(order))
        kept: Indices = order[:count]
        held: Indices = order[count:]
        weights = relevance_of(x[:, kept], x[:, held], relevance)
        known = ensemble(
            *(laws, x[:, kept], x[:, held], weights, np.arange(count), error[kept]),
            *(np.random.default_rng(SEED), None),
        )
        mean, variance = known.prediction()
        residual, freedom = residual_variance(np.log(error[kept]) - known.fitted, laws)
        ratio = np.mean((np.log(error[held]) - mean) ** 2) / np.mean(variance + residual)
        allowed = fdtri(min(len(held), EFFECTIVE), freedom, TEST)
        yield float(ratio / allowed), float(beyond(x[:, held], x[:, kept]).mean())
