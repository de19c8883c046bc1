"""Online and target network, and BYOL's loss."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from models.build import build
from models.layers import LayerNorm, Linear, at_least_float32
from models.noise import Noise
from models.precision import Precision
from models.shapes import Shape
from scaling.data.loader import Batch
from scaling.objectives.built.on_backbone import LossAndMore, OnBackbone
from scaling.objectives.built.simclr import normalised
from scaling.objectives.byol import BYOL, Norm

FOLLOWING = ("backbone", "projector")
"""Parts of the online network that the target has too."""


class BatchNorm(nnx.Module):
    """Zero mean and unit variance of each feature over all images of the batch, of each of the two
    views by itself, then `scale` and `bias`.

    There are no running statistics, as nothing but training looks at what lies above a backbone.
    """

    EPSILON = 1e-5

    def __init__(self, width: int):
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width))

    def __call__(self, x: Float[Array, "n width"]) -> Float[Array, "n width"]:
        wide = x.astype(at_least_float32(x)).reshape(2, len(x) // 2, -1)
        centred = wide - wide.mean(1, keepdims=True)
        variance = jnp.square(centred).mean(1, keepdims=True)
        unit = (centred * jax.lax.rsqrt(variance + self.EPSILON)).reshape(x.shape)
        return (unit * self.scale[...] + self.bias[...]).astype(x.dtype)


def norm_of(kind: Norm, width: int) -> BatchNorm | LayerNorm | None:
    """What normalises hidden features."""
    match kind:
        case "batch":
            return BatchNorm(width)
        case "layer":
            return LayerNorm(width)
        case "none":
            return None


class MLP(nnx.Module):
    """Two products, between them a norm, if there is one, and a ReLU."""

    def __init__(self, inputs: int, hidden: int, outputs: int, *, norm: Norm, rngs: nnx.Rngs):
        self.into = Linear(inputs, hidden, bias_std=0.0, rngs=rngs)
        self.norm = norm_of(norm, hidden)
        self.out = Linear(hidden, outputs, bias_std=0.0, rngs=rngs)

    def __call__(self, x: Float[Array, "n inputs"]) -> Float[Array, "n outputs"]:
        x = self.into(x)
        return self.out(jax.nn.relu(x if self.norm is None else self.norm(x)))


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
        projector = MLP(features, hidden, config.projection, norm=norm, rngs=rngs)
        predictor = MLP(config.projection, hidden, config.projection, norm=norm, rngs=rngs)
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
