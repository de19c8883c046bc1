"""What one launch is to do: which runs, how much of them, and whether failures are tried again."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from scaling.launch.jobs import Job
from scaling.launch.progress.events import duration
from scaling.study.study import Study
from scaling.study.variants import variants
from scaling.training.run import Run

SHOWN = 10  # values of a column that a message lists
VARIANT = "variant"  # the column of which a run alone knows nothing: `scaling.study.variants`
HOURS = re.compile(r"([0-9.]+) ?(s|min|h|d)")
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Budget:
    """What a launch may spend; the workers then keep a checkpoint and leave.

    Fields:
      flops: of training, as `Run.flops` counts them; those of earlier launches are not counted.
      seconds: of devices: each worker's time, times the devices that it has.
    """

    flops: float = math.inf
    seconds: float = math.inf

    @classmethod
    def parse(cls, text: str) -> Budget:
        """From "1e18", FLOPs, or "12h", device-hours.

        Raises:
          UserError: it is neither.
        """
        if match := HOURS.fullmatch(text):
            number, scale = match[1], SECONDS[match[2]]
        else:
            number, scale = text, 1.0
        try:
            value = float(number) * scale
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise UserError(
                [
                    f"--budget {text}: is no budget. Use FLOPs as 1e18, or time of devices as 12h; "
                    "s, min, h and d are its units."
                ]
            )
        return cls(seconds=value) if match else cls(flops=value)

    def __str__(self) -> str:
        if self.seconds < math.inf:
            return f"{duration(self.seconds)} of device time"
        return f"{self.flops:.3g} FLOPs"

    def is_spent(self, flops: float, seconds: float) -> bool:
        """Whether so much is all of it."""
        return flops >= self.flops or seconds >= self.seconds


@dataclass(frozen=True)
class LaunchSpec:
    """What one launch is to do.

    Fields:
      retry: also train runs that failed before.
      only: conditions on runs, as `selected` takes them; () takes all.
      first: conditions on runs: jobs with a run that meets the first of them are taken first, then
        those with one that meets the second, and so on; among equals the longest first.
      max_parallel: workers of this launch at the same time, or jobs of a cluster, at most.
      budget: None: no limit.
      hang_after: seconds without a step, or another phase, after which a worker is killed and its
        run tried again; None: an hour, while it makes steps.
      stop: rules by which runs are given up, as `scaling.launch.stopping` has them.
      json_lines: whether what happens is printed as JSON, an object a line.
      turns: what `first` means, as `chosen` finds it: by the id of each run that meets a condition,
        the number of the first one.
    """

    retry: bool = False
    only: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    max_parallel: int | None = None
    budget: Budget | None = None
    hang_after: float | None = None
    stop: tuple[str, ...] = ()
    json_lines: bool = False
    turns: Mapping[str, int] = field(default_factory=dict)


DEFAULT = LaunchSpec()


class Condition(NamedTuple):
    """On one column of `row`, or on `VARIANT`."""

    column: str
    value: str
    equal: bool

    def __str__(self) -> str:
        return f"{self.column}{'=' if self.equal else '!='}{self.value}"


def chosen(study: Study, spec: LaunchSpec) -> tuple[Study, LaunchSpec]:
    """The study with the runs alone that a launch means, and `spec` with its `turns`.

    Raises:
      UserError: as `selected` does, and where none of these runs meets a condition of `first`.
    """
    left = selected(study, spec.only)
    if not spec.first:
        return left, spec
    conditions = _conditions(spec.first, left.runs, "--first")
    cells = _cells(study, conditions)
    turns: dict[str, int] = {}
    for number, condition in enumerate(conditions):
        for run in _meeting(left.runs, cells, condition, "--first"):
            turns.setdefault(run.id, number)
    return left, replace(spec, turns=turns)


def selected(study: Study, only: Sequence[str]) -> Study:
    """The study with those of its runs alone that meet every condition.

    Args:
      only: "COL=VALUE" or "COL!=VALUE", of the columns of `row`, or of `VARIANT`, as the study's
        tables show it.

    Raises:
      UserError: a condition is none, names no column, or leaves no run.
    """
    if not only:
        return study
    conditions = _conditions(only, study.runs, "--only")
    runs, cells = study.runs, _cells(study, conditions)
    for condition in conditions:
        runs = _meeting(runs, cells, condition, "--only")
    return study.model_copy(update={"runs": runs})


def ordered(queue: Sequence[Job], spec: LaunchSpec) -> list[Job]:
    """Jobs in the order in which they are taken, given those in the order of their length."""
    last = max(spec.turns.values(), default=0) + 1

    def turn(job: Job) -> int:
        return min(spec.turns.get(segment.run.id, last) for segment in job.segments)

    return sorted(queue, key=turn) if spec.turns else list(queue)


def _cells(study: Study, conditions: Sequence[Condition]) -> dict[str, dict[str, str]]:
    """By the id of each run its `row`; its variant too, where a condition is on that."""
    cells = {run.id: row(run) for run in study.runs}
    if any(condition.column == VARIANT for condition in conditions):
        for run, words in variants(study.runs).items():
            cells[run][VARIANT] = words
    return cells


def _meeting(
    runs: Sequence[Run], cells: Mapping[str, Mapping[str, str]], condition: Condition, option: str
) -> tuple[Run, ...]:
    """Those that meet a condition.

    Raises:
      UserError: none does; names what there is.
    """
    found = tuple(run for run in runs if _meets(cells[run.id], condition))
    if not found:
        there = list(dict.fromkeys(cells[run.id][condition.column] for run in runs))
        near = did_you_mean(condition.value, there)
        words = [f"'{each}'" if "," in each else each for each in there[:SHOWN]]
        listed = ", ".join(words) + (", ..." if len(there) > SHOWN else "")
        is_one = condition.column == VARIANT and there == [""]
        what = "The study has no variants." if is_one else f"There are {listed}."
        none = "no run is left" if option == "--only" else "no run meets it"
        raise UserError([f"{option} {condition}: {none}. {near}{what}"])
    return found


def _conditions(texts: Sequence[str], runs: Sequence[Run], option: str) -> list[Condition]:
    """As they were written.

    Raises:
      UserError: one is none, or names no column; all mistakes.
    """
    found, mistakes = [], []
    for text in texts:
        name, equals, value = text.partition("=")
        column = name.removesuffix("!")
        if not equals:
            mistakes.append(f"{option} {text}: has no '='. Write COL=VALUE.")
        elif runs and column not in (columns := (*row(runs[0]), VARIANT)):
            near, listed = did_you_mean(column, columns), ", ".join(columns)
            mistakes.append(f"{option} {text}: no column '{column}'. {near}Columns: {listed}.")
        else:
            found.append(Condition(column, value, equal=not name.endswith("!")))
    if mistakes:
        raise UserError(mistakes)
    return found


def _meets(cells: Mapping[str, str], condition: Condition) -> bool:
    value = condition.value
    if value.replace("_", "").isdecimal():  # 51_200
        value = value.replace("_", "")
    return (cells[condition.column] == value) == condition.equal


def row(run: Run) -> dict[str, str]:
    """What tells a run from others, as a table of runs has it."""
    return {
        "run": run.id,
        "model": run.model_name,
        "data_size": "all" if run.data_size is None else str(run.data_size),
        "subset": run.data.subset,
        "resample": run.resample or "none",
        "images_seen": str(run.images_seen),
        "batch": str(run.batch),
        "seed": str(run.seed),
        "trunk": run.trunk,
    }
