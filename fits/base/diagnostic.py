"""Diagnostic: a finding as data. `messages.py` renders it into words.

What speaks against a fit, a note on the table, and what `check` finds are all such findings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isclose, isfinite
from typing import Any, TypeAlias

from fits.base.messages import MESSAGES, render

Numbers: TypeAlias = Mapping[str, float | tuple[float, ...]]


@dataclass(frozen=True)
class Diagnostic:
    """One finding on a fit, on its table or on a law that was saved."""

    code: str  # what was found, a key of `messages.MESSAGES`
    parameters: tuple[str, ...] = ()
    """Names of what it is about: parameters or variables of the law, columns of the table,
    methods, options."""
    numbers: Numbers = field(default_factory=dict)
    """What decided it, by name."""

    def __post_init__(self) -> None:
        if self.code not in MESSAGES:
            raise ValueError(f"there is no diagnostic '{self.code}'; add it to messages.py.")

    @property
    def words(self) -> str:
        """For a person."""
        return render(self.code, self.parameters, self.numbers)

    def to_json(self) -> dict[str, Any]:
        """Code, parameters, numbers and words; a number that is not finite is null."""
        return {
            "code": self.code,
            "parameters": list(self.parameters),
            "numbers": {name: _plain(value) for name, value in self.numbers.items()},
            "words": self.words,
        }

    def agrees(self, other: Diagnostic, tolerance: float) -> bool:
        """Whether the other says the same, its numbers to within this relative tolerance."""
        return (
            self.code == other.code
            and self.parameters == other.parameters
            and self.numbers.keys() == other.numbers.keys()
            and all(_close(mine, other.numbers[k], tolerance) for k, mine in self.numbers.items())
        )


def _plain(value: float | tuple[float, ...]) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value if isfinite(value) else None


def _close(
    one: float | tuple[float, ...], other: float | tuple[float, ...], tolerance: float
) -> bool:
    mine, its = (each if isinstance(each, tuple) else (each,) for each in (one, other))
    pairs = zip(mine, its, strict=False)
    return len(mine) == len(its) and all(
        isclose(a, b, rel_tol=tolerance, abs_tol=1e-12) for a, b in pairs
    )
