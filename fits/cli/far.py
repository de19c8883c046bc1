"""--far: extrapolations by more than 1,000 times are mistakes, unless they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

from fits.base.errors import UserError
from fits.base.extrapolation import refuse_far
from fits.cli.options import option

if TYPE_CHECKING:
    from fits.base.numbers import Array

Far = Annotated[
    bool, option(None, "Allow predictions more than 1,000 times the largest X.", "--far")
]


def refuse_places(
    typed: str,
    places: Iterable[Sequence[float]],
    largest: float | Sequence[float] | Array,
    *,
    far: bool,
    causes: Sequence[str] = (),
) -> None:
    """Places too far beyond the largest x fitted, a number a variable.

    Args:
      causes: what looks odd in the rows, such as a slip that leaves the largest x out of the fit.

    Raises:
      UserError: one is; the causes come first.
    """
    import numpy as np

    edges = np.atleast_1d(largest).tolist()
    look_at = "the rows named above" if causes else "the unit"
    for place in places if not far else ():
        for at, edge in zip(place, edges, strict=True):
            try:
                refuse_far(typed, at / edge, at, edge, look_at=look_at)
            except UserError as wrong:
                raise UserError(causes, *wrong.kinds) from None
