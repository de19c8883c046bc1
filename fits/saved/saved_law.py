"""SavedLaw: the numbers of a law and what they rest on, as a pydantic model of its file.

Those that a paper printed have no rows and no table behind them, but a source and the unit of their
last digit. Every key is checked before it is believed. Knows no file: see `law_file.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from fits.average.average import AVERAGED, Average
from fits.base.diagnostic import Diagnostic
from fits.base.messages import MESSAGES
from fits.base.names import did_you_mean, short
from fits.base.numbers import X_RANGE, Array
from fits.data.points import judge_x, judge_y
from fits.data.selection import Why
from fits.laws.law import Law
from fits.laws.registry import EVERY_LAW
from fits.observations import judge_weight
from fits.saved.rows import observations_of
from fits.spec import BEST, FORECAST, FitSpec

MOST_ROWS = 200_000
MOST_DRAWS = 100_000_000  # replicates x rows, to bound memory
REPLICATES_RANGE = 10, 100_000  # refits of a bootstrap
LONGEST_TEXT = 2000  # characters
OF_AVERAGE = "average over laws"  # in place of a formula
WHOLE = 1e-6  # weights of laws add to 1 so closely


def _printable(text: str) -> str:
    """One line, and nothing that a terminal would obey."""
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


def _bounded(spec: FitSpec) -> FitSpec:
    """What FitSpec takes from the one who writes it, and not every file should say."""
    for text in (
        *spec.x,
        spec.y,
        *spec.where,
        spec.weights,
        *spec.clusters,
        *spec.last_of,
        *spec.best_of,
    ):
        _printable(text)
    if spec.law == FORECAST:
        raise ValueError("a forecast cannot be saved as a law")
    if not REPLICATES_RANGE[0] <= spec.replicates <= REPLICATES_RANGE[1]:
        raise ValueError(
            "replicates: {} is not from {} to {}".format(spec.replicates, *REPLICATES_RANGE)
        )
    if not 0 <= spec.seed < 2**63:
        raise ValueError(f"seed: {spec.seed} is not from 0 to 2^63")
    return spec


Text = Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(_printable)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e300, le=1e300)]
Resource = Annotated[float, Field(ge=X_RANGE[0], le=X_RANGE[1])]
Row = Annotated[list[Number], Field(max_length=99)]
Rows = Annotated[list[Row], Field(max_length=MOST_ROWS)]
Line = Annotated[int, Field(ge=0, lt=2**31)]
Dropped: TypeAlias = dict[Why, dict[Text, list[tuple[Line, Line]]]]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SavedDiagnostic(_File):
    """Diagnostic, less its words."""

    code: Text
    parameters: Annotated[list[Text], Field(max_length=99)]
    numbers: dict[Text, Number | Annotated[list[Number | None], Field(max_length=99)] | None]

    @model_validator(mode="after")
    def _known(self) -> SavedDiagnostic:
        if self.code not in MESSAGES:
            raise ValueError(f"no diagnostic '{short(self.code)}' is known")
        try:
            self.diagnostic().words  # noqa: B018  # it raises where a number is missing
        except (LookupError, TypeError, ValueError):
            raise ValueError(f"{self.code} has other parameters or numbers") from None
        return self

    @classmethod
    def of(cls, found: Diagnostic) -> SavedDiagnostic:
        plain = found.to_json()
        del plain["words"]
        return cls(**plain)

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

    A row is its line, x (every variable), y, and where there are such weight and number of the
    cluster, as the table says them.
    """

    spec: Annotated[FitSpec, AfterValidator(_bounded)]
    table: TableFile
    rms: Annotated[float, Field(ge=0, allow_inf_nan=False)]  # of the residuals of rows fitted
    diagnostics: Annotated[list[SavedDiagnostic], Field(max_length=99)]
    notes: Annotated[list[SavedDiagnostic], Field(max_length=99)]  # on the table
    dropped: Dropped
    """Rows that were never looked at, first and last line of neighbours: why -> condition or column
    -> lines."""
    made: Annotated[dict[Text, Text], Field(max_length=9)]  # command and versions
    band: Annotated[Rows, Field(min_length=1)]
    """x, curve, low and high end, [places, variables + 3]: BAND_POINTS over the span, or for
    several variables at the rows fitted."""
    fitted: Annotated[Rows, Field(min_length=1)]  # rows that the law goes through
    behind: Rows  # rows that were not on the frontier

    @property
    def rows(self) -> Array:
        """Fitted and behind, in the order of the table."""
        rows = np.array([*self.fitted, *self.behind], float)
        return rows[np.argsort(rows[:, 0], kind="stable")]

    @model_validator(mode="after")
    def _whole(self) -> Evidence:
        _check_rows("fitted", self.fitted, self.spec)
        _check_rows("behind", self.behind, self.spec)
        if any(len(row) != len(self.spec.x) + 3 for row in self.band):
            raise ValueError(f"band: not every row has {len(self.spec.x) + 3} numbers")
        if any(each <= 0 for row in self.band for each in row):
            raise ValueError("band: numbers that are not above 0")
        if self.spec.replicates * (len(self.fitted) + len(self.behind)) > MOST_DRAWS:
            raise ValueError(f"more than {MOST_DRAWS:,} draws: too many refits for so many rows")
        return self


def _check_rows(name: str, rows: list[list[float]], spec: FitSpec) -> None:
    """Raises ValueError where rows are not such as a table gives."""
    judges: list[tuple[str, Callable[[float], str | None]]] = [
        ("line", _judge_count),
        *((x, judge_x) for x in spec.x),
        (spec.y, lambda value: judge_y(value, spec.y_is)),
        *([(spec.weights, judge_weight)] if spec.weights else []),
        *([("cluster", _judge_count)] if spec.clusters else []),
    ]
    if any(len(row) != len(judges) for row in rows):
        raise ValueError(f"{name}: not every row has {len(judges)} numbers")
    for row in rows:
        for value, (column, judge) in zip(row, judges, strict=True):
            if wrong := judge(value):
                raise ValueError(f"{name}: {column} is {value:g}, {wrong}")


def _judge_count(value: float) -> str | None:
    return None if value.is_integer() and 0 <= value < 2**31 else "not a whole number from 0"


class SavedLaw(_File):
    """A law with numbers, from a file."""

    fit_laws: Literal[2] = 2  # version of the format
    title: Text  # what is predicted, say "ImageNet 10-shot error"
    law: Text
    formula: Text
    values: dict[Text, Number]  # one a parameter; of an average, the weight of each law
    span: Annotated[dict[Text, tuple[Resource, Resource]], Field(max_length=9)]
    """What x is, with its unit where one is known -> smallest and largest fitted; one entry a
    variable of the law."""
    intervals: dict[Text, tuple[Number | None, Number | None]] | None = None
    """Low and high end of each parameter, null: no end; left out: none were given."""
    source: Text = ""  # the paper it is from; left out for a fit of one's own
    last_digit: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Unit of the last digit printed, say 0.01; 0: all digits are there."""
    evidence: Evidence | None = None  # what it rests on; left out: there is no table behind it

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

    @cached_property
    def average(self) -> Average | None:
        """Over laws, made anew of the rows in the file; None: predictions are the law's."""
        evidence = self.evidence
        if evidence is None or not (self.law == BEST or evidence.spec.average):
            return None
        return observations_of(evidence.rows, evidence.spec).average(evidence.spec)

    def predict(self, x: ArrayLike) -> Array:
        """Error at `x`, same shape as `x`, as it was predicted when the law was saved.

        Raises ValueError where an average can no longer be made of the rows in the file.
        """
        return self.curve_at(x) if self.average is None else self.average.predict(x)

    def curve_at(self, x: ArrayLike) -> Array:
        """The error of the law itself at `x`, same shape as `x`."""
        return self.curve.predict(x, *self.numbers)

    def rounding(self, x: Array) -> Array:
        """How far rounding the values may have moved the error at `x`, [points]."""
        moved, values = np.zeros(np.shape(x)), self.numbers
        for k, value in enumerate(values):
            either = [
                self.curve.predict(x, *values[:k], max(end, 0.0), *values[k + 1 :])
                for end in (value - self.last_digit / 2, value + self.last_digit / 2)
            ]
            moved += np.abs(np.stack(either) - self.curve_at(x)).max(axis=0)
        return moved

    @model_validator(mode="after")
    def _a_law(self) -> SavedLaw:
        if self.law == BEST:
            return self._an_average()
        if self.law not in EVERY_LAW:
            meant = did_you_mean(self.law, [*EVERY_LAW, BEST])
            known = ", ".join([*EVERY_LAW, BEST])
            raise ValueError(f"law: no '{short(self.law)}'. {meant}Use {known}")
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
        if self.evidence is not None and self.evidence.spec.law != self.law:
            raise ValueError(f"evidence, spec: law {self.evidence.spec.law} is not {self.law}")
        ends = np.array(list(self.span.values()))
        with np.errstate(all="ignore"):
            curve = self.curve_at(ends[0] if len(ends) == 1 else ends)
        if not (np.isfinite(curve) & (curve > 0)).all():
            raise ValueError("values: no error above 0 comes of them over the span")
        return self

    def _an_average(self) -> SavedLaw:
        if self.formula != OF_AVERAGE:
            raise ValueError(f"formula: law {BEST} is an {OF_AVERAGE} here; another version?")
        if not self.values or not set(self.values) <= set(AVERAGED):
            raise ValueError(f"values: give weights of laws, of {', '.join(AVERAGED)}")
        if min(self.values.values()) < 0 or abs(sum(self.values.values()) - 1) > WHOLE:
            raise ValueError("values: weights of laws are at least 0, and add to 1")
        if self.intervals is not None or self.source or self.evidence is None:
            raise ValueError("an average has no intervals and no source, but evidence")
        if self.evidence.spec.law != BEST:
            raise ValueError(f"evidence, spec: law {self.evidence.spec.law} is not {BEST}")
        if len(self.span) != 1 or any(low > high for low, high in self.span.values()):
            raise ValueError("span: give one variable, from its smallest to its largest number")
        return self
