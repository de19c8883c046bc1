"""Multinomial logistic regression on fixed features, along a path of penalties.

Minimises, for features x [n, width] and labels in 0 .. classes - 1,

    sum of cross-entropies + l2 / 2 * ||weights||^2                  the bias is not penalised

as scikit-learn's `LogisticRegression(C=1 / l2)` does, by full-batch L-BFGS (Liu and Nocedal 1989;
optax's, with its zoom line search). Each penalty begins at the last one's optimum.

What makes it quick is a change of variables. Along the eigenvectors of the features' covariance,
with eigenvalue s, the curvature is about n h s + l2, where h is the mean of p (1 - p) over images
and classes, p the probabilities at the last penalty's optimum. Weights are rotated to these
eigenvectors, which leaves their norm as it is, and scaled by the root of that curvature: the
Hessian of what is minimised then has a diagonal of about 1, whatever the features' scales and
however many the classes. (An h for each class would be nearer to the diagonal, and far slower: it
mixes the direction that adds the same to all classes, which changes no loss, into the others.)

Scores are had of `BLOCK` numbers at a time, value and gradient in the same pass, so that memory is
the features' and not that of n x classes scores.

Knows neither images nor networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

BLOCK = 1 << 25  # scores held at a time: 256 MB in float64
MEMORY = 20  # pairs of steps and gradients that L-BFGS remembers
NO_IMAGE = -1  # the label of a row that fills the last block up
STEPS = 1000  # at most, for each penalty
TOLERANCE = {"float32": 1e-8, "float64": 1e-15}
"""Half the square of the gradient's norm in the scaled variables, in parts of the value: about how
much lower the minimum may be."""


class Solution(NamedTuple):
    """Scores are x @ weights + bias.

    Fields:
      l2: the penalty.
      weights: [width, classes], float64.
      bias: [classes], float64.
      value: of what is minimised.
      steps: L-BFGS took.
      converged: whether its tolerance was reached within `STEPS`.
    """

    l2: float
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    value: float
    steps: int
    converged: bool

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """The class of each feature vector [m, width]."""
        return np.argmax(features @ self.weights + self.bias, 1)


class _Scaled(NamedTuple):
    """Weights and bias in the scaled variables."""

    weights: Any
    bias: Any


class Regression:
    """The features of one regression, rotated to their principal axes once for all penalties."""

    def __init__(
        self,
        features: NDArray[np.float32],
        labels: NDArray[np.int32],
        classes: int,
        dtype: Literal["float32", "float64"] = "float32",
    ):
        """
        Args:
          features: [n, width].
          labels: [n], each of the `classes`.
          dtype: in which the loss is computed. float64 reaches scikit-learn's optimum to 1e-6 and
            better; float32 may stop before, and says so, where penalties are so small that
            hardly a loss is left: values then differ by less than a part in a thousand.
        """
        self._dtype, self._shape, self._classes = dtype, features.shape, classes
        self._mean = features.mean(0, dtype=np.float64)
        rows = max(1, min(len(features), BLOCK // max(classes, features.shape[1])))
        blocks = [slice(first, first + rows) for first in range(0, len(features), rows)]
        centred = (features[block] - self._mean for block in blocks)
        moments, self._axes = np.linalg.eigh(sum(each.T @ each for each in centred) / len(features))
        self._moments = np.maximum(moments, 0)
        rotated = np.zeros((len(blocks), rows, features.shape[1]), dtype)
        filled = np.full((len(blocks), rows), NO_IMAGE, np.int32)
        for into, its, block in zip(rotated, filled, blocks, strict=True):
            count = len(labels[block])
            into[:count] = (features[block] - self._mean) @ self._axes
            its[:count] = labels[block]
        with _precision(dtype):
            self._rotated, self._labels = jnp.asarray(rotated), jnp.asarray(filled)

    def path(self, penalties: Sequence[float]) -> Iterator[Solution]:
        """The solution for each penalty, in the order given; from large to small is quickest."""
        weights, bias = np.zeros((self._shape[1], self._classes)), np.zeros(self._classes)
        for l2 in penalties:
            scale, level = self._scales(weights, bias, l2)
            with _precision(self._dtype):
                start = _Scaled(
                    jnp.asarray(weights * scale[:, None], self._dtype),
                    jnp.asarray(bias * level, self._dtype),
                )
                data = (
                    self._rotated,
                    self._labels,
                    jnp.asarray(1 / scale, self._dtype),
                    jnp.asarray(1 / level, self._dtype),
                    jnp.asarray(l2, self._dtype),
                )
                tolerance = TOLERANCE[self._dtype]
                found, *about = _minimise(start, data, tolerance)
                weights = np.asarray(found.weights, np.float64) / scale[:, None]
                bias = np.asarray(found.bias, np.float64) / level
                value, steps, promised = map(float, about)
            plain = self._axes @ weights
            yield Solution(
                l2, plain, bias - self._mean @ plain, value, int(steps), promised <= tolerance
            )

    def _scales(
        self, weights: NDArray[Any], bias: NDArray[Any], l2: float
    ) -> tuple[NDArray[np.float64], float]:
        """Roots of the curvature about these weights, [width], and about the bias."""
        with _precision(self._dtype):
            at = jnp.asarray(weights, self._dtype), jnp.asarray(bias, self._dtype)
            spread = float(_spread(*at, self._rotated, self._labels)) / self._classes
        return np.sqrt(self._moments * spread + l2), np.sqrt(spread)


@jax.jit
def _spread(weights: Any, bias: Any, rotated: Any, labels: Any) -> Any:
    """Sum of p (1 - p) over images and classes."""

    def add(so_far: Any, block: tuple[Any, Any]) -> tuple[Any, None]:
        its, seen = block
        p = jax.nn.softmax(its @ weights + bias)
        return so_far + jnp.where(seen[:, None] == NO_IMAGE, 0, p * (1 - p)).sum(), None

    return jax.lax.scan(add, jnp.zeros((), weights.dtype), (rotated, labels))[0]


@jax.custom_vjp
def _loss(scaled: _Scaled, data: tuple[Any, ...]) -> Any:
    return _loss_and_gradient(scaled, data)[0]


def _loss_and_gradient(scaled: _Scaled, data: tuple[Any, ...]) -> tuple[Any, _Scaled]:
    *blocks, per_axis, per_bias, l2 = data

    def of_block(block: tuple[Any, Any], scaled: _Scaled) -> Any:
        rotated, labels = block
        scores = rotated @ (scaled.weights * per_axis[:, None]) + scaled.bias * per_bias
        losses = optax.softmax_cross_entropy_with_integer_labels(scores, jnp.maximum(labels, 0))
        return jnp.where(labels == NO_IMAGE, 0, losses).sum()

    def add(so_far: Any, block: tuple[Any, Any]) -> tuple[Any, None]:
        more = jax.value_and_grad(of_block, argnums=1)(block, scaled)
        return jax.tree.map(jnp.add, so_far, more), None

    def penalty(scaled: _Scaled) -> Any:
        return l2 / 2 * jnp.square(scaled.weights * per_axis[:, None]).sum()

    (loss, gradient), _ = jax.lax.scan(add, jax.value_and_grad(penalty)(scaled), tuple(blocks))
    return loss, gradient


def _backward(gradient: _Scaled, of_loss: Any) -> tuple[_Scaled, None]:
    return jax.tree.map(lambda each: of_loss * each, gradient), None


_loss.defvjp(_loss_and_gradient, _backward)


@jax.jit
def _minimise(start: _Scaled, data: tuple[Any, ...], tolerance: Any) -> tuple[Any, ...]:
    """Scaled weights, value, steps taken, the gain that is left in parts of the value."""
    loss = partial(_loss, data=data)
    solver = optax.lbfgs(memory_size=MEMORY)
    value_and_grad = optax.value_and_grad_from_state(loss)

    def promised(state: Any) -> Any:
        square = optax.tree.norm(optax.tree.get(state, "grad"), squared=True)
        return square / 2 / optax.tree.get(state, "value")

    def goes_on(carry: tuple[Any, ...]) -> Any:
        _, state, steps, _, stalled = carry
        left = promised(state) > tolerance
        return (steps == 0) | ((steps < STEPS) & left & (stalled < 3))

    def step(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        params, state, steps, last, stalled = carry
        value, grad = value_and_grad(params, state=state)
        updates, state = solver.update(grad, state, params, value=value, grad=grad, value_fn=loss)
        stalled = jnp.where(value < last, 0, stalled + 1)
        return optax.apply_updates(params, updates), state, steps + 1, value, stalled

    infinite = jnp.asarray(jnp.inf, start.bias.dtype)
    begin = (start, solver.init(start), 0, infinite, 0)
    params, state, steps, _, _ = jax.lax.while_loop(goes_on, step, begin)
    return params, loss(params), steps, promised(state)


def _precision(dtype: str) -> Any:
    return jax.enable_x64(dtype == "float64")
