"""Held-out loss and error: every image counts once, whatever the size of a batch."""

import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from simulated import simulated

from scaling.data.arrays import InMemory
from scaling.data.procedural.source import Procedural
from scaling.data.source import sample
from scaling.evaluate import Upstream
from scaling.evaluate.frozen import forward
from scaling.objectives.classify import Classify

SOURCE = Procedural(classes=4, label_noise=0.2, heldout_size=1000)


class Brightness(nnx.Module):
    """Features: the mean of each channel. Logits: those, and a constant."""

    def backbone(self, images):
        return images.mean((1, 2))

    def __call__(self, images, noise=None):
        return jnp.pad(self.backbone(images), ((0, 0), (0, 1)), constant_values=0.1)


def expected(count):
    pixels, labels = SOURCE.heldout().batch(np.arange(count))
    means = (pixels.astype(float) * 2 / 255 - 1).mean((1, 2))
    logits = np.c_[means, np.full(count, 0.1)]
    loss = np.log(np.exp(logits).sum(1)) - logits[range(count), labels]
    return loss.mean(), (logits.argmax(1) != labels).mean()


@pytest.mark.parametrize("count", [1, 511, 512, 1000])
def test_the_last_short_batch_counts_each_image_once(count):
    found = Upstream(images=count).measure(
        Brightness(), objective=Classify(loss="softmax"), source=SOURCE
    )
    values = {each.metric: each.value for each in found}
    loss, error = expected(count)
    assert values["upstream_loss"] == pytest.approx(loss, rel=1e-5)
    assert values["upstream_error"] == pytest.approx(error, abs=1e-7)
    assert {each.n for each in found} == {count}


def test_all_held_out_images_count_when_no_number_is_given():
    found = Upstream().measure(Brightness(), objective=Classify(), source=SOURCE)
    assert {each.n for each in found} == {1000}


class Sorted(Procedural):
    """The same images, class by class, as a folder has them."""

    def heldout(self):
        pixels, labels = super().heldout().batch(np.arange(self.heldout_size))
        order = np.argsort(labels, kind="stable")
        return InMemory(pixels[order], labels[order], self.classes)


def test_some_images_of_a_source_in_class_order_are_of_all_its_classes():
    source = Sorted(classes=4, heldout_size=1000, tail=0, label_noise=0)
    measured = []
    heldout = source.heldout()
    honest, heldout.batch = heldout.batch, lambda i: measured.extend(i) or honest(i)
    object.__setattr__(source, "heldout", lambda: heldout)
    found = Upstream(images=200).measure(Brightness(), objective=Classify(), source=source)
    assert {each.n for each in found} == {200}
    chosen = list(dict.fromkeys(measured))
    assert chosen == list(sample(heldout, 200))
    assert len(chosen) == 200
    assert np.bincount(heldout.labels[chosen]).min() > 30


def test_of_images_in_random_order_the_first_are_taken():
    np.testing.assert_array_equal(sample(SOURCE.heldout(), 10), np.arange(10))
    np.testing.assert_array_equal(sample(SOURCE.train(), 10), np.arange(10))


def test_features_come_in_the_order_asked_for():
    images = SOURCE.heldout()
    order = np.array([7, 3, 900, 3])
    features, found = forward.features(Brightness(), images, order)
    pixels, labels = images.batch(order)
    np.testing.assert_array_equal(found, labels)
    means = (pixels.astype(float) * 2 / 255 - 1).mean((1, 2))
    np.testing.assert_allclose(features, means, atol=1e-5)
    np.testing.assert_array_equal(features[1], features[3])


@pytest.mark.parametrize(
    ("free", "each"), [(None, 512 / 3), (1e9, 512), (1e6, 256), (5e5, 128), (1, 1)]
)
def test_a_batch_of_evaluation_is_what_the_free_memory_of_a_device_holds(free, each):
    """Where it is not known, as on a CPU, 512 images in all, rounded up to whole shares."""
    batch = forward.batch_that_fits(lambda images: 3_906.0 * images, free, 3)
    assert batch == (513 if free is None else 3 * each)


FOUR_DEVICES = """
import jax, numpy as np
from flax import nnx
from models.zoo import vit
from scaling.data.arrays import Digits
from scaling.data.procedural.source import Procedural
from scaling.evaluate.frozen import forward
from scaling.objectives import DEFAULT
from scaling.training.trainer import Trainer
from scaling.training.placement import data_parallel, fully_sharded
from scaling.training.run import Run
from models.shapes import ViTShape

run = Run(
    model=ViTShape(name="nano", patch=8, resolution=16, width=128, depth=2, mlp=256, heads=2),
    data=Procedural(classes=4), images_seen=160, batch=16, recipe={"warmup_steps": 0},
)
found = []
for placement in (data_parallel(devices=jax.devices()[:1]), fully_sharded(2, tensor=2, width=128)):
    trainer = Trainer(run, placement=placement)
    module, images = trainer.module(trainer.start().state), run.data.heldout()
    indices = np.arange(700)
    found.append([
        *forward.features(module, images, indices, placement),
        *forward.losses(module, DEFAULT, images, indices, placement),
    ])
for one, four in zip(*found, strict=True):
    np.testing.assert_allclose(one, four, rtol=1e-5, atol=1e-5)
    print(len(one), one.shape == four.shape)
"""


@pytest.mark.slow
def test_four_devices_that_share_images_and_parameters_measure_what_one_measures():
    done = subprocess.run(
        [sys.executable, "-c", FOUR_DEVICES],
        env=simulated(4),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["700 True"] * 4
