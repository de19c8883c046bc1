"""--far: extrapolations by more than 1,000 times are mistakes, unless they are asked for.

Places that a law does not have, such as half an expert, are mistakes in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

from fits.base.errors import UserError
from fits.base.extrapolation import refuse_far
from fits.cli.options import option

if TYPE_CHECKING:
    from fits.base.numbers import Array

    Span = tuple[float, float] | tuple[Sequence[float], Sequence[float]] | tuple[Array, Array]

Far = Annotated[
    bool,
    option(None, "Allow X more than 1,000 times above the largest or below the least.", "--far"),
]


def refuse_places(
    typed: str,
    places: Iterable[Sequence[float]],
    span: Span,
    *,
    far: bool,
    causes: Sequence[str] = (),
) -> None:
    """Places too far above the largest x fitted, or below the smallest, a number a variable.

    Args:
      span: smallest and largest x fitted.
      causes: what looks odd in the rows, such as a slip that leaves the largest x out of the fit.

    Raises:
      UserError: one is; the causes come first.
    """
    import numpy as np

    edges = np.reshape(span, (2, -1)).T.tolist()
    look_at = "the rows named above" if causes else "the unit"
    for place in places if not far else ():
        for at, (first, last) in zip(place, edges, strict=True):
            try:
                refuse_far(typed, at, first, last, look_at=look_at)
            except UserError as wrong:
                raise UserError(causes, *wrong.kinds) from None


def refuse_impossible(
    typed: str, law_name: str, names: Sequence[str], places: Iterable[Sequence[float]]
) -> None:
    """Places where a variable of the law is smaller, or larger, than it can be.

    Args:
      law_name: of any law; a forecast and an average have no such variables.
      names: of the columns of x.

    Raises:
      UserError: all that are.
    """
    import numpy as np

    from fits.laws.registry import EVERY_LAW

    law, x = EVERY_LAW.get(law_name), np.array(list(places)).T
    if law and x.size and (wrong := law.out_of_range(names, x)):
        raise UserError([f"{typed}: {each}" for each in wrong])
