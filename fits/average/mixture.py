"""A mixture of normals at each of several places: what the draws of several laws predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fits.base.numbers import Array, Indices

HALVINGS = 45  # of the bracket of a quantile
LIGHTEST = 1e-9  # component that counts in a quantile
WIDE = 12.0  # standard deviations of the bracket beyond the outermost component


@dataclass(frozen=True, eq=False)
class Mixture:
    """Of log errors.

    Fields:
      mean, variance: of each component, [components, places].
      weight: they add to 1, [components].
    """

    mean: Array
    variance: Array
    weight: Array

    @classmethod
    def of(cls, predicted: Sequence[tuple[Array, Array]], weights: Sequence[float]) -> Mixture:
        """Of laws: mean and variance of each law's draws [draws, places], and the laws' weights."""
        mean, variance = (np.concatenate(each) for each in zip(*predicted, strict=True))
        shares = [
            np.full(len(each), weight / len(each))
            for (each, _), weight in zip(predicted, weights, strict=True)
        ]
        return cls(mean, variance, np.concatenate(shares))

    def with_variance(self, more: Array | float) -> Mixture:
        """Every component wider by a variance, one for all places or [places]."""
        return replace(self, variance=self.variance + more)

    def log_density(self, at: Array) -> Array:
        """At one log error a place, [places]."""
        logs = -((at - self.mean) ** 2) / (2 * self.variance)
        logs = logs - np.log(2 * np.pi * self.variance) / 2
        with np.errstate(divide="ignore"):  # a law may weigh nothing
            logs = logs + np.log(self.weight)[:, None]
        return np.asarray(np.logaddexp.reduce(logs, axis=0))

    def quantile(self, level: float) -> Array:
        """[places]."""
        from scipy.special import ndtr

        counts = self.weight > LIGHTEST
        mean, weight = self.mean[counts], self.weight[counts]
        deviation = np.sqrt(self.variance[counts])
        low = (mean - WIDE * deviation).min(axis=0)
        high = (mean + WIDE * deviation).max(axis=0)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = weight @ ndtr((middle - mean) / deviation) < level
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return (low + high) / 2

    def _means(self, law: Indices) -> tuple[Array, Array]:
        """Weight of each law, and its mean at each place, [laws], [laws, places]."""
        weight = np.bincount(law, self.weight).astype(float)
        total = np.zeros((len(weight), self.mean.shape[1]))
        np.add.at(total, law, self.weight[:, None] * self.mean)
        return weight, total / np.maximum(weight, 1e-300)[:, None]

    def variances(self, law: Indices) -> tuple[Array, Array]:
        """Between the means of laws, and within laws, each [places]; law: of each component."""
        weight, means = self._means(law)
        middle = weight @ means
        between = weight @ (means - middle) ** 2
        every = self.weight @ (self.variance + (self.mean - middle) ** 2)
        return between, every - between

    def about_its_median(self, law: Indices) -> Mixture:
        """Every law moved to the median of them all: as if nothing separated them."""
        _, means = self._means(law)
        return replace(self, mean=self.mean - means[law] + self.quantile(0.5))
