"""What evaluations on a labelled task of their own have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling.base.config import Config
from scaling.data import Source
from scaling.training.run import RunData

if TYPE_CHECKING:
    from flax import nnx

    from scaling.training.placement import Placement

SHOWN = 5  # classes without an image that are named
NAME: Any = Field(
    pattern=r"^[a-z][a-z0-9_]*$",
    json_schema_extra={"in_words": "a name of small letters, digits and _"},
)


class Features(NamedTuple):
    """What a frozen network makes of images.

    Fields:
      rows: features, [n, width].
      labels: [n].
    """

    rows: NDArray[np.float32]
    labels: NDArray[np.int32]


class FrozenTask(Config, ABC):
    """Base of the evaluations that learn to classify from frozen features of a task's training
    images, and measure the top-1 error on its held-out ones."""

    name: str = NAME
    """Names the metrics, each of which begins with it."""
    data: Source
    """The transfer task."""

    @property
    @abstractmethod
    def metrics(self) -> tuple[str, ...]:
        """Names of the numbers measured."""

    @property
    @abstractmethod
    def errors(self) -> tuple[str, ...]:
        """Those of `metrics` that are error rates."""

    def source(self, trained_on: RunData | None) -> RunData:
        """Whose images are looked at."""
        del trained_on
        return self.data

    def too_small(self, images: int) -> str | None:
        """Why a task of so many training images cannot be measured; None: it can."""
        del images
        return None

    def unsuited(self) -> str | None:
        """Why the labels of the training images, all of which it may read, do not suit this, in
        words; None: they do, as far as they matter."""
        return None

    def test_features(self, module: nnx.Module, placement: Placement | None) -> Features:
        """Features of all held-out images."""
        from scaling.evaluate.forward import features

        images = self.data.heldout()
        assert images.size is not None  # held-out images come to an end
        return Features(*features(module, images, np.arange(images.size), placement))

    def train_features(
        self, module: nnx.Module, placement: Placement | None, *, all_classes: bool = False
    ) -> Features:
        """Features of all training images, whose labels are looked at.

        Raises:
          ValueError: as `checked_labels` says.
        """
        from scaling.evaluate.forward import features

        images = self.data.train()
        assert images.size is not None  # the study file refuses an endless task
        found = Features(*features(module, images, np.arange(images.size), placement))
        what = f"{self.name}, train"
        checked_labels(what, found.labels, self.data.classes, all_of_them=all_classes)
        return found


def checked_labels(
    what: str, labels: NDArray[np.int32], classes: int, *, all_of_them: bool = False
) -> None:
    """Raise ValueError where `wrong_labels` finds something."""
    if said := wrong_labels(labels, classes, all_of_them=all_of_them):
        raise ValueError(f"{what}: {said}")


def wrong_labels(
    labels: NDArray[np.int32],
    classes: int,
    *,
    all_of_them: bool = False,
    names: Sequence[str] | None = None,
) -> str | None:
    """Says where images have several labels, there is no image, a label is none of the classes, or,
    if all of them are needed, a class has no image; None: nowhere.

    Args:
      names: of the classes, in the order of their numbers; None: they have none.
    """
    if labels.ndim > 1:
        return "its images have several labels each, and this evaluation needs one."
    if not len(labels):
        return "there are no images."
    if labels.min() < 0 or labels.max() >= classes:
        wrong = int(np.flatnonzero((labels < 0) | (labels >= classes))[0])
        return (
            f"image {wrong} has the label {labels[wrong]}, and there are {classes} classes, 0 to "
            f"{classes - 1}."
        )
    if all_of_them and (said := absent_classes(labels, classes, names)):
        return (
            f"{said}, and every class needs one here; take a set that has some of each, or measure "
            "by fewshot or knn, which do without."
        )
    return None


def absent_classes(
    labels: NDArray[np.int32], classes: int, names: Sequence[str] | None = None
) -> str | None:
    """Says which classes no image has the label of; None: each has an image."""
    absent = np.flatnonzero(np.bincount(labels, minlength=classes) == 0)
    if not len(absent):
        return None
    shown = ", ".join(str(i) if names is None else repr(names[i]) for i in absent[:SHOWN])
    more = ", .." if len(absent) > SHOWN else ""
    have = "has" if len(absent) == 1 else "have"
    return f"{len(absent):_} of {classes:_} classes {have} no training image ({shown}{more})"
