"""A backbone under a linear head, and classification as training sees it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.build import build
from models.heads import LinearHead
from models.noise import Noise
from models.precision import Precision
from models.shapes import Shape
from models.stack import to_compute_dtype
from scaling.data.loader import Batch
from scaling.data.pixels import to_floats
from scaling.objectives.classify import Classify
from scaling.objectives.protocol import Learned, Parts, groups_of


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
        module = self._module(params)
        return self._mean(module(to_floats(batch["image"]), _random(noise)), state, batch)

    def parts(self) -> Parts | None:
        """Embedding, blocks, and pool with head and loss; a BiT has no such stack."""
        if "blocks" not in self._shapes["backbone"]:
            return None

        def below(bottom: Any, batch: Batch, noise: Noise) -> Any:
            x = self._module(bottom).backbone.tokens(to_floats(batch["image"]), _random(noise))
            return to_compute_dtype(x, self._precision)

        def block(layer: Any, x: Any, number: Any, noise: Noise) -> Any:
            return self._module({}).backbone.block(layer, x, number, _random(noise))

        def above(top: Any, frozen: Any, state: Any, x: Any, batch: Batch, noise: Noise) -> Any:
            del frozen, noise
            module = self._module(top)
            logits = module.head(module.backbone.summary(x.astype(jnp.float32)))
            return self._mean(logits, state, batch)

        depth = jax.tree.leaves(self._shapes["backbone"]["blocks"])[0].shape[0]
        bottom = ("embedding", "position", "token")
        return Parts(depth, bottom, below, block, above)

    def module(self, learned: Learned) -> Classifier:
        """The network around these parameters."""
        return self._module(learned.params)

    def _module(self, params: Any) -> Any:
        """A `Classifier` around these parameters; what they lack is abstract."""
        shapes = jax.tree.map(lambda x: x, self._shapes)  # replaced in place below
        nnx.replace_by_pure_dict(shapes, params)
        return nnx.merge(self._graph, shapes)

    def _mean(self, logits: Any, state: Any, batch: Batch) -> Any:
        loss = self._config.training_losses(logits, batch).mean()
        return loss, (state, {"loss": loss})

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


def _random(noise: Noise) -> Noise | None:
    """None where nothing is random."""
    return noise if noise.dropout or noise.stochastic_depth else None
