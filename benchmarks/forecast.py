"""Forecasts of real learning curves, against what came: this project's and the published ones.

    python benchmarks/forecast.py [--data FOLDER] [--law NAME ...] [--markdown FILE]

FOLDER holds `benchmark_vision_dev.csv` and `anchors_dev.csv`: learning curves of the 2022
scaling-law benchmark (Alabdulmohsin, Neyshabur and Zhai) and what published estimators score on
them. By default ../shared/data/scaling_benchmark_2022 beside the project. Every law of `fits.laws`
is fitted unless some are named. A few minutes, most of them for the broken laws.

Each curve is fitted on its rows with Training = 1 and scored on its other rows; `longer` fits only
those of them with x <= a quarter of their largest, and scores the same rows. A score is the root
mean square of log(forecast / measured), a mean over the curves. `cover` is how many of the scored
points the 90 % interval holds, `width` the mean of log(high / low), `Winkler` the interval score
width + 20 x what lies outside; `cpu ms` is processor time a curve, forecast included, on one core.

The last table asks whether the constants of `fits.forecast.Belief` were tuned to these curves: they
are chosen anew on one data set's curves and scored on the other's. Writes FILE, and nothing else.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from fits.fit import fit
from fits.forecast import BELIEF, Array, Belief, forecast
from fits.laws import LAWS, Law

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "scaling_benchmark_2022"
LEVEL = 0.9
# Scores of the longer task that the authors' own programs reached; the table has the other ones.
LONGER = {"M4": 0.0998, "BNSL": 0.48}
NAMES = {"ssl_broken": "broken-power (simple-scaling-laws)", "BNSL": "BNSL, one break"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """A learning curve, cut in two.

    Fields:
      data_set: what the error was measured on, such as inet.
      task, model: as the table has them.
      x, y: what may be fitted.
      later_x, later_y: what is to be forecast.
    """

    data_set: str
    task: str
    model: str
    x: Array
    y: Array
    later_x: Array
    later_y: Array

    def quarter(self) -> Curve:
        """The same with only the first quarter of it to fit."""
        early = self.x <= self.x.max() / 4
        return replace(self, x=self.x[early], y=self.y[early])


@dataclass(frozen=True, kw_only=True)
class Score:
    """Of one forecast of one curve; NaN for what it does not say."""

    rmsle: float
    cover: float = np.nan
    width: float = np.nan
    winkler: float = np.nan
    cpu_ms: float = np.nan


def read_curves(folder: Path) -> list[Curve]:
    """The curves of the benchmark, sorted by task and model."""
    rows = defaultdict(list)
    with (folder / "benchmark_vision_dev.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            point = float(row["Seen Examples"]), float(row["Loss"]), float(row["Training"])
            rows[row["Task"], row["Model"]].append(point)
    curves = []
    for (task, model), points in sorted(rows.items()):
        x, y, training = np.array(points).T
        known = training == 1
        parts = {"x": x[known], "y": y[known], "later_x": x[~known], "later_y": y[~known]}
        curves.append(Curve(data_set=task.split("_")[0], task=task, model=model, **parts))
    return curves


def score_forecast(curve: Curve, belief: Belief = BELIEF) -> Score:
    """Of this project's forecast."""
    start = time.process_time()
    found = forecast(curve.x, curve.y, belief=belief)
    median, low, high = found(curve.later_x, level=LEVEL)
    cpu_ms = 1e3 * (time.process_time() - start)
    log_y = np.log(curve.later_y)
    below = np.maximum(np.log(low) - log_y, 0)
    above = np.maximum(log_y - np.log(high), 0)
    width = np.log(high / low)
    return Score(
        rmsle=_rms(np.log(median) - log_y),
        cover=float(np.mean((below == 0) & (above == 0))),
        width=float(width.mean()),
        winkler=float(np.mean(width + 2 / (1 - LEVEL) * (below + above))),
        cpu_ms=cpu_ms,
    )


def score_law(law: Law, curve: Curve) -> Score:
    """Of the least-squares fit of one law; infinite where it foresees errors below 0 or no fit."""
    start = time.process_time()
    try:
        predicted = fit(law, curve.x, curve.y).predict(curve.later_x)
    except ValueError:
        predicted = np.zeros_like(curve.later_y)
    cpu_ms = 1e3 * (time.process_time() - start)
    possible = bool((predicted > 0).all())
    error = _rms(np.log(predicted / curve.later_y)) if possible else np.inf
    return Score(rmsle=error, cpu_ms=cpu_ms)


def mean(scores: Iterable[Score]) -> Score:
    """Field by field."""
    rmsle, cover, width, winkler, cpu_ms = np.mean([astuple(each) for each in scores], axis=0)
    return Score(rmsle=rmsle, cover=cover, width=width, winkler=winkler, cpu_ms=cpu_ms)


def read_published(folder: Path, data_set: str = "") -> dict[str, float]:
    """Mean score of each published estimator, on all curves or on those of one data set."""
    with (folder / "anchors_dev.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["task"].startswith(data_set)]
    columns = [name for name in rows[0] if name.endswith("_rmsle")]
    return {
        name.removesuffix("_rmsle"): float(np.mean([float(row[name]) for row in rows]))
        for name in columns
    }


def score_table(curves: Sequence[Curve], published: dict[str, float], laws: list[Law]) -> list[str]:
    """Every estimator on both tasks, as lines of a Markdown table."""
    lines = [
        "| estimator | score | of M4 | cover | width | Winkler | longer | of M4 | cover | width "
        "| Winkler | cpu ms |",
        "|---|" + "---:|" * 11,
    ]
    estimators: dict[str, Callable[[Curve], Score]] = {"**forecast**": score_forecast}
    for law in laws:
        estimators[f"law {law.name}"] = partial(score_law, law)
    for name, score in estimators.items():
        near = mean(score(curve) for curve in curves)
        far = mean(score(curve.quarter()) for curve in curves)
        lines.append(_line(name, near, far, published["M4"]))
    for name, rmsle in published.items():
        near, far = Score(rmsle=rmsle), Score(rmsle=LONGER.get(name, np.nan))
        lines.append(_line(NAMES.get(name, name), near, far, published["M4"]))
    return lines


def left_out_table(curves: Sequence[Curve]) -> list[str]:
    """Constants chosen on one data set, scored on the other, as lines of a Markdown table."""
    lines = [
        "| chosen on | scored on | exponent | its spread | scatter | score | longer | cover, width "
        "| longer |",
        "|---|---|" + "---:|" * 7,
    ]
    names = sorted({curve.data_set for curve in curves})
    for chosen, scored in itertools.permutations(names, 2):
        belief = choose([curve for curve in curves if curve.data_set == chosen])
        others = [curve for curve in curves if curve.data_set == scored]
        lines += [_left_out(chosen, scored, belief, others), _left_out("-", scored, BELIEF, others)]
    return lines


def choose(curves: Sequence[Curve]) -> Belief:
    """The constants that suit these curves best: b's by the product of scores, then the scatter."""

    def scores(belief: Belief) -> tuple[Score, Score]:
        near = mean(score_forecast(curve, belief) for curve in curves)
        return near, mean(score_forecast(curve.quarter(), belief) for curve in curves)

    def error(belief: Belief) -> float:
        near, far = scores(belief)
        return near.rmsle * far.rmsle

    def interval(belief: Belief) -> float:
        near, far = scores(belief)
        return near.winkler * far.winkler

    pairs = itertools.product((0.35, 0.7, 1.4), (0.75, 1.5, 3.0))
    best = min((Belief(exponent=b, exponent_spread=spread) for b, spread in pairs), key=error)
    return min((replace(best, scatter=share) for share in (0.125, 0.25, 0.5)), key=interval)


def _left_out(chosen: str, scored: str, belief: Belief, curves: Sequence[Curve]) -> str:
    near = mean(score_forecast(curve, belief) for curve in curves)
    far = mean(score_forecast(curve.quarter(), belief) for curve in curves)
    return (
        f"| {chosen} | {scored} | {belief.exponent:g} | {belief.exponent_spread:g} "
        f"| {belief.scatter:.2f} | {near.rmsle:.4f} | {far.rmsle:.4f} "
        f"| {near.cover:.2f}, {near.width:.3f} | {far.cover:.2f}, {far.width:.3f} |"
    )


def _line(name: str, near: Score, far: Score, m4: float) -> str:
    cells = [
        *_cells(near, m4),
        *_cells(far, LONGER["M4"]),
        "" if np.isnan(near.cpu_ms) else f"{near.cpu_ms:.0f}",
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def _cells(score: Score, m4: float) -> list[str]:
    numbers = score.rmsle, score.rmsle / m4, score.cover, score.width, score.winkler
    formats = ".4f", ".3f", ".3f", ".3f", ".3f"
    return ["" if np.isnan(n) else format(n, f) for n, f in zip(numbers, formats, strict=True)]


def _rms(errors: Array) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--law", nargs="+", choices=list(LAWS), default=list(LAWS), metavar="NAME")
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    curves = read_curves(options.data)
    laws = [LAWS[name] for name in options.law]
    lines = [*score_table(curves, read_published(options.data), laws), "", *left_out_table(curves)]
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
