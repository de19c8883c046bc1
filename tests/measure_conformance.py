"""Prints how closely the networks here compute what timm and transformers compute.

    python tests/measure_conformance.py [--full]

First the fixtures, as `test_conformance.py` compares them: the largest difference over the largest
value, of the logits and of the parameter whose gradient is worst. Where torch and timm are
installed, the same for timm's networks in float32 against themselves in float64, which is as close
as that arithmetic comes. `--full` adds timm's own models with random weights, two images each, all
against timm in float64. Writes nothing. The tables are those of docs/models/conformance.md.
"""

import argparse
import importlib.util
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import jax
import numpy as np
from conformance_cases import CASES, Case
from test_conformance import FOLDER, UNSEEN, error, forward, ours, theirs

from models.shapes import BiTShape
from models.weights.reading import inspect

FULL = (
    "vit_base_patch16_224",
    "vit_base_patch16_siglip_224",
    "mixer_b16_224",
    "resnetv2_50x1_bit",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="also networks of full size, on torch")
    full = parser.parse_args().full
    on_torch = importlib.util.find_spec("timm") is not None
    print("fixture         logits f32  torch    gradient f32  torch    logits f64")
    for name, case in CASES.items():
        with jax.enable_x64(True):
            exact = error(ours(name, "float64")[0], theirs(name)[0])
        logits, gradient = here(name)
        timms = torch_itself(name) if on_torch and case.transformers is None else None
        said = [f"{each:.1e}" for each in timms] if timms else ["-", "-"]
        print(
            f"{name:14}  {logits:<10.1e}  {said[0]:7}  {gradient:<12.1e}  {said[1]:7}  {exact:.1e}"
        )
    if full:
        print(
            "\ntimm                         parameters there  here          f32      torch    f64"
        )
        for name in FULL:
            there, params, *errors = full_size(name)
            said = "  ".join(f"{each:.1e}" for each in errors)
            print(f"{name:27}  {there:<16_}  {params:<12_}  {said}")


def here(name: str) -> tuple[float, float]:
    """Errors in float32: of the logits, and of the worst gradient."""
    found, gradients, _ = ours(name, "float32")
    logits, true_gradients, _ = theirs(name)
    return error(found, logits), worst(gradients, true_gradients)


def worst(found: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> float:
    """Error of the gradient that is furthest off, those that are zero aside."""
    return max(error(found[path], truth[path]) for path in truth if path not in UNSEEN)


def torch_itself(name: str) -> tuple[float, float]:
    """The same of timm's network in float32."""
    import torch
    from conformance_oracles import oracle, outputs
    from safetensors.torch import load_file

    given = np.load(FOLDER / name / "forward.npz")
    found = {}
    for dtype in (torch.float32, torch.float64):
        network = oracle(CASES[name])
        network.load_state_dict(load_file(FOLDER / name / "weights.safetensors"), strict=False)
        network.to(dtype)
        logits = outputs(network, torch.from_numpy(given["images"]).to(dtype))
        (logits * torch.from_numpy(given["weighting"]).to(dtype)).sum().backward()
        gradients = {path: each.grad.numpy() for path, each in network.named_parameters()}
        found[dtype] = logits.detach().numpy(), gradients
    (logits, gradients), (true_logits, true_gradients) = found.values()
    largest = max(np.abs(each).max() for each in true_gradients.values())
    seen = {k: each for k, each in true_gradients.items() if np.abs(each).max() > 1e-10 * largest}
    return error(logits, true_logits), max(error(gradients[k], each) for k, each in seen.items())


def full_size(name: str) -> tuple[int, int, float, float, float]:
    """Of timm's model of that name: parameters there and here; errors of the logits here in
    float32, of timm in float32, and here in float64."""
    import timm
    import torch
    from conformance_oracles import EPSILON, outputs
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = timm.create_model(name)
    for part in network.modules():  # BiT as published
        if isinstance(part, timm.layers.StdConv2d):
            part.eps = EPSILON
    if hasattr(getattr(network, "stem", None), "pad"):
        network.stem.pad = torch.nn.ConstantPad2d(1, -torch.inf)
    for each in (each for each in network.parameters() if each.ndim > 1 and not each.any()):
        torch.nn.init.normal_(each, std=0.02)  # a classifier of zeros would hide all before it
    images = np.random.default_rng(0).uniform(-1, 1, (2, 224, 224, 3)).astype("f4")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file({key: each.contiguous() for key, each in network.state_dict().items()}, path)
        found = inspect(path)
        params = {dtype: found.read(dtype) for dtype in ("float32", "float64")}
    with torch.no_grad():
        single = outputs(network, torch.from_numpy(images)).numpy()
        truth = outputs(network.double(), torch.from_numpy(images).double()).numpy()
    exact = {} if isinstance(found.shape, BiTShape) else {"gelu": "erf"}  # as timm computes all
    case = Case(shape=replace(found.shape, **exact), classes=found.classes)
    float32 = np.asarray(jax.jit(lambda p, x: forward(case, p, x))(params["float32"], images))
    with jax.enable_x64(True):
        wide = images.astype("f8")
        float64 = np.asarray(jax.jit(lambda p, x: forward(case, p, x))(params["float64"], wide))
    counts = (
        sum(each.numel() for each in network.parameters()),
        sum(each.size for each in jax.tree.leaves(params["float32"])),
    )
    return *counts, error(float32, truth), error(single, truth), error(float64, truth)


if __name__ == "__main__":
    main()
