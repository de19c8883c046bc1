"""Forecasts of real learning curves, against what came: this project's and the published ones.

    python benchmarks/forecast.py [--data FOLDER] [--law NAME ...] [--markdown FILE]
    python benchmarks/forecast.py --synthetic [--seeds N] [--markdown FILE]
    python benchmarks/forecast.py --short [--published FOLDER] [--markdown FILE]

FOLDER holds `benchmark_vision_dev.csv` and `anchors_dev.csv`: learning curves of the 2022
scaling-law benchmark (Alabdulmohsin, Neyshabur and Zhai) and what published estimators score on
them. By default ../shared/data/scaling_benchmark_2022 beside the project. Every law is fitted
unless some are named. A few minutes, most of them for the broken laws.

Each curve is fitted on its rows with Training = 1 and scored on its other rows; `longer` fits only
those of them with x <= a quarter of their largest, and scores the same rows. A score is the root
mean square of log(forecast / measured), a mean over the curves. `cover` is how many of the scored
points the 90 % interval holds, `width` the mean of log(high / low), `Winkler` the interval score
width + 20 x what lies outside; `cpu ms` is processor time a curve, forecast included, on one core.

Below the scores stands how much of the misfit is noise: so many points a likelihood is worth.
The last table asks whether the constants of `ends.Belief` were tuned to these curves: they
are chosen anew on one data set's curves and scored on the other's.

`--synthetic` scores made-up curves instead, of kinds that those data sets lack, N of each kind
(default 40): the forecast beside this project's least-squares fit of M4. A curve spans 1.5 to 3
decades of x, and its continuation to twice its largest x is to be predicted, noise included. Five
minutes, all of them for M4.

`--short` scores the published grid of Vision Transformers (Zhai et al. 2022), by default
../shared/data/zhai2022: error against steps, a curve for each model and number of images. The
longest one, two or three runs are to be predicted from at least five durations. A minute.
Writes FILE, and nothing else.
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

from fits.base.numbers import Array
from fits.forecast.ends import BELIEF, Belief
from fits.forecast.forecast import forecast
from fits.laws.law import Law
from fits.laws.registry import LAWS
from fits.regression.fit import fit

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "scaling_benchmark_2022"
GRID = DATA.parent / "zhai2022"
LEVEL = 0.9
LEAST = 5  # durations of a short curve to fit: M4 has as many parameters
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Kind:
    """Made-up curves of one kind.

    Fields:
      says: what a reader should think of.
      law: a generator of random numbers -> an error as a function of x, 1 at the end of the points.
      noise: standard deviation of log y, from point to point.
      points: fewest and most of them.
    """

    says: str
    law: Callable[[np.random.Generator], Callable[[Array], Array]]
    noise: float
    points: tuple[int, int]

    def curve(self, name: str, seed: int) -> Curve:
        """One of them, always the same for a name and a seed."""
        rng = np.random.default_rng([seed, *name.encode()])
        law, points = self.law(rng), rng.integers(self.points[0], self.points[1] + 1)
        x = np.geomspace(10 ** -rng.uniform(1.5, 3.0), 1.0, points)
        later = np.geomspace(1.0, 2.0, 12)[1:]
        y = law(np.concatenate([x, later]))
        y = y * np.exp(self.noise * rng.normal(size=len(y)))
        parts = {"x": x, "y": y[:points], "later_x": later, "later_y": y[points:]}
        return Curve(data_set="synthetic", task=name, model=str(seed), **parts)


def _power(low: float, high: float, floor: float = 0.0) -> Callable[..., Callable[..., Array]]:
    def law(rng: np.random.Generator) -> Callable[[Array], Array]:
        b, c = _between(rng, low, high), rng.uniform(0, floor)
        return lambda x: c + x**-b

    return law


def _saturating(rng: np.random.Generator) -> Callable[[Array], Array]:
    b, d, c = _between(rng, 0.2, 0.9), _between(rng, 0.01, 0.3), rng.uniform(0, 0.3)
    return lambda x: c + 0.5 * (x + d) ** -b


def _flat(rng: np.random.Generator) -> Callable[[Array], Array]:
    return lambda x: 0.8 * np.ones_like(x)


def _late(rng: np.random.Generator) -> Callable[[Array], Array]:
    b, d = _between(rng, 0.02, 0.3), _between(rng, 0.03, 3.0)
    return lambda x: 0.9 * (1 + x / d) ** -b


def _two_powers(rng: np.random.Generator) -> Callable[[Array], Array]:
    b, faster, c = _between(rng, 0.05, 0.2), _between(rng, 0.3, 0.8), rng.uniform(0, 1)
    return lambda x: c + x**-b + 0.025 * x**-faster


def _sigmoid(rng: np.random.Generator) -> Callable[[Array], Array]:
    c, b, s, g = rng.uniform(0.02, 0.2), _between(rng, 0.3, 1.0), rng.uniform(0.2, 1), 0.3
    error = c + (1 - c) * (1 - 1 / (1 + np.exp(-np.linspace(-14, 14, 20_001))))
    log_x = -np.log((error - c) * (1 - error) ** -s / g) / b  # M4, solved for x
    return lambda x: np.interp(np.log(x), log_x, error)


def _waves(rng: np.random.Generator) -> Callable[[Array], Array]:
    b, k, phase = _between(rng, 0.1, 0.6), rng.uniform(1, 3), rng.uniform(0, 2 * np.pi)
    return lambda x: 0.5 * x**-b * np.exp(0.02 * np.sin(k * np.log(x) + phase))


def _drift(rng: np.random.Generator) -> Callable[[Array], Array]:
    """A law times a random process that forgets over one e-fold of x."""
    plain = _saturating(rng)

    def law(x: Array) -> Array:
        kept = np.exp(-np.diff(np.log(x)))
        steps = 0.02 * rng.normal(size=len(x))
        wander = [steps[0]]
        for k, step in zip(kept, steps[1:], strict=True):
            wander.append(k * wander[-1] + np.sqrt(1 - k**2) * step)
        return plain(x) * np.exp(wander)

    return law


def _broken(rng: np.random.Generator) -> Callable[[Array], Array]:
    b, then, d = _between(rng, 0.02, 0.2), _between(rng, 0.2, 0.7), _between(rng, 0.02, 0.5)
    return lambda x: 0.8 * x**-b * (1 + (x / d) ** 2) ** (-(then - b) / 2)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


_POWER = _power(0.05, 0.6)
_KINDS = (
    ("power", "a power law, no noise", _POWER, 0.0, (40, 40)),
    ("floor", "power and floor, no noise", _power(0.1, 0.8, 1.0), 0.0, (40, 40)),
    ("saturating", "power, shift and floor, no noise", _saturating, 0.0, (60, 60)),
    ("translation", "power and floor, few points", _power(0.15, 0.5, 2.0), 0.002, (8, 15)),
    ("language", "slow power and floor, few points", _power(0.05, 0.2, 1.0), 0.002, (10, 24)),
    ("two-powers", "two powers and a floor, few points", _two_powers, 3e-4, (10, 24)),
    ("few", "very few points", _power(0.1, 0.6, 1.0), 0.01, (6, 8)),
    ("flat", "noise alone", _flat, 0.02, (8, 24)),
    ("late", "begins to fall, noisy", _late, 0.03, (8, 24)),
    ("noisy-power", "a power law, noisy", _POWER, 0.02, (40, 40)),
    ("noisy-saturating", "power, shift and floor, noisy", _saturating, 0.01, (60, 60)),
    ("sigmoid", "M4's own law", _sigmoid, 0.003, (60, 60)),
    ("waves", "a power law with waves of 2 %", _waves, 0.002, (40, 40)),
    ("drift", "a law with a drift of 2 %", _drift, 0.003, (60, 60)),
    ("broken", "a slope that changes within", _broken, 0.005, (60, 60)),
)
KINDS = {
    name: Kind(says=says, law=law, noise=noise, points=points)
    for name, says, law, noise, points in _KINDS
}


def synthetic_table(seeds: int) -> list[str]:
    """The forecast and M4 on every kind of made-up curve, as lines of a Markdown table."""
    lines = [
        "| kind | | noise | forecast | M4 | of M4 | cover | width | Winkler |",
        "|---|---|" + "---:|" * 7,
    ]
    for name, kind in KINDS.items():
        curves = [kind.curve(name, seed) for seed in range(seeds)]
        ours = mean(score_forecast(curve) for curve in curves)
        m4 = mean(score_law(LAWS["m4"], curve) for curve in curves).rmsle
        better = f"{ours.rmsle / m4:.2f}" if max(ours.rmsle, m4) > 1e-4 else ""
        lines.append(
            f"| {name} | {kind.says} | {kind.noise:g} | {ours.rmsle:.5f} | {m4:.5f} | {better} "
            f"| {ours.cover:.2f} | {ours.width:.4f} | {ours.winkler:.4f} |"
        )
    return lines


def read_short(folder: Path, held_out: int) -> dict[str, list[Curve]]:
    """The curves of the published grid by what was measured, the longest runs to be predicted."""
    sources = (
        ("10-shot", "fewshot.csv", "steps_at_bs4096", "inet10"),
        ("fine-tuned", "finetune.csv", "steps", "imagenet"),
    )
    found: dict[str, list[Curve]] = {}
    for name, file_name, steps, accuracy in sources:
        rows = defaultdict(list)
        with (folder / file_name).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row[accuracy]:
                    point = float(row[steps]), 1 - float(row[accuracy]) / 100
                    rows[row["model"], row["data_images"]].append(point)
        found[name] = []
        for (model, images), points in rows.items():
            x, y = np.array(sorted(points)).T
            if len(np.unique(x[:-held_out])) < LEAST:
                continue
            parts = {"x": x[:-held_out], "y": y[:-held_out]}
            parts |= {"later_x": x[-held_out:], "later_y": y[-held_out:]}
            found[name].append(Curve(data_set=name, task=images, model=model, **parts))
    return found


def short_table(folder: Path) -> list[str]:
    """The forecast and M4 on short curves of real runs, as lines of a Markdown table."""
    lines = [
        "| error | held out | curves | forecast | M4 | of M4 | forecast, median | of M4 | cover "
        "| width |",
        "|---|" + "---:|" * 9,
    ]
    for held_out in (1, 2, 3):
        for name, curves in read_short(folder, held_out).items():
            ours = [score_forecast(curve) for curve in curves]
            m4 = [score_law(LAWS["m4"], curve).rmsle for curve in curves]
            middle, middle_m4 = (
                float(np.median([each.rmsle for each in ours])),
                float(np.median(m4)),
            )
            whole, whole_m4 = mean(ours), float(np.mean(m4))
            lines.append(
                f"| {name} | {held_out} | {len(curves)} | {whole.rmsle:.4f} | {whole_m4:.4f} "
                f"| {whole.rmsle / whole_m4:.2f} | {middle:.4f} | {middle / middle_m4:.2f} "
                f"| {whole.cover:.2f} | {whole.width:.3f} |"
            )
    return lines


def noise_of(curves: Sequence[Curve]) -> str:
    """How much of the misfit is noise, and how many independent points that makes."""
    shares = np.array([forecast(curve.x, curve.y).independent for curve in curves])
    points = np.array([len(np.unique(curve.x)) for curve in curves])
    worth = 1 / (shares / points + 1 - shares)
    return (
        f"Of the misfit {shares.mean():.2f} is noise (s, from {shares.min():.2f} to "
        f"{shares.max():.2f}): {points.mean():.0f} points are worth {worth.mean():.1f} (N)."
    )


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
        "| chosen on | scored on | exponent | its spread | ensemble share | score | longer "
        "| cover, width | longer |",
        "|---|---|" + "---:|" * 7,
    ]
    names = sorted({curve.data_set for curve in curves})
    for chosen, scored in itertools.permutations(names, 2):
        belief = choose([curve for curve in curves if curve.data_set == chosen])
        others = [curve for curve in curves if curve.data_set == scored]
        lines += [_left_out(chosen, scored, belief, others), _left_out("-", scored, BELIEF, others)]
    return lines


def choose(curves: Sequence[Curve]) -> Belief:
    """The constants that suit these curves best: b's by the product of scores, then the share."""

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
    return min((replace(best, ensemble_share=share) for share in (0.06, 0.125, 0.25)), key=interval)


def _left_out(chosen: str, scored: str, belief: Belief, curves: Sequence[Curve]) -> str:
    near = mean(score_forecast(curve, belief) for curve in curves)
    far = mean(score_forecast(curve.quarter(), belief) for curve in curves)
    return (
        f"| {chosen} | {scored} | {belief.exponent:g} | {belief.exponent_spread:g} "
        f"| {belief.ensemble_share:g} | {near.rmsle:.4f} | {far.rmsle:.4f} "
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
    parser.add_argument("--synthetic", action="store_true")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--published", type=Path, default=GRID)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    if options.synthetic:
        lines = synthetic_table(options.seeds)
    elif options.short:
        lines = short_table(options.published)
    else:
        curves = read_curves(options.data)
        scores = score_table(
            curves, read_published(options.data), [LAWS[name] for name in options.law]
        )
        lines = [*scores, "", noise_of(curves), "", *left_out_table(curves)]
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
