"""Pictures of error against the resource spent; the only file that knows matplotlib.

Figures are objects that somebody owns (no pyplot, no display, no state), and matplotlib is loaded
when the first one is made. Fits nothing, reads no table and knows no unit: the axes say what the
caller says.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike

from fits.allocation.allocation import BY_ENVELOPE, BY_LAW, BY_PROFILES, Allocation, Trainings
from fits.base.files import written_aside
from fits.base.numbers import Array
from fits.data.frontier import Frontier
from fits.decisions.compare import ratio, span
from fits.regression.fit import Fit
from fits.report import ForecastFit
from fits.room import Room, along, beside, distance
from fits.saved.saved_law import SavedLaw
from fits.spec import LEVEL
from fits.ticks import numeral, small_ticks, ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.text import Text

FORMATS = (".pdf", ".png", ".svg")
PANEL = 3.4, 2.8  # inches, margins included: one column of a paper
LEFT, RIGHT, BOTTOM, TOP = 0.56, 0.14, 0.42, 0.24  # inches of margin around a panel's axes
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "savefig.dpi": 220,
    "pdf.fonttype": 42,  # text that can be searched
    "svg.hashsalt": "fits",  # same figure, same file: else ids are random
}
MARKERS = "os^DvPX<>ph"
LAW, BAND, FLOOR = "black", "0.82", "0.3"
WAYS = {  # to the best size; blue, vermilion and green that the colour-blind know apart
    BY_ENVELOPE: ("#0072b2", "o"),
    BY_PROFILES: ("#d55e00", "s"),
    BY_LAW: ("#009e73", "v"),
}
GIVEN = "#d55e00"  # what did not come from the runs: a vermilion that the colour-blind know too


def canvas(panels: int = 1) -> tuple[Figure, list[Axes]]:
    """An empty figure with a row of panels, each as wide as a column of a paper."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = PANEL
    with _style():
        figure = Figure(figsize=(panels * width, height))
        FigureCanvasAgg(figure)
        axes = [
            figure.add_axes(
                (
                    (i * width + LEFT) / (panels * width),
                    BOTTOM / height,
                    (width - LEFT - RIGHT) / (panels * width),
                    (height - BOTTOM - TOP) / height,
                )
            )
            for i in range(panels)
        ]
    return figure, axes


def draw_frontier(
    fit: Fit | ForecastFit | None,
    runs_x: ArrayLike,
    runs_y: ArrayLike,
    *,
    frontier: Frontier | None = None,
    labels: Sequence[Hashable] | None = None,
    series: Sequence[Hashable] | None = None,
    xlabel: str,
    ylabel: str,
    title: str | None = None,
    ax: Axes | None = None,
    reference: float | None = None,
) -> Axes:
    """Runs, the frontier among them, and the law through it with its band and both saturations.

    The law is a full line over the points it was fitted to and a dashed one beyond. Its floor is a
    dashed line, with the floor's interval as a bar at the right end; its plateau at x = 0 is a
    dotted line at the left end, left out where it lies above 1 and above every run.

    Args:
      fit: the law with numbers, or a forecast, x and error in the units of the runs; None: runs
        alone.
      runs_x: resource spent by each run, > 0, [runs].
      runs_y: its error, > 0, [runs].
      frontier: the runs to mark.
      labels: the model of each run, [runs]; a colour and a marker each, ordered by the model's
        cheapest run, which in a grid is by size.
      series: what else tells a model's runs apart (say the data size), [runs]; a line joins those
        where both agree, paler for series that come earlier, unless two of them share an x.
      xlabel: the resource and its unit.
      ylabel: which error.
      title: above the panel.
      ax: where to draw; None: a new figure of one panel (its `.figure`).
      reference: the true floor, where it is known.

    Returns:
      The axes drawn in.
    """
    x, y = np.asarray(runs_x, float), np.asarray(runs_y, float)
    with _style():
        ax = canvas()[1][0] if ax is None else ax
        ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel, title=title or "")
        _set_limits(ax, fit, x, y, reference)
        curves = _draw_runs(ax, x, y, labels, series)
        if frontier is not None:
            label = f"frontier, {len(frontier.runs)} of {len(x)} runs"
            best = frontier.compute, frontier.error
            ax.plot(*best, "o", ms=5, mfc="none", mec=LAW, mew=0.6, label=label, zorder=3)
        if fit is not None:
            _draw_law(ax, fit)
        levels = _draw_levels(ax, fit, reference)
        room = _room(ax)  # from here on words, which must find it
        for level in levels:
            _write_along(ax, level, room)
        _write_key(ax, room)
        for curve in sorted(curves, key=lambda curve: len(curve.x)):  # least choice first
            others = [other for other in curves if other.model != curve.model]
            _write_beside(ax, curve, others, room)
    return ax


def draw_published(law: SavedLaw, *, ax: Axes | None = None) -> Axes:
    """A paper's law over its own range; what `draw_frontier` then draws goes on top of it."""
    ((resource, span),) = law.span.items()
    x = np.geomspace(*span, 200)
    with _style():
        ax = canvas()[1][0] if ax is None else ax
        ax.plot(x, law.predict(x), "-.", color=GIVEN, lw=1.2, label="law as published", zorder=2.7)
        ax.set(xscale="log", yscale="log", xlabel=resource, ylabel=law.title)
    return ax


def draw_ratio(a: Fit, b: Fit, *, xlabel: str, title: str, ax: Axes) -> Axes:
    """E_B / E_A with its band: full where both have points, dashed and paler beyond."""
    firsts, lasts = zip(span(a), span(b), strict=True)
    first, last, both = min(firsts), 3 * max(lasts), (max(firsts), min(lasts))
    with _style():
        ax.axhline(1, color=FLOOR, lw=0.8, zorder=1)
        ends = [first, *both, last] if both[0] < both[1] else [first, last]
        for start, stop in itertools.pairwise(ends):
            if stop <= start:
                continue
            within = (start, stop) == both
            x = np.geomspace(start, stop, 200)
            centre, low, high = ratio(a, b, x)
            ax.fill_between(x, low, high, color=BAND, alpha=1 if within else 0.55, lw=0, zorder=0.5)
            (line,) = ax.plot(x, centre, color=LAW, lw=1.2 if within else 0.8, zorder=2)
            if within:
                line.set_label(f"both have runs; {100 * a.level:g} % band")
            else:
                line.set_linestyle((0, (4, 2)))
        ax.set(xscale="log", xlabel=xlabel, ylabel="error of B / error of A")
        ax.set_title(title, fontsize=min(9.0, 360 / len(title)))  # as wide as the panel at most
        ax.set_xlim(first, last)
        ax.locator_params(axis="y", nbins=5)
        ax.yaxis.set_major_formatter("{x:g}")
        if ax.get_legend_handles_labels()[0]:
            ax.legend(frameon=False, handlelength=1.6)
    return ax


def draw_allocations(
    ways: Sequence[Allocation],
    runs: Trainings,
    computes: Sequence[float],
    *,
    xlabel: str,
    ylabel: str,
    level: float = LEVEL,
    ax: Axes,
) -> Axes:
    """The best size against compute as each way sees it, with bands, over all the runs.

    Args:
      computes: further ones that the axis is to reach.
      level: of the bands.
    """
    x = np.geomspace(runs.compute.min(), max(runs.compute.max(), *computes, 0), 60)
    with _style():
        ax.plot(runs.compute, runs.size, ".", color="0.8", ms=2.5, mew=0, zorder=0.5)
        for way in ways:
            colour, marker = WAYS[way.approach]
            value, low, high = np.array([way.size(each, level) for each in x]).T
            far = 1e3 * max(runs.size.max(), *value), 1e-3 * min(runs.size.min(), *value)
            low, high = np.maximum(low, far[1]), np.minimum(high, far[0])  # an end may be open
            ax.fill_between(x, low, high, color=colour, alpha=0.18, lw=0, zorder=1)
            ax.plot(x, value, color=colour, lw=1.2, label=way.approach, zorder=2)
            few = slice(None, None, max(1, len(way.best[0]) // 40))
            ax.plot(way.best[0][few], way.best[1][few], marker, color=colour, ms=3, mew=0, zorder=3)
        ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=f"best {ylabel}")
        ax.legend(frameon=False, handlelength=1.6, loc="upper left")
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
    with _style(), written_aside(path) as aside:
        figure.savefig(aside, format=kind[1:], metadata=undated)
    return path


@contextmanager
def _style() -> Iterator[None]:
    """The same picture everywhere, whatever a user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


# What is drawn


class _Curve(NamedTuple):
    """All runs of one model."""

    model: str
    colour: Any
    x: Array
    y: Array


class _Level(NamedTuple):
    """A horizontal line and what it means."""

    y: float
    words: str
    colour: str


def _draw_runs(
    ax: Axes,
    x: Array,
    y: Array,
    labels: Sequence[Hashable] | None,
    series: Sequence[Hashable] | None,
) -> list[_Curve]:
    """A point a run, a colour and a marker a model, a line a model and series."""
    from matplotlib import colormaps

    if labels is None:
        ax.plot(x, y, "o", ms=3, mew=0, color="0.45", zorder=2)
        return []
    names = np.array([str(label) for label in labels])
    others = np.array([str(other) for other in (names if series is None else series)])
    depth = dict(zip(dict.fromkeys(others), np.linspace(0.35, 0.75, len(set(others))), strict=True))
    models = sorted(dict.fromkeys(names), key=lambda name: x[names == name].min())
    steps = colormaps["viridis"](np.linspace(0, 0.78, len(models)))  # beyond, too pale for paper
    curves = []
    for model, colour, marker in zip(models, steps, itertools.cycle(MARKERS), strict=False):
        for other in dict.fromkeys(others[names == model]):
            its = np.flatnonzero((names == model) & (others == other))
            its = its[np.argsort(x[its], kind="stable")]
            alpha = 0.6 if series is None else depth[other]
            if (np.diff(x[its]) > 0).all():  # else something else tells them apart: no curve
                ax.plot(x[its], y[its], color=colour, lw=0.8, alpha=alpha, zorder=1.5)
            ax.plot(x[its], y[its], marker, color=colour, ms=3.2, mew=0, zorder=2)
        curves.append(_Curve(model, colour, x[names == model], y[names == model]))
    return curves


def _draw_law(ax: Axes, fit: Fit | ForecastFit) -> None:
    """The curve and its band: full over the points fitted, dashed and paler beyond."""
    left, right = ax.get_xlim()
    first, last = fit.span
    for start, stop, within in ((left, first, False), (first, last, True), (last, right, False)):
        if stop <= start:
            continue
        x = np.geomspace(start, stop, 200)
        low, high = fit.band(x)
        ax.fill_between(x, low, high, color=BAND, alpha=1 if within else 0.55, lw=0, zorder=0.5)
        (line,) = ax.plot(x, fit.predict(x), color=LAW, lw=1.2 if within else 0.8, zorder=2.5)
        if within:
            what = "forecast" if isinstance(fit, ForecastFit) else "law"
            line.set_label(f"{what} and its {100 * fit.level:g} % band")
        else:
            line.set_linestyle((0, (4, 2)))


def _draw_levels(ax: Axes, fit: Fit | ForecastFit | None, reference: float | None) -> list[_Level]:
    """True floor, fitted floor and plateau: a line each, where the axes reach it."""
    bottom, top = ax.get_ylim()
    levels = []
    floor, interval = _floor(fit)
    if reference is not None:
        ax.axhline(reference, color=GIVEN, lw=0.8, zorder=1)
        levels.append(_Level(reference, f"true floor {reference:.3g}", GIVEN))
    if floor is not None:
        ax.axhline(floor, color=FLOOR, lw=0.8, ls=(0, (4, 2)), zorder=1)
        ax.fill_between(
            [0.98, 1],
            *np.clip(interval, bottom, top),
            transform=ax.get_yaxis_transform(),
            color=FLOOR,
            alpha=0.6,
            lw=0,
        )
        digits = max(2, 2 - math.floor(math.log10(max(*interval, 1e-6))))
        c, low, high = (f"{value:.{digits}f}" for value in (floor, *interval))
        levels.append(_Level(floor, f"floor {c} ({low} to {high})", FLOOR))
    plateau = _plateau(fit)
    if plateau is not None and plateau < top:
        ax.axhline(plateau, xmax=0.3, color=FLOOR, lw=1, ls=":", zorder=1)
        levels.append(_Level(plateau, f"plateau {plateau:.2g}", FLOOR))
    return levels


# What is written, where there is room


def _room(ax: Axes) -> Room:
    """The panel's room between its lines and points."""
    point = ax.figure.dpi / 72  # pixels
    ink, weights = [], []
    for line in ax.lines:
        drawn = line.get_linestyle() != "None"
        pixels = line.get_transform().transform(np.asarray(line.get_xydata()))
        ink.append(along(pixels, 3 * point) if drawn else pixels)
        weights.append(np.full(len(ink[-1]), 0.5 if drawn else 2.0))
    frame = np.array(ax.bbox.extents)
    frame[2] += RIGHT * ax.figure.dpi  # a name may reach into that margin
    return Room(frame, np.concatenate(ink), np.concatenate(weights), margin=point)


def _write_along(ax: Axes, level: _Level, room: Room) -> None:
    """Words over or under a horizontal line, to the left where possible."""
    text = _text(ax, level.words, level.colour)
    width, height = size = _size(ax, text)
    left, bottom, right, _ = ax.bbox.extents
    line = ax.transData.transform((1, level.y))[1] if level.y > 0 else bottom
    steps = np.linspace(0, 1, 20)
    x = left + width / 2 + room.margin + steps * max(right - left - width, 0)
    lifts = np.array([0.5, -0.5, 1.5]) * height + np.array([2, -2, 3]) * room.margin
    centres = np.stack(np.meshgrid(x, max(line, bottom) + lifts), axis=-1).reshape(-1, 2)
    bias = 5 * steps + np.array([[0.0], [0.5], [5.0]])
    _move(ax, text, room.put(size, centres, bias.ravel()))


def _write_key(ax: Axes, room: Room) -> None:
    """Which points are the frontier and which line is the law, up and right where possible."""
    if not ax.get_legend_handles_labels()[0]:
        return
    look = {"frameon": False, "handlelength": 1.6, "borderpad": 0.1, "labelspacing": 0.3}
    key = ax.legend(loc=(0, 0), borderaxespad=0, **look)
    size = _size(ax, key)
    left, bottom, right, top = ax.bbox.extents
    x = np.linspace(right - size[0] / 2, left + size[0] / 2, 24)
    y = np.linspace(top - size[1] / 2, bottom + size[1] / 2, 24)
    centres = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    corner = room.put(size, centres, np.add.outer(np.arange(24), np.arange(24)).ravel() / 12)
    key.set_loc(tuple(ax.transAxes.inverted().transform(corner - size / 2)))


def _write_beside(ax: Axes, curve: _Curve, others: Sequence[_Curve], room: Room) -> None:
    """A model's name beside one of its runs, the longest where possible, and no other model's."""
    from matplotlib.colors import to_rgb

    colour = 0.75 * np.array(to_rgb(curve.colour))  # thin strokes look paler than dots
    text = _text(ax, curve.model, colour)
    size, point = _size(ax, text), ax.figure.dpi / 72
    mine, gaps = _pixels(ax, [curve]), point * np.array([3, 6, 10, 15, 22, 30])
    centres, run, gap = beside(mine, size, gaps)
    bias = (curve.x < curve.x.max())[run] + (gap / (10 * point)) ** 2
    if others:
        theirs = distance(_pixels(ax, others), centres, size)
        nearest = distance(mine, centres, size)
        bias += 2.0 * (theirs < nearest + 2 * point) + 2.0 * (theirs < nearest)
    _move(ax, text, room.put(size, centres, bias))


def _pixels(ax: Axes, curves: Sequence[_Curve]) -> Array:
    """Where the runs are, [runs, 2]."""
    runs = np.concatenate([np.stack([curve.x, curve.y], axis=-1) for curve in curves])
    return ax.transData.transform(runs)


def _text(ax: Axes, words: str, colour: Any) -> Text:
    """Words still without a place; places are fractions of the axes."""
    return ax.text(
        0.5, 0.5, words, color=colour, ha="center", va="center", zorder=4, transform=ax.transAxes
    )


def _size(ax: Axes, artist: Text | Legend) -> Array:
    """Width and height in pixels."""
    renderer = cast("FigureCanvasAgg", ax.figure.canvas).get_renderer()
    return np.ptp(artist.get_window_extent(renderer).get_points(), axis=0)


def _move(ax: Axes, text: Text, centre: Array) -> None:
    x, y = ax.transAxes.inverted().transform(centre)
    text.set_position((x, y))


# Axes


def _set_limits(
    ax: Axes, fit: Fit | ForecastFit | None, x: Array, y: Array, reference: float | None
) -> None:
    """Limits tight on runs and levels, with half a decade of room for the law to go on."""
    low, high = float(y.min()), float(y.max())
    reach = low / 5, min(2 * high, max(1.0, high))
    levels = [_floor(fit)[0], _plateau(fit), reference]
    near = [level for level in levels if level is not None and reach[0] < level <= reach[1]]
    low, high = min([low, *near]), max([high, *near])
    room = max(1.1, (high / low) ** 0.12)  # for words under the lowest level and over the highest
    ax.set_xlim(x.min() / 1.6, x.max() * (1.6 if fit is None else 3))
    ax.set_ylim(low / room, high * room)
    width, height = ax.bbox.width / ax.figure.dpi, ax.bbox.height / ax.figure.dpi  # inches
    for axis, limits, most in (
        (ax.xaxis, ax.get_xlim(), width / 0.45),
        (ax.yaxis, ax.get_ylim(), height / 0.32),
    ):
        named = ticks(*limits, most)
        axis.set_ticks(named, labels=[numeral(tick, *limits) for tick in named])
        axis.set_ticks(small_ticks(*limits), labels=[], minor=True)


def _floor(fit: Fit | ForecastFit | None) -> tuple[float | None, tuple[float, float]]:
    """The law's error at endless x and its interval, if the law has a floor."""
    if not isinstance(fit, Fit) or fit.law.floor is None:
        return None, (math.nan, math.nan)
    c = fit.law.parameters.index(fit.law.floor)
    return fit.values[c], fit.intervals[c]


def _plateau(fit: Fit | ForecastFit | None) -> float | None:
    """The law's error at x = 0, if it has one."""
    if not isinstance(fit, Fit):
        return None
    shifts = [name for name, role in fit.law.roles.items() if role == "shift"]
    if not shifts:
        return None
    head_start = fit.values[fit.law.parameters.index(shifts[0])]
    return float(fit.predict(0.0)) if head_start > 0 else None
