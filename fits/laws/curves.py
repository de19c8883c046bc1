"""The curves: error as a function of the resource spent.

A law is a formula with named parameters; here a parameter called c is the floor of its law. This
file knows no data: how well a law describes measured points, and how sure its parameters are, is
the business of `fit.py`. Laws of several variables, say model size and data, are in
`surfaces.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from fits.base.numbers import Array, arrays, stack
from fits.laws.varpro import foremost, grid, least

PLACES = 10  # where breaks are looked for, evenly on a log axis
NEWTON = 12  # steps at most: within its bounds no exponent s needs more than 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Law:
    """A curve, and what a fit must know about it.

    Everything from `fold` on is for x counted in units of its geometric mean, so that no result
    depends on the unit of x. Functions of parameters take them one by one, broadcast them, and
    return them stacked, [parameters, ...].

    Fields:
      name: what a user types.
      formula: what a reader reads.
      parameters: their names, in the order in which every function here takes them.
      predict: (x, *parameters) -> error; x is [...], or [variables, ...] where there are several.
      source: where the law comes from.
      rescale: (unit, *parameters) -> parameters of the same curve for x in ones, where these are
        for x in multiples of `unit`, one number a variable.
      fold: (*parameters) -> coordinates in which squared errors have a valley without sharp bends,
        for a descent to follow; each grows with its own parameter.
      unfold: (*coordinates) -> parameters.
      slopes: (x, *parameters) -> derivatives of the error by the coordinates.
      starts: (x [points], y [points], weights [points]) -> parameters from which one descent or
        another finds the best fit, [parameters, starts].
      bounds: smallest and largest value of each parameter.
      floor: which parameter is the irreducible error; None: the law has none.
      variables: names of what x holds.
      units: which variables are counted in one unit, say tokens seen and tokens there are: a
        number a variable, the same for those.
      reads: places of the variables that it looks at, where those are not all.
    """

    name: str
    formula: str
    parameters: tuple[str, ...]
    predict: Callable[..., Array]
    source: str
    rescale: Callable[..., Array]
    fold: Callable[..., Array]
    unfold: Callable[..., Array]
    slopes: Callable[..., Array]
    starts: Callable[[Array, Array, Array], Array]
    bounds: tuple[tuple[float, float], ...]
    floor: str | None = None
    variables: tuple[str, ...] = ("x",)
    units: tuple[int, ...] = (0,)
    reads: tuple[int, ...] | None = None


def folding(logarithms: str) -> tuple[Callable[..., Array], Callable[..., Array]]:
    """`fold` and `unfold` of a law whose coordinates are its parameters or their logarithms.

    Args:
      logarithms: a letter a parameter: "l" for the logarithm, "p" for the parameter itself.
    """
    kinds = [kind == "l" for kind in logarithms]

    def fold(*values: ArrayLike) -> Array:
        return stack(*(np.log(v) if k else v for v, k in zip(values, kinds, strict=True)))

    def unfold(*coordinates: ArrayLike) -> Array:
        return stack(*(np.exp(v) if k else v for v, k in zip(coordinates, kinds, strict=True)))

    return fold, unfold


# ---------------------------------------------------------------- powers, with floor and shift


def saturating(x: ArrayLike, a: ArrayLike, b: ArrayLike, c: ArrayLike, d: ArrayLike) -> Array:
    """Error that leaves a plateau, falls as a power of `x`, and settles on a floor.

        E(x) = a * (x + d) ** -b + c

    On a log-log plot: flat near a * d ** -b + c while x << d, then falling, then flat at c.

    Args:
      x: resource spent, >= 0 (> 0 where d is 0), any shape, same unit as d (say EFLOP).
      a: error above the floor where x + d == 1, >= 0.
      b: exponent, dimensionless, > 0.
      c: irreducible error, in [0, 1) for an error rate.
      d: head start, >= 0; 0 gives the plain power law with a floor.

    Returns:
      Error, same shape as x.

    Source: Zhai et al. 2022, "Scaling Vision Transformers", section 2.2.
    """
    x, a, b, c, d = arrays(x, a, b, c, d)
    return a * (x + d) ** -b + c


def power(x: ArrayLike, a: ArrayLike, b: ArrayLike) -> Array:
    """Error that falls as a power of `x` for ever: `saturating` without floor or head start.

        E(x) = a * x ** -b

    On a log-log plot: a straight line of slope -b through a at x == 1. Arguments as in
    `saturating`.

    Source: Hestness et al. 2017, "Deep Learning Scaling is Predictable, Empirically"; M1 of
    Alabdulmohsin et al. 2022, "Revisiting Neural Scaling Laws in Language and Vision".
    """
    return saturating(x, a, b, 0.0, 0.0)


def power_floor(x: ArrayLike, a: ArrayLike, b: ArrayLike, c: ArrayLike) -> Array:
    """Error that falls as a power of `x` and settles on a floor: `saturating` with no plateau.

        E(x) = a * x ** -b + c

    On a log-log plot: a straight line of slope -b that bends to flat at c. Arguments as in
    `saturating`.

    Source: Hestness et al. 2017; M2 of Alabdulmohsin et al. 2022.
    """
    return saturating(x, a, b, c, 0.0)


def power_shift(x: ArrayLike, a: ArrayLike, b: ArrayLike, d: ArrayLike) -> Array:
    """Error that leaves a plateau and then falls for ever: `saturating` with no floor.

        E(x) = a * (x + d) ** -b

    On a log-log plot: flat near a * d ** -b while x << d, then a straight line of slope -b.
    Arguments as in `saturating`.

    Source: Zhai et al. 2022, section 2.2, with c = 0.
    """
    return saturating(x, a, b, 0.0, d)


def _fold(a: Array, b: Array, c: Array, d: Array) -> Array:
    """Excess over the floor at x == 1, exponent, floor, shift.

    Where the data hardly bend, b and d grow together by orders of magnitude (towards an
    exponential) and a by many more, along a curved valley; in these coordinates it is straight.
    """
    return stack(np.log(a) - b * np.log1p(d), np.log(b), c, np.log1p(d))


def _unfold(excess: Array, exponent: Array, floor: Array, shift: Array) -> Array:
    b = np.exp(exponent)
    return stack(np.exp(excess + b * shift), b, floor, np.expm1(shift))


def _slopes(x: ArrayLike, a: Array, b: Array, c: Array, d: Array) -> Array:
    reach = (np.asarray(x, float) + d) / (1 + d)
    excess = a * (1 + d) ** -b * reach**-b
    return stack(excess, -b * np.log(reach) * excess, 1.0, b * (1 - 1 / reach) * excess)


def _starts(x: Array, y: Array, weights: Array, floor: bool, shift: bool) -> Array:
    """The best of a grid of (b, d), with (a, c) solved for by relative errors."""
    shifts = np.r_[0, np.geomspace(x.min() / 30, 3 * x.max(), 16)] if shift else np.zeros(1)
    b, d = grid(np.geomspace(0.03, 8, 24), shifts)
    logarithm = -b[:, None] * np.log(x + d[:, None])
    size = logarithm.max(axis=1)  # so that steep powers neither overflow nor vanish
    fall = np.exp(logarithm - size[:, None])
    terms = np.stack([fall, np.ones_like(fall)] if floor else [fall], axis=1)
    found, misfit = least(terms / y, np.ones_like(y), weights)
    a = np.exp(np.log(np.maximum(found[:, 0], 1e-300)) - size)
    return foremost(misfit, a, b, found[:, 1] if floor else np.zeros(1), d)


def _of_saturating(name: str, formula: str, predict: Callable[..., Array], source: str) -> Law:
    """The law of those letters of a, b, c, d that its formula names; the others are 0."""
    letters = "abcd"
    keep = [k for k, letter in enumerate(letters) if letter in formula]
    bounds = ((1e-100, 1e100), (1e-3, 10.0), (0.0, np.inf), (0.0, 1e6))

    def whole(values: tuple[Array, ...]) -> list[Array]:
        four = [np.zeros(())] * len(letters)
        for k, value in zip(keep, values, strict=True):
            four[k] = value
        return four

    def rescale(unit: float, *values: Array) -> Array:
        a, b, c, d = whole(values)
        return stack(a * unit**b, b, c, d * unit)[keep]

    return Law(
        name=name,
        formula=formula,
        parameters=tuple(letters[k] for k in keep),
        predict=predict,
        source=source,
        rescale=rescale,
        fold=lambda *values: _fold(*whole(values))[keep],
        unfold=lambda *coordinates: _unfold(*whole(coordinates))[keep],
        slopes=lambda x, *values: _slopes(x, *whole(values))[keep],
        starts=lambda x, y, weights: _starts(x, y, weights, "c" in formula, "d" in formula)[keep],
        bounds=tuple(bounds[k] for k in keep),
        floor="c" if "c" in formula else None,
    )


# ------------------------------------------------- laws with a ceiling on what more can still give


def levelling(x: ArrayLike, a: ArrayLike, b: ArrayLike, g: ArrayLike) -> Array:
    """Error that falls as a power of `x` until more of it stops helping.

        E(x) = a * (1 / x + g) ** b

    On a log-log plot: a straight line of slope -b that bends to flat at a * g ** b, where x is
    about 1 / g.

    Args:
      x: resource spent, > 0, any shape.
      a: error where 1 / x + g == 1, > 0.
      b: exponent, dimensionless, > 0.
      g: what stays of 1 / x however much is spent, >= 0, in units of 1 / x; 0 gives `power`.

    Returns:
      Error, same shape as x.

    Source: M3 of Alabdulmohsin et al. 2022 (there beta, c, gamma).
    """
    x, a, b, g = arrays(x, a, b, g)
    return a * (1 / x + g) ** b


def _levelling_slopes(x: ArrayLike, a: Array, b: Array, g: Array) -> Array:
    reach = (1 / np.asarray(x, float) + g) / (1 + g)
    curve = a * (1 + g) ** b * reach**b
    return stack(curve, b * np.log(reach) * curve, b * (1 / reach - 1) * curve)


def _levelling_starts(x: Array, y: Array, weights: Array) -> Array:
    g = np.r_[0, np.geomspace(0.03 / x.max(), 30 / x.min(), 60)]
    line = np.log(1 / x + g[:, None])
    found, misfit = least(np.stack([np.ones_like(line), line], 1), np.log(y), weights, free=[0])
    return foremost(misfit, np.exp(found[:, 0]), np.maximum(found[:, 1], 2e-3), g)


def sigmoidal(
    x: ArrayLike, a: ArrayLike, b: ArrayLike, c: ArrayLike, e: ArrayLike, s: ArrayLike
) -> Array:
    """Error between that of guessing and a floor, a power law of what is left of either.

        (E - c) / (e - E) ** s = a * x ** -b,   solved for E

    On a log-log plot: flat at e, falling with a slope that b and s decide, then flat at c.

    Args:
      x: resource spent, > 0, any shape.
      a: the left side at x == 1, > 0.
      b: exponent near the floor, dimensionless, > 0.
      c: irreducible error, >= 0.
      e: error of a guess, > c.
      s: how the curve leaves the guess, dimensionless, > 0; towards 0 it is `power_floor`.

    Returns:
      Error, same shape as x.

    Source: M4 of Alabdulmohsin et al. 2022 (there beta, -c, epsilon_inf, epsilon_0, alpha).
    """
    x, a, b, c, e, s = arrays(x, a, b, c, e, s)
    return c + _gap(c, e) * _logistic(_way(x, a, b, c, e, s))


def _gap(c: Array, e: Array) -> Array:
    """e - c, above 0 even where rounding leaves nothing between floor and guess."""
    return np.maximum(e - c, 1e-16 * e)


def _logistic(t: Array) -> Array:
    return np.exp(-np.logaddexp(0, -t))


def _way(x: ArrayLike, a: Array, b: Array, c: Array, e: Array, s: Array) -> Array:
    """The logit of (E - c) / (e - c), by Newton's method.

    With p that share, log p - s log(1 - p) is what the law gives; as a function of the logit its
    slope lies between 1 and s, and it bends one way only: no step can go astray. A step leaves at
    most half its square of error, so what follows one below 1e-8 is lost in rounding.
    """
    log_a = np.log(np.clip(a, 1e-300, 1e300))  # another unit of x may take it beyond all numbers
    given = log_a - b * np.log(np.asarray(x, float)) - (1 - s) * np.log(_gap(c, e))
    t = np.where(given < 0, given, given / s)
    for _ in range(NEWTON):
        small = np.exp(-np.abs(t))  # one exponential and one logarithm a step: they are what costs
        left = s * np.maximum(t, 0) + np.minimum(t, 0) - (1 - s) * np.log1p(small) - given
        step = left * (1 + small) / np.where(t > 0, small + s, 1 + s * small)
        t = t - step
        if (np.abs(step) <= 1e-8 * (1 + np.abs(t))).all():
            break
    return t


def _sigmoidal_slopes(x: ArrayLike, a: Array, b: Array, c: Array, e: Array, s: Array) -> Array:
    t, gap = _way(x, a, b, c, e, s), _gap(c, e)
    share, rest = _logistic(t), _logistic(-t)
    by_given = gap * share * rest / (rest + s * share)
    by_b = -b * np.log(np.asarray(x, float)) * by_given
    return stack(by_given, by_b, 1.0, gap * share, -np.logaddexp(0, t) * s * by_given)


def _sigmoidal_starts(x: Array, y: Array, weights: Array) -> Array:
    if np.ptp(y) <= 1e-12 * y[0]:  # a constant: any way down from elsewhere would be endless
        return stack(1.0, 2e-3, y[:1], y[:1], 1.0)
    floors = y.min() * np.array([0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.98, 0.995])
    c, over = grid(floors, np.array([1.005, 1.03, 1.1, 1.3, 2, 5]))
    e = y.max() * over
    left = np.log(y - c[:, None])
    columns = stack(1.0, -np.log(x), np.log(e[:, None] - y)).swapaxes(0, 1)
    found, misfit = least(columns, left, weights * (1 - c[:, None] / y) ** 2, free=[0])
    log_a, b, s = found.T
    return foremost(misfit, np.exp(log_a), np.maximum(b, 2e-3), c, e, np.clip(s, 0.05, 10))


def _sigmoidal_fold(a: Array, b: Array, c: Array, e: Array, s: Array) -> Array:
    gap = np.log(_gap(c, e))
    return stack(np.log(a) - (1 - s) * gap, np.log(b), c, gap, np.log(s))


def _sigmoidal_unfold(given: Array, b: Array, c: Array, gap: Array, s: Array) -> Array:
    log_a = np.clip(given + (1 - np.exp(s)) * gap, -690, 690)  # what a double holds
    return stack(np.exp(log_a), np.exp(b), c, c + np.exp(gap), np.exp(s))


# ------------------------------------------------------------------------------ broken power laws


def broken_power(
    x: ArrayLike, a: ArrayLike, b: ArrayLike, c: ArrayLike, *breaks: ArrayLike
) -> Array:
    """Error that falls as one power of `x`, then as another, above a floor.

        E(x) = c + a * x ** -b * product over i of (1 + (x / d_i) ** (1 / f_i)) ** (-b_i * f_i)

    On a log-log plot of E - c: straight of slope -b up to d_1, of slope -(b + b_1) up to d_2, and
    so on; the bend at d_i spans about f_i in log x.

    Args:
      x: resource spent, > 0, any shape.
      a: error above the floor at x == 1, were there no break, > 0.
      b: first exponent, dimensionless; below 0 the error rises.
      c: irreducible error, >= 0.
      breaks: b_1, d_1, f_1, b_2, d_2, f_2, ...: by how much the exponent grows, where (> 0, unit
        of x), and how gently (> 0, dimensionless).

    Returns:
      Error, same shape as x.

    Source: Caballero et al. 2022, "Broken Neural Scaling Laws", equation 1 (there a is the floor,
    b the scale, c_i the exponents).
    """
    x, a, b, c, *rest = arrays(x, a, b, c, *breaks)
    line = np.log(x)
    fall = np.log(a) - b * line
    for more, d, f in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        fall = fall - more * _bend(line, d, f)
    return np.exp(fall) + c


def _bend(line: Array, d: Array, f: Array) -> Array:
    """0 far below the break, log(x / d) far above it."""
    return f * np.logaddexp(0, (line - np.log(d)) / f)


def _broken_slopes(x: ArrayLike, a: Array, b: Array, c: Array, *breaks: Array) -> Array:
    line = np.log(np.asarray(x, float))
    excess = broken_power(x, a, b, 0.0, *breaks)
    slopes = [excess, -line * excess, np.ones(())]
    for more, d, f in zip(breaks[::3], breaks[1::3], breaks[2::3], strict=True):
        bend, over = _bend(line, d, f), (line - np.log(d)) / f
        past = _logistic(over)
        slopes += [-bend * excess, more * past * excess, -more * (bend - f * over * past) * excess]
    return stack(*slopes)


def _broken_starts(x: Array, y: Array, weights: Array, breaks: int) -> Array:
    """Floor, places and widths of the breaks on a grid; the logarithm is linear in the rest."""
    line = np.log(x)
    places = np.linspace(line.min(), line.max(), PLACES + 2)[1:-1]
    where = np.array(list(combinations(places, breaks)))
    shares = np.array([0, 0.5, 0.8, 0.9, 0.95, 0.98])
    chosen, share, f = grid(np.arange(float(len(where))), shares, np.array([0.15, 0.5, 1.2]))
    c, d = share * y.min(), np.exp(where[chosen.astype(int)])
    bends = [-_bend(line, d[:, k, None], f[:, None]) for k in range(breaks)]
    columns = stack(1.0, -line, *bends).swapaxes(0, 1) * np.ones((len(c), 1, 1))
    left = np.log(y - c[:, None])
    free = range(columns.shape[1])
    found, misfit = least(columns, left, weights * (1 - c[:, None] / y) ** 2, free)
    steps = np.clip(found[:, 2:], -9, 9)
    rest = [each for k in range(breaks) for each in (steps[:, k], d[:, k], f)]
    every = stack(np.exp(found[:, 0]), np.clip(found[:, 1], -9, 9), c, *rest)
    alike = misfit.reshape(len(where), -1)  # with their breaks at the same places
    best = np.arange(len(where)) * alike.shape[1] + alike.argmin(axis=1)
    return foremost(misfit[best], *every[:, best], count=4 * breaks**2)


def broken(breaks: int) -> Law:
    """The law of `broken_power` with so many breaks, 1 to PLACES.

    Raises ValueError for any other number.
    """
    if breaks not in range(1, PLACES + 1):
        raise ValueError(
            f"breaks is {breaks!r}; give a whole number from 1 to {PLACES}, or take power-floor, "
            "which has none."
        )
    names = [f"{letter}{k}" for k in range(1, breaks + 1) for letter in "bdf"]
    bends = [f"(1 + (x / d{k})^(1 / f{k}))^(-b{k} f{k})" for k in range(1, breaks + 1)]
    fold, unfold = folding("lpp" + "pll" * breaks)

    def rescale(unit: float, a: Array, b: Array, c: Array, *rest: Array) -> Array:
        each = stack(a, b, c, *rest)
        bends = each[3:].reshape(breaks, 3, *each.shape[1:])
        order = np.argsort(bends[:, 1], axis=0)[:, None]  # the same curve, first break first
        bends = np.take_along_axis(bends, order, axis=0)
        bends[:, 1] = bends[:, 1] * unit
        each[3:] = bends.reshape(each[3:].shape)
        each[0] = each[0] * unit ** each[1]
        return each

    return Law(
        name="broken" if breaks == 1 else f"broken-{breaks}",
        formula=" ".join(["c + a x^-b", *bends]),
        parameters=("a", "b", "c", *names),
        predict=broken_power,
        source="Caballero et al. 2022, Broken Neural Scaling Laws, equation 1",
        rescale=rescale,
        fold=fold,
        unfold=unfold,
        slopes=_broken_slopes,
        starts=lambda x, y, weights: _broken_starts(x, y, weights, breaks),
        bounds=(
            *((1e-100, 1e100), (-10.0, 10.0), (0.0, np.inf)),
            *((-10.0, 10.0), (1e-6, 1e6), (0.02, 10.0)) * breaks,
        ),
        floor="c",
    )


# -------------------------------------------------------------------- straight lines and parabolas


def log_linear(x: ArrayLike, a: ArrayLike, b: ArrayLike) -> Array:
    """A metric that changes by the same amount with every tenfold of `x`.

        E(x) = a - b * log10(x)

    On a log-log plot: bending downwards for an error, to 0 at x = 10 ** (a / b); on a plot with
    only x logarithmic a straight line.

    Args:
      x: resource spent, say images, > 0, any shape.
      a: metric at x == 1.
      b: what a tenfold of x takes away, in units of the metric; below 0 it adds, as to accuracy.

    Returns:
      Metric, same shape as x.

    Source: Sun et al. 2017, "Revisiting Unreasonable Effectiveness of Data", figure 4; the paper
    prints no coefficients.
    """
    x, a, b = arrays(x, a, b)
    return a - b * np.log10(x)


def _log_linear_starts(x: Array, y: Array, weights: Array) -> Array:
    columns = stack(1.0, -np.log10(x))[None]
    found, _ = least(columns, y, weights, free=[0, 1])
    level = np.average(y, weights=weights)  # where the line falls below 0 it has no logarithm
    return np.append(found, [[level, 0.0]], axis=0).T


def parabola(x: ArrayLike, lowest: ArrayLike, bend: ArrayLike, best: ArrayLike) -> Array:
    """Loss at equal compute: of the models that it can train, one size is best.

        L(N) = lowest + bend * log(N / best) ** 2

    On a log-log plot: a valley, symmetric about `best`.

    Args:
      x: model size N, > 0, any shape.
      lowest: loss of the best size.
      bend: loss that a size e times too large or too small costs, >= 0.
      best: the best size, in units of x.

    Returns:
      Loss, same shape as x.

    Source: Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models", approach 2.
    """
    x, lowest, bend, best = arrays(x, lowest, bend, best)
    return lowest + bend * np.log(x / best) ** 2


def _parabola_slopes(x: ArrayLike, lowest: Array, bend: Array, best: Array) -> Array:
    away = np.log(np.asarray(x, float) / best)
    return stack(1.0, away**2, -2 * bend * away)


def _parabola_starts(x: Array, y: Array, weights: Array) -> Array:
    line = np.log(x)
    found, misfit = least(stack(1.0, line, line**2)[None], y, weights, free=[0, 1])
    bottom, tilt, bend = found.T
    best = np.clip(-tilt / (2 * np.maximum(bend, 1e-12)), line.min() - 5, line.max() + 5)
    return foremost(misfit, bottom - bend * best**2, bend, np.exp(best))


_ZHAI = "Zhai et al. 2022, Scaling Vision Transformers, section 2.2"
_HESTNESS = "Hestness et al. 2017, Deep Learning Scaling is Predictable, Empirically"
_REVISITING = "Alabdulmohsin et al. 2022, Revisiting Neural Scaling Laws in Language and Vision"

SATURATING = _of_saturating("saturating", "a (x + d)^-b + c", saturating, _ZHAI)
POWER = _of_saturating("power", "a x^-b", power, _HESTNESS)
POWER_FLOOR = _of_saturating("power-floor", "a x^-b + c", power_floor, _HESTNESS)
POWER_SHIFT = _of_saturating("power-shift", "a (x + d)^-b", power_shift, _ZHAI + ", with c = 0")
M1, M2 = POWER, POWER_FLOOR
M3 = Law(
    name="m3",
    formula="a (1/x + g)^b",
    parameters=("a", "b", "g"),
    predict=levelling,
    source=_REVISITING + ", M3",
    rescale=lambda unit, a, b, g: stack(a * unit**b, b, g / unit),
    fold=lambda a, b, g: stack(np.log(a) + b * np.log1p(g), np.log(b), np.log1p(g)),
    unfold=lambda at, b, g: stack(np.exp(at - np.exp(b) * g), np.exp(b), np.expm1(g)),
    slopes=_levelling_slopes,
    starts=_levelling_starts,
    bounds=((1e-100, 1e100), (1e-3, 10.0), (0.0, 1e6)),
)
M4 = Law(
    name="m4",
    formula="(E - c) / (e - E)^s = a x^-b",
    parameters=("a", "b", "c", "e", "s"),
    predict=sigmoidal,
    source=_REVISITING + ", M4",
    rescale=lambda unit, a, b, c, e, s: stack(a * unit**b, b, c, e, s),
    fold=_sigmoidal_fold,
    unfold=_sigmoidal_unfold,
    slopes=_sigmoidal_slopes,
    starts=_sigmoidal_starts,
    bounds=((1e-100, 1e100), (1e-3, 10.0), (0.0, 1e12), (1e-12, 1e13), (1e-2, 20.0)),
    floor="c",
)
BROKEN, BROKEN_2, *_MORE = map(broken, range(1, 6))
LOG_LINEAR = Law(
    name="log-linear",
    formula="a - b log10(x)",
    parameters=("a", "b"),
    predict=log_linear,
    source="Sun et al. 2017, Revisiting Unreasonable Effectiveness of Data, figure 4",
    rescale=lambda unit, a, b: stack(a + b * np.log10(unit), b),
    fold=stack,
    unfold=stack,
    slopes=lambda x, a, b: stack(1.0, -np.log10(np.asarray(x, float)) + 0 * a),
    starts=_log_linear_starts,
    bounds=((-np.inf, np.inf), (-np.inf, np.inf)),
)
PARABOLA = Law(
    name="parabola",
    formula="lowest + bend ln(x / best)^2",
    parameters=("lowest", "bend", "best"),
    predict=parabola,
    source="Hoffmann et al. 2022, Training Compute-Optimal Large Language Models, approach 2",
    rescale=lambda unit, lowest, bend, best: stack(lowest, bend, best * unit),
    fold=lambda lowest, bend, best: stack(lowest, bend, np.log(best)),
    unfold=lambda lowest, bend, best: stack(lowest, bend, np.exp(best)),
    slopes=_parabola_slopes,
    starts=_parabola_starts,
    bounds=((0.0, np.inf), (0.0, np.inf), (1e-9, 1e9)),
)

LAWS = {
    law.name: law
    for law in (
        *(SATURATING, POWER, POWER_FLOOR, POWER_SHIFT, M3, M4),
        *(BROKEN, BROKEN_2, LOG_LINEAR, PARABOLA),
    )
}
MANY_BREAKS = {law.name: law for law in _MORE}  # for who asks; with fits they are not tried
