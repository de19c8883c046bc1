"""Figures of error against the resource spent; this file, `plot_runs.py` and `plot_style.py` alone
know matplotlib.

A figure is an object that its caller owns (no pyplot, no display, no state), and matplotlib is
loaded when the first one is made. Ticks come from matplotlib's locators; what is drawn is named in
a legend to the right of the panel. Fits nothing, reads no table and knows no unit: the axes say
what the caller says.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike

from fits.allocation.allocation import BY_ENVELOPE, BY_LAW, BY_PROFILES, Allocation, Trainings
from fits.allocation.parametric import ParametricLaw
from fits.average.average import Average
from fits.base.files import written_aside
from fits.base.numbers import Array
from fits.data.frontier import Frontier
from fits.decisions.compare import ratio
from fits.plot_runs import draw_runs
from fits.plot_style import finish, legend, set_ticks, style
from fits.regression.diagnostics import meaningless
from fits.regression.fit import Fit
from fits.report import ForecastFit
from fits.saved.saved_law import SavedLaw
from fits.spec import LEVEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curve: TypeAlias = Callable[[Array], tuple[Array, Array, Array]]
"""x -> the curve and the ends of its band, each of the shape of x."""

FORMATS = (".pdf", ".png", ".svg")
PANEL = 5.0, 2.9  # inches, legend included
LAW, BAND, FLOOR = "black", "0.82", "0.3"
METHODS = {  # for the best size; blue, vermilion and green that the colour-blind know apart
    BY_ENVELOPE: ("#0072b2", "o"),
    BY_PROFILES: ("#d55e00", "s"),
    BY_LAW: ("#009e73", "v"),
}
DOUBTS = {  # a legend has no room for the words of a diagnostic
    "one_cluster": "one cluster",
    "no_degrees_of_freedom": "too few points",
    "few_points": "too few points",
    "few_clusters": "too few clusters",
    "flat": "error does not fall",
    "not_converged": "solver stopped early",
    "on_bound": "on its bound",
    "not_identifiable": "not identifiable",
}
GIVEN = "#d55e00"  # what did not come from the runs: a vermilion that the colour-blind know too
DASHED = 0, (4, 2)


def canvas(panels: int = 1) -> tuple[Figure, list[Axes]]:
    """An empty figure of panels, two a row, each with room for a legend at its right."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    (width, height), columns, rows = PANEL, min(panels, 2), math.ceil(panels / 2)
    with style():
        figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = [figure.add_subplot(rows, columns, 1 + panel) for panel in range(panels)]
    return figure, axes


def draw_frontier(
    fit: Fit | ForecastFit | Average | None,
    runs_x: ArrayLike,
    runs_y: ArrayLike,
    *,
    frontier: Frontier | None = None,
    labels: Sequence[Hashable] | None = None,
    series: Sequence[Hashable] | None = None,
    sizes: Sequence[Hashable] | None = None,
    xlabel: str,
    ylabel: str,
    title: str | None = None,
    ax: Axes | None = None,
    reference: float | None = None,
    is_rate: bool = True,
) -> Axes:
    """Runs, the frontier among them, and the law through it with its band, floor and plateau.

    The law is a full line over the points it was fitted to and a dashed one beyond. Its floor is a
    dashed line, with the floor's interval as a bar at the right end; its plateau at x = 0 is a
    dotted line at the left end. A law whose intervals mean nothing is not drawn, and the legend
    says why.

    Args:
      fit: the law with numbers, a forecast or an average, x and error in the units of the runs;
        None: runs alone.
      runs_x: resource spent by each run, > 0, [runs].
      runs_y: its error, > 0, [runs].
      frontier: the runs to mark.
      labels: the model of each run, [runs]; a colour and a marker each, ordered by the model's
        cheapest run, which in a grid is by size.
      series: what else tells a model's runs apart (say the seed), [runs]; a line joins those that
        agree in model, series and size, unless two of them share an x.
      sizes: data size of each run, [runs]; "" or None: endless. Runs on fewer data are paler, and
        the legend has a key to it where there are several.
      xlabel: the resource and its unit.
      ylabel: which error.
      title: above the panel.
      ax: where to draw; None: a new figure of one panel (its `.figure`).
      reference: the true floor, where it is known.
      is_rate: whether y is an error rate: a plateau above 1 is none, unless a run lies there.

    Returns:
      The axes drawn in.
    """
    x, y = np.asarray(runs_x, float), np.asarray(runs_y, float)
    doubt = None if fit is None else not_drawn(fit)
    fit = None if doubt else fit
    with style():
        ax = canvas()[1][0] if ax is None else ax
        ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel, title=title or "")
        _set_limits(ax, fit, x, y, reference)
        if frontier is not None:
            label = f"frontier, {len(frontier.runs)} of {len(x)} runs"
            best = frontier.compute, frontier.error
            ax.plot(*best, "o", ms=5, mfc="none", mec=LAW, mew=0.6, label=label, zorder=3)
        if fit is not None:
            what = {ForecastFit: "forecast", Average: "average over laws"}.get(type(fit), "law")
            label = f"{what} and its {100 * fit.level:g} % band"
            found, inside = fit, cast("tuple[float, float]", fit.span)
            _draw_curve(
                ax, lambda x: (found.predict(x), *found.band(x)), ax.get_xlim(), inside, label
            )
        if doubt is not None:
            ax.plot([], [], " ", label=f"law not drawn: {doubt}")
        _draw_levels(ax, fit, reference, 1.0 if is_rate and y.max() <= 1 else math.inf)
        draw_runs(ax, x, y, labels, series, sizes)
        finish(ax)
    return ax


def not_drawn(fit: Fit | ForecastFit | Average) -> str | None:
    """In a few words why the intervals of a fit mean nothing; None: they mean something."""
    law = fit.law if isinstance(fit, Fit) else None
    found = meaningless(law, fit.diagnostics)
    if found is None:
        return None
    return f"{', '.join(found.parameters)} {DOUBTS[found.code]}".strip()


def draw_published(law: SavedLaw, *, ax: Axes | None = None) -> Axes:
    """A paper's law over its own range; what `draw_frontier` then draws goes on top of it."""
    ((resource, span),) = law.span.items()
    x = np.geomspace(*span, 200)
    with style():
        ax = canvas()[1][0] if ax is None else ax
        ax.plot(x, law.predict(x), "-.", color=GIVEN, lw=1.2, label="law as published", zorder=2.7)
        ax.set(xscale="log", yscale="log", xlabel=resource, ylabel=law.title)
        finish(ax)
    return ax


def draw_ratio(a: Fit, b: Fit, *, xlabel: str, title: str, ax: Axes, y: str = "error") -> Axes:
    """E_B / E_A with its band: full where both have points, dashed and paler beyond.

    It is not drawn where the intervals of either mean nothing, and the legend says why.
    """
    spans = np.array([a.span, b.span])
    ends = float(spans.min()), 3 * float(spans.max())
    both = float(spans[:, 0].max()), float(spans[:, 1].min())
    with style():
        ax.axhline(1, color=FLOOR, lw=0.8, zorder=1)
        if doubt := not_drawn(a) or not_drawn(b):
            ax.plot([], [], " ", label=f"ratio not drawn: {doubt}")
        else:
            label = f"both have runs; {100 * a.level:g} % band"
            _draw_curve(ax, lambda x: ratio(a, b, x), ends, both, label)
        ax.set(xscale="log", xlabel=xlabel, ylabel=f"{y} of B / {y} of A", title=title)
        ax.set_xlim(*ends)
        set_ticks(ax.xaxis)
        legend(ax)
    return ax


def draw_allocations(
    methods: Sequence[Allocation],
    runs: Trainings,
    computes: Sequence[float],
    *,
    xlabel: str,
    ylabel: str,
    level: float = LEVEL,
    ax: Axes,
) -> Axes:
    """The best size against compute by each method, with bands, over all the runs.

    A law whose intervals mean nothing is not drawn, and the legend says why.

    Args:
      computes: further ones that the axis is to reach.
      level: of the bands.
    """
    x = np.geomspace(runs.compute.min(), max(runs.compute.max(), *computes, 0), 60)
    with style():
        ax.plot(runs.compute, runs.size, ".", color="0.7", ms=3, mew=0, zorder=0.5, label="runs")
        for method in methods:
            colour, marker = METHODS[method.method]
            if isinstance(method, ParametricLaw) and (doubt := not_drawn(method.fit)):
                ax.plot([], [], " ", label=f"{method.method} not drawn: {doubt}")
                continue
            value, low, high = np.array([method.size(each, level) for each in x]).T
            far = 1e3 * max(runs.size.max(), *value), 1e-3 * min(runs.size.min(), *value)
            low, high = np.maximum(low, far[1]), np.minimum(high, far[0])  # an end may be open
            ax.fill_between(x, low, high, color=colour, alpha=0.18, lw=0, zorder=1)
            ax.plot(x, value, color=colour, lw=1.2, label=method.method, zorder=2)
            best = np.array(method.best)[:, :: max(1, len(method.best[0]) // 40)]
            ax.plot(*best, marker, color=colour, ms=3, mew=0, zorder=3)
        ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=f"best {ylabel}")
        finish(ax)
    return ax


def save(figure: Figure, path: Path) -> Path:
    """Writes the figure whole or not at all, as what the suffix says; same figure, same bytes."""
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise ValueError(
            f"{path}: a figure is written as {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, "
            f"by the suffix of its name; {f'{kind} is none of them' if kind else 'it has none'}."
        )
    undated = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": None}[kind]
    with style(), written_aside(path) as aside:
        figure.savefig(aside, format=kind[1:], metadata=undated)
    return path


# What is drawn


def _draw_curve(
    ax: Axes, curve: Curve, ends: tuple[float, float], inside: tuple[float, float], label: str
) -> None:
    """A curve and its band from end to end: full inside, dashed and paler beyond."""
    places = sorted({*ends, *inside}) if inside[0] < inside[1] else list(ends)
    for start, stop in itertools.pairwise(places):
        within = inside[0] <= start and stop <= inside[1]
        x = np.geomspace(start, stop, 200)
        centre, low, high = curve(x)
        ax.fill_between(x, low, high, color=BAND, alpha=1 if within else 0.55, lw=0, zorder=0.5)
        (line,) = ax.plot(x, centre, color=LAW, lw=1.2 if within else 0.8, zorder=2.5)
        if within:
            line.set_label(label)
        else:
            line.set_linestyle(DASHED)


def _draw_levels(
    ax: Axes, fit: Fit | ForecastFit | Average | None, reference: float | None, highest: float
) -> None:
    """True floor, fitted floor and plateau: a line each, where the axes reach it.

    Args:
      highest: that an error can be.
    """
    bottom, top = ax.get_ylim()
    if reference is not None:
        label = f"true floor {reference:.3g}"
        ax.axhline(reference, color=GIVEN, lw=0.8, zorder=1, label=label)
    floor, interval = _floor(fit)
    if floor is not None:
        digits = max(2, 2 - math.floor(math.log10(max(*interval, 1e-6))))
        c, low, high = (f"{value:.{digits}f}" for value in (floor, *interval))
        label = f"floor {c} ({low} to {high})"
        ax.axhline(floor, color=FLOOR, lw=0.8, ls=DASHED, zorder=1, label=label)
        ax.fill_between(
            [0.98, 1],
            *np.clip(interval, bottom, top),
            transform=ax.get_yaxis_transform(),
            color=FLOOR,
            alpha=0.6,
            lw=0,
        )
    plateau = _plateau(fit)
    if plateau is not None and plateau < top and plateau <= highest:
        label = f"plateau {plateau:.2g}"
        ax.axhline(plateau, xmax=0.3, color=FLOOR, lw=1, ls=":", zorder=1, label=label)


def _floor(fit: Fit | ForecastFit | Average | None) -> tuple[float | None, tuple[float, float]]:
    """The law's error at endless x and its interval, if the law has a floor."""
    if not isinstance(fit, Fit) or fit.law.floor is None:
        return None, (math.nan, math.nan)
    floor = fit.law.parameters.index(fit.law.floor)
    return fit.values[floor], fit.intervals[floor]


def _plateau(fit: Fit | ForecastFit | Average | None) -> float | None:
    """The law's error at x = 0, if it has one."""
    if not isinstance(fit, Fit):
        return None
    shifts = [name for name, role in fit.law.roles.items() if role == "shift"]
    if not shifts or fit.values[fit.law.parameters.index(shifts[0])] <= 0:
        return None
    return float(fit.predict(0.0))


def _set_limits(
    ax: Axes, fit: Fit | ForecastFit | Average | None, x: Array, y: Array, reference: float | None
) -> None:
    """Limits tight on runs and levels, with half a decade for the law to go on."""
    low, high = float(y.min()), float(y.max())
    reach = low / 5, min(2 * high, max(1.0, high))
    levels = [_floor(fit)[0], _plateau(fit), reference]
    near = [level for level in levels if level is not None and reach[0] < level <= reach[1]]
    low, high = min([low, *near]), max([high, *near])
    margin = max(1.05, (high / low) ** 0.05)
    ax.set_xlim(x.min() / 1.6, x.max() * (1.6 if fit is None else 3))
    ax.set_ylim(low / margin, high * margin)
