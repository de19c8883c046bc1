"""Farseer's L(N, D): floor, scale and exponent of the power of D all change with model size."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fits.base.numbers import Array, arrays, stack
from fits.laws.law import Law
from fits.laws.varpro import best_of_grid, grid, nnls

LEAST = 1e-4  # of an exponent's size: nearer to 0 its term is a logarithm all the same


def farseer(
    params: ArrayLike,
    data: ArrayLike,
    s: ArrayLike,
    q: ArrayLike,
    S: ArrayLike,
    B: ArrayLike,
    b: ArrayLike,
    Q: ArrayLike,
    A: ArrayLike,
    a: ArrayLike,
    E: ArrayLike,
) -> Array:
    """Loss that falls as a power of the data, of another floor, scale and exponent for each size.

        L(N, D) = exp(s N ** q + S) + exp(B N ** b + Q) * D ** -exp(A N ** a + E)

    On a log-log plot against D at constant N: falling with slope -exp(A N ** a + E) above a floor
    exp(s N ** q + S).

    Args:
      params: parameters of the model N, > 0.
      data: tokens or images seen D, > 0. The law is not the same for D in another unit.
      s, q, S: of the floor's logarithm; s and S are in log loss.
      B, b, Q: of the scale's logarithm.
      A, a, E: of the exponent's logarithm.

    Returns:
      Loss, of the shape that `params` and `data` have together.

    Source: Li et al. 2025, "Predictable Scale: Part II, Farseer: A Refined Scaling Law in Large
    Language Models"; the formula as the data of ScaleBench state it.
    """
    params, data, s, q, S, B, b, Q, A, a, E = arrays(params, data, s, q, S, B, b, Q, A, a, E)
    n, d = np.log(params), np.log(data)
    power = np.exp(A * np.exp(a * n) + E)
    return np.exp(s * np.exp(q * n) + S) + np.exp(B * np.exp(b * n) + Q - power * d)


def _to_unconstrained(s: Array, q: Array, S: Array, *rest: Array) -> Array:
    """Of each of the three: slope against log N where N == 1, exponent, and height there.

    Near exponent 0 its coefficient and offset grow without end, while these stay. What is bounded
    by infinity stays so.
    """
    B, b, Q, A, a, E = rest
    found = []
    for factor, exponent, offset in ((s, q, S), (B, b, Q), (A, a, E)):
        with np.errstate(invalid="ignore"):
            slope = np.where(np.isinf(factor), factor, factor * exponent)
            height = np.where(np.isinf(factor), offset, factor + offset)
        found += [slope, exponent, height]
    return stack(*found)


def _from_unconstrained(*coordinates: Array) -> Array:
    found = []
    for slope, exponent, height in zip(*(coordinates[k::3] for k in range(3)), strict=True):
        exponent = _not_zero(exponent)
        found += [slope / exponent, exponent, height - slope / exponent]
    return stack(*found)


def _not_zero(exponent: Array) -> Array:
    return np.where(np.abs(exponent) < LEAST, np.where(exponent < 0, -LEAST, LEAST), exponent)


def _jacobian(x: Array, *values: Array) -> Array:
    n, d = np.log(x)
    s, q, S, B, b, Q, A, a, E = values
    power = np.exp(A * np.exp(a * n) + E)
    floor = np.exp(s * np.exp(q * n) + S)
    fall = np.exp(B * np.exp(b * n) + Q - power * d)
    found = []
    for outer, factor, exponent in ((floor, s, q), (fall, B, b), (-power * d * fall, A, a)):
        size = np.exp(exponent * n)
        bend = np.expm1(exponent * n) / exponent  # (N^q - 1) / q: log N at q == 0
        found += [outer * bend, outer * factor * (n * size - bend), outer]
    return stack(*found)


def _guess(x: Array, y: Array, weights: Array) -> Array:
    """On a grid of exponents, with the heights of floor and fall solved for by relative errors."""
    n, d = np.log(x)
    middle = d.mean()
    alpha, power, change, tilt = grid(
        np.array([0.05, 0.15, 0.4, 1.0]),  # of the floor's fall with N
        np.array([0.15, 0.25, 0.35, 0.5, 0.7]),  # of D, at the middle size
        np.array([-0.1, -0.03, 0.03, 0.1]),  # how its logarithm changes with log N
        np.array([-0.3, -0.1, 0.0, 0.1]),  # how the scale's does
    )
    each = power[:, None] * np.exp(change[:, None] * n)
    terms = stack(1.0, np.exp(-alpha[:, None] * n), np.exp(tilt[:, None] * n - each * (d - middle)))
    found, misfit = nnls(terms.swapaxes(0, 1) / y, np.ones_like(y), weights)
    tiny = 1e-3 * y.min()
    constant, falling, scale = np.maximum(found, tiny).T
    share = falling / (constant + falling)
    small = 0.1  # exponent of what changes about evenly with log N
    floor = np.log(constant + falling)
    rest = (
        *_even(np.log(scale) + power * middle, tilt + change * power * middle, small),
        *_even(np.log(power), change, small),
    )
    bent = best_of_grid(misfit, share, -alpha, floor - share, *rest, count=12)
    even = best_of_grid(misfit, *_even(floor, -alpha * share, small), *rest, count=12)
    return np.concatenate([bent, even], axis=1)


def _even(height: Array, slope: Array, exponent: float) -> tuple[Array, Array, Array]:
    return slope / exponent, np.full_like(slope, exponent), height - slope / exponent


def _rescale(unit: Array, *values: Array) -> Array:
    found = list(values)
    for k in (0, 3, 6):
        found[k] = values[k] * unit[0] ** -values[k + 1]
    return stack(*found)


ANY, BEND = (-np.inf, np.inf), (-3.0, 3.0)
FARSEER = Law(
    name="farseer",
    formula="exp(s N^q + S) + exp(B N^b + Q) D^-exp(A N^a + E)",
    parameters=("s", "q", "S", "B", "b", "Q", "A", "a", "E"),
    predict=lambda x, *values: farseer(x[0], x[1], *values),
    source="Li et al. 2025, Predictable Scale: Part II, Farseer",
    rescale=_rescale,
    coordinates=(_to_unconstrained, _from_unconstrained),
    jacobian=_jacobian,
    guess=_guess,
    bounds=(ANY, BEND, ANY) * 3,
    roles={
        "s": "scale",
        "B": "scale",
        "A": "scale",
        "q": "exponent",
        "b": "exponent",
        "a": "exponent",
    },
    unheld=dict.fromkeys(("s", "B", "A"), "means nothing apart from its exponent"),
    variables=("N", "D"),
    units=(0, None),
    unit_decides=("D",),
)
