"""A loss of what a backbone makes of images: what such objectives have in common.

A subclass says which network stands on the backbone, which images go in, and what the loss is of
the features that come out. The fused step follows from that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.noise import Noise
from models.precision import Precision
from models.stack import to_compute_dtype
from scaling.data.loader import Batch
from scaling.data.pixels.floats import to_floats
from scaling.objectives.protocol import Group, Learned, Parts, groups_of

GROUPS: tuple[Group, Group] = ("body", "head")
BELOW = ("embedding", "position", "token")
"""Parts of a backbone that lie below its blocks."""
LossAndMore: TypeAlias = tuple[Any, tuple[Any, dict[str, Any]]]
"""A loss, then the new state and metrics."""


class OnBackbone(ABC):
    """An objective whose images pass through one trained backbone, all at once."""

    classifiers: tuple[str, ...] = ()
    """Parts of the network, beside the backbone, whose kernels have the weight decay of a head."""

    def __init__(self, precision: Precision):
        """
        Args:
          precision: how the blocks are computed.
        """
        self._precision = precision
        self._graph, self._shapes = nnx.split(
            nnx.eval_shape(lambda: self.network(nnx.Rngs(jax.random.key(0))))
        )

    @abstractmethod
    def network(self, rngs: nnx.Rngs) -> nnx.Module:
        """All that is trained: a module with a `.backbone`, and whatever stands on it."""

    def images(self, batch: Batch, noise: Noise) -> Float[Array, "n h w 3"]:
        """What the backbone is shown, in -1 .. 1: all views, one after another.

        Args:
          noise: the step's; fold a number of the objective's own into its key.
        """
        del noise
        pixels = batch["image"]
        return to_floats(pixels.reshape(-1, *pixels.shape[-3:]))

    @abstractmethod
    def of_features(
        self,
        module: Any,
        features: Float[Array, "n features"],
        frozen: Any,
        state: Any,
        batch: Batch,
        noise: Noise,
    ) -> LossAndMore:
        """The loss, given what the backbone makes of `images`.

        Args:
          module: the network; its backbone is not to be used, and may lack its blocks.
        """

    def beside(self, key: jax.Array, params: Any) -> tuple[Any, Any]:
        """What is frozen, and the first state; neither shares an array with `params`."""
        del key, params
        return {}, {}

    def init(self, key: jax.Array, backbone: Any = None, frozen: Any = None) -> Learned:
        """The network as it is drawn, on the backbone that is given."""
        params = nnx.to_pure_dict(nnx.split(self.network(nnx.Rngs(key)))[1])
        if backbone is not None:
            params["backbone"] = backbone
        drawn, state = self.beside(key, params)
        return Learned(params, drawn if frozen is None else frozen, state)

    def loss(self, params: Any, frozen: Any, state: Any, batch: Batch, noise: Noise) -> LossAndMore:
        """As the protocol says."""
        module = self.around(params)
        features = module.backbone(self.images(batch, noise), random(noise))
        return self.of_features(module, features, frozen, state, batch, noise)

    def parts(self) -> Parts | None:
        """Embedding, blocks, and pool with heads and loss; a BiT has no such stack."""
        if "blocks" not in self._shapes["backbone"]:
            return None

        def below(bottom: Any, batch: Batch, noise: Noise) -> Any:
            x = self.around(bottom).backbone.tokens(self.images(batch, noise), random(noise))
            return to_compute_dtype(x, self._precision)

        def block(layer: Any, x: Any, number: Any, noise: Noise) -> Any:
            return self.around({}).backbone.block(layer, x, number, random(noise))

        def above(top: Any, frozen: Any, state: Any, x: Any, batch: Batch, noise: Noise) -> Any:
            module = self.around(top)
            features = module.backbone.summary(x.astype(jnp.float32))
            return self.of_features(module, features, frozen, state, batch, noise)

        depth = jax.tree.leaves(self._shapes["backbone"]["blocks"])[0].shape[0]
        return Parts(depth, BELOW, below, block, above)

    def module(self, learned: Learned) -> Any:
        """The network around these parameters."""
        return self.around(learned.params)

    def around(self, params: Any) -> Any:
        """The network around parameters; what they lack is abstract."""
        shapes = jax.tree.map(lambda x: x, self._shapes)  # replaced in place below
        nnx.replace_by_pure_dict(shapes, params)
        return nnx.merge(self._graph, shapes)

    def parameter_groups(self, params: Any) -> Any:
        """The kernels of `classifiers` are the head, every other kernel the body."""
        del params  # the network's own variables say what they are
        body, head = (groups_of(self._shapes, kernels) for kernels in GROUPS)
        return {name: (head if name in self.classifiers else body)[name] for name in body}


def random(noise: Noise) -> Noise | None:
    """None where nothing in a network is random."""
    return noise if noise.dropout or noise.stochastic_depth else None
