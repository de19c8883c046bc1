"""The axes of a grid against the data: what there is of each subset, and what is asked of it."""

from __future__ import annotations

import math

from scaling.data import Source
from scaling.data.around.subset import Selection, Subset
from scaling.evaluate import Evaluation
from scaling.evaluate.frozen.own_head import OwnHead
from scaling.evaluate.frozen.reads_text import ReadsText
from scaling.objectives.teacher import names_of
from scaling.study.mistakes import show
from scaling.study.reading import AXES, Reading
from scaling.study.toml_lines import KeyPath


class Data:
    """What can be relied on about a source in a file that may have mistakes: None is unknown."""

    source: Source | None = None
    """The source, where it can be opened."""
    resolution: int | None = None
    train_size: float | None = None
    """Number of images; infinite, if there is no end to them."""
    heldout_size: float | None = None


def part(source: Source, selection: Selection | None) -> Source:
    """The source itself where nothing is left out or changed: a run that is the same either way."""
    if selection is None or selection.all:
        return source
    return Subset(of=source, select=selection)


def check_axes(file: Reading, grid: KeyPath, data: Data) -> None:
    """No value is there twice, and data sizes are no more than there is of each subset."""
    for axis in AXES:
        seen = set()
        for place, value in file.values(grid, axis):
            known = repr(sorted(value.items())) if isinstance(value, dict) else value
            if known in seen:
                said = "the same table" if isinstance(value, dict) else show(value)
                file.mistake(place, f"{said} is there twice; write it once.")
            seen.add(known)
    sizes = _sizes(file, grid, data)
    for place, size in file.values(grid, "data_size"):
        small = [(name, most) for name, most in sizes.items() if isinstance(size, int)]
        name, most = next((each for each in small if each[1] < size), ("", 0))
        if name:
            file.mistake(
                place,
                f"{size:_} is more than the {most:_} training images of {name}; "
                f'use "all", or less.',
            )
    _check_resampling(file, grid, sizes)


def _check_resampling(file: Reading, grid: KeyPath, sizes: dict[str, float]) -> None:
    """Who counts the images of each class needs an end to them."""
    endless = [name for name, most in sizes.items() if most == math.inf]
    if not endless or "all" not in file.at(grid).get("data_size", ["all"]):
        return
    for place, rule in file.values(grid, "resample"):
        if rule != "none":
            file.mistake(
                place,
                f"{show(rule)} counts the images of each class, and there is no end to those of "
                f"{endless[0]}; give a data_size.",
            )


def _sizes(file: Reading, grid: KeyPath, data: Data) -> dict[str, float]:
    """Numbers of training images of all that a grid trains on, by what a message calls them."""
    if data.source is None or data.train_size is None:
        return {}
    found: dict[str, float] = {}
    for place, table in [*file.values(grid, "subset")] or [((*grid, "subset"), "all")]:
        selection = file.part(Selection, place) if isinstance(table, dict) else Selection()
        if selection is None:
            continue
        if selection.all:
            found["[data]"] = data.train_size
            continue
        subset = Subset(of=data.source, select=selection)
        if fault := subset.fault_of_selection() if subset.private else subset.fault():
            file.mistake(place, fault.words)
            continue
        train, heldout = subset.sizes()
        found[f"subset {selection.words}"] = math.inf if train is None else train
        _check_heldout(file, place, heldout)
        _check_heads(file, place, subset)
    return found


def _check_heldout(file: Reading, place: KeyPath, size: int | None) -> None:
    """A subset has the images to measure on."""
    for upstream in file.tables("evaluate"):
        images = file.at(upstream).get("images")
        if isinstance(images, int) and size is not None and images > size:
            file.mistake(
                place,
                f"has {size:_} held-out images, and [[evaluate]] measures on {images:_}; "
                "leave its key images out for all of them.",
            )


def _check_heads(file: Reading, place: KeyPath, subset: Subset) -> None:
    """A head of the subset's classes, or their names, can be measured as the file says."""
    if subset.select.classes is None:
        return
    for table in file.tables("evaluate"):
        evaluation = file.part(Evaluation, table)
        if not isinstance(evaluation, OwnHead | ReadsText):
            continue
        if file.doubtful(table, type(evaluation)):
            continue
        shown = evaluation.source(subset)
        if shown is None or (shown is not subset and shown.fault(to_train=False)):
            continue
        for fault in evaluation.faults(shown, subset.classes, names_of(subset)):
            file.mistake(place, f"does not suit {evaluation.metrics[0]}: {fault.words}")
