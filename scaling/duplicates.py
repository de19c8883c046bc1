"""Near-duplicates of what a study measures on, among its training images: found, counted, and
written to a file that the source `without` reads.

Two images are near-duplicates where their perceptual hashes differ in few bits, mirrored or not,
or, if a network is given, where the cosine of their features is large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fits.base.counted import counted
from fits.base.errors import UserError
from scaling.base.console import Say, print_table
from scaling.data.perceptual import dct_hashes, near_by_bits, near_by_cosine, unit
from scaling.data.source import Images, SourceConfig
from scaling.data.subset import Subset
from scaling.data.without import LeftOut, Without, identity
from scaling.study.sources import tasks_of
from scaling.study.study import Study

CHUNK = 1024  # images in memory at a time


@dataclass(frozen=True)
class Alike:
    """What counts as a near-duplicate.

    Fields:
      distance: bits in which two hashes of 64 differ, at most.
      features: (images, numbers) -> features of a network, [n, width]; None: of none.
      cosine: of two images' features, at least.
      network: names the one that makes the features.
    """

    distance: int = 4
    features: Callable[[Images, NDArray[np.int64]], NDArray[np.float32]] | None = None
    cosine: float = 0.95
    network: str | None = None


class Found(NamedTuple):
    """Of one set that is measured on.

    Fields:
      name: what it is.
      images: their number.
      seen: those with a near-duplicate among the training images.
      training: training images that are near one of them.
    """

    name: str
    images: int
    seen: int
    training: int


class _Marks(NamedTuple):
    """Of a set: hashes and mirrored hashes [n], and features [n, width] or None."""

    hashes: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]
    features: NDArray[np.float32] | None


def find(study: Study, alike: Alike, say: Say) -> tuple[LeftOut, list[Found]]:
    """The training images to leave out, and what was found for each set that is measured on.

    These are the held-out images of the study's source, and both sets of each other task that it
    evaluates on. Training images are looked at once, `CHUNK` at a time.

    Raises:
      UserError: the study has several sources, or one without an end; images cannot be read.
    """
    source = _source(study)
    training = source.train()
    if training.size is None:
        raise UserError(
            [f"{study.name}: there is no end to its training images; none can be left out."]
        )
    names, marks = [], []
    for name, images in _measured_on(study, source):
        assert images.size is not None
        say(f"looking at {counted(images.size, 'image', form='_')}: {name}")
        whole = [_marks(images, part, alike) for part in _parts(images.size)]
        names.append(name)
        marks.append(_joined(whole))
    say(f"looking at {training.size:_} training images")
    left_out = np.zeros((len(marks), training.size), bool)
    seen = [np.zeros(len(mark.hashes), bool) for mark in marks]
    for part in _parts(training.size):
        here = _marks(training, part, alike)
        for number, there in enumerate(marks):
            left_out[number, part], found = _compared(here, there, alike)
            seen[number] |= found
    rows = [
        Found(name, len(found), int(found.sum()), int(out.sum()))
        for name, found, out in zip(names, seen, left_out, strict=True)
    ]
    why: dict[str, Any] = {"distance": alike.distance, "sets": [row._asdict() for row in rows]}
    if alike.features is not None:
        why |= {"network": alike.network, "cosine": alike.cosine}
    numbers = tuple(int(i) for i in np.flatnonzero(left_out.any(0)))
    return LeftOut(source=identity(source), size=training.size, images=numbers, why=why), rows


def report(found: list[Found], left_out: LeftOut, path: Path | None) -> None:
    """Print a table with a row a set, and where the file is."""
    rows = [(row.name, f"{row.images:_}", f"{row.seen:_}", f"{row.training:_}") for row in found]
    print_table(("measured on", "images", "near a training image", "training images"), rows)
    print(f"\n{len(left_out.images):_} of {left_out.size:_} training images are near-duplicates.")
    if path is not None:
        print(
            f'written: {path}\nto leave them out:\n\n[data]\nkind = "without"\n'
            f'file = "{path}"\nof = {{ ... }}  # [data] as it is now, below any subset'
        )


def features_of(folder: Path) -> Callable[[Images, NDArray[np.int64]], NDArray[np.float32]]:
    """Features by the network of a run that is done.

    Raises:
      UserError: `folder` is no such run's.
    """
    import jax

    from models.precision import precision_for
    from scaling.evaluate.forward import features
    from scaling.objectives.classify import Classify
    from scaling.training.checkpoints import Damaged, OtherState
    from scaling.training.initial import Init, backbone, shape_of

    try:
        shape = shape_of(folder)
    except ValueError as error:
        raise UserError([f"--network {folder}: {error}"]) from None
    objective = Classify().build(shape, 1, precision_for(jax.default_backend()))
    try:
        found = backbone(Init.model_validate({"from": folder}), shape)
    except (ValueError, Damaged, OtherState) as error:
        raise UserError([f"--network {folder}: {error}"]) from None
    module = objective.module(objective.init(jax.random.key(0), found))

    def of(images: Images, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        if images.resolution != shape.resolution:
            raise UserError(
                [
                    f"--network {folder}: sees {shape.resolution} px, and the images have "
                    f"{images.resolution}; set resolution = {shape.resolution}."
                ]
            )
        return unit(features(module, images, numbers)[0])

    return of


def _source(study: Study) -> SourceConfig:
    """The one that the study trains on, all of it: below any subset, and with what is left out."""
    sources = list(dict.fromkeys(_whole(run.data) for run in study.runs))
    if len(sources) > 1:
        raise UserError([f"{study.name} trains on {len(sources)} sources; take a study of one."])
    return sources[0]


def _whole(source: SourceConfig) -> SourceConfig:
    while isinstance(source, Without | Subset):
        source = source.of
    return source


def _measured_on(study: Study, source: SourceConfig) -> Iterator[tuple[str, Images]]:
    yield "held-out images of [data]", source.heldout()
    tasks = [task for each in study.evaluate for task in tasks_of(each, study.runs[0])]
    for name, task in dict.fromkeys(tasks):
        yield f"{name}, train", task.train()
        yield f"{name}, held out", task.heldout()


def _parts(size: int) -> Iterator[slice]:
    for first in range(0, size, CHUNK):
        yield slice(first, min(first + CHUNK, size))


def _marks(images: Images, part: slice, alike: Alike) -> _Marks:
    numbers = np.arange(part.start, part.stop)
    try:
        pixels, _ = images.batch(numbers)
        hashes, mirrored = dct_hashes(pixels)
    except ValueError as error:
        raise UserError([str(error)]) from error
    made = alike.features(images, numbers) if alike.features else None
    return _Marks(hashes, mirrored, made)


def _joined(marks: list[_Marks]) -> _Marks:
    hashes, mirrored, features = zip(*marks, strict=True)
    whole = None if features[0] is None else np.concatenate(features)
    return _Marks(np.concatenate(hashes), np.concatenate(mirrored), whole)


def _compared(
    here: _Marks, there: _Marks, wanted: Alike
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of `here` are near one of `there`, and the other way round."""
    as_is = near_by_bits(here.hashes, there.hashes, wanted.distance)
    turned = near_by_bits(here.mirrored, there.hashes, wanted.distance)
    mine, theirs = as_is[0] | turned[0], as_is[1] | turned[1]
    if here.features is not None and there.features is not None:
        by_features = near_by_cosine(here.features, there.features, wanted.cosine)
        mine, theirs = mine | by_features[0], theirs | by_features[1]
    return mine, theirs
