"""How to divide compute between a larger model and more data, by all three methods at once.

`allocate` is what `fit-laws optimal` prints and notebooks call. The law of size and data is fitted
as `fits.report` fits it, so that it has the same intervals in every command; where it lacks fit and
contradicts the other methods, to the runs near the best sizes (`near_best.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, InstanceOf

from fits.allocation.allocation import (
    BY_ENVELOPE,
    BY_LAW,
    BY_PROFILES,
    Allocation,
    LineOfSizes,
    Trainings,
    disagreements,
    trainings,
)
from fits.allocation.beyond import beyond, refuse_far_from
from fits.allocation.envelope import envelope
from fits.allocation.isoflop import isoflop
from fits.allocation.near_best import FACTOR, contradicted, is_near, refitted
from fits.allocation.odd_rows import refuse_mixed_units, slips_of_ratio
from fits.allocation.odd_units import (
    is_of_macs,
    of_a_token,
    refuse_flops_of_an_example,
    refuse_odd_units,
    refuse_time,
)
from fits.allocation.parametric import ParametricLaw, parametric
from fits.allocation.profiles import refuse_budgets
from fits.allocation.units import Units
from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.numbers import Array
from fits.data.points import Points
from fits.data.tables import Table
from fits.observations import observations, read_points, with_seeds
from fits.report_json import DiagnosticField, EstimateField, HoldoutField, JsonModel
from fits.spec import FLOPS_PER_EXAMPLE, FitSpec
from fits.suited import refuse_risen

DATA_SEEN = "data seen"  # in place of a column: made of compute and size
AS_TOLD = 1.2  # factor within which FLOPs a parameter and example are those told
AHEAD = 10.0  # times the largest compute, where the law is held against the others too
SIZE = "size by compute and data"  # the same, made of those


class MethodReport(JsonModel):
    """What a method says of all budgets, or why it says nothing."""

    method: str
    exponent: EstimateField | None = None
    """a of size = k compute^a."""
    best: tuple[tuple[float, float], ...] = ()
    """Computes, and the best size seen at each."""
    diagnostics: tuple[DiagnosticField, ...] = ()
    refusal: str | None = None


class Division(JsonModel):
    """The best size for a compute, by method, and what the law alone says; null: there is none."""

    compute: float
    sizes: dict[str, EstimateField]
    data: EstimateField | None
    error: EstimateField | None


class Target(JsonModel):
    """The least compute that reaches an error."""

    error: float
    compute: EstimateField | None


class TrainedModel(JsonModel):
    """A model as it was trained, beside the best size."""

    size: float
    data: float
    error: EstimateField | None
    compute_ratio: EstimateField | None
    """Its compute over that of the best size with the same error."""
    twice_data_error_ratio: EstimateField | None
    """Its error with twice the data over its error."""


class AllocationReport(JsonModel):
    """The answers of the methods, and where they contradict each other.

    `allocations`, `runs` and `fitted`, the methods, the points and the rows that the law was fitted
    to, are no part of the JSON.
    """

    table: Path
    spec: FitSpec
    units: dict[str, str]
    """Of flops, size and data, wherever they stand here; "1": counted one by one."""
    flops_per_nd: float
    """FLOPs a parameter and image or token, the median."""
    flops_per_nd_from: Literal["columns", "told", "default"]
    """Where that number is from: the three columns, or, where one is made of the others, what was
    told, or else 6."""
    points: int
    methods: tuple[MethodReport, ...]
    divisions: tuple[Division, ...]
    target_errors: tuple[Target, ...]
    trained: tuple[TrainedModel, ...]
    holdout: HoldoutField | None
    notes: tuple[DiagnosticField, ...]
    diagnostics: tuple[DiagnosticField, ...]
    allocations: Annotated[tuple[InstanceOf[Allocation], ...], Field(exclude=True)]
    runs: Annotated[InstanceOf[Trainings], Field(exclude=True)]
    fitted: Annotated[InstanceOf[Points], Field(exclude=True)]

    @property
    def counted_in(self) -> Units:
        """The units that are not one by one, nor FLOP."""
        plain = ("FLOP", "1")
        return Units(names={role: unit for role, unit in self.units.items() if unit not in plain})


def allocate(
    table: str | Path | Table,
    spec: FitSpec,
    *,
    flops: str | None = None,
    per: float | None = None,
    units: Units = Units(),  # noqa: B008  frozen
    far: bool = False,
    curve: Sequence[str] = (),
    compute: Sequence[float] = (),
    target_errors: Sequence[float] = (),
    trained: Sequence[tuple[float, float]] = (),
    budgets: Sequence[float] = (),
) -> AllocationReport:
    """The best size by each method that the runs allow.

    Args:
      table: a file, CSV or Parquet, or one that was read.
      spec: of the law chinchilla; x are the columns of size and data, the latter DATA_SEEN where
        data follow from compute and size, the former SIZE where size follows from compute and data.
      flops: column of compute; None: `per` times size times data.
      per: FLOPs a parameter and image or token; None: FLOPS_PER_EXAMPLE, and compute over size
        times data may be whatever trainings have.
      units: of the three columns, and of all numbers here and in the answer; those of the table
        where none is told.
      far: whether computes, and those that target errors take, may lie more than 1,000 times
        outside those of the runs.
      curve: columns; rows equal in them are one learning curve, and a cluster.
      compute: budgets to divide.
      target_errors: errors to reach.
      trained: size and data of models to lay beside the best size.
      budgets: of the IsoFLOP profiles; none: wherever there are enough sizes.

    Raises:
      UserError: all mistakes in the table, units that cannot be, a compute too far from the runs,
        or why no method has an answer.
      OSError: the table cannot be read.
    """
    named = spec.clusters
    spec = replace(spec, clusters=named or tuple(curve))
    size, data = spec.x
    made = SIZE if size == SIZE and flops else DATA_SEEN if data == DATA_SEEN else ""
    columns = {
        "flops": flops,
        "size": None if made == SIZE else size,
        "data": None if made == DATA_SEEN else data,
    }
    points = read_points(table, spec, curve, x=[name for name in columns.values() if name])
    refuse_time(points.table, flops)
    units = units.or_of({role: points.table.unit(c) for role, c in columns.items() if c})
    points, spent, runs = _runs(points, columns, units.per(per or FLOPS_PER_EXAMPLE), curve)
    sizes, examples = points.x
    refuse_flops_of_an_example(runs, columns)
    refuse_mixed_units(points.table, sizes, examples, spent, columns, units)
    refuse_odd_units(runs, units, columns, per)
    slips = tuple(slips_of_ratio(points.table, sizes, examples, spent, columns))
    refuse_budgets(runs, budgets)
    of_macs = per is None and is_of_macs(runs, units, columns)
    if not far:
        refuse_far_from(runs, _computes_asked(runs, compute, trained), units.of("flops"))
    odd = refuse_risen(spec, points)
    spec = with_seeds(spec, points)
    numbers = observations(points, spec)
    methods: dict[str, Callable[[], Allocation]] = {
        BY_ENVELOPE: lambda: envelope(runs),
        BY_PROFILES: lambda: isoflop(
            runs, budgets=budgets or None, replicates=spec.replicates, seed=spec.seed
        ),
        BY_LAW: lambda: parametric(runs, numbers.fit(spec)),
    }
    found: list[Allocation] = []
    refused = []
    for name, method in methods.items():
        try:
            found.append(method())
        except ValueError as why:
            refused.append(MethodReport(method=name, refusal=str(why)))
    if not found:
        raise UserError([f"{points.table.path}: {each.method}: {each.refusal}" for each in refused])
    last = float(runs.compute.max())
    seen = math.sqrt(float(runs.compute.min()) * last), last
    law = next((m for m in found if isinstance(m, ParametricLaw)), None)
    line = contradicted(law, found, [*seen, AHEAD * last]) if law else None
    if law and line:
        rows = np.flatnonzero(is_near(line, points.x[0], spent))
        near = numbers.keep(rows)
        try:
            better = refitted(law, line, runs, near.fit(spec))
        except ValueError:  # too few
            line = None
        else:
            found = [better if each is law else each for each in found]
            law, numbers, points = better, near, points.keep(rows)
    level = spec.level
    targets = tuple(Target(error=e, compute=law and law.compute(e, level)) for e in target_errors)
    if not far:
        refuse_far_from(runs, _computes_of(targets), units.of("flops"))
    return AllocationReport(
        table=points.table.path,
        spec=spec,
        units={"flops": "FLOP", "size": "1", "data": "1"} | dict(units.names),
        flops_per_nd=units.per_in_ones(runs.per),
        flops_per_nd_from="columns" if all(columns.values()) else "told" if per else "default",
        points=len(runs.loss),
        methods=(*(_method(each, level) for each in found), *refused),
        divisions=tuple(_division(each, found, law, level) for each in compute),
        target_errors=targets,
        trained=tuple(_trained(*each, law, level) for each in trained),
        holdout=numbers.hold_out(spec) if law else None,
        notes=points.notes,
        diagnostics=(
            *odd,
            *slips,
            *of_a_token(columns, per),
            *_not_told(columns, per, units.per_in_ones(runs.per)),
            *_not_used(replace(spec, clusters=named), found),
            *disagreements(found, [*seen, *compute]),
            *_far_from_best(line, runs, trained),
            *beyond(runs, compute, units.of("flops")),
            *([Diagnostic("compute_in_macs", (str(flops),))] if of_macs else []),
        ),
        allocations=tuple(found),
        runs=runs,
        fitted=points,
    )


def _runs(
    points: Points, columns: Mapping[str, str | None], per: float, curve: Sequence[str]
) -> tuple[Points, Array, Trainings]:
    """The rows, data or size made of compute and the other where there is no column of it; their
    compute; the same as trainings."""
    column = dict(zip(filter(None, columns.values()), points.x, strict=True))
    flops, size, data = (column.get(name) if name else None for name in columns.values())
    if flops is not None and data is not None and size is None:
        size = flops / (per * data)
    if flops is not None and size is not None and data is None:
        data = flops / (per * size)
    assert size is not None
    assert data is not None
    cells = [points.table.column(name) for name in curve]
    labels = list(zip(*cells, strict=True)) if curve else None
    spent = per * size * data if flops is None else flops
    runs = trainings(size, data, points.error, compute=spent, run=labels)
    return replace(points, x=np.stack([size, data])), spent, runs


def _computes_asked(
    runs: Trainings, compute: Sequence[float], trained: Sequence[tuple[float, float]]
) -> Iterator[tuple[str, float]]:
    """Each with its option."""
    yield from (("--compute", each) for each in compute)
    for size, data in trained:
        yield f"--trained {size:g},{data:g}", runs.per * size * data


def _computes_of(targets: Sequence[Target]) -> Iterator[tuple[str, float]]:
    """What target errors take, each with its option; endless compute is an answer."""
    for each in targets:
        if each.compute and math.isfinite(each.compute.value):
            yield f"--target-error {each.error:g}", each.compute.value


def _method(found: Allocation, level: float) -> MethodReport:
    return MethodReport(
        method=found.method,
        exponent=found.exponent(level),
        best=tuple(zip(*(each.tolist() for each in found.best), strict=True)),
        diagnostics=found.diagnostics,
    )


def _division(
    compute: float, found: Sequence[Allocation], law: ParametricLaw | None, level: float
) -> Division:
    return Division(
        compute=compute,
        sizes={each.method: each.size(compute, level) for each in found},
        data=law and law.data(compute, level),
        error=law and law.loss(compute, level),
    )


def _trained(size: float, data: float, law: ParametricLaw | None, level: float) -> TrainedModel:
    return TrainedModel(
        size=size,
        data=data,
        error=law and law.loss_at(size, data, level),
        compute_ratio=law and law.compute_ratio(size, data, level),
        twice_data_error_ratio=law and law.loss_ratio(size, data, 2, level),
    )


def _not_used(spec: FitSpec, found: Sequence[Allocation]) -> list[Diagnostic]:
    """Options of the fit that the envelope and the profiles know nothing of."""
    used = {
        "--weights": spec.weights,
        "--cluster": spec.clusters,
        f"--loss {spec.loss}": spec.loss != "squares",
        "--scale linear": spec.scale == "linear",
    }
    names = tuple(name for name, on in used.items() if on)
    others = [each.method for each in found if each.method != BY_LAW]
    return [Diagnostic("options_not_used", (each, *names)) for each in others if names]


def _not_told(
    columns: Mapping[str, str | None], per: float | None, ratio: float
) -> list[Diagnostic]:
    """FLOPs a parameter and example that were told, where three columns have others."""
    if per is None or not all(columns.values()) or 1 / AS_TOLD < ratio / per < AS_TOLD:
        return []
    numbers = {"told": per, "ratio": ratio}
    return [Diagnostic("flops_per_nd_not_used", tuple(map(str, columns.values())), numbers)]


def _far_from_best(
    line: LineOfSizes | None, runs: Trainings, trained: Sequence[tuple[float, float]]
) -> list[Diagnostic]:
    """Models that a law of the runs near the best sizes, along `line`, may not hold for."""
    if line is None:
        return []
    best = [line.size(runs.per * size * data)[0] for size, data in trained]
    return [
        Diagnostic("far_from_best", numbers={"size": size, "times": size / each, "factor": FACTOR})
        for (size, _), each in zip(trained, best, strict=True)
        if abs(math.log(size / each)) >= math.log(FACTOR)
    ]
