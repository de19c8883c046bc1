"""python benchmarks/interval_coverage.py [STUDIES]: how often the floor's interval holds the truth.

Simulates scaling studies whose floor is known, fits each as `fit-laws` would, and prints for every
kind of study how often the nominal 90 % interval of c contains the truth, how often the truth lay
below and above it, and how wide it was. STUDIES (default 200) of each kind; about 0.1 s each.

A study trains models of a few sizes for a few durations. Along the frontier the error exceeds the
floor by a known amount, E(C) - c; a model that is optimal at compute C_m exceeds it, at any other
compute C, by the factor (r^s + r^-s) / 2 with r = C / C_m: too small a model beyond, too short a
run before. Measured on n images, so binomial, after run-to-run noise.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fits.fit import fit
from fits.frontier import on_frontier
from fits.laws import SATURATING, Array


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


def law(a: float, b: float, d: float) -> Callable[[Array], Array]:
    return lambda compute: a * (compute + d) ** -b


SIMULATIONS = {
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


def coverage(simulation: Simulation, studies: int, seed: int = 0) -> dict[str, float]:
    """Mean estimate of the floor, and of its intervals: shares and median width."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(studies):
        compute, error = simulation.run(rng)
        fitted = fit(SATURATING, compute, error, choose=on_frontier, replicates=300)
        found.append((fitted.values[2], *fitted.intervals[2]))
    estimate, low, high = np.array(found).T
    below, above = simulation.floor < low, simulation.floor > high
    return {
        "fitted": float(estimate.mean()),
        "held": float(1 - (below | above).mean()),
        "below": float(below.mean()),
        "above": float(above.mean()),
        "width": float(np.median(high - low)),
    }


def main() -> None:
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(f"{studies} studies of each kind; nominal 90 % intervals of the floor c\n")
    print(f"{'':30}{'truth':>7}{'fitted':>8}{'held':>7}{'below':>7}{'above':>7}{'width':>8}")
    for name, simulation in SIMULATIONS.items():
        row = coverage(simulation, studies)
        print(
            f"{name:30}{simulation.floor:7.2f}{row['fitted']:8.3f}{row['held']:7.2f}"
            f"{row['below']:7.2f}{row['above']:7.2f}{row['width']:8.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
