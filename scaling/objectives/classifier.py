"""A backbone under a linear head, and classification as training sees it."""

from __future__ import annotations

from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float

from models.build import build
from models.heads import LinearHead
from models.noise import Noise
from models.precision import Precision
from models.shapes import Shape
from scaling.data.loader import Batch
from scaling.data.pixels import to_floats
from scaling.objectives.classify import Classify
from scaling.objectives.protocol import Learned, groups_of


class Classifier(nnx.Module):
    """A backbone under a linear head."""

    def __init__(self, backbone: nnx.Module, head: nnx.Module):
        self.backbone = backbone
        self.head = head

    def __call__(
        self, images: Float[Array, "batch h w 3"], noise: Noise | None = None
    ) -> Float[Array, "batch classes"]:
        return self.head(self.backbone(images, noise))


class ClassifierObjective:
    """`Classify` for one shape: everything is trained, nothing is frozen, there is no state."""

    def __init__(self, config: Classify, model: Shape, classes: int, precision: Precision):
        self._config, self._model, self._classes = config, model, classes
        self._precision = precision
        self._graph, self._shapes = nnx.split(nnx.eval_shape(lambda: self._new(jax.random.key(0))))

    def init(self, key: jax.Array, backbone: Any = None) -> Learned:
        """Backbone under a zero-initialised linear head."""
        params = nnx.to_pure_dict(nnx.split(self._new(key))[1])
        if backbone is not None:
            params["backbone"] = backbone
        return Learned(params, {}, {})

    def loss(
        self, params: Any, frozen: Any, state: Any, batch: Batch, noise: Noise
    ) -> tuple[Any, tuple[Any, dict[str, Any]]]:
        """Mean cross-entropy of the batch, nats."""
        module = self.module(Learned(params, frozen, state))
        random = noise if noise.dropout or noise.stochastic_depth else None
        losses, _ = self._config.losses(module, to_floats(batch["image"]), batch["label"], random)
        loss = losses.mean()
        return loss, (state, {"loss": loss})

    def module(self, learned: Learned) -> Classifier:
        """The network around these parameters."""
        shapes = jax.tree.map(lambda x: x, self._shapes)  # replaced in place below
        nnx.replace_by_pure_dict(shapes, learned.params)
        return nnx.merge(self._graph, shapes)

    def parameter_groups(self, params: Any) -> Any:
        """The classifier's kernel is the head, every other kernel the body."""
        del params  # the network's own variables say what they are
        return {
            "backbone": groups_of(self._shapes["backbone"], "body"),
            "head": groups_of(self._shapes["head"], "head"),
        }

    def _new(self, key: jax.Array) -> Classifier:
        rngs = nnx.Rngs(key)
        backbone = build(self._model, self._precision, rngs=rngs)
        bias = self._config.head_bias
        head = LinearHead(self._model.features, self._classes, bias=bias, rngs=rngs)
        return Classifier(backbone, head)
