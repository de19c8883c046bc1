"""The two interactive charts of a study's page, as Vega-Lite; the only file that knows Altair.

Their data sets have names alone: `page.js` fills them, with what the reader has chosen, and puts
the titles of the axes in the place of X and Y. No expression holds a text from a study.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

X, Y = "@x", "@y"  # page.js puts titles in their place
SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down")
HEIGHT = 380  # pixels
FACTS = {  # column of the table -> its name in a tooltip
    "run": "run",
    "model": "model",
    "params": "parameters",
    "data": "data size",
    "part": "subset or variant",
    "images_seen": "images seen",
    "seed": "seed",
    "flops": "FLOPs",
    "seconds": "seconds",
    "y": "value",
}


def charts(models: Sequence[str], sizes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Vega-Lite of the frontier and of the learning curves.

    Args:
      models: their names, smallest first: a colour and a shape each.
      sizes: of the data, smallest first: an opacity each.
    """
    return {"frontier": _frontier(models, sizes), "curves": _curves(models, sizes)}


def _frontier(models: Sequence[str], sizes: Sequence[str]) -> dict[str, Any]:
    import altair as alt

    x = alt.X("x:Q", title=X).scale(type="log", nice=False, padding=12)
    y = alt.Y("y:Q", title=Y).scale(type="log", nice=False, padding=12)
    law = alt.Chart(alt.NamedData("law"))
    band = law.mark_area(clip=True, style="band").encode(x, alt.Y("low:Q", title=Y), y2="high:Q")
    beyond = alt.StrokeDash("beyond:N", legend=None).scale(
        domain=[False, True], range=[[1, 0], [5, 4]]
    )
    line = law.mark_line(clip=True, style="law", strokeWidth=1.8).encode(
        x, y, beyond, detail="part:N"
    )
    runs = alt.Chart(alt.NamedData("runs"))
    shape = alt.Shape("model:N", title="model").scale(
        domain=list(models), range=[SHAPES[k % len(SHAPES)] for k in range(len(models))]
    )
    points = runs.mark_point(filled=True, size=55, clip=True).encode(
        x,
        y,
        _colour(models),
        shape,
        _opacity(sizes),
        tooltip=[alt.Tooltip(f"{name}:N", title=title) for name, title in FACTS.items()],
    )
    ring = alt.Chart(alt.NamedData("best")).mark_point(size=150, style="ring").encode(x, y)
    picked = alt.Chart(alt.NamedData("picked")).mark_point(size=420, strokeWidth=3, style="picked")
    chart = alt.layer(band, line, ring, picked.encode(x, y), points)  # points get the pointer
    return _plain(chart.resolve_scale(color="shared"))


def _curves(models: Sequence[str], sizes: Sequence[str]) -> dict[str, Any]:
    import altair as alt

    x = alt.X("x:Q", title=X).scale(type="log", nice=False)
    y = alt.Y("y:Q", title=Y).scale(type="log", nice=False, zero=False)
    going = alt.StrokeDash("going:N", legend=None).scale(
        domain=[False, True], range=[[1, 0], [4, 3]]
    )
    curves = alt.Chart(alt.NamedData("curves"))
    lines = curves.mark_line(strokeWidth=1.3).encode(
        x, y, _colour(models), _opacity(sizes), going, detail="run:N", tooltip=["run:N", "model:N"]
    )
    picked = alt.Chart(alt.NamedData("picked"))
    return _plain(alt.layer(lines, picked.mark_line(strokeWidth=3.5, style="picked").encode(x, y)))


def _colour(models: Sequence[str]) -> Any:
    import altair as alt

    return alt.Color("model:N", title="model").scale(domain=list(models), scheme="viridis")


def _opacity(sizes: Sequence[str]) -> Any:
    import altair as alt

    last = max(len(sizes) - 1, 1)
    steps = [1.0] if len(sizes) == 1 else [0.35 + 0.65 * k / last for k in range(len(sizes))]
    legend: dict[str, Any] = {"legend": None} if len(sizes) == 1 else {}
    channel = alt.Opacity("data:N", title="data size", **legend)
    return channel.scale(domain=list(sizes), range=steps)


def _plain(chart: Any) -> dict[str, Any]:
    found = chart.properties(width="container", height=HEIGHT).to_dict()
    return {key: value for key, value in found.items() if key not in ("config", "$schema")}
