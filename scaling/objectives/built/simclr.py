"""A backbone under a projection head, and NT-Xent."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float

from models.build import build
from models.layers import at_least_float32
from models.precision import Precision
from models.shapes import Shape
from scaling.objectives.built.on_backbone import LossAndMore, OnBackbone
from scaling.objectives.built.projection import MLP, BatchNorm, normalised
from scaling.objectives.simclr import SimCLR


class Projected(nnx.Module):
    """A backbone under a projection head."""

    def __init__(self, backbone: nnx.Module, projector: MLP):
        self.backbone = backbone
        self.projector = projector


class SimCLRObjective(OnBackbone):
    """`SimCLR` for one shape: everything is trained, nothing is frozen, there is no state."""

    def __init__(self, config: SimCLR, model: Shape, precision: Precision):
        self._config, self._model = config, model
        super().__init__(precision)

    def network(self, rngs: nnx.Rngs) -> Projected:
        config, width = self._config, self._model.features
        backbone = build(self._model, self._precision, rngs=rngs)
        projector = MLP(
            width,
            config.hidden or width,
            config.projection,
            norm=config.norm,
            after=BatchNorm(config.projection, bias=False) if config.norm == "batch" else None,
            rngs=rngs,
        )
        return Projected(backbone, projector)

    def of_features(
        self, module: Any, features: Any, frozen: Any, state: Any, batch: Any, noise: Any
    ) -> LossAndMore:
        del frozen, batch, noise
        loss = nt_xent(module.projector(features), self._config.temperature)
        return loss, (state, {"loss": loss})


def nt_xent(outputs: Float[Array, "n size"], temperature: float) -> Float[Array, ""]:
    """Mean over all outputs of the cross-entropy, in nats, of finding the partner among all others.

    Args:
      outputs: of the first views of all images, then of their second views; n is even. The sums go
        over all of them: split over devices, they are brought together.
      temperature: what cosines are divided by.
    """
    count = len(outputs)
    wide = outputs.astype(at_least_float32(outputs))
    unit = normalised(wide)
    logits = unit @ unit.T / temperature
    logits = jnp.where(jnp.eye(count, dtype=bool), -jnp.inf, logits)
    partners = jnp.roll(jnp.arange(count), count // 2)
    return optax.softmax_cross_entropy_with_integer_labels(logits, partners).mean()
