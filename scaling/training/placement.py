"""Where arrays lie: a mesh of devices and a rule each for parameters and batches.

Knows no model by name. The same `Placement` serves arrays and abstract values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


@dataclass(frozen=True)
class Placement:
    """A mesh, and how parameters and batches lie on it.

    Fields:
      mesh: of the devices.
      parameter_rule: from an array's path and shape to its partition; for the whole train state.
      batch_rule: from the name of a batch's entry to its partition.
    """

    mesh: Mesh
    parameter_rule: Callable[[tuple[Any, ...], tuple[int, ...]], PartitionSpec]
    batch_rule: Callable[[str], PartitionSpec]

    def of_state(self, shapes: Any) -> Any:
        """The sharding of every array of a train state, given as abstract values."""
        return jax.tree.map_with_path(
            lambda path, x: NamedSharding(self.mesh, self.parameter_rule(path, x.shape)), shapes
        )

    def everywhere(self) -> NamedSharding:
        """Of a number that every device has."""
        return NamedSharding(self.mesh, PartitionSpec())

    def of_batch(self, name: str) -> NamedSharding:
        """The sharding of one entry of a batch."""
        return NamedSharding(self.mesh, self.batch_rule(name))

    def place(self, local: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        """This process's rows of a batch as its part of global arrays."""
        return {
            name: jax.make_array_from_process_local_data(self.of_batch(name), rows)
            for name, rows in local.items()
        }


def data_parallel(views: int = 1) -> Placement:
    """All devices in a row: parameters on every one, a batch split over them by its rows."""
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    rows = PartitionSpec("data")
    images = rows if views == 1 else PartitionSpec(None, "data")
    return Placement(
        mesh,
        parameter_rule=lambda path, shape: PartitionSpec(),
        batch_rule=lambda name: images if name == "image" else rows,
    )
