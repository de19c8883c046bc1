"""Fits of one table, group by group: made, printed, drawn, and turned into plain data."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np

from fits.base.errors import UserError
from fits.base.names import short
from fits.cli.shared import error_name, finite
from fits.data.frontier import frontier
from fits.data.points import Points
from fits.plotting import canvas, draw_frontier, save
from fits.regression.fit import Fit
from fits.regression.holdout import Trials
from fits.saved.law_file import saved, write_law
from fits.spec import CURVES, FORECAST, Asked, Foretold

Place = tuple[float, ...]  # one x a variable of the law


def _as_x(place: Place) -> Any:
    """As a law takes it: a number, or [variables]."""
    return place[0] if len(place) == 1 else np.array(place)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that share a fit.

    Fields:
      names: their value of each --by column.
      asked: what was to be fitted.
      points: the runs.
      fit: None where there can be none.
      trials: how well each law foretells the large runs from the small; None: it cannot be tried.
      refusal: why there is no fit.
    """

    names: dict[str, str]
    asked: Asked
    points: Points
    fit: Fit | Foretold | None = None
    trials: Trials | None = None
    refusal: str = ""

    @property
    def title(self) -> str:
        """Say "model=S, data_size=1000"; empty where nothing tells groups apart."""
        return ", ".join(f"{name}={short(value)}" for name, value in self.names.items())

    @property
    def said(self) -> str:
        """The title as it follows other words."""
        return f", {self.title}" if self.title else ""

    def warnings(self, wanted: Iterable[Place]) -> list[str]:
        """All that speaks against the fit and its predictions at `wanted`."""
        if self.fit is None:
            return [*self.points.notes, f"left out, no fit: {self.refusal}"]
        beyond = [said for x in wanted if (said := self.fit.beyond(_as_x(x)))]
        return [*self.points.notes, *self.fit.warnings, *beyond]


def fit_groups(asked: Asked, points: Points, by: Sequence[str]) -> list[Group]:
    """One fit a group, or why there is none; UserError if no group has one."""
    groups = []
    for names, its in points.split(by):
        try:
            runs = asked.runs(its)
            found = asked.foretell(runs) if asked.law == FORECAST else asked.fit(runs)
        except ValueError as wrong:
            why = f"{wrong} {_advice(asked, names)}"
            groups.append(Group(names=names, asked=asked, points=its, refusal=why))
        else:
            trials = asked.trials(runs)
            groups.append(Group(names=names, asked=asked, points=its, fit=found, trials=trials))
    if not any(group.fit for group in groups):
        table = points.table.path
        raise UserError([f"{table}{group.said}: {group.refusal}" for group in groups])
    return groups


def _advice(asked: Asked, names: dict[str, str]) -> str:
    advice = ["Add runs"]
    if asked.law != "power":
        advice.append("try --law power, which has 2")
    if asked.which != "all":
        advice.append("say --all-points to fit more than the frontier")
    advice += [f"leave the group out with --where '{name}!={names[name]}'" for name in names]
    if asked.y_is.startswith("error"):
        advice.append(f"say --y-is accuracy if {asked.y} grows as runs get better")
    return "; or ".join(advice) + "."


def print_groups(groups: Sequence[Group], wanted: Sequence[Place]) -> None:
    """The fits for a person, with all that speaks against them."""
    asked, table = groups[0].asked, groups[0].points.table.path
    print(f"{table}: {error_name(asked)} against {', '.join(asked.x)}")
    which = {"all": "points", "hull": "runs, the hull"}.get(asked.which, "runs, the frontier")
    for group in groups:
        print(f"\n{group.title or 'all rows'}")
        if group.fit is not None:
            _print_fit(group, group.fit, f"{len(group.points.error)} {which}", wanted)
        if group.trials is not None:
            for line in group.trials.in_words(group.asked.law):
                print(f"  {line}")
        for warning in group.warnings(wanted):
            print(f"  warning: {warning}")


def _print_fit(group: Group, fit: Fit | Foretold, among: str, wanted: Sequence[Place]) -> None:
    if isinstance(fit, Foretold):
        print("  forecast: saturating laws of many shapes, averaged")
        print(f"  from {fit.n} of {among}; {100 * fit.level:g}% intervals of one more measurement")
    else:
        law = fit.law
        print(f"  law {law.name}: E({', '.join(law.variables)}) = {law.formula}")
        print(f"  through {fit.n} of {among}; {100 * fit.level:g}% intervals")
        for term in group.asked.in_words(group.asked.runs(group.points)):
            print(f"  {term}")
        for name, value, ends in zip(law.parameters, fit.values, fit.intervals, strict=True):
            floor = "   the floor" if name == "c" else ""
            print(f"    {name} = {value:<10.4g} [{ends[0]:.4g}, {ends[1]:.4g}]{floor}")
    for place in wanted:
        x = _as_x(place)
        low, high = fit.band(x)
        at = ", ".join(f"{each:g}" for each in place)
        print(f"    E({at}) = {fit.predict(x):.4g} [{low:.4g}, {high:.4g}]")
    scale = "log error" if group.asked.on == "log" else "error"
    print(f"  root mean square of {scale} {fit.rms:.4f}")


def answer(groups: Sequence[Group], wanted: Sequence[Place]) -> dict[str, Any]:
    """All groups as JSON knows them."""
    asked = groups[0].asked
    return {
        "table": str(groups[0].points.table.path),
        "x": asked.x[0] if len(asked.x) == 1 else asked.x,
        "y": asked.y,
        "y_is": asked.y_is,
        "level": asked.level,
        "groups": [_plain(group, wanted) for group in groups],
    }


def save_law(groups: Sequence[Group], path: Path, words: Sequence[str]) -> None:
    """Keep the law of the only group; `words` are those of the command."""
    if len(groups) > 1:
        raise UserError(
            [
                f"--save: a file holds one law, and there are {len(groups)} groups. Choose one "
                f"with --where, say --where '{name}={value}'."
                for name, value in [next(iter(groups[0].names.items()))]
            ]
        )
    (group,) = groups
    assert isinstance(group.fit, Fit)
    title = f"{error_name(group.asked)}{group.said} against {', '.join(group.asked.x)}"
    command = shlex.join(["fit-laws", *words])
    folder = path.resolve().parent
    write_law(path, saved(group.asked, group.points, group.fit, folder, command, title))


def _plain(group: Group, wanted: Sequence[Place]) -> dict[str, Any]:
    fit, law = group.fit, CURVES.get(group.asked.law)
    values: dict[str, float] | None = None
    intervals: dict[str, list[float | None]] | None = None
    if isinstance(fit, Fit):
        values = dict(zip(fit.law.parameters, fit.values, strict=True))
        intervals = dict(zip(fit.law.parameters, map(_ends, fit.intervals), strict=True))
    return {
        "group": group.names or None,
        "law": group.asked.law,
        "formula": law and law.formula,
        "values": values,
        "intervals": intervals,
        "points": fit and fit.n,
        "runs": len(group.points.error),
        "asked": group.asked.terms(group.asked.runs(group.points)),
        "rms_log_error": fit and fit.rms,
        "warnings": group.warnings(wanted),
        "predictions": [_prediction(fit, place) for place in wanted] if fit else [],
        "held_out": group.trials and group.trials.plain(),
    }


def _prediction(fit: Fit | Foretold, place: Place) -> dict[str, Any]:
    x = _as_x(place)
    low, high = _ends(fit.band(x))
    at = place[0] if len(place) == 1 else list(place)
    return {"x": at, "median": finite(fit.predict(x)), "low": low, "high": high}


def _ends(ends: Iterable[SupportsFloat]) -> list[float | None]:
    return [finite(end) for end in ends]


def plot_groups(groups: Sequence[Group], path: Path) -> None:
    """One panel each."""
    figure, panels = canvas(len(groups))
    for group, panel in zip(groups, panels, strict=True):
        points, asked = group.points, group.asked
        best = frontier(points.x, points.error) if asked.which != "all" else None
        draw_frontier(
            group.fit,
            points.x,
            points.error,
            frontier=best,
            labels=points.table.columns.get("model"),
            series=points.table.columns.get("data_size"),
            xlabel=asked.x[0],
            ylabel=error_name(asked),
            title=group.title or None,
            ax=panel,
        )
    save(figure, path)
