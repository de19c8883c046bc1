"""How a learning rate changes over a run: its value, and its sum up to a step.

Knows no curve. x is whatever the run is counted in (steps, images, tokens); the rate is counted in
units of its peak, and warm-up is not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from fits.base.numbers import Array
from fits.spec import SCHEDULES

Kind = Literal["cosine", "linear", "constant", "rsqrt"]
TRUNKS: tuple[Kind, ...] = ("constant", "rsqrt")  # that end in a cooldown
GRID = 4097  # of the sum, from 0 to the end of the run


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A learning rate as a function of x.

    Fields:
      kind: `cosine` or `linear` from the peak to `final` at `until`; `constant` or `rsqrt`
        (1 / sqrt(1 + x / timescale)) of a trunk, times a linear fall to 0 in the cooldown of a run.
      until: x where the run ends.
      final: rate at the end of a cosine or a line, in units of the peak, in [0, 1).
      cooldown: share of the run, the last, in which the rate of a trunk falls to 0, in (0, 1].
      timescale: of rsqrt, in the unit of x.
    """

    kind: Kind
    until: float
    final: float = 0.0
    cooldown: float = 0.2
    timescale: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULES:
            raise ValueError(f"no schedule {self.kind!r}; use {', '.join(SCHEDULES)}.")
        limits = {
            "until": (self.until, 0 < self.until < np.inf, "a number above 0"),
            "final": (self.final, 0 <= self.final < 1, "from 0 to below 1"),
            "cooldown": (self.cooldown, 0 < self.cooldown <= 1, "above 0, and 1 at most"),
        }
        for name, (value, fine, allowed) in limits.items():
            if not fine:
                raise ValueError(f"{name} is {value:g}; it must be {allowed}.")
        if self.kind == "rsqrt" and not (self.timescale and 0 < self.timescale < np.inf):
            raise ValueError(
                "a schedule rsqrt needs its timescale, above 0 and in the unit of x (of this "
                "project's runs: timescale_steps of the recipe)."
            )

    @property
    def trunk(self) -> bool:
        """Whether runs of other durations share its beginning."""
        return self.kind in TRUNKS

    def rate(self, x: Array) -> Array:
        """In units of the peak, at every x, the cooldown before `until` included."""
        part = np.clip(x / self.until, 0, 1)
        if self.trunk:
            return self._of_trunk(x) * np.clip((1 - part) / self.cooldown, 0, 1)
        falling = 1 - part if self.kind == "linear" else (1 + np.cos(np.pi * part)) / 2
        return self.final + (1 - self.final) * falling

    def area(self, x: Array) -> Array:
        """Integral of the rate from 0 to x, in units of `until`; beyond it, of `final`."""
        grid, sums = self._sums
        return np.interp(x / self.until, grid, sums) + self.final * np.maximum(
            x / self.until - 1, 0
        )

    def cooled(self, x: Array) -> Array:
        """Integral over a run that ends at x with its own cooldown, in units of `until`."""
        start = (1 - self.cooldown) * x
        steps = np.linspace(0, 1, 65)
        inside = self._of_trunk(start + self.cooldown * x * steps[:, None]) * (1 - steps)[:, None]
        return self._trunk_area(start) + _sum(inside, steps) * self.cooldown * x / self.until

    def trunk_area(self, x: Array) -> Array:
        """Integral of the rate from 0 to x where there is no cooldown, in units of `until`."""
        return self._trunk_area(x) if self.trunk else self.area(x)

    def trunk_rate(self, x: Array) -> Array:
        """In units of the peak where there is no cooldown."""
        return self._of_trunk(x) if self.trunk else self.rate(x)

    def _of_trunk(self, x: Array) -> Array:
        if self.kind == "constant":
            return np.ones_like(x)
        assert self.timescale is not None  # __post_init__
        return 1 / np.sqrt(1 + x / self.timescale)

    def _trunk_area(self, x: Array) -> Array:
        if self.kind == "constant":
            return x / self.until
        assert self.timescale is not None  # __post_init__
        return 2 * self.timescale * (np.sqrt(1 + x / self.timescale) - 1) / self.until

    @cached_property
    def _sums(self) -> tuple[Array, Array]:
        grid = np.linspace(0, 1, GRID) ** 2  # dense where a curve begins
        rates = self.rate(grid * self.until)
        steps = np.diff(grid) * (rates[1:] + rates[:-1]) / 2
        return grid, np.concatenate([[0.0], np.cumsum(steps)])


def _sum(values: Array, at: Array) -> Array:
    """By the trapezoidal rule along the first axis."""
    return ((values[1:] + values[:-1]) / 2 * np.diff(at)[:, None]).sum(axis=0)
