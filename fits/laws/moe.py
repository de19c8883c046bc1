"""Routed (mixture-of-experts) models: loss against the size of the dense model and experts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from fits.base.numbers import Array, arrays, stack
from fits.laws.law import Law
from fits.laws.varpro import best_of_grid, grid, nnls


def routed(
    params: ArrayLike,
    experts: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    c: ArrayLike,
    d: ArrayLike,
    start: ArrayLike,
    most: ArrayLike,
    floor: ArrayLike = 0.0,
) -> Array:
    """Loss of a routed model, whose experts help a small model more than a large one.

        log(L(N, E) - floor) = a log N + b log E' + c log N log E' + d
        1 / E' = 1 / (E - 1 + 1 / (1 / start - 1 / most)) + 1 / most

    On a log-log plot: against N a straight line, less steep the more experts there are (c > 0);
    against E falling between E = start and E = most, and flat outside.

    Args:
      params: parameters of the dense model N that every token sees, > 0.
      experts: how many experts each routed layer has E, >= 1; 1 is the dense model.
      a: slope in log N of a model with E' == 1, < 0 where size helps.
      b: slope in log E' at N == 1.
      c: how log N changes it.
      d: log loss at N == 1 and E' == 1.
      start: E' of the dense model, >= 1: a few experts help less than a power law says.
      most: E' of endlessly many experts.
      floor: irreducible loss, >= 0; 0 is the law of the paper.

    Returns:
      Loss, of the shape that both have together.

    Source: Clark et al. 2022, "Unified Scaling Laws for Routed Language Models", section 4 (there
    E_start and E_max; logarithms to base 10).
    """
    params, experts, a, b, c, d, floor = arrays(params, experts, a, b, c, d, floor)
    n, e = np.log(params), np.log(_effective(experts, *arrays(start, most)))
    return np.exp(a * n + b * e + c * n * e + d) + floor


def _effective(experts: Array, start: Array, most: Array) -> Array:
    """From `start` at 1 up to `most`."""
    return 1 / (1 / (experts - 1 + 1 / (1 / start - 1 / most)) + 1 / most)


def _guess(x: Array, y: Array, weights: Array, shares: Array) -> Array:
    """On a grid of start, most and floor the logarithm is linear in the rest.

    Args:
      shares: of the lowest loss, that the floor may have.
    """
    starts, mosts = np.array([1.01, 1.5, 2.5, 5.0, 12.0]), np.geomspace(40, 1e5, 8)
    start, most, share = grid(starts, mosts, shares)
    floor = share * y.min()
    n = np.log(x[0])
    e = np.log(_effective(x[1], start[:, None], most[:, None]))
    columns = stack(n + 0 * e, e, n * e, 1.0).swapaxes(0, 1)
    left = y - floor[:, None]
    found, misfit = nnls(columns, np.log(left), weights * (left / y) ** 2, free=range(4))
    return best_of_grid(misfit, *found.T, start, most, floor, count=8)


SLOPE, HEIGHT = (-10.0, 10.0), (-100.0, 100.0)
_FORMULA = (
    "exp(a ln N + b ln E' + c ln N ln E' + d); 1/E' = 1/(E - 1 + 1/(1/start - 1/most)) + 1/most"
)
_CLARK = "Clark et al. 2022, Unified Scaling Laws for Routed Language Models, section 4"


def _rescale(
    unit: Array, a: Array, b: Array, c: Array, d: Array, start: Array, most: Array, *floor: Array
) -> Array:
    line = np.log(unit[0])
    return stack(a, b - c * line, c, d - a * line, start, most, *floor)


ROUTED = Law(
    name="routed",
    formula=_FORMULA,
    parameters=("a", "b", "c", "d", "start", "most"),
    predict=lambda x, *values: routed(x[0], x[1], *values),
    source=_CLARK,
    rescale=_rescale,
    guess=lambda x, y, weights: _guess(x, y, weights, np.zeros(1))[:6],
    bounds=(SLOPE, SLOPE, SLOPE, HEIGHT, (1.0, 30.0), (32.0, 1e7)),
    roles={"a": "exponent", "c": "exponent"},
    variables=("N", "E"),
    units=(0, None),
    least={"E": (1.0, "experts that each routed layer has, 1 of a dense model")},
)
ROUTED_FLOOR = replace(
    ROUTED,
    name="routed-floor",
    formula=f"floor + {_FORMULA}",
    parameters=(*ROUTED.parameters, "floor"),
    source=_CLARK + ", with a floor",
    guess=lambda x, y, weights: _guess(x, y, weights, np.array([0, 0.3, 0.5, 0.7, 0.8, 0.9])),
    bounds=(*ROUTED.bounds, (0.0, np.inf)),
    coordinates=None,  # type: ignore[arg-type]  # those of its bounds
    roles={**ROUTED.roles, "floor": "floor"},
)
