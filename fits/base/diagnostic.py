"""Diagnostic: what speaks against a fit, as data. `messages.py` renders it into words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isclose, isfinite
from typing import Any

from fits.base.messages import MESSAGES


@dataclass(frozen=True)
class Diagnostic:
    """One finding against a fit."""

    code: str  # what was found, a key of `messages.MESSAGES`
    parameters: tuple[str, ...] = ()  # of the law, or its variables, that it is about
    numbers: Mapping[str, float | tuple[float, ...]] = field(default_factory=dict)
    """What decided it, by name."""

    def __post_init__(self) -> None:
        if self.code not in MESSAGES:
            raise ValueError(f"there is no diagnostic '{self.code}'; add it to messages.py.")

    @property
    def words(self) -> str:
        """For a person."""
        message = MESSAGES[self.code]
        if callable(message):
            return message(self.parameters, self.numbers)
        return message.format(*self.parameters, **self.numbers)

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
