"""Multinomial logistic regression on fixed features, along a path of penalties.

Minimises, for features x [n, width] and labels in 0 .. classes - 1,

    sum of cross-entropies + l2 / 2 * ||weights||^2                  the bias is not penalised

as scikit-learn's `LogisticRegression(C=1 / l2)` does, by full-batch L-BFGS (Liu and Nocedal 1989;
optax's, with its zoom line search). Each penalty begins at the last one's optimum.

What makes it quick is a change of variables. Whatever the weights, the Hessian is at most 1/2 of
the features' second moments for each class (Boehning 1992), so along the eigenvectors of the
features' covariance, with eigenvalue s, its curvature is at most n s / 2 + l2. Weights are rotated
to these eigenvectors, which leaves their norm as it is, and scaled by the root of that curvature:
what is minimised then has a Hessian of at most 1, whatever the features' scales.

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

MEMORY = 20  # pairs of steps and gradients that L-BFGS remembers
STEPS = 1000  # at most, for each penalty
TOLERANCE = {"float32": 1e-5, "float64": 1e-8}
"""Of the gradient's norm, in the scaled variables and per root of n."""


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
        self._dtype, self._classes = dtype, classes
        self._mean = features.mean(0, dtype=np.float64)
        centred = features - self._mean
        moments, self._axes = np.linalg.eigh(centred.T @ centred / len(features))
        self._moments = np.maximum(moments, 0)
        with _precision(dtype):
            self._rotated = jnp.asarray(centred @ self._axes, dtype)
            self._labels = jnp.asarray(labels)

    def path(self, penalties: Sequence[float]) -> Iterator[Solution]:
        """The solution for each penalty, in the order given; from large to small is quickest."""
        n, width = self._rotated.shape
        weights, bias = np.zeros((width, self._classes)), np.zeros(self._classes)
        for l2 in penalties:
            scale = np.sqrt(n * self._moments / 2 + l2)
            level = np.sqrt(n / 2)
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
                tolerance = TOLERANCE[self._dtype] * np.sqrt(n)
                found, *about = _minimise(start, data, tolerance)
                weights = np.asarray(found.weights, np.float64) / scale[:, None]
                bias = np.asarray(found.bias, np.float64) / level
                value, steps, norm = map(float, about)
            plain = self._axes @ weights
            yield Solution(
                l2, plain, bias - self._mean @ plain, value, int(steps), norm <= tolerance
            )


def _loss(scaled: _Scaled, data: tuple[Any, ...]) -> Any:
    rotated, labels, per_axis, per_bias, l2 = data
    weights = scaled.weights * per_axis[:, None]
    scores = rotated @ weights + scaled.bias * per_bias
    losses = optax.softmax_cross_entropy_with_integer_labels(scores, labels)
    return losses.sum() + l2 / 2 * jnp.square(weights).sum()


@jax.jit
def _minimise(start: _Scaled, data: tuple[Any, ...], tolerance: Any) -> tuple[Any, ...]:
    """Scaled weights, value, steps taken, norm of the gradient."""
    loss = partial(_loss, data=data)
    solver = optax.lbfgs(memory_size=MEMORY)
    value_and_grad = optax.value_and_grad_from_state(loss)

    def norm(state: Any) -> Any:
        return optax.tree.norm(optax.tree.get(state, "grad"))

    def goes_on(carry: tuple[Any, ...]) -> Any:
        _, state, steps, _, stalled = carry
        return (steps == 0) | ((steps < STEPS) & (norm(state) > tolerance) & (stalled < 3))

    def step(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        params, state, steps, last, stalled = carry
        value, grad = value_and_grad(params, state=state)
        updates, state = solver.update(grad, state, params, value=value, grad=grad, value_fn=loss)
        stalled = jnp.where(value < last, 0, stalled + 1)
        return optax.apply_updates(params, updates), state, steps + 1, value, stalled

    infinite = jnp.asarray(jnp.inf, start.bias.dtype)
    begin = (start, solver.init(start), 0, infinite, 0)
    params, state, steps, _, _ = jax.lax.while_loop(goes_on, step, begin)
    return params, loss(params), steps, norm(state)


def _precision(dtype: str) -> Any:
    return jax.enable_x64(dtype == "float64")
