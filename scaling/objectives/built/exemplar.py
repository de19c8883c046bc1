"""A backbone under a projection, and the semi-hard triplet loss."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.build import build
from models.layers import Linear, at_least_float32
from models.noise import Noise
from models.precision import Precision
from models.shapes import Shape
from scaling.data.loader import Batch
from scaling.objectives.built.on_backbone import LossAndMore, OnBackbone
from scaling.objectives.built.projection import normalised
from scaling.objectives.built.rotation import Tasked
from scaling.objectives.exemplar import Exemplar


class ExemplarObjective(OnBackbone):
    """`Exemplar` for one shape: everything is trained, nothing is frozen, there is no state."""

    def __init__(self, config: Exemplar, model: Shape, precision: Precision):
        self._config, self._model = config, model
        super().__init__(precision)

    def network(self, rngs: nnx.Rngs) -> Tasked:
        backbone = build(self._model, self._precision, rngs=rngs)
        size = self._config.projection
        return Tasked(backbone, Linear(self._model.features, size, bias_std=0.0, rngs=rngs))

    def of_features(
        self, module: Any, features: Any, frozen: Any, state: Any, batch: Batch, noise: Noise
    ) -> LossAndMore:
        del frozen, batch, noise
        loss = semi_hard(module.task(features), self._config.copies, self._config.margin)
        return loss, (state, {"loss": loss})


def semi_hard(outputs: Float[Array, "n size"], views: int, margin: float) -> Float[Array, ""]:
    """The mean semi-hard triplet loss over all ordered pairs of views of an image.

    Args:
      outputs: of the first views of all images, then of their second views, and so on. The sums go
        over all of them: split over devices, they are brought together.
      views: of each image.
    """
    count = len(outputs)
    images = count // views
    unit = normalised(outputs.astype(at_least_float32(outputs)))
    distance = 2 - 2 * unit @ unit.T
    image = jnp.arange(count) % images
    others = image[:, None] != image[None, :]
    farthest = jnp.where(others, distance, -jnp.inf).max(1)

    def of_pair(by: int) -> Any:
        """Of each view and the one `by` views after it."""
        second = (jnp.arange(count) + by * images) % count
        positive = jnp.take_along_axis(distance, second[:, None], 1)[:, 0]
        beyond = others & (distance > positive[:, None])
        nearest = jnp.where(beyond, distance, jnp.inf).min(1)
        negative = jnp.where(beyond.any(1), nearest, farthest)
        return jax.nn.relu(margin + positive - negative)

    return jnp.stack([of_pair(by) for by in range(1, views)]).mean()
