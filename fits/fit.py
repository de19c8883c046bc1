"""A law with numbers: values, intervals, and in words what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fits.laws import Array, Law


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """A law with numbers.

    Fields:
      law: the curve.
      values: one number a parameter, in the order of `law.parameters`.
      intervals: (low, high) of each parameter at `level`.
      level: probability that an interval is meant to hold the truth.
      rms: root mean square of log(measured / predicted) over the points fitted.
      n: points fitted.
      span: smallest and largest x of these points.
      warnings: what a reader should know before trusting the numbers; empty is good.
      replicates: [replicates, parameters], the bootstrap's values; bands come from them.
    """

    law: Law
    values: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    level: float
    rms: float
    n: int
    span: tuple[float, float]
    warnings: tuple[str, ...]
    replicates: Array

    def predict(self, x: ArrayLike) -> Array:
        """Error at `x`, same shape as `x`."""
        return self.law.predict(x, *self.values)

    def band(self, x: ArrayLike, level: float | None = None) -> tuple[Array, Array]:
        """Low and high end of the curve at `x`, each of the shape of `x`; level None: the fit's own."""
        tail = (1 - (self.level if level is None else level)) / 2
        x = np.asarray(x, float)
        values = self.replicates.T.reshape(len(self.values), -1, *[1] * x.ndim)
        low, high = np.quantile(self.law.predict(x, *values), [tail, 1 - tail], axis=0)
        return low, high
