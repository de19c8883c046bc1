"""In words, what speaks against trusting a fit. A fit that went badly is still an answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fits.laws import Array, Law
from fits.profile import Profile

AHEAD = 10.0  # times the largest x fitted: how far a forecast is asked to hold
DECIDES = 0.92  # of what leaving out each run in turn does: 1 in 50 sound studies reach it
FAR = 6.0  # standard deviations from the curve that are no accident


def few_points(law: Law, n: int, groups: int) -> list[str]:
    needs = len(law.parameters)
    if n == needs:
        return [
            f"{n} points for {needs} parameters: the curve goes through every point and the "
            "intervals mean nothing"
        ]
    if n < 2 * needs:
        return [f"{n} points for {needs} parameters: too few to trust the intervals"]
    if groups < 4:
        return [
            f"the {n} points come in {groups} independent groups: too few to say how sure the "
            "numbers are"
        ]
    return []


def flat(profile: Profile) -> list[str]:
    curve = profile.law.predict(profile.x, *profile.scaled)
    if np.ptp(curve) >= 1e-3 * np.abs(curve).max():
        return []
    return ["the error does not fall with x, so the exponent means nothing"]


def on_bounds(profile: Profile) -> list[str]:
    """Parameters that could as well be their bound."""
    told = zip(profile.law.parameters, resting(profile), strict=True)
    return [f"{name} rests on its bound {ends[0]:g}" for name, ends in told if len(ends) == 1]


def unfinished(profile: Profile) -> list[str]:
    """A descent that ran out of steps: one more, along the loss's own slope, would pay."""
    law, at = profile.law, profile.law.fold(*profile.scaled)
    low, high = law.fold(*np.array(law.bounds)).T
    pull = profile.measure.pull(profile.residuals) * profile.weights
    downhill = profile.slopes @ pull
    free = ~((at <= low) & (downhill > 0) | (at >= high) & (downhill < 0))
    rows = (profile.slopes * np.sqrt(profile.weights))[free]
    step = np.linalg.lstsq(rows.T, pull / np.sqrt(profile.weights), rcond=1e-9)[0]
    gain = float(downhill[free] @ step) / 2
    if gain <= 1e-4 * profile.loss + 1e-20 * len(pull):
        return []
    return [f"the search stopped before the minimum: the loss could still fall by {gain:.2g}"]


def resting(profile: Profile) -> list[list[float]]:
    """For each parameter, its bounds that would move no prediction by 1e-6 if it were there."""
    law, curve = profile.law, profile.law.predict(profile.x, *profile.scaled)
    found = []
    for k, bounds in enumerate(law.bounds):
        ends = []
        for bound in filter(np.isfinite, bounds):
            moved = profile.scaled.copy()
            moved[k] = bound
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                if np.abs(law.predict(profile.x, *moved) / curve - 1).max() < 1e-6:
                    ends.append(bound)
        found.append(ends)
    return found


def floor_unknown(
    law: Law, intervals: Sequence[tuple[float, float]], level: float, lowest: float
) -> list[str]:
    """An interval of the floor wider than half the lowest error fitted says next to nothing."""
    if law.floor is None:
        return []
    low, high = intervals[law.parameters.index(law.floor)]
    if high - low <= lowest / 2:
        return []
    return [
        f"the floor is not identified: the {100 * level:g} % interval of {law.floor} is "
        f"[{low:.2g}, "
        f"{high:.2g}], and the lowest error fitted is {lowest:.2g}"
    ]


def not_identified(profile: Profile, intervals: Sequence[tuple[float, float]]) -> list[str]:
    """Parameters that could be almost anything while others make up for it.

    Either to first order, whatever the noise: some combination of coordinates moves no point. Or
    because the points, such as they are, object to no value however large, or however near to 0.
    """
    law = profile.law
    rows = profile.slopes * np.sqrt(profile.weights)
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
    are = "is" if len(names) == 1 else "are"
    return [
        f"{', '.join(names)} {are} not identified: quite other values, with the others to suit, "
        "fit these points as well"
    ]


def off_the_curve(profile: Profile) -> list[str]:
    """Points that lie too far above the curve, or below, to be of one kind with the others."""
    residuals = profile.residuals * np.sqrt(profile.weights)
    away = 1.4826 * np.median(np.abs(residuals))
    if away < 1e-9 or len(residuals) < 2 * len(profile.scaled):
        return []
    advice = "Leave them out" + ", or fit with huber" * bool(np.isinf(profile.measure.huber))
    said = []
    for which, where, cause in (
        (residuals < -FAR * away, "above", "undertrained or failed runs?"),
        (residuals > FAR * away, "below", "another metric, or another unit?"),
    ):
        if count := int(which.sum()):
            said.append(
                f"{count} of {len(residuals)} points lie far {where} the curve "
                f"({_places(profile, which)}): {cause} {advice}"
            )
    return said


def _places(profile: Profile, which: Array) -> str:
    """The x of some points, at most three."""
    x = profile.x * profile.unit if profile.x.ndim == 1 else profile.x * profile.unit[:, None]
    rows = np.atleast_2d(x)[:, which].T[:3]
    names = profile.law.variables
    told = [", ".join(f"{n} = {v:.3g}" for n, v in zip(names, row, strict=True)) for row in rows]
    return "; ".join(told) + ("; ..." if which.sum() > 3 else "")


def bends_otherwise(profile: Profile) -> list[str]:
    """A law that has the data's shape leaves residuals that know nothing of their neighbours.

    Neighbours are points of like x, and points that were handed in one after another: those of a
    learning curve mostly are.
    """
    if profile.x.ndim > 1:
        return []
    residuals = profile.residuals
    power = (residuals**2).sum()
    along = residuals[np.argsort(profile.x, kind="stable")], residuals
    correlation = max((each[1:] * each[:-1]).sum() for each in along) / max(power, 1e-300)
    by_chance = min(0.5, 3 / np.sqrt(len(residuals)))  # reached once in hundreds of sound studies
    if correlation < by_chance or power < 1e-12 * len(residuals):
        return []
    return [
        f"neighbouring points lie on the same side of the curve (correlation {correlation:.2f}): "
        "the law bends otherwise than the data, or the points are not independent; the intervals "
        "are too narrow, unless the fit is told which points belong together"
    ]


def decided_by_one(
    profile: Profile, ahead: Array, forecasts: Array, band: tuple[Array, Array]
) -> list[str]:
    """A run that the forecast hangs on: without it, it would be another.

    Either it would leave its own interval; or it would move more than with all other runs left out
    in turn, taken together, and by no less than a sixth of that interval.

    Args:
      ahead: where the forecast is asked for.
      forecasts: without each of the points fitted, [points].
      band: the forecast's interval.
    """
    low, high = (float(np.ravel(end)[0]) for end in band)
    forecasts = np.ravel(forecasts)
    made = float(np.ravel(profile.law.predict(ahead, *profile.values))[0])
    width = np.log(high / low) if low > 0 and np.isfinite(high) else 0.0
    if width < 1e-6 or not (forecasts > 0).all():
        return []
    moved = np.abs(np.log(forecasts / made))
    first = int(np.argmax(moved))
    outside = not low <= forecasts[first] <= high
    alone = moved[first] ** 2 > DECIDES * (moved**2).sum() and moved[first] > width / 6
    if not (outside or alone):
        return []
    one = np.arange(len(forecasts)) == first
    return [
        f"one run decides: without that at {_places(profile, one)} the forecast at "
        f"{AHEAD:g} times the largest x would be {forecasts[first]:.3g}, not {made:.3g}"
    ]


def beyond(law: Law, x: float | Array, first: float | Array, last: float | Array) -> str | None:
    """In words how far `x` lies outside the points fitted; None where it lies among them."""
    said = []
    each = np.broadcast_arrays(*(np.atleast_1d(v) for v in (x, first, last)))
    for name, at, low, high in zip(law.variables, *each, strict=True):
        if low <= at <= high:
            continue
        side, factor = ("above", at / high) if at > high else ("below", low / at)
        edge = "largest" if at > high else "smallest"
        said.append(f"{name} = {at:g} is {factor:.3g} times {side} the {edge} {name} fitted")
    return "; ".join(said) or None
