"""How far a fit is used beyond its points before that is taken for a mistake."""

from __future__ import annotations

from fits.base.errors import UserError

FAR = 1000.0  # times beyond the largest fitted


def refuse_far(
    option: str, times: float, at: float, edge: float, unit: str = "", look_at: str = "the unit"
) -> None:
    """An extrapolation by more than FAR times, which is mostly a mistake of the unit.

    Args:
      look_at: what a reader is to check.

    Raises:
      UserError: it is one.
    """
    if times <= FAR:
        return
    of = f" {unit}" if unit else ""
    raise UserError(
        [
            f"{option}: {at:g}{of} is {times:.3g} times the largest fitted, {edge:.3g}{of}; no fit "
            f"is known to hold more than {FAR:,.0f} times ahead. Check {look_at}, or say --far."
        ]
    )
