"""The few-shot protocol, step by step, against a second writing of it."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from scaling.data import Digits
from scaling.data.arrays import InMemory
from scaling.evaluate.fewshot import FewShot, draw, predict

CLASSES = 5


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, CLASSES, 300).astype(np.int32)


def test_draws_hold_so_many_images_of_each_class(labels):
    chosen = draw(labels, 4, CLASSES, subset=0)
    assert len(set(chosen)) == 4 * CLASSES
    np.testing.assert_array_equal(np.bincount(labels[chosen]), [4] * CLASSES)


def test_fewer_shots_lie_inside_more_shots(labels):
    for subset in range(3):
        few, many = (set(draw(labels, k, CLASSES, subset)) for k in (1, 10))
        assert few < many


def test_each_subset_is_another_draw_and_always_the_same(labels):
    first, again, second = (draw(labels, 5, CLASSES, subset) for subset in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(second)


def test_a_class_with_too_few_images_gives_all_it_has():
    labels = np.array([0, 0, 0, 1], np.int32)
    assert sorted(labels[draw(labels, 3, 2, 0)]) == [0, 0, 0, 1]


def test_the_order_is_one_generator_over_the_classes_in_turn(labels):
    generator = np.random.default_rng(2)
    expected = []
    for label in range(CLASSES):
        members = [i for i, l in enumerate(labels) if l == label]  # noqa: E741
        expected += list(generator.permutation(members)[:5])
    np.testing.assert_array_equal(draw(labels, 5, CLASSES, subset=2), expected)


@pytest.mark.parametrize("width", [6, 400])  # more images than features, and fewer
def test_predictions_are_those_of_the_minimised_ridge_loss(width):
    """The weights are found here by descending the loss itself, without any matrix inverse."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(CLASSES), 8).astype(np.int32)
    centres = rng.normal(size=(CLASSES, width))
    known = (centres[labels] + rng.normal(size=(40, width))).astype(np.float32) * 3 + 7
    unseen = (centres[labels] + rng.normal(size=(40, width))).astype(np.float32) * 3 + 7
    mean, std = known.astype(float).mean(0), known.astype(float).std(0) + 1e-5
    x = np.c_[(known - mean) / std, np.full(40, 100.0)]
    z = np.c_[(unseen - mean) / std, np.full(40, 100.0)]
    targets = 2.0 * (labels[:, None] == np.arange(CLASSES)) - 1
    scores = np.empty((40, CLASSES))
    for k in range(CLASSES):
        augmented = np.r_[x, np.sqrt(1024.0) * np.eye(width + 1)]
        weights = np.linalg.lstsq(augmented, np.r_[targets[:, k], np.zeros(width + 1)], rcond=None)
        scores[:, k] = z @ weights[0]
    guess = predict(known, labels, unseen, CLASSES, ridge=1024.0)
    np.testing.assert_array_equal(guess, scores.argmax(1))
    assert np.mean(guess == labels) > 0.5


def test_the_scale_and_origin_of_a_feature_do_not_matter(labels):
    rng = np.random.default_rng(3)
    known = rng.normal(size=(300, 8)).astype(np.float32)
    unseen = rng.normal(size=(100, 8)).astype(np.float32)
    scale, shift = 2.0 ** np.arange(8, dtype=np.float32), np.arange(8, dtype=np.float32) * 4
    plain = predict(known, labels, unseen, CLASSES, 1024.0)
    moved = predict(known * scale + shift, labels, unseen * scale + shift, CLASSES, 1024.0)
    assert np.mean(plain == moved) > 0.98  # whitening adds 1e-5 to each deviation


def test_every_image_is_read_once(monkeypatch):
    """The labels come with the pixels: a large task is not decoded a second time."""
    read = []
    honest = InMemory.batch

    def batch(self, indices):
        read.extend((self.size, int(i)) for i in dict.fromkeys(indices.tolist()))
        return honest(self, indices)

    monkeypatch.setattr(InMemory, "batch", batch)
    task = FewShot(name="digits", data=Digits(resolution=8), shots=(5,), subsets=1)
    (mean, only) = task.measure(Means(), objective=None, source=None)
    assert sorted(read) == sorted([(1000, i) for i in range(1000)] + [(797, i) for i in range(797)])
    assert mean.n == 797
    assert mean.value == only.value < 0.8  # chance is 0.9: labels belong to their images


class Means(nnx.Module):
    """Features: the mean brightness of each row and each column."""

    def backbone(self, images):
        grey = images[..., 0]
        return jnp.concatenate([grey.mean(1), grey.mean(2)], axis=1)


def test_metrics_are_named_after_task_and_shots():
    task = FewShot(name="digits", data=Digits(), shots=(1, 10))
    assert task.metrics == ("digits_1shot_error", "digits_10shot_error")
