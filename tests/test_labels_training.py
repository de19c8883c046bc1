"""Images with several labels, trained on from end to end against a truth that is known."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.shapes import ViTShape
from scaling.data import Subset
from scaling.data.around.subset import Selection
from scaling.data.augment import MixUp
from scaling.data.procedural.source import Procedural
from scaling.evaluate import Upstream
from scaling.objectives.classify import Classify
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.loop import CheckpointPaths, train
from scaling.training.placement_spec import PlacementSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.trainer import Trainer

SHAPE = ViTShape(name="w32d1", patch=4, resolution=16, width=32, depth=1, mlp=128, heads=4)
JFT = Procedural(
    classes=16,
    parents=(3, 1),
    label_noise=0.2,
    second_label=0.26,
    tail=1.0,
    jitter=1,
    inverted=False,
)


def run(images_seen, data=JFT, **changes):
    fields = {
        "model": SHAPE,
        "data": data,
        "recipe": Recipe(
            learning_rate=4e-3,
            warmup_steps=20,
            timescale_steps=1000,
            weight_decay_head=0.0,
            weight_decay_body=0.0,
        ),
        "images_seen": images_seen,
        "batch": 64,
    }
    return Run(**fields | changes)


def trained(run, root, spec=None):
    trainer = Trainer(run) if spec is None else Trainer(run, spec=spec)
    paths = CheckpointPaths(
        trunk=root / "trunk", own=root / run.id, spec=CheckpointSpec(every_seconds=1e9)
    )
    return trainer, train(trainer, run, paths, lambda progress: None).state


def measured(run, trainer, state):
    found = Upstream().measure(trainer.module(state), objective=run.objective, source=run.data)
    return {each.metric: each.value for each in found}


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
def test_training_on_several_labels_comes_near_the_best_error_and_loss(tmp_path, loss):
    one = run(64 * 2000, objective=Classify(loss=loss))
    found = measured(one, *trained(one, tmp_path))
    best_error, best_loss = JFT.irreducible_error(), JFT.irreducible_loss(loss)
    assert abs(found["upstream_error"] - best_error) < 0.005
    assert abs(found["upstream_loss"] - best_loss) < 0.02 * best_loss


@pytest.mark.slow
def test_every_way_to_take_a_step_sees_the_same_labels(tmp_path):
    """Mixed, several labels an image: parts of a batch and a fused update change rounding alone."""
    one = run(64 * 40, augment=(MixUp(alpha=0.5, coefficients="image"),))
    plain = measured(one, *trained(one, tmp_path / "plain"))
    for spec in (PlacementSpec(microbatches=4), PlacementSpec(update="fused")):
        other = measured(
            one, *trained(one, tmp_path / f"{spec.update} in {spec.microbatches}", spec)
        )
        assert plain["upstream_loss"] == pytest.approx(other["upstream_loss"], rel=1e-3), spec


@pytest.mark.slow
def test_a_run_on_a_resampled_noisy_subset_learns_its_classes(tmp_path):
    """Noise in training labels alone: held-out labels are true, and the best error is 0."""
    source = Procedural(
        classes=16, label_noise=0.0, tail=1.5, jitter=1, inverted=False, heldout_size=4000
    )
    part = Subset(of=source, select=Selection(label_noise=0.3))
    assert part.irreducible_error() == 0
    one = run(64 * 2000, part, data_size=50_000, resample="square-root")
    assert measured(one, *trained(one, tmp_path))["upstream_error"] < 0.02


UNLABELLED = """
name = "unlabelled"
question = "Has every image a label?"
[data]
kind = "arrays"
path = "{path}"
resolution = 16
[objective]
kind = "classify"
loss = "softmax"
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
images_seen = 64
batch = 16
"""


@pytest.mark.slow
def test_a_launch_says_in_words_that_an_image_has_no_label(tmp_path):
    labels = np.array([[0, 1]] * 16)
    labels[7] = -1
    both = {"images": np.zeros((16, 16, 16), np.uint8), "labels": labels}
    path = tmp_path / "images.npz"
    np.savez(path, **{f"{name}_{k}": v for name in ("train", "heldout") for k, v in both.items()})
    (tmp_path / "study.toml").write_text(UNLABELLED.format(path=path))
    done = subprocess.run(
        [sys.executable, "-m", "scaling", "launch", "study.toml"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "image 7 has no label, and this loss needs one of every image. Leave" in said
    assert "Traceback" not in said
