"""Bootstrap of clusters, refits to clusters of runs drawn with replacement; and the jackknife."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fits.base.numbers import Array, Indices, Mask
from fits.laws.law import Law
from fits.regression.covariance import LEAST
from fits.regression.loss import Loss
from fits.regression.profile import Profile, Quantity
from fits.regression.solver import levenberg_marquardt

Choose = Callable[[Array, Array, Mask], Mask]

DRAWS = 1.5  # clusters drawn, per cluster
BLOCK = 4_000_000  # replicates x runs drawn at once
MANY = 200  # points of which none decides alone


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Values fitted to runs whose choice depends on their errors, as that of a frontier does."""

    profile: Profile  # of the runs chosen
    replicates: Array
    """Values refitted to resampled runs, [replicates, parameters]; as `bootstrap_weights` explains,
    they lie closer together than repeated studies would."""

    def interval(self, quantity: Quantity, count: int, level: float) -> tuple[Array, Array]:
        """As far from the fitted value, on either side, as `level` of the replicates lie.

        No less far than the profile of the chosen runs says: replicates lie too close where
        runs are few, and all in one place where a parameter rests on its bound (Andrews 2000).

        Args and returns as those of `Profile.interval`.
        """
        every = np.arange(count)
        values = self.profile.values
        centre = quantity(np.repeat(values[:, None], count, axis=1), every)
        which = np.repeat(every, len(self.replicates))
        drawn = quantity(np.tile(self.replicates.T, count), which).reshape(count, -1)
        apart = np.abs(drawn - centre[:, None])
        reach = np.sqrt(DRAWS) * np.quantile(apart, level, axis=1) + LEAST * np.abs(centre)
        low, high = self.profile.interval(quantity, count, level)
        return np.minimum(low, centre - reach), np.maximum(high, centre + reach)


def bootstrap_weights(
    needs: int,
    x: Array,
    y: Array,
    cluster: Indices,
    choose: Choose,
    replicates: int,
    rng: np.random.Generator,
    clusters: int | None = None,
) -> NDArray[np.uint16]:
    """How often each run counts in each replicate, whole numbers [replicates, runs].

    Where `clusters` says that there are more than these, the others may be drawn too, and count for
    nothing: such as no frontier would choose.

    Each replicate draws clusters with replacement and chooses anew among their runs, say the
    frontier. As many draws as clusters would miss 37 % of the best runs and fit a frontier too
    high; half as many again miss 22 %, and `Bootstrap.interval` stretches distances by the
    square root of 1.5 to make up for it (as where fewer are drawn: Bickel, Götze and van Zwet
    1997). What retreat is left pushes all replicates to one side, so intervals are symmetric
    (Hall 1988). Draws that leave fewer than `needs` different x determine no curve: drawn again.
    """
    place = np.unique(x, axis=-1, return_inverse=True)[1].ravel()
    here = int(cluster.max()) + 1
    count = np.full(replicates, math.ceil(DRAWS * (clusters or here)))
    block = max(1, BLOCK // len(y))
    found: list[NDArray[np.uint16]] = []
    while sum(map(len, found)) < replicates:
        share = here / (clusters or here)
        drawn = count if share == 1 else rng.binomial(count, share)
        for first in range(0, replicates, block):
            among = drawn[first : first + block]
            chances = np.full(here, 1 / here)
            times = rng.multinomial(among, chances)[:, cluster]
            weights = times * choose(x, y, times > 0)
            different = np.zeros((len(among), place.max() + 1), bool)
            rows, columns = np.nonzero(weights)
            different[rows, place[columns]] = True
            found.append(weights[different.sum(axis=1) >= needs].astype(np.uint16))
    return np.concatenate(found)[:replicates]


def refits(
    law: Law,
    x: Array,
    y: Array,
    times: NDArray[np.uint16] | Mask,
    weights: Array,
    values: Array,
    loss: Loss,
) -> Array:
    """Parameters of a fit for each replicate, from `values` on, [replicates, parameters].

    Args:
      times: how often each run counts in each replicate, [replicates, runs].
      weights: how much it counts each time, [runs].
    """
    used = (times > 0).any(axis=0)
    start = np.repeat(values[:, None], len(times), axis=1)
    counts = times[:, used] * weights[used]
    found, _ = levenberg_marquardt(law, x[..., used], y[used], counts, start, loss=loss, gain=1e-6)
    return found.T


def jackknife(
    profile: Profile, x: Array, y: Array, weights: Array, choose: Choose, chosen: Mask
) -> Array:
    """Refits that each leave out one of the runs fitted, [runs fitted, parameters].

    None where the others could not carry the law, or where so many leave no say to a single one.
    """
    law, runs = profile.law, np.flatnonzero(chosen)
    if not len(law.parameters) < len(runs) <= MANY:
        return np.empty((0, len(profile.values)))
    present = np.ones((len(runs), len(y)), bool)
    present[np.arange(len(runs)), runs] = False
    kept = choose(x, y, present)
    found = refits(law, x, y, kept, weights, profile.scaled, profile.loss)
    with np.errstate(over="ignore", invalid="ignore"):
        return law.in_ones(profile.unit, *found.T).T
