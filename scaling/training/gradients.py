"""How gradients are taken, between the loss and the optimizer.

Each way is a function from a loss to a function that also gives its gradient with respect to its
first argument. `private_gradients.py` has one more; `fused.py` takes gradients and applies them in
one pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from models.noise import Noise, at
from scaling.data.loader import Batch
from scaling.training.optimizer import BACKBONE, BLOCKS

Gradients: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
"""From loss(params, frozen, state, batch, noise) -> (loss, (state, metrics)) to a function of the
same arguments -> ((loss, (state, metrics)), gradient)."""


def plain(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The gradient of the whole batch at once."""
    return jax.value_and_grad(loss, has_aux=True)


def accumulated(microbatches: int, views: int = 1) -> Gradients:
    """The mean of the gradients of equal parts of the batch, taken one after another.

    Equal to that of the whole batch up to rounding, where the loss is a mean over images and
    nothing is random; what is random is drawn for each part by itself. Every part is given the
    step's state, and the new state is the mean of theirs (of whole numbers the last), so that a
    moving average moves once a step. Activations take the memory of one part; gradients take that
    of a second copy, and so does the state.

    Args:
      microbatches: parts, a divisor of the batch.
      views: of each image, the first axis of `image` where there are several.
    """
    if microbatches == 1:
        return plain

    def take(loss: Callable[..., Any]) -> Callable[..., Any]:
        of_part = plain(loss)

        def of_batch(params: Any, frozen: Any, state: Any, batch: Batch, noise: Noise) -> Any:
            def add(carry: Any, part_and_number: Any) -> tuple[Any, Any]:
                total, states = carry
                part, number = part_and_number
                (loss, (new, metrics)), grad = of_part(
                    params, frozen, state, part, at(noise, number)
                )
                states = jax.tree.map(add_share, states, new)
                return (jax.tree.map(jnp.add, total, grad), states), (loss, metrics)

            zeros = jax.tree.map(jnp.zeros_like, (params, state))
            parts = split(batch, microbatches, views), jnp.arange(microbatches)
            (total, new), (losses, metrics) = jax.lax.scan(add, zeros, parts)
            mean = jax.tree.map(lambda g: g / microbatches, total)
            metrics = jax.tree.map(lambda m: m.mean(0), metrics)
            return (losses.mean(), (new, metrics)), mean

        def add_share(sum_so_far: Any, new: Any) -> Any:
            whole = not jnp.issubdtype(new.dtype, jnp.inexact)
            return new if whole else sum_so_far + new / microbatches

        return of_batch

    return take


def layer_norms(grads: Any) -> dict[str, jax.Array]:
    """`layer_gradient_norms` [depth], the norm of each block's gradient, as a metric.

    Args:
      grads: of all parameters. A network that is no stack of blocks has no such metric.
    """
    stack = grads.get(BACKBONE, {}).get(BLOCKS)
    if stack is None:
        return {}
    squares = [jnp.square(g).sum(range(1, g.ndim)) for g in jax.tree.leaves(stack)]
    return {"layer_gradient_norms": jnp.sqrt(sum(squares[1:], squares[0]))}


def split(batch: Batch, parts: int, views: int) -> Batch:
    """Every entry of a batch with a leading axis of parts.

    A part takes every `parts`-th row: whatever devices the rows are spread over, each of them has
    as many of every part.
    """

    def apart(name: str, rows: Any) -> Any:
        axis = 1 if name == "image" and views > 1 else 0
        shape = rows.shape
        found = rows.reshape(*shape[:axis], shape[axis] // parts, parts, *shape[axis + 1 :])
        return jnp.moveaxis(found, axis + 1, 0)

    return {name: apart(name, rows) for name, rows in batch.items()}
