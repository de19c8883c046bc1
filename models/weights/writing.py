"""Weights out: from parameters to a file of any layout.

Nothing is written unless everything fits, and a file appears only when it is whole. Arrays are
written a few MiB at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.shapes import MixerShape, Shape, ViTShape
from models.weights.containers import container
from models.weights.layouts import FIRST, LAYOUTS, huggingface_config, laid_out, rows
from models.weights.ours import HEAD, Parameter, parameters, paths
from models.weights.rows import Entry, entries
from models.weights.tensors import Spec, Unusable, float_type, written_aside


@dataclass(frozen=True)
class ExportPlan:
    """What a file will hold.

    Fields:
      entries: the table between our parameters and its arrays.
      specs: shape and type of its arrays, in their order.
      files: every path that will be written.
    """

    layout: str
    shape: Shape
    classes: int | None
    entries: list[Entry]
    specs: dict[str, Spec]
    files: dict[str, Path]


def write(
    path: Path,
    params: Mapping[Any, Any],
    shape: Shape,
    layout: str | None = None,
    *,
    dtype: str | None = None,
) -> None:
    """Write the parameters as weights that other code reads.

    Args:
      path: .npz or .safetensors; replaced where it exists.
      params: {"backbone": ..., "head": ...} of arrays, the head only where there is a classifier.
      shape: of the backbone.
      layout: a name of `LAYOUTS`; None: big_vision in an .npz, timm in a .safetensors.
      dtype: "bfloat16" or another of `tensors.FLOATS`; None: as the parameters.

    Raises:
      Unusable: the parameters are not those of `shape`, or the layout has no place for them.
    """
    arrays = {name: np.asarray(array) for name, array in paths(params).items()}
    specs = {name: Spec(array.shape, array.dtype) for name, array in arrays.items()}
    planned = plan(Path(path), specs, shape, layout, dtype=dtype)
    _, arrays = laid_out(shape, arrays, planned.layout)
    sources = {
        name: (entry, number)
        for entry in planned.entries
        for number, name in enumerate(entry.theirs)
    }

    def give(name: str) -> NDArray[Any]:
        entry, number = sources[name]
        ours = [arrays[p] if entry.layer is None else arrays[p][entry.layer] for p in entry.ours]
        return entry.step.there(ours)[number]

    container(Path(path)).write(Path(path), planned.specs, give, _metadata(shape))
    if "config" in planned.files:
        with written_aside(planned.files["config"]) as file:
            file.write(_config(planned).encode())


def plan(
    path: Path,
    ours: Mapping[str, Spec],
    shape: Shape,
    layout: str | None = None,
    *,
    dtype: str | None = None,
) -> ExportPlan:
    """What `write` would write, and that it can.

    Args:
      ours: shape and type of the parameters, by path without "backbone/".

    Raises:
      Unusable: as `write`.
    """
    layout = _layout(path, layout)
    bias = ours.get(f"{HEAD}/bias")
    classes = bias.shape[0] if bias is not None and len(bias.shape) == 1 else None
    try:
        wanted = parameters(shape, classes)
        mistakes = list(_misfits(ours, wanted))
        if mistakes:
            raise Unusable([f"these are not the parameters of {shape.name}:", *mistakes])
        shape_there, there = laid_out(shape, dict(ours), layout)
        table = entries(rows(layout, shape_there, classes), parameters(shape_there, classes))
    except Unusable:
        raise
    except ValueError as error:
        raise Unusable([str(error)]) from None
    placed = {each for entry in table for each in entry.ours}
    if homeless := [each for each in there if each not in placed]:
        raise Unusable(f"{layout} has no place for {each}." for each in homeless)
    kinds = {each: there[each].dtype for each in there}
    specs = {
        name: Spec(size, float_type(dtype) if dtype else _common([kinds[p] for p in entry.ours]))
        for entry in table
        for name, size in zip(entry.theirs, entry.their_shapes, strict=True)
    }
    files = {"weights": path}
    planned = ExportPlan(layout, shape_there, classes, table, specs, files)
    if layout == "huggingface":
        files["config"] = path.with_name("config.json")
        _check_config(planned)
    return planned


def _common(dtypes: list[Any]) -> np.dtype[Any]:
    return reduce(np.promote_types, dtypes)


def _layout(path: Path, layout: str | None) -> str:
    container(path)
    if layout is None:
        return FIRST[path.suffix]
    if layout not in LAYOUTS:
        raise Unusable([f"there is no layout {layout!r}; there are {', '.join(LAYOUTS)}."])
    extension = LAYOUTS[layout].extension
    if path.suffix != extension:
        fitting = [name for name, each in LAYOUTS.items() if each.extension == path.suffix]
        raise Unusable(
            [
                f"{layout} is written as {extension}, but {path} ends in {path.suffix}; name the "
                f"file so, or take {' or '.join(fitting)}."
            ]
        )
    return layout


def _misfits(ours: Mapping[str, Spec], wanted: Mapping[str, Parameter]) -> Iterator[str]:
    """Every parameter that is missing, of the wrong shape, or too many; one a line."""
    for path, parameter in wanted.items():
        if path not in ours:
            yield f"  missing      {path} {list(parameter.whole)}"
        elif ours[path].shape != parameter.whole:
            yield f"  wrong shape  {path} {list(ours[path].shape)}, not {list(parameter.whole)}"
    for path in ours:
        if path not in wanted:
            yield f"  extra        {path} {ours[path]}"


def _metadata(shape: Shape) -> dict[str, str]:
    """What PyTorch's weights cannot tell; `facts.about` reads it. transformers wants "format"."""
    said = {"format": "pt", "resolution": str(shape.resolution), "mean": "0.5", "std": "0.5"}
    if isinstance(shape, ViTShape):
        said["heads"] = str(shape.heads)
    if isinstance(shape, ViTShape | MixerShape):
        said["gelu"] = shape.gelu
    return said


def _config(planned: ExportPlan) -> str:
    return json.dumps(huggingface_config(planned.shape, planned.classes), indent=2) + "\n"


def _check_config(planned: ExportPlan) -> None:
    """A config.json that says something else belongs to other weights and is left alone."""
    config = planned.files["config"]
    if config.exists() and config.read_bytes() != _config(planned).encode():
        raise Unusable(
            [
                f"{config} is there already and is not the one of these weights; it would be "
                f"written beside {planned.files['weights'].name}. Choose another folder."
            ]
        )
