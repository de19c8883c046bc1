"""A study as one HTML file: charts to explore, laws in words, cost, failures and provenance.

The file needs no network and runs no script but its own two, whose hashes its content security
policy names; neither makes code of text (expressions are interpreted, not compiled). Every text
from a study or a run is escaped by the template. The same results make the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from fits.base.files import write_text
from fits.plotting import not_drawn
from fits.regression.fit import Fit
from fits.report import FitReport, GroupReport
from fits.report_text import holdout_line, interval
from scaling.launch.progress.events import duration
from scaling.report.charts import charts
from scaling.report.page_rows import Seen, as_csv, costs, metrics_of, parts, provenance, unfinished
from scaling.study.study import Study

AXES = {
    "flops": "training compute, FLOPs",
    "images_seen": "images seen",
    "params": "parameters",
    "seconds": "training time, s",
}
CURVE_AXES = {"images_seen": "images seen", "flops": "FLOPs so far"}
GRID = 80  # points of a law's curve


def write_page(
    study: Study, runs: Path, seen: Seen, found: FitReport, path: Path, title: str | None = None
) -> Path:
    """Write the page of a study, whole or not at all.

    Args:
      seen: what each run's folder said, those not done included.
      found: the laws, by metric.
      title: None: the study's name.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["duration"] = duration
    library = _library()
    own = as_script(_source("page.js"))
    metrics = metrics_of(study)
    listed, others = unfinished(study, runs, seen)
    done = sum(look.state == "done" for look in seen.values())
    text = environment.from_string(_source("page.html.j2")).render(
        title=title or study.name,
        study=study,
        done=done,
        csv=as_csv(study, runs, seen),
        facts=json.dumps(_facts(study, seen, found, metrics), allow_nan=False),
        axes=AXES,
        curve_axes=CURVE_AXES,
        metrics=metrics,
        choices=_choices(study),
        groups=[_law_in_words(group) for group in found.groups],
        notes=[note.words for note in found.notes],
        spec=vars(found.spec),
        costs=costs(study, seen),
        unfinished=listed,
        others=others,
        provenance=provenance(seen),
        style=Markup(_source("page.css")),
        scripts=[Markup(library), Markup(own)],
        hashes=[_hash(library), _hash(own)],
    )
    write_text(path, text)
    return path


@cache
def _library() -> str:
    """What draws the charts, the same on every page; a second or more to bundle."""
    from vl_convert import javascript_bundle

    return as_script(javascript_bundle())  # type: ignore[call-arg]  # its stub has no default


def as_script(text: str) -> str:
    """The same program, with nothing that would end a script element or be changed in one."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _source(name: str) -> str:
    return files("scaling.report").joinpath(name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


# For page.js


def _models(study: Study) -> list[str]:
    """Names, smallest first."""
    return list(dict.fromkeys(r.model_name for r in sorted(study.runs, key=lambda r: r.params)))


def _sizes(study: Study) -> list[str]:
    """Data sizes, smallest first; endless or all there are: "all"."""
    known = sorted({run.data_size for run in study.runs if run.data_size})
    return [*map(str, known), *(["all"] if any(not r.data_size for r in study.runs) else [])]


def _choices(study: Study) -> dict[str, list[str]]:
    """Filter -> its values."""
    seeds = [str(seed) for seed in sorted({run.seed for run in study.runs})]
    several = list(dict.fromkeys(parts(study).values()))
    return {"model": _models(study), "data": _sizes(study), "seed": seeds, "part": several}


def _facts(study: Study, seen: Seen, found: FitReport, metrics: list[str]) -> dict[str, Any]:
    timed = any(look.manifest and "seconds" in look.manifest for look in seen.values())
    laws: dict[str, dict[str, Any]] = {}
    for group in found.groups:
        part = ", ".join(value for name, value in group.names.items() if name != "metric")
        laws.setdefault(group.names["metric"], {})[part] = _law(group)
    return {
        "axes": {name: title for name, title in AXES.items() if timed or name != "seconds"},
        "curve_axes": CURVE_AXES,
        "metrics": {name: name.replace("_", " ") for name in metrics},
        "laws": laws,
        "charts": charts(_models(study), _sizes(study)),
    }


def _law(group: GroupReport) -> dict[str, Any]:
    """The curve with its band over the runs and half a decade on, or why it is not drawn."""
    if group.fit is None:
        return {"why": "there is no fit", "curve": []}
    if doubt := not_drawn(group.fit):
        return {"why": doubt, "curve": []}
    first, last = (float(end) for end in group.fit.span)  # type: ignore[arg-type]
    x = np.geomspace(group.points.x.min() / 1.6, 3 * group.points.x.max(), GRID)
    x = np.unique(np.concatenate([x, [first, last]]))
    low, high = group.fit.band(x)
    rows = np.array([x, group.fit.predict(x), low, high]).T
    shown = np.isfinite(rows).all(axis=1) & (rows > 0).all(axis=1)
    return {
        "why": None,
        "span": [first, last],
        "curve": [[float(f"{value:.5g}") for value in row] for row in rows[shown].tolist()],
    }


# For the template


def _law_in_words(group: GroupReport) -> dict[str, Any]:
    fit = group.fit
    return {
        "name": ", ".join(group.names.values()),
        "law": fit.law if isinstance(fit, Fit) else None,
        "fit": fit,
        "doubt": None if fit is None else not_drawn(fit),
        "runs": len(group.points.error),
        "level": 100 * group.spec.level,
        "parameters": _parameters(fit) if isinstance(fit, Fit) else [],
        "holdout": list(holdout_line(group.holdout, group.spec.law)) if group.holdout else [],
        "diagnostics": [each.words for each in group.diagnostics],
        "refusal": group.refusal,
    }


def _parameters(fit: Fit) -> list[tuple[str, str, str]]:
    """Name, role, and value with its interval."""
    each = zip(fit.law.parameters, fit.values, fit.intervals, strict=True)
    return [
        (name, fit.law.roles.get(name, ""), interval(value, *ends)) for name, value, ends in each
    ]
