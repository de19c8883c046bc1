"""Answers as JSON: the fields of a model are the keys, their types say how each is written.

The answers of `compare`, `next` and `optimal` are such models themselves, beside the functions that
find them; a FitReport is made into one here. An Estimate is always {value, low, high}, and a number
that is not finite, such as the open end of an interval, is null.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, SupportsFloat

from pydantic import BaseModel, BeforeValidator, ConfigDict, InstanceOf, PlainSerializer

from fits.average.average import Average
from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Estimate
from fits.regression.fit import Fit
from fits.regression.holdout import Trial, Trials
from fits.report import FitReport, GroupReport, Place
from fits.spec import FitSpec


class JsonModel(BaseModel):
    """Base of everything that is written as JSON."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", from_attributes=True, use_attribute_docstrings=True
    )


def finite(number: SupportsFloat) -> float | None:
    return float(number) if math.isfinite(number) else None


NumberOrNull = Annotated[float, PlainSerializer(finite, return_type=float | None)]


class EstimateJson(JsonModel):
    """A number and the ends of its interval; null: beyond all numbers, or no end."""

    value: NumberOrNull
    low: NumberOrNull
    high: NumberOrNull


EstimateField = Annotated[
    InstanceOf[Estimate],
    PlainSerializer(lambda found: EstimateJson(**found._asdict()), return_type=EstimateJson),
]


class ParameterJson(EstimateJson):
    role: str | None
    """What the parameter is in its law, such as floor or exponent."""


class PredictionJson(EstimateJson):
    x: tuple[float, ...]


class DiagnosticJson(JsonModel):
    """One diagnostic, as `fits/base/diagnostic.py` explains its fields, and in words."""

    code: str
    parameters: list[str]
    numbers: dict[str, float | list[float | None] | None]
    words: str


DiagnosticField = Annotated[
    InstanceOf[Diagnostic],
    PlainSerializer(lambda found: DiagnosticJson(**found.to_json()), return_type=DiagnosticJson),
]


def _errors(rows: Iterable[Trial]) -> dict[str, float | None]:
    return {row.law.name: row.error for row in rows}


class HoldoutJson(JsonModel):
    best: str | None
    fitted: int
    held_out: int
    left_out: int
    clusters_split: int
    times_larger: float
    score: str
    trials: Annotated[dict[str, float | None], BeforeValidator(_errors)]
    """Error by law; null: it could not be tried."""


def holdout_json(trials: Trials) -> HoldoutJson:
    return HoldoutJson.model_validate(trials)


HoldoutField = Annotated[InstanceOf[Trials], PlainSerializer(holdout_json, return_type=HoldoutJson)]


class BacktestJson(JsonModel):
    """The laws of an average, fitted to the cheaper runs and tried on the others."""

    times: float
    """The largest x is so many times the largest fitted."""
    fitted: int
    held_out: int
    errors: dict[str, float]
    """Root mean square log error, by law."""
    scores: dict[str, float]
    """Mean log density of the points held out, by law."""


class AverageJson(JsonModel):
    weights: dict[str, float]
    """By law; they add to 1."""
    backtests: tuple[BacktestJson, ...]


class GroupJson(JsonModel):
    group: dict[str, str] | None
    """Values of the columns that the table was split by; null: all rows."""
    law: str
    formula: str | None
    parameters: dict[str, ParameterJson] | None
    points: int | None
    """Those that the law goes through."""
    runs: int
    clusters: int | None
    rms: NumberOrNull | None
    notes: tuple[DiagnosticField, ...]
    """On its rows, such as how many were left out."""
    diagnostics: list[DiagnosticField]
    predictions: list[PredictionJson]
    """Of the average, where there is one, and else conditional on the law."""
    average: AverageJson | None
    """Over laws; null: predictions and intervals are conditional on the law."""
    holdout: HoldoutField | None
    refusal: str | None
    """Why there is no fit."""


def _group(group: GroupReport) -> GroupJson:
    fit, clusters = group.fit, group.observations.clusters
    law = fit.law if isinstance(fit, Fit) else None
    over_laws = fit if isinstance(fit, Average) else group.average
    return GroupJson(
        group=group.names or None,
        law=group.spec.law,
        formula=law.formula if law else None,
        parameters=_parameters(fit) if isinstance(fit, Fit) else None,
        points=fit.n if fit else None,
        runs=len(group.points.error),
        clusters=None if clusters is None else len(set(clusters.tolist())),
        rms=fit.rms if fit else None,
        notes=group.points.notes,
        diagnostics=group.diagnostics,
        predictions=[_prediction(group, place) for place in group.at] if fit else [],
        average=AverageJson.model_validate(over_laws) if over_laws else None,
        holdout=group.holdout,
        refusal=group.refusal or None,
    )


def _parameters(fit: Fit) -> dict[str, ParameterJson]:
    found = zip(fit.law.parameters, fit.values, fit.intervals, strict=True)
    return {
        name: ParameterJson(value=value, low=low, high=high, role=fit.law.roles.get(name))
        for name, value, (low, high) in found
    }


def _prediction(group: GroupReport, place: Place) -> PredictionJson:
    return PredictionJson(**group.prediction(place)._asdict(), x=place)


GroupField = Annotated[InstanceOf[GroupReport], PlainSerializer(_group, return_type=GroupJson)]


class ReportJson(JsonModel):
    """What `fit` and `scaling report` write."""

    table: Path
    spec: FitSpec
    notes: tuple[DiagnosticField, ...]
    """On the whole table."""
    groups: tuple[GroupField, ...]


class CheckJson(JsonModel):
    law: str
    holds: bool | None
    """null: there is nothing to compare it with."""
    found: tuple[DiagnosticField, ...]
    refusal: str | None
    """Why rows, of the file or of the table, can no longer be fitted."""


def to_json(report: FitReport) -> dict[str, Any]:
    return ReportJson.model_validate(report).model_dump(mode="json")
