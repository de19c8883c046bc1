"""Many points as few: data squashing, for what would otherwise take time or memory without end.

The values of a fit to many points are those of all of them: the solver begins where a sample leads
and ends at the minimum over every point (`minimise_many`). What the intervals need, an error for
each of a thousand places or so, comes from neighbours taken together (`squashed`): cells of a grid
over log x, each with the mean of its points' x, weights and pseudo-values, which are the residuals
for squares and for Huber's loss psi over the mean of psi' (Huber 1981, section 7.6). Points of
different clusters never share a cell; where there are too many clusters, neighbouring ones are
merged, whose errors are as independent as theirs.

DuMouchel et al. 1999, "Squashing flat files flatter". `tests/test_many_points.py` compares it with
fits that are not squashed, and with known truth.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fits.base.numbers import Array, Indices, Mask
from fits.laws.law import Law
from fits.regression.loss import Loss
from fits.regression.profile import Profile
from fits.regression.solver import levenberg_marquardt, minimise, sampled, with_threshold
from fits.spec import Huber

MANY = 5000  # points, beyond which they are squashed
CELLS = 1000  # at most, of one variable; twice as many of several
HELD_OUT_CELLS = 300  # the same where laws are compared, some of which take long
CLUSTERS = 200  # of which points are still told apart along x
LAYERS = 15  # a run above so many others is on no frontier of a bootstrap: .22^15 is 1e-10


def minimise_many(
    law: Law, x: Array, y: Array, weights: Array, loss: Loss, huber: Huber
) -> tuple[Loss, Array, float]:
    """Threshold by a sample, the minimum over all points: the loss, parameters, loss there.

    Args as of `solver.minimise`; points in canonical order, so that a sample spans x evenly.
    """
    some = sampled(len(y))
    few = x[..., some], y[some], weights[some]
    loss = with_threshold(loss, huber, law, *few)
    begin, _ = minimise(law, *few, loss)
    found, losses = levenberg_marquardt(law, x, y, weights[None], begin[:, None], loss=loss)
    if not np.isfinite(losses[0]):  # some point lies where the sample's curve is not above 0
        return loss, *minimise(law, x, y, weights, loss)
    return loss, found[:, 0], float(losses[0])


def squashed(profile: Profile) -> Profile:
    """The profile of cells in place of points; its curve is the same, and is their minimum.

    Args:
      profile: of all points, at its minimum.
    """
    law, weights, loss = profile.law, profile.weights, profile.loss
    cluster, cell = _cells(profile.x, profile.cluster, CELLS * min(profile.x.ndim, 2))
    mass = np.bincount(cell, weights).astype(float)
    logs = np.log(np.atleast_2d(profile.x))
    x = np.exp(np.array([np.bincount(cell, weights * each) for each in logs]) / mass)
    x = x[0] if profile.x.ndim == 1 else x
    psi = loss.psi(profile.residuals) / loss.mean_curvature(profile.residuals, weights)
    residuals = np.bincount(cell, weights * psi) / mass
    curve = law.predict(x, *profile.scaled)
    plain = replace(loss, delta=np.inf)
    jacobian = plain.jacobian(law.derivatives(x, *profile.scaled), curve)
    free = jacobian[_free(profile)] * np.sqrt(mass)
    if len(free):  # what grouping left of a gradient
        taken = np.linalg.lstsq(free.T, residuals * np.sqrt(mass), rcond=1e-9)[0]
        residuals = residuals - (taken @ free) / np.sqrt(mass)
    first = np.unique(cell, return_index=True)[1]
    return Profile(
        law=law,
        x=x,
        y=curve * np.exp(-residuals) if loss.log else curve - residuals,
        weights=mass,
        cluster=np.unique(cluster[first], return_inverse=True)[1].ravel(),
        loss=plain,
        unit=profile.unit,
        scaled=profile.scaled,
        minimum=float((mass * residuals**2).sum() / 2),
    )


def sample_of(profile: Profile) -> Profile:
    """Some of the points, with the curve of all of them."""
    some = sampled(len(profile.y))
    return replace(
        profile,
        x=profile.x[..., some],
        y=profile.y[some],
        weights=profile.weights[some],
        cluster=np.unique(profile.cluster[some], return_inverse=True)[1].ravel(),
    )


def _free(profile: Profile) -> Mask:
    """The parameters that rest on no bound, [parameters]."""
    law = profile.law
    at = law.to_unconstrained(*profile.scaled)
    with np.errstate(divide="ignore"):
        low, high = law.to_unconstrained(*np.array(law.bounds)).T
    return (at > low) & (at < high)


def merged(
    x: Array, y: Array, weights: Array, loss: Loss, quantile: float | None
) -> tuple[Array, Array, Array]:
    """Cells in place of points before any law is known: x, y and weight of each.

    y is the mean on the scale on which residuals count, or, where outliers must not move it, a
    quantile of the cell's points, interpolated, each point of the same weight.
    """
    most = HELD_OUT_CELLS * min(x.ndim, 2)
    cell = _gridded(np.log(np.atleast_2d(x)), np.zeros(len(y), np.int64), most)
    mass = np.bincount(cell, weights).astype(float)
    logs = np.log(np.atleast_2d(x))
    places = np.exp(np.array([np.bincount(cell, weights * each) for each in logs]) / mass)
    height = np.log(y) if loss.log else y
    if quantile is None:
        value = np.bincount(cell, weights * height) / mass
    else:
        ranked = height[np.lexsort((height, cell))]
        count = np.bincount(cell)
        start, place = np.cumsum(count) - count, quantile * (count - 1)
        low, high = np.floor(place).astype(np.int64), np.ceil(place).astype(np.int64)
        value = ranked[start + low] + (place - low) * (ranked[start + high] - ranked[start + low])
    return places[0] if x.ndim == 1 else places, np.exp(value) if loss.log else value, mass


def _cells(x: Array, cluster: Indices, most: int) -> tuple[Indices, Indices]:
    """Number of each point's cluster, neighbours merged if need be, and of its cell, [points]."""
    logs = np.log(np.atleast_2d(x))
    clusters = int(cluster.max()) + 1
    if clusters == len(cluster):
        cell = _gridded(logs, np.zeros(len(cluster), np.int64), most)
        return cell, cell
    if clusters > CLUSTERS:
        count = np.bincount(cluster)
        centre = np.array([np.bincount(cluster, each) for each in logs]) / count
        cluster = _gridded(centre, np.zeros(clusters, np.int64), CLUSTERS)[cluster]
    return cluster, _gridded(logs, cluster, most)


def _gridded(logs: Array, group: Indices, most: int) -> Indices:
    """A grid over each group's points, as fine as leaves at most so many cells, [points]."""
    low = logs.min(axis=1, keepdims=True)
    place = (logs - low) / np.maximum(np.ptp(logs, axis=1, keepdims=True), 1e-300)
    found = np.unique(group, return_inverse=True)[1].ravel()
    fine = float(max(2, int((most / max(found.max() + 1, 1)) ** (1 / len(logs)))))
    for _ in range(30):
        cell = group
        for each in place:
            step = np.minimum((each * fine).astype(np.int64), int(fine) - 1)
            cell = np.unique(cell * int(fine) + step, return_inverse=True)[1].ravel()
        if cell.max() >= most:
            break
        found, fine = cell, fine * 1.3
    return found


def near_frontier(compute: Array, error: Array) -> Mask:
    """Runs that may be on the frontier of some bootstrap: below all but LAYERS others, [runs].

    The frontier is taken away LAYERS times; a run that is left has at least so many others that
    are no dearer and no worse, one of which each replicate all but surely draws.
    """
    order = np.lexsort((error, compute))
    left, heights = order, error[order]
    kept = np.zeros(len(error), bool)
    for _ in range(LAYERS):
        if not len(left):
            break
        before = np.minimum.accumulate(heights)
        record = np.r_[True, heights[1:] < before[:-1]]
        kept[left[record]] = True
        left, heights = left[~record], heights[~record]
    return kept
