"""Modules that objectives wrap around a backbone. Every one of them has a `.backbone`."""

from __future__ import annotations

from flax import nnx
from jaxtyping import Array, Float

from models.noise import Noise


class Classifier(nnx.Module):
    """A backbone under a linear head."""

    def __init__(self, backbone: nnx.Module, head: nnx.Module):
        self.backbone = backbone
        self.head = head

    def __call__(
        self, images: Float[Array, "batch h w 3"], noise: Noise | None = None
    ) -> Float[Array, "batch classes"]:
        return self.head(self.backbone(images, noise))
