"""A network's shape from the names and shapes of its weights, a function for each kind of file.

What cannot be found is guessed: it is missing from the file, and will be named as such.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from models.shapes import BiTShape, MixerShape, ViTShape
from models.weights.facts import About, Facts, Gelu, has_token, square
from models.weights.tensors import Unusable
from models.zoo import BIT_ROOT, BIT_STAGES, MIXERS, VARIANTS

RESOLUTION = 224  # pixels, where neither weights nor configuration tell


def big_vision_vit(facts: Facts, about: About) -> ViTShape:
    block = r"Transformer/encoderblock(?:_\d+)?"
    one_by_one = facts.count(r"Transformer/encoderblock_(\d+)/")
    positions = facts.length("pos_embedding", 1)
    token = "cls" in facts.shapes or has_token(positions)
    return _vit(
        About(facts.length(f"(?:{block}|MAPHead_0)/.*query/bias", -2)).or_else(about),
        width=facts.length(f"{block}/LayerNorm_./(?:scale|bias)", -1),
        depth=one_by_one or facts.length(f"{block}/.*", 0),
        mlp=facts.length(f"{block}/MlpBlock_0/Dense_0/(?:kernel|bias)", -1),
        patch=facts.length("embedding/kernel", 0),
        positions=positions,
        pool="token" if token else "map" if facts.any("MAPHead_0/") else "gap",
        pre_logits=facts.length("pre_logits/bias", 0),
        gelu="tanh",
    )


def timm_vit(facts: Facts, about: About) -> ViTShape:
    block = r"blocks\.\d+"
    positions = facts.length("pos_embed", 1)
    token = "cls_token" in facts.shapes or has_token(positions)
    pooled = facts.any(r"attn_pool\.")
    return _vit(
        about,
        width=facts.length(rf"{block}\.norm\d\..*", 0),
        depth=facts.count(r"blocks\.(\d+)\."),
        mlp=facts.length(rf"{block}\.mlp\.fc1\..*", 0),
        patch=facts.length(r"patch_embed\.proj\.weight", -1),
        positions=positions,
        pool="token" if token else "map" if pooled else "gap",
        gelu="tanh" if pooled else "erf",
    )


def huggingface_vit(facts: Facts, about: About) -> ViTShape:
    layer = r"vit\.encoder\.layer\.\d+"
    return _vit(
        about,
        width=facts.length(rf"{layer}\.layernorm_.*", 0),
        depth=facts.count(r"vit\.encoder\.layer\.(\d+)\."),
        mlp=facts.length(rf"{layer}\.intermediate\.dense\..*", 0),
        patch=facts.length(r"vit\.embeddings\.patch_embeddings\.projection\.weight", -1),
        positions=facts.length(r"vit\.embeddings\.position_embeddings", 1),
        pool="token",
        pre_logits=facts.length(r"vit\.pooler\.dense\.bias", 0),
        gelu="erf",
    )


def huggingface_siglip(facts: Facts, about: About) -> ViTShape:
    layer = r"vision_model\.encoder\.layers\.\d+"
    embeddings = r"vision_model\.embeddings"
    return _vit(
        about,
        width=facts.length(rf"{layer}\.layer_norm.*", 0),
        depth=facts.count(r"vision_model\.encoder\.layers\.(\d+)\."),
        mlp=facts.length(rf"{layer}\.mlp\.fc1\..*", 0),
        patch=facts.length(rf"{embeddings}\.patch_embedding\.weight", -1),
        positions=facts.length(rf"{embeddings}\.position_embedding\.weight", 0),
        pool="map" if facts.any(r"vision_model\.head\.") else "gap",
        gelu="tanh",
    )


def _vit(
    about: About,
    *,
    width: int | None,
    depth: int | None,
    mlp: int | None,
    patch: int | None,
    positions: int | None,
    pool: Literal["map", "gap", "token"],
    gelu: Gelu,
    pre_logits: int | None = None,
) -> ViTShape:
    """A shape of these sizes; what could not be found is guessed, since it will be missed anyway.

    Raises:
      Unusable: nothing says the number of heads.
    """
    sizes = (width, depth, mlp)
    named = next((name for name, v in VARIANTS.items() if (v.width, v.depth, v.mlp) == sizes), None)
    heads = about.heads or (VARIANTS[named].heads if named else None)
    if heads is None:
        raise Unusable(
            [
                f"into how many heads its width of {width} is split is not to be seen in PyTorch's "
                f"weights, there is no config.json beside it, and the zoo has no model of width "
                f"{width}, depth {depth} and MLP {mlp}; give --heads."
            ]
        )
    if named and VARIANTS[named].heads != heads:
        named = None
    patch = patch or 16
    grid = square(positions) if positions else max(1, (about.resolution or RESOLUTION) // patch)
    exact = about.resolution is not None and about.resolution // patch == grid
    return ViTShape(
        name=f"{named}/{patch}" if named else f"ViT-{width}x{depth}/{patch}",
        patch=patch,
        resolution=about.resolution if exact and about.resolution else grid * patch,
        width=width or heads,
        depth=depth or 1,
        mlp=mlp or 1,
        heads=heads,
        pool=pool,
        pre_logits=pre_logits,
        position="sincos" if about.sincos and positions is None else "learned",
        gelu=about.gelu or gelu,
    )


def big_vision_mixer(facts: Facts, about: About) -> MixerShape:
    block = r"MixerBlock_\d+"
    return _mixer(
        about,
        width=facts.length(rf"{block}/LayerNorm_\d/(?:scale|bias)", -1),
        depth=facts.count(r"MixerBlock_(\d+)/"),
        mlp_tokens=facts.length(rf"{block}/token_mixing/Dense_0/(?:kernel|bias)", -1),
        mlp=facts.length(rf"{block}/channel_mixing/Dense_0/(?:kernel|bias)", -1),
        patch=facts.length("stem/kernel", 0),
        patches=facts.length(rf"{block}/token_mixing/Dense_1/(?:kernel|bias)", -1),
        gelu="tanh",
    )


def timm_mixer(facts: Facts, about: About) -> MixerShape:
    block = r"blocks\.\d+"
    return _mixer(
        about,
        width=facts.length(rf"{block}\.norm\d\..*", 0),
        depth=facts.count(r"blocks\.(\d+)\."),
        mlp_tokens=facts.length(rf"{block}\.mlp_tokens\.fc1\..*", 0),
        mlp=facts.length(rf"{block}\.mlp_channels\.fc1\..*", 0),
        patch=facts.length(r"stem\.proj\.weight", -1),
        patches=facts.length(rf"{block}\.mlp_tokens\.fc2\..*", 0),
        gelu="erf",
    )


def _mixer(
    about: About,
    *,
    width: int | None,
    depth: int | None,
    mlp_tokens: int | None,
    mlp: int | None,
    patch: int | None,
    patches: int | None,
    gelu: Gelu,
) -> MixerShape:
    sizes = (width, depth, mlp_tokens, mlp)
    named = next((name for name, variant in MIXERS.items() if variant == sizes), None)
    patch = patch or 16
    return MixerShape(
        name=f"{named}/{patch}" if named else f"Mixer-{width}x{depth}/{patch}",
        patch=patch,
        resolution=square(patches or 1) * patch,
        width=width or 1,
        depth=depth or 1,
        mlp_tokens=mlp_tokens or 1,
        mlp=mlp or 1,
        gelu=about.gelu or gelu,
    )


def bit(narrow: str, unit: str, first: int) -> Callable[[Facts, About], BiTShape]:
    """How to see a BiT's shape.

    Args:
      narrow: kernels with as many outputs as the root has, the root's and some of the first
        stage; in PyTorch's order outputs come first, in TensorFlow's last.
      unit: how names of a stage's block begin, with {stage} and a group for the block's number.
      first: number of the first stage and of its first block.
    """

    def shape(facts: Facts, about: About) -> BiTShape:
        stages: list[int] = []
        while blocks := facts.count(unit.format(stage=len(stages) + first)):
            stages.append(blocks - first)
        width = facts.length(narrow, 0 if narrow.endswith("weight") else -1) or BIT_ROOT
        layers = next((name for name, each in BIT_STAGES.items() if each == tuple(stages)), None)
        known = f"BiT-{layers}x{width // BIT_ROOT}" if layers and width % BIT_ROOT == 0 else None
        return BiTShape(
            name=known or f"BiT-{'-'.join(map(str, stages))}-w{width}",
            resolution=about.resolution or RESOLUTION,
            stages=tuple(stages),
            width=width,
        )

    return shape
