"""Where arrays lie: a mesh of devices and a rule each for parameters and batches.

Knows no model by name. The same `Placement` serves arrays and abstract values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from scaling.data.loader import Batch
from scaling.training.step import Program, step_key


@dataclass(frozen=True)
class Placement:
    """A mesh, and how a train state and batches lie on it.

    Fields:
      mesh: of the devices.
      parameter_rule: from an array's path and shape to its partition; for the whole train state,
        so that moments may lie as their parameters do.
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

    def of_batch(self, name: str) -> NamedSharding:
        """The sharding of one entry of a batch."""
        return NamedSharding(self.mesh, self.batch_rule(name))

    def everywhere(self) -> NamedSharding:
        """Of a number that every device has."""
        return NamedSharding(self.mesh, PartitionSpec())

    def place(self, local: Batch) -> dict[str, jax.Array]:
        """This process's rows of a batch, NumPy arrays, as its part of global arrays."""
        return {
            name: jax.make_array_from_process_local_data(self.of_batch(name), rows)
            for name, rows in local.items()
        }

    def whole(self, tree: Any) -> Any:
        """NumPy arrays that every process has, on every device."""
        one = self.everywhere()
        return jax.tree.map(
            lambda x: jax.make_array_from_callback(np.shape(x), one, np.asarray(x).__getitem__),
            tree,
        )


def data_parallel(views: int = 1, devices: Sequence[jax.Device] | None = None) -> Placement:
    """Devices in a row: parameters on every one, a batch split over them by its rows.

    Args:
      views: of each image in a batch.
      devices: None for all there are.
    """
    devices = jax.devices() if devices is None else devices
    mesh = Mesh(np.asarray(devices), ("data",), axis_types=(AxisType.Auto,))
    rows = PartitionSpec("data")
    images = rows if views == 1 else PartitionSpec(None, "data")
    return Placement(
        mesh,
        parameter_rule=lambda path, shape: PartitionSpec(),
        batch_rule=lambda name: images if name == "image" else rows,
    )


class Jitted(NamedTuple):
    """A program whose arrays have their places, compiled when first called or lowered.

    Fields:
      start: backbone's parameters or None -> state.
      step: (state, batch, rate, number) -> state, metrics; the state given is used up.
      state: shapes, types and places of the train state.
    """

    start: Any
    step: Any
    state: Any


def jitted(
    program: Program,
    placement: Placement,
    batch: Batch,
    seed: int,
    quick_start: dict[str, Any] | None = None,
) -> Jitted:
    """The program with the places of its inputs and outputs pinned: no call compiles again.

    Args:
      batch: abstract; its names decide what a step is given.
      seed: of the run; the key of a step is made of it and the step's number inside the program.
      quick_start: compiler options for `start`, which runs once.
    """
    shapes = jax.eval_shape(program.start, None)
    places, one = placement.of_state(shapes), placement.everywhere()

    def step(state: Any, batch: Batch, rate: Any, number: Any) -> Any:
        return program.step(state, batch, rate, step_key(seed, number))

    return Jitted(
        start=jax.jit(program.start, out_shardings=places, compiler_options=quick_start),
        step=jax.jit(
            step,
            donate_argnums=0,
            in_shardings=(places, {name: placement.of_batch(name) for name in batch}, one, one),
            out_shardings=(places, one),
        ),
        state=jax.tree.map(
            lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes, places
        ),
    )
