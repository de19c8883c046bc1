"""Classification by the nearest neighbours among frozen features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fits.base.counted import counted
from scaling.base.console import note
from scaling.evaluate.frozen.tasks import FrozenTask, absent_classes
from scaling.evaluate.measured import Measured

if TYPE_CHECKING:
    from scaling.evaluate.frozen.passes import Passes

AT_ONCE = 1 << 26  # similarities in memory at a time: 256 MiB


class NearestNeighbours(FrozenTask):
    """Each test image gets the class for which its k nearest training images vote, by cosine
    similarity s with weight exp(s / temperature). Top-1 error `<name>_<k>nn_error`.

    Source: Wu et al. 2018, "Unsupervised feature learning via non-parametric instance
    discrimination", the protocol that DINO (Caron et al. 2021) reports; k = 20 and temperature 0.07
    as remembered from DINO's code.
    """

    kind: Literal["knn"] = "knn"
    k: tuple[Annotated[int, Field(gt=0, le=10**6)], ...] = Field((20,), min_length=1)
    """Numbers of neighbours."""
    temperature: float = Field(0.07, gt=0, allow_inf_nan=False)
    """The smaller, the more the nearest count."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the numbers measured."""
        return tuple(f"{self.name}_{k}nn_error" for k in self.k)

    @property
    def errors(self) -> tuple[str, ...]:
        """Those of `metrics` that are error rates."""
        return self.metrics

    def too_small(self, images: int) -> str | None:
        if max(self.k) <= images:
            return None
        return (
            f"k = {max(self.k)} neighbours, and there {'is' if images == 1 else 'are'} "
            f"{counted(images, 'training image')}; use a smaller k."
        )

    def of_features(self, passes: Passes) -> list[Measured]:
        known, labels = self.train_features(passes)
        unseen, truth = passes.features(self.data, "heldout")
        if words := self.too_small(len(labels)):
            raise ValueError(f"{self.name}: {words}")
        if said := absent_classes(labels, self.data.classes, self.data.class_names):
            note(f"{self.name}: {said}: held-out images of them count as wrong.")
        guesses = vote(known, labels, unseen, self.data.classes, self.k, self.temperature)
        return [
            Measured(f"{self.name}_{k}nn_error", float(np.mean(guess != truth)), len(truth))
            for k, guess in zip(self.k, guesses, strict=True)
        ]


def vote(
    known: NDArray[np.float32],
    labels: NDArray[np.int32],
    unseen: NDArray[np.float32],
    classes: int,
    counts: tuple[int, ...],
    temperature: float,
) -> NDArray[np.int64]:
    """The class of each of `unseen` [m, width] by so many neighbours each: [counts, m].

    Of equally similar images the one with the smaller number is the nearer, save for the last
    place; of classes with equal votes the smaller one wins.

    Args:
      known: features [n, width], with their labels [n].
      counts: of neighbours, each at most n.
    """
    known, most = _unit(known), max(counts)
    found = np.empty((len(counts), len(unseen)), np.int64)
    rows = max(1, AT_ONCE // len(known))
    for first in range(0, len(unseen), rows):
        similar = _unit(unseen[first : first + rows]) @ known.T
        nearest = np.sort(np.argpartition(-similar, most - 1, axis=1)[:, :most], axis=1)
        order = np.argsort(-np.take_along_axis(similar, nearest, 1), axis=1, kind="stable")
        nearest = np.take_along_axis(nearest, order, 1)
        near = np.take_along_axis(similar, nearest, 1).astype(np.float64)
        weights = np.exp((near - near[:, :1]) / temperature)  # the nearest has 1: none overflows
        voters = labels[nearest]
        for number, k in enumerate(counts):
            votes = np.zeros((len(similar), classes))
            each = np.arange(len(similar))[:, None].repeat(k, 1)
            np.add.at(votes, (each, voters[:, :k]), weights[:, :k])
            found[number, first : first + rows] = votes.argmax(1)
    return found


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.where(length, length, 1)).astype(np.float32)
