"""Every law with parameters that its papers, or common sense, would give it, and points to see."""

import numpy as np

from fits.laws.registry import LAWS, OF_QUANTITIES, SEVERAL


def crossed(*axes):
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")])


TRUTHS = {
    "saturating": (0.63, 0.32, 0.12, 0.52),
    "power": (0.63, 0.32),
    "power-floor": (0.63, 0.32, 0.12),
    "power-shift": (0.63, 0.32, 0.52),
    "m3": (0.6, 0.35, 0.02),
    "m4": (0.5, 0.45, 0.1, 0.9, 0.6),
    "broken": (0.4, 0.1, 0.05, 0.4, 5.0, 0.4),
    "broken-2": (0.4, 0.1, 0.05, 0.4, 1.0, 0.3, -0.35, 50.0, 0.25),
    "log-linear": (0.6, 0.1),
    "parabola": (2.1, 0.05, 7.0),
    "chinchilla": (1.8172, 482.01, 0.3478, 2085.43, 0.3658),
    "repeated": (1.87, 521.0, 0.353, 1488.0, 0.353, 15.4, 5.3),
    "growth": (0.09, 0.52),
    "product": (1.79, -0.713, 0.307),
    "product-3": (1.79, -0.713, 0.307, 0.2),
    "shape": (30.0, 0.8, 2e-3, 0.5, 0.3, 0.6, 0.08),
}
X = np.geomspace(1e-2, 1e3, 40)
_SIZES, _TOKENS = np.geomspace(1e6, 1e10, 6), np.geomspace(1e8, 1e12, 6)
_REPEATED = crossed(_SIZES, _TOKENS, np.geomspace(1e8, 1e11, 4))
POINTS = dict.fromkeys((*LAWS, *OF_QUANTITIES), X) | {
    "product": crossed(_SIZES, _TOKENS),
    "product-3": crossed(_SIZES, _TOKENS, np.geomspace(32, 2048, 4)),
    "chinchilla": crossed(_SIZES, _TOKENS),
    "repeated": _REPEATED[:, _REPEATED[2] <= _REPEATED[1]],
    "shape": crossed(np.geomspace(200, 3000, 8), np.geomspace(1e2, 1e5, 8)),
}
KNOWN = LAWS | OF_QUANTITIES | SEVERAL


def known(law):
    """Points of the law, and the errors that its true parameters give there."""
    x = POINTS[law.name]
    return x, law.predict(x, *TRUTHS[law.name])
