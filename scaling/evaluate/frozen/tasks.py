"""What evaluations on a labelled task of their own have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling.base.config import Config
from scaling.data import Source
from scaling.evaluate.frozen.passes import Passes, Rows
from scaling.evaluate.measured import Measured
from scaling.training.run import RunData

if TYPE_CHECKING:
    from flax import nnx

    from scaling.training.placement import Placement

SHOWN = 5  # classes without an image that are named
NAME: Any = Field(
    pattern=r"^[a-z][a-z0-9_]*$",
    json_schema_extra={"in_words": "a name of small letters, digits and _"},
)


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

    @abstractmethod
    def of_features(self, passes: Passes) -> list[Measured]:
        """Each metric over all test images, n = their number."""

    def measure(
        self,
        module: nnx.Module,
        *,
        objective: Any,
        source: Any,
        placement: Placement | None = None,
    ) -> list[Measured]:
        """As `of_features`, of a network that nothing else asks; objective and source are not
        used."""
        del objective, source
        return self.of_features(Passes(module, placement))

    def train_features(self, passes: Passes, *, all_classes: bool = False) -> Rows:
        """Features of all training images, whose labels are looked at.

        Raises:
          ValueError: as `checked_labels` says.
        """
        found = passes.features(self.data, "train")
        what = f"{self.name}, train"
        checked_labels(what, found.labels, self.data.classes, all_of_them=all_classes)
        return found


@lru_cache(maxsize=16)  # a process measures several networks, and some labels are slow to read
def train_labels(source: Source) -> NDArray[np.int32]:
    """Labels of all training images of a finite source, read once; nobody may change them."""
    pool = source.train()
    assert pool.size is not None  # the study file refuses an endless task
    found = np.asarray(pool.labels_of(np.arange(pool.size)))
    found.setflags(write=False)
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
