"""Evaluations and sources of a file against each other and against the images that are there.

Knows no grid and no network: a study's file and one of tasks alone hold the same tables.
"""

from __future__ import annotations

import math

from scaling.data import Source
from scaling.evaluate import Evaluation
from scaling.evaluate.frozen.own_head import OwnHead
from scaling.evaluate.frozen.reads_text import ReadsText
from scaling.evaluate.frozen.tasks import FrozenTask
from scaling.evaluate.trained.trains import Trains
from scaling.objectives.teacher import names_of
from scaling.study.axes import Data
from scaling.study.reading import Reading
from scaling.study.toml_lines import KeyPath
from scaling.study.trainings import sources_in


def check_source(
    file: Reading,
    place: KeyPath,
    data_needed: bool,
    planned: bool = False,
    *,
    to_train: bool = True,
) -> Data:
    """What is known of the source at `place`; notes what is wrong with it.

    Args:
      data_needed: whether to look at the images.
      planned: whether they may be private, as nothing is trained.
      to_train: whether something is learnt from them; else held-out images are enough.
    """
    data = Data()
    source = file.part(Source, place)
    if source is None:
        return data
    doubtful = file.doubtful(place, type(source))
    if "resolution" not in doubtful:
        data.resolution = source.resolution
    if not data_needed:
        return data
    if not (planned and source.private) and (fault := source.fault(to_train)):
        file.mistake((*place, fault.key), fault.words)
    elif not doubtful:
        train, heldout = source.sizes()
        data.train_size = math.inf if train is None else train
        data.heldout_size = math.inf if heldout is None else heldout
        data.source = source
    return data


def check_evaluations(file: Reading, data: Data, data_needed: bool, planned: bool) -> None:
    """Notes what is wrong with the evaluations of a file.

    Args:
      data: what is known of the source in [data]; nothing, where there is none.
      data_needed, planned: as of `check_source`.
    """
    measured: dict[str, KeyPath] = {}
    for place in file.tables("evaluate"):
        evaluation = file.part(Evaluation, place)
        if isinstance(evaluation, Trains):  # at a resolution of its own
            for each in sources_in(file, place):
                _check_classes(file, each, check_source(file, each, data_needed, planned))
        elif isinstance(evaluation, OwnHead | ReadsText):
            _check_shown(file, place, evaluation, data, data_needed)
        elif "data" in file.at(place):
            task = _check_transfer(file, (*place, "data"), data, data_needed)
            _check_classes(file, (*place, "data"), task)
            if isinstance(evaluation, FrozenTask) and task.source is not None:
                _check_size(file, place, evaluation, task)
                _check_labels(file, place, evaluation, task)
        if evaluation is None or file.doubtful(place, type(evaluation)):
            continue
        for metric in evaluation.metrics:
            if metric in measured:
                file.mistake(place, f"{metric} is measured twice; keep one, or rename one.")
                break
            measured[metric] = place


def _check_shown(
    file: Reading,
    place: KeyPath,
    evaluation: OwnHead | ReadsText,
    data: Data,
    data_needed: bool,
) -> None:
    """The images that a network itself is measured on are there, and have the classes that its head
    knows, or the names and captions that it reads."""
    own = "data" in file.at(place)
    place_of_data = (*place, "data")
    shown = check_source(file, place_of_data, data_needed, to_train=False) if own else data
    if own:
        _check_resolution(file, place_of_data, shown, data)
    if file.doubtful(place, type(evaluation)):
        return
    _check_heldout(file, place, evaluation.images, shown.heldout_size, own)
    if data_needed and shown.source is not None and data.source is not None:
        names = names_of(data.source)
        for fault in evaluation.faults(shown.source, data.source.classes, names):
            file.mistake((*place, *fault.keys), fault.words)


def _check_heldout(
    file: Reading, place: KeyPath, images: int | None, size: float | None, own: bool = False
) -> None:
    name = "its data" if own else "[data]"
    if images is None and size == math.inf:
        file.mistake((*place, "images"), f"is missing: there is no end to the images of {name}.")
    if images is not None and size is not None and images > size:
        file.mistake(
            (*place, "images"),
            f"{images:_} is more than the {size:_} held-out images of {name}; "
            f"leave the key out for all of them.",
        )


def _check_size(file: Reading, place: KeyPath, evaluation: FrozenTask, task: Data) -> None:
    """A task has as many images to learn from as its evaluation asks for."""
    size = task.train_size
    if size is None or size == math.inf or file.doubtful(place, type(evaluation)):
        return
    if words := evaluation.too_small(int(size)):
        file.mistake(place, words)


def _check_labels(file: Reading, place: KeyPath, evaluation: FrozenTask, task: Data) -> None:
    """Its labels suit it, where they are at hand; others are looked at before the first step."""
    data = (*place, "data")
    if task.train_size == math.inf or file.doubtful(place, type(evaluation)) or file.lost(data):
        return
    source = task.source
    if source is None or not source.labels_at_hand or source.labels_each is not None:
        return
    if words := evaluation.unsuited():
        file.mistake(data, words)


def _check_classes(file: Reading, place: KeyPath, task: Data) -> None:
    """A task has something to tell apart."""
    if task.source is not None and task.source.labelled and task.source.classes == 1:
        file.mistake(
            place,
            "its images are all of one class, and any network would be right; take images of two "
            "classes or more, in folders as train/<class>/.",
        )


def _check_transfer(file: Reading, place: KeyPath, data: Data, data_needed: bool) -> Data:
    """The images of a transfer task have the size that the networks have learnt to see."""
    task = check_source(file, place, data_needed)
    if task.source is not None and task.source.labels_each is not None:
        file.mistake(
            place,
            "has several labels an image, and a transfer task needs one; take another source.",
        )
    if task.source is not None and not task.source.labelled:
        file.mistake(
            place,
            "its training images have no labels, which a transfer task learns from; take images "
            "that have.",
        )
    if task.train_size == math.inf:
        file.mistake(
            place,
            "there is no end to these images, and shots are drawn from all; take a finite set.",
        )
    _check_resolution(file, place, task, data)
    return task


def _check_resolution(file: Reading, place: KeyPath, task: Data, data: Data) -> None:
    if task.resolution and data.resolution and task.resolution != data.resolution:
        file.mistake(
            (*place, "resolution"),
            f"is {task.resolution} px where [data] has {data.resolution} px, which is what the "
            f"networks see; use {data.resolution}.",
        )
