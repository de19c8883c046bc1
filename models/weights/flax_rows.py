"""Names in the .npz of Google's own code: big_vision, vision_transformer (AugReg), BiT, Mixer.

Sources: big_vision models/vit.py, bit_paper.py, mlp_mixer.py; vision_transformer models_vit.py,
models_mixer.py. Kernels have inputs before outputs and heads apart, as here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

from models.shapes import BiTShape
from models.weights.rows import (
    IMAGE,
    PATCHES,
    POINT_HWIO,
    TOKEN_IN_TABLE,
    Rearrangement,
    TensorRow,
    row,
)

Rules: TypeAlias = tuple[tuple[str, str], ...]
"""Patterns and what they become, applied one after another."""

BLOCK, BLOCKS = "Transformer/encoderblock_{layer}", "Transformer/encoderblock"
ATTENTION, MLP = "MultiHeadDotProductAttention_0", "MlpBlock_0"

# How older files say what big_vision says now; what is left of each is a whole name or its part.
OLDER_VIT: Rules = (
    (r"^Transformer/(?:posembed_input/)?pos_embedding$", "pos_embedding"),
    (r"^(Transformer/encoderblock_\d+)/LayerNorm_2/", r"\1/LayerNorm_1/"),
    (r"^(Transformer/encoderblock_\d+)/MultiHeadDotProductAttention_1/", rf"\1/{ATTENTION}/"),
    (r"^(Transformer/encoderblock_\d+)/MlpBlock_3/", rf"\1/{MLP}/"),
    (r"^(probe|LayerNorm_0|MultiHeadDotProductAttention_0|MlpBlock_0)(/|$)", r"MAPHead_0/\1\2"),
)
# And back: how vision_transformer said it.
AS_AUGREG: Rules = (
    (r"^pos_embedding$", "Transformer/posembed_input/pos_embedding"),
    (r"(/encoderblock_[^/]+)/LayerNorm_1/", r"\1/LayerNorm_2/"),
    (rf"(/encoderblock_[^/]+)/{ATTENTION}/", r"\1/MultiHeadDotProductAttention_1/"),
    (rf"(/encoderblock_[^/]+)/{MLP}/", r"\1/MlpBlock_3/"),
)
OLDER_BIT: Rules = ((r"/standardized_conv2d_\d+/", "/standardized_conv2d/"),)


def vit(*, scan: bool = False, token_in_table: bool = False) -> list[TensorRow]:
    """A ViT in big_vision.

    Args:
      scan: all layers stacked in one array, or else an array a layer.
      token_in_table: whether the class token has a row in the table of positions.
    """
    block = BLOCKS if scan else BLOCK
    token = (
        [TensorRow(("token", "position"), ("cls", "pos_embedding"), TOKEN_IN_TABLE)]
        if token_in_table
        else [row("token", "cls"), row("position", "pos_embedding")]
    )
    return [
        *_plain("embedding", "embedding", PATCHES),
        *token,
        *_norm("blocks/norm1", f"{block}/LayerNorm_0"),
        *_attention("blocks/attention", f"{block}/{ATTENTION}"),
        *_norm("blocks/norm2", f"{block}/LayerNorm_1"),
        *_mlp("blocks/mlp", f"{block}/{MLP}"),
        *_norm("norm", "Transformer/encoder_norm"),
        row("pool/probe", "MAPHead_0/probe"),
        *_attention("pool/attention", f"MAPHead_0/{ATTENTION}"),
        *_norm("pool/norm", "MAPHead_0/LayerNorm_0"),
        *_mlp("pool/mlp", f"MAPHead_0/{MLP}"),
        *_plain("pre_logits", "pre_logits"),
        *_plain("head", "head"),
    ]


def augreg(*, token: bool) -> list[TensorRow]:
    """A ViT as vision_transformer released them; their numbers count every layer of a block."""
    return [
        TensorRow(each.ours, tuple(renamed(name, AS_AUGREG) for name in each.theirs), each.step)
        for each in vit(token_in_table=token)
        if not each.ours[0].startswith("pool/")
    ]


def mixer() -> list[TensorRow]:
    """A Mixer, in both repositories."""
    block = "MixerBlock_{layer}"
    return [
        *_plain("embedding", "stem", PATCHES),
        *_norm("blocks/norm1", f"{block}/LayerNorm_0"),
        *_mlp("blocks/token_mixing", f"{block}/token_mixing"),
        *_norm("blocks/norm2", f"{block}/LayerNorm_1"),
        *_mlp("blocks/channel_mixing", f"{block}/channel_mixing"),
        *_norm("norm", "pre_head_layer_norm"),
        *_plain("head", "head"),
    ]


def bit_released(shape: BiTShape) -> list[TensorRow]:
    """A BiT as it was released: TensorFlow's names."""
    conv = "standardized_conv2d/kernel"
    rows = [row("root/kernel", f"resnet/root_block/{conv}")]
    for ours, theirs, first in _units(shape):
        for number, part in enumerate("abc", start=1):
            group = f"resnet/{theirs}/{part}/group_norm"
            rows += [
                row(f"{ours}/norm{number}/scale", f"{group}/gamma", first=first),
                row(f"{ours}/norm{number}/bias", f"{group}/beta", first=first),
                row(f"{ours}/conv{number}/kernel", f"resnet/{theirs}/{part}/{conv}", first=first),
            ]
        rows.append(row(f"{ours}/projection/kernel", f"resnet/{theirs}/a/proj/{conv}"))
    return [
        *rows,
        row("norm/scale", "resnet/group_norm/gamma"),
        row("norm/bias", "resnet/group_norm/beta"),
        row("head/kernel", "resnet/head/conv2d/kernel", POINT_HWIO),
        row("head/bias", "resnet/head/conv2d/bias"),
    ]


def bit(shape: BiTShape) -> list[TensorRow]:
    """A BiT in big_vision: norms are broadcast over images."""
    rows = [row("root/kernel", "root_block/conv_root/kernel")]
    for ours, theirs, first in _units(shape):
        for number in (1, 2, 3):
            for each in ("scale", "bias"):
                name = f"{theirs}/gn{number}/{each}"
                rows.append(row(f"{ours}/norm{number}/{each}", name, IMAGE, first))
            rows.append(
                row(f"{ours}/conv{number}/kernel", f"{theirs}/conv{number}/kernel", first=first)
            )
        rows.append(row(f"{ours}/projection/kernel", f"{theirs}/conv_proj/kernel"))
    return [
        *rows,
        row("norm/scale", "norm-pre-head/scale", IMAGE),
        row("norm/bias", "norm-pre-head/bias", IMAGE),
        *_plain("head", "head"),
    ]


def renamed(name: str, rules: Rules) -> str:
    """The name after each rule that applies to it."""
    for pattern, new in rules:
        name = re.sub(pattern, new, name)
    return name


def _units(shape: BiTShape) -> Iterator[tuple[str, str, int]]:
    """Our path, their name, and their number of our layer 0, of every run of alike blocks."""
    for stage in range(len(shape.stages)):
        yield f"stages/{stage}/first", f"block{stage + 1}/unit01", 0
        yield f"stages/{stage}/blocks", f"block{stage + 1}/unit{{layer:02d}}", 2


def _plain(ours: str, theirs: str, step: Rearrangement | None = None) -> list[TensorRow]:
    return [row(f"{ours}/kernel", f"{theirs}/kernel", step), row(f"{ours}/bias", f"{theirs}/bias")]


def _norm(ours: str, theirs: str) -> list[TensorRow]:
    return [row(f"{ours}/scale", f"{theirs}/scale"), row(f"{ours}/bias", f"{theirs}/bias")]


def _mlp(ours: str, theirs: str) -> list[TensorRow]:
    return [
        *_plain(f"{ours}/into", f"{theirs}/Dense_0"),
        *_plain(f"{ours}/out", f"{theirs}/Dense_1"),
    ]


def _attention(ours: str, theirs: str) -> list[TensorRow]:
    parts = ("query", "key", "value", "out")
    return [each for part in parts for each in _plain(f"{ours}/{part}", f"{theirs}/{part}")]
