"""What evaluations of a network that reads text have in common: vectors of images and of texts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling.base.config import Config
from scaling.base.console import note
from scaling.data import Source
from scaling.data.labels import Labels
from scaling.evaluate.frozen.own_head import HeadFault
from scaling.evaluate.frozen.tasks import NAME
from scaling.training.run import RunData

if TYPE_CHECKING:
    from flax import nnx

    from scaling.data.source import Images
    from scaling.training.placement import Placement


class Seen(NamedTuple):
    """Images as the network sees them.

    Fields:
      images: the set they are of.
      chosen: their numbers, [n].
      vectors: of length 1, [n, size].
      labels: [n], or [n, most].
    """

    images: Images
    chosen: NDArray[np.int64]
    vectors: NDArray[np.float32]
    labels: Labels


class ReadsText(Config, ABC):
    """Base of the evaluations that compare images with texts; they need an objective that trains a
    text tower, as `clip`, `siglip` and `lit` do."""

    name: str = NAME
    """Names the metrics, each of which begins with it."""
    data: Source | None = None
    """Whose held-out images; left out, those of `[data]`."""
    images: int | None = Field(None, gt=0)
    """How many of them, always the same and of all classes; left out: all."""

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
        return self.data or trained_on

    @abstractmethod
    def faults(
        self, source: RunData, classes: int, names: Sequence[str] | None = None
    ) -> Iterator[HeadFault]:
        """Why it cannot be measured on a source that is there.

        Args:
          classes, names: that the network was trained with; texts name their own.
        """

    def seen(self, module: nnx.Module, source: RunData, placement: Placement | None) -> Seen:
        """The images to measure on.

        Args:
          source: what the network was trained on.
        """
        from scaling.data.source import sample
        from scaling.evaluate.frozen.forward import image_vectors

        shown = self.source(source)
        assert shown is not None
        heldout = shown.heldout()
        count = self.images or heldout.size
        assert count is not None  # held-out images come to an end
        chosen = sample(heldout, count)
        return Seen(heldout, chosen, *image_vectors(module, heldout, chosen, placement))

    def read(
        self,
        module: nnx.Module,
        objective: Any,
        source: RunData,
        texts: Sequence[str],
        placement: Placement | None,
    ) -> NDArray[np.float32]:
        """Vectors of texts, of length 1, [n, size]. Texts longer than the tower are cut, and
        counted.

        Args:
          objective: the network's, which has a `tokenizer` for what it was trained on, `source`.
        """
        from scaling.evaluate.frozen.forward import text_vectors

        tokenizer, most = objective.tokenizer(source), objective.text_length
        if cut := sum(length > most for length in tokenizer.lengths(texts)):
            note(f"{self.name}: {cut:_} of {len(texts):_} texts have more than {most} tokens: cut.")
        return text_vectors(module, tokenizer.encode_cut(texts), placement)
