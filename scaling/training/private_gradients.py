"""The gradients of DP-SGD: one of each image, clipped, summed, with noise.

Beside `gradients.plain` and `gradients.accumulated`, a way from a loss to its gradient; knows no
objective. Abadi et al. 2016, "Deep learning with differential privacy", algorithm 1; augmentations
averaged before clipping: De et al. 2022, section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from fits.base.errors import UserError
from models.noise import Noise, at
from scaling.data.loader import Batch
from scaling.training.gradients import Gradients, plain, split
from scaling.training.privacy import Privacy

PRIVATE = 2**32 - 3  # sets the noise apart from what networks, objectives and augmentations draw
ROW = "row"


def private(privacy: Privacy, mean: float, views: int = 1, microbatches: int = 1) -> Gradients:
    """(sum of clipped gradients + noise) / mean.

    `batch` has an entry `present`, false in the rows that no image was drawn into. Each image has
    random numbers of its own, and the noise is drawn once: neither depends on devices or
    microbatches.

    Args:
      mean: images that a step draws on average.
      views: of each image, as the objective wants them; the batch has `privacy.augmentations`
        times as many, those of a view one after another.
      microbatches: parts of the batch that are taken one after another, a divisor of it. A part has
        the gradients of all its images at once.
    """
    augmentations = privacy.augmentations

    def take(loss: Callable[..., Any]) -> Callable[..., Any]:
        gradient = plain(loss)

        def of_batch(params: Any, frozen: Any, state: Any, batch: Batch, noise: Noise) -> Any:
            _check_stateless(state)
            present = batch["present"]
            rows = {**batch, ROW: jnp.arange(len(present))}
            axes = {name: _axis(name, views * augmentations) for name in rows}

            def of_image(row: Batch) -> Any:
                """Its clipped gradient, with loss and metrics; all zero where no image is."""
                there, number = row.pop("present"), row.pop(ROW)
                shown, own = _alone(row, views, augmentations), at(noise, number)
                (value, (_, metrics)), grad = gradient(params, frozen, state, shown, own)
                told = jax.tree.map(lambda m: jnp.where(there, m, 0), (value, metrics))
                return clipped(grad, privacy.clip_norm, there), told

            def of_part(part: Batch) -> Any:
                found = jax.vmap(of_image, (axes,))(part)
                return jax.tree.map(lambda x: x.sum(0), found)

            def add(total: Any, part: Batch) -> tuple[Any, None]:
                return jax.tree.map(jnp.add, total, of_part(part)), None

            if microbatches == 1:
                total, told = of_part(rows)
            else:
                parts = split(rows, microbatches, views * augmentations)
                one = jax.tree.map(lambda x: x[0], parts)
                zeros = jax.tree.map(
                    lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(of_part, one)
                )
                (total, told), _ = jax.lax.scan(add, zeros, parts)
            there = jnp.maximum(present.sum(), 1)
            value, metrics = jax.tree.map(lambda m: m / there, told)
            std = privacy.noise_multiplier * privacy.clip_norm
            total = noisy(total, std, jax.random.fold_in(noise.key, PRIVATE))
            return (value, (state, metrics)), jax.tree.map(lambda g: g / mean, total)

        return of_batch

    return take


def clipped(grad: Any, most: float, present: Any = True) -> Any:
    """A gradient whose norm over all parameters is no more than `most`.

    One that is no finite number, or of no image, is zero: what is not finite has no bound.
    """
    norm = optax.tree.norm(grad)
    counts = jnp.isfinite(norm) & present
    share = most / jnp.maximum(norm, most)
    return jax.tree.map(lambda g: jnp.where(counts, g * share.astype(g.dtype), 0), grad)


def noisy(total: Any, std: float, key: jax.Array) -> Any:
    """A tree of arrays, each with Gaussian noise of its own."""
    if not std:
        return total
    leaves, tree = jax.tree.flatten(total)

    def one(number: int, x: Float[Array, ...]) -> Float[Array, ...]:
        drawn = jax.random.normal(jax.random.fold_in(key, number), x.shape, x.dtype)
        return x + std * drawn

    return jax.tree.unflatten(tree, [one(*each) for each in enumerate(leaves)])


def _alone(row: Batch, views: int, augmentations: int) -> Batch:
    """One image as a batch of its augmentations."""

    def of(name: str, x: Any) -> Any:
        if name != "image":
            return jnp.broadcast_to(x, (augmentations, *x.shape))
        one = x if views * augmentations > 1 else x[None]
        return one.reshape(views, augmentations, *one.shape[1:]) if views > 1 else one

    return {name: of(name, x) for name, x in row.items()}


def _axis(name: str, views: int) -> int:
    """Where rows lie in an entry of a batch."""
    return 1 if name == "image" and views > 1 else 0


def _check_stateless(state: Any) -> None:
    if jax.tree.leaves(state):
        raise UserError(
            [
                "privacy: this objective keeps a state from step to step, beside the parameters, "
                "which no noise is added to; use another."
            ]
        )
