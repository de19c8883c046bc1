"""--far: extrapolations by more than 1,000 times are mistakes, unless they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

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
) -> None:
    """Places too far beyond the largest x fitted, a number a variable.

    Raises:
      UserError: one is.
    """
    import numpy as np

    edges = np.atleast_1d(largest).tolist()
    for place in places if not far else ():
        for at, edge in zip(place, edges, strict=True):
            refuse_far(typed, at / edge, at, edge)
