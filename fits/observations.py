"""The rows of a table as numbers to fit, and their fits by a FitSpec."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fits.average.average import Average, average
from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.numbers import Array, Indices, Mask
from fits.data.frontier import on_frontier, on_hull
from fits.data.points import Points, points_of
from fits.data.tables import Table, read_numbers, read_table
from fits.laws.constrained import Constraint
from fits.laws.names import GROWING
from fits.laws.registry import EVERY_LAW, LAWS, RISING, rivals
from fits.regression.fit import Fit, every_point, fit
from fits.regression.holdout import Trials, choose_law
from fits.regression.inputs import checked_weights, in_order
from fits.regression.loss import Loss
from fits.spec import FORECAST, FitSpec

_CHOOSE = {"frontier": on_frontier, "hull": on_hull, "all": every_point}
SEED_COLUMN, RUN_COLUMN = "seed", "run"  # by which the runs of one setting differ
OF_SIZE = re.compile(r"(?i:param|weight|model.?size|^size$)|^N$")  # n may count data, d a width
OF_DATA = re.compile(r"(?i:token|image|sample|example|data|seen)|^D$")


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """Numbers to fit, in the order of the table.

    Fields:
      x: resource spent, [runs], or [variables, runs].
      error: [runs].
      weights: how much each counts, [runs]; None: all alike.
      clusters: number of each run's cluster, [runs]; None: each is one of its own.
    """

    x: Array
    error: Array
    weights: Array | None = None
    clusters: Indices | None = None

    def keep(self, rows: Indices) -> Observations:
        """Those of the runs, by number."""
        return Observations(
            x=self.x[..., rows],
            error=self.error[rows],
            weights=None if self.weights is None else self.weights[rows],
            clusters=None if self.clusters is None else self.clusters[rows],
        )

    def fit(self, spec: FitSpec) -> Fit:
        """Raises ValueError where there can be no fit."""
        of_held = _below_floor(spec, self.error[self.fitted(spec)]) if spec.fix else ()
        found = fit(
            EVERY_LAW[spec.law],
            self.x,
            self.error,
            choose=_CHOOSE[str(spec.rows)],
            **self._terms(spec),
            constraint=Constraint(spec.fix, spec.tie),
            steps=spec.fix_steps,
            replicates=spec.replicates,
            level=spec.level,
            seed=spec.seed,
        )
        return replace(found, diagnostics=(*of_held, *found.diagnostics))

    def average(self, spec: FitSpec) -> Average:
        """Over laws. Raises ValueError where there are too few runs."""
        return average(
            self.x,
            self.error,
            choose=_CHOOSE[str(spec.rows)],
            clusters=self._terms(spec)["clusters"],
            level=spec.level,
            seed=spec.seed,
        )

    def hold_out(self, spec: FitSpec) -> Trials | None:
        """How well each law predicts the large runs from the small; None: all are of one size."""
        laws = rivals(EVERY_LAW[spec.law]) if spec.law in EVERY_LAW else LAWS.values()
        choose = _CHOOSE[str(spec.rows)]
        try:
            held = {spec.law: Constraint(spec.fix, spec.tie)}
            terms = {**self._terms(spec), "choose": choose, "constraints": held}
            if spec.law in RISING:  # the best models have the lowest loss
                terms["by"] = -np.log(self.x)
            return choose_law(self.x, self.error, laws, **terms)
        except ValueError:
            return None

    def _terms(self, spec: FitSpec) -> dict[str, Any]:
        return {
            "weights": self.weights,
            "clusters": None if self.clusters is None else self.clusters.tolist(),
            "loss": Loss(
                log=spec.scale == "log", one_sided=spec.loss == "one-sided", tau=spec.quantile
            ),
            "huber": spec.huber,
        }

    def fitted(self, spec: FitSpec) -> Mask:
        """Which of the runs the law goes through, [runs]."""
        counts = checked_weights(self.weights, len(self.error))
        order, _ = in_order(self.x, self.error, counts, self._terms(spec)["clusters"])
        chosen = np.empty(len(order), bool)
        present = np.ones((1, len(order)), bool)
        chosen[order] = _CHOOSE[str(spec.rows)](self.x[..., order], self.error[order], present)[0]
        return chosen


class HeldTooHigh(ValueError):
    """A floor that no error lies above."""


def _below_floor(spec: FitSpec, y: Array) -> tuple[Diagnostic, ...]:
    """What a floor that is held leaves of the errors fitted.

    Raises:
      HeldTooHigh: none lies above it.
    """
    floor = EVERY_LAW[spec.law].floor
    if floor is None or floor not in spec.fix or not len(y):
        return ()
    held, below = spec.fix[floor], int((y <= spec.fix[floor]).sum())
    if below == len(y):
        raise HeldTooHigh(
            f"{floor} is held at {held:g}, and no {spec.error_name} lies above it: they are "
            f"{y.min():.4g} to {y.max():.4g}. Hold the floor lower, or leave it free."
        )
    numbers = {"at": held, "count": below, "n": len(y), "lowest": float(y.min())}
    return (Diagnostic("floor_held_above", (floor,), numbers),) if below else ()


def _exchanged(size: str, data: str) -> bool:
    """Whether, by their names, the column for sizes is one of data, and that for data of sizes."""
    of_size, of_data = (
        [words.search(name) is not None for name in (size, data)] for words in (OF_SIZE, OF_DATA)
    )
    return of_size == [False, True] and of_data == [True, False]


def read_points(
    table: str | Path | Table,
    spec: FitSpec,
    by: Sequence[str] = (),
    x: Sequence[str] = (),
    *,
    drop_zeros: bool = False,
) -> Points:
    """The rows of a table as a spec wants them.

    Args:
      by: further columns that must be there.
      x: columns to read in place of those of the spec.
      drop_zeros: as of `fit_table`.

    Raises:
      UserError: all columns that are missing, or all mistakes in the rows.
      OSError: the file cannot be read.
    """
    whole = table if isinstance(table, Table) else read_table(table)
    cooled = spec.rate.cooled if spec.rate else ""
    more = (*spec.clusters, *filter(None, [spec.weights, cooled]))
    spent = tuple(x) or spec.x
    found = points_of(
        *(whole, spent, spec.y, spec.y_is),
        where=spec.where,
        last_of=spec.last_of,
        best_of=spec.best_of,
        by=by,
        more=more,
        drop_zeros=drop_zeros,
    )
    if spec.weights and (wrong := read_numbers(found.table, spec.weights, judge_weight)[1]):
        raise UserError(*wrong)
    law = EVERY_LAW.get(spec.law)
    named = law is not None and len(spent) == len(law.variables)
    if law and named and (small := law.out_of_range(spent, found.x)):
        raise UserError([f"{whole.path}: {each}" for each in small])
    of_both = law is not None and law.variables[:2] == ("N", "D") and law.name not in GROWING
    if law and of_both and _exchanged(*spec.x[:2]):
        size, data, *_ = spec.x
        raise UserError(
            [
                f"{whole.path}: N of law {law.name} is the size of a model and D its data; {size} "
                f"and {data} look exchanged. Name {data} for N (--size, or the first --x) and "
                f"{size} for D (--data, or the second)."
            ]
        )
    return replace(found, notes=(*found.notes, *_seeds_apart(found.table, spec, spent)))


def observations(points: Points, spec: FitSpec) -> Observations:
    """The numbers in the rows."""
    weights = points.table.values(spec.weights) if spec.weights else None
    return Observations(
        x=points.x,
        error=points.error,
        weights=weights,
        clusters=points.table.groups(spec.clusters)
        if spec.clusters and len(points.table)
        else None,
    )


def with_seeds(spec: FitSpec, points: Points) -> FitSpec:
    """The same, seeds of one setting a cluster, where no clusters were named.

    One setting is what rows agree in that differ in the columns `seed` and `run`, in what was
    measured and in their weights, and in no other. A results table is made so.
    """
    if spec.clusters or spec.law == FORECAST or not _has_seeds(points.table, spec):
        return spec
    return replace(spec, clusters=_setting(points.table, spec))


def _setting(table: Table, spec: FitSpec) -> tuple[str, ...]:
    known = [name for name in (spec.y, spec.weights) if name in table.columns]
    apart = (SEED_COLUMN, RUN_COLUMN, *map(table.columns.full_name, known))
    return tuple(name for name in table.columns if name not in apart)


def _has_seeds(table: Table, spec: FitSpec, columns: tuple[str, ...] | None = None) -> bool:
    """Whether rows that agree in these columns, or else in their setting, differ in seed."""
    names = _setting(table, spec) if columns is None else columns
    if SEED_COLUMN not in table.columns or SEED_COLUMN in (*spec.x, spec.y):
        return False
    apart, together = table.groups((*names, SEED_COLUMN)), table.groups(names)
    return int(together.max(initial=-1)) < int(apart.max(initial=-1))


def _seeds_apart(table: Table, spec: FitSpec, x: tuple[str, ...]) -> Iterator[Diagnostic]:
    """A note where rows of one x and several seeds differ in yet another column."""
    if spec.clusters or spec.law == FORECAST or _has_seeds(table, spec):
        return
    if _has_seeds(table, spec, x):
        yield Diagnostic("seeds_apart", x)


def judge_weight(value: float) -> str | None:
    return None if 1e-12 <= value <= 1e12 else "a weight not from 1e-12 to 1e12."
