"""Images that cannot be read are named before anything is trained: one launch, all of them."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fits.base.errors import UserError
from models.shapes import ViTShape
from scaling.data import Folder, Subset
from scaling.data.around.subset import Selection
from scaling.image_check import check_images
from scaling.training.recipe import Recipe
from scaling.training.run import Run

STUDY = """
name = "photographs"
question = "Are they all there?"

[data]
kind = "folder"
path = "{root}"
resolution = 16

[models.a]
patch = 4
width = 8
depth = 1
mlp = 16
heads = 1

[recipe]
warmup_steps = 1

[[evaluate]]
kind = "upstream"

[[grid]]
model = "a"
images_seen = [64, 128]
batch = 16
"""
BAD = ("train/ant/2.png", "train/bee/0.png", "test/bee/1.png")


def photographs(tmp_path, monkeypatch):
    """A folder of 16 images a split, three of which are damaged."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "photographs"
    pixels = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            (root / split / name).mkdir(parents=True)
            for i in range(8):
                image = pixels.integers(0, 256, (16, 16, 3)).astype(np.uint8)
                Image.fromarray(image).save(root / split / name / f"{i}.png")
    for name in BAD:
        (root / name).write_bytes((root / name).read_bytes()[:60])
    return root


def launch(tmp_path, monkeypatch, keys=""):
    """Train on them; the folder, and what was said."""
    root = photographs(tmp_path, monkeypatch)
    study = tmp_path / "photographs.toml"
    study.write_text(
        STUDY.format(root=root).replace("resolution = 16\n", f"resolution = 16\n{keys}\n")
    )
    command = [sys.executable, "-P", "-m", "scaling", "launch", str(study), "--workers", "1"]
    return root, subprocess.run(command, cwd=tmp_path, text=True, capture_output=True)


@pytest.mark.slow
def test_one_launch_names_the_bad_images_of_both_splits_before_the_first_step(
    tmp_path, monkeypatch
):
    root, launched = launch(tmp_path, monkeypatch)
    said = launched.stdout + launched.stderr
    assert launched.returncode == 1
    assert "3 images cannot be read; repair or remove them:" in said
    for name in BAD:
        assert f"{root / name}: not a readable image" in said
    runs = tmp_path / "runs"
    stopped = list(runs.glob("*/stopped.txt"))
    assert len(stopped) == 2, "the runs are left to be trained once the images are repaired"
    assert not list(runs.glob("**/metrics.jsonl")), "nothing was trained"


@pytest.mark.parametrize("around", [False, True])
def test_too_few_left_for_a_run_are_said_of_a_source_within_another_too(
    tmp_path, monkeypatch, around
):
    root = photographs(tmp_path, monkeypatch)
    data = Folder(path=root, resolution=16, skip_unreadable=2)
    shape = ViTShape(name="a", patch=4, resolution=16, width=8, depth=1, mlp=16, heads=1)
    run = Run(
        model=shape,
        data=Subset(of=data, select=Selection(label_noise=0.1)) if around else data,
        data_size=15,
        recipe=Recipe(warmup_steps=1),
        images_seen=64,
        batch=16,
    )
    with pytest.raises(UserError, match="data_size = 15, and 14 images can be read"):
        check_images(run, ())
    check_images(run.model_copy(update={"data_size": 14}), ())


@pytest.mark.slow
def test_a_study_may_skip_them_and_its_manifests_name_them(tmp_path, monkeypatch):
    root, launched = launch(tmp_path, monkeypatch, "skip_unreadable = 2")
    assert launched.returncode == 0, launched.stdout + launched.stderr
    manifests = [json.loads(f.read_text()) for f in tmp_path.glob("runs/*/manifest.json")]
    assert len(manifests) == 2
    for manifest in manifests:
        (data,) = manifest["data"]
        assert (data["train_size"], data["heldout_size"]) == (14, 15)
        assert sorted(data["train_skipped"]) == [str(root / name) for name in BAD[:2]]
        assert list(data["heldout_skipped"]) == [str(root / BAD[2])]
        assert all("not a readable image" in why for why in data["train_skipped"].values())
