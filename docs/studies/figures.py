"""The figures and tables of three studies, out of the tables that `scaling report` writes.

    python docs/studies/figures.py results/cifar10-head-decay.csv docs/studies
    python docs/studies/figures.py results/cifar10-augmentation.csv docs/studies
    python docs/studies/figures.py results/objectives.csv docs/studies

Writes FOLDER/<study>.png, and prints the numbers in it as a Markdown table: means over seeds, with
the standard error of the mean where there are several.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from fits.plot_style import style
from fits.plotting import canvas, save

Row = Mapping[str, str]
AUGMENTATIONS = {
    "augment=none": "none",
    "augment=flip": "flip",
    "augment=random_crop(padding=4)+flip": "crop, flip",
}


class Picture(NamedTuple):
    """What a study's figure shows.

    Fields:
      x: what is on the horizontal axis, of a row.
      line: which line a row belongs to.
      panels: title of each and whether a row is in it.
      xlabel: of the axis.
      linear: x below which the axis is linear, as it has a 0; None: it has none.
      lines_differ: whether the last panel has lines of its own.
    """

    x: Callable[[Row], float]
    line: Callable[[Row], str]
    panels: Mapping[str, Callable[[Row], bool]]
    xlabel: str
    linear: float | None = None
    lines_differ: bool = False


def decay(row: Row, of: str) -> str:
    found = re.search(rf"weight_decay_{of}=([\d.e-]+)", row["variant"])
    assert found is not None
    return found[1]


def of_metric(name: str) -> Callable[[Row], bool]:
    return lambda row: row["metric"] == name


def after(images: str, metric: str) -> Callable[[Row], bool]:
    return lambda row: row["metric"] == metric and row["images_seen"] == images


MIXED = "mixup"  # the grid that compares objectives distils with it, the one of views without


def objective(variant: str) -> str:
    found = re.search(r"objective=(\w+)", variant)
    assert found is not None
    return found[1]


def teacher_view(variant: str) -> str:
    found = re.search(r"teacher_view=(\w+)", variant)
    return found[1] if found else "same"


def compares_views(variant: str) -> bool:
    return objective(variant) == "distill" and MIXED not in variant


def objective_or_view(row: Row) -> str:
    variant = row["variant"]
    return teacher_view(variant) if compares_views(variant) else objective(variant)


def of_model(name: str) -> Callable[[Row], bool]:
    return lambda row: (
        row["metric"] == "glyphs_probe_error"
        and row["model"] == name
        and not compares_views(row["variant"])
    )


PICTURES = {
    "objectives": Picture(
        x=lambda row: float(row["images_seen"]),
        line=objective_or_view,
        panels={
            "w8d2": of_model("w8d2"),
            "w16d2": of_model("w16d2"),
            "w32d2": of_model("w32d2"),
            "w16d2 distilled, by what the teacher sees": lambda row: (
                row["metric"] == "glyphs_probe_error" and compares_views(row["variant"])
            ),
        },
        xlabel="images seen",
        lines_differ=True,
    ),
    "cifar10-head-decay": Picture(
        x=lambda row: float(decay(row, "head")),
        line=lambda row: f"body {decay(row, 'body')}",
        panels={
            "upstream: animals": of_metric("upstream_error"),
            "vehicles, 10 shots": of_metric("vehicles_10shot_error"),
            "MNIST, 10 shots": of_metric("mnist_10shot_error"),
            "faces, 10 shots": of_metric("faces_10shot_error"),
        },
        xlabel="weight decay of the head",
        linear=0.05,
    ),
    "cifar10-augmentation": Picture(
        x=lambda row: float(row["data_size"]),
        line=lambda row: AUGMENTATIONS.get(row["variant"], "crop, flip, RandAugment, MixUp"),
        panels={
            "76,800 images seen": after("76800", "upstream_error"),
            "307,200 images seen": after("307200", "upstream_error"),
            "digits, 10 shots, 307,200 seen": after("307200", "digits_10shot_error"),
        },
        xlabel="different training images",
    ),
}


class Point(NamedTuple):
    """Mean over seeds and its standard error; None: of one seed."""

    mean: float
    error: float | None

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + (f" ± {self.error:.3f}" if self.error is not None else "")


def points(rows: list[Row], picture: Picture, panel: str) -> dict[str, dict[float, Point]]:
    """By line and x."""
    values: dict[tuple[str, float], list[float]] = defaultdict(list)
    for row in filter(picture.panels[panel], rows):
        values[picture.line(row), picture.x(row)].append(float(row["value"]))
    found: dict[str, dict[float, Point]] = defaultdict(dict)
    for (line, x), each in sorted(values.items(), key=lambda pair: pair[0][1]):
        error = stdev(each) / len(each) ** 0.5 if len(each) > 1 else None
        found[line][x] = Point(fmean(each), error)
    return found


def table(rows: list[Row], picture: Picture) -> Iterator[str]:
    for panel in picture.panels:
        found = points(rows, picture, panel)
        xs = sorted({x for line in found.values() for x in line})
        yield f"\n| {panel} | " + " | ".join(f"{x:g}" for x in xs) + " |"
        yield "|---" * (len(xs) + 1) + "|"
        for line, each in found.items():
            yield f"| {line} | " + " | ".join(str(each.get(x, "")) for x in xs) + " |"


def draw(rows: list[Row], picture: Picture, path: Path) -> None:
    figure, panels = canvas(len(picture.panels))
    with style():
        for title, ax in zip(picture.panels, panels, strict=True):
            for line, each in points(rows, picture, title).items():
                errors = [point.error or 0.0 for point in each.values()]
                means = [point.mean for point in each.values()]
                ax.errorbar(list(each), means, errors, label=line, marker="o", ms=3, lw=1)
            if picture.linear is None:
                ax.set_xscale("log")
            else:
                ax.set_xscale("symlog", linthresh=picture.linear)
            xs = sorted({x for line in points(rows, picture, title).values() for x in line})
            ax.set_xticks(xs, [f"{x:,g}" for x in xs], minor=False)
            ax.set_xticks([], minor=True)
            ax.set(title=title, xlabel=picture.xlabel, ylabel="error")
        panels[0].legend()
        if picture.lines_differ:
            panels[-1].legend()
    save(figure, path)


def main() -> None:
    results, folder = map(Path, sys.argv[1:])
    picture = PICTURES[results.stem]
    with results.open(encoding="utf-8", newline="") as file:
        rows: list[Row] = list(csv.DictReader(file))
    draw(rows, picture, folder / f"{results.stem}.png")
    print("\n".join(table(rows, picture)))


if __name__ == "__main__":
    main()
