"""In words, what speaks against trusting a fit. A fit that went badly is still an answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fits.laws import Array, Law


def few_points(law: Law, n: int) -> list[str]:
    needs = len(law.parameters)
    if n == needs:
        return [
            f"{n} points for {needs} parameters: the curve goes through every point and the "
            "intervals mean nothing"
        ]
    if n < 2 * needs:
        return [f"{n} points for {needs} parameters: too few to trust the intervals"]
    return []


def on_bounds(law: Law, x: Array, values: Array) -> list[str]:
    """Parameters that could as well be their bound: no prediction would move by 1e-6."""
    curve = np.log(law.predict(x, *values))
    if np.ptp(curve) < 1e-3:
        return ["the error does not fall with x, so the exponent means nothing"]
    warnings = []
    for k, (name, bounds) in enumerate(zip(law.parameters, law.bounds, strict=True)):
        for bound in filter(np.isfinite, bounds):
            moved = values.copy()
            moved[k] = bound
            if np.abs(np.log(law.predict(x, *moved)) - curve).max() < 1e-6:
                warnings.append(f"{name} rests on its bound {bound:g}")
    return warnings


def floor_unknown(
    law: Law, intervals: Sequence[tuple[float, float]], level: float, lowest: float
) -> list[str]:
    """An interval of the floor wider than half the lowest error fitted says next to nothing."""
    if "c" not in law.parameters:
        return []
    low, high = intervals[law.parameters.index("c")]
    if high - low <= lowest / 2:
        return []
    return [
        f"the floor is not identified: the {100 * level:g} % interval of c is [{low:.2g}, "
        f"{high:.2g}], and the lowest error fitted is {lowest:.2g}"
    ]


def bends_otherwise(residuals: Array) -> list[str]:
    """A law that has the data's shape leaves residuals that know nothing of their neighbours."""
    power = (residuals**2).sum()
    correlation = (residuals[1:] * residuals[:-1]).sum() / max(power, 1e-300)
    if correlation < 0.5 or power < 1e-12 * len(residuals):
        return []
    return [
        f"neighbouring points lie on the same side of the curve (correlation {correlation:.2f}): "
        "the law bends otherwise than the data, or the points are not independent; the intervals "
        "are too narrow"
    ]
