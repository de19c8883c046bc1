"""MixUp and label smoothing: what is mixed, what it is measured against, and that hosts, devices
and parts of a batch change nothing."""

import json
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from simulated import simulated

from scaling.data.augment import MixUp, mixed
from scaling.objectives.classify import Classify

CLASSES = 5


def batch_of(rows=6, views=()):
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (*views, rows, 4, 4, 3)).astype(np.uint8),
        "label": rng.integers(0, CLASSES, rows).astype(np.int32),
        "index": np.arange(rows, dtype=np.uint32),
    }


@pytest.mark.parametrize("coefficients", ["batch", "image"])
@pytest.mark.parametrize("views", [(), (2,)])
def test_every_image_is_blended_with_the_one_before_it_and_keeps_the_larger_share(
    coefficients, views
):
    batch = batch_of(views=views)
    found = mixed([MixUp(alpha=0.7, coefficients=coefficients)], batch, jax.random.key(3))
    share = np.asarray(found["share"])
    assert len(set(share.tolist())) == (1 if coefficients == "batch" else 6)
    assert (share >= 0.5).all()
    assert (share < 1).all()
    before = [5, 0, 1, 2, 3, 4]
    a = share[:, None, None, None]
    image = batch["image"].astype(float)
    expected = a * image + (1 - a) * image[..., before, :, :, :]
    np.testing.assert_allclose(found["image"], expected, rtol=1e-5)
    np.testing.assert_array_equal(found["partner"], batch["label"][before])
    np.testing.assert_array_equal(found["label"], batch["label"])


def test_coefficients_are_the_larger_parts_of_a_symmetric_beta_distribution():
    """Of b ~ Beta(a, a), max(b, 1 - b) has mean 1/2 + E|b - 1/2|; with a = 1 that is 3/4."""
    batch = {"image": np.zeros((4000, 1, 1, 3), np.uint8), "label": np.zeros(4000, np.int32)}
    mix = MixUp(alpha=1, coefficients="image").mix
    share = np.asarray(mix(batch, jax.random.key(0))["share"])
    assert abs(share.mean() - 0.75) < 0.01
    assert abs(share.std() - 12**-0.5 / 2) < 0.01
    other = np.asarray(mix(batch, jax.random.key(1))["share"])
    assert abs(np.corrcoef(share, other)[0, 1]) < 0.05


def test_without_mixing_a_batch_passes_as_it_is():
    batch = batch_of()
    assert mixed([], batch, jax.random.key(0)) is batch


LOGITS = np.random.default_rng(1).normal(size=(6, CLASSES)).astype(np.float32)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_the_loss_of_a_mixed_image_is_its_share_of_each_labels_loss(loss):
    objective = Classify(loss=loss)
    share = np.linspace(0.5, 1, 6).astype(np.float32)
    label, partner = np.arange(6) % CLASSES, (np.arange(6) + 2) % CLASSES
    batch = {"label": label, "partner": partner, "share": share}
    own, others = (np.asarray(objective.of_logits(LOGITS, each)[0]) for each in (label, partner))
    found = objective.training_losses(LOGITS, batch)
    np.testing.assert_allclose(found, share * own + (1 - share) * others, rtol=1e-5)


def test_smoothed_targets_leave_the_label_most_and_the_rest_to_all_classes():
    targets = Classify(label_smoothing=0.1).targets({"label": np.array([1])}, CLASSES)
    np.testing.assert_allclose(targets, [[0.02, 0.92, 0.02, 0.02, 0.02]], rtol=1e-6)
    mixed_up = {"label": np.array([1]), "partner": np.array([3]), "share": np.float32([0.75])}
    targets = Classify(label_smoothing=0.1).targets(mixed_up, CLASSES)
    np.testing.assert_allclose(targets, [[0.02, 0.695, 0.02, 0.245, 0.02]], rtol=1e-6)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_smoothing_is_a_part_of_training_and_not_of_what_is_measured(loss):
    label = np.arange(6) % CLASSES
    plain, smoothed = Classify(loss=loss), Classify(loss=loss, label_smoothing=0.2)
    for one, other in zip(
        plain.of_logits(LOGITS, label), smoothed.of_logits(LOGITS, label), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    x, y = LOGITS.astype(float), 0.8 * np.eye(CLASSES)[label] + 0.04
    if loss == "softmax":
        expected = np.log(np.exp(x).sum(1)) - (y * x).sum(1)
    else:
        expected = (np.log1p(np.exp(x)) - y * x).sum(1)
    found = smoothed.training_losses(LOGITS, {"label": label})
    np.testing.assert_allclose(found, expected, rtol=1e-5)


PROCESS = """
import json, sys
import jax, numpy as np

processes, number, port = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if processes > 1:
    jax.distributed.initialize(f"localhost:{port}", processes, number)

from models.precision import Precision
from models.shapes import ViTShape
from scaling.data.procedural.source import Procedural
from scaling.data.augment import Flip, MixUp, RandAugment, mixed
from scaling.data.loader import batches
from scaling.objectives.classify import Classify
from scaling.training.assembly import assemble
from scaling.training.placement_spec import PlacementSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run

for coefficients in ("batch", "image"):
    run = Run(
        model=ViTShape(
            name="n", patch=4, resolution=16, width=16, depth=2, mlp=32, heads=2, pool="gap"
        ),
        objective=Classify(loss="softmax"),
        data=Procedural(classes=5),  # no class has a fifth of 16 images: no gradient is zero
        augment=(Flip(), RandAugment(magnitude=5), MixUp(alpha=0.8, coefficients=coefficients)),
        recipe=Recipe(learning_rate=1e-2, warmup_steps=0, optimizer="adam", clip_by="previous"),
        images_seen=16 * 10,
        batch=16,
    )
    specs = {"plain": PlacementSpec()}
    if coefficients == "batch" and jax.device_count() == 1:
        specs["parts"] = PlacementSpec(microbatches=2)
        specs["fused"] = PlacementSpec(update="fused")
    for name, spec in specs.items():
        objective, placement, (start, step, _) = assemble(run, spec, Precision())
        state, losses = start(np.uint32(0), None), []
        for n, batch in enumerate(batches(
            run.data.train(), seed=0, batch=16, data_size=None, first_step=0, last_step=4,
            rows=placement.rows(run.batch), augment=run.augment,
        )):
            placed = placement.place(batch, run.batch)
            state, metrics = step(state, placed, np.float32(1), np.uint32(0), np.uint32(n))
            losses.append(float(metrics["loss"]))
        print(json.dumps([coefficients, name, losses]))
    everywhere = placement.everywhere()
    mix = jax.jit(lambda b: mixed(run.augment, b, jax.random.key(5)), out_shardings=everywhere)
    whole = jax.device_get(mix({k: v for k, v in placed.items()}))
    print(json.dumps(["mixed", coefficients, whole["share"].tolist(), whole["partner"].tolist(),
                      whole["image"].sum((1, 2, 3)).tolist()]))
"""


def trained_by(processes, devices):
    """What the first of so many processes, each with so many devices, printed."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(processes), str(number), port],
            env=simulated(devices),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(processes)
    ]
    try:
        ends = [process.communicate(timeout=500) for process in started]
    finally:
        for process in started:
            process.kill()
    for process, (_, errors) in zip(started, ends, strict=True):
        assert process.returncode == 0, errors
    lines = ends[0][0].splitlines()
    return [json.loads(line) for line in lines if line.startswith('["')]  # others are Gloo's


@pytest.fixture(scope="module")
def alone():
    return trained_by(1, 1)


def losses(printed):
    return {(row[0], row[1]): row[2] for row in printed if row[0] != "mixed"}


@pytest.mark.slow
def test_hosts_and_devices_mix_the_images_that_one_device_mixes(alone):
    several = trained_by(2, 2)
    mixed = [[row for row in printed if row[0] == "mixed"] for printed in (alone, several)]
    assert len(mixed[0]) == 2
    for one, other in zip(*mixed, strict=True):
        assert one[:4] == other[:4]  # coefficients and partners to the bit
        np.testing.assert_allclose(one[4], other[4], rtol=1e-5)
    found = losses(several)
    assert set(found) == {("batch", "plain"), ("image", "plain")}
    for key, values in found.items():
        np.testing.assert_allclose(values, losses(alone)[key], atol=1e-5, err_msg=str(key))


@pytest.mark.slow
def test_parts_of_a_batch_and_fused_steps_see_the_mixed_images_of_a_plain_step(alone):
    found = losses(alone)
    for name in ("parts", "fused"):
        np.testing.assert_allclose(found["batch", name], found["batch", "plain"], atol=1e-5)
    assert abs(found["batch", "plain"][0] - found["image", "plain"][0]) < 1e-5  # zero logits
    assert abs(found["batch", "plain"][3] - found["image", "plain"][3]) > 1e-4
