"""The runs in a figure: colour and marker say the model, paleness the data size, with a key."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fits.base.numbers import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "os^DvPX<>ph"
PALEST, DARKEST = 0.35, 1.0  # opacity, of the smallest and the largest data size
KEYS = 4  # data sizes in a legend, at most


def draw_runs(
    ax: Axes,
    x: Array,
    y: Array,
    labels: Sequence[Hashable] | None,
    series: Sequence[Hashable] | None,
    sizes: Sequence[Hashable] | None,
) -> None:
    """A point a run, a colour and a marker a model, a line a model, series and size."""
    from matplotlib import colormaps

    if labels is None:
        ax.plot(x, y, "o", ms=3, mew=0, color="0.45", zorder=2)
        return
    names = np.array([str(label) for label in labels])
    size = ["" if each is None else str(each) for each in sizes or [""] * len(names)]
    opacity = _opacities(size)
    depth = np.array([opacity[each] for each in size])
    others = np.array([f"{a}\n{b}" for a, b in zip(size, series or size, strict=True)])
    models = sorted(dict.fromkeys(names), key=lambda name: x[names == name].min())
    steps = colormaps["viridis"](np.linspace(0, 0.78, len(models)))  # beyond, too pale for paper
    for model, colour, marker in zip(models, steps, itertools.cycle(MARKERS), strict=False):
        mine = names == model
        for other in dict.fromkeys(others[mine]):
            its = np.flatnonzero(mine & (others == other))
            its = its[np.argsort(x[its], kind="stable")]
            if (np.diff(x[its]) > 0).all():  # else something else tells them apart: no curve
                alpha = 0.75 * depth[its[0]]
                ax.plot(x[its], y[its], color=colour, lw=0.8, alpha=alpha, zorder=1.5)
        _draw_points(ax, x[mine], y[mine], depth[mine], marker, colour, model)
    _draw_key(ax, opacity)


def _draw_points(
    ax: Axes, x: Array, y: Array, depth: Array, marker: str, colour: Array, model: str
) -> None:
    """Those of a model, the palest first; the darkest stands in the legend."""
    depths = sorted(set(depth.tolist()))
    for alpha in depths:
        its, label = depth == alpha, model if alpha == depths[-1] else None
        look = {"color": colour, "ms": 3.2, "mew": 0, "alpha": alpha, "zorder": 2}
        ax.plot(x[its], y[its], marker, label=label, **look)


def _opacities(sizes: Sequence[str]) -> dict[str, float]:
    """Data size -> opacity, in order of size; endless data, "", last."""
    distinct = list(dict.fromkeys(sizes))
    with contextlib.suppress(ValueError):  # names, which have an order already
        distinct.sort(key=lambda size: float(size or math.inf))
    steps = np.linspace(PALEST, DARKEST, len(distinct)) if len(distinct) > 1 else [DARKEST]
    return dict(zip(distinct, map(float, steps), strict=True))


def _draw_key(ax: Axes, opacity: dict[str, float]) -> None:
    """What paleness means, for a few of the data sizes: the smallest, the largest, and between."""
    if len(opacity) < 2:
        return
    sizes = list(opacity)
    at = np.linspace(0, len(sizes) - 1, min(KEYS, len(sizes))).round().astype(int)
    for size in (sizes[k] for k in at):
        label = f"data size {size}" if size else "endless data"
        ax.plot([], [], "-o", color="0.2", ms=3.2, mew=0, lw=0.8, alpha=opacity[size], label=label)
