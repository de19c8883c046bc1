"""IsoFLOP sweeps whose best sizes are no power of compute: what intervals miss, and the warning.

    python benchmarks/bending_sizes.py [studies]

Simulated sweeps of random designs (3 to 10 budgets over 1 to 3.5 decades, 6 to 12 sizes about the
best of each, errors of .1 to 1 %) of two laws: Chinchilla's, whose best size is a power of compute,
and Farseer's as fitted to its own runs, whose exponent falls. Prints, of the profiles: the share of
nominal 90 % intervals that hold the best size at ten times the largest budget, and the share that
is said to bend, of all sweeps and of those whose interval does not hold it. Writes nothing.
"""

import sys

import numpy as np

from fits.allocation.allocation import trainings
from fits.allocation.isoflop import isoflop
from fits.laws.chinchilla import chinchilla
from fits.laws.farseer import farseer

OF_CHINCHILLA = 1.8172, 477.8, 0.3473, 2143.4, 0.3672
OF_FARSEER = -0.8485, 0.04801, 1.4894, 111.25, -0.14366, -1.0074, -3.488, 0.02572, 4.7293
LAWS = {
    "chinchilla": lambda n, d: chinchilla(n, d, *OF_CHINCHILLA),
    "farseer": lambda n, d: farseer(n, d, *OF_FARSEER),
}
SIZES = np.geomspace(1e6, 1e12, 20_001)


def main():
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(f"{studies} sweeps of each law")
    for name, law in LAWS.items():
        held, bends = np.array([sweep(np.random.default_rng(k), law) for k in range(studies)]).T
        missed = np.mean(bends[held == 0]) if (held == 0).any() else np.nan
        print(f"{name:12} held {held.mean():.2f}   said to bend {bends.mean():.2f}", end="")
        print(f", of those that missed {missed:.2f}", flush=True)


def best_size(law, compute):
    return SIZES[law(SIZES, compute / 6 / SIZES).argmin()]


def sweep(rng, law):
    """Whether the interval holds the best size at ten times, and whether a bend is said."""
    budgets, sizes = rng.integers(3, 11), rng.integers(6, 13)
    compute = np.geomspace(1, 10 ** rng.uniform(1, 3.5), budgets) * 10 ** rng.uniform(18.5, 19.5)
    best = np.array([best_size(law, each) for each in compute])
    reach = np.log(rng.choice([6.0, 16.0, 40.0])) / 2
    spread = np.exp(rng.normal(0, 0.2, (budgets, 1)) + np.linspace(-reach, reach, sizes))
    size = (best[:, None] * spread).ravel()
    spent = np.repeat(compute, sizes)
    error = rng.normal(0, rng.choice([0.001, 0.002, 0.005, 0.01]), len(size))
    data = spent / 6 / size
    found = isoflop(trainings(size, data, law(size, data) * np.exp(error), compute=spent))
    _, low, high = found.size(10 * compute[-1])
    said = any(each.code == "best_sizes_bend" for each in found.diagnostics)
    return low <= best_size(law, 10 * compute[-1]) <= high, said


if __name__ == "__main__":
    main()
