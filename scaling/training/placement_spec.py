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
    devices: int | None = Field(None, ge=1)
    """Devices that a run is trained on, a whole number of times fsdp * tensor; left out: as many.
    On a CPU they are simulated. `scaling launch` gives a run's worker so many."""

    @property
    def recomputed(self) -> Remat:
        """`remat` as it turns out: a fused step takes every block's forward pass again."""
        return "full" if self.update == "fused" else self.remat

    @property
    def devices_per_run(self) -> int:
        """`devices` as it turns out."""
        return self.devices or self.fsdp * self.tensor

    def clashes(self) -> Iterator[Clash]:
        group = self.fsdp * self.tensor
        if self.devices_per_run % group:
            keys = f"fsdp={self.fsdp}" + (f" and tensor={self.tensor}" if self.tensor > 1 else "")
            yield Clash(
                ("devices", "fsdp"),
                f"devices={self.devices} and {keys}: the state is split over groups of {group} "
                f"devices; use {-(-self.devices_per_run // group) * group} devices, or other "
                "groups.",
            )
        if self.update == "fused" and self.remat in ("dots", "offload"):
            yield Clash(
                ("update", "remat"),
                f'update="fused" and remat="{self.remat}": a fused step keeps the input of each '
                "block and computes all else again; leave one of the two out.",
            )
        if self.update == "fused" and self.microbatches > 1:
            yield Clash(
                ("update", "microbatches"),
                f'update="fused" and microbatches={self.microbatches}: a fused step updates a '
                "layer as soon as it has its gradient, and a batch in parts has it only after the "
                "last part; leave one of the two out.",
            )


DEFAULT = PlacementSpec()
