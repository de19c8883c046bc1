"""Forecasts of several kinds of learning curves at once, no constant chosen on the kind it scores.

    python benchmarks/forecast_kinds.py [--data FOLDER] [--every N] [--markdown FILE]

FOLDER, by default ../shared/data beside the project, holds the kinds (curves.py). A score is the
root mean square of log(forecast / measured), a mean over the curves; `cover` the share of points
inside nominal 90 % intervals, `width` their mean log(high / low), `Winkler` the interval score.

`left out` is the forecast whose constants (`forecast.Trust`) were chosen on the other kinds alone:
misfit and points by the product of the scores of all cells, what the variance is made of by
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
MISFITS, POINTS = (0.3, 0.45, 0.6), (5.0, 7.0, 10.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Made:
    """A forecast of a task, before `Trust` is chosen."""

    task: Task
    found: Forecast

    def under(self, trust: Trust) -> tuple[Array, Array]:
        """Mean and standard deviation of log y at the later x."""
        return said(replace(self.found, trust=trust), self.task)

    def parts(self, trust: Trust) -> tuple[Array, Parts]:
        """Errors of the mean, and all that the variance is made of."""
        relative = self.task.later_x / self.found.span[1]
        parts = combine(self.found.members, relative, trust)
        return parts.mean + np.log(self.found.last) - self.task.truth, parts


def choose(made: Sequence[Made]) -> Trust:
    """The constants that suit these curves: those of the mean, then those of the variance."""

    def error(trust: Trust) -> float:
        cells = defaultdict(list)
        for each in made:
            cells[each.task.cell].append(np.sqrt(np.mean(each.parts(trust)[0] ** 2)))
        return float(np.mean([np.log(np.mean(scores)) for scores in cells.values()]))

    trusts = [replace(TRUST, misfit=m, points=p) for m, p in itertools.product(MISFITS, POINTS)]
    best = min(trusts, key=error)
    return replace(best, spread=_spread(made, best))


def _spread(made: Sequence[Made], trust: Trust) -> tuple[float, ...]:
    """What the variance is made of, by likelihood; each cell counts the same."""
    sizes = defaultdict(int)
    for each in made:
        sizes[each.task.cell] += 1
    curves = [(sizes[each.task.cell], each.found.members.real, *each.parts(trust)) for each in made]

    def loss(logs: Array) -> float:
        total = 0.02 * float(((logs + 2) ** 2).sum())
        for size, real, errors, parts in curves:
            variance = parts.variance(np.exp(logs), real) + 1e-9
            t = 0.5 * np.log(variance) + 2.5 * np.log1p(errors**2 / variance / 4)
            total += float(t.mean()) / size
        return total

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
    made = [Made(task=task, found=forecast(task.x, task.y)) for task in tasks]
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
        lines.append(
            f"\nChosen without {kind}: misfit {trust.misfit:g}, points {trust.points:g}, "
            f"spread {spread}."
        )
    return lines


if __name__ == "__main__":
    run(__doc__, kinds_table)
