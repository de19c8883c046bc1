"""The few-shot protocol, step by step, against a second writing of it."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from scaling.data.arrays import Arrays, Digits, InMemory
from scaling.evaluate.fewshot import FewShot, draw
from scaling.evaluate.frozen.ridge import classify, scorers

CLASSES = 5


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, CLASSES, 300).astype(np.int32)


def test_draws_hold_so_many_images_of_each_class(labels):
    chosen, _ = draw(labels, 4, CLASSES, subset=0)
    assert len(set(chosen)) == 4 * CLASSES
    np.testing.assert_array_equal(np.bincount(labels[chosen]), [4] * CLASSES)


def test_fewer_shots_lie_inside_more_shots(labels):
    for subset in range(3):
        few, many = (set(draw(labels, k, CLASSES, subset)[0]) for k in (1, 10))
        assert few < many


def test_images_whose_turn_is_below_k_are_the_draw_of_k_shots(labels):
    many, turn = draw(labels, 10, CLASSES, subset=1)
    for shots in (1, 4, 10):
        few, _ = draw(labels, shots, CLASSES, subset=1)
        np.testing.assert_array_equal(many[turn < shots], few)


def test_each_subset_is_another_draw_and_always_the_same(labels):
    first, again, second = (draw(labels, 5, CLASSES, subset)[0] for subset in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(second)


def test_a_class_with_too_few_images_gives_all_it_has():
    labels = np.array([0, 0, 0, 1], np.int32)
    chosen, turn = draw(labels, 3, 2, 0)
    assert sorted(labels[chosen]) == [0, 0, 0, 1]
    assert turn.tolist() == [0, 0, 1, 2]


def test_the_order_is_one_generator_over_the_classes_in_turn(labels):
    generator = np.random.default_rng(2)
    expected = []
    for label in range(CLASSES):
        members = [i for i, l in enumerate(labels) if l == label]  # noqa: E741
        expected += list(generator.permutation(members)[:5])
    chosen, _ = draw(labels, 5, CLASSES, subset=2)
    np.testing.assert_array_equal(chosen[np.argsort(labels[chosen], kind="stable")], expected)


def predict(known, labels, unseen, classes, ridge):
    return classify(scorers(known, labels, [len(known)], classes, ridge), unseen)[0]


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


@pytest.mark.parametrize("width", [3, 25, 400])
def test_supports_inside_one_another_have_the_weights_that_each_has_alone(width):
    rng = np.random.default_rng(4)
    labels = np.tile(np.arange(CLASSES), 20).astype(np.int32)
    known = rng.normal(size=(100, width)).astype(np.float32) + 3
    together = scorers(known, labels, [5, 25, 50, 100], CLASSES, 10.0)
    for end, found in zip([5, 25, 50, 100], together, strict=True):
        (alone,) = scorers(known[:end], labels[:end], [end], CLASSES, 10.0)
        np.testing.assert_allclose(found.weights, alone.weights, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.bias, alone.bias, rtol=1e-9, atol=1e-12)


def test_few_images_and_many_have_the_same_weights():
    """Features that are always 0 change no weight, and which of two equations is solved."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, CLASSES, 30).astype(np.int32)
    known = rng.normal(size=(30, 29)).astype(np.float32)
    (normal,) = scorers(known, labels, [30], CLASSES, 7.0)
    (dual,) = scorers(np.pad(known, ((0, 0), (0, 2))), labels, [30], CLASSES, 7.0)
    np.testing.assert_allclose(dual.weights[:29], normal.weights, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(dual.weights[29:], 0)


def test_features_far_from_zero_lose_nothing():
    rng = np.random.default_rng(6)
    labels = rng.integers(0, CLASSES, 200).astype(np.int32)
    known = rng.integers(-8, 8, size=(200, 6)).astype(np.float32)
    (near,) = scorers(known, labels, [200], CLASSES, 7.0)
    (far,) = scorers(known + 2**20, labels, [200], CLASSES, 7.0)
    np.testing.assert_allclose(far.weights, near.weights, rtol=1e-9)


def test_only_images_that_are_drawn_are_looked_at_and_each_once(monkeypatch):
    read = []
    honest = InMemory.batch

    def batch(self, indices):
        read.extend((self.size, int(i)) for i in dict.fromkeys(indices.tolist()))
        return honest(self, indices)

    monkeypatch.setattr(InMemory, "batch", batch)
    task = FewShot(name="digits", data=Digits(resolution=8), shots=(5, 1), subsets=2)
    found = task.measure(Means(), objective=None, source=None)
    pool = Digits(resolution=8).train()
    drawn = {int(i) for subset in (0, 1) for i in draw(pool.labels, 5, 10, subset)[0]}
    assert sorted(read) == sorted([(1000, i) for i in drawn] + [(797, i) for i in range(797)])
    named = {each.metric: each.value for each in found}
    assert found[0].metric == "digits_5shot_error"
    both = named["digits_5shot_error_subset0"] + named["digits_5shot_error_subset1"]
    assert named["digits_5shot_error"] == both / 2
    assert named["digits_5shot_error"] < named["digits_1shot_error"] < 0.8  # chance is 0.9


def test_a_class_with_fewer_images_than_shots_is_said_and_measured(capsys):
    whole = Digits(resolution=8)
    task = FewShot(name="digits", data=whole, shots=(1, 200), subsets=1)  # there are 100 of each
    found = task.measure(Means(), objective=None, source=None)
    assert len(found) == 4
    said = capsys.readouterr().err
    assert "digits: 10 of 10 classes have fewer than 200 training images (class 0 has 100)" in said
    FewShot(name="digits", data=whole, shots=(100,), subsets=1).measure(
        Means(), objective=None, source=None
    )
    assert capsys.readouterr().err == ""


def test_a_class_without_training_images_is_said(tmp_path, capsys):
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8)
    labels = {"train": np.array([0, 0, 2]), "heldout": np.array([0, 1, 2])}
    sets = {f"{name}_labels": each for name, each in labels.items()}
    np.savez(tmp_path / "gap.npz", train_images=images, heldout_images=images, **sets)
    data = Arrays(path=tmp_path / "gap.npz", resolution=8)
    task = FewShot(name="gap", data=data, shots=(1,))
    assert len(task.measure(Means(), objective=None, source=None)) == 4
    said = " ".join(capsys.readouterr().err.split())
    assert "gap: 1 of 3 classes has no training image (1): nothing is learnt of them." in said


class Means(nnx.Module):
    """Features: the mean brightness of each row and each column."""

    def backbone(self, images):
        grey = images[..., 0]
        return jnp.concatenate([grey.mean(1), grey.mean(2)], axis=1)


def test_metrics_are_named_after_task_and_shots():
    task = FewShot(name="digits", data=Digits(), shots=(1, 10))
    assert task.metrics == ("digits_1shot_error", "digits_10shot_error")
