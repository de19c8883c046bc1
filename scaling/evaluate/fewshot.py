"""The few-shot linear protocol of big_vision, step by step.

Frozen features, a handful of labelled images a class, ridge regression in closed form.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from scaling.config import Config
from scaling.data import Source


class FewShot(Config):
    """Ridge regression on the features of a few labelled images a class.

    Source: big_vision, `evaluators/fewshot_lsr.py` (commit 0127fb6).
    """

    kind: Literal["fewshot"] = "fewshot"
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Names the metrics: `<name>_<shots>shot_error`."""
    data: Source
    """The transfer task; its training images are what shots are drawn from."""
    shots: tuple[int, ...] = (1, 5, 10)
    """Labelled images a class; smaller sets lie inside larger ones."""
    subsets: int = Field(3, gt=0)
    """How many times the shots are drawn; the mean over draws is what counts."""
    ridge: float = Field(1024.0, gt=0)
    """Weight of the squared norm, on a sum (not a mean) over images."""

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(f"{self.name}_{k}shot_error" for k in self.shots)
