"""How often a run was tried in vain from one checkpoint: attempts.json in its folder.

A run that makes its worker fail is tried again, for the machine may be at fault. `TRIES` attempts
in a row from the same checkpoint are enough: the run is then failed, with its reason, and no longer
tried. A new checkpoint begins the count anew.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from scaling.base.config import Config
from scaling.runs.damage import text_of

ATTEMPTS = "attempts.json"
TRIES = 3
KEPT = 2_000  # characters of a reason


class Attempts(Config):
    """The contents of attempts.json."""

    step: int = Field(ge=0)
    """Of the checkpoint from which they began."""
    reasons: tuple[str, ...]
    """Why each of them ended, the first one first."""

    def after(self, reason: str, step: int) -> Attempts:
        """With another, which began from the checkpoint of `step`."""
        before = self.reasons if step == self.step else ()
        return Attempts(step=step, reasons=(*before, reason[:KEPT]))


def read_attempts(folder: Path) -> Attempts:
    """Those of a run's folder; none where there is no such file, or none that can be read."""
    try:
        return Attempts.model_validate_json(text_of(folder / ATTEMPTS), strict=True)
    except (FileNotFoundError, ValueError):
        return Attempts(step=0, reasons=())
