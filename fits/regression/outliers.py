"""Outliers: points that the others do not predict, single ones or an end, and influential ones.

Outliers drag the curve towards themselves and inflate the residual variance, so that they mask one
another. So they are compared with a fit to the other points. Thresholds are such that of a hundred
sound studies two at most get a diagnostic of a kind; each function says what simulated ones got.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array, Indices, Mask
from fits.regression.profile import Profile, profile_of
from fits.regression.solver import levenberg_marquardt, minimise

AHEAD = 10.0  # times the largest x fitted: where predictions are compared
DECIDES = 0.92  # of what leaving out each run in turn does: 1 in 50 sound studies reach it
NEAR = 4.0  # standard deviations from the curve of least absolute errors that are no outliers
FAR = 4.5  # from the curve of the other points, that are no accident
APART = 3.5  # standard deviations of what sets the runs at an end apart by chance
LARGEST = np.log(1e6)  # size of the logarithm of a factor at an end
LEAST_CLUSTERS = 5  # at an end, whose variance is to be known
TURNS = 6  # of law and factor, which settle in three or four
SPARE = 4  # points beyond the parameters, without which the others predict nothing
ALONE = 0.995  # level of what the other points allow the forecast


def off_the_curve(profile: Profile) -> list[Diagnostic]:
    """Up to a third of the points, too far off the curve to be of one kind with the others.

    The curve of least absolute errors, which they can hardly move, says which are suspect; a fit to
    the others, how far these lie off. Of 150 sound studies of each of a dozen kinds none to two had
    such points; of 40 with learning curves, none.
    """
    needs, count = len(profile.scaled), len(profile.y)
    if count < 2 * needs:
        return []
    curve, noise = _least_absolute(profile)
    residuals = profile.loss.residuals(curve, profile.y) * np.sqrt(profile.weights)
    if noise.max() < 1e-9 * error_unit(profile):
        return []
    kept = np.abs(residuals) < NEAR * noise
    if kept.all() or kept.sum() < max(2 * needs, count / 2):
        return []
    rest = _only(profile, kept)
    curve = profile.law.predict(profile.x, *rest.scaled)
    residuals = profile.loss.residuals(curve, profile.y)
    residuals = residuals * np.sqrt(profile.weights)
    freedom = int(kept.sum()) - needs
    size = np.sqrt(((residuals[kept] / noise[kept]) ** 2).sum() / freedom) * noise
    known = min(freedom, max(len(np.unique(profile.cluster[kept])) - needs, 1))
    off = ~kept & (_normal(np.abs(residuals) / size, known) > FAR)
    numbers = {"n": count, "huber": float(np.isfinite(profile.loss.delta))}
    return [
        Diagnostic(code, profile.law.variables, {**numbers, **_places(profile, which)})
        for code, which in (
            ("outliers_above", off & (residuals < 0)),
            ("outliers_below", off & (residuals > 0)),
        )
        if which.any()
    ]


def _least_absolute(profile: Profile) -> tuple[Array, Array]:
    """The curve that the larger part of the points agrees on; standard deviations of their noise.

    Huber's loss with a threshold far below the noise is next to the sum of absolute errors.
    """
    law, loss, roots = profile.law, profile.loss, np.sqrt(profile.weights)
    x, y, weights = profile.x, profile.y, profile.weights
    freedom, least = 1 - len(profile.scaled) / len(y), 1e-9 * error_unit(profile)

    def off(curve: Array) -> Array:
        return np.abs(loss.residuals(curve, y)) * roots

    def size(curve: Array) -> float:
        return 2.32 * float(np.quantile(off(curve), 1 - 2 * freedom / 3))  # a third is below .43

    near = replace(loss, delta=max(size(profile.curve), least))
    values, _ = minimise(law, x, y, weights, near)
    curve = law.predict(x, *values)
    for _ in range(2):
        near = replace(loss, delta=max(0.3 * size(curve), least))
        found, _ = levenberg_marquardt(
            law, x, y, weights[None], values[:, None], loss=near, gain=1e-6
        )
        values = found[:, 0]
        curve = law.predict(x, *values)
    return curve, _growing(profile, off(curve), size(curve))


def _growing(profile: Profile, residuals: Array, size: float) -> Array:
    """Standard deviations that change evenly along each variable, of about `size`, [points].

    In logarithms no outlier can make the noise around it seem large.
    """
    least = np.maximum(residuals, 0.1 * size + 1e-300)
    height = np.log(np.minimum(least, 3 * size + 1e-300))
    places = np.log(np.atleast_2d(profile.x))
    places = (places - places.mean(axis=1, keepdims=True)).T
    slope = np.linalg.lstsq(places, height - height.mean(), rcond=1e-9)[0]
    change = np.exp(places @ slope)
    return change * size / np.median(change)


def _only(profile: Profile, rows: Mask) -> Profile:
    """Some of the points, and the curve that is nearest to these."""
    points = profile.x[..., rows], profile.y[rows], profile.weights[rows], profile.cluster[rows]
    return profile_of(profile.law, *points, profile.loss, profile.unit)


def error_unit(profile: Profile) -> float:
    """What residuals are counted in: shares of the error, or its own unit."""
    return 1.0 if profile.loss.log else float(np.exp(np.log(profile.y).mean()))


def _normal(t: Array, freedom: int) -> Array:
    """A normal number as rare as a Student's t (Wallace 1959)."""
    part = (8 * freedom + 1) / (8 * freedom + 3)
    return part * np.sqrt(freedom * np.log1p(np.square(t) / freedom))


def off_at_an_end(profile: Profile) -> list[Diagnostic]:
    """Runs at the low or the high end of a variable that the law of the others does not predict.

    Those at an end, about a sixth or a third of all, may lie above the law or below by a factor of
    their own, fitted with it: of the ends where that lowers the loss by more than chance does, the
    one that lowers it most is named. Of 150 sound studies of each of five kinds none or one had
    such an end.
    """
    law, count, needs = profile.law, len(profile.y), len(profile.scaled) + 1
    if profile.x.ndim == 1 or count < needs + 4:
        return []
    if np.sqrt((profile.residuals**2).mean()) < 1e-9 * error_unit(profile):  # rounding, not noise
        return []
    ends = [
        (name, *end)
        for name, values in zip(law.variables, profile.x_in_ones, strict=True)
        for end in _ends(values)
    ]
    ends = [end for end in ends if len(np.unique(profile.cluster[end[-1]])) >= LEAST_CLUSTERS]
    if not ends:
        return []
    factors, likely = _apart(profile, np.array([rows for *_, rows in ends]))
    first = int(np.argmax(likely))
    if likely[first] < APART:
        return []
    (name, which, edge, _), factor = ends[first], float(factors[first])
    relative = profile.loss.log
    numbers = {
        "edge": edge,
        "by": abs(float(np.expm1(factor))) if relative else abs(factor),
        "relative": float(relative),
    }
    return [Diagnostic(f"{which}_{'above' if factor > 0 else 'below'}", (name,), numbers)]


def _ends(values: Array) -> list[tuple[str, float, Mask]]:
    """About a sixth and a third of the points, the least and the largest; which end, its edge."""
    found: dict[tuple[str, float], Mask] = {}
    ranked = np.sort(values)
    for share in (6, 3):
        k = int(np.ceil(len(values) / share)) - 1
        for which, edge in (("smallest", ranked[k]), ("largest", ranked[-1 - k])):
            rows = (
                values <= edge * (1 + 1e-9) if which == "smallest" else values >= edge * (1 - 1e-9)
            )
            if rows.sum() <= len(values) / 2:
                found[which, float(edge)] = rows
    return [(which, edge, rows) for (which, edge), rows in found.items()]


def _apart(profile: Profile, ends: Mask) -> tuple[Array, Array]:
    """How far above the law some points lie, fitted with it, and how sure it is that they do.

    Args:
      ends: the points, [ends, points].

    Returns:
      Logarithms of factors (or differences); and normal numbers as rare as the loss's fall, or as
      the factor against its cluster-robust standard error, whichever is the less, [ends].
    """
    law, loss, weights = profile.law, profile.loss, profile.weights
    roots, freedom = np.sqrt(weights), len(profile.y) - len(profile.scaled) - 1
    factors = np.zeros(len(ends))
    values = np.repeat(profile.scaled[:, None], len(ends), axis=1)
    for _ in range(TURNS):
        away = factors[:, None] * ends
        y = profile.y * np.exp(-away) if loss.log else profile.y - away
        rows = np.broadcast_to(weights, y.shape)
        values, losses = levenberg_marquardt(law, profile.x, y, rows, values, loss=loss, gain=1e-6)
        curve = law.predict(profile.x, *values[..., None])
        jacobian = loss.jacobian(law.derivatives(profile.x, *values[..., None]), curve)
        jacobian = jacobian.transpose(1, 2, 0) * roots[:, None]
        jacobian = jacobian / np.linalg.norm(jacobian, axis=1, keepdims=True).clip(1e-300)
        left, strengths, _ = np.linalg.svd(jacobian, full_matrices=False)
        left = left * (strengths > 1e-9 * strengths[:, :1])[:, None]
        free = ends * roots  # what of the factor no parameter can do
        free = free - (left @ (left.transpose(0, 2, 1) @ free[..., None]))[..., 0]
        power = np.maximum((free**2).sum(axis=1), 1e-12)
        psi = loss.psi(loss.residuals(curve, y)) * roots
        last, factors = factors, factors - (free * psi).sum(axis=1) / power
        if loss.log:  # where the parameters do nearly all that a factor can, steps have no end
            factors = np.clip(factors, -LARGEST, LARGEST)
    factors = last
    inside = np.maximum(np.mean(np.abs(psi) <= loss.delta * roots, axis=1), 0.1)
    noise = (psi**2).sum(axis=1) / freedom / inside
    falls = np.sqrt(2 * np.maximum(profile.minimum - losses, 0) / np.maximum(noise, 1e-300))
    sums = np.array([np.bincount(profile.cluster, each) for each in free * psi])
    even = np.maximum(noise * inside * power, 1e-300)
    uneven = np.sqrt((sums**2).sum(axis=1) / even).clip(1.0)
    return factors, _normal(falls / uneven, freedom)


def influential(
    profile: Profile, ahead: Array, without: Array, width: Callable[[], float]
) -> list[Diagnostic]:
    """An influential run: without it, a prediction would be another.

    Either the prediction lies outside the interval of the other runs alone (as Hausman 1978
    compares two estimates); tried are the run that moves the prediction most, and that without
    which the others agree best. Or it moves the prediction more than all others do, left out in
    turn and taken together, and by no less than a sixth of the prediction's interval, or a tenth if
    the others do not predict it. Of 150 sound studies of each of five kinds none had such a run.

    Args:
      ahead: x of the prediction.
      without: parameters fitted without each of the points, [points, parameters].
      width: of the prediction's interval, as a logarithm; 0 where it has no end.
    """
    law, each = profile.law.whole or profile.law, without.T[..., None]
    needs = len(profile.scaled)
    if len(without) < needs + SPARE:
        return []
    forecasts = law.predict(ahead[..., None], *without.T)
    x = profile.x_in_ones[..., None, :]
    residuals = profile.loss.residuals(law.predict(x, *each), profile.y)
    others = profile.weights * (1 - np.eye(len(without)))
    losses = (others * profile.loss.rho(residuals)).sum(axis=1)
    made = float(np.ravel(law.predict(ahead, *profile.values))[0])
    if not (forecasts > 0).all() or not made > 0 or not profile.cluster.any():
        return []

    def forecast(values: Array, which: Indices) -> Array:
        return np.log(np.maximum(law.predict(ahead[..., None], *values), 1e-300))

    moved = np.abs(np.log(forecasts / made))
    first = int(np.argmax(moved))
    other, parts = made, 6
    for run in dict.fromkeys((first, int(np.argmin(losses)))):
        rest = _only(profile, np.arange(len(moved)) != run)
        alone = float(np.ravel(law.predict(ahead, *rest.values))[0])
        if run == first and _off(rest, profile, first):
            parts = 10
        same = alone > 0 and abs(np.log(alone / made)) <= 1e-6
        if same or rest.holds(forecast, profile.scaled, ALONE):
            continue  # an interval is most of the work of a fit
        low, high = rest.interval(forecast, 1, ALONE)
        if not low[0] <= np.log(made) <= high[0]:
            first, other = run, alone
    enough = len(moved) >= 4 * needs
    share = moved[first] ** 2 / max((moved**2).sum(), 1e-300)
    if other == made and enough and share > DECIDES and moved[first] > width() / parts > 0:
        other = float(forecasts[first])
    if other == made:
        return []
    one = np.arange(len(moved)) == first
    numbers = {"ahead": AHEAD, "without": other, "with": made}
    where = _places(profile, one)
    return [Diagnostic("influential", law.variables, {**numbers, **where})]


def _off(rest: Profile, profile: Profile, one: int) -> bool:
    """Whether a run lies farther from the curve of the rest than their residuals allow."""
    loss, freedom = profile.loss, len(rest.y) - len(rest.scaled)
    curve = rest.law.predict(profile.x[..., one : one + 1], *rest.scaled)
    away = abs(float(loss.residuals(curve, profile.y[one : one + 1])[0]))
    size = np.sqrt((rest.weights * rest.residuals**2).sum() / freedom / profile.weights[one])
    return bool(away > FAR * size)


def _places(profile: Profile, which: Mask) -> dict[str, float | tuple[float, ...]]:
    """How many points, and the x of at most three, one tuple a variable."""
    first = np.atleast_2d(profile.x_in_ones)[:, which][:, :3]
    named = zip(profile.law.variables, first.tolist(), strict=True)
    return {"count": int(which.sum()), **{name: tuple(values) for name, values in named}}
