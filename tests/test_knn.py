"""Votes of nearest neighbours, by hand and against scikit-learn."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn.neighbors import KNeighborsClassifier

from scaling.data.arrays import Arrays, Digits
from scaling.evaluate import knn
from scaling.evaluate.knn import NearestNeighbours, vote


def test_two_neighbours_that_are_less_near_can_outvote_the_nearest():
    known = np.array([[1, 0], [3, 3], [2, 2]], np.float32)
    labels = np.array([0, 1, 1], np.int32)
    unseen = np.array([[1, 0.3]], np.float32)
    to_first = 1 / np.hypot(1, 0.3)  # cosines
    to_others = 1.3 / np.hypot(1, 0.3) / np.sqrt(2)
    assert to_first > to_others
    warm, cold = 1.0, 0.01
    assert np.exp(to_first / warm) < 2 * np.exp(to_others / warm)
    assert vote(known, labels, unseen, 2, (1, 3), warm).tolist() == [[0], [1]]
    assert vote(known, labels, unseen, 2, (1, 3), cold).tolist() == [[0], [0]]


def test_votes_are_those_of_scikit_learn(monkeypatch):
    monkeypatch.setattr(knn, "AT_ONCE", 1000)  # several pieces
    rng = np.random.default_rng(0)
    known = rng.normal(size=(200, 6)).astype(np.float32)
    labels = rng.integers(0, 5, 200).astype(np.int32)
    unseen = rng.normal(size=(90, 6)).astype(np.float32)
    found = vote(known, labels, unseen, 5, (1, 20), 0.07)
    for guess, k in zip(found, (1, 20), strict=True):
        its = KNeighborsClassifier(
            k, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / 0.07)
        )
        np.testing.assert_array_equal(guess, its.fit(known, labels).predict(unseen))


class Pixels(nnx.Module):
    """Features: the grey levels themselves."""

    def backbone(self, images):
        return jnp.reshape(images[..., 0] + 1, (len(images), -1))


def test_digits_are_told_apart_by_their_neighbours():
    task = NearestNeighbours(name="digits", data=Digits(resolution=8), k=(1, 20))
    one, twenty = task.measure(Pixels(), objective=None, source=None)
    assert (one.metric, twenty.metric) == task.metrics == ("digits_1nn_error", "digits_20nn_error")
    assert one.n == 797
    assert max(one.value, twenty.value) < 0.06


def test_more_neighbours_than_images_are_refused():
    task = NearestNeighbours(name="digits", data=Digits(resolution=8), k=(1001,))
    with pytest.raises(ValueError, match="k = 1001 neighbours, and there are 1000 training images"):
        task.measure(Pixels(), objective=None, source=None)


def test_a_class_without_training_images_is_said(tmp_path, capsys):
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4), np.uint8)
    labels = {"train": np.array([0, 0, 2]), "heldout": np.array([0, 1, 2])}
    sets = {f"{name}_labels": each for name, each in labels.items()}
    np.savez(tmp_path / "gap.npz", train_images=images, heldout_images=images, **sets)
    data = Arrays(path=tmp_path / "gap.npz", resolution=4)
    (found,) = NearestNeighbours(name="gap", data=data, k=(1,)).measure(
        Pixels(), objective=None, source=None
    )
    assert found.value == pytest.approx(1 / 3)
    said = "gap: 1 of 3 classes has no training image (1): held-out images of them count as wrong."
    assert said in " ".join(capsys.readouterr())


def test_a_small_temperature_takes_the_nearest():
    known = np.array([[1, 0.2], [1, 0]], np.float32)
    unseen = np.array([[1, 0]], np.float32)
    assert vote(known, np.array([0, 1]), unseen, 2, (2,), 1e-5).tolist() == [[1]]


def test_more_neighbours_than_images_are_refused_before_anything_is_trained():
    task = NearestNeighbours(name="digits", data={"kind": "digits", "resolution": 8}, k=(20, 5000))
    assert "k = 5000 neighbours, and there are 1000" in task.too_small(1000)
    assert task.too_small(5000) is None
