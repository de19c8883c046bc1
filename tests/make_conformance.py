"""Writes the conformance fixtures: what torch makes of small random networks.

    python tests/make_conformance.py [FOLDER]

Needs torch, timm and transformers, and this project on the path. FOLDER is tests/conformance by
default; in it every case of `conformance_cases.py` gets a folder of three files:

    weights.safetensors     random parameters, names of timm or transformers, bfloat16
    gradients.safetensors   of loss = sum(logits * weighting), the same names, float32
    forward.npz             images [n, side, side, 3], weighting and logits [n, classes], and
                            image_gradients, as images; logits alone are float64

All is computed in float64; the gradients are then rounded to float32. A second run with the same
torch writes the same bytes. `versions.json` says which versions that was.
"""

import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import timm
import torch
import transformers
from conformance_cases import CASES, IMAGES, Case
from conformance_oracles import oracle, outputs, randomise
from safetensors.torch import save_file

FOLDER = Path(__file__).with_name("conformance")


def main(folder: Path) -> None:
    """Writes all cases into `folder`, which is made where it is not there."""
    torch.set_num_threads(1)  # sums in one order
    for seed, (name, case) in enumerate(CASES.items()):
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        write_case(case, np.random.default_rng(seed), place)
    versions = {each.__name__: each.__version__ for each in (torch, timm, transformers)}
    (folder / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


def write_case(case: Case, rng: np.random.Generator, folder: Path) -> None:
    """One network: random parameters and images in, logits and gradients out."""
    network = oracle(case).double()
    randomise(network, rng)
    side = case.shape.resolution
    # Pixels on a grid of 1/128 are exact in float32, and small once they are compressed.
    images = torch.from_numpy(rng.integers(0, 256, (IMAGES, side, side, 3)) / 128 - 1)
    logits = outputs(network, images.requires_grad_())
    weighting = torch.from_numpy(rng.standard_normal(logits.shape)).float()
    (logits * weighting.double()).sum().backward()

    parameters = dict(network.named_parameters())
    weights = {name: each.detach().bfloat16() for name, each in parameters.items()}
    gradients = {name: each.grad.float() for name, each in parameters.items()}
    save(weights, network, folder / "weights.safetensors")
    save(gradients, network, folder / "gradients.safetensors")
    np.savez_compressed(
        folder / "forward.npz",
        images=images.detach().float().numpy(),
        weighting=weighting.numpy(),
        logits=logits.detach().numpy(),
        image_gradients=images.grad.float().numpy(),
    )


def save(tensors: dict[str, torch.Tensor], network: torch.nn.Module, path: Path) -> None:
    """Writes tensors named as the network's parameters as its library would write those.

    transformers calls them otherwise in its files than in its code.
    """
    tensors = {name: each.contiguous() for name, each in tensors.items()}
    if not isinstance(network, transformers.PreTrainedModel):
        save_file(tensors, path)
        return
    with TemporaryDirectory() as folder:
        network.save_pretrained(folder, state_dict=tensors)
        shutil.copyfile(Path(folder) / "model.safetensors", path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
