"""Learning curves of five kinds, cut in two, and how a forecast of their later part is scored.

Kinds: vision (the 2022 benchmark), routing (language models whose learning rate decays, Clark et
al. 2022), gemstones (language models under a constant rate, McLeish et al. 2025), grid (published
Vision Transformers, Zhai et al. 2022: few points), clip (zero-shot error under a cosine, OpenCLIP).
A curve is seen up to a half or a quarter of its largest x, of vision as its data says, and its rest
is to be forecast; of the grid the one, two or three longest runs.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fits.base.numbers import Array
from fits.forecast.forecast import Forecast
from fits.forecast.scheduled import ScheduledForecast

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
LEVEL = 0.9
REACH = 1.6448536269514722  # standard deviations of a normal interval of that level


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A curve, cut in two."""

    kind: str
    part: str
    x: Array
    y: Array
    later_x: Array
    later_y: Array

    @property
    def cell(self) -> tuple[str, str]:
        return self.kind, self.part

    @property
    def truth(self) -> Array:
        return np.log(self.later_y)


def read_tasks(folder: Path) -> list[Task]:
    """Every task of every kind."""
    return [*_vision(folder), *_halves(folder), *_grid(folder), *_clip(folder)]


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _cut(kind: str, points: Sequence[tuple[float, float]]) -> Iterator[Task]:
    x, y = np.array(sorted(points)).T
    for part, share in (("1/2", 0.5), ("1/4", 0.25)):
        known = x <= x.max() * share * (1 + 1e-9)
        yield Task(
            kind=kind, part=part, x=x[known], y=y[known], later_x=x[~known], later_y=y[~known]
        )


def _vision(folder: Path) -> Iterator[Task]:
    curves = defaultdict(list)
    for row in _rows(folder / "scaling_benchmark_2022" / "benchmark_vision_dev.csv"):
        point = float(row["Seen Examples"]), float(row["Loss"]), float(row["Training"])
        curves[row["Task"], row["Model"]].append(point)
    for _, points in sorted(curves.items()):
        x, y, training = np.array(points).T
        whole = training == 1
        for part, known in (("1/2", whole), ("1/4", whole & (x <= x[whole].max() / 4))):
            rest = {"later_x": x[~whole], "later_y": y[~whole]}
            yield Task(kind="vision", part=part, x=x[known], y=y[known], **rest)


def _halves(folder: Path) -> Iterator[Task]:
    for kind, x in (("routing", "step"), ("gemstones", "tokens")):
        curves = defaultdict(list)
        for row in _rows(folder / "curves" / f"{kind}.csv"):
            curves[row["curve"]].append((float(row[x]), float(row["loss"])))
        for points in curves.values():
            yield from _cut(kind, points)


def _grid(folder: Path) -> Iterator[Task]:
    sources = (("fewshot.csv", "steps_at_bs4096", "inet10"), ("finetune.csv", "steps", "imagenet"))
    for name, steps, accuracy in sources:
        curves = defaultdict(list)
        for row in _rows(folder / "zhai2022" / name):
            if row[accuracy]:
                point = float(row[steps]), 1 - float(row[accuracy]) / 100
                curves[row["model"], row["data_images"]].append(point)
        for points, held in itertools.product(curves.values(), (1, 2, 3)):
            x, y = np.array(sorted(points)).T
            if len(np.unique(x[:-held])) >= 5:
                rest = {"later_x": x[-held:], "later_y": y[-held:]}
                yield Task(kind="grid", part="", x=x[:-held], y=y[:-held], **rest)


def _clip(folder: Path) -> Iterator[Task]:
    curves: dict[str, dict[float, float]] = defaultdict(dict)
    for row in _rows(folder / "openclip" / "imagenet_zeroshot_learning_curves.csv"):
        error = 1 - float(row["imagenet-zeroshot-val-top1"])
        curves[row["name"]].setdefault(float(row["epoch"]), error)
    for epochs in curves.values():
        if len(epochs) >= 20:
            yield from _cut("clip", list(epochs.items()))


def said(found: Forecast | ScheduledForecast, task: Task) -> tuple[Array, Array]:
    median, _, high = found(task.later_x, level=LEVEL)
    return np.log(median), np.log(high / median) / REACH


def score(task: Task, mean: Array, deviation: Array) -> tuple[float, float, float, float]:
    """Root mean square error, cover, width and interval score."""
    away, reach = np.abs(mean - task.truth), REACH * deviation
    outside = np.maximum(away - reach, 0)
    return (
        float(np.sqrt(np.mean(away**2))),
        float(np.mean(outside == 0)),
        float(np.mean(2 * reach)),
        float(np.mean(2 * reach + 2 / (1 - LEVEL) * outside)),
    )


def line(task: Task) -> Array:
    """Log y of a straight line on log axes through the last half."""
    late = task.x >= task.x.max() / 2 * (1 - 1e-9)
    if late.sum() < 2:
        late = np.argsort(np.argsort(task.x)) >= len(task.x) - 2
    found = np.polyfit(np.log(task.x[late]), np.log(task.y[late]), 1)
    return np.polyval(found, np.log(task.later_x))


def run(description: str | None, table: Callable[[list[Task]], list[str]]) -> None:
    """Read the options of a benchmark, print its table, and write it where that was asked for."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    cells = defaultdict(list)
    for task in read_tasks(options.data):
        cells[task.cell].append(task)
    text = "\n".join(table([task for each in cells.values() for task in each[:: options.every]]))
    print(text)
    if options.markdown:
        options.markdown.write_text(text + "\n", encoding="utf-8")
