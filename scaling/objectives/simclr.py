"""SimCLR: two views of an image are to be told from all other images of the batch.

Knows a backbone only as something that turns images into vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from models.cost import forward_macs
from scaling.objectives.config import ObjectiveConfig, Pass, Setting, mlp

if TYPE_CHECKING:
    from models.precision import Precision
    from models.shapes import Shape
    from scaling.objectives.built.simclr import SimCLRObjective


class SimCLR(ObjectiveConfig):
    """NT-Xent, the normalised temperature-scaled cross-entropy, of two views of each image.

    Views pass backbone and projection head, whose outputs are divided by their length. Each view is
    to find the other view of its image among all other 2 * batch - 1 of the whole batch, whatever
    devices these are on. Chen et al. 2020, "A simple framework for contrastive learning of visual
    representations", section 2.1.

    The projection head is that of `model_util.py` in google-research/simclr: two products, a ReLU
    between, and behind each product batch normalisation over both views of all images, the second
    without a bias. It has no running statistics, as evaluations look at the backbone alone.
    """

    kind: Literal["simclr"] = "simclr"
    temperature: float = Field(default=0.1, gt=0, le=100)
    """What cosines of the angles between outputs are divided by."""
    hidden: int | None = Field(default=None, gt=0, le=10**6)
    """Features inside the projection head; left out: as many as the backbone's."""
    projection: int = Field(default=128, gt=0, le=10**6)
    """Outputs of the projection head."""

    norm: Literal["batch", "none"] = "batch"
    """Whether the projection head has batch normalisation. Without it small networks may stay for
    thousands of steps where all outputs are alike."""

    @property
    def views(self) -> int:
        return 2

    @property
    def couples_examples(self) -> bool:
        return True

    def problems(self, setting: Setting) -> Iterator[str]:
        if setting.batch < 2:
            yield "simclr tells images of a batch apart, and a batch of 1 has no others; use 2."
        if "mixup" in setting.augment:
            yield "simclr has no labels to mix; leave mixup out of augment."

    def build(self, model: Shape, classes: int, precision: Precision) -> SimCLRObjective:
        from scaling.objectives.built.simclr import SimCLRObjective

        del classes
        return SimCLRObjective(self, model, precision)

    def passes(self, model: Shape, classes: int) -> tuple[Pass, ...]:
        """Both views through backbone and projection head; the products of outputs with each other
        are not counted."""
        del classes
        hidden = self.hidden or model.features
        head = model.features * hidden + hidden * self.projection
        layers = mlp(model.features, hidden, self.projection, self.norm)
        return (Pass(forward_macs(model) + head, examples=2, shape=model, layers=layers),)
