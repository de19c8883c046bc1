"""python benchmarks/next_runs.py [STUDIES]: what the runs that `fit-laws next` chooses are worth.

Simulates studies whose law is known, L(N, D) = E + A / N^alpha + B / D^beta with noise from run to
run. Each starts from the nine smallest runs of a factorial grid of model sizes and durations, may
launch the others, and wants the error at ten times the compute of its largest run. Along the way
the law is fitted to the runs bought so far, and what it predicts is compared with the truth: the
width is that of the middle 90 % of the predictions of all studies, on log error, and so rests on
no estimate of an interval. Prints it for every way to spend compute and draws docs/laws/next.png.
STUDIES (default 160); four take 40 s of one core.

  design           fit-laws next, asked again at every share of compute listed
  design, once     the same with --repeat 1: no run of the grid twice
  planned at once  the first, but asked only once for each share, from the nine runs
  random           runs of the grid in random order
  cheapest first   runs of the grid, the small ones first

Then, without chance, what a plan could reach if the law were known beforehand.

`--scalebench [REPETITIONS] [TASK...]` chooses among real runs instead: see `pools.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fits.base.numbers import Array
from fits.decisions.design import DesignProblem, design_problem, plan
from fits.laws.chinchilla import CHINCHILLA
from fits.regression.fit import fit
from fits.regression.solver import in_units, levenberg_marquardt, unit_of
from fits.spec import REPEATS

TRUTH = 0.08, 8.0, 0.25, 30.0, 0.28  # E, A, alpha, B, beta, of N parameters and D images
SIZES, DURATIONS = 1e6 * 2.0 ** np.arange(7), 1e7 * 2.0 ** np.arange(7)
NOISE = 0.02  # standard deviation of log error from run to run
AHEAD = 10.0  # compute of the prediction over that of the largest run
SHARES = 0.03, 0.06, 0.12, 0.2, 1 / 3, 0.5, 0.7
WAYS = "design", "design, once", "planned at once", "random", "cheapest first"
FIGURE = Path(__file__).resolve().parents[1] / "docs" / "laws" / "next.png"

Times = NDArray[np.int64]  # how often each candidate is run


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """The factorial grid, its nine smallest runs apart.

    Fields:
      start: N and D of the runs there are, [2, runs].
      offered: of those that may be launched, [2, candidates].
      cost: of the latter, 6 N D FLOPs, [candidates].
      target: N and D of the prediction, [2].
    """

    start: Array
    offered: Array
    cost: Array
    target: Array


def grid() -> Grid:
    size, duration = (axis.ravel() for axis in np.meshgrid(SIZES, DURATIONS, indexing="ij"))
    small = (size <= SIZES[2]) & (duration <= DURATIONS[2])
    every = np.stack([size, duration])
    return Grid(
        start=every[:, small],
        offered=every[:, ~small],
        cost=6 * size[~small] * duration[~small],
        target=np.array([SIZES[-1], DURATIONS[-1]]) * np.sqrt(AHEAD),
    )


class Studies:
    """Many studies side by side, each with what it has bought so far.

    Fields:
      times: how often each candidate was run, [studies, candidates].
      total: sums over these runs of log error / truth.
      bought: each study's runs in their order, candidates and log error / truth.
    """

    def __init__(self, grid: Grid, first: Array, rng: np.random.Generator):
        """`first`: log error / truth of the nine runs, [studies, runs]."""
        self.grid, self.first, self.rng = grid, first, rng
        shape = len(first), len(grid.cost)
        self.times = np.zeros(shape, int)
        self.total = np.zeros(shape)
        self.bought: list[tuple[list[int], list[float]]] = [([], []) for _ in first]

    @property
    def spent(self) -> Array:
        """[studies]"""
        return self.times @ self.grid.cost

    def buy(self, study: int, times: Times) -> None:
        for candidate in np.flatnonzero(times):
            noise = NOISE * self.rng.normal(size=times[candidate])
            self.times[study, candidate] += len(noise)
            self.total[study, candidate] += noise.sum()
            self.bought[study][0].extend([int(candidate)] * len(noise))
            self.bought[study][1].extend(noise.tolist())

    def fitted(self) -> Array:
        """Parameters of each study, [studies, parameters].

        Runs of one x enter as their mean, which counts as often as there are runs.
        """
        x = np.concatenate([self.grid.start, self.grid.offered], axis=1)
        off = np.concatenate([self.first, self.total / np.maximum(self.times, 1)], axis=1)
        weights = np.concatenate([np.ones_like(self.first), self.times], axis=1)
        unit = unit_of(CHINCHILLA, x)
        start = CHINCHILLA.rescale(1 / unit, *TRUTH)
        y = CHINCHILLA.predict(x, *TRUTH) * np.exp(off)
        values, _ = levenberg_marquardt(
            CHINCHILLA, in_units(x, unit), y, weights, np.repeat(start[:, None], len(y), axis=1)
        )
        return np.array(CHINCHILLA.rescale(unit, *values)).T

    def runs(self, study: int) -> tuple[Array, Array]:
        """N and D of all its runs, [2, runs], and their losses, [runs]."""
        candidates, off = self.bought[study]
        x = np.concatenate([self.grid.start, self.grid.offered[:, candidates]], axis=1)
        noise = np.concatenate([self.first[study], off])
        return x, CHINCHILLA.predict(x, *TRUTH) * np.exp(noise)

    def predicted(self) -> Array:
        """Log of each study's prediction over the truth, [studies]."""
        found = CHINCHILLA.predict(self.grid.target, *self.fitted().T)
        return np.log(found / CHINCHILLA.predict(self.grid.target, *TRUTH))


def designed(studies: Studies, budget: float, repeats: int) -> None:
    """Buys what `fit-laws next` says for what is left of the budget of each study."""
    grid = studies.grid
    for study, had in enumerate(studies.times):
        left = budget - float(had @ grid.cost)
        allowed = np.flatnonzero((grid.cost <= left) & (had < repeats))
        if not len(allowed):
            continue
        found = fit(CHINCHILLA, *studies.runs(study))
        asked = design_problem(found, grid.offered[:, allowed], grid.target)
        chosen = plan(asked, grid.cost[allowed], left, (repeats - had)[allowed]).runs
        times = np.zeros_like(had)
        np.add.at(times, allowed[list(chosen)], 1)
        studies.buy(study, times)


def in_order(studies: Studies, budget: float, orders: Times) -> None:
    """Buys as many as can be paid, one after another; orders [studies, candidates]."""
    for study, order in enumerate(orders):
        paid = order[np.cumsum(studies.grid.cost[order]) <= budget * (1 + 1e-9)]
        times = np.bincount(paid, minlength=len(order))
        studies.buy(study, times - studies.times[study])


@dataclass(frozen=True, eq=False)
class Curve:
    """What a way to spend compute reaches.

    Fields:
      spent: share of the grid's compute, mean over studies, [shares].
      width: of the middle 90 % of the predictions, log error, [shares].
    """

    spent: Array
    width: Array

    def reaches(self, width: float) -> float:
        """Share of compute at which the curve comes down to a width, read off between points."""
        below = np.flatnonzero(self.width <= width)
        if not len(below):
            return np.inf
        after = below[0]
        if after == 0:
            return float(self.spent[0])
        ends = np.log(self.width[[after, after - 1]])
        found = np.interp(np.log(width), ends, np.log(self.spent[[after, after - 1]]))
        return float(np.exp(found))


def simulate(
    studies: int, ways: Sequence[str] = WAYS, shares: Sequence[float] = SHARES, seed: int = 0
) -> dict[str, Curve]:
    """The curves of some ways, and as "full grid" the one point of buying every run once."""
    shape = grid()
    whole = float(shape.cost.sum())
    rng = np.random.default_rng(seed)
    first = NOISE * rng.normal(size=(studies, shape.start.shape[1]))
    cheapest = np.tile(np.argsort(shape.cost, kind="stable"), (studies, 1))
    shuffled = rng.permuted(cheapest, axis=1)
    buyers: dict[str, Callable[[Studies, float], None]] = {
        "design": lambda some, budget: designed(some, budget, REPEATS),
        "design, once": lambda some, budget: designed(some, budget, 1),
        "planned at once": lambda some, budget: designed(some, budget, REPEATS),
        "random": lambda some, budget: in_order(some, budget, shuffled),
        "cheapest first": lambda some, budget: in_order(some, budget, cheapest),
    }
    curves = {}
    for name in ways:
        some, rows = Studies(shape, first, np.random.default_rng([seed, 1])), []
        for share in shares:
            if name == "planned at once":
                some = Studies(shape, first, np.random.default_rng([seed, 1]))
            buyers[name](some, share * whole)
            rows.append((some.spent.mean() / whole, _width(some.predicted())))
        curves[name] = Curve(*np.array(rows).T)
    some = Studies(shape, first, np.random.default_rng([seed, 1]))
    in_order(some, whole, cheapest)
    curves["full grid"] = Curve(np.ones(1), np.array([_width(some.predicted())]))
    return curves


def foreknown() -> DesignProblem:
    """Of someone who knows the law, and so where runs tell most."""
    shape = grid()
    unit = unit_of(CHINCHILLA, np.concatenate([shape.start, shape.offered], axis=1))
    truth = CHINCHILLA.rescale(1 / unit, *TRUTH)

    def jacobian(x: Array) -> Array:
        plain = in_units(x, unit)
        return (CHINCHILLA.derivatives(plain, *truth) / CHINCHILLA.predict(plain, *truth)).T

    first, offered, aim = map(jacobian, (shape.start, shape.offered, shape.target[:, None]))
    return DesignProblem(
        information=(first.T @ first / NOISE**2)[None],
        gradient=aim,
        jacobian=offered[None],
        deviation=NOISE,
        level=0.9,
    )


def _width(off: Array) -> float:
    low, high = np.quantile(off, [0.05, 0.95])
    return float(high - low)


def draw(curves: dict[str, Curve], studies: int) -> None:
    """Width against compute; colours of Okabe and Ito, and markers, for whoever sees no colours."""
    from fits.plotting import canvas, save

    looks = {
        "design": ("#0072b2", "o", "-"),
        "design, once": ("#009e73", "s", "-"),
        "planned at once": ("#56b4e9", "D", "-."),
        "random": ("#e69f00", "^", "--"),
        "cheapest first": ("#cc79a7", "v", ":"),
    }
    figure, (ax,) = canvas()
    for name, (colour, marker, line) in looks.items():
        curve = curves[name]
        ax.plot(
            curve.spent, curve.width, line, color=colour, marker=marker, ms=4, lw=1.3, label=name
        )
    full = float(curves["full grid"].width[0])
    ax.axhline(full, color="0.3", lw=0.8, ls=(0, (4, 2)))
    ax.plot([1], [full], "*", color="black", ms=8, label="full grid")
    ax.axvline(1 / 3, ymax=0.45, color="0.7", lw=0.8)
    ax.set(xscale="log", yscale="log", ylabel="width of the middle 90 %, log error")
    ax.set_xlabel("compute spent, as a share of the full grid's")
    ax.set_title(f"predictions of {studies} simulated studies", fontsize=8)
    shares = [0.03, 0.1, 1 / 3, 1]
    ax.set_xticks(shares, labels=["0.03", "0.1", "1/3", "1"])
    ax.set_xticks([], minor=True)
    widths = [width for width in (0.05, 0.1, 0.2, 0.5, 1, 2, 5) if full / 2 < width]
    top = ax.get_ylim()[1]
    ax.set_yticks(widths, labels=[f"{width:g}" for width in widths])
    ax.set_yticks([], minor=True)
    ax.set_ylim(full / 2, top)
    ax.legend(frameon=False, fontsize=7)
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    save(figure, FIGURE)


def main() -> None:
    if sys.argv[1:2] == ["--scalebench"]:
        import pools

        pools.main(sys.argv[2:])
        return
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 160
    curves = simulate(studies)
    full = float(curves["full grid"].width[0])
    print(f"{studies} studies; width of the middle 90 % of their predictions, log error")
    print(f"full grid: {full:.3f}\n")
    print(f"{'share of its compute':>22}" + "".join(f"{share:8.2f}" for share in SHARES))
    for name in WAYS:
        print(f"{name:>22}" + "".join(f"{width:8.3f}" for width in curves[name].width))
    print()
    for name in WAYS:
        print(f"{name:>22} reaches the full grid's width at {curves[name].reaches(full):.2f}")
    asked, cost = foreknown(), grid().cost
    print("\nwere the law known beforehand")
    print(f"full grid: {asked.width(np.ones(len(cost), int)):.3f}\n")
    for repeats in (1, 3, 8, REPEATS, 1000):
        widths = [plan(asked, cost, share * cost.sum(), repeats).widths[-1] for share in SHARES]
        print(f"{f'--repeat {repeats}':>22}" + "".join(f"{width:8.3f}" for width in widths))
    draw(curves, studies)
    print(f"\nwritten: {FIGURE.relative_to(FIGURE.parents[2])}")


if __name__ == "__main__":
    main()
