"""Ridge regression to targets of +-1 on whitened features, for several supports that lie inside one
another.

Knows neither images nor networks. What is solved for each support (big_vision, few-shot evaluator):
features are whitened one by one with mean and population standard deviation of the support; a
constant 100 is appended; the squared error, summed over images, and `ridge` times the squared norm
of all weights are minimised.

The whitened columns have mean 0, so the constant's weight separates from the others. Second moments
of a support are those of the support inside it plus those of the images that were added: they are
summed once, in float64, about a common origin, so that nothing is lost where means are far larger
than deviations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

CONSTANT = 100.0  # the extra feature: so large that the ridge hardly holds the bias back
SMALLEST_STD = 1e-5  # added to a feature's standard deviation before dividing by it
ROWS = 4096  # features that are brought to float64 at a time


class Scorer(NamedTuple):
    """Scores of a feature vector x are x @ weights + bias; the largest is the class.

    Fields:
      weights: float64 [width, classes].
      bias: float64 [classes].
    """

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]


class _Moments(NamedTuple):
    """Sums over a support, of features less `origin`.

    Fields:
      products: sum of x x^T, [width, width]; None where the support is smaller than that.
      sums: of x for each class, [classes, width].
      counts: images of each class, [classes].
    """

    products: NDArray[np.float64]
    sums: NDArray[np.float64]
    counts: NDArray[np.float64]


def scorers(
    known: NDArray[np.float32],
    labels: NDArray[np.int32],
    ends: Sequence[int],
    classes: int,
    ridge: float,
) -> list[Scorer]:
    """One for each support: support j is the first ends[j] rows.

    Args:
      known: features [n, width].
      labels: of them [n], in 0 .. classes - 1.
      ends: rising, the last of them at most n.
      ridge: > 0.
    """
    width = known.shape[1]
    origin = known.mean(0, dtype=np.float64)
    moments = _Moments(np.zeros((width, width)), np.zeros((classes, width)), np.zeros(classes))
    done, found = 0, []
    for end in ends:
        if end <= width:
            found.append(_from_rows(known[:end], labels[:end], classes, ridge))
            continue
        for first in range(done, end, ROWS):
            rows = slice(first, min(first + ROWS, end))
            _add(moments, known[rows] - origin, labels[rows])
        done = end
        found.append(_from_moments(moments, origin, ridge))
    return found


def classify(scorers: Sequence[Scorer], unseen: NDArray[np.float32]) -> NDArray[np.int64]:
    """The class that each scorer gives each feature vector of `unseen` [m, width]: [scorers, m]."""
    weights = np.concatenate([each.weights for each in scorers], axis=1)
    bias = np.concatenate([each.bias for each in scorers])
    found = np.empty((len(scorers), len(unseen)), np.int64)
    for first in range(0, len(unseen), ROWS):
        x = unseen[first : first + ROWS].astype(np.float64)
        scores = (x @ weights + bias).reshape(len(x), len(scorers), -1)
        found[:, first : first + ROWS] = scores.argmax(2).T
    return found


def _add(moments: _Moments, x: NDArray[np.float64], labels: NDArray[np.int32]) -> None:
    moments.products[...] += x.T @ x
    np.add.at(moments.sums, labels, x)
    moments.counts[...] += np.bincount(labels, minlength=len(moments.counts))


def _from_moments(moments: _Moments, origin: NDArray[np.float64], ridge: float) -> Scorer:
    """By the normal equations, [width, width]."""
    n = moments.counts.sum()
    mean = moments.sums.sum(0) / n
    centred = moments.products - n * np.outer(mean, mean)
    std = np.sqrt(np.maximum(np.diag(centred), 0) / n) + SMALLEST_STD
    system = centred / np.outer(std, std)
    system[np.diag_indices_from(system)] += ridge
    targets = 2 * (moments.sums - moments.counts[:, None] * mean) / std
    weights = cho_solve(cho_factor(system, overwrite_a=True), targets.T)
    return _scorer(weights, moments.counts, mean + origin, std, ridge)


def _from_rows(
    known: NDArray[np.float32], labels: NDArray[np.int32], classes: int, ridge: float
) -> Scorer:
    """By the dual of the normal equations, [n, n]: the same weights, where images are few."""
    mean = known.mean(0, dtype=np.float64)
    x = known - mean
    std = np.sqrt(np.mean(np.square(x), 0)) + SMALLEST_STD
    x /= std
    targets = np.where(labels[:, None] == np.arange(classes), 1.0, -1.0)
    system = x @ x.T
    system[np.diag_indices_from(system)] += ridge
    weights = x.T @ cho_solve(cho_factor(system, overwrite_a=True), targets - targets.mean(0))
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    return _scorer(weights, counts, mean, std, ridge)


def _scorer(
    weights: NDArray[np.float64],
    counts: NDArray[np.float64],
    mean: NDArray[np.float64],
    std: NDArray[np.float64],
    ridge: float,
) -> Scorer:
    """Of weights on whitened features, and the constant's, which stands alone."""
    n = counts.sum()
    constant = CONSTANT * (2 * counts - n) / (n * CONSTANT**2 + ridge)
    plain = weights / std[:, None]
    return Scorer(plain, CONSTANT * constant - mean @ plain)
