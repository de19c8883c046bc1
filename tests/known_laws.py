"""Every law with parameters that its papers, or common sense, would give it, and points to see."""

import numpy as np

from fits.laws.registry import LAWS, OF_QUANTITIES, RISING, SEVERAL


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
    "exponential": (0.75, 1.6, 0.8),
    "sigmoid": (0.2, 0.75, 2.5, 3.0),
    "farseer": (-0.85, 0.05, 1.5, 110.0, -0.14, -1.0, -3.5, 0.03, 4.7),
    "routed": (-0.09, -0.14, 0.0056, 2.7, 2.0, 400.0),
    "routed-floor": (-0.2, -0.25, 0.008, 4.2, 2.0, 400.0, 1.2),
    "sparsity": (1.1, 40.0, 0.3, 900.0, 0.3, 300.0, 0.6),
}
X = np.geomspace(1e-2, 1e3, 40)
_SIZES, _TOKENS = np.geomspace(1e6, 1e10, 6), np.geomspace(1e8, 1e12, 6)
_REPEATED = crossed(_SIZES, _TOKENS, np.geomspace(1e8, 1e11, 4))
_EXPERTS = np.array([1.0, 2, 4, 8, 16, 32, 64, 128, 256, 512])
POINTS = dict.fromkeys((*LAWS, *OF_QUANTITIES), X) | {
    "product": crossed(_SIZES, _TOKENS),
    "product-3": crossed(_SIZES, _TOKENS, np.geomspace(32, 2048, 4)),
    "exponential": np.linspace(1.5, 5, 30),
    "sigmoid": np.linspace(1.5, 5, 30),
    "farseer": crossed(np.geomspace(1e8, 1e10, 9), np.geomspace(1e9, 1e12, 9)),
    "routed": crossed(np.geomspace(1e7, 1e9, 6), _EXPERTS),
    "routed-floor": crossed(np.geomspace(1e6, 1e10, 8), _EXPERTS),
    "sparsity": crossed(_SIZES, _TOKENS, np.array([1.0, 2, 4, 8, 16, 32])),
    "chinchilla": crossed(_SIZES, _TOKENS),
    "repeated": _REPEATED[:, _REPEATED[2] <= _REPEATED[1]],
    "shape": crossed(np.geomspace(200, 3000, 8), np.geomspace(1e2, 1e5, 8)),
}
KNOWN = LAWS | OF_QUANTITIES | RISING | SEVERAL


def known(law):
    """Points of the law, and the errors that its true parameters give there."""
    x = POINTS[law.name]
    return x, law.predict(x, *TRUTHS[law.name])
