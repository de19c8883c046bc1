"""Compute outside that of the runs: warnings, and mistakes where it lies too far outside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from fits.allocation.allocation import Trainings
from fits.base.diagnostic import Diagnostic
from fits.base.errors import all_of
from fits.base.extrapolation import refuse_far


def refuse_far_from(runs: Trainings, asked: Iterable[tuple[str, float]], unit: str) -> None:
    """Computes more than FAR times above the largest of the runs, or below the smallest.

    Args:
      asked: each with the option that it was typed as, or follows from.

    Raises:
      UserError: all that are.
    """
    first, last = float(runs.compute.min()), float(runs.compute.max())
    all_of(*(partial(refuse_far, option, c, first, last, unit) for option, c in asked))


def beyond(runs: Trainings, computes: Sequence[float], unit: str) -> list[Diagnostic]:
    """Of each compute outside those of the runs, how far."""
    name = "compute" if unit == "FLOPs" else f"compute in {unit}"
    first, last = float(runs.compute.min()), float(runs.compute.max())
    return [found for at in computes for found in outside(name, at, first, last)]


def outside(name: str, at: float, first: float, last: float) -> list[Diagnostic]:
    """How far a number lies outside those of the runs, where it does."""
    if first <= at <= last:
        return []
    edge, times = (last, at / last) if at > last else (first, first / at)
    return [Diagnostic("extrapolates", (name,), {"at": at, "edge": edge, "times": times})]
