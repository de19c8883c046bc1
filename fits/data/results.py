"""The results table: one row a number measured; the contract between training and fitting.

The columns are owned here because the reader of a table suffers when they drift. A failed run is
an absent row, so a Result can hold neither a NaN nor a made-up zero.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from fits.base.errors import UserError
from fits.base.files import written_aside
from fits.base.names import short
from fits.data.tables import Table, number, read_table


@dataclass(frozen=True, kw_only=True)
class Result:
    """One number measured.

    Fields:
      study: name of the study.
      run: id of the run; the same run gives one Result a metric.
      model: name of the model's shape, say "Ti/16".
      params: parameters of the model.
      flops: floating-point operations of training, as if the run had been trained alone.
      images_seen: training images, repeats counted.
      data_size: different images to train on; None: endless.
      seed: of the run.
      metric: what was measured, say "upstream_error"; a name in _error is a fraction.
      value: the number.
      n: images it was measured on.
    """

    study: str
    run: str
    model: str
    params: int
    flops: float
    images_seen: int
    data_size: int | None
    seed: int
    metric: str
    value: float
    n: int

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(
                f"{self.metric} of run {self.run} is {self.value}. A failed run is an absent row; "
                "leave it out."
            )
        if self.metric.endswith("_error") and not 0 <= self.value <= 1:
            raise ValueError(
                f"{self.metric} of run {self.run} is {self.value:g}, outside [0, 1]. Error rates "
                f"are fractions; for a percentage write {self.value / 100:g}."
            )
        if not (math.isfinite(self.flops) and self.flops > 0):
            raise ValueError(
                f"flops of run {self.run} is {self.flops:g}; it must be above 0 and finite."
            )


COLUMNS = tuple(field.name for field in fields(Result))


def write_csv(path: str | Path, results: Iterable[Result]) -> None:
    """Write results as CSV; an endless data set is an empty cell, numbers keep every digit."""
    with written_aside(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(astuple(result) for result in results)


def write_parquet(path: str | Path, results: Iterable[Result]) -> None:
    """Write results as Parquet; an endless data set is a null."""
    import pyarrow
    import pyarrow.parquet

    kinds = {"str": pyarrow.string(), "int": pyarrow.int64(), "float": pyarrow.float64()}
    schema = pyarrow.schema(
        [(field.name, kinds[str(field.type).split(" |")[0]]) for field in fields(Result)]
    )
    columns = list(zip(*map(astuple, results), strict=True)) or [()] * len(COLUMNS)
    table = pyarrow.Table.from_arrays(
        [pyarrow.array(cells, of.type) for cells, of in zip(columns, schema, strict=True)],
        schema=schema,
    )
    with written_aside(path) as aside:
        pyarrow.parquet.write_table(table, aside)


def read_results(path: str | Path) -> list[Result]:
    """Read a results table, CSV or Parquet, written by this project.

    Raises:
      UserError: every missing column, or every row that is no Result, with its line.
      OSError: the file cannot be read.
    """
    table = read_table(path)
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise UserError(
            [
                f"{table.path}: no column {', '.join(missing)}; a results table has the columns "
                f"{', '.join(COLUMNS)}."
            ],
            table.ragged,
        )
    results, mistakes = [], []
    for row in range(len(table)):
        try:
            results.append(_result(table, row))
        except ValueError as error:
            mistakes.append(f"{table.place(row)}: {error}")
    if mistakes or table.ragged:
        raise UserError(table.ragged, mistakes)
    return results


def _result(table: Table, row: int) -> Result:
    cell = {name: table.columns[name][row] for name in COLUMNS}
    return Result(
        study=cell["study"],
        run=cell["run"],
        model=cell["model"],
        params=_whole(cell, "params"),
        flops=_real(cell, "flops"),
        images_seen=_whole(cell, "images_seen"),
        data_size=_whole(cell, "data_size") if cell["data_size"] else None,
        seed=_whole(cell, "seed"),
        metric=cell["metric"],
        value=_real(cell, "value"),
        n=_whole(cell, "n"),
    )


def _whole(cell: dict[str, str], name: str) -> int:
    try:
        return int(cell[name])
    except ValueError:
        raise ValueError(f"{name} is '{short(cell[name])}', not a whole number.") from None


def _real(cell: dict[str, str], name: str) -> float:
    try:
        return number(cell[name])
    except ValueError:
        raise ValueError(f"{name} is '{short(cell[name])}', not a number.") from None
