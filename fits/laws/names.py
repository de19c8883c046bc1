"""The names of the laws, without the laws: help and FitSpec list them and load no numpy.

`registry` holds the laws; a test holds the two to the same names.
"""

ONE_VARIABLE = (
    *("saturating", "power", "power-floor", "power-shift", "m3", "m4"),
    *("broken", "broken-2", "log-linear", "parabola"),
    *("broken-3", "broken-4", "broken-5", "growth"),
)
RISING = ("exponential", "sigmoid")
"""Of one variable, a loss, with which the error rises: downstream error."""
SEVERAL_VARIABLES = {
    "chinchilla": "N D",
    "repeated": "N D U",
    "shape": "x t",
    "farseer": "N D",
    "routed": "N E",
    "routed-floor": "N E",
    "sparsity": "N D P",
    "product": "N D",
    "product-3": "N D B",
}
"""Name -> its variables."""

GROWING = ("growth", "product", "product-3")
"""Of a quantity that may grow: no error."""

EITHER_WAY = (*GROWING, *RISING, "log-linear", "parabola", "shape")
"""Those that hold where y rises; every other falls."""

ALIASES = {"m1": "power", "m2": "power-floor", "broken-1": "broken", "moe": "routed"}
"""What papers call a law -> its name here: M1 and M2 of Alabdulmohsin et al. 2022."""
