"""What is believed of a law's parameters before any run: they are of the usual size.

Weak normal priors of the law's coordinates, for x counted in units of its geometric mean over the
runs on offer. They matter where few runs have been bought, and keep a fit there from going wild.
Exponents are about a third, interactions and bends are near none, and floors and scales are a part
of the errors measured: round numbers, the same for every table.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fits.base.numbers import Array, Mask
from fits.laws.law import Law

FLAT = 1e3  # standard deviation of what nothing is known of

# Standard deviations by role: of a floor and a scale in parts of the middle error, or of their
# logarithms; exponents either way.
EXPONENT, FLOOR, SCALE = (0.35, 0.25), (0.5, 0.4), (0.3, 2.0)
LOG_EXPONENT = 0.8

OF_LAWS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "routed": {
        "a": (-0.15, 0.15),
        "b": (-0.1, 0.1),
        "c": (0.0, 0.02),
        "start": (float(np.log(3)), 1.0),
        "most": (float(np.log(500)), 2.0),
    },
    "repeated": {"reuse": (float(np.log(10)), 1.5), "excess": (float(np.log(5)), 1.5)},
    "farseer": {
        "s": (-0.1, 0.15),
        "q": (0.0, 0.25),
        "b": (0.0, 0.25),
        "A": (0.0, 0.1),
        "a": (0.0, 0.25),
        "E": (float(np.log(0.35)), 0.6),
    },
}
"""Law -> parameter -> centre and standard deviation of its coordinate."""
OF_LAWS = {**OF_LAWS, "routed-floor": OF_LAWS["routed"]}


def prior_of(law: Law, error: float) -> tuple[Array, Array]:
    """Centre and standard deviation of each coordinate, [parameters] each.

    Args:
      error: the middle of those measured.
    """
    known = OF_LAWS.get(law.name.split(" in ")[0], {})
    logarithmic = _logarithmic(law)
    found = []
    for name, log in zip(law.parameters, logarithmic.tolist(), strict=True):
        role = law.roles.get(name)
        if name in known:
            found.append(known[name])
        elif role == "exponent":
            centre, spread = EXPONENT
            found.append((float(np.log(centre)), LOG_EXPONENT) if log else (centre, spread))
        elif role in ("floor", "scale"):
            share, spread = FLOOR if role == "floor" else SCALE
            centre = share * error
            linear = max(spread, 1.0) if role == "scale" else spread
            found.append((float(np.log(centre)), spread) if log else (centre, linear * error))
        else:
            found.append((0.0, FLAT))
    centre, spread = np.array(found).T
    return centre, spread


def _logarithmic(law: Law) -> Mask:
    """Which coordinates are the logarithm of their parameter."""
    values = np.full(len(law.parameters), 0.3)
    with np.errstate(all="ignore"):
        return np.asarray(np.isclose(law.to_unconstrained(*values), np.log(0.3)))
