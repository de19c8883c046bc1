"""Where a training begins when not at random: the backbone of weights that lie on a disk, and the
network that an objective keeps frozen.

Checking needs no JAX and reads no numbers. The head, and whatever else an objective keeps, begin as
the objective begins them.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter

from fits.base.errors import UserError
from models.positions import resize_positions
from models.shapes import MixerShape, Shape, ViTShape
from models.weights.ours import BACKBONE, HEAD, paths, tree
from models.weights.reading import inspect
from models.weights.tensors import Unusable
from scaling.base.config import Config, HomePath
from scaling.base.console import note
from scaling.base.trained_folder import CHECKPOINT, absent, trained_folder
from scaling.training import checkpoints


class Init(Config):
    """The parameters of a backbone to begin with."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    from_: HomePath = Field(alias="from")
    """A file of weights (.npz or .safetensors, of any layout that `scaling convert` reads), the
    folder of a run that is done, or that of any checkpoint of a run or a trunk."""
    resolution: int | None = Field(default=None, gt=0)
    """Side of the images, pixels, to which learned positions are resized: that of `[data]`. Left
    out, the weights must have been trained at it."""


def problems(init: Init, model: Shape) -> list[str]:
    """What keeps a network of this shape from beginning there, in sentences; reads no numbers."""
    if init.resolution not in (None, model.resolution):
        return [
            f"resolution = {init.resolution}, but the networks see the {model.resolution} px of "
            f"[data]; use {model.resolution}, or leave it out."
        ]
    try:
        grid = _grid(init, model)
    except Unusable as error:
        return list(error.mistakes)
    except (OSError, ValueError) as error:
        return [str(error)]
    if grid is None or init.resolution is not None or grid == _side(model):
        return []
    side = _side(model)
    return [
        f"{init.from_} has learned positions for {grid} x {grid} patches, and {model.name} has "
        f"{side} x {side}; write resolution = {model.resolution} to resize them."
    ]


def backbone(init: Init, model: Shape) -> dict[Any, Any]:
    """The parameters, float32 NumPy arrays in nested dicts as the network has them.

    Raises:
      UserError: they do not fit, or the file is damaged.
      checkpoints.Damaged: the run's checkpoint is not what was written.
    """
    if wrong := problems(init, model):
        raise UserError([f"init: {problem}" for problem in wrong])
    if init.from_.is_dir():
        return on_grid(
            checkpoints.parameters(trained_folder(init.from_).checkpoint)[BACKBONE], model
        )
    try:
        return _read("init", init.from_, model)[BACKBONE]
    except Unusable as error:
        raise UserError([f"init: {mistake}" for mistake in error.mistakes]) from None


def teacher_parameters(teacher: Any) -> dict[Any, Any]:
    """The parameters of a trained classifier, backbone and head, float32 NumPy arrays.

    Args:
      teacher: `scaling.objectives.teacher.Teacher`.

    Raises:
      UserError: there is none, or it is damaged.
      checkpoints.Damaged: the run's checkpoint is not what was written.
    """
    path: Path = teacher.from_
    try:
        if path.is_dir():
            found = checkpoints.parameters(trained_folder(path).checkpoint)
        else:
            found = _read("teacher", path)
        if HEAD not in found:
            raise ValueError(f"{path} has no classifier.")
        seen = teacher.known().shape
    except Unusable as error:
        raise UserError([f"teacher: {mistake}" for mistake in error.mistakes]) from None
    except ValueError as error:
        raise UserError([f"teacher: {error}"]) from None
    return _as_arrays({BACKBONE: on_grid(found[BACKBONE], seen), HEAD: found[HEAD]})


def _read(what: str, path: Path, model: Shape | None = None) -> dict[Any, Any]:
    """The parameters in a file of weights; says what must be known of the pixels that they see."""
    found = inspect(path, model)
    if found.of_pixels:
        note(f"{what}: {path}: {found.of_pixels}.")
    return found.read("float32")


def check_teacher(found: Any, wanted: Any) -> None:
    """Raise UserError where a teacher's parameters are not those that the objective expects.

    Args:
      found, wanted: nested dicts, of arrays and of abstract ones.
    """
    there, here = (
        {
            "/".join(str(getattr(step, "key", step)) for step in path): list(x.shape)
            for path, x in _leaves(each)
        }
        for each in (found, wanted)
    )
    for path in sorted({*there, *here}):
        if there.get(path) != here.get(path):
            raise UserError(
                [
                    f"teacher: its {path} is {there.get(path, 'not there')}, and "
                    f"{here.get(path, 'none')} is expected: run.json and checkpoint disagree."
                ]
            )


def checksum(params: Any) -> np.uint32:
    """The CRC-32 of all parameters, NumPy arrays in nested dicts, in the order of their paths."""
    found = 0
    for _, x in sorted(_flat(params)):
        found = zlib.crc32(np.ascontiguousarray(x).tobytes(), found)
    return np.uint32(found)


def _flat(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, each in tree.items():
        below = f"{path}/{name}"
        yield from _flat(each, below) if isinstance(each, dict) else [(below, each)]


def check_same_teacher(teacher: Any, found: Any, wanted: Any) -> None:
    """Raise UserError where a teacher's checksum is not that of the teacher trained with so far."""
    if int(found) != int(wanted):
        raise UserError(
            [
                f"teacher: {teacher.from_} is another network than the one that this run has "
                "learned from so far; put that one back, or name this one under another path."
            ]
        )


def _leaves(tree: Any) -> list[tuple[Any, Any]]:
    import jax

    return jax.tree_util.tree_leaves_with_path(tree)


def _as_arrays(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _as_arrays(each) for name, each in tree.items()}
    return np.asarray(tree, np.float32)


def on_grid(params: Any, model: Shape) -> dict[Any, Any]:
    """A trained backbone's parameters for the resolution of `model`: float32 NumPy arrays, learned
    positions resized."""
    arrays = {
        path: np.asarray(array, np.float32) for path, array in paths({BACKBONE: params}).items()
    }
    if isinstance(model, ViTShape) and "position" in arrays:
        arrays["position"] = resize_positions(arrays["position"], model.grid)
    return tree(arrays)[BACKBONE]


def check_fits(found: Any, wanted: Any, name: str) -> None:
    """Raise UserError where a backbone's parameters are not those of a network.

    Args:
      found: nested dicts of arrays.
      wanted: the same of abstract ones.
      name: of the network.
    """
    there, here = (_shapes(each) for each in (found, wanted))
    for path in sorted({*there, *here}):
        if there.get(path) != here.get(path):
            said = f"{there.get(path, 'none')} as {path} where {name} has {here.get(path, 'none')}"
            raise UserError(
                [
                    f"init: the weights have {said}: they are of another network; begin with "
                    "weights of this one."
                ]
            )


def _shapes(params: Any) -> dict[str, list[int]]:
    return {path: list(x.shape) for path, x in paths({BACKBONE: params}).items()}


def provenance(init: Init) -> dict[str, Any]:
    """What the path stood for, for a manifest: the hash of the file, or of a checkpoint's sums."""
    path = init.from_
    if path.is_dir():
        path = trained_folder(path).checkpoint / CHECKPOINT
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return {"from": str(init.from_), "sha256": found}


def _grid(init: Init, model: Shape) -> int | None:
    """Patches along a side that the weights' learned positions are for; None where they have none.

    Raises:
      Unusable, ValueError, OSError: what is there is no network of this shape.
    """
    if not init.from_.exists():
        raise ValueError(absent(init.from_))
    if init.from_.is_dir():
        found = shape_of(init.from_)
        if different := list(_differences(found, model)):
            raise ValueError(f"{init.from_} trained another network: {'; '.join(different)}.")
        learned = isinstance(found, ViTShape) and found.position == "learned"
        return _side(found) if learned else None
    entries = inspect(init.from_, model).entries
    tables = (entry.shapes[0] for entry in entries if entry.ours == ("position",))
    return next((round(table[1] ** 0.5) for table in tables), None)


def shape_of(folder: Path) -> Shape:
    """The network of a run's or a checkpoint's folder.

    Raises:
      ValueError: it is neither.
    """
    found = trained_folder(folder)
    try:
        return TypeAdapter[Shape](Shape).validate_python(found.run["model"])
    except (ValueError, KeyError):
        raise ValueError(
            f"{folder}: the run.json of {found.checkpoint} names no network that is known here."
        ) from None


def _differences(found: Shape, wanted: Shape) -> Iterator[str]:
    """Where two shapes differ other than in name and resolution."""
    if type(found) is not type(wanted):
        yield f"a {type(found).__name__}, not a {type(wanted).__name__}"
        return
    like = replace(found, name=wanted.name, resolution=wanted.resolution)
    for field in fields(wanted):
        there, here = getattr(like, field.name), getattr(wanted, field.name)
        if there != here:
            yield f"{field.name} is {there} there and {here} here"
    if isinstance(found, MixerShape) and _side(found) != _side(wanted):
        yield f"it mixes {_side(found)} x {_side(found)} patches and no other number"


def _side(shape: Shape) -> int | None:
    """Patches along a side; None for a network without."""
    return shape.grid if isinstance(shape, ViTShape | MixerShape) else None
