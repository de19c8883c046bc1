"""The zoo as a table: what `scaling models` prints. Knows no study and no run."""

from __future__ import annotations

from collections.abc import Sequence

from fits.base.errors import UserError
from models import sovit
from models.cost import CatalogueRow, catalogue, row
from models.sovit import Proposal
from models.zoo import shape
from scaling.base.console import print_table


def rows(names: Sequence[str], resolution: int | None, classes: int | None) -> list[CatalogueRow]:
    """The models of these names, or the whole zoo where there are none.

    Args:
      names: such as "Ti/16", in the order of the rows.
      resolution: image side in pixels; None: 224, and for the whole zoo a larger one besides.
      classes: outputs of a linear classifier to count; None for the backbone alone.

    Raises:
      UserError: all names that the zoo does not have, each with the near ones.
    """
    if not names and resolution is None:
        return catalogue(classes)
    fitting = (r["name"] for r in catalogue() if (r["patch"] or 1) <= (resolution or 224))
    wrong, found = [], []
    for name in names or dict.fromkeys(fitting):
        try:
            found.append(row(shape(name, resolution or 224), classes))
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise UserError(*([each] for each in wrong))
    return found


def show(found: Sequence[CatalogueRow]) -> None:
    """Prints the rows, one line a model."""
    lines = [tuple(_cell(value) for value in each.values()) for each in found]
    print_table(list(CatalogueRow.__annotations__), lines, left=("name", "family"))


def proposals(
    budget: float, patch: int | None, resolution: int | None, classes: int | None
) -> list[Proposal]:
    """Shapes that SoViT's law proposes for a budget, smallest first.

    Args:
      budget: FLOPs of the whole training, backward passes included.
      patch: side in pixels; None: 14, as in the law's own study.
      resolution: image side in pixels; None: 224.
      classes: outputs of a linear classifier to price; None for the backbone alone.

    Raises:
      UserError: no shape can be proposed for that budget.
    """
    try:
        return sovit.proposals(
            budget,
            patch=patch or sovit.PATCH,
            resolution=resolution or sovit.RESOLUTION,
            classes=classes,
        )
    except ValueError as error:
        raise UserError([f"--budget: {error}"]) from error


def show_proposals(found: Sequence[Proposal], budget: float) -> None:
    """Prints the proposals, and which of them is the law's own for that budget."""
    headings = [key for key in Proposal.__annotations__ if key != "extrapolated"]
    lines = [
        tuple(_cell(value) for key, value in each.items() if key in headings) for each in found
    ]
    print_table(headings, lines, left=("name",))
    (best,) = (each["name"] for each in found if each["best_for_flops"] == budget)
    print(f"\nBest for {budget:g} training FLOPs by the law of SoViT: {best}.")
    beyond = [each["name"] for each in found if each["extrapolated"]]
    if beyond:
        tested = " to ".join(f"{sovit.BACKWARD * each:.2g}" for each in sovit.TESTED)
        print(f"The law rests on trainings of {tested} FLOPs; beyond that: {', '.join(beyond)}.")


def _cell(value: object) -> str:
    match value:
        case int():
            return f"{value:_}"
        case float():
            return f"{value:.4g}"
        case None:
            return "-"
    return str(value)
