"""How often the intervals of the best model size hold the truth, for each of the three methods.

    python benchmarks/allocation_coverage.py [studies]

Simulated studies of a known law L(N, D) (the one fitted to the Chinchilla points), over 2.7 decades
of compute, of three designs: eight budgets, at each eleven or six sizes about the best one; a grid
of sixteen sizes by eight lengths, where no budget has profiles; 24 runs, each a learning curve
whose errors are correlated. Losses scatter. Three more kinds are hard on the envelope. Prints, for
the exponent a of N = k C^a and for the best size at ten times the largest budget: the share of
nominal 90 % intervals that hold the truth, their mean width (of the size: the logarithm of high
over low), and the mean error of the value; and how often two methods disagree. Writes nothing.
"""

import sys

import numpy as np

from fits.allocation.allocation import BY_ENVELOPE, BY_LAW, BY_PROFILES, disagreements, trainings
from fits.allocation.envelope import envelope
from fits.allocation.isoflop import isoflop
from fits.allocation.parametric import parametric
from fits.laws.chinchilla import CHINCHILLA, chinchilla
from fits.regression.fit import fit

E, A, ALPHA, B, BETA = LAW = 1.8172, 477.8, 0.3473, 2143.4, 0.3672
EXPONENT = BETA / (ALPHA + BETA)
FIRST, LAST, AHEAD = 6e18, 3e21, 3e22


def by_law(runs):
    return parametric(runs, fit(CHINCHILLA, (runs.size, runs.data), runs.loss, clusters=runs.run))


METHODS = {BY_ENVELOPE: envelope, BY_PROFILES: isoflop, BY_LAW: by_law}


def main():
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    truth = EXPONENT, np.log(best_size(AHEAD))
    print(f"{studies} studies of each kind; share held, width, error of the value")
    for kind, (simulate, names) in KINDS.items():
        found = np.zeros((len(names), 2, 3))
        parted = 0
        for seed in range(studies):
            runs = simulate(np.random.default_rng(seed))
            methods = [METHODS[name](runs) for name in names]
            parted += bool(disagreements(methods, [1e20, AHEAD]))
            for method, mine in zip(methods, found, strict=True):
                numbers = method.exponent(), np.log(method.size(AHEAD))
                for (value, low, high), true, sums in zip(numbers, truth, mine, strict=True):
                    sums += [low <= true <= high, high - low, value - true]
        print(f"\n{kind}; methods that disagree: {parted / studies:.2f}")
        for method, mine in zip(methods, found / studies, strict=True):
            exponent, size = (f"{h:.3f} {w:6.3f} {e:+.3f}" for h, w, e in mine)
            print(f"  {method.method:27} exponent {exponent}   size at 10x {size}", flush=True)


def best_size(compute):
    """alpha A / N^alpha = beta B / D^beta at N D = compute / 6."""
    return (ALPHA * A / (BETA * B) * (compute / 6) ** BETA) ** (1 / (ALPHA + BETA))


def best_compute(size):
    """At which a size is the best."""
    return 6 * (size ** (ALPHA + BETA) * BETA * B / (ALPHA * A)) ** (1 / BETA)


def budgets(noise, span, sizes=11):
    """Eight budgets, each spent to 5 %; sizes `span` times apart from end to end."""

    def simulate(rng):
        compute = np.repeat(np.geomspace(FIRST, LAST, 8), sizes)
        about = np.exp(np.repeat(rng.normal(0, 0.15, 8), sizes))
        size = best_size(compute) * about * np.tile(np.geomspace(span**-0.5, span**0.5, sizes), 8)
        compute = compute * np.exp(rng.uniform(-0.05, 0.05, len(size)))
        return measured(rng, size, compute, noise)

    return simulate


def grid(noise, sizes=16):
    """Sizes each trained for eight lengths, the best ones and three times past them."""

    def simulate(rng):
        size = ladder(rng, sizes)
        ends = np.array([FIRST, LAST]) / 6 / best_size(np.array([FIRST, LAST])) * [1 / 3, 3]
        size, data = (each.ravel() for each in np.meshgrid(size, np.geomspace(*ends, 8)))
        return measured(rng, size, 6 * size * data, noise)

    return simulate


def curves(noise, point, sizes=24):
    """Runs of 24 points, up to 30 times the compute at which each is the best, or to the last.

    `noise` is shared by the points of a run, `point` is each one's own.
    """

    def simulate(rng):
        size = ladder(rng, sizes)
        last = np.minimum(30 * best_compute(size), LAST)
        compute = (last[:, None] * np.geomspace(1e-3, 1, 24)).ravel()
        run = np.repeat(np.arange(sizes), 24)
        return measured(rng, size[run], compute, point, rng.normal(0, noise, sizes)[run], run)

    return simulate


def ladder(rng, count):
    """Sizes three times past the best ones at either end, steps uneven by a tenth."""
    first, last = best_size(FIRST) / 3, best_size(LAST) * 3
    return np.geomspace(first, last, count) * np.exp(rng.normal(0, 0.1, count))


def measured(rng, size, compute, noise, shared=0.0, run=None):
    data = compute / 6 / size
    loss = chinchilla(size, data, *LAW) * np.exp(shared + rng.normal(0, noise, len(size)))
    return trainings(size, data, loss, run=None if run is None else run.tolist())


ALL = BY_ENVELOPE, BY_PROFILES, BY_LAW
NO_PROFILES = BY_ENVELOPE, BY_LAW  # few sizes at about equal compute, or correlated errors
KINDS = {
    "scatter .2 %, sizes 9 times apart": (budgets(0.002, 9), ALL),
    "scatter .5 %, sizes 16 times apart": (budgets(0.005, 16), ALL),
    "scatter 1 %, sizes 16 times apart": (budgets(0.01, 16), ALL),
    "scatter .5 %, sizes 64 times apart": (budgets(0.005, 64), ALL),
    "scatter .5 %, six sizes 16 times apart": (budgets(0.005, 16, 6), ALL),
    "scatter .3 %, a grid of sizes and lengths": (grid(0.003), NO_PROFILES),
    "scatter .3 % of runs and .1 % of points, 24 curves": (curves(0.003, 0.001), NO_PROFILES),
    "the same, 8 curves, sizes 2.2 times apart": (curves(0.003, 0.001, 8), (BY_ENVELOPE,)),
    "scatter .5 % of points alone, 24 curves": (curves(0.0, 0.005), (BY_ENVELOPE,)),
    "scatter .3 %, a grid of five sizes 3.9 times apart": (grid(0.003, 5), (BY_ENVELOPE,)),
}


if __name__ == "__main__":
    main()
