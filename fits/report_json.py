"""The one JSON of a FitReport; `schema()` describes it, `fit-laws schema` prints that."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, SupportsFloat

from pydantic import BaseModel, ConfigDict

from fits.regression.fit import Fit
from fits.regression.holdout import Trials
from fits.report import FitReport, GroupReport, Place, as_x

Ends = tuple[float | None, float | None]
"""Low and high end of an interval; null: no end."""


class _Json(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class SpecJson(_Json):
    """FitSpec, as `fits/spec.py` explains its fields."""

    x: list[str]
    y: str
    y_is: str
    where: list[str]
    rows: str
    law: str
    loss: str
    huber: float | None
    scale: str
    weights: str
    clusters: list[str]
    level: float
    replicates: int
    seed: int


class DiagnosticJson(_Json):
    code: str
    parameters: list[str]
    numbers: dict[str, float | list[float | None] | None]
    words: str


class PredictionJson(_Json):
    x: float | list[float]
    median: float | None
    low: float | None
    high: float | None


class HoldoutJson(_Json):
    best: str | None
    fitted: int
    held_out: int
    left_out: int
    clusters_split: int
    times_larger: float
    score: str
    errors: dict[str, float | None]
    """By law; null: it could not be tried."""


class GroupJson(_Json):
    group: dict[str, str] | None
    """Values of the columns that the table was split by; null: all rows."""
    law: str
    formula: str | None
    values: dict[str, float] | None
    intervals: dict[str, Ends] | None
    roles: dict[str, str] | None
    points: int | None
    runs: int
    clusters: int | None
    rms: float | None
    notes: list[str]
    diagnostics: list[DiagnosticJson]
    predictions: list[PredictionJson]
    holdout: HoldoutJson | None
    refusal: str | None
    """Why there is no fit."""


class ReportJson(_Json):
    table: str
    spec: SpecJson
    groups: list[GroupJson]


def to_json(report: FitReport) -> dict[str, Any]:
    """A report as plain JSON; numbers that are not finite are null."""
    spec = asdict(report.spec) | {"rows": str(report.spec.rows)}
    plain = {name: list(v) if isinstance(v, tuple) else v for name, v in spec.items()}
    groups = [_group(group, report.at) for group in report.groups]
    found = ReportJson(table=str(report.table), spec=SpecJson(**plain), groups=groups)
    return found.model_dump(mode="json")


def schema() -> dict[str, Any]:
    """JSON Schema of what `to_json` returns."""
    return ReportJson.model_json_schema()


def _group(group: GroupReport, at: Iterable[Place]) -> GroupJson:
    fit = group.fit
    law = fit.law if isinstance(fit, Fit) else None
    clusters = group.observations.clusters
    values = None
    if isinstance(fit, Fit):
        values = dict(zip(fit.law.parameters, fit.values, strict=True))
    return GroupJson(
        group=group.names or None,
        law=group.spec.law,
        formula=law.formula if law else None,
        values=values,
        intervals=intervals_of(fit) if isinstance(fit, Fit) else None,
        roles=dict(law.roles) if law else None,
        points=fit.n if fit else None,
        runs=len(group.points.error),
        clusters=None if clusters is None else len(set(clusters.tolist())),
        rms=fit.rms if fit else None,
        notes=list(group.points.notes),
        diagnostics=[DiagnosticJson(**each.to_json()) for each in group.diagnostics(tuple(at))],
        predictions=[_prediction(group, place) for place in at] if fit else [],
        holdout=holdout_json(group.holdout) if group.holdout else None,
        refusal=group.refusal or None,
    )


def intervals_of(fit: Fit) -> dict[str, Ends]:
    ends = [(finite(low), finite(high)) for low, high in fit.intervals]
    return dict(zip(fit.law.parameters, ends, strict=True))


def _prediction(group: GroupReport, place: Place) -> PredictionJson:
    assert group.fit is not None
    x = as_x(place)
    low, high = map(finite, group.fit.band(x))
    at = place[0] if len(place) == 1 else list(place)
    return PredictionJson(x=at, median=finite(group.fit.predict(x)), low=low, high=high)


def holdout_json(trials: Trials) -> HoldoutJson:
    return HoldoutJson(
        best=trials.chosen,
        fitted=trials.fitted,
        held_out=trials.held_out,
        left_out=trials.left_out,
        clusters_split=trials.cut,
        times_larger=trials.times_larger,
        score=trials.score,
        errors={row.law.name: row.error for row in trials.rows},
    )


def finite(end: SupportsFloat) -> float | None:
    """JSON knows no infinity: the open end of an interval is null."""
    return float(end) if math.isfinite(end) else None
