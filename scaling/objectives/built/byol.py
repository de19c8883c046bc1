"""Online and target network, and BYOL's loss."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from models.build import build
from models.layers import at_least_float32
from models.noise import Noise
from models.precision import Precision
from models.shapes import Shape
from scaling.data.loader import Batch
from scaling.objectives.built.on_backbone import LossAndMore, OnBackbone
from scaling.objectives.built.projection import MLP, normalised
from scaling.objectives.byol import BYOL

FOLLOWING = ("backbone", "projector")
"""Parts of the online network that the target has too."""


class Online(nnx.Module):
    """A backbone under a projector, under a predictor."""

    def __init__(self, backbone: nnx.Module, projector: MLP, predictor: MLP):
        self.backbone = backbone
        self.projector = projector
        self.predictor = predictor


class BYOLObjective(OnBackbone):
    """`BYOL` for one shape. The state is the target network and the number of steps done.

    The target that a step uses is the average after the previous update: it is brought up to date
    at the beginning of the step, from the parameters as they are then. The average needs them all
    at once, so there is no fused step.
    """

    def __init__(self, config: BYOL, model: Shape, precision: Precision):
        self._config, self._model = config, model
        super().__init__(precision)

    def network(self, rngs: nnx.Rngs) -> Online:
        config, features = self._config, self._model.features
        hidden, norm = config.hidden_of(self._model), config.norm
        backbone = build(self._model, self._precision, rngs=rngs)
        size = config.projection
        projector = MLP(features, hidden, size, norm=norm, apart=2, rngs=rngs)
        predictor = MLP(size, hidden, size, norm=norm, apart=2, rngs=rngs)
        return Online(backbone, projector, predictor)

    def beside(self, key: jax.Array, params: Any) -> tuple[Any, Any]:
        """The target begins as a copy."""
        del key
        target = jax.tree.map(jnp.copy, {name: params[name] for name in FOLLOWING})
        return {}, {"target": target, "steps": jnp.zeros((), jnp.int32)}

    def loss(self, params: Any, frozen: Any, state: Any, batch: Batch, noise: Noise) -> LossAndMore:
        return super().loss(params, frozen, self.followed(params, state), batch, noise)

    def parts(self) -> None:
        return None

    def followed(self, params: Any, state: Any) -> Any:
        """The state with the average of these parameters, which gets no gradient from them."""
        config, done = self._config, state["steps"]
        keep = momentum(done - 1, config.momentum, config.rises_over)
        keep = jnp.where(done == 0, 1.0, keep)  # nothing has been updated yet
        online = jax.lax.stop_gradient({name: params[name] for name in FOLLOWING})
        target = jax.tree.map(lambda a, p: a + (1 - keep) * (p - a), state["target"], online)
        return {"target": target, "steps": done + 1}

    def of_features(
        self, module: Any, features: Any, frozen: Any, state: Any, batch: Batch, noise: Noise
    ) -> LossAndMore:
        """Args: `state` is that of this step, `followed`."""
        del frozen
        predicted = module.predictor(module.projector(features))
        target = self.around(state["target"])
        projected = target.projector(target.backbone(self.images(batch, noise)))
        loss = regression(predicted, jax.lax.stop_gradient(projected))
        return loss, (state, {"loss": loss})


def regression(
    predicted: Float[Array, "n size"], projected: Float[Array, "n size"]
) -> Float[Array, ""]:
    """Mean over both directions and all images of 2 - 2 cos, in 0 .. 4.

    Args:
      predicted: of the first views of all images, then of their second views; n is even.
      projected: the targets of the same views; each view predicts that of the other.
    """
    others = jnp.roll(projected, len(projected) // 2, axis=0)
    one, other = (normalised(x.astype(at_least_float32(x))) for x in (predicted, others))
    return (2 - 2 * (one * other).sum(-1)).mean()


def momentum(
    update: Int[Array, ""] | int, start: float, rises_over: int | None
) -> Float[Array, ""]:
    """Share that update number `update`, counted from 0, keeps of the average.

    1 - (1 - start) (cos(pi update / rises_over) + 1) / 2, and 1 from `rises_over` on; None: always
    `start`. Grill et al. 2020, section 3.2.
    """
    if rises_over is None:
        return jnp.float32(start)
    part = jnp.clip(jnp.float32(update) / rises_over, 0, 1)
    return 1 - (1 - start) * (jnp.cos(math.pi * part) + 1) / 2
