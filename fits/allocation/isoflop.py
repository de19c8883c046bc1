"""The best size by profiles at equal compute (approach 2 of Hoffmann et al. 2022), "IsoFLOP".

Assumes that about its lowest point a profile is a parabola in log N.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fits.allocation.allocation import BY_PROFILES, EQUAL, LineOfSizes, Trainings
from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array
from fits.spec import REPLICATES, SEED

LEAST_SIZES = 5  # of a profile: a parabola has three numbers, the drift of compute one


@dataclass(frozen=True, kw_only=True, eq=False)
class IsoFLOP(LineOfSizes):
    """The line through the minima of profiles.

    Fields:
      replicates: `values` of each bootstrap replicate, [replicates, 2].
    """

    replicates: Array
    method: str = BY_PROFILES

    def _reach(self, basis: Array, level: float) -> float:
        return float(np.quantile(np.abs((self.replicates - self.values) @ basis), level))


def isoflop(
    runs: Trainings,
    *,
    budgets: Sequence[float] | None = None,
    equal: float = EQUAL,
    replicates: int = REPLICATES,
    seed: int = SEED,
) -> IsoFLOP:
    """Approach 2: at each of several budgets a parabola in log N; a line through their minima.

        L = lowest + curvature ln(N / best)^2 + drift ln(C / budget)

    The last term allows for runs of a budget that did not spend exactly the same. Budgets whose
    best size is outside the sizes tried are left out, with a diagnostic. Intervals: a residual
    bootstrap of the parabolas, with residuals scaled by their degrees of freedom, and widened where
    best sizes vary about the line by more than that explains.

    Args:
      budgets: computes of the profiles; None: wherever many sizes were given about the same.
      replicates: of the bootstrap.
      seed: of its draws.
      equal: runs within this factor from end to end belong to one budget.

    Raises:
      ValueError: fewer than two budgets have a minimum.
    """
    every = _profiles(runs, budgets, equal)
    profiles, beyond = [p for p in every if p.inside], [p for p in every if not p.inside]
    if len(profiles) < 2:
        raise ValueError(
            f"{len(profiles)} budgets have a best size among at least {LEAST_SIZES} sizes within "
            f"{equal:g} times one compute; give more sizes at equal compute, or name --budgets."
        )
    rng = np.random.default_rng(seed)
    freedom = sum(len(p.residuals) - p.terms for p in profiles)
    pooled = np.concatenate([p.residuals / p.typical for p in profiles])
    noise = np.sqrt((pooled**2).sum() / max(freedom, 1))
    pooled = pooled / np.sqrt((pooled**2).mean()) * noise if noise > 0 else pooled
    drawn = np.stack([p.redraw(rng, pooled, replicates) for p in profiles], axis=1)
    place = np.log([p.budget for p in profiles])
    centre = float(place.mean())
    best = np.array([p.best for p in profiles])
    variance = np.maximum(drawn.var(axis=0), 1e-12)
    values, left = _weighted(place - centre, best[None], variance)
    chi = float((left**2 / variance).sum())
    spread = np.sqrt(max(chi / max(len(best) - 2, 1), 1.0))
    lines, _ = _weighted(place - centre, best + (drawn - best) * spread, variance)
    return IsoFLOP(
        best=(np.exp(place), np.exp(best)),
        centre=centre,
        values=values[0],
        replicates=lines,
        diagnostics=_diagnostics(profiles, beyond, freedom),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Profile:
    """Runs of one budget, and the parabola through them."""

    budget: float
    design: Array
    residuals: Array
    fitted: Array
    typical: float
    best: float
    inside: bool
    skew: float
    skew_error: float

    @property
    def terms(self) -> int:
        return self.design.shape[1]

    def redraw(self, rng: np.random.Generator, pooled: Array, replicates: int) -> Array:
        """Logarithm of the best size in each replicate, [replicates]."""
        noise = rng.choice(pooled, size=(replicates, len(self.fitted))) * self.typical
        inverse = np.linalg.pinv(self.design)
        terms = (self.fitted + noise) @ inverse.T
        middle = lowest(inverse @ self.fitted)
        reach = 3 * np.ptp(self.design[:, 1])
        away = reach * rng.choice([-1.0, 1.0], size=replicates)  # where noise leaves no valley
        valley = terms[:, 2] > 0
        found = np.where(valley, lowest(np.where(valley, terms.T, 1.0)), middle + away)
        return np.clip(found, middle - reach, middle + reach) - middle + self.best


def lowest(terms: Array) -> Array:
    """Where a parabola of terms 1, n, n^2 (and others that know no n) has its lowest point."""
    return -terms[1] / (2 * terms[2])


def _profiles(runs: Trainings, budgets: Sequence[float] | None, equal: float) -> list[_Profile]:
    compute, size = np.log(runs.compute), np.log(runs.size)
    half = np.log(equal) / 2
    centres = np.log(budgets) if budgets is not None else _crowded(compute, size, half)
    found = []
    for centre in centres:
        mine = np.flatnonzero(np.abs(compute - centre) <= half)
        if len(np.unique(size[mine])) >= LEAST_SIZES:
            found.append(_profile(centre, size[mine], compute[mine], runs.loss[mine]))
    return found


def _crowded(compute: Array, size: Array, half: float) -> list[float]:
    """Computes about which the most different sizes were tried, no two so near that they share."""
    order = np.sort(compute)
    counts = [
        len(np.unique(size[(compute >= left) & (compute <= left + 2 * half)])) for left in order
    ]
    taken: list[float] = []
    for k in np.argsort(counts)[::-1]:
        if counts[k] < LEAST_SIZES:
            break
        mine = compute[(compute >= order[k]) & (compute <= order[k] + 2 * half)]
        centre = float((mine.min() + mine.max()) / 2)
        if all(abs(centre - other) > 2 * half for other in taken):
            taken.append(centre)
    return sorted(taken)


def _profile(centre: float, size: Array, compute: Array, loss: Array) -> _Profile:
    middle = size.mean()
    n, drift = size - middle, compute - centre
    columns = [np.ones_like(n), n, n**2]
    if np.ptp(drift) > 1e-9 and len(n) > 4:
        columns.append(drift)
    design = np.stack(columns, axis=1)
    terms = np.linalg.pinv(design) @ loss
    fitted = design @ terms
    best = float(lowest(terms)) + middle if terms[2] > 0 else np.inf
    skew, skew_error = _skew(np.column_stack([design, n**3]), loss)
    return _Profile(
        budget=float(np.exp(centre)),
        design=design,
        residuals=loss - fitted,
        fitted=fitted,
        typical=float(loss.min()),
        best=best,
        inside=bool(size.min() < best < size.max()),
        skew=skew,
        skew_error=skew_error,
    )


def _skew(design: Array, loss: Array) -> tuple[float, float]:
    """The cubic term, and its standard error; infinite where too few points could tell."""
    freedom = len(loss) - design.shape[1]
    if freedom < 1:
        return 0.0, np.inf
    terms, *_ = np.linalg.lstsq(design, loss, rcond=None)
    variance = ((loss - design @ terms) ** 2).sum() / freedom
    error = np.sqrt(variance * np.linalg.pinv(design.T @ design)[-1, -1])
    return float(terms[-1]), max(float(error), 1e-300)


def _weighted(x: Array, y: Array, variance: Array) -> tuple[Array, Array]:
    """Lines through rows of y, [rows, 2], and what they leave, [rows, points]."""
    design = np.stack([np.ones_like(x), x], axis=1)
    weighted = design / variance[:, None]
    lines = y @ weighted @ np.linalg.inv(design.T @ weighted)
    return lines, y - lines @ design.T


def _diagnostics(
    profiles: list[_Profile], beyond: list[_Profile], freedom: int
) -> tuple[Diagnostic, ...]:
    found = []
    if beyond:
        where = tuple(p.budget for p in beyond)
        found.append(Diagnostic("profiles_without_minimum", numbers={"compute": where}))
    sure = [p for p in profiles if np.isfinite(p.skew_error)]
    if sure:
        weights = np.array([p.skew_error**-2 for p in sure])
        mean = float((weights * [p.skew for p in sure]).sum() / weights.sum())
        errors = abs(mean) * float(np.sqrt(weights.sum()))
        if errors > 3:
            numbers = {"cubic": mean, "standard_errors": errors}
            found.append(Diagnostic("profiles_not_parabolic", numbers=numbers))
    if freedom < 2 * len(profiles):
        numbers = {"freedom": freedom, "profiles": len(profiles)}
        found.append(Diagnostic("profiles_of_few_sizes", numbers=numbers))
    return tuple(found)
