"""What the names and shapes in a file tell about the network, by the vote of most of them.

A file with something missing or wrong is judged by the rest, so that the comparison with its
layout's table can name all that is amiss. What weights cannot tell (PyTorch's do not say into how
many heads they are split), a configuration beside them may.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from models.weights.pixels import Pixels, pixels_in
from models.weights.tensors import Unusable

LONGEST_CONFIG = 2**20  # bytes
CONFIG = "config.json"
CONFIGS = {
    CONFIG: ("vision_config", "model_args", "pretrained_cfg"),
    "preprocessor_config.json": (),
    "open_clip_config.json": ("preprocess_cfg",),
}
"""What may lie beside a .safetensors, and the tables in it that are looked at; the first that says
something counts. Only `CONFIG` is about more than pixels."""
Gelu: TypeAlias = Literal["tanh", "erf"]
GELUS: dict[str, Gelu] = {
    "gelu": "erf",
    "gelu_python": "erf",
    "gelu_pytorch_tanh": "tanh",
    "gelu_new": "tanh",
    "gelu_tanh": "tanh",
    "tanh": "tanh",
    "erf": "erf",
}
"""What libraries call the two."""


class Facts:
    """Names and shapes of a file's arrays, to be asked."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]):
        self.shapes = shapes

    def any(self, pattern: str) -> bool:
        """Whether a name begins like that."""
        return any(re.match(pattern, name) for name in self.shapes)

    def length(self, pattern: str, axis: int) -> int | None:
        """The commonest length along `axis` of the arrays whose whole name matches."""
        votes = Counter(
            shape[axis]
            for name, shape in self.shapes.items()
            if re.fullmatch(pattern, name) and -len(shape) <= axis < len(shape)
        )
        return votes.most_common(1)[0][0] if votes else None

    def count(self, pattern: str) -> int | None:
        """One more than the largest number that the pattern's group catches.

        There cannot be more than there are arrays: whatever a name says, no table grows longer.
        """
        found = [int(m[1][:9]) for name in self.shapes if (m := re.match(pattern, name))]
        return min(1 + max(found), len(self.shapes)) if found else None


@dataclass(frozen=True)
class About:
    """What weights themselves do not tell; None where nothing else does either."""

    heads: int | None = None
    gelu: Gelu | None = None
    resolution: int | None = None
    sincos: bool = False
    """Whether positions that are not in the file are fixed sines and cosines, and not missing."""
    pixels: Pixels | None = None
    """What was done to the pixels that it was trained on."""

    def or_else(self, other: About) -> About:
        return About(
            heads=self.heads or other.heads,
            gelu=self.gelu or other.gelu,
            resolution=self.resolution or other.resolution,
            sincos=self.sincos or other.sincos,
            pixels=self.pixels or other.pixels,
        )


def about(path: Path, metadata: Mapping[str, str], given: About | None = None) -> About:
    """What a person says, then what the file says of itself, then the configurations beside it.

    Args:
      given: by a person; what it says of pixels is not looked for elsewhere, where it may be wrong.

    Raises:
      Unusable: a configuration is no JSON, or asks for a GELU that no shape has, or for pixels that
        cannot be.
    """
    own = (given or About()).or_else(_about({**metadata}, path))
    if own.pixels is None:
        own = own.or_else(_of_pixels({**metadata}, path))
    if path.suffix != ".safetensors":
        return own
    for name, inner in CONFIGS.items():
        config = path.with_name(name)
        if not config.is_file():
            continue
        said = _json(config)
        for each in (said, *(said[key] for key in inner if isinstance(said.get(key), dict))):
            if name == CONFIG:
                own = own.or_else(_about(each, config))
            if own.pixels is None:
                own = own.or_else(_of_pixels(each, config))
    return own


def _json(config: Path) -> dict[str, Any]:
    try:
        if config.stat().st_size > LONGEST_CONFIG:
            raise ValueError(f"it is longer than {LONGEST_CONFIG:_} bytes")
        said = json.loads(config.read_text(encoding="utf-8"))
        if not isinstance(said, dict):
            raise ValueError("it is no JSON object")
    except (ValueError, RecursionError) as error:
        raise Unusable(
            [f"{config} cannot be understood ({error}); repair it or move it away."]
        ) from None
    return said


def _of_pixels(said: Mapping[str, Any], path: Path) -> About:
    try:
        return About(pixels=pixels_in(said, path.name))
    except ValueError as error:
        raise Unusable(
            [f"{path.parent}: {error} Else give --mean and --std, which go before it."]
        ) from None


def _about(said: Mapping[str, Any], path: Path) -> About:
    gelu = said.get("hidden_act") or said.get("act_layer") or said.get("gelu")
    if gelu is not None and gelu not in GELUS and said.get("model_type") != "bit":
        raise Unusable(
            [f"{path} asks for the activation {gelu!r}; known are {', '.join(sorted(GELUS))}."]
        )
    heads = said.get("num_attention_heads") or said.get("num_heads") or said.get("heads")
    resolution = said.get("image_size") or said.get("img_size") or said.get("resolution")
    return About(_natural(heads), GELUS.get(str(gelu)), _natural(resolution))


def _natural(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        value = int(value)
    return value if type(value) is int and value > 0 else None


def square(count: int) -> int:
    """The side of a square grid of `count` places, or of one less where only that is square."""
    side = math.isqrt(count)
    return side if side**2 == count else math.isqrt(max(count - 1, 1))


def has_token(count: int | None) -> bool:
    """Whether a table of so many positions is that of a square grid and a class token."""
    if not count:
        return False
    return math.isqrt(count) ** 2 != count and math.isqrt(count - 1) ** 2 == count - 1
