"""Exemplar: views of one image are to lie nearer to each other than to those of any other image.

Needs no labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from models.cost import forward_macs
from scaling.objectives.config import ObjectiveConfig, Pass, Setting

if TYPE_CHECKING:
    from models.precision import Precision
    from models.shapes import Shape
    from scaling.objectives.built.exemplar import ExemplarObjective


class Exemplar(ObjectiveConfig):
    """The semi-hard triplet loss, where every image is a class of its own, of several views.

    Views pass backbone and a linear projection and are scaled to length 1. For every two views of
    an image, the negative is the nearest view of another image that lies farther than the second
    from the first, or the farthest of all where none does: max(0, margin + d(first, second) -
    d(first, negative)), d the squared distance, the mean over all pairs. Over the whole batch,
    whatever devices it is on. Dosovitskiy et al. 2014, "Discriminative unsupervised feature
    learning with exemplar convolutional neural networks", with the loss of Schroff et al. 2015,
    "FaceNet", section 3.2.
    """

    kind: Literal["exemplar"] = "exemplar"
    copies: int = Field(default=4, ge=2, le=16)
    """Differently augmented views of each image; a batch has as many times its images."""
    margin: float = Field(default=0.5, gt=0, le=4)
    """By how much farther the negative should be."""
    projection: int = Field(default=128, gt=0, le=10**6)
    """Outputs of the projection."""

    @property
    def views(self) -> int:
        return self.copies

    @property
    def couples_examples(self) -> bool:
        return True

    def problems(self, setting: Setting) -> Iterator[str]:
        yield from exemplar_problems(self.kind, setting)

    def build(self, model: Shape, classes: int, precision: Precision) -> ExemplarObjective:
        from scaling.objectives.built.exemplar import ExemplarObjective

        del classes
        return ExemplarObjective(self, model, precision)

    def passes(self, model: Shape, classes: int) -> tuple[Pass, ...]:
        """All views through backbone and projection; distances are not counted."""
        del classes
        macs = forward_macs(model) + model.features * self.projection
        return (Pass(macs, examples=self.copies, shape=model),)


def exemplar_problems(kind: str, setting: Setting) -> Iterator[str]:
    """Why a run cannot have such a loss."""
    if setting.batch < 2:
        yield f"{kind} tells images of a batch apart, and a batch of 1 has no others; use 2."
    if "mixup" in setting.augment:
        yield f"{kind} tells images apart, which mixup blends; leave mixup out of augment."
