"""Forecasts of several kinds of learning curves at once, no constant chosen on the kind it scores.

    python benchmarks/forecast_kinds.py [--data FOLDER] [--every N] [--markdown FILE]

FOLDER, by default ../shared/data beside the project, holds the kinds (curves.py). A score is the
root mean square of log(forecast / measured), a mean over the curves; `cover` the share of points
inside nominal 90 % intervals, `width` their mean log(high / low), `Winkler` the interval score.

`left out` is the forecast whose constants (`forecast.Trust`) were chosen on the other kinds alone:
points, backtests and fall by the product of all cells' scores, what the variance is made of by
likelihood (Student's t with 4 degrees of freedom). `forecast` has the published constants, which
are rounded from such choices (docs/laws/forecast.md). `line`: a straight line on log axes through
the last half. --every N takes every Nth curve. Four minutes on a core.
Writes FILE, and nothing else.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from curves import Task, line, run, said, score
from scipy.optimize import minimize as scipy_minimize

from fits.base.numbers import Array
from fits.forecast.forecast import TRUST, Forecast, Parts, Trust, combine, forecast
from fits.laws.registry import LAWS
from fits.regression.solver import minimise

RIVALS = ("power-floor", "m4", "broken")
GRID = tuple(itertools.product((5.0, 7.0, 10.0), (0.0, 1.0, 2.0, 4.0, 6.0), (0.1, 0.2, 0.3)))
"""`Trust.points`, `Trust.backtests` and `Trust.fall`."""
At = tuple[float, float, float]  # one of GRID


@dataclass(frozen=True, kw_only=True, eq=False)
class Made:
    """A forecast of a task, before `Trust` is chosen."""

    task: Task
    found: Forecast
    parts: dict[At, tuple[Array, Parts]]
    """For each of GRID: errors of the mean, and all that the variance is made of."""

    def under(self, trust: Trust) -> tuple[Array, Array]:
        """Mean and standard deviation of log y at the later x."""
        return said(replace(self.found, trust=trust), self.task)


def make(task: Task) -> Made:
    """Forecast a task."""
    found = forecast(task.x, task.y)
    relative = np.exp(np.log(task.later_x) - found.origin)
    ahead = task.truth - np.log(found.last)
    parts = {}
    for points, backtests, fall in GRID:
        trust = replace(TRUST, points=points, backtests=backtests, fall=fall)
        said_then = combine(found.members, relative, trust)
        parts[points, backtests, fall] = said_then.mean - ahead, said_then
    return Made(task=task, found=found, parts=parts)


def choose(made: Sequence[Made]) -> Trust:
    """The constants that suit these curves: those of the mean, then those of the variance."""

    def error(at: At) -> float:
        cells = defaultdict(list)
        for each in made:
            cells[each.task.cell].append(np.sqrt(np.mean(each.parts[at][0] ** 2)))
        return float(np.mean([np.log(np.mean(scores)) for scores in cells.values()]))

    best = min(GRID, key=error)
    points, backtests, fall = best
    spread = _spread(made, best)
    return replace(TRUST, points=points, backtests=backtests, fall=fall, spread=spread)


def _spread(made: Sequence[Made], at: At) -> tuple[float, ...]:
    """What the variance is made of, by likelihood; each cell counts the same."""
    sizes: dict[tuple[str, str], int] = defaultdict(int)
    for each in made:
        sizes[each.task.cell] += 1
    rows = []
    for each in made:
        errors, parts = each.parts[at]
        count, real = len(errors), each.found.members.real
        share = np.full(count, 1 / (count * sizes[each.task.cell]))
        noise = np.full(count, real * parts.noise)
        rows.append(np.vstack([share, errors, parts.laws, noise, real * parts.quantities]))
    share, errors, laws, noise, *quantities = np.hstack(rows)

    def loss(logs: Array) -> float:
        variance = np.maximum(laws, noise + np.exp(logs) @ quantities) + 1e-9
        t = 0.5 * np.log(variance) + 2.5 * np.log1p(errors**2 / variance / 4)
        return 0.02 * float(((logs + 2) ** 2).sum()) + float(share @ t)

    found = scipy_minimize(
        loss, np.log(np.array(TRUST.spread)), method="Powell", options={"maxiter": 6}
    )
    return tuple(float(each) for each in np.exp(found.x))


def law(name: str, task: Task) -> Array:
    """Log y of a least-squares fit; NaN where there is none."""
    chosen, unit = LAWS[name], task.x.max()
    if len(task.x) < len(chosen.parameters):
        return np.full_like(task.later_x, np.nan)
    try:
        values, _ = minimise(chosen, task.x / unit, task.y, np.ones_like(task.x))
    except ValueError:
        return np.full_like(task.later_x, np.nan)
    return np.log(np.maximum(chosen.predict(task.later_x / unit, *values), 1e-9))


def kinds_table(tasks: Sequence[Task]) -> list[str]:
    """Every cell: the forecast, left out and published, beside the rivals."""
    made = [make(task) for task in tasks]
    chosen = {
        kind: choose([each for each in made if each.task.kind != kind])
        for kind in dict.fromkeys(task.kind for task in tasks)
    }
    lines = [
        "| kind | seen | curves | left out | cover | width | Winkler | forecast | cover | line "
        "| power-floor | m4 | broken |",
        "|---|---|" + "---:|" * 11,
    ]
    for cell in dict.fromkeys(task.cell for task in tasks):
        these = [each for each in made if each.task.cell == cell]
        left = np.mean([score(each.task, *each.under(chosen[cell[0]])) for each in these], axis=0)
        ours = np.mean([score(each.task, *each.under(TRUST)) for each in these], axis=0)
        rivals: list[Callable[[Task], Array]] = [line]
        rivals += [lambda task, name=name: law(name, task) for name in RIVALS]  # type: ignore[misc]
        others = [
            np.nanmean([np.sqrt(np.mean((rival(e.task) - e.task.truth) ** 2)) for e in these])
            for rival in rivals
        ]
        lines.append(
            f"| {cell[0]} | {cell[1]} | {len(these)} | {left[0]:.4f} | {left[1]:.2f} "
            f"| {left[2]:.3f} | {left[3]:.3f} | {ours[0]:.4f} | {ours[1]:.2f} | "
            + " | ".join(f"{each:.4f}" for each in others)
            + " |"
        )
    for kind, trust in chosen.items():
        spread = ", ".join(f"{each:.2g}" for each in trust.spread)
        of_mean = f"points {trust.points:g}, backtests {trust.backtests:g}, fall {trust.fall:g}"
        lines.append(f"\nChosen without {kind}: {of_mean}, spread {spread}.")
    return lines


if __name__ == "__main__":
    run(__doc__, kinds_table)
