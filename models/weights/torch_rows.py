"""Names in .safetensors for PyTorch: timm, and Hugging Face's transformers.

Sources: timm models/vision_transformer.py, resnetv2.py, mlp_mixer.py, layers/attention_pool.py;
transformers models/vit, siglip, bit. Weights have outputs before inputs, heads are flat, and
convolutions are [outputs, inputs, height, width].
"""

from __future__ import annotations

from models.shapes import BiTShape
from models.weights.rows import (
    INTO_HEADS,
    OIHW,
    OUT_OF_HEADS,
    PATCHES_OIHW,
    POINT_OIHW,
    TOKEN_IN_TABLE,
    UNBATCHED,
    TensorRow,
    linear,
    norm,
    qkv,
    row,
)


def timm_vit(*, token_in_table: bool) -> list[TensorRow]:
    """A ViT in timm, SigLIP's among them.

    Args:
      token_in_table: whether the class token has a row in the table of positions.
    """
    block, pool = "blocks.{layer}", "attn_pool"
    return [
        *linear("embedding", "patch_embed.proj", PATCHES_OIHW),
        *_token(token_in_table, "cls_token", "pos_embed"),
        *norm("blocks/norm1", f"{block}.norm1"),
        *qkv("blocks/attention", f"{block}.attn.qkv.", ("query", "key", "value")),
        *linear("blocks/attention/out", f"{block}.attn.proj", OUT_OF_HEADS),
        *norm("blocks/norm2", f"{block}.norm2"),
        *_mlp("blocks/mlp", f"{block}.mlp"),
        *norm("norm", "norm"),
        row("pool/probe", f"{pool}.latent"),
        *linear("pool/attention/query", f"{pool}.q", INTO_HEADS),
        *qkv("pool/attention", f"{pool}.kv.", ("key", "value")),
        *linear("pool/attention/out", f"{pool}.proj", OUT_OF_HEADS),
        *norm("pool/norm", f"{pool}.norm"),
        *_mlp("pool/mlp", f"{pool}.mlp"),
        *linear("head", "head"),
    ]


def timm_mixer() -> list[TensorRow]:
    """A Mixer in timm."""
    block = "blocks.{layer}"
    return [
        *linear("embedding", "stem.proj", PATCHES_OIHW),
        *norm("blocks/norm1", f"{block}.norm1"),
        *_mlp("blocks/token_mixing", f"{block}.mlp_tokens"),
        *norm("blocks/norm2", f"{block}.norm2"),
        *_mlp("blocks/channel_mixing", f"{block}.mlp_channels"),
        *norm("norm", "norm"),
        *linear("head", "head"),
    ]


def timm_bit(shape: BiTShape) -> list[TensorRow]:
    """A BiT in timm, resnetv2."""
    return [
        row("root/kernel", "stem.conv.weight", OIHW),
        *_bottlenecks(shape, "stages.{stage}.blocks"),
        *norm("norm", "norm"),
        *linear("head", "head.fc", POINT_OIHW),
    ]


def huggingface_vit() -> list[TensorRow]:
    """A ViT with a class token in transformers."""
    block = "vit.encoder.layer.{layer}"
    return [
        *linear("embedding", "vit.embeddings.patch_embeddings.projection", PATCHES_OIHW),
        *_token(True, "vit.embeddings.cls_token", "vit.embeddings.position_embeddings"),
        *norm("blocks/norm1", f"{block}.layernorm_before"),
        *_qkv_apart("blocks/attention", f"{block}.attention.attention", "query", "key", "value"),
        *linear("blocks/attention/out", f"{block}.attention.output.dense", OUT_OF_HEADS),
        *norm("blocks/norm2", f"{block}.layernorm_after"),
        *linear("blocks/mlp/into", f"{block}.intermediate.dense"),
        *linear("blocks/mlp/out", f"{block}.output.dense"),
        *norm("norm", "vit.layernorm"),
        *linear("pre_logits", "vit.pooler.dense"),
        *linear("head", "classifier"),
    ]


def huggingface_siglip() -> list[TensorRow]:
    """A ViT without class token in transformers: SigLIP's image tower."""
    block, pool = "vision_model.encoder.layers.{layer}", "vision_model.head"
    embeddings = "vision_model.embeddings"
    return [
        *linear("embedding", f"{embeddings}.patch_embedding", PATCHES_OIHW),
        row("position", f"{embeddings}.position_embedding.weight", UNBATCHED),
        *norm("blocks/norm1", f"{block}.layer_norm1"),
        *_qkv_apart("blocks/attention", f"{block}.self_attn", "q_proj", "k_proj", "v_proj"),
        *linear("blocks/attention/out", f"{block}.self_attn.out_proj", OUT_OF_HEADS),
        *norm("blocks/norm2", f"{block}.layer_norm2"),
        *_mlp("blocks/mlp", f"{block}.mlp"),
        *norm("norm", "vision_model.post_layernorm"),
        row("pool/probe", f"{pool}.probe"),
        *qkv("pool/attention", f"{pool}.attention.in_proj_", ("query", "key", "value")),
        *linear("pool/attention/out", f"{pool}.attention.out_proj", OUT_OF_HEADS),
        *norm("pool/norm", f"{pool}.layernorm"),
        *_mlp("pool/mlp", f"{pool}.mlp"),
        *linear("head", "classifier"),
    ]


def huggingface_bit(shape: BiTShape) -> list[TensorRow]:
    """A BiT in transformers."""
    return [
        row("root/kernel", "bit.embedder.convolution.weight", OIHW),
        *_bottlenecks(shape, "bit.encoder.stages.{stage}.layers"),
        *norm("norm", "bit.norm"),
        *linear("head", "classifier.1"),
    ]


def _token(in_table: bool, token: str, table: str) -> list[TensorRow]:
    """Class token and positions; without a token, positions alone."""
    if in_table:
        return [TensorRow(("token", "position"), (token, table), TOKEN_IN_TABLE)]
    return [row("token", token), row("position", table)]


def _mlp(ours: str, theirs: str) -> list[TensorRow]:
    return [*linear(f"{ours}/into", f"{theirs}.fc1"), *linear(f"{ours}/out", f"{theirs}.fc2")]


def _qkv_apart(ours: str, theirs: str, *names: str) -> list[TensorRow]:
    parts = zip(("query", "key", "value"), names, strict=True)
    return [
        each
        for part, name in parts
        for each in linear(f"{ours}/{part}", f"{theirs}.{name}", INTO_HEADS)
    ]


def _bottlenecks(shape: BiTShape, template: str) -> list[TensorRow]:
    """Every stage's blocks, which both libraries call alike; the first is apart here."""
    rows = []
    for stage in range(len(shape.stages)):
        theirs = template.format(stage=stage)
        for ours, unit, first in (("first", "0", 0), ("blocks", "{layer}", 1)):
            path, name = f"stages/{stage}/{ours}", f"{theirs}.{unit}"
            for number in (1, 2, 3):
                rows += norm(f"{path}/norm{number}", f"{name}.norm{number}", first)
                conv = f"conv{number}"
                rows.append(row(f"{path}/{conv}/kernel", f"{name}.{conv}.weight", OIHW, first))
            rows.append(row(f"{path}/projection/kernel", f"{name}.downsample.conv.weight", OIHW))
    return rows
