"""The best size by profiles at equal compute (approach 2 of Hoffmann et al. 2022), "IsoFLOP".

Assumes that about its lowest point a profile is a smooth valley in log N; `profile_forms.py` says
which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fits.allocation.allocation import BY_PROFILES, EQUAL, LineOfSizes, Trainings
from fits.allocation.profile_forms import FORMS, FormsOf, Profile, noise_of, settled
from fits.allocation.profiles import LEAST_SIZES, profiles
from fits.base.counted import counted
from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array
from fits.spec import REPLICATES, SEED

SURE = 2.0  # standard deviations about the line, by which a best size lies among those tried
MEDIAN = 0.6745  # median of the size of a normal number
PASSES = 4  # of the line and the budgets on it
UNCERTAIN = 0.25  # standard deviation of a log best size over the forms that is worth a word
BENT = 0.05  # chance that best sizes along a line seem to bend so much


@dataclass(frozen=True, kw_only=True, eq=False)
class IsoFLOP(LineOfSizes):
    """The line through the minima of profiles.

    Fields:
      replicates: `values` of each replicate, [replicates, 2].
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
    forms: Array = FORMS,
) -> IsoFLOP:
    """Approach 2: at each of several budgets a valley in log N; a line through their minima.

    Each valley is an average over asymmetric forms fitted near its best size, to means of
    neighbouring sizes where a budget has very many runs. Runs of a budget that did not spend
    exactly the same are moved to it along the lowest losses of neighbouring budgets. Budgets whose
    best size is outside the sizes tried are left out, with a diagnostic; one whose smallest loss
    lies between the smallest and the largest size never is, unless sizes lie so near to each other
    that noise decides which has it: then the line of best sizes says which budgets' were tried.
    The line's weights allow for best sizes that vary about it by more than their errors explain
    (Paule and Mandel 1982).

    Intervals: a parametric bootstrap that draws, for each replicate, forms by their weights, noise
    by the residuals about them, and the variation about the line by Student's t.

    Args:
      budgets: computes of the profiles; None: wherever many sizes were given about the same.
      replicates: of the bootstrap.
      seed: of its draws.
      equal: runs within this factor from end to end belong to one budget.
      forms: p, q and width of each, [forms, 3].

    Raises:
      ValueError: fewer than two budgets have a minimum.
    """
    every = profiles(runs, budgets, equal)
    found, weights = settled(every, forms) if every else ([], np.empty((0, len(forms))))
    kept = [each.believed(mine) for each, mine in zip(found, weights, strict=True)]
    if sum(kept) > 2 and all(each.margin for each in every):
        kept = _by_the_line(every, found, weights, kept)
    if sum(kept) < 2:
        raise ValueError(_too_few(every, found, weights, kept, equal))
    beyond = _beyond(every, found, weights, kept)
    found, weights = settled([p for p, inside in zip(every, kept, strict=True) if inside], forms)
    rng = np.random.default_rng(seed)
    place = np.log([each.profile.budget for each in found])
    centre = float(place.mean())
    best = np.array([w @ each.best for w, each in zip(weights, found, strict=True)])
    drawn = _drawn(found, weights, place - centre, replicates, rng)
    variance = np.maximum(((drawn - best) ** 2).mean(axis=0), 1e-12)
    between, solve = _random_effects(place - centre, best, variance)
    return IsoFLOP(
        best=(np.exp(place), np.exp(best)),
        centre=centre,
        values=solve @ best,
        replicates=(drawn + _about_the_line(between, len(best), replicates, rng)) @ solve.T,
        diagnostics=(
            *_diagnostics(found, weights, beyond),
            *_bend(place - centre, best, drawn),
        ),
    )


def _too_few(
    every: Sequence[Profile],
    found: Sequence[FormsOf],
    weights: Array,
    kept: Sequence[bool],
    equal: float,
) -> str:
    """Why there is no line through best sizes."""
    if not every:
        return (
            f"0 budgets have at least {LEAST_SIZES} sizes within {equal:g} times one compute; give "
            "more sizes at equal compute."
        )
    said = f"{counted(len(every), 'budget has', 'budgets have')} at least {LEAST_SIZES} sizes"
    for out in _beyond(every, found, weights, kept):
        said += f"; {out.words}"
    for profile, each, mine, inside in zip(every, found, weights, kept, strict=True):
        if inside:
            said += f"; at {profile.budget:.3g} the best size is {np.exp(mine @ each.best):.3g}"
    return f"{said}. How it grows takes two budgets with a best size among those tried."


def _beyond(
    every: Sequence[Profile], found: Sequence[FormsOf], weights: Array, kept: Sequence[bool]
) -> list[Diagnostic]:
    """Budgets that were left out, and on which side of the sizes tried their best sizes lie."""
    larger: dict[bool, list[float]] = {False: [], True: []}
    for profile, each, mine, inside in zip(every, found, weights, kept, strict=True):
        if not inside:
            first, last = profile.size[[0, -1]]
            larger[bool(mine @ each.best > (first + last) / 2)].append(profile.budget)
    return [
        Diagnostic(
            "profiles_without_minimum",
            ("larger" if side else "smaller",),
            {"compute": tuple(computes), "kept": float(sum(kept))},
        )
        for side, computes in larger.items()
        if computes
    ]


def _by_the_line(
    every: Sequence[Profile], found: Sequence[FormsOf], weights: Array, kept: Sequence[bool]
) -> list[bool]:
    """Which budgets' best sizes were tried, by what all of them say.

    Where noise decides whether a best size seems to lie inside, budgets near the ends of the sizes
    are kept if it errs inwards, and the line through the others would be too flat. So a budget is
    kept where the line of best sizes lies inside, by more than they vary about it.
    """
    place = np.log([each.budget for each in every])
    best = np.array([w @ each.best for w, each in zip(weights, found, strict=True)])
    ends = np.array([each.size[[0, -1]] for each in every]).T
    inside = np.array(kept)
    for _ in range(PASSES):
        line = np.poly1d(np.polyfit(place[inside], best[inside], 1))(place)
        apart = float(np.median(np.abs(best - line)[inside])) / MEDIAN
        margin = np.maximum([each.margin for each in every], SURE * apart)
        now = (ends[0] + margin <= line) & (line <= ends[1] - margin)
        if now.sum() < 3 or (now == inside).all():
            break
        inside = now
    return inside.tolist()


def _drawn(
    found: Sequence[FormsOf],
    weights: Array,
    place: Array,
    replicates: int,
    rng: np.random.Generator,
) -> Array:
    """Log best sizes of each profile in each replicate, [replicates, profiles].

    What a wrong form moves a best size by, neighbouring profiles have in common: which of the forms
    is drawn, in the order of the best sizes they give, follows a normal number that has a part
    common to all profiles, a part that grows along log compute, and one of each profile's own, of
    equal variance. Forms also differ by noise alone; what it explains is not counted twice.
    """
    from scipy.special import ndtr

    along = place / max(float(place.std()), 1e-12)
    common, trend = rng.normal(size=(2, replicates, 1))
    own = rng.normal(size=(replicates, len(found)))
    rank = ndtr((common + trend * along + own) / np.sqrt(2 + along**2))
    noise = np.sqrt((weights * noise_of(found) ** 2).sum(axis=1))
    drawn = np.empty((replicates, len(found)))
    for k, (each, mine) in enumerate(zip(found, weights, strict=True)):
        spread = noise[k] / np.sqrt(each.profile.weight)
        errors = spread * rng.normal(size=(replicates, len(spread)))
        moved = each.with_noise(errors)
        mean = moved @ mine
        by_form = each.best - mine @ each.best
        between = float(mine @ by_form**2)
        by_noise = float(mine @ (moved - mean[:, None]).var(axis=0))
        share = np.sqrt(max(between - by_noise, 0.0) / max(between, 1e-300))
        order = np.argsort(each.best, kind="stable")
        shares = np.cumsum(mine[order])
        which = order[np.minimum(np.searchsorted(shares, rank[:, k]), len(order) - 1)]
        drawn[:, k] = mean + share * by_form[which]
    return drawn


def _random_effects(x: Array, y: Array, variance: Array, degree: int = 1) -> tuple[float, Array]:
    """Variance of y about a line beyond `variance`, and the line's height and slope of y, [2, n].

    Paule and Mandel: the variance with which the weighted squares are as large as their degrees of
    freedom.

    Args:
      degree: of a polynomial in the line's place; its terms are then [degree + 1, n].
    """
    design = np.vander(x, degree + 1, increasing=True)
    freedom = len(x) - degree - 1

    def line(between: float) -> tuple[Array, float]:
        weighted = design / (variance + between)[:, None]
        solve = np.asarray(np.linalg.solve(design.T @ weighted, weighted.T), float)
        left = y - design @ (solve @ y)
        return solve, float((left**2 / (variance + between)).sum())

    low, high = -30.0, 8.0  # logarithms
    if freedom < 1 or line(0.0)[1] <= freedom:
        return 0.0, line(0.0)[0]
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if line(np.exp(middle))[1] > freedom else (low, middle)
    between = float(np.exp(high))
    return between, line(between)[0]


def _bend(x: Array, best: Array, drawn: Array) -> list[Diagnostic]:
    """Whether a parabola through the best sizes bends by more than their errors explain.

    A line is then no law of what lies beyond them.

    Args:
      x: log computes, of mean 0.
      best: log best sizes.
      drawn: the same in each replicate, [replicates, profiles].
    """
    from scipy.special import ndtr, stdtr

    if len(x) < 3:
        return []
    errors = drawn - best
    variance = np.maximum((errors**2).mean(axis=0), 1e-12)
    between, (_, slope, bend) = _random_effects(x, best, variance, degree=2)
    error = np.sqrt(((errors @ bend) ** 2).mean() + between * (bend**2).sum())
    t = -abs(bend @ best) / error
    if 2 * float(stdtr(len(x) - 3, t) if between else ndtr(t)) > BENT:
        return []
    first, last = (float((slope + 2 * end * bend) @ best) for end in (x[0], x[-1]))
    return [Diagnostic("best_sizes_bend", numbers={"first": first, "last": last})]


def _about_the_line(between: float, count: int, replicates: int, rng: np.random.Generator) -> Array:
    """Draws of that variation, as sure as its degrees of freedom make it, [replicates, count]."""
    freedom = max(count - 2, 1)
    scale = np.sqrt(between * freedom / rng.chisquare(freedom, size=(replicates, 1)))
    return np.asarray(scale * rng.normal(size=(replicates, count)))


def _diagnostics(
    found: Sequence[FormsOf], weights: Array, beyond: Sequence[Diagnostic]
) -> tuple[Diagnostic, ...]:
    said = [*beyond]
    apart = [
        float(np.sqrt(w @ (each.best - w @ each.best) ** 2))
        for w, each in zip(weights, found, strict=True)
    ]
    if (typical := float(np.median(apart))) > UNCERTAIN:
        said.append(Diagnostic("profiles_of_uncertain_form", numbers={"factor": np.exp(typical)}))
    freedom = sum(len(each.profile.size) - 3 for each in found)
    if freedom < 2 * len(found):
        numbers = {"freedom": freedom, "profiles": len(found)}
        said.append(Diagnostic("profiles_of_few_sizes", numbers=numbers))
    return tuple(said)
