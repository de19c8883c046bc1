"""Held-out loss and error: every image counts once, whatever the size of a batch."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from scaling.data import Procedural
from scaling.evaluate import Upstream, forward
from scaling.objectives.classify import Classify

SOURCE = Procedural(classes=4, label_noise=0.2, heldout_size=1000)


class Brightness(nnx.Module):
    """Features: the mean of each channel. Logits: those, and a constant."""

    def backbone(self, images):
        return images.mean((1, 2))

    def __call__(self, images):
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


def test_features_come_in_the_order_asked_for():
    images = SOURCE.heldout()
    order = np.array([7, 3, 900, 3])
    features = forward.features(Brightness(), images, order)
    pixels, _ = images.batch(order)
    means = (pixels.astype(float) * 2 / 255 - 1).mean((1, 2))
    np.testing.assert_allclose(features, means, atol=1e-5)
    np.testing.assert_array_equal(features[1], features[3])
