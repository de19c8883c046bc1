"""Where the images of runs and of their evaluations come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from scaling.data.source import SourceConfig
from scaling.evaluate import Evaluation
from scaling.evaluate.frozen.tasks import FrozenTask
from scaling.evaluate.trained.trains import Trains
from scaling.training.run import Run


class Task(NamedTuple):
    """Images that an evaluation looks at, beside those that the run is trained on.

    Fields:
      name: for a person, different for each task of an evaluation that has several.
      learns: whether its training images are looked at too, and not the held-out ones alone.
    """

    name: str
    source: SourceConfig
    learns: bool


def tasks_of(evaluation: Evaluation, run: Run) -> Iterator[Task]:
    """Each with the images as they are shown to the network of this run."""
    if isinstance(evaluation, Trains):
        for each in evaluation.transfers(run):
            yield Task(each.label, each.setting.shown.source(each.task.data), learns=True)
    elif (own := evaluation.source(run.data)) is not None and own != run.data:
        yield Task(evaluation.name, own, learns=isinstance(evaluation, FrozenTask))


def sources_of(run: Run, evaluations: Sequence[Evaluation]) -> list[SourceConfig]:
    """Where the images of a run and its evaluations come from, each source once."""
    found = [run.data, *(task.source for each in evaluations for task in tasks_of(each, run))]
    return list(dict.fromkeys(found))
