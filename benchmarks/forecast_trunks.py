r"""The cooled-down error of longer runs of a trunk, foreseen from shorter ones.

    python benchmarks/demo_floor.py --seeds 5 --runs runs
    printf '[[evaluate]]\nkind = "upstream"\nimages = 10_000\n' > own.toml
    for t in runs/trunks/*; do
        scaling evaluate $t/[0-9]* --on own.toml --table $(basename $t).csv; done
    python benchmarks/forecast_trunks.py runs TRUNK.csv... [--metric NAME]

The tasks have no [data]: each trunk is measured on its own, which every seed draws anew.
Any folder of runs will do. A trunk has a point where each of its runs branched off. All but the
longest one, two or three runs are seen, and the trunk as far as they were on it; the errors of the
longer runs at the end of their cooldown are to be forecast. `trunk`: the forecast that is told the
schedule and given the trunk; `law`: its law with annealing alone; `runs`: the forecast of the
cooled runs alone; `power-floor`: that law through them; `held`: the last of them. A score is the
mean of |log(forecast / measured)|; `cover` the share inside 90 % intervals, `width` their mean
log(high / low).
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fits.base.numbers import Array
from fits.forecast.forecast import forecast
from fits.forecast.schedule import Schedule
from fits.forecast.scheduled import scheduled
from fits.laws.registry import LAWS
from fits.regression.solver import minimise
from scaling.runs.damage import DamagedRun
from scaling.runs.run_folder import RunFolder

HELD = (1, 2, 3)
LEAST = 4  # runs that are seen


@dataclass(frozen=True, kw_only=True, eq=False)
class Family:
    """A trunk and its runs."""

    timescale: float  # in images
    cooldown: float
    cooled: Array  # images seen and error at the end of each run, [2, runs]
    trunk: Array  # the same of the trunk, [2, points]


def families(runs: Path, tables: Iterable[Path], metric: str) -> list[Family]:
    """Every trunk that has a table."""
    trunks, cooled, recipes = defaultdict(list), defaultdict(list), {}
    for path in tables:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["metric"] == metric:
                    point = float(row["images_seen"]), float(row["value"])
                    trunks[row["run"].partition("@")[0]].append(point)
    for path in sorted(runs.iterdir()):
        if not (path / "manifest.json").is_file():
            continue
        try:
            run, evaluations = RunFolder(path).read()
            rows = RunFolder(path).results(evaluations)
        except DamagedRun:  # of another version of this project, say
            continue
        values = [row.value for row in rows if row.metric == metric]
        if run.trunk in trunks and values and run.recipe.cooldown_fraction is not None:
            cooled[run.trunk].append((float(run.images_seen), values[0]))
            scale = float(run.recipe.timescale_steps * run.batch)
            recipes[run.trunk] = {"timescale": scale, "cooldown": run.recipe.cooldown_fraction}
    return [
        Family(cooled=np.array(sorted(ends)).T, trunk=np.array(trunks[name]).T, **recipes[name])
        for name, ends in sorted(cooled.items())
    ]


def answers(family: Family, held: int) -> dict[str, Array]:
    """Median, low and high end by each way, [3, runs held out]."""
    (x, y), wanted = family.cooled[:, :-held], family.cooled[0, -held:]
    on = family.trunk[:, family.trunk[0] <= x[-1]]
    schedule = Schedule(
        kind="rsqrt",
        until=float(wanted[-1]),
        timescale=family.timescale,
        cooldown=family.cooldown,
    )
    down = np.arange(len(x) + on.shape[1]) < len(x)
    told = scheduled(np.append(x, on[0]), np.append(y, on[1]), schedule, cooled=down)
    law = LAWS["power-floor"]
    values, _ = minimise(law, x / x[-1], y, np.ones_like(x))
    none = np.full_like(wanted, np.nan)
    return {
        "trunk": np.array(told(wanted)),
        "law": np.array(replace(told, alone=None)(wanted)),
        "runs": np.array(forecast(x, y)(wanted)),
        "power-floor": np.array([law.predict(wanted / x[-1], *values), none, none]),
        "held": np.array([np.full_like(wanted, y[-1]), none, none]),
    }


def score(found: Array, truth: Array) -> tuple[float, float, float]:
    """Error, cover and width."""
    median, low, high = found
    inside = np.mean((low <= truth) & (truth <= high))
    error, width = np.mean(np.abs(np.log(median / truth))), np.mean(np.log(high / low))
    return float(error), float(inside), float(width)


def table(found: list[Family]) -> list[str]:
    """One row a number of runs held out."""
    lines = [
        "| held out | trunks | trunk | cover | width | law | cover | width | runs | cover | width "
        "| power-floor | held |",
        "|---:|---:|" + "---:|" * 11,
    ]
    for held in HELD:
        these = [each for each in found if each.cooled.shape[1] - held >= LEAST]
        if not these:
            continue
        rows = [
            [score(each, family.cooled[1, -held:]) for each in answers(family, held).values()]
            for family in these
        ]
        means = np.mean(rows, axis=0)
        cells = [f"{e:.4f} | {c:.2f} | {w:.3f}" for e, c, w in means[:3]]
        cells += [f"{e:.4f}" for e in means[3:, 0]]
        lines.append(f"| {held} | {len(these)} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path)
    parser.add_argument("trunks", type=Path, nargs="+")
    parser.add_argument("--metric", default="upstream_loss")
    options = parser.parse_args()
    print("\n".join(table(families(options.runs, options.trunks, options.metric))))


if __name__ == "__main__":
    main()
