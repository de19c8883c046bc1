"""What the trainings of an evaluation leave in the folder of the run that is measured.

    finetune/<id>.json      what was found of a training, written when it is measured
    finetune/<id>/trunk/    its checkpoints until then, from before its length mattered,
    finetune/<id>/own/      and from after

Knows no JAX: `trainings.py` writes it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from pydantic import Field

from scaling.base.config import Config
from scaling.base.storage import delete_below, is_object
from scaling.training import checkpoints
from scaling.training.checkpoint_manifest import sealed, unsealed

FOLDER, TRUNK, OWN = "finetune", "trunk", "own"


class Outcome(Config):
    """What a training was good for, on the held-out images of its run's data."""

    run: str
    """Its id."""
    model: str
    from_scratch: bool = False
    learning_rate: float
    steps: int = Field(ge=0)
    images_seen: int
    flops: float
    seconds: float = Field(ge=0)
    """Of training."""
    error: float | None = Field(ge=0, le=1)
    """Top-1; None: it diverged."""
    n: int = Field(ge=0)
    """Images behind it."""
    reason: str | None = None
    """Why it diverged, in words."""


def outcome_text(found: Outcome) -> str:
    """The file's text, with a sum of its own."""
    return sealed(found.model_dump()) + "\n"


def read_outcome(path: Path) -> Outcome | None:
    """What was found of a training; None where there is no such file, or it is not what was
    written: that training is then made again."""
    try:
        return Outcome.model_validate(unsealed(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return None


def outcomes(folder: Path) -> list[Outcome]:
    """What was found of every training there, in the order of their ids."""
    paths = sorted((folder / FOLDER).glob("*.json"), key=lambda path: path.name)
    return [found for found in map(read_outcome, paths) if found is not None]


def steps_done(folder: Path) -> int:
    """Steps that are not made again, of all trainings together; only grows."""
    there = folder / FOLDER
    if not there.is_dir():
        return 0
    ended = outcomes(folder)
    ids = {each.run for each in ended}
    begun = [path for path in there.iterdir() if path.is_dir() and path.name not in ids]
    return sum(each.steps for each in ended) + sum(map(_reached, begun))


def _reached(folder: Path) -> int:
    """The last step of a training that was kept."""
    parts = (checkpoints.found(folder / part) for part in (TRUNK, OWN))
    return max((step for part in parts for step, _ in part), default=0)


def forget(there: Path, check: Callable[[], None]) -> None:
    """Delete a folder of trainings, or that of one, now that its results are written; `check`
    raises where another process has taken over."""
    if not there.is_dir():
        return
    check()
    if is_object(there):
        delete_below(there)
    else:
        shutil.rmtree(there, ignore_errors=True)
