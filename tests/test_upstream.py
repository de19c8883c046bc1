"""Held-out loss and error: every image counts once, whatever the size of a batch."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from scaling.data import Procedural
from scaling.data.arrays import InMemory
from scaling.data.source import sample
from scaling.evaluate import Upstream, forward
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
