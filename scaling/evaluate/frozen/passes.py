"""What one network makes of images, each of which passes through it once, whoever asks.

Several evaluations look at the same images: few-shot, nearest neighbours and a linear probe at the
held-out ones of a task, two lists of metrics at those of [data]. What was found is kept between
them, at most `KEPT` bytes of it; beyond, what was used the longest ago is made again when it is
asked for. Knows no JAX until images pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scaling.base.console import note
from scaling.data.labels import Labels
from scaling.training.run import RunData

if TYPE_CHECKING:
    from flax import nnx

    from scaling.data.source import Images
    from scaling.training.placement import Placement

KEPT = 4 << 30  # bytes between evaluations: the features of 1.4e6 images, 768 wide, in float32

Split: TypeAlias = Literal["train", "heldout"]
Numbers: TypeAlias = NDArray[np.int64]
Pass: TypeAlias = Callable[["Images", Numbers], tuple[NDArray[np.float32], Labels]]
Key: TypeAlias = tuple[str, RunData, Split]


class Rows(NamedTuple):
    """What a network makes of images.

    Fields:
      rows: features or scores, [n, width].
      labels: [n], or [n, most].
    """

    rows: NDArray[np.float32]
    labels: Labels


class Known(NamedTuple):
    """The same of the images of these numbers, which rise, of one set.

    Fields:
      size: of the set; None: there is no end to it, or nobody has asked for all.
    """

    numbers: Numbers
    found: Rows
    size: int | None

    @property
    def bytes(self) -> int:
        return self.numbers.nbytes + self.found.rows.nbytes + self.found.labels.nbytes


class Passes:
    """One trained network, and what is known of its features and scores."""

    def __init__(
        self,
        module: nnx.Module,
        placement: Placement | None = None,
        objective: Any = None,
        *,
        kept: int = KEPT,
    ):
        """
        Args:
          placement: where images lie; None: on all devices.
          objective: which its head was trained with; None: it has none, or scores are not asked.
          kept: bytes, at most, that stay between evaluations.
        """
        self.module, self.placement, self.objective = module, placement, objective
        self._limit = kept
        self._known: dict[Key, Known] = {}
        """That used last is the last."""

    def features(self, source: RunData, split: Split, numbers: Numbers | None = None) -> Rows:
        """What the backbone makes of images of a finite set.

        Args:
          numbers: of the images; None: all.
        """

        def made(images: Images, absent: Numbers) -> tuple[NDArray[np.float32], Labels]:
            from scaling.evaluate.frozen import forward

            return forward.features(self.module, images, absent, self.placement)

        return self._of("features", made, source, split, numbers)

    def scores(self, source: RunData, split: Split, numbers: Numbers) -> Rows:
        """What the head says of images."""

        def made(images: Images, absent: Numbers) -> tuple[NDArray[np.float32], Labels]:
            from scaling.evaluate.frozen import forward

            return forward.scores(self.module, self.objective, images, absent, self.placement)

        return self._of("scores", made, source, split, numbers)

    def _of(
        self, what: str, made: Pass, source: RunData, split: Split, numbers: Numbers | None
    ) -> Rows:
        key = what, source, split
        known = self._known.get(key)
        images, size = None, None if known is None else known.size
        if numbers is None:
            if size is None:
                images = _opened(source, split)
                size = images.size
            assert size is not None  # the study file refuses an endless task
            numbers = np.arange(size)
        wanted = np.unique(numbers)
        absent = wanted if known is None else np.setdiff1d(wanted, known.numbers, True)
        if known is None or len(absent):
            found = Rows(*made(images or _opened(source, split), absent))
            known = _merged(known, Known(absent, found, size))
        self._keep(key, known)
        if np.array_equal(numbers, known.numbers):
            return known.found
        at = np.searchsorted(known.numbers, numbers)
        return Rows(known.found.rows[at], known.found.labels[at])

    def _keep(self, key: Key, known: Known) -> None:
        """As long as memory allows: this before all others."""
        self._known.pop(key, None)
        if known.bytes > self._limit:
            note(
                f"{key[0]} of {len(known.numbers):_} images take {known.bytes / 2**30:.3g} GiB, "
                f"and {self._limit / 2**30:.3g} GiB are kept between evaluations: another that "
                "looks at them makes them again."
            )
            return
        while self._known and known.bytes + self._bytes > self._limit:
            del self._known[next(iter(self._known))]
        self._known[key] = known

    @property
    def _bytes(self) -> int:
        return sum(each.bytes for each in self._known.values())


def _opened(source: RunData, split: Split) -> Images:
    return source.train() if split == "train" else source.heldout()


def _merged(old: Known | None, new: Known) -> Known:
    if old is None:
        return new
    numbers = np.concatenate([old.numbers, new.numbers])
    order = np.argsort(numbers)
    rows, labels = (np.concatenate(pair)[order] for pair in zip(old.found, new.found, strict=True))
    return Known(numbers[order], Rows(rows, labels), new.size or old.size)
