"""Does a saved law still hold? Refits it, and says what changed since.

Two questions, answered apart: do the rows kept in the file still give its numbers, and do the rows
that the table has now still agree with its curve? Diagnostics are compared by code and numbers.
Reads no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log
from statistics import NormalDist

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array
from fits.data.points import Points
from fits.decisions.compare import span
from fits.regression.fit import Fit
from fits.report import Observations
from fits.saved.law_file import band_of, span_of
from fits.saved.rows import NAMED, changes, observations_of, renumbered, rows_of, surplus, x_of
from fits.saved.saved_law import Evidence, SavedLaw

SAME = 1e-6  # largest relative difference of curves between machines, where digits differ
SAME_BAND = 0.01  # of the ends of the band and of the intervals, as a share of their width
CHANCE = 0.05  # below it, so many new rows outside the band are no accident
SAME_RMS = 1e-9  # of the root mean square, where the rows lie on the curve but for rounding
SAME_NUMBERS = 0.02  # of a diagnostic, relative: another machine may round otherwise
_CHOSEN = {"frontier": "on the frontier", "hull": "corners of the hull", "all": "fitted"}


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
    spec, kept, same = evidence.spec, evidence.rows, digest == evidence.table.sha256
    try:
        again = observations_of(kept, spec).fit(spec)
    except ValueError as wrong:
        return Verdict(False, (f"the rows in the file can no longer be fitted: {wrong}",))
    numbers = _reproduced(law, evidence, again)
    wrong_file = [
        *_other_fit(evidence, again, points.notes if same else None),
        *_other_span(law, evidence),
    ]
    fit_said = wrong_file or [_as_in_the_file(evidence, again)]
    other_dropped = list(_other_dropped(evidence.dropped, dropped, same))
    holds = numbers.holds and not wrong_file and not (same and other_dropped)
    said = (*numbers.found, *fit_said, *other_dropped)
    now = renumbered(rows_of(points, spec), kept, spec)
    added, changed = changes(kept, now, spec)
    if not changed:
        rows = (
            "the table is the same to the byte, and its rows are those in the file"
            if same
            else "the table has changed, but not in the rows and columns that were read"
        )
        return Verdict(holds, (*said, rows))
    if same:
        edited = "the table is the same to the byte, but the file keeps other rows:"
        return Verdict(False, (*said, edited, *changed))
    agreed = _agrees(again, evidence, now, added)
    found = (*said, "the table has changed:", *changed, *agreed.found)
    return Verdict(holds and agreed.holds, found)


def _reproduced(law: SavedLaw, evidence: Evidence, again: Fit) -> Verdict:
    """Do the rows in the file give the numbers in the file?"""
    if again.values == law.numbers and again.intervals == law.ends:
        return Verdict(True, ("the rows in the file give its values and intervals to every digit",))
    band, x = np.array(evidence.band), x_of(np.array(evidence.fitted), evidence.spec)
    now = band_of(again, x)
    if now.shape != band.shape:
        return Verdict(False, ("the band in the file is not that of its rows",))
    at = band[:, 0] if len(x) == 1 else band[:, :-3].T
    apart = float(np.abs(again.predict(at) / law.predict(at) - 1).max())
    ends, ends_now = np.log(band[:, -2:]), np.log(now[:, -2:])
    width = np.ptp(ends_now, axis=1) + SAME
    moved = float((np.abs(ends - ends_now).max(axis=1) / width).max())
    kept = float(np.abs(band[:, -3] / law.predict(at) - 1).max())
    if max(apart, kept) > SAME or moved > SAME_BAND:
        words = (
            f"the rows in the file do not give its numbers: the curve differs by {apart:.2g} of "
            f"the error, the band by {moved:.2g} of its width"
        )
        return Verdict(False, (words,))
    pairs = zip(law.curve.parameters, law.ends or (), again.intervals, strict=True)
    other = ", ".join(name for name, before, after in pairs if not _same_ends(before, after))
    if other:
        return Verdict(False, (f"the rows in the file do not give its interval of {other}",))
    words = (
        f"the rows in the file give its curve to {apart:.0e} of the error and its band to "
        f"{moved:.0e} of the width: another machine's rounding"
    )
    return Verdict(True, (words,))


def _same_ends(kept: tuple[float, float], now: tuple[float, float]) -> bool:
    """On a linear or on a logarithmic scale."""
    scales: list[tuple[Sequence[float], Sequence[float]]] = [(kept, now)]
    if min(*kept, *now) > 0:
        scales.append(([*map(log, kept)], [*map(log, now)]))
    for before, after in scales:
        width = after[1] - after[0] if isfinite(after[1] - after[0]) else abs(after[0])
        allowed = SAME_BAND * width + SAME * max(map(abs, filter(isfinite, after)), default=0)
        if all(a == b or abs(a - b) <= allowed for a, b in zip(before, after, strict=True)):
            return True
    return False


def _other_span(law: SavedLaw, evidence: Evidence) -> Iterator[str]:
    """The span in the file decides what is said to lie beyond it."""
    span = span_of(evidence.spec, x_of(np.array(evidence.fitted), evidence.spec))
    if law.span != span:
        words = (
            ", ".join(f"{name} from {low:g} to {high:g}" for name, (low, high) in each.items())
            for each in (law.span, span)
        )
        yield "the file gives the span {}; its rows give {}".format(*words)


def _other_dropped(then: Mapping[str, str], now: Mapping[str, str], same: bool) -> Iterator[str]:
    """Rows left out then and not now, or now and not then; of a table that changed, lines move."""
    file, table = ("the file says", "the table has") if same else ("then", "now")
    for why in dict.fromkeys((*then, *now)):
        before, after = then.get(why, "none"), now.get(why, "none")
        if before != after:
            yield f"rows left out, {why}: {file} {before}, {table} {after}"


def _other_fit(evidence: Evidence, again: Fit, notes: tuple[str, ...] | None) -> Iterator[str]:
    """What the file says of the fit, its warnings and its notes, and the refit does not.

    Args:
      notes: on the table as it is, if it is as it was; else None.
    """
    yield from _other_rows(evidence)
    if abs(evidence.rms - again.rms) > SAME * again.rms + SAME_RMS:
        yield (
            f"the file gives a root mean square of {_scale(evidence)} of {evidence.rms:.4g}; its "
            f"rows give {again.rms:.4g}"
        )

    def lacks(one: Diagnostic, others: Sequence[Diagnostic]) -> bool:
        return not any(one.agrees(other, SAME_NUMBERS) for other in others)

    kept, now = [each.diagnostic() for each in evidence.diagnostics], again.diagnostics
    yield from (f"the file lacks a warning of the refit: {d.words}" for d in now if lacks(d, kept))
    yield from (
        f"the file has a warning that the refit lacks: {d.words}" for d in kept if lacks(d, now)
    )
    if notes is not None:
        for note in {*notes} - {*evidence.notes}:
            yield f"the file lacks a note on the table: {note}"
        for note in {*evidence.notes} - {*notes}:
            yield f"the file has a note not made now: {note}"


def _scale(evidence: Evidence) -> str:
    return "log error" if evidence.spec.scale == "log" else "error"


def _as_in_the_file(evidence: Evidence, again: Fit) -> str:
    count = len(again.diagnostics)
    return (
        f"as in the file: {again.n} points, root mean square of {_scale(evidence)} {again.rms:.4f}"
        f", {count or 'no'} warning{'' if count == 1 else 's'}"
    )


def _other_rows(evidence: Evidence) -> Iterator[str]:
    """Which rows the file takes for fitted and the choice of points does not."""
    spec, rows, kept = evidence.spec, evidence.rows, np.array(evidence.fitted)
    fitted = rows[observations_of(rows, spec).fitted(spec)]
    where = _CHOSEN[str(spec.rows)]
    said = [f"line {int(row[0])} is not {where}" for row in surplus(kept, fitted)]
    said += [f"line {int(row[0])} is {where}" for row in surplus(fitted, kept)]
    if said:
        rest = [f"and {len(said) - NAMED} more"] if len(said) > NAMED else []
        yield (
            f"the file says that the curve goes through {len(kept)} rows, and of its rows "
            f"{len(fitted)} are {where}: {', '.join([*said[:NAMED], *rest])}"
        )


def _agrees(then: Fit, evidence: Evidence, rows: Array, added: Array) -> Verdict:
    """Do the rows there are now agree with the curve and the band of the rows there were?"""
    from scipy.special import bdtrc

    spec = evidence.spec
    runs = observations_of(rows, spec)
    try:
        now = runs.fit(spec)
    except ValueError as wrong:
        return Verdict(False, (f"the table can no longer be fitted: {wrong}",))
    band = band_of(then, x_of(np.array(evidence.fitted), spec))
    at = band[:, 0] if len(spec.x) == 1 else band[:, :-3].T
    curve = now.predict(at)
    inside = bool(((band[:, -2] <= curve) & (curve <= band[:, -1])).all())
    apart = float(np.abs(curve / then.predict(at) - 1).max())
    side = "stays inside" if inside else "leaves"
    said = f"refitted, the curve {side} the band it had; it moved by {apart:.2g} of the error"
    new = [row for row in rows[runs.fitted(spec)] if (row == added).all(axis=1).any()]
    if not new:
        return Verdict(inside, (said,))
    outside = int(_outside(then, observations_of(np.array(new), spec)).sum())
    chance = bdtrc(outside - 1, len(new), 1 - then.level)  # of so many or more
    counted = (
        f"of {len(new)} new or changed rows that are fitted, {len(new) - outside} lie inside the "
        f"{100 * then.level:g}% band it had, widened by the residual standard deviation"
    )
    return Verdict(inside and chance >= CHANCE, (said, counted))


def _outside(fit: Fit, runs: Observations) -> Array:
    """Which rows lie beyond the band, widened by the residual standard deviation, [rows]."""
    centre, (low, high) = np.log(fit.predict(runs.x)), fit.band(runs.x)
    deviation = NormalDist().inv_cdf((1 + fit.level) / 2) * fit.rms
    above = np.log(runs.error) - centre
    reach = np.where(above > 0, np.log(high) - centre, centre - np.log(low))
    return np.abs(above) > np.hypot(reach, deviation)


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
    difference = (
        f"from x = {first:g} to {last:g} the fitted curve and the paper's differ by at most "
        f"{apart[worst]:.2g} (at {x[worst]:.3g}); rounding its numbers allows {rounding[worst]:.2g}"
    )
    place = (
        f"the paper's curve, give or take the rounding, lies {side} the fit's "
        f"{100 * fit.level:g}% band"
    )
    return Verdict(bool(beyond <= 0), (difference, place))
