"""What to measure on checkpoints, without a study: a file with the tables `[[evaluate]]` of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from scaling.base.config import Config
from scaling.data import Source
from scaling.evaluate import Evaluation
from scaling.evaluate.classification import Classification
from scaling.evaluate.frozen.own_head import HeadFault, OwnHead
from scaling.evaluate.frozen.reads_text import ReadsText
from scaling.evaluate.privacy import Privacy
from scaling.evaluate.trained.trains import Trains
from scaling.evaluate.trained.transfer import Pretrained
from scaling.objectives.classify import Classify
from scaling.objectives.teacher import names_of
from scaling.study.evaluations import check_evaluations, check_source
from scaling.study.parse import find
from scaling.study.reading import Reading
from scaling.study.study_file import StudyFile
from scaling.study.toml_lines import KeyPath
from scaling.training.placement_spec import DEFAULT
from scaling.training.run import RunData

EMPTY = "is empty: it needs [[evaluate]] tables; docs/evaluation/evaluate.md shows some."


class TasksFile(Config):
    """What is measured on networks that are trained already."""

    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        json_schema_extra={"in_words": "a name of letters, digits, - and _"},
    )
    """The column `study` of the table; left out, the file's name."""
    data: Source | None = None
    """What classifiers are measured on; left out, what a run was trained on."""
    objective: Classify | None = None
    """Which loss a classifier in a file of weights was trained with; a run knows its own."""
    evaluate: tuple[Evaluation, ...] = Field(min_length=1)
    """What is measured."""


class Tasks(NamedTuple):
    """A file of tasks, or what a study measures.

    Fields:
      data: None: what each run was trained on.
      objective: None: that of each run.
    """

    name: str
    evaluate: tuple[Evaluation, ...]
    data: Source | None
    objective: Classify | None

    @property
    def trains(self) -> bool:
        """Whether some of them train."""
        return any(isinstance(each, Trains) for each in self.evaluate)


class Subject(NamedTuple):
    """A network that is to be measured, as far as tasks must fit it.

    Fields:
      label: names it to a person.
      resolution: side of the images that it will see, pixels.
      classes: of its classifier; None: it has none.
      trained_on: None: it does not say.
      reads_text: whether it has a text tower.
      loss_known: whether it is known which loss its classifier was trained with.
      upstream: what fine-tuning begins with; None: its learned positions are to be resized.
    """

    label: str
    resolution: int
    classes: int | None
    trained_on: RunData | None
    reads_text: bool = False
    loss_known: bool = True
    upstream: Pretrained | None = None


def read_tasks(name_or_path: str | Path, subjects: Sequence[Subject]) -> Tasks:
    """The tasks in a file, or those of a study, built-in or a file.

    Args:
      name_or_path: what a person types.
      subjects: networks, each of which all tasks must fit.

    Raises:
      UserError: there is no such file, or all that is wrong with it.
    """
    label, text = find(str(name_or_path))
    file = Reading(label, text, TasksFile, EMPTY)
    if "grid" in file.raw:  # a study: its grid is not looked at
        file.config = StudyFile
    file.check_keys()
    data = check_source(file, ("data",), True, to_train=False)
    check_evaluations(file, data, True, False)
    wanted = data.source is not None or "data" in file.raw
    for subject in subjects:
        if wanted:
            _check_resolution(file, ("data",), data.resolution, subject)
        else:
            data.source = None
        for place in file.tables("evaluate"):
            _check_evaluation(file, place, subject, wanted)
    file.raise_mistakes()
    found = file.parse()
    return Tasks(found.name or Path(label).stem, found.evaluate, found.data, found.objective)


def _check_evaluation(file: Reading, place: KeyPath, subject: Subject, has_data: bool) -> None:
    """Notes why one evaluation cannot be made of one network."""
    evaluation = file.part(Evaluation, place)
    if evaluation is None or file.doubtful(place, type(evaluation)):
        return
    if isinstance(evaluation, Trains):
        for words in _tuning_faults(evaluation, subject):
            file.mistake(place, words)
        return
    if isinstance(evaluation, Privacy):
        file.mistake(place, "is what a run spends, which its manifest.json tells; leave this out.")
        return
    if (own := evaluation.source(None)) is not None:
        _check_resolution(file, (*place, "data"), own.resolution, subject)
    if isinstance(evaluation, Classification) and not subject.loss_known:
        _check_loss(file, place, evaluation, subject.label)
    if isinstance(evaluation, OwnHead | ReadsText) and not file.lost(("data",)):
        shared = file.part(Source, ("data",)) if has_data else subject.trained_on
        if has_data and shared is None:
            return
        for fault in _head_faults(evaluation, subject, shared, has_data):
            file.mistake((*place, *fault.keys), fault.words)


def _check_loss(file: Reading, place: KeyPath, evaluation: Classification, label: str) -> None:
    """Notes that a number needs to know what the head was trained for, and nobody says it."""
    said = file.at(("objective",))
    if not isinstance(said, dict) or "loss" in said or said.get("kind", "classify") != "classify":
        return
    if "calibration_error" in evaluation.measures:
        file.mistake(
            (*place, "measures"),
            "calibration_error is another number for a head that was trained with a softmax than "
            f"with a sigmoid, and {label} does not say with which: add [objective] with "
            'loss = "softmax" or loss = "sigmoid".',
        )


def _tuning_faults(evaluation: Trains, subject: Subject) -> Iterator[str]:
    """What keeps a network from being fine-tuned, each once."""
    if subject.upstream is None:
        yield (
            f"brings {subject.label} to the resolution of its protocol, and --resolution would "
            "resize learned positions before that; measure this without --resolution."
        )
        return
    found = evaluation.problems(subject.upstream, DEFAULT)
    yield from dict.fromkeys(f"{subject.label}: {words}" for words in found)


def _head_faults(
    evaluation: OwnHead | ReadsText, subject: Subject, shared: RunData | None, has_data: bool
) -> Iterator[HeadFault]:
    label = subject.label
    if isinstance(evaluation, ReadsText):
        if not subject.reads_text:
            yield HeadFault(
                (), f"{label} has no text tower, which this is measured of; leave it out."
            )
            return
    elif subject.classes is None:
        yield HeadFault(
            (),
            f"{label} has no classifier, so that its features alone can be measured: by fewshot, "
            "linear_probe or knn. Leave this out.",
        )
        return
    source = evaluation.source(shared)
    if source is None:
        yield HeadFault(
            (), f"{label} does not say what it was trained on; add [data], images to measure on."
        )
        return
    if source is shared and not has_data and source.resolution != subject.resolution:
        yield HeadFault(
            (),
            f"{label} was trained on images of {source.resolution} px and is to see "
            f"{subject.resolution} px; add [data] of that resolution.",
        )
        return
    if fault := source.fault(to_train=False):
        if source is shared and not has_data:  # else it was noted where it stands
            yield HeadFault((), f"{label} was trained on images that are not here: {fault.words}")
        return
    there = source.sizes()[1]
    if source is shared and not has_data and there is not None and (evaluation.images or 0) > there:
        yield HeadFault(
            ("images",),
            f"{evaluation.images:_} is more than the {there:_} held-out images that {label} is "
            "measured on; leave the key out for all of them.",
        )
    for each in evaluation.faults(source, subject.classes or 0, names_of(subject.trained_on)):
        yield HeadFault(each.keys, f"{label}: {each.words}")


def _check_resolution(
    file: Reading, place: KeyPath, resolution: int | None, subject: Subject
) -> None:
    if resolution is not None and resolution != subject.resolution:
        file.mistake(
            (*place, "resolution"),
            f"is {resolution} px, and {subject.label} sees {subject.resolution} px; use that, or "
            f"give --resolution {resolution}, to which learned positions are resized.",
        )
