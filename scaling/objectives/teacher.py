"""A trained classifier that another network learns from; its numbers are not read here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeAlias

from pydantic import ConfigDict, Field, PrivateAttr, TypeAdapter

from fits.base.errors import UserError
from models.shapes import MixerShape, Shape
from models.weights.reading import inspect
from models.weights.tensors import Unusable
from scaling.base.config import Config, HomePath
from scaling.base.trained_folder import CHECKPOINT, RUN, absent, trained_folder
from scaling.data import Source
from scaling.data.around.part import Part
from scaling.data.source import SourceConfig

TrainedOn: TypeAlias = Annotated[Source | Part, Field(discriminator="kind")]
NETWORK = "network"  # in a manifest, below a teacher: its shape and classes


class Known(NamedTuple):
    """A teacher's network.

    Fields:
      shape: at the resolution of the images that it is shown.
      classes: of its classifier.
      names: of the classes, in the order of their numbers; None: nothing here tells them.
    """

    shape: Shape
    classes: int
    names: tuple[str, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        shape = TypeAdapter(Shape).dump_python(self.shape, mode="json")
        return {"shape": shape, "classes": self.classes}


class Teacher(Config):
    """A trained classifier, whose parameters never change."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    from_: HomePath = Field(alias="from")
    """A network with a classifier: the folder of a run that is done, the folder of any checkpoint
    of a run or a trunk, or a file of weights (.npz or .safetensors, of any layout that `scaling
    convert` reads)."""
    resolution: int | None = Field(default=None, gt=0, le=10**4)
    """Side of the images that it is shown, pixels, to which learned positions are resized; left
    out: that of its run, or of its file's positions. A file without positions does not tell, as of
    a BiT: 224."""
    _recorded: Known | None = PrivateAttr(default=None)

    def known(self) -> Known:
        """Shape and classes.

        Raises:
          ValueError: what is there is no trained classifier.
        """
        if not self.from_.exists():
            if self._recorded is not None:
                return self._recorded
            raise ValueError(absent(self.from_))
        found = _of_run(self.from_) if self.from_.is_dir() else _of_file(self.from_)
        if self.resolution in (None, found.shape.resolution):
            return found
        return found._replace(shape=_seeing(found.shape, self.resolution, self.from_))

    def recalled(self, provenance: Mapping[str, Any]) -> Teacher:
        """The same, which knows its network by what `provenance` was when it was there: for FLOPs,
        where it is gone. One that was written down otherwise, or damaged, is not known."""
        try:
            said = provenance[NETWORK]
            shape = TypeAdapter(Shape).validate_python(said["shape"])
            known = Known(shape, int(said["classes"]))
        except (ValueError, KeyError, TypeError, OverflowError):
            return self
        copy = self.model_copy()
        copy._recorded = known
        return copy

    def provenance(self) -> dict[str, Any]:
        """What the path stood for: the hash of the file, or of a checkpoint's sums, and what kind
        of network that is."""
        path = self.from_
        if path.is_dir():
            path = trained_folder(path).checkpoint / CHECKPOINT
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        return {"from": str(self.from_), "sha256": found, NETWORK: self.known().as_json()}


def _seeing(shape: Shape, resolution: int, path: Path) -> Shape:
    """The same network for images of another resolution."""
    other = replace(shape, resolution=resolution)
    if isinstance(shape, MixerShape) and isinstance(other, MixerShape) and shape.grid != other.grid:
        raise ValueError(
            f"{path} mixes {shape.patches} patches and no other number, so it is for "
            f"{shape.resolution} px; leave its resolution out."
        )
    return other


def _of_run(folder: Path) -> Known:
    from scaling.objectives import Objective  # of which some have a teacher

    run, checkpoint = trained_folder(folder)
    try:
        shape = TypeAdapter(Shape).validate_python(run["model"])
        data = TypeAdapter(TrainedOn).validate_python(run["data"])
        classes = data.classes
        objective = TypeAdapter(Objective).validate_python(run["objective"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(
            f"{folder}: the {RUN} of {checkpoint} describes no run that is known here."
        ) from None
    if not objective.scores_classes:
        raise ValueError(
            f"{folder} was trained by {objective.kind} and has no classifier; a teacher needs one."
        )
    return Known(shape, classes, names_of(data))


def names_of(data: SourceConfig | None) -> tuple[str, ...] | None:
    """Of the classes of a source, by which they are told from those of other data, where it has
    names and is there to tell them."""
    if data is None:
        return None
    try:
        names = data.classes_told_apart
    except (OSError, ValueError, UserError):
        return None
    return None if names is None else tuple(names)


def _of_file(path: Path) -> Known:
    try:
        found = inspect(path)
    except Unusable as error:
        raise ValueError(" ".join(error.mistakes)) from None
    if found.classes is None:
        raise ValueError(f"{path} has no classifier; a teacher needs one.")
    return Known(found.shape, found.classes)
