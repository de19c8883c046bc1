"""What evaluations of a network's own head have in common: no features, no training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from pydantic import Field

from scaling.base.config import Config
from scaling.training.run import RunData

SHOWN = 3  # classes that a message names before it counts the rest


class HeadFault(NamedTuple):
    """Why a head cannot be measured on some images: the keys to blame, and what is wrong."""

    keys: tuple[str, ...]
    words: str


class OwnHead(Config, ABC):
    """Base of the evaluations that ask what the network's own classifier says."""

    other_way: ClassVar[str] = ""
    """What a user may do beside taking other images, where those are of other classes."""
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

    def faults(
        self, source: RunData, classes: int, names: Sequence[str] | None = None
    ) -> Iterator[HeadFault]:
        """What keeps a head of so many classes from being measured on a source that is there.

        Args:
          names: of those classes, in the order of their numbers; None: nothing tells them.
        """
        if source.classes != classes:
            yield HeadFault(
                (),
                f"the classifier knows {classes:_} classes, and the images are of "
                f"{source.classes:_}; take images of the same classes{self.other_way}.",
            )
        elif (
            names
            and len(names) == classes
            and (said := other_names(source.classes_told_apart, names))
        ):
            yield HeadFault(
                (),
                "the images are of other classes than those that the classifier was trained on: "
                f"{said}; take images of the same classes, in the same order{self.other_way}.",
            )
        elif not names and (said := numbered_otherwise(source.class_names)):
            yield HeadFault(
                (),
                "the classes of the images are called by numbers and sorted as text, so that "
                f"{said}, and nothing tells the order of the classifier's; give them names that "
                f"sort in its order, as 01 for 1 where that is numerical{self.other_way}.",
            )


def numbered_otherwise(names: Sequence[str] | None) -> str | None:
    """The first class out of place where classes are called by numbers that do not rise, as folders
    0 .. 11 do not, which are sorted as 0, 1, 10, 11, 2, ..; None: they are not."""
    if not names or not all(name.isdecimal() and len(name) < 10 for name in names):
        return None
    rising = sorted(names, key=int)
    places = enumerate(zip(names, rising, strict=True))
    return next((f"class {k} is {own!r}" for k, (own, its) in places if int(own) != int(its)), None)


def other_names(here: Sequence[str] | None, there: Sequence[str]) -> str | None:
    """Which classes of the images are called otherwise than the classifier's; None: none is."""
    pairs = enumerate(zip(here or (), there, strict=False))
    found = [f"class {k} is {own!r} and was {was!r}" for k, (own, was) in pairs if own != was]
    if not found:
        return None
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more
