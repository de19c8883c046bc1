"""What decides the size of a network, one class a family, and what it must satisfy.

A shape is arithmetic only. This file knows no arrays, no JAX, no names of the zoo (`zoo.py`), and
not what a shape costs (`cost.py`) or how it is built (`build.py`). Lengths are pixels (patch,
resolution) or features (width, mlp). Fields with a default are choices that a paper made; leaving
them alone gives the network of "Scaling Vision Transformers".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

HEADS_TRIED = 10_000  # each way, before 1 and the width itself are proposed
GROUPS = 32  # of BiT's GroupNorm
CHANNELS = 3


@dataclass(frozen=True, kw_only=True)
class MuP:
    """Maximal update parametrisation: what changes as a network grows beyond a base model.

    At the base width, head size and depth it is the standard parametrisation, number for number.
    Yang et al. 2022, "Tensor Programs V"; for depth Yang et al. 2024, "Tensor Programs VI", and
    Dey et al. 2025, "CompleteP".
    """

    base_width: int
    """Width of the model on which the learning rate was found."""
    base_head: int = 64
    """Features of a head there, where 1 / size and 1 / sqrt(size) give the same attention."""
    base_depth: int | None = None
    """Number of blocks there; None: depth changes nothing."""
    depth_exponent: float = 0.5
    """Each residual branch is multiplied by (depth / base_depth) to minus this: .5 or 1."""

    def __post_init__(self):
        for key in ("base_width", "base_head", "base_depth"):
            value = getattr(self, key)
            if value is not None:
                _check_positive("mup", key, value)
        object.__setattr__(self, "depth_exponent", float(self.depth_exponent))  # 1 is 1.0
        if not 0.5 <= self.depth_exponent <= 1:
            raise ValueError(
                f"mup: depth_exponent={self.depth_exponent!r} is outside [0.5, 1]; 0.5 keeps "
                f"random features apart (depth-muP), 1 keeps every layer learning (CompleteP)."
            )
        if self.base_depth is None and self.depth_exponent != 0.5:
            raise ValueError(
                f"mup: depth_exponent={self.depth_exponent!r} says nothing without base_depth, the "
                "number of blocks of the model on which the learning rate was found; give it."
            )


class Transformer(Protocol):
    """What a pre-norm block and the pools read of a shape, whatever its tokens are made of."""

    @property
    def width(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def mlp(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def pool(self) -> Literal["map", "gap", "token", "last"]: ...
    @property
    def gelu(self) -> Literal["tanh", "erf"]: ...
    @property
    def query_key_norm(self) -> bool: ...
    @property
    def qkv_and_norm_biases(self) -> bool: ...
    @property
    def mup(self) -> MuP | None: ...


@dataclass(frozen=True, kw_only=True)
class ViTShape:
    """A Vision Transformer, sizes as in Table 2 of Zhai et al. 2022.

    A patch that does not divide the resolution leaves a margin at the right and the bottom
    unseen, as a VALID convolution does.
    """

    name: str
    patch: int
    resolution: int
    width: int
    depth: int
    mlp: int
    heads: int
    pool: Literal["map", "gap", "token"] = "map"
    """What makes one vector of the tokens: attention with a learned query, their mean, or a
    class token that travels with them."""
    pre_logits: int | None = None
    """Features of a layer with tanh between the pool and the classifier; None: there is none."""
    position: Literal["learned", "sincos"] = "learned"
    """A table of parameters, or fixed sines and cosines of row and column."""
    gelu: Literal["tanh", "erf"] = "tanh"
    """GELU by its tanh approximation, as in flax, or exact, as in PyTorch."""
    block: Literal["sequential", "parallel"] = "sequential"
    """Attention, then MLP; or both at once on one normalised input, as in ViT-22B."""
    query_key_norm: bool = False
    """Whether queries and keys are normalised, head by head, before their product (ViT-22B);
    in the pool too."""
    qkv_and_norm_biases: bool = True
    """Whether query, key, value and every norm have biases, those of the pool too; ViT-22B leaves
    them out."""
    mup: MuP | None = None
    """How the parametrisation follows width and depth; None: not at all."""

    def __post_init__(self):
        for key in ("patch", "resolution", "width", "depth", "mlp", "heads"):
            _check_positive(self.name, key, getattr(self, key))
        if self.pre_logits is not None:
            _check_positive(self.name, "pre_logits", self.pre_logits)
        _check_patch(self.name, self.patch, self.resolution)
        _check_heads(self.name, self.heads, self.width)
        if self.position == "sincos" and self.width % 4:
            raise ValueError(
                f"{self.name}: position='sincos' needs a width that 4 divides, for sine and "
                f"cosine of row and column; width={self.width}."
            )

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.resolution // self.patch

    @property
    def patches(self) -> int:
        """Patches in the image."""
        return self.grid**2

    @property
    def tokens(self) -> int:
        """Length of the sequence: the patches, and a class token where there is one."""
        return self.patches + (self.pool == "token")

    @property
    def features(self) -> int:
        """Length of the vector that a classifier or a probe reads."""
        return self.pre_logits or self.width


@dataclass(frozen=True, kw_only=True)
class BiTShape:
    """A ResNet with GroupNorm and weight standardisation.

    Kolesnikov et al. 2020, "Big Transfer", section 3.3: R50x3 is stages (3, 4, 6, 3), width 192.
    """

    name: str
    resolution: int
    stages: tuple[int, ...]
    """Bottleneck blocks of each stage; each stage but the first halves the side of the image."""
    width: int
    """Channels of the root; stage i works at width 2^i and hands on four times as many."""
    order: Literal["pre", "post"] = "pre"
    """Norm and ReLU before each convolution, as in the paper and its published weights (ResNet-v2),
    or after it, as in what big_vision trains today (ResNet-v1)."""

    def __post_init__(self):
        for key in ("resolution", "width"):
            _check_positive(self.name, key, getattr(self, key))
        object.__setattr__(self, "stages", tuple(self.stages))  # JSON has lists
        if not self.stages:
            raise ValueError(f"{self.name}: stages={self.stages} is empty; write (3, 4, 6, 3).")
        for blocks in self.stages:
            _check_positive(self.name, "stages", blocks)
        if self.width % GROUPS:
            raise ValueError(
                f"{self.name}: width={self.width} is no multiple of the {GROUPS} groups of "
                f"GroupNorm; use {max(1, round(self.width / GROUPS)) * GROUPS}."
            )

    @property
    def features(self) -> int:
        """Length of the vector that a classifier or a probe reads."""
        return 4 * self.width * 2 ** (len(self.stages) - 1)

    @property
    def depth(self) -> int:
        """Layers with weights, the classifier counted: the 50 of R50."""
        return 3 * sum(self.stages) + 2


@dataclass(frozen=True, kw_only=True)
class MixerShape:
    """An MLP-Mixer: two MLPs a block, one across the patches, one across the features.

    Tolstikhin et al. 2021, "MLP-Mixer", Table 1.
    """

    name: str
    patch: int
    resolution: int
    width: int
    depth: int
    mlp_tokens: int
    """Features inside the MLP that mixes patches, D_S of the paper."""
    mlp: int
    """Features inside the MLP that mixes features, D_C of the paper."""
    gelu: Literal["tanh", "erf"] = "tanh"
    """GELU by its tanh approximation, as in flax, or exact, as in PyTorch."""

    def __post_init__(self):
        for key in ("patch", "resolution", "width", "depth", "mlp_tokens", "mlp"):
            _check_positive(self.name, key, getattr(self, key))
        _check_patch(self.name, self.patch, self.resolution)

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.resolution // self.patch

    @property
    def patches(self) -> int:
        """Patches in the image, which is the length of the sequence."""
        return self.grid**2

    @property
    def features(self) -> int:
        """Length of the vector that a classifier or a probe reads."""
        return self.width


Shape: TypeAlias = ViTShape | BiTShape | MixerShape
"""Of what images pass through."""


@dataclass(frozen=True, kw_only=True)
class TextShape:
    """A transformer over the tokens of a text, its blocks those of a `ViTShape`'s defaults.

    The text tower of LiT and SigLIP in big_vision; sizes as of a ViT.
    """

    name: str
    width: int
    depth: int
    mlp: int
    heads: int
    vocabulary: int
    """Different tokens, the one that ends a text and pads it included."""
    length: int
    """Tokens of every text, padding included."""
    pool: Literal["last", "map", "gap"] = "last"
    """What makes one vector of the tokens: the last one, attention with a learned query, or their
    mean."""

    def __post_init__(self):
        for key in ("width", "depth", "mlp", "heads", "vocabulary", "length"):
            _check_positive(self.name, key, getattr(self, key))
        _check_heads(self.name, self.heads, self.width)

    @property
    def features(self) -> int:
        """Length of the vector that a text becomes."""
        return self.width

    @property
    def gelu(self) -> Literal["tanh"]:
        return "tanh"

    @property
    def query_key_norm(self) -> bool:
        return False

    @property
    def qkv_and_norm_biases(self) -> bool:
        return True

    @property
    def mup(self) -> None:
        return None


def _check_positive(name: str, key: str, value: object) -> None:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: {key}={value!r} is not a positive whole number.")


def _check_patch(name: str, patch: int, resolution: int) -> None:
    if patch > resolution:
        raise ValueError(
            f"{name}: patch={patch} px is larger than the image of resolution={resolution} px; "
            f"use a larger resolution, or a patch of at most {resolution}."
        )


def _check_heads(name: str, heads: int, width: int) -> None:
    if width % heads:
        near = " or ".join(map(str, _near_divisors(width, heads)))
        raise ValueError(f"{name}: heads={heads} does not divide width={width}; use {near} heads.")


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
