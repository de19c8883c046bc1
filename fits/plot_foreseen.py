"""Figures of a frontier foreseen: where the laws of an average part, and what came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fits.average.average import Average
from fits.base.numbers import Array
from fits.data.frontier import frontier
from fits.plot_style import finish, legend, set_ticks, style
from fits.plotting import BAND, GIVEN, LAW, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curve = Callable[[Array], tuple[Array, Array, Array]]
"""x -> prediction and the ends of its band, each of the shape of x."""

BEYOND = 2.0  # times the largest x, to where curves are drawn
AHEAD = 30.0  # times the largest x fitted, to where laws are seen to part
COUNTS = 0.02  # weight of a law of an average that is drawn
FARTHEST = 4.0  # times the average that the axis reaches
LAWS_APART = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
"""Of the laws of an average: colours that the colour-blind know apart (Okabe and Ito)."""


def draw_parting(
    found: Average, runs_x: Array, runs_y: Array, *, to: float = 0.0, xlabel: str, ax: Axes
) -> Axes:
    """Each law that counts, as a ratio to the average, whose band is grey: where the laws part.

    Args:
      runs_x, runs_y: that the laws go through, [runs].
      to: x that the axis is to reach; it reaches AHEAD times the largest x fitted anyway.
    """
    x = np.geomspace(found.span[0], max(to, AHEAD * found.span[1]), 160)
    centre, (low, high) = found.predict(x), found.band(x)
    heavy = sorted(found.weights.items(), key=lambda law: -law[1])
    drawn = [(name, weight) for name, weight in heavy if weight >= COUNTS]
    with style():
        band = f"average over laws and its {100 * found.level:g} % band"
        ax.fill_between(x, low / centre, high / centre, color=BAND, lw=0, zorder=0.5)
        ax.axhline(1, color=LAW, lw=1.2, zorder=2, label=band)
        every = [low / centre, high / centre]
        for (name, weight), colour in zip(drawn, LAWS_APART, strict=False):
            every.append(found.of_law(name, x) / centre)
            label = f"{name}, weight {weight:.2f}"
            ax.plot(x, every[-1], color=colour, lw=1, label=label, zorder=2.4)
        off = runs_y / found.predict(runs_x)
        ax.plot(runs_x, off, "o", ms=4, mfc="none", mec=LAW, mew=0.6, label="runs", zorder=3)
        ax.axvline(found.span[1], color="0.5", lw=0.6, ls=":", zorder=0.4)
        ax.set(xscale="log", xlabel=xlabel, ylabel="error / average")
        ends = np.concatenate([*every, off])
        ax.set_xlim(x[0] / 1.2, x[-1])
        ax.set_ylim(ends.min() - 0.02, min(ends.max() + 0.02, FARTHEST))
        set_ticks(ax.xaxis)
        legend(ax)
    return ax


def draw_foreseen(
    x: Array,
    y: Array,
    edge: float,
    curves: Sequence[tuple[str, Curve]],
    *,
    xlabel: str,
    ylabel: str,
) -> Figure:
    """A panel a curve, all of one scale: runs up to the edge, the curve, and the frontier beyond.

    Args:
      x, y: of all runs, [runs].
      edge: the curves were fitted to runs of at most this x.
      curves: title and curve of each panel.
    """
    figure, panels = canvas(len(curves))
    best = frontier(x, y)
    beyond = best.compute > edge
    kept = frontier(x[x <= edge], y[x <= edge])
    for (title, curve), panel in zip(curves, panels, strict=True):
        with style():
            panel.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel, title=title)
            panel.plot(x[x <= edge], y[x <= edge], ".", color="0.75", ms=3, mew=0, label="runs")
            panel.plot(
                *(kept.compute, kept.error, "o"),
                ms=4,
                mfc="none",
                mec=LAW,
                mew=0.6,
                label="their frontier",
            )
            _draw(panel, curve, edge, float(x.max()))
            panel.plot(
                *(best.compute[beyond], best.error[beyond], "s"),
                color=GIVEN,
                ms=4,
                mew=0,
                label="what came",
                zorder=4,
            )
            panel.set_xlim(x.min() / 1.6, x.max() * BEYOND)
            panel.set_ylim(0.7 * y.min(), 1.1 * y.max())
            finish(panel)
    return figure


def _draw(panel: Axes, curve: Curve, edge: float, last: float) -> None:
    at = np.geomspace(edge, last * BEYOND, 120)
    centre, low, high = curve(at)
    panel.fill_between(at, low, high, color=BAND, lw=0, zorder=0.5, label="90 % band")
    panel.plot(at, centre, color=LAW, lw=1.2, zorder=2.5, label="foreseen")
    panel.axvline(edge, color="0.5", lw=0.6, ls=":", zorder=0.4)
