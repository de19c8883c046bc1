"""The curves: error as a function of the resource spent.

A law is a formula with named parameters. This file knows no data: how well a law describes
measured points, and how sure its parameters are, is the business of `fit.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

Array = np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Law:
    """A curve: formula, parameters in order, and what a fit needs to know about it."""

    name: str
    formula: str
    parameters: tuple[str, ...]
    predict: Callable[..., Array]
    slopes: Callable[..., Array]
    guess: Callable[[Array, Array, Array], Array]
    rescale: Callable[[Array, float], Array]
    bounds: tuple[tuple[float, float], ...]
    source: str


def saturating(x: ArrayLike, a: ArrayLike, b: ArrayLike, c: ArrayLike, d: ArrayLike) -> Array:
    """Error that leaves a plateau, falls as a power of `x`, and settles on a floor."""
    return a * (np.asarray(x, float) + d) ** -b + c
