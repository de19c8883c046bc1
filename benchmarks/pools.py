"""python benchmarks/next_runs.py --scalebench [REPETITIONS] [TASK...]: choosing from pools of runs.

The pools of ScaleBench (Li et al. 2026, "Spend Less, Fit Better"; by default in
../shared/data/scalebench beside the project): real runs of which some may be bought, and a target
region of costlier ones whose losses are to be predicted. `fits.decisions.pool` begins with cheap
runs at random, other ones in each repetition (default 10), and buys within each share of the pool's
whole cost in turn. Printed for each task and share, means over repetitions: R^2 of the target
losses, clipped at -1, beside the best published value; how many of these the nominal 90 % intervals
hold; their width, log(high / low); and the runs bought. Published values are means over a task's
family of laws, each by itself.

The laws of a task are fitted together. "moe, routed" shows what the laws written for such models
do. `--scalebench --constants [REPETITIONS]` asks whether the constants of `fits.decisions.pool`
were chosen on these pools: each task is scored with those that are best on the three others.
`--scalebench --intervals [REPETITIONS]` asks the same of intervals: printed is what those of each
task hold where a factor on their variance was chosen on the three others, so that theirs hold .92
on average, and what they hold as they are.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fits.base.numbers import Array
from fits.decisions.pool import POWER, RELEVANCE, Chooser, pool_of
from fits.laws.chinchilla import CHINCHILLA
from fits.laws.farseer import FARSEER
from fits.laws.law import Law
from fits.laws.moe import ROUTED, ROUTED_FLOOR
from fits.laws.registry import within
from fits.laws.repeated import REPEATED
from fits.laws.sparsity import SPARSITY

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "scalebench"
FACTORS = tuple(np.geomspace(0.25, 4, 33).tolist())  # of the intervals' variance
HELD = 0.92  # wanted of nominal 90 % intervals, between .85 and .97
RELEVANCES, POWERS = (1.5, 3.0, 5.0), (0.3, 0.5, 1.0)
USUAL = 0.01, 0.05, 0.1  # shares of the pool's cost
UPCYCLED = replace(SPARSITY, variables=("N", "D", "P", "M"), units=(0, 1, 2, 3))
Row = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One pool.

    Fields:
      x, y: columns.
      cost: of a run.
      laws: fitted together.
      shares: of the pool's cost that are spent.
      published: the best R^2 at each.
    """

    file: str
    x: tuple[str, ...]
    y: str = "loss"
    cost: Callable[[Row], float]
    laws: tuple[Law, ...]
    shares: tuple[float, ...] = USUAL
    published: tuple[float, ...]


_MOE = Task(
    file="moe",
    x=("dense_parameter_count", "num_experts"),
    y="loss_validation",
    cost=lambda row: row["dense_parameter_count"] * row["num_experts"],
    laws=(replace(CHINCHILLA, variables=("N", "E")),),
    published=(0.67, 0.80, 0.83),
)
TASKS = {
    "farseer": Task(
        file="farseer",
        x=("N", "D"),
        cost=lambda row: 6 * row["N"] * row["D"],
        laws=(FARSEER,),
        published=(0.67, 0.88, 0.93),
    ),
    "data_constrained": Task(
        file="data_constrained",
        x=("params", "tokens", "unique_tokens"),
        cost=lambda row: 6 * row["params"] * row["tokens"],
        laws=(REPEATED, within(CHINCHILLA, REPEATED, ("N", "D"))),
        published=(0.73, 0.85, 0.86),
    ),
    "moe": _MOE,
    "moe, routed": replace(_MOE, laws=(ROUTED, ROUTED_FLOOR)),
    "sparsity": Task(
        file="sparsity",
        x=("N_active", "D2", "P", "N_dense"),
        cost=lambda row: 6 * (row["N_dense"] * row["D1"] + row["N_active"] * row["D2"]),
        laws=(
            within(SPARSITY, UPCYCLED, ("N", "D", "P")),
            within(CHINCHILLA, UPCYCLED, ("N", "D")),
        ),
        shares=(0.2, 0.35, 0.5),
        published=(0.31, 0.44, 0.53),
    ),
}


def read(task: Task, part: str, folder: Path = DATA) -> tuple[Array, Array, Array]:
    """x [variables, runs], losses and costs [runs]."""
    with (folder / f"{task.file}_{part}.csv").open(encoding="utf-8", newline="") as file:
        rows: list[Row] = [
            {name: float(cell) for name, cell in row.items() if name != "group"}
            for row in csv.DictReader(file)
        ]
    x = np.array([[row[name] for row in rows] for name in task.x])
    return x, np.array([row[task.y] for row in rows]), np.array([task.cost(row) for row in rows])


def score(
    task: Task,
    seed: int,
    folder: Path = DATA,
    *,
    relevance: float = RELEVANCE,
    power: float = POWER,
) -> Array:
    """R^2, what the intervals hold, their width and runs bought, [shares, 4]."""
    x, loss, cost = read(task, "train", folder)
    target, truth, _ = read(task, "test", folder)
    pool = pool_of(x, cost, target, task.laws, relevance)
    chooser = Chooser(pool, lambda run: float(loss[run]), seed, power=power)
    rows = []
    for share in task.shares:
        chooser.spend(share * cost.sum())
        found = chooser.predict(0.9)
        held = (found.low <= truth) & (truth <= found.high)
        width = np.log(found.high / found.low).mean()
        rows.append((_r_squared(found.error, truth), held.mean(), width, len(chooser.bought)))
    return np.array(rows)


def _r_squared(found: Array, truth: Array) -> float:
    left = float(((found - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())
    return max(-1.0, 1 - left)


def constants(repetitions: int) -> None:
    """Each task scored with the constants that are best on the three others."""
    names = [name for name in TASKS if name != "moe, routed"]
    grid = [(relevance, power) for relevance in RELEVANCES for power in POWERS]
    found = {}
    for relevance, power in grid:
        for name in names:
            every = [
                score(TASKS[name], seed, relevance=relevance, power=power)[:, 0]
                for seed in range(repetitions)
            ]
            found[relevance, power, name] = np.mean(every, axis=0)
        means = "".join(f"{found[relevance, power, name].mean():18.3f}" for name in names)
        print(f"relevance {relevance:g}, power {power:g}{means}", flush=True)
    print(f"\n{'task':>18}   chosen on the others   R^2 at each share")
    for name in names:
        others = [each for each in names if each != name]
        best = max(grid, key=lambda each: sum(found[*each, other].mean() for other in others))
        scores = "".join(f"{each:8.3f}" for each in found[*best, name])
        print(f"{name:>18}   relevance {best[0]:g}, power {best[1]:g}{scores}")


def held(task: Task, seed: int) -> Array:
    """Part of the target losses inside nominal 90 % intervals, [factors and 1, shares]."""
    x, loss, cost = read(task, "train")
    target, truth, _ = read(task, "test")
    chooser = Chooser(pool_of(x, cost, target, task.laws), lambda run: float(loss[run]), seed)
    columns = []
    for budget in task.shares:
        chooser.spend(budget * cost.sum())
        found = chooser.predict(0.9)
        reach = np.log(found.high / found.low) / 2
        off = np.abs(np.log(truth / found.error))
        columns.append([(off <= np.sqrt(factor) * reach).mean() for factor in (*FACTORS, 1)])
    return np.array(columns).T


def intervals(repetitions: int) -> None:
    """What the intervals of each task hold, as they are and with a factor chosen on the others."""
    names = [name for name in TASKS if name != "moe, routed"]
    found = {
        name: np.mean([held(TASKS[name], seed) for seed in range(repetitions)], axis=0)
        for name in names
    }
    print(f"{'task':>18}   factor of the others   held at each share     as they are")
    for name in names:
        others = np.mean([found[each].mean(axis=1) for each in names if each != name], axis=0)
        best = int(np.abs(others[:-1] - HELD).argmin())
        cells, mine = ("".join(f"{each:7.2f}" for each in found[name][k]) for k in (best, -1))
        print(f"{name:>18}   {FACTORS[best]:20.2f}{cells}{mine:>27}", flush=True)


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--intervals"]:
        intervals(int(arguments[1]) if len(arguments) > 1 else 10)
        return
    if arguments[:1] == ["--constants"]:
        constants(int(arguments[1]) if len(arguments) > 1 else 4)
        return
    repetitions = int(arguments[0]) if arguments else 10
    print(f"{repetitions} repetitions; means over these, R^2 with its standard deviation\n")
    head = ("share", "R^2", "+-", "published", "held", "width", "runs")
    print(f"{'task':>18}" + "".join(f"{each:>11}" for each in head))
    for name in arguments[1:] or TASKS:
        task = TASKS[name]
        every = np.array([score(task, seed) for seed in range(repetitions)])
        for k, (share, best) in enumerate(zip(task.shares, task.published, strict=True)):
            r, held, width, runs = every[:, k].mean(axis=0)
            cells = f"{share:11.2f}{r:11.3f}{every[:, k, 0].std():11.3f}{best:11.2f}"
            print(f"{name:>18}{cells}{held:11.2f}{width:11.3f}{runs:11.0f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
