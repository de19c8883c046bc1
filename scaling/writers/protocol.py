"""What a tool that shows learning curves is told of a run, whichever tool it is.

A writer keeps nothing that is not in the folder of runs too: metrics.jsonl and results.jsonl are
the truth. It knows no other run, and not how far it was told before: `export.py` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from scaling.base.config import contents
from scaling.runs.metrics_file import MetricsLine
from scaling.study.study import Study
from scaling.training.run import Run


class About(NamedTuple):
    """Which run it is."""

    study: str
    """Its name, which tools call a project."""
    run: str
    """The id."""
    name: str
    """For a person: model, data size, images seen, seed."""
    config: dict[str, Any]
    """What decides the run, as plain JSON. Nothing of the environment is in it."""


class Sink(Protocol):
    """One run in a tool, open."""

    def line(self, step: int, numbers: Mapping[str, float]) -> None:
        """What was seen at a step; steps grow."""

    def results(self, step: int, numbers: Mapping[str, float]) -> None:
        """What was measured, by metric, after the last step."""

    def flush(self) -> None:
        """What was told is kept, whatever happens to this process."""

    def close(self) -> None:
        """Flush; nothing more will be told for now."""


class Writer(Protocol):
    """A tool. Any of its methods may raise whatever the tool raises."""

    def __init__(self, folder: Path):
        """
        Args:
          folder: for its files; may not exist.
        """

    def open(self, about: About, after: int) -> Sink:
        """Go on with a run, or begin it.

        Args:
          after: the last step that it was told; 0: none. A later one, which a process told that
            was killed before that was noted, is told again.
        """


def about(study: Study, run: Run) -> About:
    size = "all" if run.data_size is None else f"{run.data_size}"
    part = "" if run.data.subset == "all" else f" {run.data.subset}"
    return About(
        study=study.name,
        run=run.id,
        name=f"{run.model_name} data {size}{part} images {run.images_seen} seed {run.seed}",
        config={"run": run.id, "params": run.params, "flops": run.flops, **contents(run)},
    )


def numbers(run: Run, line: MetricsLine) -> dict[str, float]:
    """All that a line knows, by name; the norms of layers one by one."""
    plain = line.model_dump(exclude={"step", "layer_gradient_norms"}, exclude_none=True)
    layers = enumerate(line.layer_gradient_norms or ())
    return {
        **plain,
        "flops": run.flops * line.images_seen / run.images_seen,
        **{f"layer_gradient_norm/{i:02}": norm for i, norm in layers if norm is not None},
    }
