"""Metrics of a classifier: against cases counted by hand, and against scikit-learn."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, top_k_accuracy_score

from scaling.evaluate.metrics import (
    best_ranks,
    confidence,
    expected_calibration_error,
    labelled,
    mean_average_precision,
    mean_corruption_error,
    top_error,
)

# Three classes, four images: the first choices are 2, 0, 1, 0.
SCORES = np.array([[0.1, 0.2, 0.7], [3, 1, 2], [0, 5, 4], [9, 8, 7]], np.float32)


@pytest.fixture(scope="module")
def many():
    """2,500 images of 12 classes, scores that are worth something, one label each."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 12, 2500).astype(np.int32)
    scores = rng.normal(size=(2500, 12)).astype(np.float32)
    scores[np.arange(2500), labels] += 1.5
    return scores, labels


def test_top_1_and_top_2_counted_by_hand():
    labels = np.array([2, 2, 1, 2], np.int32)
    assert top_error(SCORES, labels) == 2 / 4
    assert top_error(SCORES, labels, k=2) == 1 / 4
    assert top_error(SCORES, labels, k=3) == 0
    np.testing.assert_array_equal(best_ranks(SCORES, labels), [0, 1, 0, 2])


@pytest.mark.parametrize("k", [1, 5])
def test_top_k_is_scikit_learn_s(many, k):
    scores, labels = many
    assert top_error(scores, labels, k) == pytest.approx(
        1 - top_k_accuracy_score(labels, scores, k=k)
    )


def test_any_of_several_labels_is_right_and_images_without_one_are_left_out():
    """ReaL by hand: first choices 2, 0, 1, 0; the last image has no label."""
    labels = np.array([[0, 2, -1], [1, 2, -1], [1, -1, -1], [-1, -1, -1]], np.int32)
    np.testing.assert_array_equal(labelled(labels), [True, True, True, False])
    assert top_error(SCORES, labels) == 1 / 3
    assert top_error(SCORES, labels, k=2) == 0


def test_real_is_precision_at_1_as_big_vision_has_it(many):
    """A second writing of it: one-hot rows, the entry at the argmax, rows of zeros ignored."""
    scores, _ = many
    rng = np.random.default_rng(1)
    hot = rng.random((2500, 12)) < 0.1
    labels = np.full((2500, 12), -1, np.int32)
    for row, mask in zip(labels, hot, strict=True):
        row[: mask.sum()] = np.flatnonzero(mask)
    counts = hot.any(1)
    right = hot[np.arange(2500), scores.argmax(1)][counts].mean()
    assert 0.05 < right < 0.5
    assert counts.sum() < 2500
    assert top_error(scores, labels) == pytest.approx(1 - right)


def test_of_equal_scores_the_first_class_is_chosen_as_argmax_does():
    flat = np.zeros((3, 4), np.float32)
    labels = np.array([0, 1, 3], np.int32)
    np.testing.assert_array_equal(best_ranks(flat, labels), [0, 1, 3])
    assert top_error(flat, labels) == pytest.approx(np.mean(flat.argmax(1) != labels))


def test_no_label_at_all_and_scores_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="none of 4 images to measure on has a label"):
        top_error(SCORES, np.full(4, -1, np.int32))
    for damaged in (np.nan, np.inf):
        with pytest.raises(ValueError, match="scores are no finite numbers"):
            top_error(np.full_like(SCORES, damaged), np.zeros(4, np.int32))


def test_average_precision_by_hand():
    """Class 0 ranks the images 0, 1, 2, 3, and 0 and 3 are of it: (1/1 + 2/4) / 2. Class 1 ranks
    them 3, 2, 1, 0, and 1 and 2 are: (1/2 + 2/3) / 2."""
    scores = np.array([[4, 1], [3, 2], [2, 3], [1, 4]], np.float32)
    labels = np.array([0, 1, 1, 0], np.int32)
    assert mean_average_precision(scores, labels) == pytest.approx((0.75 + 7 / 12) / 2)
    only = mean_average_precision(scores, labels, weights=np.array([1.0, 0.0]))
    assert only == pytest.approx(0.75)
    assert mean_average_precision(scores, labels, k=1) == pytest.approx(0.5)  # 1/1 / 1, 0 / 1
    with pytest.raises(ValueError, match="weighted 0"):
        mean_average_precision(scores, labels, weights=np.zeros(2))


def test_classes_weigh_as_much_as_images_have_them():
    scores = np.array([[3, 0], [2, 1], [1, 2]], np.float32)
    labels = np.array([[0, 1], [0, -1], [0, -1]], np.int32)  # class 0: 1; class 1: 1 / 3
    assert mean_average_precision(scores, labels) == pytest.approx((3 * 1 + 1 * 1 / 3) / 4)


def test_average_precision_is_scikit_learn_s_where_every_image_is_ranked(many):
    scores, labels = many
    each = [average_precision_score(labels == c, scores[:, c]) for c in range(12)]
    popular = np.bincount(labels)
    found = mean_average_precision(scores, labels, k=2500)
    assert found == pytest.approx(np.average(each, weights=popular), abs=1e-7)
    equal = mean_average_precision(scores, labels, k=2500, weights=np.ones(12))
    assert equal == pytest.approx(np.mean(each), abs=1e-7)
    assert mean_average_precision(scores, labels) != pytest.approx(found, abs=1e-3)


def test_confidence_is_the_largest_probability():
    np.testing.assert_allclose(
        confidence(SCORES[:1], "softmax"), np.exp(0.7) / np.exp(SCORES[0]).sum(), rtol=1e-6
    )
    np.testing.assert_allclose(confidence(SCORES[:1], "sigmoid"), 1 / (1 + np.exp(-0.7)), rtol=1e-6)
    huge = np.array([[1e4, 0]], np.float32)
    assert confidence(huge, "softmax") == confidence(huge, "sigmoid") == 1


def test_calibration_error_by_hand():
    """Two bins. Confidences .4 (wrong) and .5 (right) are in (0, .5]: |.5 - .45| * 2 / 4; .6
    (right) and 1.0 (wrong) in (.5, 1]: |.5 - .8| * 2 / 4."""
    sure = np.array([0.4, 0.5, 0.6, 1 - 1e-12])
    scores = np.stack([np.log(sure / (1 - sure)), np.full(4, -50.0)], 1)
    labels = np.array([1, 0, 0, 1], np.int32)
    found = expected_calibration_error(scores, labels, "sigmoid", bins=2)
    assert found == pytest.approx(0.05 / 2 + 0.3 / 2)
    first = np.array([1, 0, 0, -1], np.int32)  # the last image has no label
    found = expected_calibration_error(scores, first, "sigmoid", bins=2)
    assert found == pytest.approx(0.05 * 2 / 3 + 0.4 / 3)


def test_calibration_error_is_what_scikit_learn_s_curve_gives(many):
    scores, labels = many
    sure, right = confidence(scores, "softmax"), scores.argmax(1) == labels
    often, meant = calibration_curve(right, sure, n_bins=15)
    counts = np.histogram(sure, np.linspace(0, 1, 16))[0]
    expected = np.average(np.abs(often - meant), weights=counts[counts > 0])
    assert expected > 0.01
    found = expected_calibration_error(scores, labels, "softmax")
    assert found == pytest.approx(expected, abs=1e-9)


def test_a_classifier_that_is_right_as_often_as_it_says_has_no_calibration_error():
    rng = np.random.default_rng(2)
    sure = rng.uniform(0.5, 1, 200_000)
    scores = np.stack([np.log(sure / (1 - sure)), np.zeros_like(sure)], 1)
    labels = (rng.random(200_000) > sure).astype(np.int32)
    assert expected_calibration_error(scores, labels, "softmax") < 0.005
    assert expected_calibration_error(2 * scores, labels, "softmax") > 0.05


def test_mean_corruption_error_by_hand():
    errors = {"fog": 0.3, "snow": 0.8}
    assert mean_corruption_error(errors, {"fog": 0.6, "snow": 0.8}) == pytest.approx(0.75)
    assert mean_corruption_error(errors, errors) == 1
