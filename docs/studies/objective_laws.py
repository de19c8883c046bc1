"""One law an objective: the tables and the figure of docs/studies/objectives.md.

    python docs/studies/objective_laws.py results/objectives.csv docs/studies --floor 0.1
    python docs/studies/objective_laws.py results/objectives-cifar10.csv docs/studies

Fits the frontier of each objective's runs, error against its own FLOPs, by `fits.report`, as
`fit-laws` does. Prints exponents, and the error of each objective as a multiple of that of
classification at the largest compute that both have, with 90 % intervals, as `fit-laws compare`
does. Draws FOLDER/<study>-laws.png: points are runs, rings those on the frontier, the band is that
of the law. Where the floor is known it is held, and the law is the paper's, which begins at a
plateau; elsewhere it is a power. An exponent of 10 is on its bound.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from figures import compares_views, objective
from matplotlib.axes import Axes

from fits.data.tables import Table, read_table
from fits.decisions.compare import error_ratio, span
from fits.plot_style import finish, style
from fits.plotting import canvas, save
from fits.regression.fit import Fit
from fits.report import GroupReport, fit_table
from fits.spec import FitSpec

NAMES = {"probe_error": "linear probe", "10shot_error": "10-shot"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--floor", type=float, help="lowest error, where it is known")
    asked = parser.parse_args()
    whole = read_table(asked.results)
    tables, metrics = by_objective(whole), set(whole.column("metric"))
    figure, panels = canvas(len(NAMES))
    for ax, (ending, name) in zip(panels, NAMES.items(), strict=True):
        (metric,) = (each for each in metrics if each.endswith(f"_{ending}"))
        spec = spec_of(metric, asked.floor)
        reports = {
            trained: fit_table(table, spec, holdout=False, strict=False).groups[0]
            for trained, table in tables.items()
        }
        print("\n".join(rows(name, reports)))
        draw(ax, name, reports)
    save(figure, asked.folder / f"{asked.results.stem}-laws.png")


def by_objective(table: Table) -> dict[str, Table]:
    """The rows of each objective, in the order of the table, but for runs that compare what a
    teacher sees."""
    found: dict[str, list[int]] = {}
    for row, variant in enumerate(table.column("variant")):
        if not compares_views(variant):
            found.setdefault(objective(variant), []).append(row)
    return {name: table.keep(rows) for name, rows in found.items()}


def spec_of(metric: str, floor: float | None) -> FitSpec:
    law, fix = ("power", {}) if floor is None else ("saturating", {"c": floor})
    where = (f"metric={metric}",)
    return FitSpec(x=("flops",), y="value", where=where, rows="frontier", law=law, fix=fix)


def rows(name: str, reports: dict[str, GroupReport]) -> Iterator[str]:
    yield f"\n| {name} | frontier | exponent | error / that of `classify` | at FLOPs |"
    yield "|---|---|---|---|---|"
    base = reports["classify"].fit
    for trained, report in reports.items():
        fit, points = report.fit, len(report.observations.error)
        if not isinstance(fit, Fit):
            yield f"| `{trained}` | {report.refusal} | | | |"
            continue
        exponent = fit.law.parameters.index("b")
        low, high = fit.intervals[exponent]
        on = f"{np.count_nonzero(report.observations.fitted(report.spec))} of {points}"
        ratio = "| |"
        if isinstance(base, Fit) and fit is not base:
            x = min(span(base)[1], span(fit)[1])
            value, below, above = error_ratio(base, fit, x).error_ratio
            ratio = f"| {value:.2f} [{below:.2f}, {above:.2f}] | {x:.2g} |"
        yield f"| `{trained}` | {on} | {fit.values[exponent]:.2f} [{low:.2f}, {high:.2f}] {ratio}"


def draw(ax: Axes, name: str, reports: dict[str, GroupReport]) -> None:
    with style():
        ax.set(xscale="log", yscale="log", xlabel="training FLOPs", ylabel="error", title=name)
        for k, (trained, report) in enumerate(reports.items()):
            found, colour = report.observations, f"C{k}"
            chosen = found.fitted(report.spec)
            ax.plot(found.x, found.error, ".", color=colour, ms=3, alpha=0.6)
            ax.plot(found.x[chosen], found.error[chosen], "o", color=colour, ms=4, mfc="none")
            if isinstance(report.fit, Fit):
                x = np.geomspace(*span(report.fit))
                ax.plot(x, report.fit.predict(x), color=colour, lw=1, label=trained)
                ax.fill_between(x, *report.fit.band(x), color=colour, alpha=0.12, lw=0)
            else:
                ax.plot([], [], ".", color=colour, label=f"{trained}, no law")
        errors = np.concatenate([each.observations.error for each in reports.values()])
        ax.set_ylim(errors.min() / 1.1, errors.max() * 1.1)
        finish(ax)


if __name__ == "__main__":
    main()
