"""The fixtures are what timm says today; what we export timm and transformers read, and back.

All in float64, so that what is compared is the function and not its rounding. Runs where torch,
timm and transformers are installed.
"""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from conformance_cases import CASES, Case
from test_conformance import FOLDER, HALF_A_DIGIT, error, forward

from models.shapes import BiTShape
from models.weights.reading import read
from models.weights.writing import write

pytestmark = pytest.mark.torch
NEEDED = "needs torch, timm and transformers"
torch = pytest.importorskip("torch", reason=NEEDED)
timm = pytest.importorskip("timm", reason=NEEDED)
safetensors = pytest.importorskip("safetensors", reason=NEEDED)
transformers = pytest.importorskip("transformers", reason=NEEDED)
oracles = pytest.importorskip("conformance_oracles", reason=NEEDED)
script = pytest.importorskip("make_conformance", reason=NEEDED)

IN_TIMM = [name for name, case in CASES.items() if case.transformers is None]
VIT = CASES["vit-token"].shape
IN_TRANSFORMERS = [
    CASES["vit-pre-logits"],
    Case(shape=VIT, transformers="ViTForImageClassification"),
    Case(
        shape=replace(VIT, pool="map", gelu="tanh"),
        classes=None,
        transformers="SiglipVisionModel",
    ),
    Case(shape=replace(VIT, pool="gap", gelu="tanh"), transformers="SiglipForImageClassification"),
    Case(shape=CASES["bit"].shape, transformers="BitForImageClassification"),
]


def logits_of(network, images) -> np.ndarray:
    """What a torch network makes of images [n, side, side, 3], in float64."""
    with torch.no_grad():
        return oracles.outputs(network.double(), torch.from_numpy(images).double()).numpy()


def exported(name: str, layout: str, folder: Path) -> Path:
    """A fixture's weights, read and written by us in another layout."""
    shape, params = read(FOLDER / name / "weights.safetensors", CASES[name].shape, dtype="float32")
    suffix = ".safetensors" if layout in ("timm", "huggingface") else ".npz"
    write(folder / f"model{suffix}", params, shape, layout)
    return folder / f"model{suffix}"


def truth(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and logits of a fixture."""
    given = np.load(FOLDER / name / "forward.npz")
    return given["images"], given["logits"]


def test_the_script_writes_the_committed_fixtures_again(tmp_path):
    script.main(tmp_path)
    for name in CASES:
        old, new = FOLDER / name, tmp_path / name
        assert (old / "weights.safetensors").read_bytes() == (
            new / "weights.safetensors"
        ).read_bytes()
        was, now = np.load(old / "forward.npz"), np.load(new / "forward.npz")
        np.testing.assert_array_equal(was["images"], now["images"])
        np.testing.assert_array_equal(was["weighting"], now["weighting"])
        assert error(now["logits"], was["logits"]) < 1e-12
        assert error(now["image_gradients"], was["image_gradients"]) < 2.1 * HALF_A_DIGIT
        was, now = (gradients(folder) for folder in (old, new))
        assert was.keys() == now.keys()
        largest = max(np.abs(each).max() for each in was.values())
        for each in was:  # another torch may sum in another order; then the last digit differs
            np.testing.assert_allclose(
                now[each], was[each], rtol=2.1 * HALF_A_DIGIT, atol=1e-12 * largest
            )


def gradients(folder: Path) -> dict[str, np.ndarray]:
    with safetensors.safe_open(folder / "gradients.safetensors", "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        *((name, "timm") for name in IN_TIMM),
        ("vit-map", "big_vision"),
        ("vit-map", "big_vision-scan"),
        ("vit-gap", "big_vision"),
        ("vit-gap", "augreg"),
        ("vit-token", "augreg"),
        ("siglip", "big_vision"),
        ("bit", "bit"),
    ],
)
def test_timm_loads_what_we_export_and_computes_the_same(name, layout, tmp_path):
    images, logits = truth(name)
    network = oracles.oracle(CASES[name])
    timm.models.load_checkpoint(network, str(exported(name, layout, tmp_path)))
    assert error(logits_of(network, images), logits) < 1e-12


def test_timm_loads_a_class_token_without_a_position(tmp_path):
    images, logits = truth("vit-token")
    network = oracles.oracle(CASES["vit-token"])
    network.no_embed_class = True
    network.pos_embed = torch.nn.Parameter(torch.zeros_like(network.pos_embed[:, 1:]))
    timm.models.load_checkpoint(network, str(exported("vit-token", "big_vision", tmp_path)))
    assert error(logits_of(network, images), logits) < 1e-12


def test_timms_own_siglip_is_the_fixture(tmp_path):
    images, logits = truth("siglip")
    shape = CASES["siglip"].shape
    network = timm.create_model(
        "vit_base_patch16_siglip_224",
        img_size=shape.resolution,
        patch_size=shape.patch,
        embed_dim=shape.width,
        depth=shape.depth,
        num_heads=shape.heads,
        mlp_ratio=shape.mlp / shape.width,
        checkpoint_path=str(exported("siglip", "timm", tmp_path)),
    )
    assert error(logits_of(network, images), logits) < 1e-12


@pytest.mark.parametrize("case", IN_TRANSFORMERS, ids=lambda case: case.transformers)
def test_we_load_what_transformers_saves_and_compute_the_same(case, tmp_path):
    network = oracles.in_transformers(case)
    oracles.randomise(network, np.random.default_rng(0))
    network.save_pretrained(tmp_path)
    shape, params = read(tmp_path / "model.safetensors", dtype="float64")
    assert replace(shape, name=case.shape.name, resolution=case.shape.resolution) == case.shape
    images, _ = truth("bit" if isinstance(shape, BiTShape) else "vit-token")
    with jax.enable_x64(True):
        found = forward(case, params, images.astype(np.float64))
    assert error(np.asarray(found), logits_of(network, images)) < 1e-12


@pytest.mark.parametrize("case", IN_TRANSFORMERS, ids=lambda case: case.transformers)
def test_transformers_loads_what_we_export_and_computes_the_same(case, tmp_path):
    first = oracles.in_transformers(case)
    oracles.randomise(first, np.random.default_rng(1))
    for folder in ("theirs", "ours"):
        (tmp_path / folder).mkdir()
    first.save_pretrained(tmp_path / "theirs")
    shape, params = read(tmp_path / "theirs/model.safetensors")
    write(tmp_path / "ours/model.safetensors", params, shape, "huggingface")
    network, loading = getattr(transformers, case.transformers).from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    images, _ = truth("bit" if isinstance(shape, BiTShape) else "vit-token")
    assert error(logits_of(oracles.as_published(network), images), logits_of(first, images)) < 1e-12
