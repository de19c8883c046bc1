"""What the points alone say against a forecast: several curves in one, a last point far off."""

from __future__ import annotations

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array
from fits.forecast.continued import SAME
from fits.forecast.ends import RESOLUTION
from fits.forecast.noise import usual_noise
from fits.forecast.steep import missed

REPEATED = 4  # points more than there are x, from which their distance tells something
APART = 5.0  # that distance, by what noise explains, from which these are several curves


def several_curves(x: Array, y: Array) -> list[Diagnostic]:
    """Whether these are several curves: y of one x differ by far more than noise explains.

    Noise averages out over the points of an x, what one curve has more than another does not.
    """
    order = np.lexsort((y, x))
    log_x, log_y = np.log(x[order]), np.log(y[order])
    group = np.cumsum(np.diff(log_x, prepend=log_x[0]) > SAME, dtype=np.int64)
    count = np.bincount(group)
    several = count > 1
    own = several[group]
    extra = int(own.sum() - several.sum())
    if extra < REPEATED:
        return []
    mean_x, mean_y = (np.bincount(group, each) / count for each in (log_x, log_y))
    squares = ((log_y - mean_y[group]) ** 2)[own].sum()
    apart = float(np.sqrt(squares / extra))
    noise = usual_noise(mean_x[several], mean_y[several]) * np.sqrt(count[several].mean())
    if apart < APART * noise + RESOLUTION:
        return []
    numbers = {"apart": apart, "noise": float(noise)}
    return [Diagnostic("forecast_of_several", numbers=numbers)]


def missed_last(members: float, noise: float) -> list[Diagnostic]:
    """Where a forecast begins far above or below the last point; arguments of `missed`."""
    if not missed(members, noise):
        return []
    code = "forecast_above" if members > 0 else "forecast_below"
    return [Diagnostic(code, numbers={"by": abs(float(np.expm1(members)))})]
