"""A law made into a file, and read back: written whole or not at all, refused in words."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.files import written_aside
from fits.base.names import did_you_mean, short
from fits.base.numbers import Array
from fits.data.points import Points, as_error
from fits.data.tables import Table, number, read_table
from fits.regression.fit import Fit
from fits.report import GroupReport, Observations, observations
from fits.saved.saved_law import Evidence, SavedDiagnostic, SavedLaw, SavedSpec, TableFile
from fits.spec import FitSpec

LARGEST = 16 * 2**20  # bytes of a file that is read
BAND_POINTS = 33
TINY = 1e-300
LINE = 110  # characters
PROJECT = "vit-scaling-laws"


# ---------------------------------------------------------------------------------------- writing


def saved(group: GroupReport, folder: Path, command: str, title: str) -> SavedLaw:
    """The law as it is to be kept in `folder`.

    Raises UserError where its band leaves the numbers that have a logarithm.
    """
    spec, points, fit = group.spec, group.points, group.fit
    assert isinstance(fit, Fit)
    table = points.table.path
    chosen = group.observations.fitted(spec)
    x = np.atleast_2d(points.x)[:, chosen]
    band = band_of(fit, x)
    if not (np.isfinite(band) & (band > 0)).all():
        raise UserError(["--save: the law is not above 0 and finite over its own points."])
    rows = rows_of(points, spec)
    evidence = Evidence(
        spec=_plain_spec(spec),
        table=TableFile(
            file=Path(os.path.relpath(table.resolve(), folder.resolve())).as_posix(),
            sha256=sha256(table),
        ),
        rms=fit.rms,
        diagnostics=[_plain_diagnostic(each) for each in fit.diagnostics],
        notes=list(points.notes),
        dropped=dropped_rows(spec, table),
        made={
            "command": command,
            PROJECT: _version(PROJECT),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        band=band.tolist(),
        fitted=rows[chosen].tolist(),
        behind=rows[~chosen].tolist(),
    )
    names = fit.law.parameters
    ends = [tuple(e if math.isfinite(e) else None for e in pair) for pair in fit.intervals]
    return SavedLaw(
        title=title,
        law=fit.law.name,
        formula=fit.law.formula,
        values=dict(zip(names, fit.values, strict=True)),
        span=span_of(spec, x),
        intervals=dict(zip(names, ends, strict=True)),  # type: ignore[arg-type]
        evidence=evidence,
    )


def _plain_spec(spec: FitSpec) -> SavedSpec:
    fields: dict[str, Any] = asdict(spec)
    lists = {k: list(v) for k, v in fields.items() if isinstance(v, tuple)}
    return SavedSpec(**{**fields, **lists})


def _plain_diagnostic(found: Diagnostic) -> SavedDiagnostic:
    plain = found.to_json()
    return SavedDiagnostic(**{name: plain[name] for name in ("code", "parameters", "numbers")})


def span_of(spec: FitSpec, x: Array) -> dict[str, tuple[float, float]]:
    """Smallest and largest of each variable of the points fitted [variables, points]."""
    ends = ((float(each.min()), float(each.max())) for each in x)
    return dict(zip(spec.x, ends, strict=True))


def rows_of(points: Points, spec: FitSpec) -> Array:
    """Every row as Evidence has it, [runs, columns]."""
    found = observations(points, spec)
    y = [number(cell) for cell in points.table.columns[spec.y]]
    more = [each for each in (found.weights, found.clusters) if each is not None]
    return np.array([points.table.numbers, *np.atleast_2d(points.x), y, *more], float).T


def observations_of(rows: Array, spec: FitSpec) -> Observations:
    """Such rows as they are fitted."""
    columns = iter(np.asarray(rows, float).T[1:])
    x = np.stack([next(columns) for _ in spec.x])
    return Observations(
        x=x[0] if len(x) == 1 else x,
        error=as_error(next(columns).tolist(), spec.y_is),
        weights=next(columns) if spec.weights else None,
        clusters=next(columns).astype(int) if spec.clusters else None,
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


def dropped_rows(spec: FitSpec, table: Path) -> dict[str, str]:
    """The rows that no fit saw, by the first reason there is: a condition, or an empty cell."""
    left, dropped = read_table(table), {}
    for condition in spec.where:
        name, _, value = condition.partition("=")
        after = left.where(name.removesuffix("!"), value, equal=not name.endswith("!"))
        dropped[f"not {condition}"] = _lines(left, after)
        left = after
    for name in dict.fromkeys((*spec.x, spec.y)):
        full = [row for row, cell in enumerate(left.column(name)) if cell]
        after = left.keep(full)
        dropped[f"no {name}"] = _lines(left, after)
        left = after
    return {why: lines for why, lines in dropped.items() if lines}


def _lines(before: Table, after: Table) -> str:
    """Lines that are in one and not in the other, neighbors drawn together: "2-9, 12"."""
    kept = set(after.numbers)
    spans: list[list[int]] = []
    for line in (each for each in before.numbers if each not in kept):
        if spans and line == spans[-1][1] + 1:
            spans[-1][1] = line
        else:
            spans.append([line, line])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans)


def write_law(path: Path, law: SavedLaw) -> None:
    """Write it for `read_law`: whole or not at all, every digit, one row of the table a line."""
    plain = law.model_dump(mode="json", exclude_none=False)
    plain = {k: v for k, v in plain.items() if v is not None and v != ""}
    if law.evidence is not None:
        plain.pop("last_digit")
        for name in ("fitted", "behind"):
            plain["evidence"][name] = [[int(r[0]), *r[1:]] for r in plain["evidence"][name]]
    with written_aside(path) as aside:
        aside.write_text(_json(plain) + "\n", encoding="utf-8")


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


def read_law(path: Path) -> SavedLaw:
    """Read what `write_law` wrote.

    Raises:
      UserError: everything in the file that keeps it from being such a law, each with its key.
      OSError: the file cannot be read.
    """
    try:
        return SavedLaw.model_validate_json(json.dumps(_read(path)))
    except ValidationError as error:
        raise UserError([_words(path, each) for each in error.errors()]) from None


def _words(path: Path, error: Any) -> str:
    """One of pydantic's errors with its key."""
    where = "".join(f", {_shown(key)}" for key in error["loc"])
    if error["type"] == "extra_forbidden":
        *inside, key = error["loc"]
        meant = did_you_mean(str(key), _keys(inside))
        return f"{path}{where}: is unknown. {meant}".rstrip()
    said = error["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{path}{where}: {said}."


def _shown(key: object) -> str:
    """A key of the file's, with nothing that a terminal would obey."""
    return short(str(key)) if str(key).isprintable() else short(ascii(key))


def _keys(inside: Sequence[object]) -> Iterable[str]:
    """Keys that an object at this place of the file may have."""
    models: dict[tuple[object, ...], type[BaseModel]] = {
        (): SavedLaw,
        ("evidence",): Evidence,
        ("evidence", "spec"): SavedSpec,
        ("evidence", "table"): TableFile,
    }
    return models.get(tuple(inside), SavedDiagnostic).model_fields


def _read(path: Path) -> Any:
    size = path.stat().st_size
    if not path.is_file():
        raise UserError([f"{path}: not a file."])
    if size > LARGEST:
        raise UserError([f"{path}: {size:,} bytes; such a file has at most {LARGEST:,}."])
    try:
        return json.loads(path.read_bytes(), object_pairs_hook=_object, parse_constant=_refused)
    except (ValueError, RecursionError) as wrong:
        why = "nested too deep" if isinstance(wrong, RecursionError) else short(str(wrong))
        raise UserError([f"{path}: no JSON that can be read ({why})."]) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")
