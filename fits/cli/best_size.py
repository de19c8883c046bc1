"""fit-laws best-size: the best size for a budget, by any law of size and data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from fits.base.counted import counted
from fits.base.errors import UserError, all_of
from fits.base.names import short
from fits.cli.far import Far
from fits.cli.held import with_first_stage
from fits.cli.options import Json, TableArgument, Texts, numbers, option, read_columns, spec_of
from fits.cli.output import check_files, put
from fits.laws.names import ALIASES, GROWING, SEVERAL_VARIABLES
from fits.spec import FLOPS_PER_EXAMPLE, FitSpec

if TYPE_CHECKING:
    from fits.allocation.best_size import BestSizes
    from fits.report import FitReport

LAWS = [
    name
    for name, variables in SEVERAL_VARIABLES.items()
    if variables.startswith("N D") and name not in GROWING
]


def best_size(
    table: TableArgument,
    options: dict[str, Any],
    budget: Annotated[
        list[str],
        option("C", "Compute; C,U,... where the law has further variables; repeatable."),
    ],
    per: Annotated[
        float | None,
        option(
            "K",
            f"FLOPs a parameter and image or token; default: {FLOPS_PER_EXAMPLE:g}.",
            "--flops-per-nd",
        ),
    ] = None,
    unit: Annotated[
        Texts,
        option("NAME=UNIT", "Unit of --budget (flops), size or data: size=B; repeatable."),
    ] = None,
    far: Far = False,
    json_file: Json = None,
) -> None:
    """The best size for a budget, by any law of size and data.

    --x names the columns of size, of data, and of what else the law takes: with --law repeated the
    different data there are, so that --budget C,U says what to train with compute C on U different
    images or tokens, and how often to see them. The best is found numerically, by the law alone;
    `fit-laws optimal` compares three methods where the law is chinchilla.

    Exit status: 0 done; 2 a mistake on the command line or in the table: all mistakes are named,
    and nothing is written.
    """
    from fits.allocation.units import read_units

    columns = dict(zip(("size", "data"), options["x"], strict=False))
    spec, budgets, whole, units, *_ = all_of(
        lambda: spec_of(options),
        lambda: _budgets(budget, options["x"]),
        lambda: read_columns(table, options),
        lambda: read_units(unit or [], columns),
        lambda: check_files({"--json": json_file}, [table]),
        lambda: _check(options["law"], per),
    )
    from fits.allocation.best_size import best_sizes
    from fits.report_json import ReportJson

    answer, report = best_sizes(whole, spec, budgets, per, units, far=far)
    groups = tuple(with_first_stage(each, options["from_law"]) for each in report.groups)
    report = replace(report, groups=groups)
    answer = answer.model_copy(update={"fit": ReportJson.model_validate(report)})
    warnings = (each.words for each in answer.diagnostics)
    put(answer, _lines(answer, report), warnings, json_file)


def _budgets(texts: list[str], x: list[str]) -> list[tuple[float, ...]]:
    """Compute, and a number for each column of x after size and data."""
    from fits.base.numbers import X_RANGE

    names = ("compute", *x[2:])
    wrong = [
        f"--budget: {short(text)} has {counted(text.count(',') + 1, 'number')}, and "
        f"{' and '.join(names)} are wanted, with commas between them."
        if len(names) > 1
        else f"--budget: {short(text)} is not one number."
        for text in texts
        if text.count(",") + 1 != len(names)
    ]
    if wrong:
        raise UserError(wrong)
    return numbers("--budget", texts, X_RANGE, len(names))


def _check(law: str | None, per: float | None) -> None:
    wrong = []
    if law not in LAWS:
        of = SEVERAL_VARIABLES.get(ALIASES.get(str(law), str(law)), "")
        why = f" but of {of.replace(' ', ' and ')}, which compute does not divide" if of else ""
        name = law or FitSpec.law
        wrong.append(f"--law: {name} is not of size and data{why}. Use {', '.join(LAWS)}.")
    if per is not None and not 1e-30 <= per <= 1e30:
        wrong.append(f"--flops-per-nd: {per:g} is not from 1e-30 to 1e+30.")
    if wrong:
        raise UserError(wrong)


def _flops(found: BestSizes) -> str:
    """The unit of compute, for a person."""
    return {"FLOP": "FLOPs"}.get(found.units["flops"], found.units["flops"])


def _lines(found: BestSizes, report: FitReport) -> Iterator[str]:
    from fits.report_text import in_full, interval

    yield f"{report.table}: {report.spec.error_name} against {', '.join(report.spec.x)}"
    yield from (f"  {line}" for line in in_full(report.groups[0], holdout=False))
    size, data = report.spec.x[:2]
    flops = _flops(found)
    size_in, data_in = ("" if (u := found.units[r]) == "1" else f" {u}" for r in ("size", "data"))
    for each in found.budgets:
        known = "".join(f", {name} = {value:g}" for name, value in each.known.items())
        yield f"\nof {each.compute:g} {flops}{known}; compute = {found.per:g} {size} {data}"
        yield f"  {size}   {interval(*each.size)}{size_in}"
        yield f"  {data}   {interval(*each.data)}{data_in}"
        if "U" in each.known:
            yield f"  epochs   {each.data.value / each.known['U']:.3g}"
        yield f"  {report.spec.error_name}   {interval(*each.error)}"
        if not each.within:
            yield "  warning: the best lies at the end of the sizes that were looked at"
