"""How far the laws of a pool miss costlier runs, by hold-outs of the runs that were bought.

Rolling-origin hold-outs by cost: the laws are fitted to the cheapest half of the runs, and to the
cheapest seven tenths, and predict the others. The mean square of these errors, times SHARE, is the
variance of the predictions in the target region; it grows with the square of the distance beyond
that to which the hold-outs reached. SHARE is below 1, since a hold-out knows fewer runs than the
prediction does. docs/laws/pools.md says how it was chosen, and how well that does.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fits.base.numbers import Array, Indices
from fits.decisions.posterior import MISFIT, PoolLaw, beyond, ensemble, relevance_of
from fits.spec import SEED

CUTS = 0.5, 0.7  # of the runs, the cheapest, which the laws are fitted to
SHARE = 0.32  # of the mean square of hold-out errors
FEWEST = 6  # runs, of which half can be held out


def calibrated(
    own: Array,
    laws: tuple[PoolLaw, ...],
    x: Array,
    cost: Array,
    error: Array,
    target: Array,
    relevance: float,
    share: float = SHARE,
) -> Array:
    """Variance of log error in the target region, [targets].

    Args:
      own: what parameters, laws and noise account for, [targets].
      x, cost, error: of the runs that were bought, [variables, runs] and [runs].
      relevance: as of `Pool`.
      share: of the mean square of hold-out errors, that the variance is.
    """
    away = beyond(target, x)
    if len(error) < FEWEST:
        return own + MISFIT**2 * away
    squares, reached = np.array(list(_held_out(laws, x, cost, error, relevance))).mean(axis=0)
    missed = squares * np.maximum(1, away / max(reached, 1e-12))
    return np.asarray(np.maximum(share * missed, own))


def _held_out(
    laws: tuple[PoolLaw, ...], x: Array, cost: Array, error: Array, relevance: float
) -> Iterator[tuple[float, float]]:
    """Mean squared log error of each cut, and mean squared distance in e-folds of x."""
    order = np.argsort(cost, kind="stable")
    for cut in CUTS:
        count = round(cut * len(order))
        kept: Indices = order[:count]
        held: Indices = order[count:]
        weights = relevance_of(x[:, kept], x[:, held], relevance)
        found = ensemble(
            *(laws, x[:, kept], x[:, held], weights, np.arange(count), error[kept]),
            *(np.random.default_rng(SEED), None),
        )
        missed = np.log(error[held]) - found.prediction()[0]
        yield float(np.mean(missed**2)), float(beyond(x[:, held], x[:, kept]).mean())
