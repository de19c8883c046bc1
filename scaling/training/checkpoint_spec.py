"""CheckpointSpec: when training states are kept, and for how long. No part of a run's id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from scaling.base.config import Clash, Config

EVERY_SECONDS = 300.0


class CheckpointSpec(Config):
    """When training states are kept, besides those at the ends of trunks and runs."""

    every_seconds: float | None = Field(None, gt=0, allow_inf_nan=False)
    """By the clock; left out, and `every_steps` too: 300."""
    every_steps: int | None = Field(None, gt=0)
    """By the number of the step instead."""
    keep: Literal["all", "needed"] = "all"
    """`all`: every point of a trunk from which a run has branched stays, for runs that a wider grid
    may add; `needed`: one goes as soon as no run in the folder of runs has still to start there."""

    def clashes(self) -> Iterator[Clash]:
        if self.every_seconds is not None and self.every_steps is not None:
            yield Clash(
                ("every_seconds", "every_steps"),
                f"every_seconds = {self.every_seconds:g} and every_steps = {self.every_steps}: a "
                "state is kept by the clock or by the step; leave one of the two out.",
            )

    def due(self, step: int, seconds: float) -> bool:
        """Whether a state is to be kept after update `step`, `seconds` after the last one."""
        if self.every_steps is not None:
            return step % self.every_steps == 0
        return seconds >= (EVERY_SECONDS if self.every_seconds is None else self.every_seconds)

    def next_step(self, step: int) -> int | None:
        """The first step after `step` at which one is due by number; None: the clock decides."""
        return (
            None if self.every_steps is None else (step // self.every_steps + 1) * self.every_steps
        )


DEFAULT = CheckpointSpec()
