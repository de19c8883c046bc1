"""How gradients are taken, between the loss and the optimizer.

Each way is a function from a loss to a function that also gives its gradient with respect to its
first argument. Accumulated or per-example gradients belong here, beside `plain`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax

Gradients: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
"""From loss(params, ...) -> (loss, aux) to the same arguments -> ((loss, aux), gradient)."""


def plain(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The gradient of the whole batch at once."""
    return jax.value_and_grad(loss, has_aux=True)
