"""Does a saved law still hold? Refits it, and says what changed since.

Two questions, answered apart: do the rows kept in the file still give its numbers, and do the rows
that the table has now still agree with its curve? Diagnostics and notes are compared by code and
numbers, and what is found are such Diagnostics, worded elsewhere. Reads no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isfinite, log
from statistics import NormalDist

import numpy as np

from fits.average.average import Average
from fits.base.diagnostic import Diagnostic, Numbers
from fits.base.numbers import Array, Mask
from fits.data.points import Points
from fits.data.selection import Why
from fits.decisions.compare import span
from fits.observations import Observations
from fits.regression.fit import Fit
from fits.saved.law_file import band_of, span_of
from fits.saved.rows import changes, observations_of, renumbered, rows_of, surplus, x_of
from fits.saved.saved_law import Dropped, Evidence, SavedLaw
from fits.spec import BEST, FitSpec

SAME = 1e-6  # largest relative difference of curves between machines, where digits differ
SAME_BAND = 0.01  # of the ends of the band and of the intervals, as a share of their width
CHANCE = 0.05  # below it, so many new rows outside the band are no accident
SAME_RMS = 1e-9  # of the root mean square, where the rows lie on the curve but for rounding
SAME_AVERAGE = 0.02  # of an average's band, as a share of its width, and of its weights: it is of
# draws, and another machine's rounding may keep others of them
SAME_NUMBERS = 0.02  # of a diagnostic, relative: another machine may round otherwise


@dataclass(frozen=True)
class Verdict:
    """Whether a law holds, and all that was found.

    Fields:
      refusal: why there is no fit, where the last that was found is that.
    """

    holds: bool
    found: tuple[Diagnostic, ...]
    refusal: str | None = None


def refit(law: SavedLaw, points: Points, digest: str, dropped: Dropped) -> Verdict:
    """Of a law that was fitted here, against the table it was fitted to as it is now.

    Args:
      points: the rows that the table has now.
      digest: sha256 of the table's bytes.
      dropped: lines of its rows that are no points.
    """
    evidence = law.evidence
    assert evidence is not None
    spec, kept, same = evidence.spec, evidence.rows, digest == evidence.table.sha256
    try:
        again = fitted(observations_of(kept, spec), spec)
    except ValueError as wrong:
        return Verdict(False, (Diagnostic("rows_not_fitted"),), str(wrong))
    numbers = (
        reproduced(law, evidence, again)
        if isinstance(again, Fit)
        else _average_reproduced(law, evidence, again)
    )
    wrong_file = [*_other_fit(evidence, again), *_other_span(law, evidence)]
    if same:
        wrong_file += _other_notes(evidence, points.notes)
    fit_said = wrong_file or [_as_in_the_file(evidence, again)]
    other_dropped = list(_other_dropped(evidence.dropped, dropped, same))
    holds = numbers.holds and not wrong_file and not (same and other_dropped)
    said = (*numbers.found, *fit_said, *other_dropped)
    now = renumbered(rows_of(points, spec), kept, spec)
    added, changed = changes(kept, now, spec)
    if not changed:
        rows = Diagnostic("table_same" if same else "table_same_elsewhere")
        return Verdict(holds, (*said, rows))
    if same:
        return Verdict(False, (*said, Diagnostic("file_keeps_other_rows"), *changed))
    agreed = _agrees(again, evidence, now, added)
    found = (*said, Diagnostic("table_changed"), *changed, *agreed.found)
    return Verdict(holds and agreed.holds, found, agreed.refusal)


def fitted(runs: Observations, spec: FitSpec) -> Fit | Average:
    """Raises ValueError where there can be no fit."""
    return runs.average(spec) if spec.law == BEST else runs.fit(spec)


def _average_reproduced(law: SavedLaw, evidence: Evidence, again: Average) -> Verdict:
    """Do the rows in the file give its weights and its band?"""
    band = np.array(evidence.band)
    now = band_of(again, x_of(np.array(evidence.fitted), evidence.spec))
    if again.weights == law.values and np.array_equal(band, now):
        return Verdict(True, (Diagnostic("average_same"),))
    if now.shape != band.shape:
        return Verdict(False, (Diagnostic("band_shape_differs"),))
    width = np.log(now[:, 3] / now[:, 2])
    moved = float((np.abs(np.log(band[:, 1:] / now[:, 1:])).max(axis=1) / width).max())
    names = {*again.weights, *law.values}
    weights = max(abs(again.weights.get(name, 0) - law.values.get(name, 0)) for name in names)
    numbers = {"band": moved, "weights": weights}
    same = moved <= SAME_AVERAGE and weights <= SAME_AVERAGE
    code = "average_rounded" if same else "average_differs"
    return Verdict(same, (Diagnostic(code, numbers=numbers),))


def reproduced(law: SavedLaw, evidence: Evidence, again: Fit) -> Verdict:
    """Do the rows in the file give the numbers in the file?"""
    if again.values == law.numbers and again.intervals == law.ends:
        return Verdict(True, (Diagnostic("values_same"),))
    band, x = np.array(evidence.band), x_of(np.array(evidence.fitted), evidence.spec)
    now = band_of(again, x)
    if now.shape != band.shape:
        return Verdict(False, (Diagnostic("band_shape_differs"),))
    at = band[:, 0] if len(x) == 1 else band[:, :-3].T
    apart = float(np.abs(again.predict(at) / law.curve_at(at) - 1).max())
    ends, ends_now = np.log(band[:, -2:]), np.log(now[:, -2:])
    width = np.ptp(ends_now, axis=1) + SAME
    moved = float((np.abs(ends - ends_now).max(axis=1) / width).max())
    kept = float(np.abs(band[:, -3] / law.curve_at(at) - 1).max())
    numbers = {"curve": apart, "band": moved, "curve_in_file": kept}
    if max(apart, kept) > SAME or moved > SAME_BAND:
        return Verdict(False, (Diagnostic("values_differ", numbers=numbers),))
    pairs = zip(law.curve.parameters, law.ends or (), again.intervals, strict=True)
    other = tuple(
        Diagnostic("interval_differs", (name,), {"file": before, "refit": after})
        for name, before, after in pairs
        if not _same_ends(before, after)
    )
    return Verdict(not other, other or (Diagnostic("values_rounded", numbers=numbers),))


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


def _other_span(law: SavedLaw, evidence: Evidence) -> Iterator[Diagnostic]:
    """The span in the file decides what is said to lie beyond it."""
    span = span_of(evidence.spec, x_of(np.array(evidence.fitted), evidence.spec))
    if law.span != span:
        file, refit = (tuple(chain(*each.values())) for each in (law.span, span))
        yield Diagnostic("span_differs", (*law.span, *span), {"file": file, "refit": refit})


def _other_dropped(then: Dropped, now: Dropped, same: bool) -> Iterator[Diagnostic]:
    """Rows left out then and not now, or now and not then; of a table that changed, lines move."""
    whys: list[Why] = [*dict.fromkeys((*then, *now))]
    for why in whys:
        before, after = then.get(why, {}), now.get(why, {})
        for name in dict.fromkeys((*before, *after)):
            file, table = (tuple(chain(*each.get(name, []))) for each in (before, after))
            if file != table:
                numbers: Numbers = {"file": file, "table": table, "same": float(same)}
                yield Diagnostic("left_out_differs", (why, name), numbers)


def _other_fit(evidence: Evidence, again: Fit | Average) -> Iterator[Diagnostic]:
    """What the file says of the fit, and the refit does not."""
    yield from _other_rows(evidence)
    if abs(evidence.rms - again.rms) > SAME * again.rms + SAME_RMS:
        numbers = {"file": evidence.rms, "refit": again.rms, "log": _is_log(evidence)}
        yield Diagnostic("rms_differs", numbers=numbers)
    kept = [each.diagnostic() for each in evidence.diagnostics]
    yield from _lacking("diagnostic_missing", again.diagnostics, kept, SAME_NUMBERS)
    yield from _lacking("diagnostic_not_found", kept, again.diagnostics, SAME_NUMBERS)


def _other_notes(evidence: Evidence, now: Sequence[Diagnostic]) -> Iterator[Diagnostic]:
    """Of a table that is as it was. What a note says was counted, and is the same to the digit."""
    kept = [each.diagnostic() for each in evidence.notes]
    yield from _lacking("note_missing", now, kept, 0.0)
    yield from _lacking("note_not_found", kept, now, 0.0)


def _lacking(
    code: str, some: Sequence[Diagnostic], others: Sequence[Diagnostic], tolerance: float
) -> Iterator[Diagnostic]:
    """Those with which none of the others agrees."""
    for each in some:
        if not any(each.agrees(other, tolerance) for other in others):
            yield Diagnostic(code, (each.code, *each.parameters), each.numbers)


def _is_log(evidence: Evidence) -> float:
    return float(evidence.spec.scale == "log")


def _as_in_the_file(evidence: Evidence, again: Fit | Average) -> Diagnostic:
    numbers = {"n": again.n, "rms": again.rms, "log": _is_log(evidence)}
    numbers["diagnostics"] = len(again.diagnostics)
    return Diagnostic("as_in_file", numbers=numbers)


def _other_rows(evidence: Evidence) -> Iterator[Diagnostic]:
    """Which rows the file takes for fitted and the choice of points does not."""
    spec, rows, kept = evidence.spec, evidence.rows, np.array(evidence.fitted)
    fitted = rows[observations_of(rows, spec).fitted(spec)]
    alone = {
        name: tuple(float(row[0]) for row in surplus(*each))
        for name, each in (("file_alone", (kept, fitted)), ("refit_alone", (fitted, kept)))
    }
    if any(alone.values()):
        numbers: Numbers = {"file": len(kept), "refit": len(fitted), **alone}
        yield Diagnostic("points_differ", (str(spec.rows),), numbers)


def _agrees(then: Fit | Average, evidence: Evidence, rows: Array, added: Array) -> Verdict:
    """Do the rows there are now agree with the curve and the band of the rows there were?"""
    from scipy.special import bdtrc

    spec = evidence.spec
    runs = observations_of(rows, spec)
    try:
        now = fitted(runs, spec)
    except ValueError as wrong:
        return Verdict(False, (Diagnostic("table_not_fitted"),), str(wrong))
    band = band_of(then, x_of(np.array(evidence.fitted), spec))
    at = band[:, 0] if len(spec.x) == 1 else band[:, :-3].T
    curve = now.predict(at)
    inside = bool(((band[:, -2] <= curve) & (curve <= band[:, -1])).all())
    apart = float(np.abs(curve / then.predict(at) - 1).max())
    side = "curve_inside_band" if inside else "curve_outside_band"
    moved = Diagnostic(side, numbers={"moved": apart})
    new = [row for row in rows[runs.fitted(spec)] if (row == added).all(axis=1).any()]
    if not new:
        return Verdict(inside, (moved,))
    outside = int(_outside(then, observations_of(np.array(new), spec)).sum())
    chance = float(bdtrc(outside - 1, len(new), 1 - then.level))  # of so many or more
    agree = chance >= CHANCE
    numbers = {"n": len(new), "outside": outside, "chance": chance, "level": then.level}
    numbers["widened"] = float(isinstance(then, Fit))
    counted = Diagnostic("new_rows_agree" if agree else "new_rows_disagree", numbers=numbers)
    return Verdict(inside and agree, (moved, counted))


def _outside(fit: Fit | Average, runs: Observations) -> Mask:
    """Which rows lie beyond the band, widened by the residual standard deviation, [rows].

    The band of an average is of one more measurement as it is.
    """
    if isinstance(fit, Average):
        low, high = fit.band(runs.x)
        return (runs.error < low) | (runs.error > high)
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
        return Verdict(False, (Diagnostic("paper_no_common_range"),))
    x = np.geomspace(first, last, 200)
    given, (low, high) = law.predict(x), fit.band(x)
    apart, rounding = np.abs(fit.predict(x) - given), law.rounding(x)
    worst = int(apart.argmax())
    beyond = float(np.maximum(given - rounding - high, low - given - rounding).max())
    numbers = {"first": first, "last": last, "at": float(x[worst])}
    numbers |= {"apart": float(apart[worst]), "rounding": float(rounding[worst])}
    inside = beyond <= 0
    side = "paper_inside_band" if inside else "paper_outside_band"
    place = Diagnostic(side, numbers={"beyond": beyond, "level": fit.level})
    return Verdict(inside, (Diagnostic("paper_differs", numbers=numbers), place))
