"""The networks of `conformance_cases.py` in timm and transformers, on torch.

Both libraries are made to compute what the published weights were trained in. By default these are
other functions:

    timm          SigLIP with erf GELU, and so the fixture of that name; it was trained with tanh
    both          BiT: the root's max-pool padded with 0 instead of -inf, and kernels standardised
                  with epsilon 1e-8 instead of 1e-10
    transformers  ViT: LayerNorm with epsilon 1e-12 instead of 1e-6
"""

from functools import partial

import numpy as np
import torch
import transformers
from conformance_cases import Case
from timm.layers import StdConv2d
from timm.models.mlp_mixer import MlpMixer
from timm.models.resnetv2 import ResNetV2
from timm.models.vision_transformer import VisionTransformer
from transformers.models.bit.modeling_bit import BitEmbeddings, WeightStandardizedConv2d

from models.shapes import BiTShape, MixerShape, ViTShape

EPSILON = 1e-10  # of BiT's weight standardisation


def oracle(case: Case) -> torch.nn.Module:
    """The network of that case, untrained."""
    return in_timm(case) if case.transformers is None else in_transformers(case)


def outputs(network: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Logits, or features where there is no classifier, [n, outputs].

    Args:
      images: [n, side, side, 3], in the precision of the network.
    """
    found = network.eval()(images.permute(0, 3, 1, 2))
    for name in ("logits", "pooler_output"):
        found = getattr(found, name, found)
    return found


def in_timm(case: Case) -> torch.nn.Module:
    """timm's network."""
    shape, classes = case.shape, case.classes or 0
    match shape:
        case ViTShape():
            return VisionTransformer(
                img_size=shape.resolution,
                patch_size=shape.patch,
                num_classes=classes,
                embed_dim=shape.width,
                depth=shape.depth,
                num_heads=shape.heads,
                mlp_ratio=shape.mlp / shape.width,
                class_token=shape.pool == "token",
                global_pool={"map": "map", "gap": "avg", "token": "token"}[shape.pool],
                fc_norm=False,  # the norm comes before the pool
                act_layer={"tanh": "gelu_tanh", "erf": "gelu"}[shape.gelu],
            )
        case BiTShape():
            network = ResNetV2(
                layers=list(shape.stages),
                channels=_channels(shape),
                num_classes=classes,
                stem_chs=shape.width,
                stem_type="fixed",
                conv_layer=partial(StdConv2d, eps=EPSILON),
            )
            network.stem.pad = torch.nn.ConstantPad2d(1, -torch.inf)
            return network
        case MixerShape():
            gelu = {"tanh": partial(torch.nn.GELU, approximate="tanh"), "erf": torch.nn.GELU}
            return MlpMixer(
                img_size=shape.resolution,
                patch_size=shape.patch,
                num_classes=classes,
                num_blocks=shape.depth,
                embed_dim=shape.width,
                mlp_ratio=(shape.mlp_tokens / shape.width, shape.mlp / shape.width),
                act_layer=gelu[shape.gelu],
            )


def in_transformers(case: Case) -> torch.nn.Module:
    """transformers' network."""
    shape = case.shape
    labels = {} if case.classes is None else {"num_labels": case.classes}
    if isinstance(shape, BiTShape):
        config = transformers.BitConfig(
            embedding_size=shape.width,
            hidden_sizes=_channels(shape),
            depths=list(shape.stages),
            layer_type="preactivation",
            **labels,
        )
        return as_published(getattr(transformers, case.transformers)(config))
    assert isinstance(shape, ViTShape)
    sizes = {
        "hidden_size": shape.width,
        "num_hidden_layers": shape.depth,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.mlp,
        "image_size": shape.resolution,
        "patch_size": shape.patch,
        "layer_norm_eps": 1e-6,
        "hidden_act": {"tanh": "gelu_pytorch_tanh", "erf": "gelu"}[shape.gelu],
    }
    if shape.pool == "token":
        pooler = {} if shape.pre_logits is None else {"pooler_output_size": shape.pre_logits}
        config = transformers.ViTConfig(**sizes, **pooler, **labels)
    elif case.classes is None:
        config = transformers.SiglipVisionConfig(**sizes)
    else:
        tower = {**sizes, "vision_use_head": shape.pool == "map"}
        config = transformers.SiglipConfig(vision_config=tower, **labels)
    return getattr(transformers, case.transformers)(config)


def as_published(network: torch.nn.Module) -> torch.nn.Module:
    """transformers' BiT with the padding and the epsilon of the published one; others as given."""
    for part in network.modules():
        if isinstance(part, WeightStandardizedConv2d):
            part.eps = EPSILON
        if isinstance(part, BitEmbeddings):
            part.pad = torch.nn.ConstantPad2d(1, -torch.inf)
    return network


@torch.no_grad()
def randomise(network: torch.nn.Module, rng: np.random.Generator) -> None:
    """Every parameter at random, so that none can be left out, swapped or squared unseen.

    Kernels have standard deviation 1 / sqrt(inputs), and a mean that is not 0; scales are around
    1; biases have 0.2, tokens and positions 1. All are exact in bfloat16, and so in float32.

    Biases are small so that the tokens stay apart: where all tokens are nearly the same, it
    hardly matters how much attention each of them gets, and the gradient of a query is a small
    difference of large numbers, lost to rounding in float32 (here and in torch alike).
    """
    for name, each in network.named_parameters():
        noise = rng.standard_normal(tuple(each.shape))
        if name.endswith("weight") and each.ndim == 1:
            value = 1 + 0.3 * noise
        elif name.endswith("weight") and "position" not in name:
            value = (noise + 0.3) / np.sqrt(each[0].numel())
        else:
            value = noise * (0.2 if name.endswith("bias") else 1)
        each.copy_(torch.from_numpy(value).bfloat16())


def _channels(shape: BiTShape) -> list[int]:
    """What each stage hands on."""
    return [4 * shape.width * 2**stage for stage in range(len(shape.stages))]
