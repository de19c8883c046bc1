"""Which law to trust: the one that, fitted to the small runs, foretells the large ones.

How well a law describes the points it was fitted to says little: more parameters always describe
them better. What a scaling law is for is to be right where it has seen nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fits.descent import Measure, in_units, minimise, unit_of
from fits.fit import LOG, every_point
from fits.laws import Array, Law, arrays
from fits.resampled import Choose, Mask

SHARE = 1 / 3  # of the points, those of largest x, that are held out


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How a law did where it had seen nothing.

    Fields:
      law: the curve.
      rmsle: root mean square of log(predicted / measured) over the points held out; None: it
        could not be tried.
      values: parameters fitted to the other points, in the order of `law.parameters`.
      refusal: why it could not be tried.
    """

    law: Law
    rmsle: float | None = None
    values: tuple[float, ...] = ()
    refusal: str = ""


@dataclass(frozen=True, kw_only=True)
class Trials:
    """Laws in the order in which they foretold.

    Fields:
      rows: one a law, the best first, those that could not be tried last.
      fitted, held_out: how many points were fitted and foretold.
      reach: how many times larger the largest x held out is than the largest fitted.
    """

    rows: tuple[Trial, ...]
    fitted: int
    held_out: int
    reach: float

    def in_words(self) -> Iterator[str]:
        """For a person, beside the fit."""
        yield (
            f"which law? Fitted to the {self.fitted} smallest and asked for the {self.held_out} "
            f"largest, up to {self.reach:.3g} times as large, log error:"
        )
        tried = [row for row in self.rows if row.rmsle is not None]
        if tried:
            yield "  " + ", ".join(f"{row.law.name} {row.rmsle:.3g}" for row in tried)
        refused = [f"{row.law.name} ({row.refusal})" for row in self.rows if row.rmsle is None]
        if refused:
            yield f"  not tried: {', '.join(refused)}"

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {
            "fitted": self.fitted,
            "foretold": self.held_out,
            "times_larger": self.reach,
            "log_error": {row.law.name: row.rmsle for row in self.rows},
        }


def choose_law(
    x: ArrayLike,
    y: ArrayLike,
    laws: Iterable[Law],
    *,
    by: ArrayLike | None = None,
    share: float = SHARE,
    choose: Choose = every_point,
    measure: Measure = LOG,
) -> Trials:
    """Fit each law to the points of smaller x, and see how well it foretells those of larger.

    Args:
      x: resource spent by each run, > 0, [runs] or [variables, runs].
      y: its error, > 0, [runs].
      laws: to try, all of as many variables as x holds.
      by: what makes a run a large one, [runs]; None: x, or the product of its variables.
      share: of the points to hold out; those of equal size stay together.
      choose: which of the runs are points at all, as in `fit`.
      measure: by which the smaller points are fitted.

    Raises:
      ValueError: all points are of one size, so that none can be held out.
    """
    every_x, every_y = arrays(x, y)
    points = choose(every_x, every_y, np.ones((1, len(every_y)), bool))[0]
    compute, error = every_x[..., points], every_y[points]
    sizes = np.atleast_2d(np.log(compute)).sum(axis=0)
    if by is not None:
        sizes = np.asarray(by, float)[points]
    edge = float(np.sort(sizes)[-max(1, round(share * len(error)))])
    small = sizes < edge - 1e-12 * abs(edge)
    if not small.any():
        raise ValueError(
            f"the {len(error)} points are of one size: a law can be tried only where some runs are "
            "larger than others, the small ones to fit and the large ones to foretell."
        )
    rows = [_try(law, compute, error, small, measure) for law in laws]
    rows.sort(key=lambda row: np.inf if row.rmsle is None else row.rmsle)
    return Trials(
        rows=tuple(rows),
        fitted=int(small.sum()),
        held_out=int((~small).sum()),
        reach=float(np.max(compute.max(axis=-1) / compute[..., small].max(axis=-1))),
    )


def _try(law: Law, x: Array, y: Array, small: Mask, measure: Measure) -> Trial:
    different = np.unique(x[..., small], axis=-1).shape[-1]
    if different <= len(law.parameters):
        return Trial(
            law=law,
            refusal=f"{different} different x to fit, {len(law.parameters)} parameters",
        )
    unit = unit_of(law, x[..., small])
    plain = in_units(x, unit)
    weights = np.ones(int(small.sum()))
    try:
        values, _ = minimise(law, plain[..., small], y[small], weights, measure)
    except ValueError as wrong:
        return Trial(law=law, refusal=str(wrong))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        missed = np.log(law.predict(plain[..., ~small], *values) / y[~small])
        values = law.rescale(unit, *values)
    rmsle = float(np.sqrt(np.mean(missed**2)))
    if not np.isfinite(rmsle):
        return Trial(law=law, values=tuple(values.tolist()), refusal="it foretells errors below 0")
    return Trial(law=law, rmsle=rmsle, values=tuple(values.tolist()))
