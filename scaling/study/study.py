"""A question and the runs that answer it.

Reading a study file, with every mistake named at once, is the work of `parse.py`.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from models.precision import Compute
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
    launcher: dict[str, Any] = Field(default_factory=dict)
    """The table `[launcher]` of its file, which `scaling.launch.protocol.launcher` reads."""
    compute_open: bool = False
    """Whether the machine decides the dtype that runs compute in; they say float32 till then."""

    def computed_in(self, compute: Compute) -> Study:
        """The study with that decided; the runs have other ids."""
        runs = tuple(
            run if run.compute == compute else run.model_copy(update={"compute": compute})
            for run in self.runs
        )
        return self.model_copy(update={"runs": runs, "compute_open": False})
