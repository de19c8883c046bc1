"""A FitReport for a person: one row a group, or one fit in full. No number is computed here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from fits.average.average import Average
from fits.base.counted import counted
from fits.base.diagnostic import Diagnostic
from fits.base.messages import MESSAGES, slip_in_brief
from fits.base.names import short
from fits.regression.fit import Fit
from fits.regression.holdout import Trials
from fits.report import FitReport, ForecastFit, GroupReport, Place
from fits.spec import BEST, EFFICIENT, FORECAST, SCHEDULES, FitSpec
from fits.suited import slips_among

NAMED = 3  # laws named on the line of the hold-out
SEVERITY = tuple(MESSAGES)  # the order there
WIDEST = 60  # characters of a diagnostic in a table
COUNTS = 0.01  # weight of a law that is named
_ROWS = {"all": "points", "hull": "runs, the hull", "frontier": "runs, the frontier"}


def interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """Say "0.93 [0.9, 0.97]"; an end without bound says so."""
    ends = (f"{end:.{digits}g}" if math.isfinite(end) else "no end" for end in (low, high))
    return f"{value:.{digits}g} [{', '.join(ends)}]"


def summary(report: FitReport) -> Iterator[str]:
    """One row a group: law, floor, exponent, predictions, points and the worst diagnostic."""
    spec, first = report.spec, report.groups[0]
    columns = ", ".join(first.names) or "rows"
    places = [_at(place) for place in first.at]
    head = (columns, "law", "floor", "exponent", *places, "points", "worst diagnostic")
    rows = [head, *(_row(group) for group in report.groups)]
    wide = [max(len(row[k]) for row in rows) for k in range(len(head))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, wide, strict=True)).rstrip()
    if_law = "" if spec.law in (BEST, FORECAST) else ", if the law holds"
    yield f"Intervals are nominal {100 * spec.level:g} %{if_law}."
    if any(group.average for group in report.groups):
        yield "Predictions are of the average over laws (--law best), whose intervals need no law."
    yield from notes(report.notes)


def notes(found: Iterable[Diagnostic]) -> Iterator[str]:
    """What was left out of a table, or looks odd in it."""
    yield from (f"note: {each.words}" for each in found)


def _row(group: GroupReport) -> tuple[str, ...]:
    name, fit = ", ".join(map(short, group.names.values())) or "all", group.fit
    if fit is None:
        none = [""] * len(group.at)
        return name, "no fit", "", "", *none, f"{len(group.points.error)}", worst_diagnostic(group)
    outside = fit.trunk if isinstance(fit, ForecastFit) else 0
    points = f"{fit.n - outside} of {len(group.points.error)}"
    estimates = [interval(*group.prediction(place)) for place in group.at]
    after = *estimates, points, worst_diagnostic(group)
    if not isinstance(fit, Fit):
        return name, group.spec.law, "", "", *after
    return name, fit.law.name, of_role(fit, "floor"), of_role(fit, "exponent"), *after


def of_role(fit: Fit, role: str) -> str:
    """Value and interval of the first parameter with that role; "-" where there is none."""
    for name, value, ends in zip(fit.law.parameters, fit.values, fit.intervals, strict=True):
        if fit.law.roles.get(name) == role:
            return interval(value, *ends)
    return "-"


def worst_diagnostic(group: GroupReport) -> str:
    """In a few words; "none" where nothing speaks against the fit.

    A slip in a row comes first, for it may be the cause of all others; then why there is no fit.
    """
    slips = slips_among(group.remarks)
    every = list(group.remarks)
    for source in (group.fit, group.average):
        every += source.diagnostics if source else ()
    others = sorted(
        (each for each in every if each not in slips), key=lambda each: SEVERITY.index(each.code)
    )
    said = [slip_in_brief(each.code, each.parameters, each.numbers) for each in slips]
    said += ([] if group.fit else [group.refusal]) + [each.words for each in others]
    if not said:
        return "none"
    more = f" (+{len(said) - 1})" if len(said) > 1 else ""
    return _cut(said[0]) + more


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


def _fit(group: GroupReport, fit: Fit | ForecastFit | Average) -> Iterator[str]:
    among = f"{len(group.points.error)} {_ROWS[str(group.spec.rows)]}"
    if isinstance(fit, ForecastFit):
        yield _what(group.spec)
        more = f" and {fit.trunk} of the trunk" if fit.trunk else ""
        yield (
            f"from {fit.n - fit.trunk} of {among}{more}; "
            f"{100 * fit.level:g}% intervals of one more measurement"
        )
    elif isinstance(fit, Average):
        yield f"an average over {counted(len(fit.weights), 'law')}"
        yield f"through {fit.n} of {among}; {100 * fit.level:g}% intervals of one more measurement"
        yield from average_table(fit, group.at)
    else:
        law = fit.law
        yield f"law {law.name}: {law.gives}({', '.join(law.variables)}) = {law.formula}"
        yield f"through {fit.n} of {among}; {100 * fit.level:g}% intervals, if the law holds"
        for name, column in zip(law.variables, group.spec.x, strict=True):
            if name in law.unit_decides:
                yield f"with {column} counted in another unit this law gives another curve"
        if fit.cells is not None:
            yield f"intervals from {fit.cells} means of neighbouring points (data squashing)"
        yield from terms(group.spec, group)
        for name, value, ends in zip(law.parameters, fit.values, fit.intervals, strict=True):
            said = ", ".join(filter(None, (law.roles.get(name, ""), _held(group.spec, name))))
            line = f"  {name} = {value:<10.4g} [{ends[0]:.4g}, {ends[1]:.4g}]"
            yield f"{line}   {said}".rstrip()
    if group.average is not None:
        yield "predictions are of the average over laws (--law best):"
        yield f"  {_weights(group.average)}"
    name = fit.law.gives if isinstance(fit, Fit) else "E"
    for place in group.at:
        said = "{:.4g} [{:.4g}, {:.4g}]".format(*group.prediction(place))
        yield f"  {_at(place, name)} = {said}"
    scale = "log error" if group.spec.scale == "log" else "error"
    yield f"root mean square of {scale} {fit.rms:.4f}"


def _held(spec: FitSpec, name: str) -> str:
    if name in spec.tie:
        return f"tied to {spec.tie[name]}"
    return "held" if name in spec.fix else ""


def _at(place: Place, name: str = "E") -> str:
    """Say "E(1e+06)"."""
    return f"{name}({', '.join(f'{each:g}' for each in place)})"


def _weights(found: Average) -> str:
    """Laws that count, the heaviest first."""
    heavy = sorted(found.weights.items(), key=lambda law: -law[1])
    return ", ".join(f"{name} {weight:.2f}" for name, weight in heavy if weight >= COUNTS)


def average_table(found: Average, at: Sequence[Place]) -> Iterator[str]:
    """A line a law: its weight, how it predicted the costlier runs of this table, what it predicts.

    The error of a backtest is the root mean square of log error.
    """
    wide = max(map(len, found.weights))
    tests = [f"{each.times:g}x" for each in found.backtests]
    places = [_at(place) for place in at]
    head = "".join(f"{each:>9}" for each in ("weight", *tests))
    yield f"  {'law':{wide}}{head}" + "".join(
        f"{each:>{max(11, len(each) + 2)}}" for each in places
    )
    for name, weight in sorted(found.weights.items(), key=lambda law: -law[1]):
        errors = "".join(f"{test.errors.get(name, math.nan):9.3f}" for test in found.backtests)
        values = [f"{float(found.of_law(name, place[0])):.4g}" for place in at]
        said = "".join(
            f"{value:>{max(11, len(each) + 2)}}" for value, each in zip(values, places, strict=True)
        )
        yield f"  {name:{wide}}{weight:9.3f}{errors}{said}"
    if tests:
        yield (
            f"  {tests[0]}: log error beyond 1/{found.backtests[0].times:g} of the largest x, by a "
            "fit to the runs up to there"
        )
        many = [
            f"{test}: {each.fitted} points, {each.held_out} beyond"
            for test, each in zip(tests, found.backtests, strict=True)
        ]
        yield f"  {'; '.join(many)}"


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
        yield (
            f"{counted(count, 'cluster')} of rows with correlated errors, by "
            f"{', '.join(spec.clusters)}"
        )
    threshold = f"{EFFICIENT:g} times the noise" if spec.huber == "auto" else f"{spec.huber}"
    if spec.loss == "huber":
        yield f"Huber's loss with threshold {threshold}"
    if spec.loss == "one-sided":
        yield f"Huber's loss with threshold {threshold} for points above the curve, squares below"
    if spec.loss == "quantile":
        yield f"the curve that {100 * float(spec.quantile or 0):g} % of the points lie below"
    yield from _held_terms(spec)
    if spec.scale == "linear":
        yield "errors count as differences, not as ratios"


def _held_terms(spec: FitSpec) -> Iterator[str]:
    """What is held, and what is known of its errors."""
    names = list(spec.fix)
    moved = {n for step in spec.fix_steps for n, each in zip(names, step, strict=True) if each}
    if first := [name for name in names if name in moved]:
        said = "as an earlier fit gave them: its errors are in the intervals"
        yield f"held: {', '.join(first)}, {said}"
    if exact := [name for name in names if name not in moved]:
        yield (
            f"held: {', '.join(exact)}, as if exactly known: whatever uncertainty they have is not "
            "in the intervals"
        )


def holdout_line(trials: Trials, fitted: str) -> Iterator[str]:
    """The best laws of the hold-out, and the law that was fitted."""
    score = trials.score.removeprefix("root mean square of ")
    if not trials.tried:
        yield f"hold-out of the {trials.held_out} largest: no law could be tried"
        return
    shown = trials.tried[:NAMED]
    shown += [each for each in trials.tried[NAMED:] if each[0] == fitted]
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
            f"  {counted(trials.clusters_split, 'cluster is', 'clusters are')} split along x, "
            "for too few lie below the largest: the score says how well curves are continued, not "
            "how well other runs are predicted"
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
