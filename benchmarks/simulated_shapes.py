"""How often nominal 90 % intervals hold one more measurement, whatever shape a curve has.

    python benchmarks/simulated_shapes.py [--curves 50] [--tables 25] [--kind WORDS]

Simulates learning curves and frontiers of known truth, of shapes that the project's laws have and
of shapes that none has, and predicts them by `--law forecast` and by `--law best`. Printed for each
shape: the share of one more measurement, noise included, that intervals hold at multiples of the
largest x, and how many of the curves or tables carry a warning. --kind: of shapes whose name has
these words only.

A curve has 20 points, evenly in x, evenly in log x or at random in it, over one and a half to three
decades, with noise of .1 to 2 %. A table has 24 runs over two to three and a half decades with
noise of 1 to 5 %, evenly in log x or at random; in half of the tables every second run or so lies
above the frontier, by 15 % on average. Eight minutes of one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from fits.average.average import average
from fits.base.numbers import Array
from fits.data.frontier import on_frontier
from fits.forecast.forecast import forecast
from fits.regression.fit import every_point

Shape = Callable[[Array], Array]
POINTS, AHEAD = 20, (2.0, 4.0, 10.0)  # of a curve
RUNS, BEYOND = 24, (3.0, 10.0, 30.0)  # of a table
SMOOTHED = 0.9  # autocorrelation of a log's noise
FINE = 4000  # steps of a simulated schedule
DELAY = 0.99  # a step, of the loss's answer to a rate that falls (Tissue et al. 2024)


class Kind(NamedTuple):
    """A shape of learning curves, at x in units of the largest that is seen.

    Fields:
      shape: a truth with random parameters.
      ends: largest x that there is.
      correlation: of the noise of neighbouring points.
    """

    shape: Callable[[np.random.Generator], Shape]
    ends: float = np.inf
    correlation: float = 0.0


def law(rng: np.random.Generator) -> Shape:
    """A saturating law, 1 at x = 1; half of them without a shift."""
    b = np.exp(rng.normal(np.log(0.35), 0.5))
    d = rng.choice([0.0, 10 ** rng.uniform(-3, -1)])
    c = rng.choice([rng.uniform(0.3, 0.9), rng.uniform(0.0, 0.5)])
    return lambda x: c + (1 - c) * ((x + d) / (1 + d)) ** -b


def lessens(rng: np.random.Generator) -> Shape:
    b, k, m = rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.7), rng.uniform(0.2, 0.6)
    return lambda x: np.where(x < k, (x / k) ** -b, (x / k) ** (-b * m))


def other_data(rng: np.random.Generator) -> Shape:
    before, k, h = law(rng), rng.uniform(0.3, 0.8), rng.uniform(0.03, 0.15)
    return lambda x: before(x) * np.where(x > k, np.exp(h), 1.0)


def transient(rng: np.random.Generator) -> Shape:
    after, h, k = law(rng), rng.uniform(0.2, 1.0), rng.uniform(0.02, 0.1)
    return lambda x: after(x) * (1 + h * np.exp(-x / k))


def exponential(rng: np.random.Generator) -> Shape:
    k, c = rng.uniform(0.2, 1.5), rng.uniform(0.2, 0.8)
    return lambda x: c + (1 - c) * np.exp(-(x - 1) / k)


def logarithmic(rng: np.random.Generator) -> Shape:
    m = rng.uniform(0.03, 0.2)
    return lambda x: 1 - m * np.log(x)


def annealed(rate: Callable[[Array], Array], until: float | None) -> Callable[..., Shape]:
    """L0 + A S1^-alpha - C S2 (Tissue et al. 2024) under a rate.

    Args:
      rate: in units of the peak, by the part of the run that is done.
      until: largest x of the run; None: 2 or 4, at random.
    """

    def shape(rng: np.random.Generator) -> Shape:
        last = until or float(rng.choice([2.0, 4.0]))
        x = np.arange(1, FINE + 1) / FINE * last
        path = rate(x / last)
        fallen, sums = 0.0, np.empty(FINE)
        for k, fall in enumerate(-np.diff(path, prepend=path[0])):
            fallen = DELAY * fallen + fall
            sums[k] = fallen
        s1, s2 = np.cumsum(path) / FINE, np.cumsum(sums) * (1 - DELAY)
        b, c, cost = (
            np.exp(rng.normal(np.log(0.4), 0.4)),
            rng.uniform(0.4, 0.85),
            rng.uniform(0.03, 0.12),
        )
        y = c + (1 - c) * (s1 / np.interp(1, x, s1)) ** -b - cost * (s2 - np.interp(1, x, s2))
        return lambda at: np.where(at <= last * (1 + 1e-9), np.interp(at, x, y), np.nan)

    return shape


CURVES = {
    "power, shift and floor": Kind(law),
    "law with annealing, constant rate": Kind(annealed(np.ones_like, 11.0)),
    "a slope that lessens within": Kind(lessens),
    "a level that rises by 3 to 15 % within, as of other data": Kind(other_data),
    "noise with an autocorrelation of .9, as of a smoothed log": Kind(law, correlation=SMOOTHED),
    "a transient over the first 2 to 10 %": Kind(transient),
    "an exponential approach to a floor": Kind(exponential),
    "the same fall for each tenfold of x": Kind(logarithmic),
    "rate that falls linearly to 0 at 2 or 4, not told": Kind(annealed(lambda p: 1 - p, None)),
    "rate that falls to 0 as a cosine at 2 or 4, not told": Kind(
        annealed(lambda p: (1 + np.cos(np.pi * p)) / 2, None)
    ),
}


def saturating(rng: np.random.Generator) -> Shape:
    b, d = rng.uniform(0.2, 0.6), 10 ** rng.uniform(-1, 1)
    c = rng.choice([0.0, rng.uniform(0.05, 0.3)])
    return lambda x: 0.8 * (1 - c) * ((x + d) / (1 + d)) ** -b + c


def power(rng: np.random.Generator) -> Shape:
    b = rng.uniform(0.05, 0.4)
    return lambda x: 0.8 * x**-b


def power_floor(rng: np.random.Generator) -> Shape:
    b, c = rng.uniform(0.15, 0.5), rng.uniform(0.05, 0.4)
    return lambda x: (0.8 - c) * x**-b + c


def bent(least: float, most: float, exponents: tuple[float, float]) -> Callable[..., Shape]:
    """A power whose exponent becomes `least` to `most` times itself."""

    def shape(rng: np.random.Generator) -> Shape:
        b, k, m = rng.uniform(*exponents), 10 ** rng.uniform(0.5, 2.5), rng.uniform(least, most)
        return lambda x: 0.8 * x**-b * (1 + (x / k) ** 2) ** (-b * (m - 1) / 2)

    return shape


def stretched(rng: np.random.Generator) -> Shape:
    k, c = 10 ** rng.uniform(1.5, 3.5), rng.uniform(0.1, 0.4)
    return lambda x: c + (0.8 - c) * np.exp(-np.sqrt(x / k))


TABLES: dict[str, Callable[[np.random.Generator], Shape]] = {
    "saturating": saturating,
    "power": power,
    "power-floor": power_floor,
    "a power that steepens smoothly to 1.5 to 2.5 times its exponent": bent(1.5, 2.5, (0.1, 0.2)),
    "one that lessens to .2 to .6 times its exponent": bent(0.2, 0.6, (0.2, 0.5)),
    "a stretched exponential approach to a floor": stretched,
}


def curve(kind: Kind, rng: np.random.Generator) -> tuple[Array, Array, Array, Array]:
    """x and y that are seen, and those ahead; NaN where the run has ended."""
    x = {
        "log": np.geomspace(10 ** -rng.uniform(1.5, 3), 1, POINTS),
        "even": np.arange(1, POINTS + 1) / POINTS,
        "random": np.sort(10 ** -rng.uniform(0, 2.5, POINTS)),
    }[rng.choice(["even"] if kind.correlation else ["log", "even", "random"])]
    x = x / x[-1]
    truth, ahead = kind.shape(rng), np.array(AHEAD)
    noise = 10 ** rng.uniform(-3, -1.7)
    y = truth(x) * np.exp(noise * correlated(POINTS, kind.correlation, rng))
    return x, y, ahead, truth(ahead) * np.exp(noise * rng.normal(size=len(ahead)))


def correlated(count: int, correlation: float, rng: np.random.Generator) -> Array:
    """Standard normal, autoregressive of order one."""
    found = np.empty(count)
    last = rng.normal()
    for k, fresh in enumerate(np.sqrt(1 - correlation**2) * rng.normal(size=count)):
        last = correlation * last + fresh
        found[k] = last
    return found


def forecasts(kind: Kind, curves: int, rng: np.random.Generator) -> Iterator[tuple[Array, bool]]:
    """Of each curve, whether each measurement ahead is held, NaN where there is none, and whether
    there is a warning."""
    for _ in range(curves):
        x, y, ahead, later = curve(kind, rng)
        found = forecast(x, y)
        _, low, high = found(ahead)
        held = np.where(np.isnan(later), np.nan, (low <= later) & (later <= high))
        yield held, bool(found.diagnostics)


def averages(
    shape: Callable[[np.random.Generator], Shape], tables: int, rng: np.random.Generator
) -> Iterator[tuple[Array, bool]]:
    """As `forecasts`, of tables."""
    for _ in range(tables):
        truth, noise, span = shape(rng), rng.uniform(0.01, 0.05), 10 ** rng.uniform(2, 3.5)
        at_random, above = rng.random(2) < 0.5
        x = span ** rng.uniform(0, 1, RUNS) if at_random else np.geomspace(1, span, RUNS)
        off = noise * rng.normal(size=RUNS)
        if above:
            off += np.where(rng.random(RUNS) < 0.5, rng.exponential(0.15, RUNS), 0.0)
        found = average(x, truth(x) * np.exp(off), choose=on_frontier if above else every_point)
        at = np.array(BEYOND) * x.max()
        later = truth(at) * np.exp(noise * rng.normal(size=len(at)))
        low, high = found.band(at)
        far = [each for place in at for each in found.extrapolates(float(place))]
        warned = {each.code for each in (*found.diagnostics, *far)} - {"average_extrapolates"}
        yield ((low <= later) & (later <= high)).astype(float), bool(warned)


def show(name: str, found: Iterator[tuple[Array, bool]]) -> None:
    held, warned = zip(*found, strict=True)
    cells = "".join(
        "         |" if np.isnan(m).all() else f" {np.nanmean(m):7.2f} |" for m in np.array(held).T
    )
    print(f"| {name} |{cells} {sum(warned)} of {len(warned)} |", flush=True)


def main() -> None:
    asked = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    asked.add_argument("--curves", type=int, default=50)
    asked.add_argument("--tables", type=int, default=25)
    asked.add_argument("--kind", default="")
    given = asked.parse_args()
    print("| curve, --law forecast |" + "".join(f" {m:g}x |" for m in AHEAD) + " with a warning |")
    print("|---|" + "---:|" * (len(AHEAD) + 1))
    for number, (name, kind) in enumerate(CURVES.items()):
        if given.kind in name:
            show(name, forecasts(kind, given.curves, np.random.default_rng([0, number])))
    print("\n| truth, --law best |" + "".join(f" {m:g}x |" for m in BEYOND) + " with a warning |")
    print("|---|" + "---:|" * (len(BEYOND) + 1))
    for number, (name, shape) in enumerate(TABLES.items()):
        if given.kind in name:
            show(name, averages(shape, given.tables, np.random.default_rng([1, number])))


if __name__ == "__main__":
    main()
