"""Weights in: from a file of any layout to a shape and its parameters.

Parameters are here what training has: a nested dict {"backbone": ..., "head": ...}, the head only
where there is a classifier, with a block's parameters stacked over depth. `inspect` says what a
file holds without reading its numbers. Arrays are read one at a time: nothing needs more memory
than the parameters, one array of the file, and a few MiB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from models import zoo
from models.positions import resize_positions
from models.shapes import MixerShape, Shape, ViTShape
from models.weights.containers import opened
from models.weights.facts import About, about
from models.weights.ours import Flat, parameters, tree
from models.weights.pixels import UNKNOWN, Pixels, check_can_fold, fold
from models.weights.recognise import Recognised, recognise
from models.weights.rows import Entry, entries
from models.weights.tensors import FLOATS, Spec, Unusable, float_type

SIZES = ("name", "patch", "stages", "width", "order", "depth", "mlp_tokens", "mlp", "heads")
"""Fields of a shape that a name of the zoo decides."""


@dataclass(frozen=True)
class ForeignCheckpoint:
    """A file of weights that was recognised and fits, its numbers not yet read.

    Fields:
      shape: the network as it will be, at the resolution that was asked for.
      classes: of its classifier; None where there is none.
      entries: the table between our parameters and its arrays.
      names: how its arrays are called in the file, by their name in `entries`.
      specs: shape and type of its arrays, by name in the file.
      skipped: what else is in the file, and why it is left there.
      pixels: what was done to those it was trained on; None: nothing says it.
    """

    path: Path
    layout: str
    shape: Shape
    classes: int | None
    entries: list[Entry]
    names: dict[str, str]
    specs: Mapping[str, Spec]
    skipped: dict[str, str]
    pixels: Pixels | None = None

    @property
    def of_pixels(self) -> str | None:
        """What a person must know of the pixels that it sees; None: they are -1 .. 1 anyway."""
        if self.pixels is None:  # Google's code, whose files end in .npz, has no others
            return UNKNOWN if self.path.suffix == ".safetensors" else None
        if self.pixels.usual:
            return None
        return f"{self.pixels.words} are folded into the patch embedding: it sees pixels of -1 .. 1"

    @property
    def ours(self) -> dict[str, Spec]:
        """Our parameters by path, as they will be after reading."""
        dtypes: dict[str, list[np.dtype[Any]]] = {}
        for entry in self.entries:
            theirs = [self.specs[self.names[name]].dtype for name in entry.theirs]
            for path in entry.ours:
                dtypes.setdefault(path, []).extend(each.newbyteorder("=") for each in theirs)
        return {
            path: Spec(parameter.whole, reduce(np.promote_types, dtypes[path]))
            for path, parameter in parameters(self.shape, self.classes).items()
        }

    def read(self, dtype: str | None = None) -> dict[Any, Any]:
        """The parameters.

        Args:
          dtype: "float32" or another of `tensors.FLOATS`; None: as in the file.

        Raises:
          Unusable: the file's bytes are damaged, or there is no such type.
        """
        ours = self.ours
        kinds = {path: float_type(dtype) if dtype else spec.dtype for path, spec in ours.items()}
        arrays: Flat = {}
        with opened(self.path) as tensors:
            for entry in self.entries:
                theirs = [tensors.read(self.names[name]) for name in entry.theirs]
                found = entry.step.here(theirs, entry.shapes)
                for path, array in zip(entry.ours, found, strict=True):
                    if entry.layer is None:
                        arrays[path] = array.astype(kinds[path], copy=False)
                        continue
                    if path not in arrays:
                        arrays[path] = np.empty(ours[path].shape, kinds[path])
                    arrays[path][entry.layer] = array
        if self.pixels is not None and not self.pixels.usual:
            fold(arrays, self.pixels)
        if isinstance(self.shape, ViTShape) and "position" in arrays:
            arrays["position"] = resize_positions(arrays["position"], self.shape.grid)
        return tree(arrays)


def inspect(
    path: Path,
    shape: Shape | str | None = None,
    *,
    resolution: int | None = None,
    given: About | None = None,
) -> ForeignCheckpoint:
    """What the file at `path` holds, and that it is whole; no numbers are read.

    Args:
      path: .npz or .safetensors.
      shape: what it must hold. A name of the zoo stands for its sizes, and what the name does not
        say (pool, pre-logits layer, resolution) is as in the file. None: all is as in the file.
      resolution: side of the images in pixels; None: that of `shape`, or else of the file.
      given: what the weights do not tell, and would otherwise be looked for beside them.

    Raises:
      Unusable: not one of the layouts; or something is missing, extra or of the wrong shape, and
        then all of it is named.
    """
    path = Path(path)
    with opened(path) as tensors:
        specs, metadata = tensors.specs, tensors.metadata
    try:
        asked = zoo.shape(shape) if isinstance(shape, str) else shape
        known = (given or About()).or_else(About(heads=getattr(asked, "heads", None)))
        facts = about(path, metadata, known)
        found = recognise(specs, facts)
        if given is not None:
            _check_heads(found.shape, given.heads)
        wanted = asked or found.shape
        if isinstance(shape, str):
            wanted = _sized(found.shape, wanted)
        if resolution is not None:
            wanted = replace(wanted, resolution=resolution)
        _check_kind(found.shape, wanted)
        check_can_fold(facts.pixels, wanted)
        stored = _stored(found.shape, wanted)
        table = entries(found.rows(stored), parameters(stored, found.classes))
    except Unusable as error:
        raise Unusable(f"{path}: {mistake}" for mistake in error.mistakes) from None
    except ValueError as error:
        raise Unusable([f"{path}: {error}"]) from None
    mistakes = list(_differences(table, found, specs))
    if mistakes:
        what = f"{in_words(stored, found.classes)}, which it was taken for"
        raise Unusable([f"{path} is not a whole {found.layout} file of {what}:", *mistakes])
    return ForeignCheckpoint(
        path,
        found.layout,
        wanted,
        found.classes,
        table,
        found.names,
        specs,
        found.skipped,
        facts.pixels,
    )


def read(
    path: Path, shape: Shape | str | None = None, *, dtype: str | None = None
) -> tuple[Shape, dict[Any, Any]]:
    """The network in the file at `path`, and its parameters as NumPy arrays.

    Learned positions are resized where `shape` has another resolution than the file.

    Args:
      path: .npz or .safetensors.
      shape: see `inspect`.
      dtype: "float32" or another of `tensors.FLOATS`; None: as in the file.

    Raises:
      Unusable: see `inspect`; or the bytes are damaged.
    """
    found = inspect(path, shape)
    return found.shape, found.read(dtype)


def in_words(shape: Shape, classes: int | None) -> str:
    """The network as a person names it: "B/16 (224 px, pool map, GELU tanh, 1_000 classes)"."""
    said = [f"{shape.resolution} px"]
    if isinstance(shape, ViTShape):
        said.append(f"pool {shape.pool}")
        said += [] if shape.pre_logits is None else [f"pre-logits {shape.pre_logits}"]
        said += [] if shape.position == "learned" else [f"positions {shape.position}"]
        said.append(f"{shape.heads} head{'' if shape.heads == 1 else 's'}")
    if isinstance(shape, ViTShape | MixerShape):
        said.append(f"GELU {shape.gelu}")
    said.append("no classifier" if classes is None else f"{classes:_} classes")
    return f"{shape.name} ({', '.join(said)})"


def _sized(found: Shape, named: Shape) -> Shape:
    """The network found, with the sizes of a name instead of its own."""
    if type(found) is not type(named):
        return named
    sizes = {each.name: getattr(named, each.name) for each in fields(named) if each.name in SIZES}
    if isinstance(found, ViTShape | MixerShape):
        sizes["resolution"] = found.grid * sizes["patch"]
    return replace(found, **sizes)


def _check_kind(found: Shape, wanted: Shape) -> None:
    if type(found) is not type(wanted):
        raise ValueError(
            f"{wanted.name} is a {type(wanted).__name__.removesuffix('Shape')}, but the file "
            f"holds a {type(found).__name__.removesuffix('Shape')}, {found.name}."
        )
    if isinstance(wanted, ViTShape) and wanted.mup is not None:
        raise ValueError(
            f"{wanted.name} is parametrised by muP, published weights are not; leave mup out."
        )
    if not isinstance(found, MixerShape) or not isinstance(wanted, MixerShape):
        return
    if found.patch == wanted.patch and found.grid != wanted.grid:
        raise ValueError(
            f"{found.name} mixes {found.patches} patches and no other number, so it is for "
            f"{found.resolution} px and not for {wanted.resolution}."
        )


def _check_heads(found: Shape, heads: int | None) -> None:
    if isinstance(found, ViTShape) and heads not in (None, found.heads):
        raise ValueError(f"{found.name} has {found.heads} heads, not {heads}.")


def _stored(found: Shape, wanted: Shape) -> Shape:
    """The network wanted, at the resolution at which the file has it, if that can be changed."""
    if not isinstance(wanted, ViTShape) or not isinstance(found, ViTShape):
        return wanted
    if wanted.position == "sincos" or wanted.grid == found.grid:
        return wanted
    return replace(wanted, resolution=found.grid * wanted.patch)


def _differences(
    table: Iterable[Entry], found: Recognised, specs: Mapping[str, Spec]
) -> Iterator[str]:
    """Every array that is missing, of the wrong shape or type, or too many; one a line."""
    names = found.names
    shapes = {
        name: size
        for entry in table
        for name, size in zip(entry.theirs, entry.their_shapes, strict=True)
    }
    positions = {entry.theirs for entry in table if entry.ours == ("position",)}
    for name, size in shapes.items():
        if name not in names:
            fixed = "; are they sines and cosines? Then give --sincos" * ((name,) in positions)
            yield f"  missing      {found.called(name)} {list(size)}{fixed}"
    for name, size in shapes.items():
        spec = specs[names[name]] if name in names else None
        if spec is not None and spec.shape != size:
            yield f"  wrong shape  {names[name]} {list(spec.shape)}, not {list(size)}"
        elif spec is not None and spec.dtype.newbyteorder("=") not in FLOATS.values():
            yield f"  wrong type   {names[name]} {spec.dtype.name}, not {' or '.join(FLOATS)}"
    for name in names:
        if name not in shapes:
            yield f"  extra        {names[name]} {specs[names[name]]}"
