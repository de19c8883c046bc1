"""What a step changes: the train state, and the last move of every update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax

from models.noise import Noise
from scaling.data.loader import Batch
from scaling.training.optimizer import OptimizerState


class TrainState(NamedTuple):
    """Everything that a step changes or needs, as plain pytrees of arrays.

    Fields:
      average: the Polyak average of the parameters, float32; empty where the recipe has none.
    """

    params: Any
    frozen: Any
    state: Any
    optimizer: OptimizerState
    average: Any = ()


Update: TypeAlias = Callable[[TrainState, Batch, Any, Noise], tuple[TrainState, dict[str, Any]]]
"""(state, batch, rate, noise) -> state, metrics: `loss`, `gradient_norm` before clipping, and of
a stack of blocks `layer_gradient_norms` [depth]; an objective may add others."""


def applied(params: Any, steps: Any, rate: Any) -> Any:
    """Parameters less their steps times the schedule's rate."""
    return jax.tree.map(lambda p, u: p - (rate * u).astype(p.dtype), params, steps)
