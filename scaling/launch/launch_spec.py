"""What one launch is to do: which runs, how much of them, and whether failures are tried again."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from scaling.launch.events import duration
from scaling.launch.jobs import Job
from scaling.study.study import Study
from scaling.training.run import Run

SHOWN = 10  # values of a column that a message lists
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
      json_lines: whether what happens is printed as JSON, an object a line.
      stop: rules by which runs are given up, as `scaling.launch.stopping` has them.
    """

    retry: bool = False
    only: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    max_parallel: int | None = None
    budget: Budget | None = None
    hang_after: float | None = None
    stop: tuple[str, ...] = ()
    json_lines: bool = False


DEFAULT = LaunchSpec()


class Condition(NamedTuple):
    """On one column of `row`."""

    column: str
    value: str
    equal: bool

    def __str__(self) -> str:
        return f"{self.column}{'=' if self.equal else '!='}{self.value}"


def selected(study: Study, only: Sequence[str]) -> Study:
    """The study with those of its runs alone that meet every condition.

    Args:
      only: "COL=VALUE" or "COL!=VALUE", of the columns of `row`.

    Raises:
      UserError: a condition is none, names no column, or leaves no run.
    """
    if not only:
        return study
    runs = study.runs
    for condition in _conditions(only, study.runs, "--only"):
        found = list(dict.fromkeys(row(run)[condition.column] for run in runs))
        runs = tuple(run for run in runs if _meets(row(run), condition))
        if not runs:
            near = did_you_mean(condition.value, found)
            listed = ", ".join(found[:SHOWN]) + (", ..." if len(found) > SHOWN else "")
            raise UserError([f"--only {condition}: no run is left. {near}There are {listed}."])
    return study.model_copy(update={"runs": runs})


def ordered(queue: Sequence[Job], spec: LaunchSpec) -> list[Job]:
    """Jobs in the order in which they are taken, given those in the order of their length.

    Raises:
      UserError: `spec.first` has no conditions, or names no column.
    """
    runs = [segment.run for job in queue for segment in job.segments]
    found = _conditions(spec.first, runs, "--first")

    def turn(job: Job) -> int:
        rows = [row(segment.run) for segment in job.segments]
        meets = (n for n, each in enumerate(found) if any(_meets(r, each) for r in rows))
        return next(meets, len(found))

    return sorted(queue, key=turn) if found else list(queue)


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
        elif runs and column not in row(runs[0]):
            near = did_you_mean(column, row(runs[0]))
            columns = ", ".join(row(runs[0]))
            mistakes.append(f"{option} {text}: no column '{column}'. {near}Columns: {columns}.")
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
