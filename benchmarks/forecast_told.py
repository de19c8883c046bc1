"""Forecasts of learning curves whose schedule is told, by the law with annealing.

    python benchmarks/forecast_told.py [--data FOLDER] [--every N] [--markdown FILE]

Told is the schedule of routing (a cosine to 0.1 of its peak) and of clip (a cosine to 0). Curves,
options and columns are those of forecast_kinds.py. `left out` has the prior of what a rate costs
(`Trust.lift`) that the other kind chooses, `told` the published one. Beside them: one fit, with
weights x and the power 1/2 of the rate, or the power 1; Tissue et al. 2024 with their own S2; a
straight line on log axes; and the forecast that is not told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from curves import Task, line, run, said, score

from fits.base.numbers import Array
from fits.forecast.annealing import EXPONENTS
from fits.forecast.forecast import TRUST, Trust, forecast
from fits.forecast.schedule import Schedule
from fits.forecast.scheduled import ScheduledForecast, scheduled
from fits.laws.varpro import nnls

LIFTS = (0.1, 0.15, 0.2)
FINALS = {"routing": 0.1, "clip": 0.0}
DELAYS = (0.01, 0.03, 0.1, 0.3)  # of Tissue's lambda: 1 / (1 - lambda), in parts of the run


def tissue(task: Task, final: float) -> Array:
    """Log y of Tissue's law, L0 + A S1^-alpha - C S2, the best delay of DELAYS, under a cosine."""
    end = float(task.later_x.max())
    grid = np.linspace(0, 1, 2001)
    schedule = Schedule(kind="cosine", until=end, final=final)
    rate, area = schedule.rate(grid * end), schedule.area(grid * end)
    best, found = np.inf, np.full_like(task.later_x, np.nan)
    for delay in DELAYS:
        kept = np.exp(-(grid[1] - grid[0]) / delay)
        momentum = [0.0]
        for lost in -np.diff(rate):
            momentum.append(kept * momentum[-1] + lost)
        annealed = np.cumsum(momentum) * (1 - kept)

        def rows(x: Array, annealed: Array = annealed) -> Array:
            s1 = np.interp(x / end, grid, area)[None] ** -EXPONENTS[:, None]
            s2 = np.broadcast_to(np.interp(x / end, grid, annealed), s1.shape)
            return np.stack([s1, np.ones_like(s1), 1 - s2], axis=1)

        values, left = nnls(rows(task.x) / task.y, np.ones_like(task.y), np.ones_like(task.y))
        k = int(left.argmin())
        if left[k] < best:
            best = left[k]
            found = np.log(np.maximum(values[k] @ rows(task.later_x)[k], 1e-9))
    return found


def told(task: Task, trust: Trust = TRUST) -> ScheduledForecast:
    """The forecast of a curve whose schedule is told."""
    end = float(task.later_x.max())
    schedule = Schedule(kind="cosine", until=end, final=FINALS[task.kind])
    return scheduled(task.x, task.y, schedule, trust=trust)


def choose_lift(tasks: Sequence[Task]) -> Trust:
    """The prior of what a rate costs that suits these curves, by the product of both scores."""

    def error(trust: Trust) -> float:
        cells = defaultdict(list)
        for task in tasks:
            cells[task.cell].append(score(task, *said(told(task, trust), task))[0])
        return float(np.mean([np.log(np.mean(scores)) for scores in cells.values()]))

    return min((replace(TRUST, lift=lift) for lift in LIFTS), key=error)


def told_table(tasks: Sequence[Task]) -> list[str]:
    """Curves whose schedule is told."""
    tasks = [task for task in tasks if task.kind in FINALS]
    chosen = {kind: choose_lift([task for task in tasks if task.kind != kind]) for kind in FINALS}
    lines = [
        "| kind | seen | curves | left out | cover | width | told | cover | width "
        "| one fit, p = 1/2 | p = 1 | Tissue | line | untold |",
        "|---|---|" + "---:|" * 12,
    ]
    for cell in dict.fromkeys(task.cell for task in tasks):
        rows = []
        for task in (each for each in tasks if each.cell == cell):
            found = told(task)
            each_fit = found.say(task.later_x)[0] + np.log(found.last)
            others = [each_fit[1], each_fit[3], tissue(task, FINALS[task.kind]), line(task)]
            others.append(said(forecast(task.x, task.y), task)[0])
            errors = [np.sqrt(np.mean((each - task.truth) ** 2)) for each in others]
            left = score(task, *said(told(task, chosen[task.kind]), task))[:3]
            rows.append([*left, *score(task, *said(found, task))[:3], *errors])
        means = np.mean(rows, axis=0)
        cells = [
            f"{each:.{digits}f}"
            for each, digits in zip(means, [4, 2, 3] * 2 + [4] * 5, strict=True)
        ]
        lines.append(f"| {cell[0]} | {cell[1]} | {len(rows)} | " + " | ".join(cells) + " |")
    lines += [f"\nChosen without {kind}: lift {trust.lift:g}." for kind, trust in chosen.items()]
    return lines


if __name__ == "__main__":
    run(__doc__, told_table)
