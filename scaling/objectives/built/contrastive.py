"""Losses of image and text vectors against each other: InfoNCE, and the pairwise sigmoid."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from models.layers import at_least_float32
from scaling.objectives.image_text import AT_ONCE


def info_nce(
    images: Float[Array, "n size"], texts: Float[Array, "n size"], scale: Float[Array, ""]
) -> Float[Array, ""]:
    """Mean of two cross-entropies in nats: of finding an image's text, and a text's image.

    Args:
      images, texts: of length 1; row i of both is a pair. Split over devices, all are brought
        together.
      scale: what cosines are multiplied by.
    """
    images, texts = _wide(images), _wide(texts)
    logits = scale * images @ texts.T
    pairs = jnp.arange(len(images))
    ways = (
        optax.softmax_cross_entropy_with_integer_labels(each, pairs) for each in (logits, logits.T)
    )
    return sum(each.mean() for each in ways) / 2


def pairwise_sigmoid(
    images: Float[Array, "n size"],
    texts: Float[Array, "n size"],
    scale: Float[Array, ""],
    bias: Float[Array, ""],
    at_once: int = AT_ONCE,
) -> Float[Array, ""]:
    """Sum over all n * n pairs of -log sigmoid(z (scale cosine + bias)), divided by n.

    z is 1 for the pairs (i, i) and -1 for others. The texts come in parts, one after another, whose
    logits are computed again in the backward pass: there is no array of all pairs. A part has every
    k-th text, so that devices that share the texts share every part of them.

    Args:
      images, texts: of length 1; row i of both is a pair.
      scale, bias: of the logits.
      at_once: largest number of texts in a part.
    """
    images, texts = _wide(images), _wide(texts)
    count, parts = len(texts), -(-len(texts) // at_once)
    rows = -(-count // parts)
    padded = jnp.pad(texts, ((0, rows * parts - count), (0, 0)))
    apart = jnp.moveaxis(padded.reshape(rows, parts, -1), 1, 0)

    @jax.checkpoint
    def of_part(part: Any, number: Any) -> Any:
        which = jnp.arange(rows) * parts + number
        logits = scale * images @ part.T + bias
        sign = jnp.where(jnp.arange(count)[:, None] == which, 1.0, -1.0)
        return jnp.where(which < count, jax.nn.softplus(-sign * logits), 0).sum()

    def add(total: Any, part_and_number: Any) -> tuple[Any, None]:
        return total + of_part(*part_and_number), None

    zero = jnp.zeros((), images.dtype)
    total, _ = jax.lax.scan(add, zero, (apart, jnp.arange(parts)))
    return total / count


@jax.custom_vjp
def at_most(x: Float[Array, ""], most: float) -> Float[Array, ""]:
    """`x`, or `most` where it is larger; there it has a gradient only if that leads back."""
    return jnp.minimum(x, most)


def _at_most_forward(x: Any, most: float) -> tuple[Any, Any]:
    return jnp.minimum(x, most), x > most


def _at_most_backward(over: Any, gradient: Any) -> tuple[Any, None]:
    return jnp.where(over, jnp.maximum(gradient, 0), gradient), None


at_most.defvjp(_at_most_forward, _at_most_backward)


def _wide(x: Float[Array, "n size"]) -> Float[Array, "n size"]:
    return x.astype(at_least_float32(x))
