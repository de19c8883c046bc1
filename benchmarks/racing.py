"""python benchmarks/racing.py [FOLDER]: compute saved by stopping runs that cannot matter.

FOLDER holds `routing.csv` and `gemstones.csv` (by default ../shared/data/curves beside the
project), learning curves of language models, here in groups of about one size, so that a step of
each run of a group costs the same; beside it lies scaling_benchmark_2022 with curves of vision
models, grouped by task, whose examples count as equally costly here, whatever the model. Which run
of the group ends lowest is the question, and that run is trained to its end whatever the way, so
that the answer is as sure: its loss is measured.

At 1/16, 1/8, 1/4, 1/2 and 3/4 of the duration some runs are stopped:

  forecasts   those that `fits.decisions.racing` stops, at several deltas
  halving     the worse half by the loss at that point, until one is left (Jamieson and Talwalkar)
  all         none

Printed: the part of the compute that is saved, mean over groups; of how many groups the best run
was found; and the regret, log of the found run's final loss over the best one's. Groups are the
whole ones, and 20 random parts of 4 of each that is larger.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fits.base.numbers import Array, Mask
from fits.decisions.racing import end_of, stopped_by, undercut

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "curves"
KINDS = {
    "routing": ("routing.csv", "step", "loss", "curve", "size"),
    "gemstones": ("gemstones.csv", "tokens", "loss", "curve", "params"),
    "vision": (
        "../scaling_benchmark_2022/benchmark_vision_dev.csv",
        *("Seen Examples", "Loss", "Task", "Model", "Task"),
    ),
}
RUNGS = 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4
DELTAS = 0.05, 0.01, 0.001
LEAST = 4  # points of a curve, before anything is said of it
PARTS, OF = 20, 4
Curve = tuple[Array, Array]
Rule = Callable[[list[Curve], float], Mask]


def read(folder: Path) -> dict[str, list[Curve]]:
    """The curves of each group."""
    groups: dict[str, list[Curve]] = {}
    for kind, (file, x, y, *names, group) in KINDS.items():
        points, sizes = defaultdict(list), {}
        with (folder / file).open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                curve = tuple(row[name] for name in names)
                points[curve].append((float(row[x]), float(row[y])))
                sizes[curve] = row[group]
        for curve, its in points.items():
            name = sizes[curve]
            if kind == "gemstones":  # 50 to 120 million, .5, 1 and 2 billion
                name = f"{2.0 ** round(np.log2(float(name) / 6e7)) * 6e7:.1g}"
            groups.setdefault(f"{kind} {name}", []).append(tuple(np.array(sorted(its)).T))
    return {name: its for name, its in groups.items() if len(its) > 2}


def by_forecast(delta: float) -> Rule:
    def rule(curves: list[Curve], until: float) -> Mask:
        ends = np.array([_end(each, until) for each in curves])
        return stopped_by(undercut(ends), delta=delta)

    return rule


_KNOWN: dict[tuple[float, ...], tuple[float, float, float]] = {}


def _end(curve: Curve, until: float) -> tuple[float, float, float]:
    x, y = curve
    key = (until, len(x), *y[-2:].tolist())
    if key not in _KNOWN:  # the same curve is in many parts
        _KNOWN[key] = end_of(x, y, until)
    return _KNOWN[key]


def by_half(curves: list[Curve], until: float) -> Mask:
    last = np.array([y[-1] for _, y in curves])
    return last > np.sort(last)[(len(last) - 1) // 2]


def tried(curves: list[Curve], rule: Rule | None) -> tuple[float, float]:
    """Part of the compute spent, and the regret."""
    until = min(float(x[-1]) for x, _ in curves)
    going, spent = np.arange(len(curves)), 0.0
    before = 0.0
    for rung in RUNGS if rule else ():
        seen = [(x[x <= rung * until], y[x <= rung * until]) for x, y in curves]
        if len(going) < 2 or min(len(x) for x, _ in seen) < LEAST:
            continue
        assert rule is not None
        spent += (rung - before) * len(going)
        before = rung
        going = going[~rule([seen[k] for k in going], until)]
    spent += (1 - before) * len(going)
    final = np.array([float(y[-1]) for _, y in curves])
    return spent / len(curves), float(np.log(final[going].min() / final.min()))


def main() -> None:
    groups = read(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA)
    rng = np.random.default_rng(0)
    parts = dict(groups)
    for name, curves in groups.items():
        if len(curves) > OF:
            for k in range(PARTS):
                some = rng.choice(len(curves), OF, replace=False)
                parts[f"{name}, part {k}"] = [curves[j] for j in some]
    rules = {f"forecasts, delta {delta:g}": by_forecast(delta) for delta in DELTAS}
    print(f"{len(groups)} groups, {len(parts) - len(groups)} parts of groups\n")
    print(f"{'':>40}{'saved':>8}{'found':>8}{'regret':>9}{'largest':>9}")
    for name, rule in {**rules, "halving": by_half, "all": None}.items():
        for kind in KINDS:
            for what, some in (("whole", groups), ("parts", parts.keys() - groups.keys())):
                mine = sorted(each for each in some if each.startswith(kind))
                spent, regret = np.array([tried(parts[each], rule) for each in mine]).T
                cells = f"{1 - spent.mean():8.2f}{(regret <= 0).mean():8.2f}"
                cells += f"{regret.mean():9.4f}{regret.max():9.4f}"
                print(f"{f'{name}, {kind}, {what}':>40}{cells}", flush=True)


if __name__ == "__main__":
    main()
