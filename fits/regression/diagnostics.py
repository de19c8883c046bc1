"""Diagnostics: what speaks against trusting a fit. A fit that went badly is still an answer.

What single points do to it is in `outliers.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array, Indices
from fits.laws.law import Law
from fits.regression.loss import coordinate_scale
from fits.regression.outliers import error_unit
from fits.regression.profile import Profile

MEANINGLESS = frozenset(
    {"one_cluster", "no_degrees_of_freedom", "few_points", "few_clusters", "flat", "not_converged"}
)
LARGE = 4.0  # standard deviations of Moran's statistic without autocorrelation
MANY = 1500  # points among which neighbours are looked for


def few_points(law: Law, n: int, clusters: int, misfit: float) -> list[Diagnostic]:
    """Too few to say how sure the numbers are; `misfit` as a share of the error."""
    needs = len(law.parameters)
    numbers: dict[str, float] = {"n": n, "needs": needs}
    if clusters == 1 and n > 1:
        return [Diagnostic("one_cluster", numbers={"n": n})]
    if n == needs:
        return [Diagnostic("no_degrees_of_freedom", numbers={**numbers, "misfit": misfit})]
    if n < 2 * needs:
        return [Diagnostic("few_points", numbers=numbers)]
    if clusters < 4:
        return [Diagnostic("few_clusters", numbers={"n": n, "clusters": clusters})]
    return []


def few_beside(profile: Profile) -> list[Diagnostic]:
    """Of a loss of two sides: too few points on one of them to say where the curve lies.

    Needed are twice as many as parameters; the curve of a quantile goes through as many besides.
    """
    if profile.loss.symmetric:
        return []
    n, needs = len(profile.residuals), len(profile.law.parameters)
    of_quantile = profile.loss.tau is not None
    through = needs if of_quantile else 0
    counts = {
        "below": int((profile.residuals > 0).sum()),
        "above": int((profile.residuals < 0).sum()),
    }
    side = min(counts, key=lambda name: counts[name])
    if counts[side] + through >= 2 * needs:
        return []
    numbers = {"count": counts[side], "n": n, "needs": needs, "quantile": float(of_quantile)}
    return [Diagnostic("few_beside", (side,), numbers)]


def meaningless(law: Law | None, found: Sequence[Diagnostic]) -> Diagnostic | None:
    """The first diagnostic by which the intervals mean nothing: such a law is not to be drawn.

    Too few points or clusters, no fall, a solver that did not converge; or an exponent that is on
    its bound or not identifiable, for then no other parameter is known either.

    Args:
      law: None: of a forecast, which has no parameters.
    """
    roles = {} if law is None else law.roles
    for each in found:
        of_exponent = any(roles.get(name) == "exponent" for name in each.parameters)
        if each.code in MEANINGLESS or (
            of_exponent and each.code in ("on_bound", "not_identifiable")
        ):
            return each
    return None


def flat(profile: Profile) -> list[Diagnostic]:
    """An error that does not fall; a quantity of either way has an exponent of 0 where x varies."""
    if np.ptp(profile.curve) >= 1e-3 * np.abs(profile.curve).max():
        return []
    if profile.law.gives == "y" and np.ptp(np.log(profile.x), axis=-1).max() >= 1e-3:
        return []
    return [Diagnostic("flat")]


def on_bounds(profile: Profile) -> list[Diagnostic]:
    """Parameters that could as well be their bound."""
    each = zip(profile.law.parameters, resting(profile), strict=True)
    return [
        Diagnostic("on_bound", (name,), {"bound": ends[0]}) for name, ends in each if len(ends) == 1
    ]


def unfinished(profile: Profile) -> list[Diagnostic]:
    """A minimisation that ran out of steps: one more would still lower the loss."""
    law, at = profile.law, profile.law.to_unconstrained(*profile.scaled)
    low, high = law.to_unconstrained(*np.array(law.bounds)).T
    psi = profile.loss.psi(profile.residuals) * profile.weights
    downhill = profile.jacobian @ psi
    free = ~((at <= low) & (downhill > 0) | (at >= high) & (downhill < 0))
    rows = (profile.jacobian * np.sqrt(profile.weights))[free]
    size = np.maximum(np.linalg.norm(rows, axis=1), 1e-300)  # so that the step knows no unit
    step = np.linalg.lstsq((rows.T / size), psi / np.sqrt(profile.weights), rcond=1e-9)[0] / size
    gain = float(downhill[free] @ step) / 2
    if gain <= 1e-4 * profile.minimum + 1e-20 * len(psi) * error_unit(profile) ** 2:
        return []
    return [Diagnostic("not_converged", numbers={"gain": gain})]


def resting(profile: Profile) -> list[list[float]]:
    """For each parameter, its bounds that would move no prediction by 1e-6 if it were there."""
    law, found = profile.law, []
    for k, bounds in enumerate(law.bounds):
        ends = []
        for bound in filter(np.isfinite, bounds):
            moved = profile.scaled.copy()
            moved[k] = bound
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                if np.abs(law.predict(profile.x, *moved) / profile.curve - 1).max() < 1e-6:
                    ends.append(bound)
        found.append(ends)
    return found


def floor_unknown(
    law: Law, intervals: Sequence[tuple[float, float]], level: float, lowest: float
) -> list[Diagnostic]:
    """An interval of the floor wider than half the lowest error fitted says next to nothing."""
    if law.floor is None:
        return []
    low, high = intervals[law.parameters.index(law.floor)]
    if high - low <= lowest / 2:
        return []
    numbers = {"level": level, "low": low, "high": high, "lowest": lowest}
    return [Diagnostic("floor_not_identifiable", (law.floor,), numbers)]


def not_identifiable(
    profile: Profile, intervals: Sequence[tuple[float, float]]
) -> list[Diagnostic]:
    """Parameters that could be almost anything while others make up for it.

    Either to first order, whatever the noise: some combination of coordinates moves no point. Or
    because the loss hardly grows with a value however large, or however near to 0.
    """
    law = profile.law
    scale = coordinate_scale(law, law.to_unconstrained(*profile.scaled))
    rows = profile.jacobian * np.sqrt(profile.weights) * scale[:, None]
    size = np.linalg.norm(rows, axis=1)
    seen = size > 1e-6 * size.max()
    _, strengths, ways = np.linalg.svd(rows[seen].T / size[seen], full_matrices=False)
    weak = np.zeros(len(size), bool)
    weak[seen] = (np.abs(ways[strengths < 1e-6 * strengths[0]]) > 0.1).any(axis=0)
    weak |= ~seen
    at_bound = resting(profile)
    names = [
        name
        for k, (name, (bottom, _), (low, high)) in enumerate(
            zip(law.parameters, law.bounds, intervals, strict=True)
        )
        if len(at_bound[k]) == 2
        or (not at_bound[k] and (weak[k] or (bottom > 0 and (low <= 0 or not np.isfinite(high)))))
    ]
    if not names:
        return []
    return [Diagnostic("not_identifiable", tuple(names))]


def autocorrelated(profile: Profile, rows: Indices) -> list[Diagnostic]:
    """A law that has the data's shape leaves residuals that know nothing of their neighbours.

    Neighbours are points of like x, and points that were handed in one after another: those of a
    learning curve mostly are. Where there are several variables, points that follow one another
    along one of them while the others stay alike.

    Args:
      rows: where each point was among those handed in, [points].
    """
    residuals = _amid_the_points(profile)
    power = (residuals**2).sum()
    if power < 1e-12 * len(profile.y) * error_unit(profile) ** 2:
        return []
    if profile.x.ndim > 1:
        return _autocorrelated_along(profile, residuals)
    along = _products(residuals, profile.x), _products(residuals, rows)
    correlation = max(along) / power
    by_chance = min(0.5, 3 / np.sqrt(len(residuals)))  # reached once in hundreds of sound studies
    if correlation < by_chance:
        return []
    return [Diagnostic("autocorrelated", numbers={"correlation": float(correlation)})]


def _amid_the_points(profile: Profile) -> Array:
    """The residuals, of a curve amid the points, [points].

    Where the loss is not symmetric the curve lies beside them: about a quantile of 10 % the mean
    residual is 1.28 standard deviations, which neighbours share without being correlated, and more
    where the noise is larger. Such residuals are those of least squares, by the curve's tangent
    plane and a constant. Of 3,600 sound studies of the quantiles of 10 and 90 %, half of them with
    noise that grew or shrank 3 or 10 times along x, 18 had a diagnostic; of 1,800 of squares, 9.
    """
    residuals, roots = profile.residuals, np.sqrt(profile.weights)
    if profile.loss.symmetric:
        return residuals
    rows = np.concatenate([profile.jacobian, np.ones((1, len(residuals)))])
    design = (rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-300) * roots).T
    moved, *_ = np.linalg.lstsq(design, residuals * roots, rcond=1e-9)
    return residuals - design @ moved / roots


def _products(residuals: Array, place: Array | Indices) -> float:
    """Sum of the products of neighbours; where places are equal, its mean over their orders."""
    group = np.unique(place, return_inverse=True)[1].ravel()
    count, total = np.bincount(group), np.bincount(group, residuals)
    within = (total**2 - np.bincount(group, residuals**2)) / count
    mean = total / count
    return float(within.sum() + (mean[1:] * mean[:-1]).sum())


def _autocorrelated_along(profile: Profile, residuals: Array) -> list[Diagnostic]:
    """Variables along which the residuals of a law of several are autocorrelated: Moran's I.

    The sum over neighbours of the products of their residuals, less its mean where errors are
    independent, in its standard deviations. Source: Moran 1950; of residuals, Cliff and Ord 1972.
    """
    if not 2 * len(profile.scaled) < len(profile.y) <= MANY:
        return []
    roots = np.sqrt(profile.weights)
    residuals = residuals * roots
    rows = profile.jacobian * roots
    rows /= np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-300)
    left, strengths, _ = np.linalg.svd(rows.T, full_matrices=False)
    basis = left[:, strengths > 1e-9 * strengths[0]]
    noise = (residuals**2).sum() / (len(residuals) - basis.shape[1])
    named = []
    for k, name in enumerate(profile.law.variables):
        following = _following(profile.x, k)
        if following.any(axis=1).sum() < 10:
            continue
        pairs = (following + following.T) / 2
        shared = pairs @ basis
        held = basis.T @ shared
        mean = -noise * np.trace(held)
        equal = noise**2 * ((pairs**2).sum() - 2 * (shared**2).sum() + (held**2).sum())
        unequal = (pairs**2 * np.outer(residuals**2, residuals**2)).sum()
        deviation = np.sqrt(2 * max(equal, unequal))
        if residuals @ pairs @ residuals - mean > LARGE * deviation:
            named.append(name)
    if not named:
        return []
    return [Diagnostic("autocorrelated_along", tuple(named))]


def _following(x: Array, k: int) -> Array:
    """Which point comes next along variable k, the others alike; of several a share each.

    [points, points], a row each, of sum 1 or, where none comes next, 0.
    """
    place = np.log(x)
    place = place / np.maximum(np.ptp(place, axis=1, keepdims=True), 1e-300)
    further = place[k] - place[k][:, None]
    aside = sum(np.abs(each - each[:, None]) for v, each in enumerate(place) if v != k)
    far = np.where(further > 1e-6, further + 5 * aside, np.inf)
    nearest = far.min(axis=1, keepdims=True)
    next_ones = (far == nearest) & (nearest < 0.5)
    return next_ones / np.maximum(next_ones.sum(axis=1, keepdims=True), 1)


def extrapolates(
    law: Law, x: float | Array, first: float | Array, last: float | Array
) -> list[Diagnostic]:
    """How far `x` lies outside the points fitted, a diagnostic a variable."""
    found = []
    each = np.broadcast_arrays(*(np.atleast_1d(v) for v in (x, first, last)))
    for name, at, low, high in zip(law.variables, *(v.tolist() for v in each), strict=True):
        if low <= at <= high:
            continue
        edge, times = (high, at / high) if at > high else (low, low / at if at else np.inf)
        found.append(Diagnostic("extrapolates", (name,), {"at": at, "edge": edge, "times": times}))
    return found
