"""Compute outside that of the runs: warnings, and mistakes where it lies too far outside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from fits.allocation.allocation import Trainings
from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError, all_of
from fits.base.extrapolation import FAR, refuse_far


def refuse_far_from(runs: Trainings, asked: Iterable[tuple[str, float]], unit: str) -> None:
    """Computes more than FAR times the largest of the runs, or below the smallest.

    Args:
      asked: each with the option that it was typed as, or follows from.

    Raises:
      UserError: all that are.
    """
    first, last = float(runs.compute.min()), float(runs.compute.max())
    all_of(*(partial(_refuse, option, c, first, last, unit) for option, c in asked))


def beyond(runs: Trainings, computes: Sequence[float], unit: str) -> list[Diagnostic]:
    """Of each compute outside those of the runs, how far."""
    name = "compute" if unit == "FLOPs" else f"compute in {unit}"
    first, last = float(runs.compute.min()), float(runs.compute.max())
    found = []
    for at in computes:
        if not first <= at <= last:
            edge, times = (last, at / last) if at > last else (first, first / at)
            numbers = {"at": at, "edge": edge, "times": times}
            found.append(Diagnostic("extrapolates", (name,), numbers))
    return found


def _refuse(option: str, at: float, first: float, last: float, unit: str) -> None:
    refuse_far(option, at / last, at, last, unit)
    if at * FAR < first:
        is_what = f"is {first / at:.3g} times" if at > 0 else "lies endlessly far above"
        raise UserError(
            [
                f"{option}: the smallest fitted, {first:.3g} {unit}, {is_what} {at:g} {unit}; no "
                f"fit is known to hold more than {FAR:,.0f} times below its runs. Check the unit, "
                "or say --far."
            ]
        )
