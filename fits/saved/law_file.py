"""A law made into a file, and read back: written whole or not at all, refused in words."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from fits.average.average import Average
from fits.base.errors import UserError
from fits.base.files import write_text
from fits.base.names import did_you_mean, short
from fits.base.numbers import Array
from fits.data.selection import Why, chosen
from fits.data.tables import Table, read_table
from fits.regression.fit import Fit
from fits.report import GroupReport
from fits.saved.rows import lines_between, rows_of
from fits.saved.saved_law import (
    MOST_ROWS,
    OF_AVERAGE,
    Dropped,
    Evidence,
    SavedDiagnostic,
    SavedLaw,
    TableFile,
)
from fits.spec import BEST, FitSpec

LARGEST = 16 * 2**20  # bytes of a file that is read
BAND_POINTS = 33
TINY = 1e-300
PROJECT = "vit-scaling-laws"
OF_VERSION = ("fit_laws",)  # where a file says of which version its format is


# ---------------------------------------------------------------------------------------- writing


def saved(group: GroupReport, folder: Path, command: str, title: str) -> SavedLaw:
    """The law as it is to be kept in `folder`.

    Raises UserError where its band leaves the numbers that have a logarithm.
    """
    spec, points, fit = group.spec, group.points, group.fit
    assert isinstance(fit, Fit | Average)
    table = points.table.path
    if len(points.error) > MOST_ROWS:
        raise UserError(
            [
                f"--save: a file keeps at most {MOST_ROWS:,} rows, and {len(points.error):,} are "
                "fitted. Choose rows with --where, or say --json FILE."
            ]
        )
    chosen = group.observations.fitted(spec)
    x = np.atleast_2d(points.x)[:, chosen]
    band = band_of(fit, x)
    if not (np.isfinite(band) & (band > 0)).all():
        raise UserError(["--save: the law is not above 0 and finite over its own points."])
    rows = rows_of(points, spec)
    evidence = Evidence(
        spec=spec,
        table=TableFile(
            file=Path(os.path.relpath(table.resolve(), folder.resolve())).as_posix(),
            sha256=sha256(table),
        ),
        rms=fit.rms,
        diagnostics=[SavedDiagnostic.of(each) for each in fit.diagnostics],
        notes=[SavedDiagnostic.of(each) for each in points.notes],
        dropped=dropped_rows(spec, table),
        made={
            "command": command,
            PROJECT: metadata.version(PROJECT),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        band=band.tolist(),
        fitted=rows[chosen].tolist(),
        behind=rows[~chosen].tolist(),
    )
    kept: dict[str, Any] = {"title": title, "span": span_of(spec, x), "evidence": evidence}
    if isinstance(fit, Average):
        return SavedLaw(law=BEST, formula=OF_AVERAGE, values=fit.weights, **kept)
    names = fit.law.parameters
    ends = [tuple(e if math.isfinite(e) else None for e in pair) for pair in fit.intervals]
    return SavedLaw(
        **kept,
        law=fit.law.name,
        formula=fit.law.formula,
        values=dict(zip(names, fit.values, strict=True)),
        intervals=dict(zip(names, ends, strict=True)),  # type: ignore[arg-type]
    )


def span_of(spec: FitSpec, x: Array) -> dict[str, tuple[float, float]]:
    """Smallest and largest of each variable of the points fitted [variables, points]."""
    ends = ((float(each.min()), float(each.max())) for each in x)
    return dict(zip(spec.x, ends, strict=True))


def band_of(fit: Fit | Average, x: Array) -> Array:
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


def dropped_rows(spec: FitSpec, table: Path) -> Dropped:
    """The rows that no fit saw, by the first reason there is: a condition, an empty cell, others
    that are later or better."""
    left = read_table(table)
    dropped: Dropped = {}

    def drop(why: Why, name: str, after: Table) -> None:
        nonlocal left
        if lines := lines_between(left, after):
            dropped.setdefault(why, {})[name] = lines
        left = after

    steps = chosen(
        *(left, spec.x, spec.y),
        where=spec.where,
        last_of=spec.last_of,
        best_of=spec.best_of,
        largest=spec.y_is.startswith("accuracy"),
        percent=spec.y_is.endswith("percent"),
    )
    for step in steps:
        drop(step.why, step.name, step.after)
    return dropped


def write_law(path: Path, law: SavedLaw) -> None:
    """Write it for `read_law`: whole or not at all, every digit, one row of the table a line."""
    plain = {k: v for k, v in law.model_dump(mode="json").items() if v not in (None, "", 0)}
    if law.evidence is not None:
        for name in ("fitted", "behind"):
            rows = plain["evidence"][name]
            plain["evidence"][name] = [[int(line), *numbers] for line, *numbers in rows]
    text = json.dumps(plain, indent=2, allow_nan=False, ensure_ascii=False)
    lists = re.sub(r"\[\n[^][{}]*\]", _on_a_line, text)
    write_text(path, lists + "\n")


def _on_a_line(lines: re.Match[str]) -> str:
    return json.dumps(json.loads(lines[0]), ensure_ascii=False)


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
        found = error.errors()
        of_version = [each for each in found if each["loc"] == OF_VERSION]  # which explains others
        raise UserError([_words(path, each) for each in of_version or found]) from None


def _words(path: Path, error: Any) -> str:
    """One of pydantic's errors with its key."""
    where = "".join(f", {short(_printable(str(key)))}" for key in error["loc"])
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        *inside, key = error["loc"]
        meant = did_you_mean(str(key), _keys(inside))
        return f"{path}{where}: is unknown. {meant}".rstrip()
    if error["loc"] == OF_VERSION:
        return (
            f"{path}: its format is {short(_printable(str(error['input'])))}, and this version of "
            f"fit-laws reads format {error['ctx']['expected']}. Fit the law anew, with --save."
        )
    said = " ".join(error["msg"].removeprefix("Value error, ").rstrip(".").splitlines())
    return f"{path}{where}: {_printable(said)}."


def _printable(text: str) -> str:
    """Nothing that a terminal would obey."""
    return text if text.isprintable() else ascii(text)


def _keys(inside: Sequence[object]) -> Iterable[str]:
    """Keys that an object at this place of the file may have."""
    if tuple(inside) == ("evidence", "spec"):
        return [field.name for field in fields(FitSpec)]
    models: dict[tuple[object, ...], type[BaseModel]] = {
        (): SavedLaw,
        ("evidence",): Evidence,
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
        return json.loads(path.read_bytes(), object_pairs_hook=_object)
    except (ValueError, RecursionError) as wrong:
        why = "nested too deep" if isinstance(wrong, RecursionError) else short(str(wrong))
        raise UserError([f"{path}: no JSON that can be read ({why})."]) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found
