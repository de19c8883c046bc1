"""How often the intervals of the best size hold the truth, for each of the three ways.

    python benchmarks/allocation_coverage.py [studies]

Simulated studies of a known law L(N, D) (the one fitted to the Chinchilla points): eight budgets
over 2.7 decades, eleven sizes at each, about the best one; losses scatter. Prints, for the exponent
a of N = k C^a and for the best size at ten times the largest budget: the share of nominal 90 %
intervals that hold the truth, their mean width (of the size: the logarithm of high over low), and
the mean error of the value; and how often two ways are said to part. Writes nothing.
"""

import sys

import numpy as np

from fits.allocation import disagreements, trainings
from fits.envelope import envelope
from fits.isoflop import isoflop
from fits.parametric import parametric
from fits.surfaces import chinchilla

E, A, ALPHA, B, BETA = LAW = 1.8172, 477.8, 0.3473, 2143.4, 0.3672
EXPONENT = BETA / (ALPHA + BETA)
AHEAD = 3e22
KINDS = {
    "scatter .2 %, sizes 9 times apart": (0.002, 9),
    "scatter .5 %, sizes 16 times apart": (0.005, 16),
    "scatter 1 %, sizes 16 times apart": (0.01, 16),
    "scatter .5 %, sizes 64 times apart": (0.005, 64),
}


def main():
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    truth = EXPONENT, np.log(best_size(AHEAD))
    print(f"{studies} studies of each kind; share held, width, error of the value")
    for kind, (noise, span) in KINDS.items():
        found = np.zeros((3, 2, 3))
        parted = 0
        for seed in range(studies):
            runs = study(np.random.default_rng(seed), noise, span)
            ways = envelope(runs), isoflop(runs), parametric(runs)
            parted += bool(disagreements(ways, [1e20, AHEAD]))
            for way, mine in zip(ways, found, strict=True):
                numbers = way.exponent(), np.log(way.size(AHEAD))
                for (value, low, high), true, sums in zip(numbers, truth, mine, strict=True):
                    sums += [low <= true <= high, high - low, value - true]
        print(f"\n{kind}; ways that part: {parted / studies:.2f}")
        for way, mine in zip(ways, found / studies, strict=True):
            exponent, size = (f"{h:.2f} {w:6.3f} {e:+.3f}" for h, w, e in mine)
            print(f"  {way.approach:27} exponent {exponent}   size at 10x {size}")


def best_size(compute):
    """alpha A / N^alpha = beta B / D^beta at N D = compute / 6."""
    return (ALPHA * A / (BETA * B) * (compute / 6) ** BETA) ** (1 / (ALPHA + BETA))


def study(rng, noise, span):
    sizes = 11
    compute = np.repeat(np.geomspace(6e18, 3e21, 8), sizes)
    about = np.exp(np.repeat(rng.normal(0, 0.15, 8), sizes))
    size = best_size(compute) * about * np.tile(np.geomspace(span**-0.5, span**0.5, sizes), 8)
    compute = compute * np.exp(rng.uniform(-0.05, 0.05, len(size)))
    data = compute / 6 / size
    return trainings(
        size, data, chinchilla(size, data, *LAW) * np.exp(rng.normal(0, noise, len(size)))
    )


if __name__ == "__main__":
    main()
