"""The zoo as a table: what `scaling models` prints. Knows no study and no run."""

from __future__ import annotations

from collections.abc import Sequence

from models.cost import CatalogueRow, catalogue, row
from models.zoo import shape
from scaling.mistakes import Mistakes
from scaling.tables import print_table


def rows(names: Sequence[str], resolution: int | None, classes: int | None) -> list[CatalogueRow]:
    """The models of these names, or the whole zoo where there are none.

    Args:
      names: such as "Ti/16", in the order of the rows.
      resolution: image side in pixels; None: 224, and for the whole zoo a larger one besides.
      classes: outputs of a linear classifier to count; None for the backbone alone.

    Raises:
      Mistakes: all names that the zoo does not have, each with the near ones.
    """
    if not names and resolution is None:
        return catalogue(classes)
    wrong, found = [], []
    fitting = dict.fromkeys(r["name"] for r in catalogue() if r["patch"] <= (resolution or 224))
    if not names and not fitting:
        remedy = f"name a model, such as Ti/{resolution}"
        raise Mistakes([f"no patch of the zoo fits into {resolution} px; {remedy}."])
    for name in names or fitting:
        try:
            found.append(row(shape(name, resolution or 224), classes))
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise Mistakes(wrong)
    return found


def show(found: Sequence[CatalogueRow]) -> None:
    """Prints the rows, one line a model."""
    lines = [tuple(_cell(value) for value in each.values()) for each in found]
    print_table(list(CatalogueRow.__annotations__), lines, left=("name", "family"))


def _cell(value: object) -> str:
    match value:
        case int():
            return f"{value:_}"
        case float():
            return f"{value:.4g}"
        case None:
            return "-"
    return str(value)
