"""CLIP: an image finds its caption among those of the batch, and the caption its image."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from models.shapes import Shape
from scaling.objectives.image_text import ImageText, Loss


class Clip(ImageText):
    """InfoNCE both ways, with a learned temperature.

    Image and text tower, each under a linear layer to `width` features of length 1; cosines times a
    learned factor, which starts at 1 / 0.07 and is held to at most 100, are the logits of two
    cross-entropies over the whole batch, whatever devices it is on: which caption, and which image.
    The loss is their mean. Radford et al. 2021, "Learning transferable visual models from natural
    language supervision", section 2.3 to 2.5.
    """

    kind: Literal["clip"] = "clip"
    width: int | None = Field(default=None, gt=0, le=10**6)
    """Features of the vectors that are compared; left out: as many as the image tower's."""

    @property
    def compared_by(self) -> Loss:
        return "softmax"

    def embedding(self, model: Shape) -> int:
        return self.width or model.features
