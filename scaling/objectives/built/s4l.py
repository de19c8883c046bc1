"""A classifier with a pretext task beside it, and the losses of images with and without labels."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from models.build import build
from models.heads import LinearHead
from models.noise import Noise
from models.precision import Precision
from models.shapes import Shape
from scaling.data.labels import NONE
from scaling.data.loader import Batch
from scaling.objectives.built.exemplar import semi_hard
from scaling.objectives.built.on_backbone import LossAndMore, OnBackbone, random
from scaling.objectives.built.rotation import turn_losses, turned
from scaling.objectives.protocol import Parts
from scaling.objectives.rotation import TURNS
from scaling.objectives.s4l import S4L

DIRECTION = 2**31 + 2  # folded into a step's key: where VAT begins to look
PROBE = 1e-3  # of the length of a perturbation: how far VAT looks for what changes most
MARGIN = 0.5  # of the triplet loss


class WithTask(nnx.Module):
    """A backbone under a classifier, and under the head of a task, if that has one."""

    def __init__(self, backbone: nnx.Module, head: nnx.Module, task: nnx.Module | None):
        self.backbone = backbone
        self.head = head
        if task is not None:
            self.task = task

    def __call__(
        self, images: Float[Array, "batch h w 3"], noise: Noise | None = None
    ) -> Float[Array, "batch classes"]:
        return self.head(self.backbone(images, noise))


class S4LObjective(OnBackbone):
    """`S4L` for one shape: everything is trained, nothing is frozen, there is no state."""

    classifiers = ("head", "task")

    def __init__(self, config: S4L, model: Shape, classes: int, precision: Precision):
        self._config, self._model, self._classes = config, model, classes
        super().__init__(precision)

    def network(self, rngs: nnx.Rngs) -> WithTask:
        width, backbone = self._model.features, build(self._model, self._precision, rngs=rngs)
        head = LinearHead(width, self._classes, bias=0.0, rngs=rngs)
        turns = self._config.task == "rotation"
        task = LinearHead(width, TURNS, bias=0.0, rngs=rngs) if turns else None
        return WithTask(backbone, head, task)

    def images(self, batch: Batch, noise: Noise) -> Float[Array, "n h w 3"]:
        """All views, one after another; of rotation the four turns of each image beside each
        other, the first of them as it is."""
        whole = super().images(batch, noise)
        return turned(whole) if self._config.task == "rotation" else whole

    def of_features(
        self, module: Any, features: Any, frozen: Any, state: Any, batch: Batch, noise: Noise
    ) -> LossAndMore:
        del frozen, noise
        config, labels = self._config, batch["label"]
        upright = features[:: config.turns][: len(labels)]  # the first view, as it is
        logits = module.head(upright)
        share = config.labelled_share
        if config.classified == "all":  # each image's turns side by side, one view after another
            several = jnp.tile(jnp.repeat(labels, config.turns), config.views)
            parts = {"supervised": of_labelled(module.head(features), several, share)}
        else:
            parts = {"supervised": of_labelled(logits, labels, share)}
        if config.task == "rotation":
            parts["task"] = config.weight * turn_losses(module.task(features)).mean()
        if config.task == "exemplar":
            parts["task"] = config.weight * semi_hard(features, config.views, MARGIN)
        if config.entropy:
            parts["entropy"] = config.entropy * of_unlabelled(entropies(logits), labels, share)
        if config.pseudo_labels:
            believed = pseudo_losses(logits, config.confidence)
            parts["pseudo"] = config.pseudo_labels * of_unlabelled(believed, labels, share)
        loss = sum(parts.values())
        return loss, (state, {"loss": loss, **{f"loss_{name}": x for name, x in parts.items()}})

    def loss(self, params: Any, frozen: Any, state: Any, batch: Batch, noise: Noise) -> LossAndMore:
        """As of its base, and of VAT, which looks at images of its own."""
        found, (state, metrics) = super().loss(params, frozen, state, batch, noise)
        if not self._config.vat:
            return found, (state, metrics)
        module, images = self.around(params), super().images(batch, noise)[: len(batch["label"])]
        key = jax.random.fold_in(noise.key, DIRECTION)

        def says(images: Any) -> Any:
            return module.head(module.backbone(images, random(noise)))

        added = self._config.vat * virtual_adversarial(says, images, self._config.vat_length, key)
        loss = found + added
        return loss, (state, {**metrics, "loss": loss, "loss_vat": added})

    def parts(self) -> Parts | None:
        """None where VAT sends images through the backbone again."""
        return super().parts() if self._config.one_pass else None


def of_labelled(
    logits: Float[Array, "n classes"], labels: Int[Array, " n"], share: float
) -> Float[Array, ""]:
    """The cross-entropies in nats of the images that have a label, over how many those are in a
    batch: their mean, and of a part of a batch what it adds to that.

    Args:
      share: of a batch's images, those with a label; a part of it may have more, or fewer.
    """
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(labels, 0))
    return jnp.where(labels > NONE, losses, 0).sum() / (share * len(labels))


def of_unlabelled(
    values: Float[Array, " n"], labels: Int[Array, " n"], share: float
) -> Float[Array, ""]:
    """The same of the images that have none, of which `1 - share` are in a batch."""
    return jnp.where(labels == NONE, values, 0).sum() / ((1 - share) * len(labels))


def entropies(logits: Float[Array, "n classes"]) -> Float[Array, " n"]:
    """Of what is said of each image, nats."""
    logs = jax.nn.log_softmax(logits)
    return -(jnp.exp(logs) * logs).sum(-1)


def pseudo_losses(logits: Float[Array, "n classes"], confidence: float) -> Float[Array, " n"]:
    """Cross-entropy of each image against its likeliest class, nats; 0 where that is not likelier
    than `confidence`."""
    logs = jax.nn.log_softmax(logits)
    highest = logs.max(-1)
    return jnp.where(jnp.exp(jax.lax.stop_gradient(highest)) >= confidence, -highest, 0)


def virtual_adversarial(
    says: Any, images: Float[Array, "n h w 3"], length: float, key: jax.Array
) -> Float[Array, ""]:
    """The mean divergence, nats, of what is said of images from what is said of them perturbed.

    The perturbation of each image has this length, and the direction in which the divergence grows
    fastest, by one power iteration from a random one. Miyato et al. 2018, algorithm 1; gradients
    go through the perturbed images alone.

    Args:
      says: images -> logits.
    """
    clean = jax.lax.stop_gradient(says(images))
    direction = perturbation(says, images, clean, length, key)
    return divergences(clean, says(images + direction)).mean()


def perturbation(
    says: Any,
    images: Float[Array, "n h w 3"],
    clean: Float[Array, "n classes"],
    length: float,
    key: jax.Array,
) -> Float[Array, "n h w 3"]:
    """Of each image, `length` long; `clean` is what is said of the images themselves."""
    first = of_length(jax.random.normal(key, images.shape), 1.0)
    grow = jax.grad(lambda x: divergences(clean, says(images + PROBE * length * x)).sum())
    return jax.lax.stop_gradient(of_length(grow(first), length))


def divergences(
    clean: Float[Array, "n classes"], perturbed: Float[Array, "n classes"]
) -> Float[Array, " n"]:
    """KL(clean || perturbed) of each image, nats; both are logits."""
    logs, others = jax.nn.log_softmax(clean), jax.nn.log_softmax(perturbed)
    return (jnp.exp(logs) * (logs - others)).sum(-1)


def of_length(x: Float[Array, "n h w 3"], length: float) -> Float[Array, "n h w 3"]:
    """Each image scaled to this Euclidean length; one of zeros stays."""
    largest = jnp.abs(x).max((1, 2, 3), keepdims=True)
    scaled = x / jnp.where(largest > 0, largest, 1)  # squares of small gradients vanish
    norm = jnp.sqrt(jnp.square(scaled).sum((1, 2, 3), keepdims=True))
    return length * scaled / jnp.where(norm > 0, norm, 1)
