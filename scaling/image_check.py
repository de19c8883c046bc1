"""The look at a run's images before its first step, on every process that trains it.

What may be left out is decided here: all processes must leave out the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TypeGuard

import numpy as np

from fits.base.errors import UserError
from scaling.base.config import digest
from scaling.base.console import note
from scaling.data.around.source import innermost
from scaling.data.files.encoded import EncodedSource
from scaling.data.folder import Folder
from scaling.data.labels import check_labels as check_all_labels
from scaling.data.order import subset
from scaling.data.pixels.decode import UnreadableImages, together
from scaling.data.source import SourceConfig
from scaling.evaluate import Evaluation
from scaling.evaluate.frozen.tasks import FrozenTask
from scaling.study.sources import sources_of
from scaling.training.hosts import agreed_word, all_processes
from scaling.training.run import Run


def check_images(run: Run, evaluations: Sequence[Evaluation]) -> None:
    """Look at the images that will be trained and measured on, those of each source once.

    Raises:
      ValueError: some cannot be read; of all sources, those that are named.
      UserError: too few are left, or other ones than on the first process, or labels do not suit an
        evaluation.
    """
    sources = sources_of(run, evaluations)
    unreadable: list[UnreadableImages] = []
    for source in sources:
        try:
            _check(source)
        except UnreadableImages as error:
            unreadable.append(error)
    if unreadable:
        raise together(unreadable)
    for source in dict.fromkeys(map(innermost, sources)):
        if _may_skip(source):
            _check_skipped(source)
    _check_size(run)
    _check_needed(run)
    check_labels(evaluations)


def _check_needed(run: Run) -> None:
    """Raise UserError where the loss needs a label of every image and one that the run learns from
    has none, if labels can be told apart from images; else that ends the training at that image."""
    source = run.data
    if not run.objective.needs_labels or source.labels_each is None or not source.labels_at_hand:
        return
    labels = source.labels()
    numbers = np.arange(len(labels)) if run.data_size is None else np.arange(run.data_size)
    numbers = subset(numbers, len(labels))
    check_all_labels(labels[numbers], source.classes, numbers, needed=True)


def check_labels(evaluations: Sequence[Evaluation]) -> None:
    """The labels that tasks learn from suit them, those too that a study's check left unread.

    Raises:
      UserError: of each that they do not suit, why.
    """
    tasks = [each for each in evaluations if isinstance(each, FrozenTask)]
    if wrong := [f"{each.name}: {said}" for each in tasks if (said := _unsuited(each))]:
        raise UserError(wrong)


@cache  # a process trains several runs that are measured alike
def _unsuited(task: FrozenTask) -> str | None:
    return task.unsuited()


@cache  # of what is found well: an error is not remembered
def _check(source: SourceConfig) -> None:
    source.check(note)


def _may_skip(source: SourceConfig) -> TypeGuard[EncodedSource | Folder]:
    return isinstance(source, EncodedSource | Folder) and source.skip_unreadable > 0


def _check_skipped(source: EncodedSource | Folder) -> None:
    """All processes leave out the same images."""
    opens = [source.heldout] if source.heldout_only else [source.train, source.heldout]
    here = digest([sorted(opened().skipped) for opened in opens])
    if not all_processes(here == agreed_word(here)):
        raise UserError(
            [
                "the processes that train together would skip different images: their files, or "
                "their versions of the decoder, differ. Make them equal."
            ]
        )


def _check_size(run: Run) -> None:
    """What was skipped may leave too few images for the run's `data_size`."""
    if run.data_size is None or not _may_skip(innermost(run.data)):
        return
    left = run.data.train().size
    if left is not None and run.data_size > left:
        raise UserError(
            [f"data_size = {run.data_size:_}, and {left:_} images can be read; give fewer."]
        )
