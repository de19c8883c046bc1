"""How far a fit is used beyond its points before that is taken for a mistake."""

from __future__ import annotations

from fits.base.errors import UserError

FAR = 1000.0  # times above the largest fitted, or below the smallest


def refuse_far(
    option: str, at: float, first: float, last: float, unit: str = "", look_at: str = "the unit"
) -> None:
    """An extrapolation by more than FAR times, which is mostly a mistake of the unit.

    Args:
      first, last: smallest and largest fitted, in `unit`.
      look_at: what a reader is to check.

    Raises:
      UserError: it is one.
    """
    of = f" {unit}" if unit else ""
    if at > FAR * last:
        said = (
            f"{at:g}{of} is {at / last:.3g} times the largest fitted, {last:.3g}{of}; no fit is "
            f"known to hold more than {FAR:,.0f} times ahead"
        )
    elif at * FAR < first:
        is_what = f"is {first / at:.3g} times" if at > 0 else "lies endlessly far above"
        said = (
            f"the smallest fitted, {first:.3g}{of}, {is_what} {at:g}{of}; no fit is known to hold "
            f"more than {FAR:,.0f} times below its runs"
        )
    else:
        return
    raise UserError([f"{option}: {said}. Check {look_at}, or say --far."])
