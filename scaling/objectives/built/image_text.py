"""An image tower and a text tower, each a vector of length 1 to be compared."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from models.build import build
from models.layers import Linear
from models.noise import Noise, at
from models.precision import Precision
from models.shapes import Shape
from models.text import Text
from scaling.data.loader import Batch
from scaling.objectives.built.contrastive import at_most, info_nce, pairwise_sigmoid
from scaling.objectives.built.on_backbone import LossAndMore, OnBackbone, random
from scaling.objectives.built.projection import normalised
from scaling.objectives.image_text import ImageText
from scaling.objectives.protocol import Learned, Parts

TEXT = 2**20  # sets the text tower's random numbers apart from those of the image tower's layers
MOST = math.log(100)  # of the logarithm of what cosines are multiplied by
START = {"softmax": math.log(1 / 0.07), "sigmoid": math.log(10)}
BIAS = -10.0  # of a sigmoid's logits, at the start


class TwoTowers(nnx.Module):
    """A backbone and a text tower, what stands on them, and how their products become logits."""

    def __init__(self, config: ImageText, model: Shape, precision: Precision, *, rngs: nnx.Rngs):
        size, text = config.embedding(model), config.text_shape(model)
        self.backbone = build(model, precision, rngs=rngs)
        self.image_head = (
            Linear(model.features, size, bias_std=0.0, rngs=rngs)
            if config.projects_images
            else None
        )
        self.text = Text(text, precision, rngs=rngs)
        self.text_head = Linear(text.features, size, bias_std=0.0, rngs=rngs)
        self.log_scale = nnx.Param(jnp.full((), START[config.compared_by]))
        self.bias = nnx.Param(jnp.full((), BIAS)) if config.compared_by == "sigmoid" else None

    def of_features(self, features: Float[Array, "n features"]) -> Float[Array, "n size"]:
        """Vectors of length 1, given what the backbone makes of images."""
        return normalised(features if self.image_head is None else self.image_head(features))

    def of_texts(
        self, tokens: Int[Array, "n length"], noise: Noise | None = None
    ) -> Float[Array, "n size"]:
        """Vectors of length 1, given texts' tokens."""
        return normalised(self.text_head(self.text(tokens, noise)))


class ImageTextObjective(OnBackbone):
    """An `ImageText` for one shape: both towers are trained, nothing is frozen, there is no
    state."""

    def __init__(self, config: ImageText, model: Shape, precision: Precision):
        self._config, self._model = config, model
        super().__init__(precision)

    def network(self, rngs: nnx.Rngs) -> TwoTowers:
        return TwoTowers(self._config, self._model, self._precision, rngs=rngs)

    def of_features(
        self, module: Any, features: Any, frozen: Any, state: Any, batch: Batch, noise: Noise
    ) -> LossAndMore:
        del frozen
        images = module.of_features(features)
        texts = module.of_texts(batch["text"], at(random(noise), TEXT))
        if self._config.compared_by == "sigmoid":
            scale = jnp.exp(module.log_scale[...])
            loss = pairwise_sigmoid(images, texts, scale, module.bias[...])
        else:
            loss = info_nce(images, texts, jnp.exp(at_most(module.log_scale[...], MOST)))
        return loss, (state, {"loss": loss})


class LockedImageText(ImageTextObjective):
    """The same with an image tower that is `frozen`: no gradient, no update, no moments."""

    def init(self, key: jax.Array, backbone: Any = None, frozen: Any = None) -> Learned:
        """The network as it is drawn, with the backbone that is given as its image tower."""
        del frozen  # there is no teacher
        params, _, state = super().init(key, backbone)
        return Learned(params, {"backbone": params.pop("backbone")}, state)

    def loss(self, params: Any, frozen: Any, state: Any, batch: Batch, noise: Noise) -> LossAndMore:
        module = self.around({**params, **frozen})
        features = jax.lax.stop_gradient(module.backbone(self.images(batch, noise)))
        return self.of_features(module, features, frozen, state, batch, noise)

    def parts(self) -> Parts | None:
        """None: no gradient goes through the stack of blocks."""
        return None

    def module(self, learned: Learned) -> Any:
        return self.around({**learned.params, **learned.frozen})

    def parameter_groups(self, params: Any) -> Any:
        groups = super().parameter_groups(params)
        return {name: groups[name] for name in groups if name != "backbone"}
