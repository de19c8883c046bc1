"""A trained classifier that another network learns from; its numbers are not read here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, NamedTuple, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter

from models.shapes import Shape
from models.weights.reading import inspect
from models.weights.tensors import Unusable
from scaling.base.config import Config
from scaling.data import Source
from scaling.data.part import Part

TrainedOn: TypeAlias = Annotated[Source | Part, Field(discriminator="kind")]


class Known(NamedTuple):
    """A teacher's network.

    Fields:
      shape: at the resolution that it was trained at.
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

    def known(self) -> Known:
        """Shape and classes.

        Raises:
          ValueError: what is there is no trained classifier.
        """
        if not self.from_.exists():
            raise ValueError(f"there is no {self.from_}.")
        return _of_run(self.from_) if self.from_.is_dir() else _of_file(self.from_)


def _of_run(folder: Path) -> Known:
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))["run"]
        shape = TypeAdapter(Shape).validate_python(run["model"])
        classes = TypeAdapter(TrainedOn).validate_python(run["data"]).classes
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{folder} is no run's folder; name one, or a file of weights.") from None
    return Known(shape, classes)


def _of_file(path: Path) -> Known:
    try:
        found = inspect(path)
    except Unusable as error:
        raise ValueError(" ".join(error.mistakes)) from None
    if found.classes is None:
        raise ValueError(f"{path} has no classifier; a teacher needs one.")
    return Known(found.shape, found.classes)
