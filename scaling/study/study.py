"""A question and the runs that answer it.

Reading a study file, with every mistake named at once, is the work of `parse.py`.
"""

from __future__ import annotations

from scaling.base.config import Config
from scaling.evaluate import Evaluation
from scaling.training.checkpoint_spec import DEFAULT as CHECKPOINTS
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.placement_spec import DEFAULT, PlacementSpec
from scaling.training.run import Run


class Study(Config):
    """A question, and the runs whose results answer it."""

    name: str
    question: str
    runs: tuple[Run, ...]
    evaluate: tuple[Evaluation, ...]
    placement: PlacementSpec = DEFAULT
    """How its runs are computed; no part of what they are."""
    checkpoints: CheckpointSpec = CHECKPOINTS
    """When their training states are kept; no part of what they are."""
