"""The few-shot linear protocol of big_vision.

Frozen features, a handful of labelled images a class, ridge regression in closed form, as there.
What is seen of an image is the task's to say: at resolution 224 it is what big_vision shows, the
central square of the resized image, with `decode = { resize_to = 256, antialias = false }`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling.base.console import note
from scaling.data import Source
from scaling.evaluate.frozen.tasks import FrozenTask, absent_classes, checked_labels, train_labels
from scaling.evaluate.measured import Measured

if TYPE_CHECKING:
    from scaling.evaluate.frozen.passes import Passes


class FewShot(FrozenTask):
    """Ridge regression on frozen features of a few labelled images a class, top-1 error
    `<name>_<shots>shot_error`, the mean over subsets, and `<name>_<shots>shot_error_subset<i>`.

    Source: big_vision, `evaluators/fewshot_lsr.py` (commit 0127fb6).
    """

    kind: Literal["fewshot"] = "fewshot"
    data: Source = Field(
        description="The transfer task; shots are drawn from its training images, of which only "
        "those drawn are looked at. big_vision draws those of ImageNet from `train[:65000]`."
    )
    shots: tuple[Annotated[int, Field(gt=0, le=10**6)], ...] = Field((1, 5, 10), min_length=1)
    """Labelled images a class; smaller sets lie inside larger ones."""
    subsets: int = Field(3, gt=0, le=1000)
    """How many times the shots are drawn."""
    ridge: float = Field(1024.0, gt=0, allow_inf_nan=False)
    """Weight of the squared norm, on a sum (not a mean) over images."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the numbers that say how good the features are: means over subsets."""
        return tuple(f"{self.name}_{k}shot_error" for k in self.shots)

    @property
    def errors(self) -> tuple[str, ...]:
        """Those of `metrics` that are error rates."""
        return self.metrics

    def of_features(self, passes: Passes) -> list[Measured]:
        from scaling.evaluate.frozen.ridge import classify, scorers

        labels = train_labels(self.data)
        checked_labels(f"{self.name}, train", labels, self.data.classes)
        if said := absent_classes(labels, self.data.classes, self.data.class_names):
            note(f"{self.name}: {said}: nothing is learnt of them.")
        if few := self._too_few(labels):
            note(few)
        supports = [self._support(labels, subset) for subset in range(self.subsets)]
        drawn = np.unique(np.concatenate([chosen for chosen, _ in supports]))
        known, known_labels = passes.features(self.data, "train", drawn)
        test = passes.features(self.data, "heldout")
        wrong = np.empty((len(self.shots), self.subsets))
        for subset, (chosen, ends) in enumerate(supports):
            rows = np.searchsorted(drawn, chosen)
            found = scorers(known[rows], known_labels[rows], ends, self.data.classes, self.ridge)
            wrong[:, subset] = np.mean(classify(found, test.rows) != test.labels, axis=1)
        return self._measured(wrong, len(test.labels))

    def _too_few(self, labels: NDArray[np.int32]) -> str | None:
        """Which classes have fewer images than shots; None: none has."""
        counts = np.bincount(labels, minlength=self.data.classes)
        few = np.flatnonzero(counts < max(self.shots))
        if not len(few):
            return None
        return (
            f"{self.name}: {len(few)} of {self.data.classes} classes have fewer than "
            f"{max(self.shots)} training images (class {few[0]} has {counts[few[0]]}); all "
            "of them are drawn."
        )

    def _support(
        self, labels: NDArray[np.int32], subset: int
    ) -> tuple[NDArray[np.int64], list[int]]:
        """Numbers of images, and how many of the first of them each of `shots` has."""
        chosen, rank = draw(labels, max(self.shots), self.data.classes, subset)
        return chosen, [int(np.searchsorted(rank, shots)) for shots in sorted(self.shots)]

    def _measured(self, wrong: NDArray[np.float64], n: int) -> list[Measured]:
        """Of errors [shots, subsets], the shots rising."""
        rising = sorted(self.shots)
        found = []
        for shots in self.shots:
            errors = wrong[rising.index(shots)]
            name = f"{self.name}_{shots}shot_error"
            found.append(Measured(name, float(np.mean(errors)), n))
            found += [
                Measured(f"{name}_subset{i}", float(error), n) for i, error in enumerate(errors)
            ]
        return found


def draw(
    labels: NDArray[np.int32], shots: int, classes: int, subset: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of `shots` images of each class as `subset` decides, and the turn of each, rising.

    One generator permutes the classes one after another. Turn t holds the image number t of every
    class, so that the turns below k are the draw of k shots. A class with too few images gives all
    it has.
    """
    generator = np.random.default_rng(subset)
    chosen = [
        generator.permutation(np.flatnonzero(labels == label))[:shots] for label in range(classes)
    ]
    turn = np.concatenate([np.arange(len(each)) for each in chosen])
    order = np.argsort(turn, kind="stable")
    return np.concatenate(chosen)[order], turn[order]
