"""A FitReport for a person: one row a group, or one fit in full. No number is computed here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from fits.base.diagnostic import Diagnostic
from fits.base.messages import MESSAGES
from fits.base.names import short
from fits.regression.fit import Fit
from fits.regression.holdout import Trials
from fits.report import FitReport, ForecastFit, GroupReport
from fits.spec import EFFICIENT, SCHEDULES, FitSpec

BEST = 3  # laws named on the line of the hold-out
SEVERITY = tuple(MESSAGES)  # the order there
WIDEST = 60  # characters of a diagnostic in a table
_ROWS = {"all": "points", "hull": "runs, the hull", "frontier": "runs, the frontier"}


def interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """Say "0.93 [0.9, 0.97]"; an end without bound says so."""
    ends = (f"{end:.{digits}g}" if math.isfinite(end) else "no end" for end in (low, high))
    return f"{value:.{digits}g} [{', '.join(ends)}]"


def summary(report: FitReport) -> Iterator[str]:
    """One row a group: law, floor, exponent, points and the worst diagnostic."""
    spec = report.spec
    columns = ", ".join(report.groups[0].names) or "rows"
    head = (columns, "law", "floor", "exponent", "points", "worst diagnostic")
    rows = [head, *(_row(group) for group in report.groups)]
    wide = [max(len(row[k]) for row in rows) for k in range(len(head))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, wide, strict=True)).rstrip()
    yield f"Intervals are nominal {100 * spec.level:g} %."
    yield from notes(report.notes)


def notes(found: Iterable[Diagnostic]) -> Iterator[str]:
    """What was left out of a table, or looks odd in it."""
    yield from (f"note: {each.words}" for each in found)


def _row(group: GroupReport) -> tuple[str, ...]:
    name, fit = ", ".join(map(short, group.names.values())) or "all", group.fit
    if fit is None:
        return name, "no fit", "", "", f"{len(group.points.error)}", _cut(group.refusal)
    outside = fit.trunk if isinstance(fit, ForecastFit) else 0
    points = f"{fit.n - outside} of {len(group.points.error)}"
    worst = worst_diagnostic(group)
    if isinstance(fit, ForecastFit):
        return name, "forecast", "", "", points, worst
    return name, fit.law.name, of_role(fit, "floor"), of_role(fit, "exponent"), points, worst


def of_role(fit: Fit, role: str) -> str:
    """Value and interval of the first parameter with that role; "-" where there is none."""
    for name, value, ends in zip(fit.law.parameters, fit.values, fit.intervals, strict=True):
        if fit.law.roles.get(name) == role:
            return interval(value, *ends)
    return "-"


def worst_diagnostic(group: GroupReport) -> str:
    """In a few words; "none" where nothing speaks against the fit."""
    every = group.fit.diagnostics if group.fit else ()
    found = sorted(every, key=lambda each: SEVERITY.index(each.code))
    if not found:
        return "none"
    more = f" (+{len(found) - 1})" if len(found) > 1 else ""
    return _cut(found[0].words) + more


def _cut(words: str) -> str:
    return words if len(words) <= WIDEST else words[: WIDEST - 3].rstrip() + "..."


def in_full(group: GroupReport, *, holdout: bool) -> Iterator[str]:
    """One fit with all that speaks against it.

    Args:
      holdout: the whole table of held-out errors, not its line.
    """
    if group.fit is not None:
        yield from _fit(group, group.fit)
    if group.holdout is not None:
        told = holdout_table if holdout else holdout_line
        yield from told(group.holdout, group.spec.law)
    yield from notes(group.points.notes)
    if group.fit is None:
        yield f"warning: no fit: {group.refusal}"
    for each in group.diagnostics:
        yield f"warning: {each.words}"


def _fit(group: GroupReport, fit: Fit | ForecastFit) -> Iterator[str]:
    among = f"{len(group.points.error)} {_ROWS[str(group.spec.rows)]}"
    if isinstance(fit, ForecastFit):
        yield _what(group.spec)
        more = f" and {fit.trunk} of the trunk" if fit.trunk else ""
        yield (
            f"from {fit.n - fit.trunk} of {among}{more}; "
            f"{100 * fit.level:g}% intervals of one more measurement"
        )
    else:
        law = fit.law
        yield f"law {law.name}: E({', '.join(law.variables)}) = {law.formula}"
        yield f"through {fit.n} of {among}; {100 * fit.level:g}% intervals"
        yield from terms(group.spec, group)
        for name, value, ends in zip(law.parameters, fit.values, fit.intervals, strict=True):
            role = law.roles.get(name, "")
            line = f"  {name} = {value:<10.4g} [{ends[0]:.4g}, {ends[1]:.4g}]"
            yield f"{line}   {role}".rstrip()
    for place in group.at:
        at = ", ".join(f"{each:g}" for each in place)
        yield "  E({}) = {:.4g} [{:.4g}, {:.4g}]".format(at, *group.prediction(place))
    scale = "log error" if group.spec.scale == "log" else "error"
    yield f"root mean square of {scale} {fit.rms:.4f}"


def _what(spec: FitSpec) -> str:
    if spec.rate is None:
        return "forecast: an average over laws of many shapes, weighed by how each predicted"
    told = f"forecast: law with annealing, learning rate {spec.rate.schedule}"
    if spec.rate.schedule in SCHEDULES[2:]:
        return f"{told}, of runs at the end of a cooldown over {spec.rate.cooldown:g} of each"
    return f"{told} until {spec.rate.until:g}"


def terms(spec: FitSpec, group: GroupReport) -> Iterator[str]:
    """What the fit used, but for what is always so unless the spec says otherwise."""
    if spec.weights:
        yield f"weights: column {spec.weights}"
    if spec.clusters:
        count = len(set(group.observations.clusters.tolist()))  # type: ignore[union-attr]
        yield f"{count} clusters of rows with correlated errors, by {', '.join(spec.clusters)}"
    if spec.loss == "huber":
        threshold = f"{EFFICIENT:g} times the noise" if spec.huber == "auto" else f"{spec.huber:g}"
        yield f"Huber's loss with threshold {threshold}"
    if spec.scale == "linear":
        yield "errors count as differences, not as ratios"


def holdout_line(trials: Trials, fitted: str) -> Iterator[str]:
    """The best laws of the hold-out, and the law that was fitted."""
    score = trials.score.removeprefix("root mean square of ")
    if not trials.tried:
        yield f"hold-out of the {trials.held_out} largest: no law could be tried"
        return
    shown = trials.tried[:BEST]
    shown += [each for each in trials.tried[BEST:] if each[0] == fitted]
    errors = ", ".join(f"{name} {error:.3g}" for name, error in shown)
    yield f"hold-out of the {trials.held_out} largest, {score}: {errors}"


def holdout_table(trials: Trials, fitted: str) -> Iterator[str]:
    """A line a law that could be tried, and why the others could not."""
    score = trials.score.removeprefix("root mean square of ")
    far = f", up to {trials.times_larger:.3g} times larger" if trials.times_larger > 1 else ""
    yield (
        f"hold-out: fitted to the {trials.fitted} smallest points, scored on the "
        f"{trials.held_out} largest{far}"
    )
    if trials.tried:
        wide, high = max(len(name) for name, _ in trials.tried), max(len(score), 7)
        yield f"  {'law':{wide}}  {score:>{high}}"
        for name, error in trials.tried:
            marks = [w for w, law in (("best", trials.best), ("fitted", fitted)) if law == name]
            yield f"  {name:{wide}}  {error:{high}.3g}  {', '.join(marks)}".rstrip()
    yield from _refusals(trials)
    if trials.left_out:
        yield (
            f"  clusters are kept whole: {trials.left_out} smaller points of those that reach "
            "among the largest are neither fitted nor scored"
        )
    if trials.clusters_split:
        yield (
            f"  {trials.clusters_split} clusters are split along x, for too few lie below the "
            "largest: the score says how well curves are continued, not how well other runs are "
            "predicted"
        )


def _refusals(trials: Trials) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for row in trials.trials:
        if row.error is None:
            reason = "too few points" if row.few else row.refusal
            reasons.setdefault(reason, []).append(row.law.name)
    for reason, names in reasons.items():
        yield f"  not tried, {reason}: {', '.join(names)}"


def report_lines(report: FitReport, *, details: bool = False) -> Iterator[str]:
    """One fit in full, or a table of several; with details, every fit in full."""
    spec = report.spec
    yield f"{report.table}: {spec.error_name} against {', '.join(spec.x)}"
    if len(report.groups) > 1 and not details:
        yield ""
        yield from summary(report)
        return
    for group in report.groups:
        yield f"\n{group.title or 'all rows'}"
        yield from (f"  {line}" for line in in_full(group, holdout=details))


def warnings_of(groups: Iterable[GroupReport]) -> Iterator[str]:
    """For standard error, where the report itself goes elsewhere."""
    for group in groups:
        where = f"{group.title}: " if group.title else ""
        said = [each.words for each in (*group.points.notes, *group.diagnostics)]
        for words in said if group.fit else [*said, f"no fit: {group.refusal}"]:
            yield where + words
