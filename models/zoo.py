"""The zoo: every published model as a row of numbers, and the names they go by.

Knows no arrays and no JAX; what a shape is, `shapes.py` says.
"""

import difflib
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from models.shapes import BiTShape, MixerShape, Shape, ViTShape


class Variant(NamedTuple):
    """A row of the zoo: the four numbers that a name such as "Ti" stands for."""

    width: int
    depth: int
    mlp: int
    heads: int


# s, S, Ti, B, L, g, G: Zhai et al. 2022, "Scaling Vision Transformers", Table 2.
# H: Dosovitskiy et al. 2021, Table 1. So400m, g-opt, G-opt: Alabdulmohsin et al. 2023, "Getting
# ViT in Shape". e: Chen et al. 2023, PaLI. mu, M: big_vision, models/vit.py.
# Mind the case: s is not S, g is not G.
VARIANTS = {
    "mu": Variant(32, 1, 128, 2),
    "Ti": Variant(192, 12, 768, 3),
    "s": Variant(256, 6, 1024, 8),
    "S": Variant(384, 12, 1536, 6),
    "M": Variant(512, 12, 2048, 8),
    "B": Variant(768, 12, 3072, 12),
    "L": Variant(1024, 24, 4096, 16),
    "So400m": Variant(1152, 27, 4304, 16),
    "H": Variant(1280, 32, 5120, 16),
    "g": Variant(1408, 40, 6144, 16),
    "g-opt": Variant(1536, 40, 6144, 16),
    "G": Variant(1664, 48, 8192, 16),
    "G-opt": Variant(1536, 48, 8192, 16),
    "e": Variant(1792, 56, 15360, 16),
}

# Kolesnikov et al. 2020, "Big Transfer", section 3.3; R152x2: Beyer et al. 2022, the teacher of
# "Knowledge distillation: a good teacher is patient and consistent". Blocks a stage.
BIT_STAGES = {"R50": (3, 4, 6, 3), "R101": (3, 4, 23, 3), "R152": (3, 8, 36, 3)}
BIT_ROOT = 64  # channels of x1
BITS = ("BiT-R50x1", "BiT-R50x3", "BiT-R101x1", "BiT-R101x3", "BiT-R152x2", "BiT-R152x4")


class MixerVariant(NamedTuple):
    """A row of Mixers: what a name such as "Mixer-B" stands for."""

    width: int
    depth: int
    mlp_tokens: int
    mlp: int


# Tolstikhin et al. 2021, "MLP-Mixer", Table 1.
MIXERS = {
    "Mixer-B": MixerVariant(768, 12, 384, 3072),
    "Mixer-L": MixerVariant(1024, 24, 512, 4096),
}


def shape(name: str, resolution: int = 224) -> Shape:
    """The shape that a name stands for: "Ti/16", "BiT-R50x1", "Mixer-B/16".

    Args:
      name: as `scaling models` lists them.
      resolution: image side in pixels.

    Raises:
      ValueError: the zoo has no such name; lists the near ones.
    """
    families: dict[str, Callable[[str, int], Shape]] = {
        **dict.fromkeys(VARIANTS, vit),
        **dict.fromkeys(BITS, bit),
        **dict.fromkeys(MIXERS, mixer),
    }
    near = _near(name.partition("/")[0], families)
    if not near:
        raise ValueError(f"{name!r}: there is no such model; the zoo has {', '.join(families)}.")
    return families[near[0]](name, resolution)


def vit(name: str, resolution: int = 224) -> ViTShape:
    """The Vision Transformer that a name such as "Ti/16" stands for.

    Args:
      name: variant, slash, patch side in pixels.
      resolution: image side in pixels.

    Raises:
      ValueError: the variant is not in the zoo, or the name has no patch; lists the near names.
    """
    variant, patch = _variant_and_patch(name, VARIANTS, "ViT variant")
    return ViTShape(name=name, patch=patch, resolution=resolution, **VARIANTS[variant]._asdict())


def bit(name: str, resolution: int = 224) -> BiTShape:
    """The ResNet that a name such as "BiT-R50x3" stands for: layers, x, factor of every width.

    "BiT-R50x3-post" is the one with norm and ReLU after each convolution.

    Raises:
      ValueError: there is no such ResNet; lists the near names.
    """
    match = re.fullmatch(r"BiT-(R[0-9]+)x([1-9][0-9]?)(-post)?", name)
    if match is None or match[1] not in BIT_STAGES:
        raise ValueError(f"{name!r}: there is no such BiT; {_nearest(name, BITS)}")
    return BiTShape(
        name=name,
        resolution=resolution,
        stages=BIT_STAGES[match[1]],
        width=BIT_ROOT * int(match[2]),
        order="post" if match[3] else "pre",
    )


def mixer(name: str, resolution: int = 224) -> MixerShape:
    """The MLP-Mixer that a name such as "Mixer-B/16" stands for.

    Raises:
      ValueError: the variant is not in the zoo, or the name has no patch; lists the near names.
    """
    variant, patch = _variant_and_patch(name, MIXERS, "Mixer")
    return MixerShape(name=name, patch=patch, resolution=resolution, **MIXERS[variant]._asdict())


def _variant_and_patch(name: str, known: Iterable[str], kind: str) -> tuple[str, int]:
    """The two parts of a name such as "Ti/16"; `kind` is what a message calls the first."""
    variant, slash, patch = name.partition("/")
    if variant not in known:
        raise ValueError(
            f"{name!r}: there is no {kind} {variant!r}; "
            f"{_nearest(variant, known, slash + patch if slash else '/16')}"
        )
    if re.fullmatch(r"0+", patch):
        raise ValueError(f"{name!r}: a patch must be > 0 pixels; write for example '{variant}/16'.")
    if not re.fullmatch(r"[1-9][0-9]{0,8}", patch):
        raise ValueError(
            f"{name!r} does not say its patch side in pixels; write for example '{variant}/16'."
        )
    return variant, int(patch)


def _nearest(wanted: str, known: Iterable[str], suffix: str = "") -> str:
    """Words that name the near ones of `known`, or all of them where none is near."""
    if near := _near(wanted, known):
        return f"did you mean {' or '.join(repr(each + suffix) for each in near)}?"
    return f"the zoo has {', '.join(known)}."


def _near(wanted: str, known: Iterable[str]) -> list[str]:
    """Those of `known` that `wanted` may be a slip for, the nearest first, case aside.

    `fits.base.names` finds near names for everything else; `models` may not import it.
    """
    by_lower: dict[str, list[str]] = {}
    for each in known:
        by_lower.setdefault(each.lower(), []).append(each)
    near = difflib.get_close_matches(wanted.lower(), by_lower, n=3, cutoff=0.5)
    return [each for lower in near for each in by_lower[lower]]
