"""Metrics of a classifier as pure functions of its scores and of the true labels; NumPy only.

Scores are [images, classes], larger for what is likelier. Labels are those of
`scaling.data.labels`: [images], or [images, most] padded with -1. An image without a label counts
nowhere, as big_vision has it and as ReaL is scored (Beyer et al. 2020, "Are we done with
ImageNet?").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scaling.data.labels import NONE, Labels, as_rows

Scores: TypeAlias = NDArray[Any]
Link: TypeAlias = Literal["sigmoid", "softmax"]
"""How scores become probabilities."""
ROWS = 2048  # images that are ranked at once


def labelled(labels: Labels) -> NDArray[np.bool_]:
    """Which images have a label, [images]."""
    return as_rows(labels).max(1) > NONE


def top_error(scores: Scores, labels: Labels, k: int = 1) -> float:
    """Share of the images that have a label of which none is among the k largest scores.

    With k = 1 and several labels this is ReaL's error, 1 - precision@1. Of equal scores that of the
    class with the smaller number counts as larger, as argmax has it.
    """
    ranks = best_ranks(scores, labels)[labelled(labels)]
    return float(np.mean(ranks >= k))


def best_ranks(scores: Scores, labels: Labels) -> NDArray[np.int64]:
    """How many classes rank before the best-ranked label of each image, [images]; the number of
    classes for an image without a label.

    Raises:
      ValueError: no image has a label, or a score is NaN or infinite.
    """
    _check(scores, labels)
    rows, classes = as_rows(labels), scores.shape[1]
    found = np.full(len(rows), classes, np.int64)
    for first in range(0, len(rows), ROWS):
        part = slice(first, first + ROWS)
        here = scores[part]
        for column in rows[part].T:
            score = np.take_along_axis(here, np.maximum(column, 0)[:, None], 1)
            before = (here == score) & (np.arange(classes) < column[:, None])
            rank = ((here > score) | before).sum(1)
            found[part] = np.minimum(found[part], np.where(column == NONE, classes, rank))
    return found


def mean_average_precision(
    scores: Scores, labels: Labels, k: int = 100, weights: NDArray[Any] | None = None
) -> float:
    """Mean over classes of the average precision at k, weighted by how popular a class is.

        AP_c = sum over i <= k of rel_c(i) * precision_c(i) / min(R_c, k)

    where the images are ranked by their score for class c, rel_c(i) says whether image i of that
    ranking has the label c, precision_c(i) is the share of the first i that have, and R_c images
    have it. Classes of no image count nowhere. Of equal scores that of the earlier image is ranked
    first. With k = the number of images and different scores AP_c is scikit-learn's
    `average_precision_score`.

    Sun et al. 2017 report "mAP@100" weighted by popularity and give no formula; Chollet 2017
    (Xception) calls it "mean average precision for top 100 predictions" with "the contribution of
    each class" weighted. Read here as the first 100 images of each class; numbers of those papers
    may have been computed otherwise.

    Args:
      weights: [classes], >= 0; None: the number of images that have the label.
    """
    _check(scores, labels)
    counts = labelled(labels)
    rows, scores = as_rows(labels)[counts], scores[counts]
    total = share = 0.0
    for label in np.unique(rows[rows > NONE]):
        relevant = (rows == label).any(1)
        weight = float(relevant.sum() if weights is None else weights[label])
        if not weight:
            continue
        order = np.argsort(-scores[:, label], kind="stable")[:k]
        hit = relevant[order]
        precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
        total += weight * float((precision * hit).sum()) / min(int(relevant.sum()), k)
        share += weight
    if not share:
        raise ValueError("every class that an image has is weighted 0.")
    return total / share


def confidence(scores: Scores, link: Link) -> NDArray[np.float64]:
    """Probability that the classifier gives its first choice, [images]."""
    best = scores.max(1).astype(np.float64)
    if link == "sigmoid":
        return 1 / (1 + np.exp(-np.clip(best, -700, 700)))
    return 1 / np.exp(scores.astype(np.float64) - best[:, None]).sum(1)


def expected_calibration_error(scores: Scores, labels: Labels, link: Link, bins: int = 15) -> float:
    """Mean distance between how sure the classifier is of its first choice and how often it is
    right.

        ECE = sum over bins b of n_b / n * |accuracy_b - confidence_b|

    The bins are of equal width: bin b of B holds confidences in ((b - 1) / B, b / B], and
    confidence 0 is in the first. accuracy_b and confidence_b are means over the n_b images in it.
    Guo et al. 2017, "On calibration of modern neural networks"; 15 bins are theirs as remembered.
    """
    right = (best_ranks(scores, labels) == 0)[labelled(labels)]
    sure = confidence(scores[labelled(labels)], link)
    which = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(which, right - sure, bins)
    return float(np.abs(gaps).sum() / len(sure))


def mean_corruption_error(errors: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """Mean over corruptions of the error in multiples of a reference network's.

        mCE = mean over c of (sum over s of E[s, c]) / (sum over s of E_ref[s, c])

    Hendrycks and Dietterich 2019, section 4.1: their reference is AlexNet. In per cent there, a
    ratio here.

    Args:
      errors: by corruption, the mean over severities s.
      reference: the same of the reference network, over the same severities; > 0.
    """
    return float(np.mean([error / reference[name] for name, error in errors.items()]))


def _check(scores: Scores, labels: Labels) -> None:
    if not labelled(labels).any():
        raise ValueError(f"none of {len(labels):_} images to measure on has a label; give some.")
    if not (scores < np.inf).all():  # classes that are not chosen from have -inf
        raise ValueError("the classifier's scores are no finite numbers: its weights are damaged.")
