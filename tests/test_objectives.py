"""Classification losses against their definitions in plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from pydantic import ValidationError

from models.precision import Precision
from models.shapes import ViTShape
from scaling.objectives.classify import Classify

SHAPE = ViTShape(name="nano", patch=8, resolution=16, width=8, depth=1, mlp=16, heads=2)
LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0], [1.0, 1.5, -1.0]], np.float32)
LABELS = np.array([0, 1, 2], np.int32)


class Fixed(nnx.Module):
    """Answers with the given logits, whatever it is shown."""

    def __call__(self, images, noise=None):
        return jnp.asarray(LOGITS)


def losses(objective):
    return [np.asarray(each) for each in objective.losses(Fixed(), jnp.zeros((3, 4, 4, 3)), LABELS)]


def test_softmax_loss_is_minus_the_log_of_the_labels_share():
    share = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    loss, _ = losses(Classify(loss="softmax"))
    np.testing.assert_allclose(loss, -np.log(share[range(3), LABELS]), rtol=1e-5)


def test_sigmoid_loss_sums_one_logistic_loss_a_class():
    chance = 1 / (1 + np.exp(-LOGITS.astype(float)))
    targets = np.eye(3)[LABELS]
    expected = -(targets * np.log(chance) + (1 - targets) * np.log(1 - chance)).sum(1)
    loss, _ = losses(Classify(loss="sigmoid"))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
def test_error_counts_images_whose_largest_logit_is_not_the_label(loss):
    np.testing.assert_array_equal(losses(Classify(loss=loss))[1], [0, 0, 1])


@pytest.mark.slow
def test_a_new_classifier_answers_with_its_bias_and_has_a_backbone():
    built = Classify(head_bias=-10.0).build(SHAPE, 7, Precision())
    module = built.module(built.init(jax.random.key(0)))
    images = jax.random.uniform(jax.random.key(1), (2, 16, 16, 3))
    np.testing.assert_array_equal(np.asarray(module(images)), np.full((2, 7), -10.0))
    assert module.backbone(images).shape == (2, 8)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValidationError, match="softmax"):
        Classify(loss="softmx")


def test_a_classifier_s_loss_couples_no_examples():
    assert Classify().couples_examples is False
