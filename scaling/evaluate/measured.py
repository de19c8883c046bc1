"""One number that an evaluation found."""

from typing import NamedTuple


class Measured(NamedTuple):
    """`value` of `metric`, from `n` held-out examples."""

    metric: str
    value: float
    n: int
