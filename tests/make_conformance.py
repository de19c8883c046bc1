"""Writes the conformance fixtures: what timm on torch makes of small random networks.

    python tests/make_conformance.py [FOLDER]

Needs torch and timm, and this project on the path. FOLDER is tests/conformance by default; in it
every case of `conformance_cases.py` gets a folder of three files:

    weights.safetensors     random parameters, timm's names, bfloat16
    gradients.safetensors   of loss = sum(logits * weighting), the same names, float32
    forward.npz             images [n, side, side, 3], weighting and logits [n, classes], and
                            image_gradients, as images; logits alone are float64

timm computes in float64; the gradients are then rounded to float32. A second run with the same
torch writes the same bytes. `versions.json` says which torch and timm that was.
"""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
from conformance_cases import CASES, IMAGES, Case
from safetensors.torch import save_file
from timm.layers import StdConv2d
from timm.models.mlp_mixer import MlpMixer
from timm.models.resnetv2 import ResNetV2
from timm.models.vision_transformer import VisionTransformer

from models.shapes import BiTShape, MixerShape, Shape, ViTShape

FOLDER = Path(__file__).with_name("conformance")


def main(folder: Path) -> None:
    """Writes all cases into `folder`, which is made where it is not there."""
    torch.set_num_threads(1)  # sums in one order
    for seed, (name, case) in enumerate(CASES.items()):
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        write_case(case, np.random.default_rng(seed), place)
    versions = {"torch": torch.__version__, "timm": timm.__version__}
    (folder / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


def write_case(case: Case, rng: np.random.Generator, folder: Path) -> None:
    """One network: random parameters and images in, logits and gradients out."""
    network = oracle(case.shape, case.classes).double()
    randomise(network, rng)
    side = case.shape.resolution
    # Pixels on a grid of 1/128 are exact in float32, and small once they are compressed.
    pixels = rng.integers(0, 256, (IMAGES, side, side, 3)) / 128 - 1
    images = torch.from_numpy(pixels.transpose(0, 3, 1, 2)).requires_grad_()
    logits = network(images)
    weighting = torch.from_numpy(rng.standard_normal(logits.shape)).float()
    (logits * weighting.double()).sum().backward()

    parameters = dict(network.named_parameters())
    save_file(
        {name: each.detach().bfloat16().contiguous() for name, each in parameters.items()},
        folder / "weights.safetensors",
    )
    save_file(
        {name: each.grad.float().contiguous() for name, each in parameters.items()},
        folder / "gradients.safetensors",
    )
    np.savez_compressed(
        folder / "forward.npz",
        images=pixels.astype(np.float32),
        weighting=weighting.numpy(),
        logits=logits.detach().numpy(),
        image_gradients=images.grad.float().numpy().transpose(0, 2, 3, 1),
    )


def oracle(shape: Shape, classes: int | None) -> torch.nn.Module:
    """timm's network of that shape, made to compute what the published weights were trained in.

    Three of timm's own defaults are another function: its SigLIP has erf GELU (logits 6e-5
    apart), its BiT pads the root's max-pool with 0 (1e-3), and standardises kernels with
    epsilon 1e-8 instead of 1e-10.
    """
    match shape:
        case ViTShape():
            return VisionTransformer(
                img_size=shape.resolution,
                patch_size=shape.patch,
                num_classes=classes or 0,
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
                channels=tuple(4 * shape.width * 2**i for i in range(len(shape.stages))),
                num_classes=classes or 0,
                stem_chs=shape.width,
                stem_type="fixed",
                conv_layer=partial(StdConv2d, eps=1e-10),
            )
            network.stem.pad = torch.nn.ConstantPad2d(1, -torch.inf)
            return network
        case MixerShape():
            gelu = {"tanh": partial(torch.nn.GELU, approximate="tanh"), "erf": torch.nn.GELU}
            return MlpMixer(
                img_size=shape.resolution,
                patch_size=shape.patch,
                num_classes=classes or 0,
                num_blocks=shape.depth,
                embed_dim=shape.width,
                mlp_ratio=(shape.mlp_tokens / shape.width, shape.mlp / shape.width),
                act_layer=gelu[shape.gelu],
            )


@torch.no_grad()
def randomise(network: torch.nn.Module, rng: np.random.Generator) -> None:
    """Every parameter at random, so that none can be left out, swapped or squared unseen.

    Kernels have standard deviation 1 / sqrt(inputs), and a mean that is not 0; scales are around
    1; biases, tokens and positions have 1. All are exact in bfloat16, and so in float32.
    """
    for name, each in network.named_parameters():
        noise = rng.standard_normal(tuple(each.shape))
        if name.endswith("weight") and each.ndim == 1:
            value = 1 + 0.3 * noise
        elif name.endswith("weight"):
            value = (noise + 0.3) / np.sqrt(each[0].numel())
        else:
            value = noise * (0.2 if name.endswith("bias") else 1)
        each.copy_(torch.from_numpy(value).bfloat16())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
