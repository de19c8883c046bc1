"""Images that cannot be read are named before anything is trained: one launch, all of them."""

import subprocess
import sys

import numpy as np
from PIL import Image

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


def test_one_launch_names_the_bad_images_of_both_splits_before_the_first_step(
    tmp_path, monkeypatch
):
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
    study = tmp_path / "photographs.toml"
    study.write_text(STUDY.format(root=root))
    launched = subprocess.run(
        [sys.executable, "-P", "-m", "scaling", "launch", str(study), "--workers", "1"],
        cwd=tmp_path,
        text=True,
        capture_output=True,
    )
    said = launched.stdout + launched.stderr
    assert launched.returncode == 1
    assert "3 images cannot be read; repair or remove them:" in said
    for name in BAD:
        assert f"{root / name}: not a readable image" in said
    runs = tmp_path / "runs"
    stopped = list(runs.glob("*/stopped.txt"))
    assert len(stopped) == 2, "the runs are left to be trained once the images are repaired"
    assert not list(runs.glob("**/metrics.jsonl")), "nothing was trained"
