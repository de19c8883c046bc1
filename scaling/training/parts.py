"""Which part of what a training keeps is the network. Knows no JAX."""

from __future__ import annotations

from typing import Any

from models.weights.ours import BACKBONE


def network(params: Any, frozen: Any) -> Any:
    """All parameters of the network that is measured: those that are trained, and its backbone
    where that is locked and lies among what is frozen."""
    if BACKBONE in params or BACKBONE not in frozen:
        return params
    return {**params, BACKBONE: frozen[BACKBONE]}
