"""The networks that a study file names or spells out, and what is wrong with them.

A name is that of a table of [models], or else the zoo's. Knows no recipe and no run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from models import zoo
from models.shapes import BiTShape, MixerShape, MuP, Shape, ViTShape
from scaling.study.mistakes import near_names, show
from scaling.study.reading import Reading
from scaling.study.study_file import BiTSizes, MixerSizes, MuPKeys, OwnModel, ViTLike, ViTSizes
from scaling.study.toml_lines import KeyPath

UNKNOWN_RESOLUTION = 1 << 20  # large enough that no patch is refused for it


def network(name: str, own: OwnModel | None, resolution: int, mup: MuPKeys | None = None) -> Shape:
    """The shape that a name of a study file stands for.

    Args:
      name: of the zoo, or of a table of [models].
      own: that table; None for the zoo's.
      resolution: image side in pixels.
      mup: of the grid; for a ViT that has none of its own.

    Raises:
      ValueError: there is no such network.
    """
    match own:
        case None:
            shape = zoo.shape(name, resolution)
        case ViTLike():
            like = zoo.vit(own.like, UNKNOWN_RESOLUTION)  # its patch may be changed
            shape = replace(like, name=name, resolution=resolution, **_vit_fields(own))
        case ViTSizes():
            shape = ViTShape(name=name, resolution=resolution, **_vit_fields(own))
        case BiTSizes():
            shape = BiTShape(name=name, resolution=resolution, **own.model_dump())
        case MixerSizes():
            shape = MixerShape(name=name, resolution=resolution, **own.model_dump())
    return with_mup(shape, mup)


def with_mup(shape: Shape, mup: MuPKeys | None) -> Shape:
    """The shape with a grid's `mup`, if it is a ViT that has none of its own."""
    if mup is not None and isinstance(shape, ViTShape) and shape.mup is None:
        return replace(shape, mup=MuP(**mup.model_dump()))
    return shape


def _vit_fields(own: ViTLike | ViTSizes) -> dict[str, Any]:
    """Fields of a ViT's shape that its table has written down."""
    written = {key: getattr(own, key) for key in own.model_fields_set - {"like"}}
    if own.mup is not None:
        written["mup"] = MuP(**own.mup.model_dump())
    return written


def check(file: Reading, resolution: int | None) -> dict[KeyPath, dict[KeyPath, Shape | None]]:
    """Notes what is wrong with the networks of a file.

    Args:
      file: whose keys have been held against the schema.
      resolution: image side in pixels; None if it is not known.

    Returns:
      By grid and by place in it, the shape that is named there; None where that is not known.
    """
    resolution = resolution or UNKNOWN_RESOLUTION
    own = file.names("models")
    shapes = {name: _own_shape(file, name, resolution) for name in own}
    unused, unknown = set(own), []
    found: dict[KeyPath, dict[KeyPath, Shape | None]] = {}
    for grid in file.tables("grid"):
        trained = found[grid] = {}
        for place, name in file.values(grid, "model"):
            if name in own:
                unused.discard(name)
                trained[place] = shapes[name]
            elif not _in_zoo(name) and (near := near_names(name, own)):
                unknown.append(name)
                file.mistake(place, f"there is no {show(name)}; did you mean {show(near[0])}?")
            else:
                trained[place] = _try_shape(file, place, name, None, resolution)
    axes = [("grid",), *((*grid, "model") for grid in file.tables("grid"))]
    for name in unused:
        if not near_names(name, unknown) and not any(map(file.lost, axes)):
            file.mistake(("models", name), "no grid trains it; name it there, or remove it here.")
    return found


def _own_shape(file: Reading, name: str, resolution: int) -> Shape | None:
    """The shape of a table of [models], if nothing is wrong with it."""
    place = ("models", name)
    if "/" in name:
        file.mistake(place, "a name with a / is the zoo's; choose one without.")
    elif _in_zoo(name):
        file.mistake(place, "this name is the zoo's; choose another.")
    own = file.part(OwnModel, place)
    if isinstance(own, ViTLike) and not isinstance(_try_like(file, place, own.like), ViTShape):
        return None
    return None if own is None else _try_shape(file, place, name, own, resolution)


def _try_like(file: Reading, place: KeyPath, like: str) -> Shape | None:
    """The model that another is to be like; it is to be a ViT."""
    shape = _try_shape(file, (*place, "like"), like, None, UNKNOWN_RESOLUTION)
    if shape is not None and not isinstance(shape, ViTShape):
        keys = "stages and width" if isinstance(shape, BiTShape) else "all sizes"
        file.mistake((*place, "like"), f"{show(like)} is no ViT; give {keys} instead.")
    return shape


def _in_zoo(name: str) -> bool:
    try:
        zoo.shape(name, UNKNOWN_RESOLUTION)
    except ValueError:
        return False
    return True


def _try_shape(
    file: Reading, place: KeyPath, name: str, own: OwnModel | None, resolution: int
) -> Shape | None:
    try:
        return network(name, own, resolution)
    except ValueError as error:
        file.mistake(place, str(error).removeprefix(f"{name}: "))
        return None
