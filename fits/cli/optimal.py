"""fit-laws optimal: how to divide compute between a larger model and more data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fits.base.errors import UserError, all_of
from fits.cli.held import rows_of_first_stage
from fits.cli.options import Json, Plot, TableArgument, Texts, numbers, option, singles, spec_of
from fits.cli.output import check_files, put
from fits.spec import FLOPS_PER_EXAMPLE

if TYPE_CHECKING:
    from fits.allocation.report import AllocationReport
    from fits.base.numbers import Estimate


def optimal(
    table: TableArgument,
    options: dict[str, Any],
    size: Annotated[
        str | None, option("COL", "Parameters of the model, N; default: from --flops and --data.")
    ] = None,
    data: Annotated[
        str | None, option("COL", "Images or tokens, D; default: from --flops.")
    ] = None,
    flops: Annotated[str | None, option("COL", "Compute; default: K times N times D.")] = None,
    per: Annotated[
        float | None,
        option(
            "K",
            f"FLOPs a parameter and image or token; default: {FLOPS_PER_EXAMPLE:g}.",
            "--flops-per-nd",
            "--per",
        ),
    ] = None,
    unit: Annotated[
        Texts,
        option("NAME=UNIT", "Unit of flops, size or data: flops=GFLOP, size=B; repeatable."),
    ] = None,
    far: Annotated[
        bool,
        option(
            None, "Allow budgets more than 1,000 times the largest or below the least.", "--far"
        ),
    ] = False,
    curve: Annotated[
        Texts, option("COL", "Rows equal in COL are one learning curve; repeatable.")
    ] = None,
    compute: Annotated[Texts, option("C", "Budgets to divide; repeatable.")] = None,
    target_error: Annotated[
        Texts, option("E", "Target errors; prints the least compute for each.")
    ] = None,
    trained: Annotated[
        Texts, option("N,D", "A model as trained, to lay beside the best size.")
    ] = None,
    budgets: Annotated[
        Texts, option("C", "Budgets of the IsoFLOP profiles; default: those of at least 5 sizes.")
    ] = None,
    json_file: Json = None,
    plot: Plot = None,
) -> None:
    """How to divide compute between a larger model and more data, by three methods.

    The envelope of all runs, IsoFLOP profiles, and the law L(N, D) = E + A / N^alpha + B / D^beta
    (Hoffmann et al. 2022, approaches 1 to 3) assume different things; says where they disagree and
    which assumption failed. The law is fitted as `fit-laws TABLE --law chinchilla` fits it, with
    weights, clusters (a --curve is one), loss and scale; where it lacks fit over all runs and
    contradicts the other two, it is fitted to the runs near the best sizes, and says so. Answers
    other than the best size come from the law alone.

    Numbers are typed and printed in the units of the table, which --unit tells: compute in FLOP,
    GFLOP, PF-day, MAC ..., size and data in 1, K, M, B or T. Compute over size times data that no
    training has is refused, with the units that it looks like.

    Exit status: 0 done; 2 a mistake on the command line or in the table, or not one method that its
    runs allow: all mistakes are named, and nothing is written.
    """

    from fits.allocation.report import DATA_SEEN, SIZE, allocate
    from fits.allocation.units import read_units
    from fits.base.numbers import X_RANGE, Y_RANGE

    columns = {"flops": flops, "size": size, "data": data}
    spec, computes, targets, models, profiles, units, *_ = all_of(
        lambda: spec_of(options, law="chinchilla", x=(size or SIZE, data or DATA_SEEN), rows="all"),
        lambda: singles("--compute", compute, X_RANGE),
        lambda: singles("--target-error", target_error, Y_RANGE),
        lambda: numbers("--trained", trained or [], X_RANGE, 2),
        lambda: singles("--budgets", budgets, X_RANGE),
        lambda: read_units(unit or [], columns),
        lambda: _check(size, data, flops, per),
        lambda: check_files({"--json": json_file, "--plot": plot}, [table]),
    )
    found = allocate(
        table,
        spec,
        flops=flops,
        per=per,
        units=units,
        far=far,
        curve=curve or [],
        compute=computes,
        target_errors=targets,
        trained=models,
        budgets=profiles,
    )
    said = rows_of_first_stage(options["from_law"], found.fitted, found.spec)
    found = found.model_copy(update={"diagnostics": (*found.diagnostics, *said)})
    if plot:
        _draw(found, size or SIZE, plot)
    notes = (each.words for each in found.notes)
    put(found, _lines(found), _warnings(found), json_file, plot, notes=notes)


def _check(size: str | None, data: str | None, flops: str | None, per: float | None) -> None:
    wrong = []
    if size is None and (data is None or flops is None):
        wrong.append("without --size, it is made of compute and data; give --flops and --data.")
    elif data is None and flops is None:
        wrong.append("size alone says nothing of compute; give --data, --flops, or both.")
    if per is not None and not 1e-30 <= per <= 1e30:
        wrong.append(f"--flops-per-nd: {per:g} is not from 1e-30 to 1e+30.")
    if wrong:
        raise UserError(wrong)


def _draw(found: AllocationReport, size: str, path: Path) -> None:
    from fits.plotting import canvas, draw_allocations, save

    figure, (panel,) = canvas()
    units = found.counted_in
    computes = [each.compute for each in found.divisions]
    draw_allocations(
        *(found.allocations, found.runs, computes),
        xlabel=units.of("flops"),
        ylabel=f"{size}, {of}" if (of := units.of("size")) else size,
        level=found.spec.level,
        ax=panel,
    )
    save(figure, path)


def _warnings(found: AllocationReport) -> Iterator[str]:
    for method in found.methods:
        yield from (f"{method.method}: {each.words}" for each in method.diagnostics)
    yield from (each.words for each in found.diagnostics)


_FROM = {"columns": "", "told": ", as told", "default": ", assumed"}


def _lines(found: AllocationReport) -> Iterator[str]:
    from fits.report_text import holdout_line, interval

    units = found.counted_in
    y, flops = found.spec.y, units.of("flops")
    size_in, data_in = (f" {of}" if (of := units.of(each)) else "" for each in ("size", "data"))
    yield f"{found.table}: {found.points} points; {100 * found.spec.level:g}% intervals"
    yield (
        f"compute in {flops}, size in {size_in.strip() or 'ones'}, data in "
        f"{data_in.strip() or 'ones'}: {found.flops_per_nd:.3g} FLOPs a parameter and example"
        f"{_FROM[found.flops_per_nd_from]}"
    )
    yield "\nthe best size grows as compute to the power of"
    for each in found.methods:
        if each.exponent:
            yield f"  {interval(*each.exponent):24} {each.method}"
        else:
            yield f"  none: {each.method}: {each.refusal}"
    if found.holdout:
        yield f"\n{next(holdout_line(found.holdout, found.spec.law))}"
    for budget in found.divisions:
        yield f"\nof {budget.compute:g} {flops}"
        for method, size in budget.sizes.items():
            yield f"  size   {interval(*size) + size_in:28} {method}"
        if budget.data and budget.error:
            yield f"  data   {interval(*budget.data)}{data_in}"
            yield f"  {y}   {interval(*budget.error)}"
    for target in found.target_errors:
        if target.compute:
            yield f"\n{y} {target.error:g} takes {flops} {_open(target.compute)}"
    for model in found.trained:
        if model.error and model.compute_ratio and model.twice_data_error_ratio:
            yield f"\na model of size {model.size:g}{size_in}, trained on {model.data:g}{data_in}"
            yield f"  {y}   {interval(*model.error)}"
            yield f"  the best size needs {interval(*model.compute_ratio)} times less compute"
            twice = "{:.4f} [{:.4f}, {:.4f}]".format(*model.twice_data_error_ratio)
            yield f"  twice the data: {y} times {twice}"


def _open(found: Estimate) -> str:
    from fits.report_text import interval

    if math.isfinite(found.value):
        return interval(*found)
    if not math.isfinite(found.low):
        return "without end: the floor is fitted above it, with all of its interval"
    least = f"; at least {found.low:.3g}" if found.low > 0 else ""
    return f"without end: the floor is fitted above it{least}"
