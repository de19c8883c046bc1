"""The fused step: each layer is updated inside the backward pass, as soon as its gradient is known.

A plain step holds the gradients of all layers before it updates the first. This one never holds
more than one layer's. With the parameters in three parts, bottom, layers and top:

    forward   x = tokens(bottom, batch) -> layer 0 -> ... -> layer L - 1, each layer's input kept
    top       loss(top, x); its gradient, and top's update
    layers    for L - 1, ..., 0: the layer's forward again from its input, its gradient, and its
              update, written where the layer was
    bottom    its gradient and its update

The same mathematics as `step.plain_update`, for every optimizer, as each updates each layer by
itself. Clipping alone looks at all gradients at once. By the norm of the previous gradient it needs
nothing beforehand but in the first step. By the current norm a backward pass that takes norms alone
goes first: 7/4 of the arithmetic of the fused step without it, 7/3 of a plain step's.

Layers, their moments and their averages are the carry of a loop, and not what a scan takes in and
gives back: a compiler updates a carry in place, where a scan's inputs and outputs exist side by
side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from models.noise import Noise
from scaling.data.loader import Batch
from scaling.objectives.protocol import Parts
from scaling.training.optimizer import BACKBONE, BLOCKS, Optimizer, OptimizerState, one_layer
from scaling.training.state import TrainState, Update, applied


class ThreeParts(NamedTuple):
    """Parameters, or a tree of their structure: below the blocks, the blocks, above them."""

    bottom: Any
    layers: Any
    top: Any


def fused_update(
    parts: Parts,
    optimizer: Optimizer,
    unroll_up_to: int = 0,
    gather: Callable[[Any], Any] = lambda tree: tree,
) -> Update:
    """What `step.plain_update` gives.

    Args:
      parts: of the objective's loss.
      unroll_up_to: the loops of a network with at most so many blocks are written out.
      gather: as in `step.program`.
    """
    unroll = parts.depth if parts.depth <= unroll_up_to else 1

    def update(
        state: TrainState, batch: Batch, rate: Any, noise: Noise
    ) -> tuple[TrainState, dict[str, Any]]:
        params = split(parts, state.params)
        moments = split(parts, state.optimizer.moments)
        settings = split(parts, optimizer.settings(state.params))
        averages = split(parts, state.average) if state.average else ThreeParts((), (), ())
        layer_settings, numbers = one_layer(settings.layers), jnp.arange(parts.depth)

        def block(layer: Any, x: Any, number: Any) -> Any:
            return parts.block(layer, x, number, noise)

        def above(top: Any, x: Any) -> Any:
            return parts.above(gather(top), state.frozen, state.state, x, batch, noise)

        x, from_bottom = jax.vjp(
            lambda bottom: parts.below(gather(bottom), batch, noise), params.bottom
        )
        x, inputs = jax.lax.scan(
            lambda x, each: (block(each[0], x, each[1]), x),
            x,
            (params.layers, numbers),
            unroll=unroll,
        )

        def exact_norm() -> Any:
            """Of the whole gradient, by a backward pass that keeps none of it."""
            top, cotangent = jax.grad(lambda *args: above(*args)[0], (0, 1))(params.top, x)

            def turn(cotangent: Any, each: Any) -> tuple[Any, Any]:
                layer, x, number = each
                grad, cotangent = jax.vjp(lambda p, x: block(p, x, number), layer, x)[1](cotangent)
                return cotangent, square(grad)

            cotangent, squares = jax.lax.scan(
                turn, cotangent, (params.layers, inputs, numbers), reverse=True, unroll=unroll
            )
            return jnp.sqrt(square(top) + squares.sum() + square(from_bottom(cotangent)))

        norm_to_clip = optimizer.clipping_norm(state.optimizer.norm, exact_norm)

        def apply(
            part: Any, grad: Any, moments: Any, average: Any, settings: Any
        ) -> tuple[Any, Any, Any]:
            steps, moments = optimizer.update_part(grad, moments, part, settings, norm_to_clip)
            part = applied(part, steps, rate)
            return part, moments, optimizer.next_average(average, part)

        (_, (new, metrics)), (grad, cotangent) = jax.value_and_grad(above, (0, 1), has_aux=True)(
            params.top, x
        )
        squares = jnp.zeros(1 + parts.depth).at[-1].set(square(grad))  # of layers, then of the top:
        # in the loop's carry, so that the top's gradient is done with before the loop begins
        top = apply(params.top, grad, moments.top, averages.top, settings.top)

        def turn(done: Any, carry: Any) -> Any:
            cotangent, stacks, squares = carry
            number = parts.depth - 1 - done
            layer, its_moments, average = at(stacks, number)
            _, backward = jax.vjp(lambda p, x: block(p, x, number), layer, at(inputs, number))
            grad, cotangent = backward(cotangent)
            updated = apply(layer, grad, its_moments, average, layer_settings)
            return cotangent, put(stacks, number, updated), put(squares, number, square(grad))

        cotangent, layers, squares = jax.lax.fori_loop(
            0,
            parts.depth,
            turn,
            (cotangent, (params.layers, moments.layers, averages.layers), squares),
            unroll=unroll if unroll > 1 else None,
        )

        (grad,) = from_bottom(cotangent)
        bottom = apply(params.bottom, grad, moments.bottom, averages.bottom, settings.bottom)
        norm = jnp.sqrt(squares.sum() + square(grad))
        new_params, new_moments, new_average = (
            joined(ThreeParts(*each)) if each[1] else ()
            for each in zip(bottom, layers, top, strict=True)
        )
        return TrainState(
            new_params, state.frozen, new, OptimizerState(norm, new_moments), new_average
        ), {**metrics, "gradient_norm": norm, "layer_gradient_norms": jnp.sqrt(squares[:-1])}

    return update


def split(parts: Parts, tree: Any) -> ThreeParts:
    """The three parts of parameters, or of a tree of their structure."""
    backbone = dict(tree[BACKBONE])
    layers = backbone.pop(BLOCKS)
    bottom = {name: backbone.pop(name) for name in parts.bottom if name in backbone}
    return ThreeParts({BACKBONE: bottom}, layers, {**tree, BACKBONE: backbone})


def joined(tree: ThreeParts) -> Any:
    """The inverse of `split`."""
    backbone = {**tree.bottom[BACKBONE], BLOCKS: tree.layers, **tree.top[BACKBONE]}
    return {**tree.top, BACKBONE: backbone}


def square(tree: Any) -> Any:
    """The sum of all squares."""
    return optax.tree.norm(tree, squared=True)


def at(stack: Any, number: Any) -> Any:
    """One layer of a stack."""
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, number, keepdims=False), stack)


def put(stack: Any, number: Any, layer: Any) -> Any:
    """The stack with this layer in place of the one that was there."""
    return jax.tree.map(
        lambda x, new: jax.lax.dynamic_update_index_in_dim(x, new, number, 0), stack, layer
    )
