"""A backbone under a linear head, and classification as training sees it."""

from __future__ import annotations

from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from models.build import build
from models.heads import LinearHead
from models.noise import Noise
from models.precision import Precision
from models.shapes import Shape
from scaling.data.loader import Batch
from scaling.objectives.built.on_backbone import LossAndMore, OnBackbone
from scaling.objectives.classify import Classify


class Classifier(nnx.Module):
    """A backbone under a linear head."""

    def __init__(self, backbone: nnx.Module, head: nnx.Module):
        self.backbone = backbone
        self.head = head

    def __call__(
        self, images: Float[Array, "batch h w 3"], noise: Noise | None = None
    ) -> Float[Array, "batch classes"]:
        return self.head(self.backbone(images, noise))


def classifier(
    model: Shape, classes: int, precision: Precision, rngs: nnx.Rngs, bias: float = 0.0
) -> Classifier:
    """A drawn backbone under a head of zeros, whose biases start at `bias`."""
    backbone = build(model, precision, rngs=rngs)
    return Classifier(backbone, LinearHead(model.features, classes, bias=bias, rngs=rngs))


class ClassifierObjective(OnBackbone):
    """`Classify` for one shape: everything is trained, nothing is frozen, there is no state."""

    classifiers = ("head",)

    def __init__(self, config: Classify, model: Shape, classes: int, precision: Precision):
        self._config = config
        self._new = lambda rngs: classifier(model, classes, precision, rngs, config.head_bias)
        super().__init__(precision)

    def network(self, rngs: nnx.Rngs) -> Classifier:
        """Backbone under a zero-initialised linear head."""
        return self._new(rngs)

    def of_features(
        self, module: Any, features: Any, frozen: Any, state: Any, batch: Batch, noise: Noise
    ) -> LossAndMore:
        """Mean cross-entropy of the batch, nats."""
        del frozen, noise
        loss = self._config.training_losses(module.head(features), batch).mean()
        return loss, (state, {"loss": loss})
