"""The zoo: every published ViT as a shape, one row a model.

A shape is arithmetic only. This file knows no arrays, no JAX, and not what a shape costs
(`cost.py`) or how it is built (`build.py`).
"""

import difflib
import re
from dataclasses import dataclass, fields
from typing import NamedTuple

HEADS_TRIED = 10_000  # each way, before 1 and the width itself are proposed


@dataclass(frozen=True, kw_only=True)
class ViTShape:
    """Everything that decides the size of a Vision Transformer, fields as in the paper's Table 2.

    Lengths are pixels (patch, resolution) or features (width, mlp). A patch that does not divide
    the resolution leaves a margin at the right and the bottom unseen, as a VALID convolution does.
    """

    name: str
    patch: int
    resolution: int
    width: int
    depth: int
    mlp: int
    heads: int

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and (not isinstance(value, int) or value < 1):
                raise ValueError(
                    f"{self.name}: {field.name}={value!r} is not a positive whole number."
                )
        if self.patch > self.resolution:
            raise ValueError(
                f"{self.name}: patch={self.patch} px is larger than the image of "
                f"resolution={self.resolution} px; use a patch of at most {self.resolution}."
            )
        if self.width % self.heads:
            near = " or ".join(map(str, _near_divisors(self.width, self.heads)))
            raise ValueError(
                f"{self.name}: heads={self.heads} does not divide width={self.width}; "
                f"use {near} heads."
            )

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.resolution // self.patch

    @property
    def tokens(self) -> int:
        """Patches in the image, which is the length of the sequence: there is no class token."""
        return self.grid**2


def _near_divisors(width: int, heads: int) -> list[int]:
    """The divisors of `width` next to `heads`, which is none: below it, and above it if less.

    Looked for outward from `heads`, and not for ever: 1 and the width always divide.
    """
    if heads > width:
        return [width]
    below = range(heads - 1, max(0, heads - 1 - HEADS_TRIED), -1)
    above = range(heads + 1, min(width, heads + 1 + HEADS_TRIED))
    return [
        next((h for h in below if width % h == 0), 1),
        next((h for h in above if width % h == 0), width),
    ]


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


def vit(name: str, resolution: int = 224) -> ViTShape:
    """The shape that a name such as "Ti/16" stands for.

    Args:
      name: variant, slash, patch side in pixels.
      resolution: image side in pixels.

    Raises:
      ValueError: the variant is not in the zoo, or the name has no patch; lists the near names.
    """
    variant, slash, patch = name.partition("/")
    if variant not in VARIANTS:
        raise ValueError(
            f"{name!r}: there is no ViT variant {variant!r}; "
            f"{_nearest(variant, slash + patch if slash else '/16')}"
        )
    if re.fullmatch(r"0+", patch):
        raise ValueError(f"{name!r}: a patch must be > 0 pixels; write for example '{variant}/16'.")
    if not re.fullmatch(r"[1-9][0-9]{0,8}", patch):
        raise ValueError(
            f"{name!r} does not say its patch side in pixels; write for example '{variant}/16'."
        )
    return ViTShape(
        name=name, patch=int(patch), resolution=resolution, **VARIANTS[variant]._asdict()
    )


def _nearest(variant: str, suffix: str) -> str:
    """Words that name the near variants, or all of them where none is near."""
    by_lower: dict[str, list[str]] = {}
    for known in VARIANTS:
        by_lower.setdefault(known.lower(), []).append(known)
    near = difflib.get_close_matches(variant.lower(), by_lower, n=3, cutoff=0.5)
    if not near:
        return f"the zoo has {', '.join(VARIANTS)}."
    names = [f"'{known}{suffix}'" for lower in near for known in by_lower[lower]]
    return f"did you mean {' or '.join(names)}?"
