"""fit-laws compare: recipe A against recipe B."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fits.base.errors import UserError, all_of
from fits.base.names import short
from fits.cli.far import Far, refuse_places
from fits.cli.held import with_first_stage
from fits.cli.options import Json, Plot, Texts, option, singles, spec_of
from fits.cli.output import check_files, put
from fits.spec import BEST, FORECAST

if TYPE_CHECKING:
    from fits.decisions.compare import Comparison, EqualError, ErrorRatio


def compare(
    tables: Annotated[list[Path], typer.Argument(metavar="TABLE [TABLE]", help="One with --by.")],
    options: dict[str, Any],
    by: Annotated[str | None, option("COL", "Two studies in one table, A's value first.")] = None,
    predict: Annotated[
        Texts, option("X", "Where to compare; default: the largest x of both.")
    ] = None,
    target_error: Annotated[
        Texts, option("E", "Errors, or values of a quantity, to reach; default: A's at each X.")
    ] = None,
    far: Far = False,
    json_file: Json = None,
    plot: Plot = None,
) -> None:
    """Recipe A against recipe B: the ratio of their errors, and how much x (say compute) B saves.

    Fits a law to each of two studies and prints E_B / E_A at chosen x, and how many times less x B
    needs for the same error, both with intervals. Of a quantity, or a y that rises, these are its
    values, and neither study is called better. Where the interval of a ratio contains 1, the
    runs show no difference between the two, and the study whose runs would help most is named. The
    studies are taken as independent.

    Exit status: 0 done; 2 a mistake on the command line or in a table, or a study that cannot be
    fitted: all mistakes are named, and nothing is written.
    """
    from fits.base.numbers import X_RANGE, Y_RANGE
    from fits.decisions.compare import compare_tables, span

    if len(tables) != (1 if by else 2):
        wanted = "--by splits one table" if by else "give two tables, or one and --by COL"
        raise UserError([f"{len(tables)} tables; {wanted}."])
    reached = X_RANGE if options["y_is"] == "quantity" else Y_RANGE
    spec, places, errors, _ = all_of(
        lambda: spec_of(options),
        lambda: singles("--predict", predict, X_RANGE),
        lambda: singles("--target-error", target_error, reached),
        lambda: check_files({"--json": json_file, "--plot": plot}, tables),
    )
    if len(spec.x) > 1 or spec.law in (BEST, FORECAST):
        raise UserError([f"--law: {spec.law} is no law of one x. Choose one that is."])
    found = compare_tables(tables, spec, by=by, predict=places, target_errors=errors)
    first = options["from_law"]
    both = {"a": with_first_stage(found.a, first), "b": with_first_stage(found.b, first)}
    found = found.model_copy(update=both)
    ends = [end for each in (found.a, found.b) for end in span(each.law)]
    within = min(ends), max(ends)
    causes = [*found.a.causes, *found.b.causes]
    refuse_places("--predict", [(place,) for place in places], within, far=far, causes=causes)
    if plot:
        _draw(found, plot)
    put(found, _lines(found), _warnings(found), json_file, plot, notes=_notes(found))


def _draw(found: Comparison, path: Path) -> None:
    from fits.plotting import canvas, draw_ratio, save

    names = {"A": found.name_a, "B": found.name_b}
    title = "\n".join(f"{which}: {short(Path(name).name)}" for which, name in names.items())
    figure, (panel,) = canvas()
    y = _name_of_y(found)
    draw_ratio(found.a.law, found.b.law, xlabel=found.spec.x[0], y=y, title=title, ax=panel)
    save(figure, path)


def _notes(found: Comparison) -> Iterator[str]:
    for name, its in (("A", found.a), ("B", found.b)):
        yield from (f"{name}: {each.words}" for each in its.points.notes)


def _warnings(found: Comparison) -> Iterator[str]:
    for name, its in (("A", found.a), ("B", found.b)):
        yield from (f"{name}: {each.words}" for each in its.diagnostics)
    yield from (each.words for each in found.diagnostics)


def _lines(found: Comparison) -> Iterator[str]:
    from fits.report_text import holdout_line

    spec, y = found.spec, _name_of_y(found)
    both = (("A", found.name_a, found.a), ("B", found.name_b, found.b))
    laws = " and ".join(dict.fromkeys(group.law.law.name for *_, group in both))
    what = f"{spec.error_name} against {spec.x[0]}"
    yield f"{what}, law {laws}; {100 * spec.level:g}% intervals, if the law holds"
    for which, name, group in both:
        yield f"  {which}: {name}, through {group.law.n} of {len(group.points.error)} runs"
        if group.holdout is not None:
            yield f"     {next(holdout_line(group.holdout, group.spec.law))}"
    for ratio in found.predictions:
        yield from _ratio(ratio, y, is_error=_is_error(found))
    for equal in found.target_errors:
        yield from _equal(equal, y, spec.x[0])


def _is_error(found: Comparison) -> bool:
    """Whether less is better."""
    of_errors = all(each.law.law.gives == "E" for each in (found.a, found.b))
    return of_errors and found.spec.y_is != "quantity"


def _name_of_y(found: Comparison) -> str:
    """What is compared, for a person: "error" of a rate, and else the column."""
    return found.spec.y if found.spec.y_is in ("loss", "quantity") else "error"


def _ratio(at: ErrorRatio, y: str, *, is_error: bool) -> Iterator[str]:
    from fits.report_text import interval

    e = "E" if is_error else "y"
    yield f"\nat x = {at.x:.4g}: {e}_A = {at.error_a:.4g}, {e}_B = {at.error_b:.4g}"
    yield f"  {e}_B / {e}_A = {interval(*at.error_ratio)}"
    if at.is_decided:
        better = f"{'B' if at.error_ratio.high < 1 else 'A'} is better: " if is_error else ""
        yield f"  {better}B's {y} is {at.error_ratio.value:.3g} times that of A"
        return
    more, share = ("A", at.share_a) if at.share_a > 0.5 else ("B", 1 - at.share_a)
    yield (
        f"  no difference found; {share:.0%} of the variance is that of {more}: runs of {more} at "
        f"or above x = {at.x:.3g} would help most"
    )


def _equal(at: EqualError, y: str, x: str) -> Iterator[str]:
    from fits.report_text import interval

    value = f"an error of {at.error:.4g}" if y == "error" else f"{y} = {at.error:.4g}"
    yield f"\nto reach {value}:"
    for which, place, beyond in (("A", at.x_a, at.beyond_a), ("B", at.x_b, at.beyond_b)):
        if place:
            yield f"  {which} needs x = {place:.4g}"
        elif beyond == "below":
            yield f"  {which}: reached at less than a thousandth of the smallest {x} fitted"
        else:
            yield f"  {which}: out of reach of its law, up to 1,000 times the largest {x} fitted"
    if (ratio := at.x_ratio) is not None:
        yield f"  x_A / x_B = {interval(*ratio)}"
        if ratio.low > 1:
            yield f"  B needs {ratio.value:.3g} times less"
        elif ratio.high < 1:
            yield f"  B needs {1 / ratio.value:.3g} times more"
        else:
            yield "  no difference found"
