"""A trained network of any origin, to be measured: a run's or a trunk's, or a file of weights.

What it is is known before its numbers are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fits.base.errors import UserError
from models.cost import parameters
from models.shapes import MixerShape, Shape
from models.weights.facts import About
from models.weights.ours import BACKBONE, HEAD
from models.weights.pixels import Pixels
from models.weights.reading import in_words, inspect
from models.weights.tensors import Unusable
from scaling.base.config import digest
from scaling.evaluate.trained.transfer import Pretrained
from scaling.objectives import DEFAULT, Objective
from scaling.training import checkpoints
from scaling.training.run import Run, RunData
from scaling.zoo.states import StateFolder, state_at


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A network, what is known of its training, and how to have it.

    Fields:
      label: the path, as it was typed.
      words: what it is, for a person.
      run: its name in the column `run` of a table.
      model: its name in the column `model`.
      shape: at the resolution at which it is to see images.
      classes: of its classifier; None: it has none.
      objective: None: it does not say.
      trained_on: None: it does not say.
      compute: dtype of the blocks' products.
      images_seen, flops, data_size, seed: of its training; None: not known.
      subset: part of `trained_on` that it saw.
      variant: the resolution, where it is not that of its training, as far as that is known: a file
        without learned positions does not tell it; and the mean and std of pixels that are given.
      of_pixels: what must be known of the pixels that it sees; None: nothing.
      read: gives params, frozen and state of its objective; params alone where it is from a file.
    """

    label: str
    words: str
    run: str
    model: str
    shape: Shape
    classes: int | None
    objective: Objective | None
    trained_on: RunData | None
    compute: Any = "float32"
    images_seen: int | None
    flops: float | None
    data_size: int | None
    seed: int | None
    subset: str = "all"
    variant: str = ""
    of_pixels: str | None = None
    read: Callable[[], dict[str, Any]]

    @property
    def params(self) -> int:
        """Parameters of the backbone, its pool included, at the resolution it was trained at or
        is to see."""
        return parameters(self.shape)

    @property
    def upstream(self) -> Pretrained:
        """As fine-tuning begins with it; that of an unknown seed has the seed 0. Other pixels are
        another network."""
        pixels = "" if self.of_pixels is None else f"-{digest([self.of_pixels])[:8]}"
        return Pretrained(
            id=f"{self.run}{pixels}", model=self.shape, compute=self.compute, seed=self.seed or 0
        )


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a person says of checkpoints.

    Fields:
      resolution: side of the images to measure on, pixels; None: that of each checkpoint.
      shape: name of the network in a file of weights, where it is not to be seen there.
      about: what else is not to be seen.
      images_seen: of the training of a file of weights; None: not known.
    """

    resolution: int | None = None
    shape: str | None = None
    about: About = field(default_factory=About)
    images_seen: int | None = None


def trained(path: Path, asked: Asked) -> Trained:
    """The network at a path.

    Raises:
      UserError: there is none, it is damaged, or it is another than was asked for.
    """
    if not path.exists():
        raise UserError([f"there is no {path}; name a run's folder, or a file of weights."])
    if not path.is_dir():
        return _of_file(path, asked)
    if asked.shape is not None or asked.about != About() or asked.images_seen is not None:
        raise UserError(
            [
                f"{path} is a run, which knows its shape and its training: give --resolution at "
                "most, or measure files of weights with another command."
            ]
        )
    return _of_state(str(path), state_at(path), asked.resolution)


def _of_file(path: Path, asked: Asked) -> Trained:
    try:
        found = inspect(path, asked.shape, resolution=asked.resolution, given=asked.about)
        own = found.shape
        if asked.resolution is not None and any(e.ours == ("position",) for e in found.entries):
            own = inspect(path, asked.shape, given=asked.about).shape  # as its positions tell
        sha256 = _sha256(path)
    except Unusable as error:
        raise UserError(error.mistakes) from error
    flops = None
    if asked.images_seen is not None:
        flops = float(DEFAULT.flops(own, asked.images_seen, found.classes or 0))
    return Trained(
        label=str(path),
        words=f"{found.layout}, {in_words(found.shape, found.classes)}",
        run=sha256[:12],
        model=found.shape.name,
        shape=found.shape,
        classes=found.classes,
        objective=None,
        trained_on=None,
        images_seen=asked.images_seen,
        flops=flops,
        data_size=None,
        seed=None,
        variant=" ".join(filter(None, (_variant(own, found.shape), _said(asked.about.pixels)))),
        of_pixels=found.of_pixels,
        read=lambda: {"params": _read(found.read), "frozen": {}, "state": {}},
    )


def _said(pixels: Pixels | None) -> str:
    """Other pixels than those of -1 .. 1, for the column `variant`: they are another network."""
    if pixels is None or pixels.usual:
        return ""
    mean, std = (",".join(f"{x:g}" for x in each) for each in (pixels.mean, pixels.std))
    return f"mean={mean} std={std}"


def _of_state(label: str, state: StateFolder, resolution: int | None) -> Trained:
    run, shape = state.run, state.run.model
    if resolution is not None and resolution != shape.resolution:
        _check_resized(label, shape, resolution)
        shape = replace(shape, resolution=resolution)
    try:
        params = checkpoints.saved_shapes(state.folder)["params"]
    except checkpoints.Damaged as damage:
        raise UserError([str(damage)]) from damage
    classes = params[HEAD]["kernel"].shape[-1] if HEAD in params else None
    images_seen = state.step * run.batch
    return Trained(
        label=label,
        words=f"{state.moment}, {in_words(shape, classes)}",
        run=state.name,
        model=run.model_name,
        shape=shape,
        classes=classes,
        objective=run.objective,
        trained_on=run.data,
        compute=run.compute,
        images_seen=images_seen,
        flops=_flops(run, images_seen, classes or run.data.classes),
        data_size=run.data_size or _train_size(run),
        seed=run.seed,
        subset=run.data.subset,
        variant=_variant(run.model, shape),
        read=lambda: _state(state, shape),
    )


def _variant(own: Shape, seen: Shape) -> str:
    """What a table says of a network that sees images of another resolution than its training."""
    return "" if seen.resolution == own.resolution else f"resolution={seen.resolution}"


def _flops(run: Run, images_seen: int, classes: int) -> float | None:
    """Of its training; None where a network that took part is not there any more, as a teacher."""
    try:
        return float(run.objective.flops(run.model, images_seen, classes))
    except UserError:
        return None


def _train_size(run: Run) -> int | None:
    """Of its source, where that is here; None: endless, or not known."""
    return None if run.data.problem() else run.data.sizes()[0]


def _check_resized(label: str, shape: Shape, resolution: int) -> None:
    """Raise UserError where a network cannot see images of that resolution."""
    try:
        other = replace(shape, resolution=resolution)
    except ValueError as error:
        raise UserError([f"{label}: {error}"]) from None
    if isinstance(shape, MixerShape) and isinstance(other, MixerShape) and shape.grid != other.grid:
        raise UserError(
            [
                f"{label}: {shape.name} mixes {shape.patches} patches and no other number, so it "
                f"is for {shape.resolution} px and not for {resolution}."
            ]
        )


def _state(state: StateFolder, shape: Shape) -> dict[str, Any]:
    from scaling.training.initial import on_grid

    try:
        found = checkpoints.whole_state(state.folder)
    except (checkpoints.Damaged, checkpoints.OtherState) as damage:
        raise UserError([str(damage)]) from damage
    if shape != state.run.model:
        kept = "params" if BACKBONE in found["params"] else "frozen"  # where it is locked
        found[kept] = {**found[kept], BACKBONE: on_grid(found[kept][BACKBONE], shape)}
    return found


def _read(read: Callable[[str], dict[Any, Any]]) -> dict[Any, Any]:
    try:
        return read("float32")
    except Unusable as error:
        raise UserError(error.mistakes) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
