"""A fitted law as a file: the numbers and what they rest on, for people and for `fit-laws check`.

A file holds one law. Those that a paper printed have no rows and no table behind them, but a source
and the unit of their last digit. What is read back is believed only after every key of it has been
looked at; this file draws no conclusions (`recheck.py` does).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fits.base.errors import UserError
from fits.base.files import written_aside
from fits.base.numbers import X_RANGE, Array
from fits.data.points import KINDS, Points, as_error
from fits.data.tables import Table, number, read_table
from fits.laws.law import Law
from fits.regression.fit import Fit
from fits.saved.checked_json import LARGEST, Node, read_json
from fits.spec import BENDS, CURVES, LOSSES, SCALES, WHICH, Asked, Runs

FORMAT = 1
MOST_ROWS = 200_000
MOST_REPLICATES = 100_000
MOST_DRAWS = 100_000_000  # replicates x rows, to bound memory
MOST_COLUMNS = 999
LATER = ("bend",)  # keys of `asked` that came after the first files; left out at their default
BAND_POINTS = 33
TINY = 1e-300
LINE = 110  # characters
PROJECT = "vit-scaling-laws"
HEAD = "fit_laws", "title", "law", "formula", "values", "span"  # keys of every file
PRINTED = "source", "last_digit"  # and of a paper's law
FITTED = (  # and of a law fitted here
    *("intervals", "rms_log_error", "warnings", "asked", "table", "dropped", "made"),
    *("band", "fitted", "behind"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What a law fitted here rests on.

    Fields:
      asked: what decided the fit, the table aside.
      table: the table, as a path from the law's own folder.
      sha256: of the table's bytes.
      fitted: line, x (every variable), y, and where asked for weight and number of the group, of
        each row the curve goes through, as the table says them, [rows, columns].
      behind: the same of rows that the choice of points left out.
      dropped: why -> lines of the rows that were never looked at, say "2-9, 12".
      rms: root mean square of the residuals over the rows fitted, log(predicted / measured) where
        errors count as ratios.
      warnings: what speaks against the fit.
      notes: what was left out of the table, and what looked odd in it; None: an early file, whose
        warnings hold these too.
      band: x, curve, low and high end, at BAND_POINTS places over the span, or for several
        variables at the rows fitted, [places, variables + 3].
      made: command and versions.
    """

    asked: Asked
    table: str
    sha256: str
    fitted: Array
    behind: Array
    dropped: dict[str, str]
    rms: float
    warnings: tuple[str, ...]
    notes: tuple[str, ...] | None
    band: Array
    made: dict[str, str]

    @property
    def rows(self) -> Array:
        """Fitted and behind, in the order of the table."""
        rows = np.concatenate([self.fitted, self.behind])
        return rows[np.argsort(rows[:, 0], kind="stable")]


@dataclass(frozen=True, kw_only=True, eq=False)
class Saved:
    """A law with numbers, from a file.

    Fields:
      title: what is predicted, say "ImageNet 10-shot error".
      span: what x is, with its unit where one is known -> smallest and largest fitted; one entry
        a variable of the law.
      law: the curve.
      values: one number a parameter, in the order of `law.parameters`.
      intervals: (low, high) of each; None: none were given.
      source: the paper it is from; "" for a fit of one's own.
      last_digit: unit of the last digit printed, say 0.01; 0: all digits are there.
      evidence: None where there is no table behind it.
    """

    title: str
    span: dict[str, tuple[float, float]]
    law: Law
    values: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...] | None
    source: str = ""
    last_digit: float = 0.0
    evidence: Evidence | None = None

    def predict(self, x: ArrayLike) -> Array:
        """Error at `x`, same shape as `x`."""
        return self.law.predict(x, *self.values)

    def rounding(self, x: Array) -> Array:
        """How far rounding the values may have moved the error at `x`, [points]."""
        moved = np.zeros(np.shape(x))
        for k, value in enumerate(self.values):
            either = [
                self.law.predict(x, *self.values[:k], max(end, 0.0), *self.values[k + 1 :])
                for end in (value - self.last_digit / 2, value + self.last_digit / 2)
            ]
            moved += np.abs(np.stack(either) - self.predict(x)).max(axis=0)
        return moved


# ---------------------------------------------------------------------------------------- writing


def saved(asked: Asked, points: Points, fit: Fit, folder: Path, command: str, title: str) -> Saved:
    """The law as it is to be kept in `folder`.

    Raises UserError where its band leaves the numbers that have a logarithm.
    """
    table = points.table.path
    chosen = asked.chosen(asked.runs(points))
    x = np.atleast_2d(points.x)[:, chosen]
    band = band_of(fit, x)
    if not (np.isfinite(band) & (band > 0)).all():
        raise UserError(["--save: the law is not above 0 and finite over its own points."])
    return Saved(
        title=title,
        span=span_of(asked, x),
        law=fit.law,
        values=fit.values,
        intervals=fit.intervals,
        evidence=Evidence(
            asked=asked,
            table=Path(os.path.relpath(table.resolve(), folder.resolve())).as_posix(),
            sha256=sha256(table),
            fitted=rows_of(points, asked)[chosen],
            behind=rows_of(points, asked)[~chosen],
            dropped=dropped_rows(asked, table),
            rms=fit.rms,
            warnings=fit.warnings,
            notes=points.notes,
            band=band,
            made={
                "command": command,
                PROJECT: _version(PROJECT),
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        ),
    )


def span_of(asked: Asked, x: Array) -> dict[str, tuple[float, float]]:
    """Smallest and largest of each variable of the points fitted [variables, points]."""
    ends = ((float(each.min()), float(each.max())) for each in x)
    return dict(zip(asked.x, ends, strict=True))


def rows_of(points: Points, asked: Asked) -> Array:
    """Every row as Evidence has it, [runs, columns]."""
    runs = asked.runs(points)
    y = [number(cell) for cell in points.table.columns[asked.y]]
    more = [each for each in (runs.weights, runs.groups) if each is not None]
    return np.array([points.table.numbers, *np.atleast_2d(points.x), y, *more], float).T


def runs_of(rows: Array, asked: Asked) -> Runs:
    """Such rows as they are fitted."""
    columns = iter(rows.T[1:])
    x = np.stack([next(columns) for _ in asked.x])
    return Runs(
        x=x[0] if len(x) == 1 else x,
        error=as_error(next(columns).tolist(), asked.y_is),
        weights=next(columns) if asked.weights else None,
        groups=next(columns).astype(int) if asked.groups else None,
    )


def band_of(fit: Fit, x: Array) -> Array:
    """x, curve, low and high end where the points [variables, points] lie, as in Evidence.

    An end without bound is that of the numbers there are.
    """
    if len(x) == 1:
        x = np.geomspace(x.min(), x.max(), BAND_POINTS)[None]
    at = x[0] if len(x) == 1 else x
    ends = np.clip(fit.band(at), TINY, 1 / TINY)
    return np.stack([*x, fit.predict(at), *ends], axis=-1)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def dropped_rows(asked: Asked, table: Path) -> dict[str, str]:
    """The rows that no fit saw, by the first reason there is: a condition, or an empty cell."""
    left, dropped = read_table(table), {}
    for condition in asked.where:
        name, _, value = condition.partition("=")
        after = left.where(name.removesuffix("!"), value, equal=not name.endswith("!"))
        dropped[f"not {condition}"] = _lines(left, after)
        left = after
    for name in dict.fromkeys((*asked.x, asked.y)):
        full = [row for row, cell in enumerate(left.column(name)) if cell]
        after = left.keep(full)
        dropped[f"no {name}"] = _lines(left, after)
        left = after
    return {why: lines for why, lines in dropped.items() if lines}


def _lines(before: Table, after: Table) -> str:
    """Lines that are in one and not in the other, neighbours drawn together: "2-9, 12"."""
    kept = set(after.numbers)
    runs: list[list[int]] = []
    for line in (each for each in before.numbers if each not in kept):
        if runs and line == runs[-1][1] + 1:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


def write_law(path: Path, law: Saved) -> None:
    """Write it for `read_law`: whole or not at all, every digit, one row of the table a line."""
    with written_aside(path) as aside:
        aside.write_text(_json(_plain(law)) + "\n", encoding="utf-8")


def _plain(law: Saved) -> dict[str, Any]:
    names = law.law.parameters
    answer: dict[str, Any] = {
        "fit_laws": FORMAT,
        "title": law.title,
        "law": law.law.name,
        "formula": law.law.formula,
        "values": dict(zip(names, law.values, strict=True)),
        "span": {name: list(ends) for name, ends in law.span.items()},
    }
    if law.intervals is not None:
        ends = ([end if math.isfinite(end) else None for end in pair] for pair in law.intervals)
        answer["intervals"] = dict(zip(names, ends, strict=True))
    if law.source:
        answer |= {"source": law.source, "last_digit": law.last_digit}
    if law.evidence is not None:
        answer |= _plain_evidence(law.evidence)
    return answer


def _plain_evidence(evidence: Evidence) -> dict[str, Any]:
    asked = {
        field.name: list(value) if isinstance(value, tuple) else value
        for field in fields(Asked)
        if field.name != "law"
        for value in [getattr(evidence.asked, field.name)]
        if field.name not in LATER or value != field.default
    }
    return {
        "rms_log_error": evidence.rms,
        "warnings": list(evidence.warnings),
        **({} if evidence.notes is None else {"notes": list(evidence.notes)}),
        "asked": asked,
        "table": {"file": evidence.table, "sha256": evidence.sha256},
        "dropped": evidence.dropped,
        "made": evidence.made,
        "band": [_row(row) for row in evidence.band.tolist()],
        "fitted": [_row(row, lines=True) for row in evidence.fitted.tolist()],
        "behind": [_row(row, lines=True) for row in evidence.behind.tolist()],
    }


def _row(row: list[float], *, lines: bool = False) -> list[float | int | None]:
    numbers: list[float | int | None] = [each if math.isfinite(each) else None for each in row]
    return [int(row[0]), *numbers[1:]] if lines else numbers


def _json(value: Any, indent: str = "") -> str:
    """JSON in which lists and objects that nest no others stay on one line where they fit."""
    line = json.dumps(value, allow_nan=False, ensure_ascii=False)
    inside = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list) or (
        len(line) <= LINE and not any(isinstance(each, dict | list) for each in inside)
    ):
        return line
    deeper = indent + "  "
    if isinstance(value, dict):
        lines = [
            f"{json.dumps(name, ensure_ascii=False)}: {_json(each, deeper)}"
            for name, each in value.items()
        ]
    else:
        lines = [_json(each, deeper) for each in value]
    first, last = "{}" if isinstance(value, dict) else "[]"
    return f"{first}\n{deeper}" + f",\n{deeper}".join(lines) + f"\n{indent}{last}"


# ---------------------------------------------------------------------------------------- reading


def read_law(path: Path) -> Saved:
    """Read what `write_law` wrote.

    Raises:
      UserError: everything in the file that keeps it from being such a law, each with its key.
      OSError: the file cannot be read.
    """
    top = read_json(path)
    printed = isinstance(top.value, dict) and "source" in top.value
    keys = top.keys((*HEAD, *PRINTED)) if printed else top.keys((*HEAD, *FITTED), ["notes"])
    keys["fit_laws"].whole(FORMAT, FORMAT)
    name = keys["law"].choice(tuple(CURVES))
    law = CURVES[name] if keys["law"].value == name else None  # else no more is known of its keys
    if law and keys["formula"].text() != law.formula:
        keys["formula"].wrong(f"law {law.name} is {law.formula} here. Another version wrote this.")
    span = {each: _pair(node) for each, node in keys["span"].named(9).items()}
    if law and isinstance(keys["span"].value, dict) and len(span) != len(law.variables):
        keys["span"].wrong(f"{len(span)} entries; law {law.name} has {len(law.variables)}.")
    values = _by_parameter(keys["values"], law)
    found = Saved(
        title=keys["title"].text(),
        span=span,
        law=law or CURVES[name],
        values=tuple(node.number() for node in values),
        intervals=None if printed else tuple(map(_interval, _by_parameter(keys["intervals"], law))),
        source=keys["source"].text() if printed else "",
        last_digit=keys["last_digit"].number(0, 1) if printed else 0.0,
        evidence=None if printed else _evidence(keys, name, len(span)),
    )
    if not top.mistakes and not _falls_on_numbers(found):
        keys["values"].wrong("no error above 0 comes of them over the span.")
    if top.mistakes:
        raise UserError(top.mistakes)
    return found


def _by_parameter(node: Node, law: Law | None) -> list[Node]:
    return list((node.keys(law.parameters) if law else node.named(99)).values())


def _pair(node: Node) -> tuple[float, float]:
    low, high = _two(node, lambda each: each.number(*X_RANGE))
    if low > high:
        node.wrong(f"{low:g} is above {high:g}.")
    return low, high


def _interval(node: Node) -> tuple[float, float]:
    """Open ends are null."""
    ends = _two(node, lambda each: math.inf if each.value is None else each.number())
    return (-math.inf if ends[0] == math.inf else ends[0]), ends[1]


def _two(node: Node, read: Callable[[Node], float]) -> tuple[float, float]:
    ends = [read(each) for each in node.items(2)]
    if len(ends) == 2:
        return ends[0], ends[1]
    if isinstance(node.value, list):
        node.wrong(f"{len(node.value)} numbers, not 2.")
    return math.nan, math.nan


def _falls_on_numbers(law: Saved) -> bool:
    ends = np.array(list(law.span.values()))
    with np.errstate(all="ignore"):
        curve = law.predict(ends[0] if len(ends) == 1 else ends)
    return bool((np.isfinite(curve) & (curve > 0)).all())


def _evidence(keys: dict[str, Node], law: str, variables: int) -> Evidence:
    table = keys["table"].keys(("file", "sha256"))
    digest = table["sha256"]
    asked = _asked(keys["asked"], law, variables)
    columns = 2 + variables + bool(asked.weights) + bool(asked.groups)
    if not re.fullmatch("[0-9a-f]{64}", digest.text()) and isinstance(digest.value, str):
        digest.wrong("not the 64 hexadecimal digits of a sha256.")
    fitted, behind = (keys[name].numbers(columns, MOST_ROWS) for name in ("fitted", "behind"))
    band = keys["band"].numbers(variables + 3, MOST_ROWS)
    for name, found in (("fitted", fitted[:, 1 : 1 + variables]), ("band", band)):
        if not len(found) or (found <= 0).any():
            keys[name].wrong("no rows, or numbers in them that are not above 0.")
    if asked.replicates * (len(fitted) + len(behind)) > MOST_DRAWS:
        keys["asked"].wrong(f"more than {MOST_DRAWS:,} draws: too many refits for so many rows.")
    return Evidence(
        asked=asked,
        table=table["file"].text(),
        sha256=digest.text(),
        fitted=fitted,
        behind=behind,
        dropped={why: node.text(LARGEST) for why, node in keys["dropped"].named(99).items()},
        rms=keys["rms_log_error"].number(0),
        warnings=_texts(keys["warnings"]),
        notes=None if keys["notes"].value is None else _texts(keys["notes"]),
        band=band,
        made={name: node.text() for name, node in keys["made"].named(9).items()},
    )


def _texts(node: Node) -> tuple[str, ...]:
    return tuple(each.text() for each in node.items(99))


def _asked(node: Node, law: str, variables: int) -> Asked:
    names = [field.name for field in fields(Asked) if field.name != "law"]
    keys = node.keys([name for name in names if name not in LATER], LATER)
    x = tuple(each.text() for each in keys["x"].items(9))
    if isinstance(keys["x"].value, list) and len(x) != variables:
        keys["x"].wrong(f"{len(x)} columns; the law's span has {variables}.")
    if keys["bend"].value is not None and keys["loss"].value != "huber":
        keys["bend"].wrong("squares have none. Leave it out, or let loss be huber.")
    return Asked(
        x=x,
        y=keys["y"].text(),
        y_is=keys["y_is"].choice(KINDS),
        where=tuple(each.text() for each in keys["where"].items(99)),
        which=keys["which"].choice(tuple(WHICH)),
        law=law,
        loss=keys["loss"].choice(LOSSES),
        bend=None if keys["bend"].value is None else keys["bend"].number(*BENDS),
        on=keys["on"].choice(SCALES),
        weights=keys["weights"].text(),
        groups=tuple(each.text() for each in keys["groups"].items(MOST_COLUMNS)),
        level=keys["level"].number(0.01, 0.999),
        replicates=keys["replicates"].whole(10, MOST_REPLICATES),
        seed=keys["seed"].whole(0, 2**63),
    )
