"""Near-duplicates of what a study measures on, among its training images: found, counted, and
written to a file that the source `without` reads.

Two images are near-duplicates where their perceptual hashes differ in few bits, mirrored or not,
or, if a network is given, where the cosine of their features is large. Hashes are of whole images,
decoded in one way for all sets; the network sees them as the study shows them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fits.base.counted import counted
from fits.base.errors import UserError
from scaling.base.config import contents
from scaling.base.console import Say, print_table
from scaling.base.toml_text import toml_line
from scaling.data.around.hierarchy import Hierarchy
from scaling.data.around.source import Around, innermost
from scaling.data.around.without import LeftOut, identity
from scaling.data.arrays import Arrays, resized
from scaling.data.file_ranges import in_common
from scaling.data.perceptual import dct_hashes, near_by_bits, near_by_cosine, unit
from scaling.data.pixels.resize import DEFAULT, Decode
from scaling.data.private import Private
from scaling.data.procedural.source import Procedural
from scaling.data.source import Images, SourceConfig
from scaling.study.sources import tasks_of
from scaling.study.study import Study

CHUNK = 1024  # images in memory at a time
HASHED = 64  # pixels; at 32 a JPEG decoded at an eighth, in whole pixels of that size, loses bits
HASHED_BY = Decode(scaled_decoding=True)


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


class _Set(NamedTuple):
    """Images that are compared: as they are hashed, and as a network sees them, if one is given."""

    name: str
    hashed: Images
    shown: Images | None
    in_memory: bool


class _Marks(NamedTuple):
    """Of a set: hashes and mirrored hashes [n], and features [n, width] or None."""

    hashes: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]
    features: NDArray[np.float32] | None


def find(study: Study, alike: Alike, say: Say) -> tuple[LeftOut, list[Found]]:
    """The training images to leave out, and what was found for each set that is measured on.

    These are the held-out images of the study's source, those of each other task that it evaluates
    on, and the training images of a task that learns, unless they are the study's own. Training
    images are looked at once, `CHUNK` at a time.

    Raises:
      UserError: the study has several sources, or one without an end; images cannot be read.
    """
    source = _source(study)
    training = _opened("training images", source, heldout=False, alike=alike)
    size = training.hashed.size
    if size is None:
        raise UserError(
            [f"{study.name}: there is no end to its training images; none can be left out."]
        )
    names, marks = [], []
    for each in _measured_on(study, source, alike, say):
        count = each.hashed.size
        assert count is not None
        say(f"looking at {counted(count, 'image', form='_')}: {each.name}")
        names.append(each.name)
        marks.append(_joined([_marks(each, part, alike) for part in _parts(count)]))
    say(f"looking at {counted(size, 'training image', form='_')}")
    left_out = np.zeros((len(marks), size), bool)
    seen = [np.zeros(len(mark.hashes), bool) for mark in marks]
    for part in _parts(size):
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
    unreadable = np.array(source.unreadable(), np.int64)
    records = np.delete(np.arange(size + len(unreadable)), unreadable)
    return LeftOut.of(source, records[left_out.any(0)].tolist(), why), rows


def report(study: Study, found: list[Found], left_out: LeftOut, path: Path | None) -> None:
    """Print a table with a row a set, where the file is, and what the study says to leave images
    out. `path` is None: there is no file, as no image would stay."""
    rows = [(row.name, f"{row.images:_}", f"{row.seen:_}", f"{row.training:_}") for row in found]
    print_table(("measured on", "images", "near a training image", "training images"), rows)
    print(f"\n{len(left_out.images):_} of {left_out.size:_} training images are near-duplicates.")
    if path is None:
        print(
            "no file is written, as no training image would be left: a set above holds copies of "
            "all of them, or --distance is too large."
        )
    else:
        table = {"kind": "without", "file": str(path), "of": contents(_whole(study.runs[0].data))}
        print(f"written: {path}")
        if not left_out.images:
            print("there is nothing to leave out: [data] may stay as it is.")
            return
        print("to leave them out, in the place of [data]:\n\n[data]")
        print("\n".join(toml_line(key, value) for key, value in table.items()))


def _whole(source: SourceConfig) -> SourceConfig:
    """With all its training images: below any subset."""
    if isinstance(source, Hierarchy):
        return source.model_copy(update={"of": _whole(source.of)})
    return _whole(source.of) if isinstance(source, Around) else source


def features_of(folder: Path) -> Callable[[Images, NDArray[np.int64]], NDArray[np.float32]]:
    """Features by the network of a run that is done.

    Raises:
      UserError: `folder` is no such run's.
    """
    import jax

    from models.precision import precision_for
    from scaling.evaluate.frozen.forward import features
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
    """The one that the study trains on, all of it: below any subset, and with what is left out. Of
    several that differ in how images are shown, the first."""
    sources: dict[str, SourceConfig] = {}
    for found in dict.fromkeys(innermost(run.data) for run in study.runs):
        sources.setdefault(json.dumps(identity(found)), found)
    if len(sources) > 1:
        raise UserError([f"{study.name} trains on {len(sources)} sources; take a study of one."])
    return next(iter(sources.values()))


def _measured_on(study: Study, source: SourceConfig, alike: Alike, say: Say) -> Iterator[_Set]:
    yield _opened("held-out images of [data]", source, heldout=True, alike=alike)
    own = source.file_ranges()
    tasks = [task for each in study.evaluate for task in tasks_of(each, study.runs[0])]
    for task in dict.fromkeys(tasks):
        if problem := task.source.problem(to_train=task.learns):
            raise UserError([f"{task.name}: {problem}"])
        if task.learns:
            name = f"{task.name}, train"
            ranges = task.source.file_ranges()
            if shared := in_common(ranges, own):
                many = f"{shared:_}"
                if isinstance(task.source, Around):  # which may take a part of these
                    many = "all" if shared == sum(each.images for each in ranges) else "some"
                say(
                    f"{name}: {many} of its images are training images of the study itself; not "
                    "compared"
                )
            else:
                yield _opened(name, task.source, heldout=False, alike=alike)
        yield _opened(f"{task.name}, held out", task.source, heldout=True, alike=alike)


def _opened(name: str, source: SourceConfig, *, heldout: bool, alike: Alike) -> _Set:
    def opened(source: SourceConfig) -> Images:
        return source.heldout() if heldout else source.train()

    try:
        hashed = opened(_hashed(source))
        shown = opened(source) if alike.features else None
        return _Set(name, hashed, shown, isinstance(innermost(source), Arrays))
    except ValueError as error:
        raise UserError([f"{name}: {error}"]) from error


def _hashed(source: SourceConfig) -> SourceConfig:
    """The same images, each whole and at `HASHED` px, whatever the study shows of them.

    Those that are made at their resolution stay as they are; those that lie in memory are opened at
    the size that they have there, for all of them at `HASHED` px may not fit, and `_marks` resizes
    some at once.
    """
    if isinstance(source, Around):
        return source.model_copy(update={"of": _hashed(source.of)})
    if isinstance(source, Procedural | Private):
        return source
    if isinstance(source, Arrays):
        side = max(source.stored)
        return source.model_copy(update={"resolution": side, "decode": DEFAULT})
    how = {"decode": HASHED_BY} if "decode" in type(source).model_fields else {}
    return source.model_copy(update={"resolution": HASHED, **how})


def _parts(size: int) -> Iterator[slice]:
    for first in range(0, size, CHUNK):
        yield slice(first, min(first + CHUNK, size))


def _marks(images: _Set, part: slice, alike: Alike) -> _Marks:
    numbers = np.arange(part.start, part.stop)
    try:
        pixels, _ = images.hashed.batch(numbers)
        if images.in_memory:
            pixels = resized(pixels, HASHED)
        hashes, mirrored = dct_hashes(pixels)
    except ValueError as error:
        raise UserError([f"{images.name}: {error}"]) from error
    made = None
    if alike.features is not None and images.shown is not None:
        made = alike.features(images.shown, numbers)
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
