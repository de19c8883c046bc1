"""What evaluations of a network's own head have in common: no features, no training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

from pydantic import Field

from scaling.base.config import Config
from scaling.training.run import RunData


class HeadFault(NamedTuple):
    """Why a head cannot be measured on some images: the keys to blame, and what is wrong."""

    keys: tuple[str, ...]
    words: str


class OwnHead(Config, ABC):
    """Base of the evaluations that ask what the network's own classifier says."""

    images: int | None = Field(None, gt=0)
    """How many held-out images, always the same and of all classes; left out: all of them."""

    @property
    @abstractmethod
    def metrics(self) -> tuple[str, ...]:
        """Names of the numbers measured."""

    @property
    @abstractmethod
    def errors(self) -> tuple[str, ...]:
        """Those of `metrics` that are error rates."""

    def source(self, trained_on: RunData | None) -> RunData | None:
        """Whose held-out images are measured on; None: nobody says."""
        return trained_on

    def faults(self, source: RunData, classes: int) -> Iterator[HeadFault]:
        """What keeps a head of so many classes from being measured on a source that is there."""
        if source.classes != classes:
            yield HeadFault(
                (),
                f"the classifier knows {classes:_} classes, and the images are of "
                f"{source.classes:_}; take images of the same classes.",
            )
