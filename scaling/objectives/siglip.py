"""SigLIP: of every image and every caption of the batch, whether they belong together."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from models.shapes import Shape
from scaling.objectives.image_text import ImageText, Loss


class SigLip(ImageText):
    """A logistic loss a pair of image and caption, with a learned temperature and bias.

    Image and text tower, each under a linear layer to `width` features of length 1. The logit of a
    pair is its cosine times exp(t) plus b, with t and b learned from log 10 and -10 on; losses are
    summed over all pairs of the batch and divided by its images. Captions are compared some at a
    time, so that no device holds all pairs. Zhai et al. 2023, "Sigmoid loss for language image
    pre-training", section 3.2; where t and b begin as remembered from it.
    """

    kind: Literal["siglip"] = "siglip"
    width: int | None = Field(default=None, gt=0, le=10**6)
    """Features of the vectors that are compared; left out: as many as the image tower's."""

    @property
    def compared_by(self) -> Loss:
        return "sigmoid"

    def embedding(self, model: Shape) -> int:
        return self.width or model.features
