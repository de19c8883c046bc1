"""The results table: one row a number measured; the contract between training and fitting."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Result:
    """One number measured."""

    study: str
    run: str
    model: str
    params: int
    flops: float  # to train this run as if alone
    images_seen: int
    data_size: int | None  # unique training images; None: endless
    seed: int
    metric: str
    value: float
    n: int  # images it was measured on


COLUMNS = tuple(field.name for field in fields(Result))
