"""A law of size and data where it need hold near the best sizes alone.

Runs of one compute whose size is far from the best are hardly trained, or hardly have parameters.
Where L = E + A / N^alpha + B / D^beta does not hold for them and for the best ones alike, a fit to
all puts the best sizes where no run has them. As a profile at equal compute is fitted near its
minimum, so is the law here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fits.allocation.allocation import Allocation, LineOfSizes, Trainings, disagreements
from fits.allocation.parametric import ParametricLaw, parametric
from fits.base.diagnostic import Diagnostic, Numbers
from fits.base.numbers import Array
from fits.regression.fit import Fit

FACTOR = 3.0  # from the best size at most; from 2 to 4 hardly matters (docs/laws/optimal.md)
LACK_OF_FIT = {
    "autocorrelated_along",
    "smallest_above",
    "smallest_below",
    "largest_above",
    "largest_below",
}
"""Diagnostics of a fit by which its law does not have the shape of the runs."""


def is_near(line: LineOfSizes, size: Array, compute: Array) -> NDArray[np.bool_]:
    """Whether sizes are within `FACTOR` of the best at their compute, [runs]."""
    height, slope = line.values
    away = np.log(size) - height - slope * (np.log(compute) - line.centre)
    return np.abs(away) < math.log(FACTOR)


def contradicted(
    law: ParametricLaw, others: Sequence[Allocation], computes: Sequence[float]
) -> LineOfSizes | None:
    """The best sizes that a law contradicts, where its residuals say that the law is at fault.

    None: it contradicts nothing, or they do not.
    """
    if LACK_OF_FIT.isdisjoint(each.code for each in law.fit.diagnostics):
        return None
    lines = [each for each in others if isinstance(each, LineOfSizes)]
    return next((each for each in lines if disagreements([each, law], computes)), None)


def refitted(law: ParametricLaw, line: LineOfSizes, runs: Trainings, fit: Fit) -> ParametricLaw:
    """The law by a fit to the runs near the best sizes, and a diagnostic that says so.

    Args:
      law: by a fit to all.
      line: of the best sizes.
      runs: all.
      fit: to those that `is_near` keeps.
    """
    near = is_near(line, runs.size, runs.compute)
    found = parametric(runs.keep(near), fit)
    numbers: Numbers = {
        "factor": FACTOR,
        "runs": float(near.sum()),
        "of": float(len(near)),
        "exponent": tuple(law.exponent()),
    }
    why = Diagnostic("law_near_best", (line.method,), numbers)
    return replace(found, diagnostics=(why, *found.diagnostics))
