"""What a study file says of evaluations that train: where their images are, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from scaling.evaluate.trained.trains import Trains
from scaling.study.reading import Reading
from scaling.study.study import Study
from scaling.study.toml_lines import KeyPath


def sources_in(file: Reading, place: KeyPath) -> Iterator[KeyPath]:
    """Where an evaluation that trains names its data."""
    if "data" in file.at(place):
        yield (*place, "data")
    tasks = file.at((*place, "tasks"))
    for number, task in enumerate(tasks if isinstance(tasks, list) else ()):
        if isinstance(task, dict) and "data" in task:
            yield (*place, "tasks", number, "data")


def check_trainings(file: Reading, study: Study) -> None:
    """What evaluations that train would train, of every network of a study without mistakes."""
    networks = {run.model: run for run in study.runs}.values()
    for place, evaluation in zip(file.tables("evaluate"), study.evaluate, strict=True):
        if isinstance(evaluation, Trains):
            said = (each for run in networks for each in evaluation.problems(run, study.placement))
            for words in dict.fromkeys(said):
                file.mistake(place, words)
