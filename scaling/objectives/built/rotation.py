"""A backbone under a head that tells by how many right angles an image is turned."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float

from models.build import build
from models.heads import LinearHead
from models.noise import Noise
from models.precision import Precision
from models.shapes import Shape
from scaling.data.loader import Batch
from scaling.objectives.built.on_backbone import LossAndMore, OnBackbone
from scaling.objectives.rotation import TURNS


class Tasked(nnx.Module):
    """A backbone under the head of a pretext task."""

    def __init__(self, backbone: nnx.Module, task: nnx.Module):
        self.backbone = backbone
        self.task = task


class RotationObjective(OnBackbone):
    """`Rotation` for one shape: everything is trained, nothing is frozen, there is no state."""

    classifiers = ("task",)

    def __init__(self, model: Shape, precision: Precision):
        self._model = model
        super().__init__(precision)

    def network(self, rngs: nnx.Rngs) -> Tasked:
        backbone = build(self._model, self._precision, rngs=rngs)
        return Tasked(backbone, LinearHead(self._model.features, TURNS, bias=0.0, rngs=rngs))

    def images(self, batch: Batch, noise: Noise) -> Float[Array, "n h w 3"]:
        return turned(super().images(batch, noise))

    def of_features(
        self, module: Any, features: Any, frozen: Any, state: Any, batch: Batch, noise: Noise
    ) -> LossAndMore:
        del frozen, batch, noise
        loss = turn_losses(module.task(features)).mean()
        return loss, (state, {"loss": loss})


def turned(images: Float[Array, "n h w 3"]) -> Float[Array, "4*n h w 3"]:
    """Each image turned by 0, 90, 180 and 270 degrees counter-clockwise, one after another: row
    4 * i + k is image i turned k times, so that devices keep their own images."""
    turns = jnp.stack([jnp.rot90(images, k, axes=(1, 2)) for k in range(TURNS)], axis=1)
    return turns.reshape(-1, *images.shape[1:])


def turn_losses(logits: Float[Array, "4*n turns"]) -> Float[Array, " 4*n"]:
    """Cross-entropy in nats of each of the images that `turned` gives."""
    labels = jnp.arange(len(logits)) % TURNS
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
