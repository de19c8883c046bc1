"""A trained classifier that another network learns from; its numbers are not read here."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter

from models.shapes import MixerShape, Shape
from models.weights.reading import inspect
from models.weights.tensors import Unusable
from scaling.base.config import Config
from scaling.data import Source
from scaling.data.part import Part

TrainedOn: TypeAlias = Annotated[Source | Part, Field(discriminator="kind")]
RUN, STATE = "run.json", "checkpoint.json"  # of a run's folder, and of each of its checkpoints


class Known(NamedTuple):
    """A teacher's network.

    Fields:
      shape: at the resolution of the images that it is shown.
      classes: of its classifier.
    """

    shape: Shape
    classes: int


class Teacher(Config):
    """A trained classifier, whose parameters never change."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    from_: Path = Field(alias="from")
    """The folder of a run that is done and whose network has a classifier, or a file of weights
    with one (.npz or .safetensors, of any layout that `scaling convert` reads)."""
    resolution: int | None = Field(default=None, gt=0, le=10**4)
    """Side of the images that it is shown, pixels, to which learned positions are resized; left
    out: that of its run, or of its file's positions. A file without positions does not tell, as of
    a BiT: 224."""

    def known(self) -> Known:
        """Shape and classes.

        Raises:
          ValueError: what is there is no trained classifier.
        """
        if not self.from_.exists():
            raise ValueError(f"there is no {self.from_}.")
        found = _of_run(self.from_) if self.from_.is_dir() else _of_file(self.from_)
        if self.resolution in (None, found.shape.resolution):
            return found
        return found._replace(shape=_seeing(found.shape, self.resolution, self.from_))

    def provenance(self) -> dict[str, Any]:
        """What the path stood for: the hash of the file, or of a checkpoint's sums."""
        path = _end(self.from_, _run(self.from_)) if self.from_.is_dir() else self.from_
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        return {"from": str(self.from_), "sha256": found}


def _seeing(shape: Shape, resolution: int, path: Path) -> Shape:
    """The same network for images of another resolution."""
    other = replace(shape, resolution=resolution)
    if isinstance(shape, MixerShape) and isinstance(other, MixerShape) and shape.grid != other.grid:
        raise ValueError(
            f"{path} mixes {shape.patches} patches and no other number, so it is for "
            f"{shape.resolution} px; leave its resolution out."
        )
    return other


def _run(folder: Path) -> dict[str, Any]:
    """What run.json says."""
    if folder.absolute().parent.name == "trunks":
        raise ValueError(
            f"{folder} is a trunk, whose learning rate has not cooled down; name the folder of one "
            "of its runs."
        )
    try:
        found = json.loads((folder / RUN).read_text(encoding="utf-8"))["run"]
        return {**found, "steps": found["images_seen"] // found["batch"]}
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        raise ValueError(f"{folder} is no run's folder; name one, or a file of weights.") from None


def _of_run(folder: Path) -> Known:
    from scaling.objectives import Objective  # of which some have a teacher

    run = _run(folder)
    try:
        shape = TypeAdapter(Shape).validate_python(run["model"])
        classes = TypeAdapter(TrainedOn).validate_python(run["data"]).classes
        objective = TypeAdapter(Objective).validate_python(run["objective"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{folder}/{RUN} describes no run that is known here.") from None
    if not objective.scores_classes:
        raise ValueError(
            f"{folder} was trained by {objective.kind} and has no classifier; a teacher needs one."
        )
    _end(folder, run)
    return Known(shape, classes)


def _end(folder: Path, run: dict[str, Any]) -> Path:
    """What says that the run's last checkpoint is there."""
    path = folder / "checkpoints" / str(run["steps"]) / STATE
    if not path.exists():
        raise ValueError(
            f"{folder} is not finished: it has no checkpoint of its end, step {run['steps']:_}; "
            "train it first."
        )
    return path


def _of_file(path: Path) -> Known:
    try:
        found = inspect(path)
    except Unusable as error:
        raise ValueError(" ".join(error.mistakes)) from None
    if found.classes is None:
        raise ValueError(f"{path} has no classifier; a teacher needs one.")
    return Known(found.shape, found.classes)
