"""FitSpec: everything that decides a fit's digits, the table itself aside. Holds every default.

Knows columns and names alone: what is done with them is the business of `regression` and `report`.
The command line takes its defaults from here, so importing this file loads no numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, TypeAlias

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from fits.data.conditions import mistake, parsed
from fits.laws.names import ALIASES, GROWING, RISING

LEVEL = 0.9  # of intervals
REPLICATES = 1000  # refits of the bootstrap, where there is one
SEED = 0
HELD_OUT = Fraction(1, 3)  # of the points, those of largest x, by which laws are compared
EFFICIENT = 1.345  # Huber's threshold, in standard deviations: 95 % efficient if errors are normal
REPEATS = 16  # runs of one x that `fit-laws next` plans for, at most
LEVELS = 0.01, 0.999
DELTAS = 1e-9, 10.0  # Huber's threshold: log errors, or errors
KINDS = ("error", "error-percent", "accuracy", "accuracy-percent", "loss", "quantity")  # of y
ROWS = ("frontier", "hull", "all")
LOSSES = ("squares", "huber", "one-sided", "quantile")
QUANTILE = 0.1  # of runs below the curve, where the loss is that of a quantile
QUANTILES = 0.01, 0.99
SCALES = ("log", "linear")
FORECAST = "forecast"  # in place of a law: an average over many
BEST = "best"  # in place of a law: an average over laws, for a frontier
SCHEDULES = ("cosine", "linear", "constant", "rsqrt")  # of a learning rate; the last two: trunks
COOLED = ("1", "yes", "true", "y", "t")  # cells of a row measured at the end of a cooldown
NOT_COOLED = ("0", "no", "false", "n", "f")
FLOPS_PER_EXAMPLE = 6.0  # of training, a parameter and an image or token: k of compute = k N D

Huber: TypeAlias = float | Literal["auto"] | None
"""Huber's threshold; "auto": EFFICIENT times the noise; None: squares."""


@dataclass(frozen=True, kw_only=True)
class RateSpec:
    """How the learning rate of a curve changes, for its forecast.

    Fields:
      schedule: one of SCHEDULES.
      until: x where the run ends, in the unit of x.
      final: rate at the end of a cosine or a line, in units of its peak.
      cooldown: share of a run in which the rate of a trunk falls to 0.
      timescale: of rsqrt, 1 / sqrt(1 + x / timescale), in the unit of x.
      cooled: column that says which rows were measured at the end of a cooldown (COOLED); "": none.
      trunk: a table of the trunk's own curve, whose columns are those of the table that is fitted;
        all rows of that one have then cooled down. "": there is none.
    """

    schedule: Literal["cosine", "linear", "constant", "rsqrt"]
    until: float
    final: float = 0.0
    cooldown: float = 0.2
    timescale: float | None = None
    cooled: str = ""
    trunk: str = ""


@dataclass(frozen=True, kw_only=True)
class FitSpec:
    """How a table is fitted.

    Fields:
      x: columns of the resource spent, one a variable of the law.
      y: column of what was measured.
      y_is: what y is, one of KINDS.
      where: conditions on every row, such as "COL=VALUE" or "COL>=NUMBER"; `data/conditions.py`
        has them all.
      last_of: columns that name a run: its last row alone is taken, after `where`.
      best_of: columns that make a setting: its best row alone is taken, after `last_of`.
      rows: the points to fit, one of ROWS: the frontier of the runs, its hull, or all of them;
        None: the frontier of errors for a law of one variable that falls, all of them otherwise.
      law: the curve, a name in `laws.registry`, or FORECAST, or BEST; the default is growth for a
        quantity.
      loss: one of LOSSES; Huber's, so that outliers count less; one-sided, so that those above the
        curve do, such as undertuned runs; of a quantile, so that the curve is a lower envelope.
      huber: residuals beyond this threshold count in proportion to their size; "auto", which
        Huber's loss makes of None: EFFICIENT times the noise; None: squares.
      quantile: share of the points that the curve leaves below it; None: QUANTILE where the loss is
        that of a quantile.
      scale: one of SCALES; errors count as ratios or as differences.
      fix: parameter of the law -> the number that it is held at.
      tie: parameter -> the free parameter that it equals.
      fix_steps: how uncertain the parameters in `fix` are where an earlier fit gave them:
        [directions, parameters], one standard error in each independent direction, of the logarithm
        of a parameter that is above 0 (`regression.two_stage`); empty: they are exact.
      weights: column of how much each run counts, as one over its variance; "": all alike.
      clusters: columns; the errors of runs that agree in all of them may be correlated. Empty: the
        seeds of one setting, where the table has several, and else each run on its own.
      level: probability with which an interval is meant to contain the truth.
      replicates: refits of the bootstrap.
      seed: of its draws, and of those of an average.
      average: whether predictions are those of the average over laws (`fits.average`), with an
        interval that is not conditional on `law`; BEST always is.
      rate: the learning rate of a curve, for its forecast; None: not told.
    """

    x: tuple[str, ...]
    y: str
    y_is: str = "error"
    where: tuple[str, ...] = ()
    rows: str | None = None
    law: str = "saturating"
    loss: str = "squares"
    huber: Huber = None
    quantile: float | None = None
    scale: str = "log"
    fix: Mapping[str, float] = field(default_factory=dict)
    tie: Mapping[str, str] = field(default_factory=dict)
    fix_steps: tuple[tuple[float, ...], ...] = ()
    weights: str = ""
    clusters: tuple[str, ...] = ()
    level: float = LEVEL
    replicates: int = REPLICATES
    seed: int = SEED
    last_of: tuple[str, ...] = ()
    best_of: tuple[str, ...] = ()
    average: bool = False
    rate: RateSpec | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "law", ALIASES.get(self.law.lower(), self.law))
        if self.y_is == "quantity" and self.law == FitSpec.law and len(self.x) == 1:
            object.__setattr__(self, "law", "growth")  # no error: of either way, without a floor
        if self.rows is None:
            every = self.law in (FORECAST, *GROWING, *RISING) or self.y_is == "quantity"
            rows = "all" if len(self.x) > 1 or every else "frontier"
            object.__setattr__(self, "rows", rows)
        if self.loss in LOSSES[1:] and self.huber is None:
            object.__setattr__(self, "huber", "auto")
        if self.loss == "quantile" and self.quantile is None:
            object.__setattr__(self, "quantile", QUANTILE)
        if found := self.mistakes():
            raise UserError(*([each] for each in found))

    @property
    def error_name(self) -> str:
        """Name of the error that is fitted."""
        return f"1 - {self.y}" if self.y_is.startswith("accuracy") else self.y

    def mistakes(self) -> list[str]:
        """Everything in it that cannot be, in words."""
        from fits.laws.constrained import Constraint
        from fits.laws.registry import EVERY_LAW

        found = [
            *_unknown("y_is", self.y_is, KINDS),
            *_unknown("rows", self.rows or "", ROWS),
            *_unknown("law", self.law, (*EVERY_LAW, FORECAST, BEST), tuple(ALIASES)),
            *_unknown("loss", self.loss, LOSSES),
            *_unknown("scale", self.scale, SCALES),
            *_outside("level", self.level, LEVELS),
            *([] if self.huber is None else _outside("huber", self.huber, DELTAS)),
            *([] if self.quantile is None else _outside("quantile", self.quantile, QUANTILES)),
        ]
        if self.huber is not None and self.loss == "squares":
            found.append("huber: squares have no threshold. Leave it out, or say loss huber.")
        if self.quantile is not None and self.loss != "quantile":
            found.append(
                f"quantile: loss {self.loss} has none. Leave it out, or say loss quantile."
            )
        found += [
            f"where: {wrong}"
            for each in self.where
            if not parsed(each) and (wrong := mistake(each))
        ]
        if self.best_of and self.y_is == "quantity":
            found.append("best_of: of a quantity that rises no row is the best. Leave it out.")
        if self.rate is not None and self.law != FORECAST:
            found.append(f"schedule: of a forecast alone, not of law {self.law}. Leave it out.")
        if self.law == FORECAST:
            found += [*self._not_for_a_forecast(), *self._wrong_variables(("x",))]
        elif self.law in EVERY_LAW:
            found += self._wrong_variables(EVERY_LAW[self.law].variables)
            found += Constraint(self.fix, self.tie).mistakes(EVERY_LAW[self.law])
            found += self._no_rates(EVERY_LAW[self.law].roles)
        if any(len(step) != len(self.fix) for step in self.fix_steps):
            found.append(f"fix_steps: give {len(self.fix)} numbers a step, one a parameter in fix.")
        if self.law == BEST or self.average:
            found += [*self._not_for_an_average(), *self._one_variable()]
        return found

    def _no_rates(self, roles: Mapping[str, str]) -> list[str]:
        """Floors and chances held at what no rate is; a law is of fractions."""
        if self.y_is in ("loss", "quantity") or self.y_is not in KINDS:
            return []
        said = "If y is a loss, say y_is loss"
        if self.y_is.endswith("percent"):
            said = "Laws are of fractions of 1, whatever the table has: write 12 % as 0.12"
        return [
            f"fix: {name} = {value:g} is held for an error rate, which is at most 1. {said}."
            for name, value in self.fix.items()
            if roles.get(name) in ("floor", "chance") and value > 1
        ]

    def _not_for_an_average(self) -> list[str]:
        given = {
            "weights": self.weights,
            "fix": self.fix,
            "tie": self.tie,
            "loss": self.loss != "squares",
            "scale": self.scale != "log",
            "y_is": self.y_is == "quantity",
        }
        return [
            f"{name}: an average over laws takes runs as they are, and errors as ratios. Leave it "
            "out, or name a law."
            for name, value in given.items()
            if value
        ]

    def _one_variable(self) -> list[str]:
        if len(self.x) == 1:
            return []
        return [
            f"x: an average over laws takes one, and {len(self.x)} are given. Give one, or name a "
            "law of several variables."
        ]

    def _not_for_a_forecast(self) -> list[str]:
        given = {
            "weights": self.weights,
            "clusters": self.clusters,
            "fix": self.fix,
            "tie": self.tie,
            "loss": self.loss != "squares",
            "scale": self.scale != "log",
        }
        return [
            f"{name}: a forecast takes the points as they are. Leave it out."
            for name, value in given.items()
            if value
        ]

    def _wrong_variables(self, names: Sequence[str]) -> list[str]:
        if len(self.x) != len(names):
            return [
                f"x: law {self.law} takes {len(names)} ({', '.join(names)}), and {len(self.x)} are "
                "given. Give one column for each, in this order."
            ]
        if len(names) > 1 and self.rows != "all":
            return [f"rows: a law of several variables takes all points, not the {self.rows}."]
        if self.law in RISING and self.rows != "all":
            return [f"rows: the error rises in law {self.law}; it takes all points."]
        return []


def _unknown(field: str, name: str, known: Sequence[str], also: Sequence[str] = ()) -> list[str]:
    if name in known:
        return []
    meant = did_you_mean(name, [*known, *also])
    return [f"{field}: no '{name}'. {meant}Use {', '.join([*known, *also])}."]


def _outside(field: str, number: float | str, limits: tuple[float, float]) -> list[str]:
    low, high = limits
    if isinstance(number, str):
        return [] if number == "auto" else [f"{field}: '{number}' is neither auto nor a number."]
    return (
        [] if low <= number <= high else [f"{field}: {number:g} is not from {low:g} to {high:g}."]
    )
