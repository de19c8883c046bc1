"""The figure of transfer: upstream accuracy on x, adjusted transfer on y, both on a logit scale, a
panel for the mean over data sets and one for each of them, after Kornblith et al. 2019."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fits.decisions.transfer import CorrelationJson, TransferReport
from fits.plot_runs import draw_runs
from fits.plot_style import legend, style
from fits.plotting import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TICKS = (
    0.001,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
    0.95,
    0.98,
    0.99,
    0.999,
)
FEWEST, MOST = 2, 7  # labels on an axis


def draw_transfer(found: TransferReport) -> Figure:
    """A panel for the mean over data sets, then one for each of them."""
    *each, mean = found.correlations
    figure, panels = canvas(len(each) + 1)
    for panel, correlation in zip(panels, [mean, *each], strict=True):
        _draw(found, correlation, panel, key=correlation is mean)
    return figure


def _draw(found: TransferReport, correlation: CorrelationJson, ax: Axes, *, key: bool) -> None:
    metric = correlation.metric
    x = np.array([run.upstream for run in found.runs])
    y = np.array([run.mean if metric is None else run.adjusted[metric] for run in found.runs])
    names = [run.cluster for run in found.runs]
    with style():
        draw_runs(ax, x, y, names, [run.run for run in found.runs], None)
        slope = np.polyfit(x, y, 1)
        ends = np.array([x.min(), x.max()])
        ax.plot(ends, np.polyval(slope, ends), color="black", lw=0.8, zorder=1)
        ax.axhline(0, color="0.8", lw=0.6, zorder=0)
        r = correlation.pearson
        between = "" if math.isnan(r.low) else f" [{r.low:.2f}, {r.high:.2f}]"
        title = (metric or "mean over data sets").replace("_", " ")
        ax.set(
            title=f"{title}: r = {r.value:.2f}{between}",
            xlabel=f"accuracy, from {found.upstream} (logit scale)",
            ylabel="adjusted transfer, logits",
        )
        _accuracies(ax)
        if key:
            legend(ax)


def _accuracies(ax: Axes) -> None:
    """Labels of x in accuracies, not logits."""
    low, high = ax.get_xlim()
    places = {math.log(p / (1 - p)): f"{p:g}" for p in TICKS}
    inside = [at for at in places if low <= at <= high]
    if len(inside) < FEWEST:
        inside = list(np.linspace(low, high, 4)[1:3])
    for at in inside:
        places.setdefault(at, f"{1 / (1 + math.exp(-at)):.3g}")
    inside = inside[:: math.ceil(len(inside) / MOST)]
    ax.set_xticks(inside, [places[at] for at in inside])
