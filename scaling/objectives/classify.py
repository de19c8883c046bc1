"""Supervised classification: what the scaling study minimised.

Knows a backbone only as something that turns images into vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from models.cost import forward_macs
from scaling.objectives.config import ClassScores, Pass, Setting

if TYPE_CHECKING:
    from jax import Array
    from jaxtyping import Float, Int

    from models.noise import Noise
    from models.precision import Precision
    from models.shapes import Shape
    from scaling.data.loader import Batch
    from scaling.objectives.built.classifier import ClassifierObjective


class Classify(ClassScores):
    """Cross-entropy against an image's labels, on a linear head that starts at zero."""

    kind: Literal["classify"] = "classify"
    loss: Literal["sigmoid", "softmax"] = "sigmoid"
    """`sigmoid`: one independent logistic loss a class, summed over classes (Zhai et al. 2022,
    section 3.3); `softmax`: one multinomial loss an image, where an image of k labels has the
    target 1 / k for each (Mahajan et al. 2018, "Exploring the limits of weakly supervised
    pretraining", as remembered)."""
    head_bias: float = 0.0
    """Initial bias of every class; the paper's 30k-class sigmoid head starts at -10."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share s of each training target that is spread over all K classes: 1 - s + s / K for the
    label and s / K for the others (Szegedy et al. 2016, section 7). `sigmoid` takes the same
    targets, class by class, as timm's `BinaryCrossEntropy` does, 1 - s + s / K for every label of
    an image. What is measured has none."""

    @property
    def needs_labels(self) -> bool:
        """Whether every image must have a label: a softmax has no answer "none of them"."""
        return self.loss == "softmax"

    def problems(self, setting: Setting) -> Iterator[str]:
        if not setting.labelled:
            yield (
                "classify learns from labels, and training images of [data] have none; name "
                "another objective, or leave unlabelled out."
            )

    def build(self, model: Shape, classes: int, precision: Precision) -> ClassifierObjective:
        """What is trained, for networks of this shape; makes no arrays."""
        from scaling.objectives.built.classifier import ClassifierObjective

        return ClassifierObjective(self, model, classes, precision)

    def passes(self, model: Shape, classes: int) -> tuple[Pass, ...]:
        """Backbone and head."""
        return (Pass(forward_macs(model, classes), shape=model),)

    def losses(
        self,
        module: Any,
        images: Float[Array, "batch h w 3"],
        labels: Int[Array, " batch"] | Int[Array, "batch most"],
        noise: Noise | None = None,
    ) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
        """Loss in nats and top-1 error (0 or 1) of each image; `noise` is that of training.

        Of an image with several labels, any is right. One without counts as wrong here, and is
        left out by who measures.
        """
        return self.of_logits(module(images, noise), labels)

    def of_logits(
        self,
        logits: Float[Array, "batch classes"],
        labels: Int[Array, " batch"] | Int[Array, "batch most"],
    ) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
        """As `losses`, of what the head says."""
        import jax
        import jax.numpy as jnp
        import optax

        if labels.ndim == 2:
            guess = jnp.argmax(logits, -1)
            wrong = 1 - (labels == guess[:, None]).any(-1).astype(jnp.float32)
            return self._against(logits, self._targets_of(labels, logits.shape[-1])), wrong
        if self.loss == "softmax":
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        else:
            targets = jax.nn.one_hot(labels, logits.shape[-1])
            loss = optax.sigmoid_binary_cross_entropy(logits, targets).sum(-1)
        wrong = (jnp.argmax(logits, -1) != labels).astype(jnp.float32)
        return loss, wrong

    def training_losses(
        self, logits: Float[Array, "batch classes"], batch: Batch
    ) -> Float[Array, " batch"]:
        """Loss in nats of each image of a batch, against labels that are mixed and smoothed."""
        if not self.label_smoothing and "partner" not in batch:
            return self.of_logits(logits, batch["label"])[0]
        return self._against(logits, self.targets(batch, logits.shape[-1]))

    def _against(
        self, logits: Float[Array, "batch classes"], targets: Float[Array, "batch classes"]
    ) -> Float[Array, " batch"]:
        import optax

        if self.loss == "softmax":
            return optax.softmax_cross_entropy(logits, targets)
        return optax.sigmoid_binary_cross_entropy(logits, targets).sum(-1)

    def targets(self, batch: Batch, classes: int) -> Float[Array, "batch classes"]:
        """What each class's probability is trained towards. Those of an image sum to 1, but for
        `sigmoid` where it has no label, or several."""
        found = self._targets_of(batch["label"], classes)
        if "partner" in batch:
            share = batch["share"][:, None]
            found = share * found + (1 - share) * self._targets_of(batch["partner"], classes)
        return (1 - self.label_smoothing) * found + self.label_smoothing / classes

    def _targets_of(
        self, labels: Int[Array, " batch"] | Int[Array, "batch most"], classes: int
    ) -> Float[Array, "batch classes"]:
        """1 for every label of an image, once; for `softmax` 1 / k where it has k."""
        import jax
        import jax.numpy as jnp

        if labels.ndim == 1:
            return jax.nn.one_hot(labels, classes)
        found = jax.nn.one_hot(labels[:, 0], classes)  # of -1: no class
        for column in range(1, labels.shape[1]):  # one array of all classes, never `most` of them
            found = jnp.maximum(found, jax.nn.one_hot(labels[:, column], classes))
        if self.loss == "softmax":
            found = found / jnp.maximum(found.sum(-1, keepdims=True), 1)
        return found
