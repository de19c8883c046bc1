"""Forms of a profile at equal compute: asymmetric valleys, fitted near the best size.

    L(n) = c + a (e^(p n) - 1) / p + b (e^(-q n) - 1) / q,  n = log size less that of the centre

With p and q near 0 it is a parabola, with p > q steeper towards large models. Sizes count by
Tukey's tricube of their distance from the centre over a width. Which rates p and q, and which
width, no budget alone can say: every combination is tried, and weighted by how well it predicts the
sizes nearest to the best when each is left out (pseudo-Bayesian model averaging by leave-one-out
cross-validation: Yao et al. 2018, "Using stacking to average Bayesian predictive distributions").
`benchmarks/isoflop_forms.py` compares the average with a parabola, a cubic and single forms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from fits.base.numbers import Array

RATES = 0.03, 0.35, 0.7, 1.4, 2.8  # p and q; the least is a parabola's
WIDTHS = 1.0, 1.6, 2.5, 4.0, np.inf  # of the window on either side, in log size
FORMS = np.array(list(product(RATES, RATES, WIDTHS)))  # [forms, (p, q, width)]
CORE = 5  # sizes nearest to the best, on which forms are scored
EVIDENCE = 0.5  # power of the likelihood: neighbouring sizes and budgets are not independent
NEIGHBOUR = 0.5  # share with which the next budget counts: the shape of profiles changes slowly
SHRINK = 3.0  # sizes for which the error variance of all budgets counts beside a budget's own
PASSES = 4  # of centre and weights, which settle in two or three


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """Runs of one budget, or means of them.

    Fields:
      budget: its compute.
      size: logarithms, increasing, [runs].
      loss: over the lowest of them, [runs].
      weight: runs that each stands for, over the mean of these, [runs]; the error variance of a
        loss is in inverse proportion.
      margin: in log size, by which sizes reach beyond a best one that is believed; 0 of runs, which
        are apart.
    """

    budget: float
    size: Array
    loss: Array
    weight: Array
    margin: float

    @property
    def inside(self) -> bool:
        """Whether the smallest loss is of neither the smallest nor the largest size."""
        best = self.size[self.loss.argmin()]
        return bool(self.size[0] < best < self.size[-1])


@dataclass(frozen=True, kw_only=True, eq=False)
class FormsOf:
    """All forms, fitted to a profile.

    Fields:
      profile: the runs.
      centre: log size about which they were fitted.
      forms: p, q and width of each, [forms, 3].
      solve: from losses to (c, a, b), [forms, 3, runs].
      terms: c, a and b, [forms, 3].
      best: logarithm of the best size by each form, [forms].
      valley: whether each form has its lowest point among the sizes tried, [forms].
      left_out: squared errors of the core's sizes, each left out, times their weights, [forms].
      squares: their squared residuals over what the fit left free, [forms].
      core: how many these are.
    """

    profile: Profile
    centre: float
    forms: Array
    solve: Array
    terms: Array
    best: Array
    valley: Array
    left_out: Array
    squares: Array
    core: int

    def believed(self, weights: Array) -> bool:
        """Whether the best size is one of those tried.

        Means are near enough to each other for the lowest to be next to the last by chance; what
        their forms say together is surer.
        """
        profile, best = self.profile, float(weights @ self.best)
        if not profile.margin:
            return profile.inside or bool(weights @ self.valley > 0.5)
        first, last = profile.size[[0, -1]]
        return bool(first + profile.margin <= best <= last - profile.margin)

    def with_noise(self, noise: Array) -> Array:
        """Log of the best size by each form, with noise added to the losses, [draws, forms].

        Args:
          noise: [draws, runs].
        """
        moved = self.terms + np.einsum("ftk,dk->dft", self.solve, noise, optimize=True)
        found, _ = lowest(moved, self.forms, *(self.profile.size[[0, -1]] - self.centre))
        return found + self.centre


def fit_forms(profile: Profile, centre: float, forms: Array = FORMS) -> FormsOf:
    """Every form by weighted least squares.

    Args:
      centre: log size about which the windows lie; those of fewer sizes than the core are widened.
      forms: p, q and width of each, [forms, 3].
    """
    n = profile.size - centre
    p, q, width = forms.T
    away = np.abs(n)
    nearest = np.sort(np.unique(away))
    reach = np.maximum(width, 1.15 * nearest[min(len(nearest), CORE) - 1])
    weights = profile.weight * np.clip(1 - (away / reach[:, None]) ** 3, 0, None) ** 3
    design = basis(n, p[:, None], q[:, None])
    roots = np.sqrt(weights)
    solve = np.linalg.pinv(design * roots[..., None]) * roots[:, None]
    terms = solve @ profile.loss
    free = np.maximum(1 - np.einsum("fkt,ftk->fk", design, solve), 1e-3)
    core = np.argsort(away, kind="stable")[:CORE]
    residuals = (profile.loss - np.einsum("fkt,ft->fk", design, terms))[:, core]
    residuals *= np.sqrt(profile.weight[core])
    best, valley = lowest(terms, forms, n[0], n[-1])
    return FormsOf(
        profile=profile,
        centre=centre,
        forms=forms,
        solve=solve,
        terms=terms,
        best=best + centre,
        valley=valley,
        left_out=((residuals / free[:, core]) ** 2).sum(axis=1),
        squares=(residuals**2 / free[:, core]).sum(axis=1),
        core=len(core),
    )


def basis(n: Array, p: Array, q: Array) -> Array:
    """What c, a and b are multiplied with, [forms, runs, 3]."""
    rise, fall = np.expm1(p * n) / p, np.expm1(-q * n) / q
    return np.stack([np.ones_like(rise), rise, fall], axis=-1)


def lowest(terms: Array, forms: Array, first: float, last: float) -> tuple[Array, Array]:
    """Where forms have their lowest point between two ends, and whether that is a valley.

    Args:
      terms: c, a and b, [..., 3].
      forms: p, q and width of each, [..., 3].
    """
    _, a, b = np.moveaxis(terms, -1, 0)
    p, q, _ = np.moveaxis(forms, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        low = np.log(b / a) / (p + q)
    valley = (a > 0) & (b > 0) & (low > first) & (low < last)
    at = [a * np.expm1(p * end) / p + b * np.expm1(-q * end) / q for end in (first, last)]
    return np.where(valley, low, np.where(at[0] < at[1], first, last)), valley


def settled(profiles: Sequence[Profile], forms: Array = FORMS) -> tuple[list[FormsOf], Array]:
    """All forms of each profile, about its best size, and their weights, [profiles, forms]."""
    centres = [float(each.size[each.loss.argmin()]) for each in profiles]
    for _ in range(PASSES):
        found = [fit_forms(each, c, forms) for each, c in zip(profiles, centres, strict=True)]
        weights = evidence(found)
        moved = [float(w @ each.best) for w, each in zip(weights, found, strict=True)]
        if np.allclose(moved, centres, rtol=0, atol=1e-3):
            break
        centres = moved
    return found, weights


def evidence(found: Sequence[FormsOf]) -> Array:
    """The weight of each form in each profile, of sum 1 in a profile, [profiles, forms].

    By the normal log likelihood of the sizes left out, that of other profiles of the table with
    NEIGHBOUR to the power of how many budgets they lie away.
    """
    core = np.array([each.core for each in found], float)[:, None]
    squares = np.array([each.left_out for each in found])
    variance = _shrunk(squares, core)
    likelihood = -(core * np.log(variance) + squares / variance) / 2
    place = np.arange(len(found))
    near = NEIGHBOUR ** np.abs(place[:, None] - place)
    gained = EVIDENCE * near @ likelihood
    weights = np.exp(gained - gained.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def noise_of(found: Sequence[FormsOf]) -> Array:
    """Standard deviation of relative losses about each form, [profiles, forms]."""
    core = np.array([each.core for each in found], float)[:, None]
    return np.sqrt(_shrunk(np.array([each.squares for each in found]), core))


def _shrunk(squares: Array, count: Array) -> Array:
    """Mean squares of each profile, drawn towards those of all profiles together."""
    together = squares.sum(axis=0) / count.sum()
    return np.maximum((squares + SHRINK * together) / (count + SHRINK), 1e-20)
