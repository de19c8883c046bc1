"""Does a saved law still hold? Refits it, and says what changed since.

Two questions, answered apart: do the rows kept in the file still give its numbers, and do the rows
that the table has now still agree with its curve? Diagnostics are compared by code and numbers.
Reads no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb, isfinite, log
from statistics import NormalDist

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array
from fits.data.points import Points
from fits.decisions.compare import span
from fits.regression.fit import Fit
from fits.report import Observations
from fits.saved.law_file import band_of, observations_of, rows_of, span_of
from fits.saved.saved_law import Evidence, SavedLaw
from fits.spec import FitSpec

SAME = 1e-6  # largest relative difference of curves between machines, where digits differ
SAME_BAND = 0.01  # of the ends of the band and of the intervals, as a share of their width
CHANCE = 0.05  # below it, so many new rows outside the band are no accident
SAME_RMS = 1e-9  # of the root mean square, where the rows lie on the curve but for rounding
SAME_NUMBERS = 0.02  # of a diagnostic, relative: another machine may round otherwise
NAMED = 5  # rows of a kind that are spelled out


@dataclass(frozen=True)
class Verdict:
    """Whether a law holds, and all that was found, a sentence each."""

    holds: bool
    found: tuple[str, ...]


def refit(law: SavedLaw, points: Points, digest: str, dropped: Mapping[str, str]) -> Verdict:
    """Of a law that was fitted here, against the table it was fitted to as it is now.

    Args:
      points: the rows that the table has now.
      digest: sha256 of the table's bytes.
      dropped: why -> lines of its rows that are no points.
    """
    evidence = law.evidence
    assert evidence is not None
    spec = evidence.spec.spec()
    kept = evidence.rows
    try:
        again = observations_of(kept, spec).fit(spec)
    except ValueError as wrong:
        return Verdict(False, (f"the rows in the file can no longer be fitted: {wrong}",))
    reproduced = _both(
        _reproduced(law, evidence, again),
        _says_the_same(
            evidence, again, kept, points.notes if digest == evidence.table.sha256 else None
        ),
        _spans_the_same(law, evidence),
        _dropped_the_same(evidence.dropped, dropped, digest == evidence.table.sha256),
    )
    now = _renumbered(rows_of(points, spec), kept, spec)
    changes = _changes(kept, now, spec)
    if digest == evidence.table.sha256 and not changes.found:
        same = "the table is the same to the byte, and its rows are those in the file"
        return Verdict(reproduced.holds, (*reproduced.found, same))
    if not changes.found:
        same = "the table has changed, but not in the rows and columns that were read"
        return Verdict(reproduced.holds, (*reproduced.found, same))
    if digest == evidence.table.sha256:
        edited = "the table is the same to the byte, but the file keeps other rows:"
        return Verdict(False, (*reproduced.found, edited, *changes.found))
    agreed = _agrees(again, evidence, now, changes.added)
    said = (*reproduced.found, "the table has changed:", *changes.found, *agreed.found)
    return Verdict(reproduced.holds and agreed.holds, said)


def _reproduced(law: SavedLaw, evidence: Evidence, again: Fit) -> Verdict:
    """Do the rows in the file give the numbers in the file?"""
    if again.values == law.numbers and again.intervals == law.ends:
        return Verdict(True, ("the rows in the file give its values and intervals to every digit",))
    band, fitted = np.array(evidence.band), np.array(evidence.fitted)
    x = band[:, :-3].T
    at = x[0] if len(x) == 1 else x
    apart = float(np.abs(again.predict(at) / law.predict(at) - 1).max())
    now = band_of(again, fitted[:, 1 : 1 + len(x)].T)
    if now.shape != band.shape:
        return Verdict(False, ("the band in the file is not that of its rows",))
    ends, ends_now = np.log(band[:, -2:]), np.log(now[:, -2:])
    width = np.ptp(ends_now, axis=1) + SAME
    moved = float((np.abs(ends - ends_now).max(axis=1) / width).max())
    kept = float(np.abs(band[:, -3] / law.predict(at) - 1).max())
    close = max(apart, kept) <= SAME and moved <= SAME_BAND
    other = _other_intervals(law, again)
    if close and other:
        return Verdict(False, (f"the rows in the file do not give its interval of {other}",))
    if close:
        return Verdict(
            True,
            (
                f"the rows in the file give its curve to {apart:.0e} of the error and its band to "
                f"{moved:.0e} of the width: another machine's rounding",
            ),
        )
    return Verdict(
        False,
        (
            f"the rows in the file do not give its numbers: the curve differs by {apart:.2g} of "
            f"the error, the band by {moved:.2g} of its width",
        ),
    )


def _both(*each: Verdict) -> Verdict:
    return Verdict(
        all(one.holds for one in each), tuple(said for one in each for said in one.found)
    )


def _spans_the_same(law: SavedLaw, evidence: Evidence) -> Verdict:
    """Is the span in the file that of its rows? It decides what is said to lie beyond."""
    spec = evidence.spec.spec()
    span = span_of(spec, np.array(evidence.fitted)[:, 1 : 1 + len(spec.x)].T)
    if law.span == span:
        return Verdict(True, ())
    words = (
        ", ".join(f"{name} from {low:g} to {high:g}" for name, (low, high) in each.items())
        for each in (law.span, span)
    )
    return Verdict(False, ("the file gives the span {}; its rows give {}".format(*words),))


def _dropped_the_same(then: Mapping[str, str], now: Mapping[str, str], same: bool) -> Verdict:
    """Are the rows left out those that the table, where it is the same, has left out?

    Of a table that has changed it is said, and held against nobody: lines move.
    """
    other = [why for why in dict.fromkeys((*then, *now)) if then.get(why) != now.get(why)]
    file, table = ("the file says", "the table has") if same else ("then", "now")
    return Verdict(
        not (same and other),
        tuple(
            f"rows left out, {why}: {file} {then.get(why, 'none')}, {table} {now.get(why, 'none')}"
            for why in other
        ),
    )


def _says_the_same(
    evidence: Evidence, again: Fit, kept: Array, notes: tuple[str, ...] | None
) -> Verdict:
    """Are rows fitted, root mean square and warnings in the file those of the refit?

    Args:
      kept: all the rows in the file.
      notes: on the table as it is, if it is as it was; else None.
    """
    spec = evidence.spec.spec()
    found = _other_rows(evidence, kept[observations_of(kept, spec).fitted(spec)])
    scale = "log error" if spec.scale == "log" else "error"
    if abs(evidence.rms - again.rms) > SAME * again.rms + SAME_RMS:
        found.append(
            f"the file gives a root mean square of {scale} of {evidence.rms:.4g}; its rows give "
            f"{again.rms:.4g}"
        )
    kept_diagnostics = [each.diagnostic() for each in evidence.diagnostics]
    found += _other_diagnostics(kept_diagnostics, again.diagnostics)
    if notes is not None:
        found += [
            f"the file lacks a note on the table: {n}" for n in set(notes) - {*evidence.notes}
        ]
        found += [f"the file has a note not made now: {n}" for n in set(evidence.notes) - {*notes}]
    if found:
        return Verdict(False, tuple(found))
    count = len(again.diagnostics)
    warnings = f"{count or 'no'} warning{'' if count == 1 else 's'}"
    return Verdict(
        True,
        (
            f"as in the file: {again.n} points, root mean square of {scale} {again.rms:.4f}, "
            f"{warnings}",
        ),
    )


def _other_rows(evidence: Evidence, fitted: Array) -> list[str]:
    """In words, which rows the file takes for fitted and the choice of points does not."""
    choices = {"frontier": "on the frontier", "hull": "corners of the hull", "all": "fitted"}
    where, count = choices[evidence.spec.rows], len(evidence.fitted)
    kept = np.array(evidence.fitted)
    more, less = _surplus(kept, fitted), _surplus(fitted, kept)
    if not more and not less:
        return []
    said = [f"line {int(row[0])} is not {where}" for row in more]
    said += [f"line {int(row[0])} is {where}" for row in less]
    rest = [f"and {len(said) - NAMED} more"] if len(said) > NAMED else []
    return [
        f"the file says that the curve goes through {count} rows, and of its rows {len(fitted)} "
        f"are {where}: {', '.join([*said[:NAMED], *rest])}"
    ]


def _other_diagnostics(kept: Sequence[Diagnostic], now: Sequence[Diagnostic]) -> list[str]:
    """In words, which diagnostics one has and the other lacks, by code and numbers."""

    def lacks(one: Diagnostic, others: Sequence[Diagnostic]) -> bool:
        return not any(one.agrees(other, SAME_NUMBERS) for other in others)

    return [
        *(f"the file lacks a warning of the refit: {d.words}" for d in now if lacks(d, kept)),
        *(f"the file has a warning that the refit lacks: {d.words}" for d in kept if lacks(d, now)),
    ]


def _renumbered(now: Array, kept: Array, spec: FitSpec) -> Array:
    """The rows there are now, their groups numbered as in the file, new ones beyond.

    A number says which rows belong together and nothing else, and a row added at the top of a
    table moves them all. A group is the one in the file with which it has most rows in common.
    """
    if not spec.clusters:
        return now
    group_of: dict[tuple[float, ...], int] = {
        tuple(row[1:-1].tolist()): int(row[-1]) for row in kept
    }
    shared = Counter(
        (int(row[-1]), group_of[known])
        for row in now
        if (known := tuple(row[1:-1].tolist())) in group_of
    )
    number: dict[int, int] = {}
    for (mine, theirs), _ in shared.most_common():
        if mine not in number and theirs not in number.values():
            number[mine] = theirs
    beyond = int(kept[:, -1].max()) + 1
    for mine in dict.fromkeys(now[:, -1].astype(int).tolist()):
        if mine not in number:
            number[mine], beyond = beyond, beyond + 1
    again = now.copy()
    again[:, -1] = [number[int(mine)] for mine in now[:, -1]]
    return again


def _other_intervals(law: SavedLaw, again: Fit) -> str:
    """Names of the parameters whose intervals differ, on a linear and on a logarithmic scale."""
    pairs = zip(law.curve.parameters, law.ends or (), again.intervals, strict=True)
    return ", ".join(name for name, kept, now in pairs if not _same_ends(kept, now))


def _same_ends(kept: tuple[float, float], now: tuple[float, float]) -> bool:
    scales: list[tuple[Sequence[float], Sequence[float]]] = [(kept, now)]
    if min(*kept, *now) > 0:
        scales.append(([*map(log, kept)], [*map(log, now)]))
    for before, after in scales:
        width = after[1] - after[0] if isfinite(after[1] - after[0]) else abs(after[0])
        allowed = SAME_BAND * width + SAME * max(map(abs, filter(isfinite, after)), default=0)
        if all(a == b or abs(a - b) <= allowed for a, b in zip(before, after, strict=True)):
            return True
    return False


@dataclass(frozen=True, eq=False)
class _Changes:
    """Rows that the table has now and had not, [rows, columns]; all changes in words."""

    added: Array
    found: tuple[str, ...]


def _changes(before: Array, now: Array, spec: FitSpec) -> _Changes:
    """Rows are told by their numbers, wherever they stand; those of the same x belong together."""
    lost = _surplus(before, now)
    new = _surplus(now, before)
    at, y_at = slice(1, 1 + len(spec.x)), 1 + len(spec.x)
    pairs = []
    for row in list(lost):
        twin = next((other for other in new if (other[at] == row[at]).all()), None)
        if twin is not None:
            pairs.append((row, twin))
            lost = [each for each in lost if each is not row]
            new = [each for each in new if each is not twin]
    x, y = ", ".join(spec.x), spec.y

    def said(row: Array) -> str:
        return f"line {int(row[0])}: {x} {_listed(row[at])}, {y} {row[y_at]:g}"

    changed = [f"{said(now)}; was {_listed(then[y_at:])}" for then, now in pairs]
    found = (
        *_named("changed", changed),
        *_named("new", [said(row) for row in new]),
        *_named("gone", [f"then {said(row)}" for row in lost]),
    )
    added = [*new, *(twin for _, twin in pairs)]
    return _Changes(np.array(added).reshape(-1, now.shape[1]), found)


def _surplus(rows: Array, others: Array) -> list[Array]:
    """Those that the others do not have, or have less often."""
    there = Counter(map(tuple, others[:, 1:].tolist()))
    more = []
    for row in rows:
        numbers = tuple(row[1:].tolist())
        if there[numbers]:
            there[numbers] -= 1
        else:
            more.append(row)
    return more


def _listed(numbers: Array) -> str:
    return ", ".join(f"{each:g}" for each in numbers)


def _named(kind: str, rows: Sequence[str]) -> list[str]:
    if not rows:
        return []
    rest = [f"... and {len(rows) - NAMED} more"] if len(rows) > NAMED else []
    return [f"  {len(rows)} rows {kind}:", *(f"    {row}" for row in [*rows[:NAMED], *rest])]


def _agrees(then: Fit, evidence: Evidence, rows: Array, added: Array) -> Verdict:
    """Do the rows there are now agree with the curve and the band of the rows there were?"""
    spec = evidence.spec.spec()
    runs = observations_of(rows, spec)
    try:
        now = runs.fit(spec)
    except ValueError as wrong:
        return Verdict(False, (f"the table can no longer be fitted: {wrong}",))
    variables = len(spec.x)
    band = band_of(then, np.array(evidence.fitted)[:, 1 : 1 + variables].T)
    at = band[:, 0] if variables == 1 else band[:, :-3].T
    curve = now.predict(at)
    inside = bool(((band[:, -2] <= curve) & (curve <= band[:, -1])).all())
    apart = float(np.abs(curve / then.predict(at) - 1).max())
    side = "stays inside" if inside else "leaves"
    said = [f"refitted, the curve {side} the band it had; it moved by {apart:.2g} of the error"]
    new = [row for row in rows[runs.fitted(spec)] if (row == added).all(axis=1).any()]
    if not new:
        return Verdict(inside, tuple(said))
    outside = int(_outside(then, observations_of(np.array(new), spec)).sum())
    surprise = _at_least(outside, len(new), 1 - then.level)
    said.append(
        f"of {len(new)} new or changed rows that are fitted, {len(new) - outside} lie inside the "
        f"{100 * then.level:g}% band it had, widened by the residual standard deviation"
    )
    return Verdict(inside and surprise >= CHANCE, tuple(said))


def _outside(fit: Fit, runs: Observations) -> Array:
    """Which rows lie beyond the band, widened by the residual standard deviation, [rows]."""
    centre, (low, high) = np.log(fit.predict(runs.x)), fit.band(runs.x)
    deviation = NormalDist().inv_cdf((1 + fit.level) / 2) * fit.rms
    above = np.log(runs.error) - centre
    reach = np.where(above > 0, np.log(high) - centre, centre - np.log(low))
    return np.abs(above) > np.hypot(reach, deviation)


def _at_least(k: int, n: int, chance: float) -> float:
    """Probability of k or more of n, each by this chance."""
    return sum(comb(n, j) * chance**j * (1 - chance) ** (n - j) for j in range(k, n + 1))


def beside(law: SavedLaw, fit: Fit) -> Verdict:
    """Of a paper's law, against a fit to somebody's rows, where both have points."""
    ((first, last),) = law.span.values()
    first, last = max(first, span(fit)[0]), min(last, span(fit)[1])
    if first >= last:
        return Verdict(False, ("the table's x and the paper's have no stretch in common",))
    x = np.geomspace(first, last, 200)
    given, (low, high) = law.predict(x), fit.band(x)
    apart, rounding = np.abs(fit.predict(x) - given), law.rounding(x)
    worst = int(apart.argmax())
    beyond = np.maximum(given - rounding - high, low - given - rounding).max()
    side = "inside" if beyond <= 0 else f"up to {beyond:.2g} outside"
    return Verdict(
        bool(beyond <= 0),
        (
            f"from x = {first:g} to {last:g} the fitted curve and the paper's differ by at most "
            f"{apart[worst]:.2g} (at {x[worst]:.3g}); rounding its numbers allows "
            f"{rounding[worst]:.2g}",
            f"the paper's curve, give or take the rounding, lies {side} the fit's "
            f"{100 * fit.level:g}% band",
        ),
    )
