"""What one launch is to do: which runs, how much of them, and whether failures are tried again."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fits.base.errors import UserError
from fits.data.tables import Table
from scaling.study.study import Study
from scaling.training.run import Run

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
            return f"{self.seconds / 3600:.3g} device-hours"
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
      budget: None: no limit.
      hang_after: seconds without a step after which a worker is killed and its run tried again;
        None: never.
    """

    retry: bool = False
    only: tuple[str, ...] = ()
    budget: Budget | None = None
    hang_after: float | None = None


DEFAULT = LaunchSpec()


def selected(study: Study, only: Sequence[str]) -> Study:
    """The study with those of its runs alone that meet every condition.

    Args:
      only: "COL=VALUE" or "COL!=VALUE", of the columns of `row`.

    Raises:
      UserError: a condition is none, names no column, or leaves no run.
    """
    if not only:
        return study
    if wrong := [each for each in only if "=" not in each]:
        raise UserError([f"--only {each}: has no '='. Write COL=VALUE." for each in wrong])
    rows = [row(run) for run in study.runs]
    columns = {name: [each[name] for each in rows] for name in rows[0]}
    table = Table(Path(study.name), columns, list(range(len(rows))), counted_in="run")
    split = [each.partition("=")[::2] for each in only]
    if missing := table.missing(name.removesuffix("!") for name, _ in split):
        raise UserError(missing)
    for name, value in split:
        table = table.where(name.removesuffix("!"), value, equal=not name.endswith("!"))
    return study.model_copy(update={"runs": tuple(study.runs[k] for k in table.numbers)})


def row(run: Run) -> dict[str, str]:
    """What tells a run from others, as a table of runs has it."""
    return {
        "run": run.id,
        "model": run.model_name,
        "data_size": "all" if run.data_size is None else str(run.data_size),
        "images_seen": str(run.images_seen),
        "batch": str(run.batch),
        "seed": str(run.seed),
        "trunk": run.trunk,
    }
