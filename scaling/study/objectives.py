"""The objectives of a study file against its networks, data, batches and evaluations."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from models.shapes import Shape
from scaling.data import Source
from scaling.data.around.subset import Selection
from scaling.data.augment import Augment, spelled_out, views_problem
from scaling.evaluate import Evaluation
from scaling.evaluate.frozen.own_head import OwnHead
from scaling.evaluate.frozen.reads_text import ReadsText
from scaling.objectives import DEFAULT, Objective
from scaling.objectives.config import ObjectiveConfig, Setting
from scaling.study.axes import Data, part
from scaling.study.reading import Reading
from scaling.study.study_file import Grid
from scaling.study.toml_lines import KeyPath

OF_FILE: KeyPath = ("objective",)


def check_objectives(
    file: Reading, grid: KeyPath, trained: dict[KeyPath, Shape | None], data: Data
) -> None:
    """Each objective of a grid suits its networks, data and batches, and what is measured."""
    for place, objective in objectives_of(file, grid):
        if objective is None or file.doubtful(place, type(objective)):
            continue
        _check_heads(file, place, objective)
        _check_text(file, place, objective)
        found = {
            problem: None
            for setting in settings_of(file, grid, trained, data)
            for problem in (*objective.problems(setting), *objective.missing(setting))
        }
        for problem in found:
            file.mistake(place, problem)
        if problem := views_problem(_augment(file, grid), objective.views):
            file.mistake((*grid, "augment"), problem)


def objectives_of(file: Reading, grid: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """Every objective of a grid, where it is written."""
    of_file = file.part(Objective, OF_FILE) if "objective" in file.raw else DEFAULT
    if "objective" not in file.at(grid):
        yield OF_FILE, of_file
    for place, value in file.values(grid, "objective"):
        if isinstance(value, dict):
            yield place, file.part(Objective, place)
        else:  # the word for that of the file
            yield OF_FILE, of_file


def settings_of(
    file: Reading, grid: KeyPath, trained: dict[KeyPath, Shape | None], data: Data
) -> Iterator[Setting]:
    """What an objective must suit in a grid, as far as it is known."""
    augment = _augment(file, grid)
    if data.source is None:
        return
    sizes = [size for _, size in file.values(grid, "data_size")] or ["all"]
    sources = list(_sources(file, grid, data.source))
    resampled = sorted({rule != "none" for _, rule in file.values(grid, "resample")}) or [False]
    for source, shape, (_, batch), size, rare_more in itertools.product(
        sources, trained.values(), list(file.values(grid, "batch")), sizes, resampled
    ):
        if shape is None:
            continue
        yield Setting(
            model=shape,
            classes=source.classes,
            batch=batch,
            data_size=size if isinstance(size, int) else None,  # as of the run
            labels_each=source.labels_each,
            augment=tuple(each.kind for each in spelled_out(augment)),
            captioned=source.captioned,
            begins_trained="init" in file.at(grid),
            source=source,
            labelled=source.labelled,
            resampled=rare_more,
        )


def _sources(file: Reading, grid: KeyPath, whole: Source) -> Iterator[Source]:
    """All that a grid trains on: its data, or each subset of it that can be had."""
    for place, table in [*file.values(grid, "subset")] or [(grid, "all")]:
        selection = file.part(Selection, place) if isinstance(table, dict) else Selection()
        if selection is not None:
            yield part(whole, selection)


def _augment(file: Reading, grid: KeyPath) -> tuple[Augment, ...]:
    known = file.part(Grid, grid) if "augment" in file.at(grid) else None
    return () if known is None else known.augment


def _check_heads(file: Reading, place: KeyPath, objective: ObjectiveConfig) -> None:
    """Evaluations of a classifier need an objective that trains one."""
    if objective.scores_classes:
        return
    for table in file.tables("evaluate"):
        evaluation = file.part(Evaluation, table)
        if isinstance(evaluation, OwnHead) and not file.doubtful(table, type(evaluation)):
            file.mistake(
                place,
                f"trains no classifier, which {evaluation.metrics[0]} is measured of; leave that "
                "evaluation out, and measure features by fewshot, linear_probe or knn.",
            )
            return


def _check_text(file: Reading, place: KeyPath, objective: ObjectiveConfig) -> None:
    """Evaluations that read text need an objective that trains a text tower."""
    if objective.reads_text:
        return
    for table in file.tables("evaluate"):
        evaluation = file.part(Evaluation, table)
        if isinstance(evaluation, ReadsText) and not file.doubtful(table, type(evaluation)):
            file.mistake(
                place,
                f"trains no text tower, which {evaluation.metrics[0]} is measured of; leave that "
                "evaluation out, or train clip, siglip or lit.",
            )
            return
