"""Broken power laws."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from fits.base.numbers import Array, arrays, logistic, stack
from fits.laws.law import Law, log_coordinates
from fits.laws.varpro import best_of_grid, grid, nnls

CELLS = 400_000  # places of the grid x points worked on at once, to bound memory
PLACES = 10  # where breaks are looked for, evenly on a log axis


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


def _broken_jacobian(x: ArrayLike, a: Array, b: Array, c: Array, *breaks: Array) -> Array:
    line = np.log(np.asarray(x, float))
    excess = broken_power(x, a, b, 0.0, *breaks)
    found = [excess, -line * excess, np.ones(())]
    for more, d, f in zip(breaks[::3], breaks[1::3], breaks[2::3], strict=True):
        bend, over = _bend(line, d, f), (line - np.log(d)) / f
        past = logistic(over)
        found += [-bend * excess, more * past * excess, -more * (bend - f * over * past) * excess]
    return stack(*found)


def _broken_guess(x: Array, y: Array, weights: Array, breaks: int) -> Array:
    """Floor, places and widths of the breaks on a grid; the logarithm is linear in the rest."""
    line = np.log(x)
    places = np.linspace(line.min(), line.max(), PLACES + 2)[1:-1]
    where = np.array(list(combinations(places, breaks)))
    shares = np.array([0, 0.5, 0.8, 0.9, 0.95, 0.98])
    chosen, share, f = grid(np.arange(float(len(where))), shares, np.array([0.15, 0.5, 1.2]))
    c, d = share * y.min(), np.exp(where[chosen.astype(int)])
    pieces = np.array_split(np.arange(len(c)), max(1, len(c) * len(x) // CELLS))
    each = [_linear(line, y, weights, c[rows], d[rows], f[rows]) for rows in pieces]
    found, misfit = (np.concatenate(part) for part in zip(*each, strict=True))
    steps = np.clip(found[:, 2:], -9, 9)
    rest = [each for k in range(breaks) for each in (steps[:, k], d[:, k], f)]
    every = stack(np.exp(found[:, 0]), np.clip(found[:, 1], -9, 9), c, *rest)
    alike = misfit.reshape(len(where), -1)  # with their breaks at the same places
    best = np.arange(len(where)) * alike.shape[1] + alike.argmin(axis=1)
    return best_of_grid(misfit[best], *every[:, best], count=4 * breaks**2)


def _linear(
    line: Array, y: Array, weights: Array, c: Array, d: Array, f: Array
) -> tuple[Array, Array]:
    """Log a, b and the breaks' b of some places of the grid, and the misfit of each."""
    bends = [-_bend(line, place[:, None], f[:, None]) for place in d.T]
    columns = stack(1.0, -line, *bends).swapaxes(0, 1) * np.ones((len(c), 1, 1))
    left = np.log(y - c[:, None])
    return nnls(columns, left, weights * (1 - c[:, None] / y) ** 2, range(columns.shape[1]))


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
        coordinates=log_coordinates("lpp" + "pll" * breaks),
        jacobian=_broken_jacobian,
        guess=lambda x, y, weights: _broken_guess(x, y, weights, breaks),
        bounds=(
            *((1e-100, 1e100), (-10.0, 10.0), (0.0, np.inf)),
            *((-10.0, 10.0), (1e-6, 1e6), (0.02, 10.0)) * breaks,
        ),
        roles={"a": "scale", "b": "exponent", "c": "floor"},
        unheld=dict.fromkeys(names if breaks > 1 else (), "is numbered by where its break lies"),
    )
