"""The results table: one row a number measured; the contract between training and fitting.

The columns are owned here because the reader of a table suffers when they drift. A failed run is
an absent row, so a Result can hold neither a NaN nor a made-up zero.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

from fits.base.files import written_aside


@dataclass(frozen=True, kw_only=True)
class Result:
    """One number measured.

    Fields:
      study: name of the study.
      run: id of the run; the same run gives one Result a metric.
      model: name of the model's shape, say "Ti/16".
      params: parameters of the model.
      flops: floating-point operations of training, as if the run had been trained alone; None: not
        known, as of weights from others.
      images_seen: training images, repeats counted; None: not known.
      data_size: different images to train on; None: endless, or not known.
      seed: of the run; None: not known.
      metric: what was measured, say "upstream_error".
      value: the number.
      n: images it was measured on.
      subset: part of the source that was trained and measured on, say "classes=100"; data_size is
        of it.
      variant: what tells the run from others of its study that agree in all other columns, say
        "augment=flip"; empty: nothing does.
    """

    study: str
    run: str
    model: str
    params: int
    flops: float | None
    images_seen: int | None
    data_size: int | None
    seed: int | None
    metric: str
    value: float
    n: int
    subset: str = "all"
    variant: str = ""

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(
                f"{self.metric} of run {self.run} is {self.value}. A failed run is an absent row; "
                "leave it out."
            )
        if self.flops is not None and not (math.isfinite(self.flops) and self.flops > 0):
            raise ValueError(
                f"flops of run {self.run} is {self.flops:g}; it must be above 0 and finite."
            )


COLUMNS = tuple(field.name for field in fields(Result))


def write_csv(path: str | Path, results: Iterable[Result]) -> None:
    """Write results as CSV; an endless data set, or what is not known, is an empty cell;
    numbers keep every digit."""
    with written_aside(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(astuple(result) for result in results)


def write_parquet(path: str | Path, results: Iterable[Result]) -> None:
    """Write results as Parquet; an endless data set, or what is not known, is a null."""
    import pyarrow
    import pyarrow.parquet

    kinds = {"str": pyarrow.string(), "int": pyarrow.int64(), "float": pyarrow.float64()}
    schema = pyarrow.schema(
        [(field.name, kinds[str(field.type).split(" |")[0]]) for field in fields(Result)]
    )
    table = pyarrow.Table.from_pylist(list(map(asdict, results)), schema)
    with written_aside(path) as aside:
        pyarrow.parquet.write_table(table, aside)
