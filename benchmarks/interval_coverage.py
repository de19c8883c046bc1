"""How often intervals hold the truth.

    python benchmarks/interval_coverage.py [STUDIES] [--kind NAME ...]

Simulates scaling studies whose truth is known, and prints for every kind of study how often nominal
90 % intervals contain it. STUDIES (default 200) of each kind; about 0.1 s each. NAME: of
those kinds alone.

First all points are fitted: runs that err independently, by amounts that grow or shrink with
compute, or of which one in ten errs eightfold; seeds that share what their configuration errs by;
learning curves with correlated errors, and one such curve alone. Of the saturating law: b, c,
d, and the error at 10 times the largest compute. Of L(N, D): alpha, beta, E, the loss at 10 times
the largest compute, and the best model size there. `above` is the share of studies in which the
last of these lay above its interval. Below each row: the median width of the intervals.

Then the frontier is fitted, as `fit-laws` does: how often the interval of the floor c holds the
truth, how often the truth lay below and above it, how wide it was, and how often the error at 10
times the largest compute was held. Such a study trains models of a few sizes for a few durations.
Along the frontier the error exceeds the floor by a known amount, E(C) - c; a model that is optimal
at compute C_m exceeds it, at any other compute C, by the factor (r^s + r^-s) / 2 with r = C / C_m:
too small a model beyond, too short a run before. Of two kinds the runs lie along the frontier, or
half of them anywhere above. Measured on n images, so binomial, after run-to-run noise.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fits.base.numbers import Array
from fits.data.frontier import on_frontier
from fits.laws.chinchilla import CHINCHILLA
from fits.laws.law import Law
from fits.laws.powers import SATURATING
from fits.regression.fit import Fit, fit

Noise = Callable[[np.random.Generator, NDArray[np.int64], Array], Array]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Studies of which all points are fitted.

    Fields:
      law: that made the errors.
      truth: its parameters.
      x: of the points, [points] or [variables, points].
      group: points of one group have correlated errors, [points].
      noise: (rng, group, share) -> log error, [points]; share: how far along log compute, 0 to 1.
      grouped: whether the fit is given the groups as clusters.
      robust: whether it is by Huber's loss.
    """

    law: Law
    truth: tuple[float, ...]
    x: Array
    group: NDArray[np.int64]
    noise: Noise
    grouped: bool = False
    robust: bool = False

    def study(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Of each interval: -1 where the truth lay below, 1 where above, else 0; and its width."""
        compute = np.log(np.atleast_2d(self.x)).sum(axis=0)
        share = (compute - compute.min()) / np.ptp(compute)
        error = self.law.predict(self.x, *self.truth)
        error = error * np.exp(self.noise(rng, self.group, share))
        groups = self.group.tolist() if self.grouped else None
        found = fit(self.law, self.x, error, clusters=groups, huber="auto" if self.robust else None)
        ends, truths = zip(*self.intervals(found), strict=True)
        (low, high), true = np.array(ends).T, np.array(truths)
        return np.where(true < low, -1, np.where(true > high, 1, 0)), high - low

    def intervals(self, found: Fit) -> list[tuple[tuple[float, float], float]]:
        """Intervals, each with the truth."""
        both = zip(found.intervals, self.truth, strict=True)
        every = dict(zip(self.law.parameters, both, strict=True))
        several = self.law is CHINCHILLA
        ahead = np.sqrt(10) * self.x.max(axis=1) if several else np.asarray(10 * self.x.max())
        names = ("alpha", "beta", "E") if several else ("b", "c", "d")
        low, high = found.band(ahead)
        answers = [every[name] for name in names]
        answers.append(((float(low), float(high)), float(self.law.predict(ahead, *self.truth))))
        if several:
            flops = 6 * float(np.prod(ahead))
            size = found.interval(lambda *values: log_best_size(flops, *values))
            true = log_best_size(flops, *np.array(self.truth))
            answers.append((size, float(true)))
        return answers


def log_best_size(flops: float, E: Array, A: Array, alpha: Array, B: Array, beta: Array) -> Array:
    """Of the model with the least loss of all that so much compute, 6 N D, can train."""
    scale = np.log(alpha) + np.log(A) - np.log(beta) - np.log(B)
    return (scale + beta * np.log(flops / 6)) / (alpha + beta)


def each(size: Callable[[Array], Array]) -> Noise:
    """Every point on its own; size: share -> standard deviation."""
    return lambda rng, group, share: size(share) * rng.normal(size=len(group))


def outliers(rng: np.random.Generator, group: NDArray[np.int64], share: Array) -> Array:
    return 0.01 * rng.normal(size=len(group)) * np.where(rng.random(len(group)) < 0.1, 8, 1)


def seeds(rng: np.random.Generator, group: NDArray[np.int64], share: Array) -> Array:
    """Half of the scatter is the configuration's, half the seed's."""
    return 0.014 * (rng.normal(size=group.max() + 1)[group] + rng.normal(size=len(group)))


def curves(rng: np.random.Generator, group: NDArray[np.int64], share: Array) -> Array:
    """A curve lies too high or too low as a whole, and wanders; its points are in their order."""
    error = 0.012 * rng.normal(size=group.max() + 1)[group]
    wander = 0.0
    for k in range(len(group)):
        step = rng.normal()
        wander = step if k == 0 or group[k] != group[k - 1] else 0.8 * wander + 0.6 * step
        error[k] += 0.008 * wander
    return error


def wanders(rng: np.random.Generator, group: NDArray[np.int64], share: Array) -> Array:
    """One curve: each point errs as the one before it, by eight tenths."""
    error = rng.normal(size=len(group))
    for k in range(1, len(group)):
        error[k] = 0.8 * error[k - 1] + 0.6 * error[k]
    return 0.02 * error


def kinds() -> dict[str, Kind]:
    runs = np.geomspace(1e-2, 1e3, 24)
    short = np.geomspace(1e-2, 1e2, 30)
    first = np.geomspace(1e-2, 1e2, 8)[:, None]
    learning = (first * np.geomspace(1, 10, 12)).ravel()
    sizes, tokens = np.geomspace(1e7, 1e10, 7), np.geomspace(3e8, 3e11, 7)
    grid = np.stack([axis.ravel() for axis in np.meshgrid(sizes, tokens, indexing="ij")])
    alone = partial(Kind, law=SATURATING, truth=(0.6, 0.35, 0.1, 0.5))
    pair = partial(Kind, law=CHINCHILLA, truth=(1.8172, 482.01, 0.3478, 2085.43, 0.3658), x=grid)
    one, two = np.arange(24), np.arange(49)
    steady, shrinks, grows = (
        each(lambda share: 0.02 + 0 * share),
        each(lambda share: 0.04 * 10**-share),
        each(lambda share: 0.004 * 10**share),
    )
    return {
        "independent": alone(x=runs, group=one, noise=steady),
        "independent, floor far": alone(x=short, group=np.arange(30), noise=steady),
        "noise shrinks tenfold": alone(x=runs, group=one, noise=shrinks),
        "noise grows tenfold": alone(x=runs, group=one, noise=grows),
        "outliers, huber": alone(x=runs, group=one, noise=outliers, robust=True),
        "outliers, squares": alone(x=runs, group=one, noise=outliers),
        "12 x 3 seeds": alone(
            x=np.repeat(runs[::2], 3), group=np.arange(36) // 3, noise=seeds, grouped=True
        ),
        "8 curves of 12": alone(x=learning, group=np.arange(96) // 12, noise=curves, grouped=True),
        "8 curves, no clusters": alone(x=learning, group=np.arange(96) // 12, noise=curves),
        "one curve of 40": alone(x=np.geomspace(1e-2, 1e3, 40), group=np.arange(40), noise=wanders),
        "N, D independent": pair(group=two, noise=each(lambda share: 0.005 + 0 * share)),
        "N, D noise shrinks": pair(group=two, noise=each(lambda s: 0.02 * 10**-s)),
        "N, D outliers, huber": pair(group=two, noise=outliers, robust=True),
        "N, D 7 curves of 7": pair(group=two // 7, noise=curves, grouped=True),
    }


def points_fitted(studies: int, names: list[str]) -> None:
    print(f"all points fitted, {studies} studies of each kind: share of intervals with the truth\n")
    print(f"{'':24}{'b':>8}{'c':>8}{'d':>8}{'10x':>8}{'above':>8}")
    for name, kind in kinds().items():
        if names and name not in names:
            continue
        if name == "N, D independent":
            print(f"{'':24}{'alpha':>8}{'beta':>8}{'E':>8}{'10x':>8}{'size':>8}{'above':>8}")
        rng = np.random.default_rng(0)
        missed, width = np.array([kind.study(rng) for _ in range(studies)]).swapaxes(0, 1)
        shares = [*(missed == 0).mean(axis=0), (missed[:, -1] > 0).mean()]
        print(f"{name:24}" + "".join(f"{share:8.2f}" for share in shares))
        print(f"{'  median width':24}" + "".join(f"{w:8.3g}" for w in np.median(width, axis=0)))
        sys.stdout.flush()


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """A kind of study.

    Fields:
      floor: the truth that the interval of c should hold.
      excess: compute -> error above the floor along the frontier.
      sizes, durations: of the grid; compute grows by `size_step` and `duration_step`.
      spread: s above; how fast a model becomes the wrong one.
      images: on which the error is measured.
      noise: standard deviation of log error from run to run.
    """

    floor: float
    excess: Callable[[Array], Array]
    sizes: int = 5
    durations: int = 7
    size_step: float = 4.0
    duration_step: float = 2.0
    spread: float = 0.5
    images: int = 8192
    noise: float = 0.01

    def run(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Compute and measured error of every run."""
        size = self.size_step ** np.arange(self.sizes)[:, None]
        duration = self.duration_step ** np.arange(self.durations)
        compute = 0.02 * size * duration
        middle = np.linspace(0.25, 0.75, self.sizes)[:, None] * (self.durations - 1)
        ratio = duration / self.duration_step**middle
        above = (ratio**self.spread + ratio**-self.spread) / 2
        error = np.minimum(self.floor + self.excess(compute) * above, 0.95)
        noisy = np.minimum(error * np.exp(self.noise * rng.normal(size=error.shape)), 0.99)
        wrong = np.maximum(rng.binomial(self.images, noisy), 1)
        return compute.ravel(), wrong.ravel() / self.images


@dataclass(frozen=True, kw_only=True)
class Along:
    """A kind of study whose runs are as good as any of their compute, or worse by chance.

    Fields:
      floor, excess: as of a Simulation.
      runs: from 0.1 to 1000 units of compute.
      worse: the share of them that lies above the frontier, by .3 in log error on average.
      noise: standard deviation of log error from run to run.
    """

    floor: float
    excess: Callable[[Array], Array]
    runs: int
    worse: float
    noise: float = 0.01

    def run(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Compute and error of every run."""
        compute = np.geomspace(0.1, 1e3, self.runs)
        above = rng.exponential(0.3, self.runs) * (rng.random(self.runs) < self.worse)
        error = self.floor + self.excess(compute)
        return compute, error * np.exp(above + self.noise * rng.normal(size=self.runs))


def law(a: float, b: float, d: float) -> Callable[[Array], Array]:
    return lambda compute: a * (compute + d) ** -b


SIMULATIONS: dict[str, Simulation | Along] = {
    "24 runs along the frontier": Along(floor=0.12, excess=law(0.63, 0.32, 0.52), runs=24, worse=0),
    "120 runs, half above it": Along(floor=0.12, excess=law(0.63, 0.32, 0.52), runs=120, worse=0.5),
    "floor nearly reached": Simulation(floor=0.15, excess=law(0.35, 0.5, 0.3)),
    "floor far away": Simulation(floor=0.12, excess=law(0.4, 0.35, 0.5)),
    "steep": Simulation(floor=0.2, excess=law(0.5, 0.8, 0.7)),
    "no floor": Simulation(floor=0.0, excess=law(0.4, 0.3, 0.5)),
    "wide grid": Simulation(floor=0.1, excess=law(0.6, 0.35, 0.5), size_step=5, duration_step=3),
    "small grid, 4 x 4": Simulation(floor=0.15, excess=law(0.35, 0.5, 0.3), sizes=4, durations=4),
    "dense grid, 8 x 12": Simulation(
        floor=0.15,
        excess=law(0.35, 0.5, 0.3),
        sizes=8,
        durations=12,
        size_step=2.3,
        duration_step=1.5,
    ),
    "slow, 4 % noise": Simulation(floor=0.1, excess=law(0.5, 0.2, 0.3), noise=0.04),
    "slow, 4 x 4": Simulation(floor=0.05, excess=law(0.5, 0.2, 0.3), sizes=4, durations=4),
    "4 % noise": Simulation(floor=0.15, excess=law(0.35, 0.5, 0.3), noise=0.04),
    "1000 images": Simulation(floor=0.15, excess=law(0.35, 0.5, 0.3), images=1000),
    "not a power law: steepens": Simulation(
        floor=0.15,
        excess=lambda compute: 0.4 * (compute + 0.3) ** -0.35 / (1 + compute / 20) ** 0.4,
    ),
    "not a power law: logistic": Simulation(
        floor=0.15, excess=lambda compute: 0.75 / (1 + (2 * compute) ** 0.8)
    ),
    "not a power law: exponential": Simulation(
        floor=0.15, excess=lambda compute: 0.75 * np.exp(-((compute / 2) ** 0.4))
    ),
}


def coverage(simulation: Simulation | Along, studies: int, seed: int = 0) -> dict[str, float]:
    """Mean estimate of the floor, and of its intervals: shares and median width; share at 10x."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(studies):
        compute, error = simulation.run(rng)
        fitted = fit(SATURATING, compute, error, choose=on_frontier, replicates=300)
        ahead = np.asarray(10 * compute.max())
        low, high = fitted.band(ahead)
        held = low <= simulation.floor + simulation.excess(ahead) <= high
        found.append((fitted.values[2], *fitted.intervals[2], float(held)))
    estimate, low, high, ahead = np.array(found).T
    below, above = simulation.floor < low, simulation.floor > high
    return {
        "fitted": float(estimate.mean()),
        "held": float(1 - (below | above).mean()),
        "below": float(below.mean()),
        "above": float(above.mean()),
        "width": float(np.median(high - low)),
        "10x": float(ahead.mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", type=int, nargs="?", default=200)
    parser.add_argument("--kind", nargs="+", default=[], choices=[*kinds(), *SIMULATIONS])
    options = parser.parse_args()
    studies = options.studies
    points_fitted(studies, options.kind)
    print(f"\nthe frontier fitted, {studies} studies of each kind: intervals of the floor c\n")
    print(
        f"{'':30}{'truth':>7}{'fitted':>8}{'held':>7}{'below':>7}{'above':>7}{'width':>8}{'10x':>7}"
    )
    for name, simulation in SIMULATIONS.items():
        if options.kind and name not in options.kind:
            continue
        row = coverage(simulation, studies)
        print(
            f"{name:30}{simulation.floor:7.2f}{row['fitted']:8.3f}{row['held']:7.2f}"
            f"{row['below']:7.2f}{row['above']:7.2f}{row['width']:8.3f}{row['10x']:7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
