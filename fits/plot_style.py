"""How all figures look: the style, ticks of logarithmic axes, and the legend beside a panel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

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
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.labelspacing": 0.35,
    "savefig.dpi": 220,
    "pdf.fonttype": 42,  # text that can be searched
    "svg.hashsalt": "fits",  # same figure, same file: else ids are random
}
ENTRY = 0.16  # inches, the height of a line of the legend
MULTIPLES = (  # of a power of ten that are labelled, on an axis of at most so many decades
    (0.5, (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)),
    (1.0, (1, 1.5, 2, 3, 4, 6, 8)),
    (1.4, (1, 2, 3, 5)),
    (2.4, (1, 2, 5)),
    (3.2, (1, 3)),
    (math.inf, (1,)),
)


@contextmanager
def style() -> Iterator[None]:
    """The same picture everywhere, whatever a user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def finish(ax: Axes) -> None:
    """Ticks for the limits as they are now, and the legend."""
    set_ticks(ax.xaxis)
    set_ticks(ax.yaxis)
    legend(ax)


def set_ticks(axis: Axis) -> None:
    """At least two labels on a logarithmic axis, also where it spans less than a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    decades, plain = math.log10(high / low), low >= 1e-4 and high < 2e5
    crowded = decades if plain else 1.6 * decades  # a power of ten is a wide label
    multiples = next(each for most, each in MULTIPLES if crowded <= most)
    axis.set_major_locator(LogLocator(subs=multiples))
    axis.set_major_formatter(FuncFormatter(numeral if plain else power_of_ten))
    axis.set_minor_locator(LogLocator(subs=range(2, 10) if decades < 8 else [1.0], numticks=999))
    axis.set_minor_formatter(NullFormatter())


def numeral(value: float, position: int | None = None) -> str:
    """Say 0.05 or 20000."""
    return f"{value:.6g}"


def power_of_ten(value: float, position: int | None = None) -> str:
    """Say 10^12 or 2 x 10^12, in matplotlib's mathematics."""
    power = math.floor(math.log10(value) + 1e-9)
    number = round(value / 10.0**power, 6)
    times = "" if number == 1 else rf"{number:g}\times"
    return f"${times}10^{{{power}}}$"


def legend(ax: Axes) -> None:
    """Right of the panel; the figure grows where the legend is higher."""
    count = len(ax.get_legend_handles_labels()[1])
    if not count:
        return
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), borderaxespad=0)
    figure, place = cast("Figure", ax.figure), ax.get_subplotspec()
    rows = place.get_gridspec().nrows if place else 1
    figure.set_figheight(max(figure.get_figheight(), rows * (ENTRY * count + 0.5)))
