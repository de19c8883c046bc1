"""PlacementSpec: how a run is computed, on which devices and in which order. No part of a run's id.

None of it changes what is computed, save the last bits of sums that are added in another order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from pydantic import Field

from models.precision import Remat
from scaling.base.config import Clash, Config

UpdateKind: TypeAlias = Literal["plain", "fused"]


class PlacementSpec(Config):
    """How runs are computed; the manifest of each run records it."""

    update: UpdateKind = "plain"
    """`plain`: all gradients, then the optimizer; `fused`: each layer is updated inside the
    backward pass, and the gradients of all layers never exist at once: docs/training/fused.md."""
    remat: Remat = "none"
    """What the backward pass computes again instead of keeping it: `none`; `full`: everything
    inside a block; `dots`: all but products with parameters; `offload`: those are kept in the
    host's memory. A fused step is always `full`."""
    microbatches: int = Field(1, ge=1)
    """Parts of a batch whose gradients are taken one after another and added up."""
    fsdp: int = Field(1, ge=1)
    """Devices over which parameters and optimizer state are split; 1: each device has all."""
    tensor: int = Field(1, ge=1)
    """Devices that see the same images and share heads, hidden features and classes, for networks
    too wide for one; the others see other images."""

    @property
    def recomputed(self) -> Remat:
        """`remat` as it turns out: a fused step takes every block's forward pass again."""
        return "full" if self.update == "fused" else self.remat

    def clashes(self) -> Iterator[Clash]:
        if self.update == "fused" and self.microbatches > 1:
            yield Clash(
                ("update", "microbatches"),
                f'update="fused" and microbatches={self.microbatches}: a fused step updates a '
                "layer as soon as it has its gradient, and a batch in parts has it only after the "
                "last part; leave one of the two out.",
            )


DEFAULT = PlacementSpec()
