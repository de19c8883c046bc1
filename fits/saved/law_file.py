"""A fitted law as a file: a pydantic model of the numbers and of what they rest on.

Those that a paper printed have no rows and no table behind them, but a source and the unit of their
last digit. What is read is believed only after every key of it was checked.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.files import written_aside
from fits.base.messages import MESSAGES
from fits.base.names import did_you_mean, short
from fits.base.numbers import X_RANGE, Array
from fits.data.points import Points, as_error
from fits.data.tables import Table, number, read_table
from fits.laws.law import Law
from fits.laws.registry import EVERY_LAW
from fits.regression.fit import Fit
from fits.report import GroupReport, Observations, observations
from fits.spec import FORECAST, FitSpec

LARGEST = 16 * 2**20  # bytes of a file that is read
MOST_ROWS = 200_000
MOST_DRAWS = 100_000_000  # replicates x rows, to bound memory
LONGEST_TEXT = 2000  # characters
BAND_POINTS = 33
TINY = 1e-300
LINE = 110  # characters
PROJECT = "vit-scaling-laws"


def _printable(text: str) -> str:
    """One line, and nothing that a terminal would obey."""
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


Text = Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(_printable)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e300, le=1e300)]
Positive = Annotated[float, Field(allow_inf_nan=False, gt=0, le=1e300)]
Resource = Annotated[float, Field(ge=X_RANGE[0], le=X_RANGE[1])]
Row = Annotated[list[Number], Field(max_length=99)]
Rows = Annotated[list[Row], Field(max_length=MOST_ROWS)]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SavedSpec(_File):
    """FitSpec, as `fits/spec.py` explains its fields."""

    x: Annotated[list[Text], Field(min_length=1, max_length=9)]
    y: Text
    y_is: Text
    where: Annotated[list[Text], Field(max_length=99)]
    rows: Text
    law: Text
    loss: Text
    huber: Number | None
    scale: Text
    weights: Text
    clusters: Annotated[list[Text], Field(max_length=999)]
    level: Number
    replicates: Annotated[int, Field(ge=10, le=100_000)]
    seed: Annotated[int, Field(ge=0, lt=2**63)]

    def spec(self) -> FitSpec:
        """Raises UserError where it cannot be."""
        fields: dict[str, Any] = self.model_dump()
        tuples = {k: tuple(v) for k, v in fields.items() if isinstance(v, list)}
        return FitSpec(**{**fields, **tuples})

    @model_validator(mode="after")
    def _possible(self) -> SavedSpec:
        self.spec()
        if self.law == FORECAST:
            raise ValueError("a forecast is no law that could be kept")
        return self


class SavedDiagnostic(_File):
    """Diagnostic, less its words."""

    code: Text
    parameters: Annotated[list[Text], Field(max_length=99)]
    numbers: dict[Text, Number | Annotated[list[Number | None], Field(max_length=99)] | None]

    @model_validator(mode="after")
    def _known(self) -> SavedDiagnostic:
        if self.code not in MESSAGES:
            raise ValueError(f"no diagnostic '{short(self.code)}' is known")
        return self

    def diagnostic(self) -> Diagnostic:
        def back(value: Any) -> Any:
            if isinstance(value, list):
                return tuple(map(back, value))
            return math.inf if value is None else value

        numbers = {name: back(value) for name, value in self.numbers.items()}
        return Diagnostic(self.code, tuple(self.parameters), numbers)


class TableFile(_File):
    """The table, as a path from the law's own folder, and the SHA-256 of its bytes."""

    file: Text
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Evidence(_File):
    """What a law fitted here rests on.

    Fields:
      spec: how it was fitted.
      table: which table.
      rms: root mean square of the residuals over the rows fitted, log(predicted / measured) where
        errors count as ratios.
      diagnostics: what speaks against the fit.
      notes: what was left out of the table, and what looked odd in it.
      dropped: why -> lines of the rows that were never looked at, say "2-9, 12".
      made: command and versions.
      band: x, curve, low and high end, at BAND_POINTS places over the span, or for several
        variables at the rows fitted, [places, variables + 3].
      fitted: line, x (every variable), y, and where there are such weight and number of the
        cluster, of each row that the law goes through, as the table says them, [rows, columns].
      behind: the same of rows that were not on the frontier.
    """

    spec: SavedSpec
    table: TableFile
    rms: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    diagnostics: Annotated[list[SavedDiagnostic], Field(max_length=99)]
    notes: Annotated[list[Text], Field(max_length=99)]
    dropped: dict[Text, Annotated[str, AfterValidator(_printable)]]
    made: Annotated[dict[Text, Text], Field(max_length=9)]
    band: Rows
    fitted: Annotated[Rows, Field(min_length=1)]
    behind: Rows

    @property
    def rows(self) -> Array:
        """Fitted and behind, in the order of the table."""
        rows = np.array([*self.fitted, *self.behind], float)
        return rows[np.argsort(rows[:, 0], kind="stable")]

    @model_validator(mode="after")
    def _whole(self) -> Evidence:
        variables = len(self.spec.x)
        columns = 2 + variables + bool(self.spec.weights) + bool(self.spec.clusters)
        for name, rows, wide in (
            ("fitted", self.fitted, columns),
            ("behind", self.behind, columns),
            ("band", self.band, variables + 3),
        ):
            if any(len(row) != wide for row in rows):
                raise ValueError(f"{name}: not every row has {wide} numbers")
            if any(each <= 0 for row in rows for each in row[1 : 1 + variables]):
                raise ValueError(f"{name}: numbers that are not above 0")
        if self.spec.replicates * (len(self.fitted) + len(self.behind)) > MOST_DRAWS:
            raise ValueError(f"more than {MOST_DRAWS:,} draws: too many refits for so many rows")
        return self


class SavedLaw(_File):
    """A law with numbers, from a file.

    Fields:
      fit_laws: version of the format.
      title: what is predicted, say "ImageNet 10-shot error".
      law, formula: the curve.
      values: a number a parameter.
      span: what x is, with its unit where one is known -> smallest and largest fitted; one entry
        a variable of the law.
      intervals: low and high end of each parameter, null: no end; left out: none were given.
      source: the paper it is from; left out for a fit of one's own.
      last_digit: unit of the last digit printed, say 0.01; 0: all digits are there.
      evidence: what it rests on; left out where there is no table behind it.
    """

    fit_laws: Literal[2] = 2
    title: Text
    law: Text
    formula: Text
    values: dict[Text, Number]
    span: Annotated[dict[Text, tuple[Resource, Resource]], Field(max_length=9)]
    intervals: dict[Text, tuple[Number | None, Number | None]] | None = None
    source: Text = ""
    last_digit: Annotated[float, Field(ge=0, le=1)] = 0.0
    evidence: Evidence | None = None

    @property
    def curve(self) -> Law:
        return EVERY_LAW[self.law]

    @property
    def numbers(self) -> tuple[float, ...]:
        """In the order of the law's parameters."""
        return tuple(self.values[name] for name in self.curve.parameters)

    @property
    def ends(self) -> tuple[tuple[float, float], ...] | None:
        """Intervals in the order of the law's parameters; an open end is infinite."""
        if self.intervals is None:
            return None
        pairs = (self.intervals[name] for name in self.curve.parameters)
        return tuple(
            (-math.inf if low is None else low, math.inf if high is None else high)
            for low, high in pairs
        )

    def predict(self, x: ArrayLike) -> Array:
        """Error at `x`, same shape as `x`."""
        return self.curve.predict(x, *self.numbers)

    def rounding(self, x: Array) -> Array:
        """How far rounding the values may have moved the error at `x`, [points]."""
        moved, values = np.zeros(np.shape(x)), self.numbers
        for k, value in enumerate(values):
            either = [
                self.curve.predict(x, *values[:k], max(end, 0.0), *values[k + 1 :])
                for end in (value - self.last_digit / 2, value + self.last_digit / 2)
            ]
            moved += np.abs(np.stack(either) - self.predict(x)).max(axis=0)
        return moved

    @model_validator(mode="after")
    def _a_law(self) -> SavedLaw:
        if self.law not in EVERY_LAW:
            meant = did_you_mean(self.law, EVERY_LAW)
            raise ValueError(f"law: no '{short(self.law)}'. {meant}Use {', '.join(EVERY_LAW)}")
        law = self.curve
        if self.formula != law.formula:
            raise ValueError(f"formula: law {law.name} is {law.formula} here; another version?")
        named = {"values": self.values, "intervals": self.intervals or dict.fromkeys(self.values)}
        for name, found in named.items():
            if set(found) != set(law.parameters):
                raise ValueError(f"{name}: give one for each of {', '.join(law.parameters)}")
        if len(self.span) != len(law.variables):
            raise ValueError(f"span: {len(self.span)} entries; the law has {len(law.variables)}")
        if any(low > high for low, high in self.span.values()):
            raise ValueError("span: from a larger to a smaller number")
        if bool(self.source) == (self.evidence is not None):
            raise ValueError("give a source (a paper's law) or evidence (one fitted here)")
        ends = np.array(list(self.span.values()))
        with np.errstate(all="ignore"):
            curve = self.predict(ends[0] if len(ends) == 1 else ends)
        if not (np.isfinite(curve) & (curve > 0)).all():
            raise ValueError("values: no error above 0 comes of them over the span")
        return self


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
    where = "".join(f", {short(str(key))}" for key in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{path}{where}: is unknown."
    said = error["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{path}{where}: {said}."


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
