"""Where arrays lie: a mesh of devices and a rule each for parameters and batches.

Knows no model by name. The same `Placement` serves arrays and abstract values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from fits.base.errors import UserError
from scaling.data.loader import Batch
from scaling.training.optimizer import BLOCKS
from scaling.training.step import SEED, Program, step_key


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


WHOLE_UP_TO = 2**14  # numbers of an array, or of a layer's part of it, that stay on every device


def data_parallel(views: int = 1, devices: Sequence[jax.Device] | None = None) -> Placement:
    """Devices in a row: parameters on every one, a batch split over them by its rows.

    Args:
      views: of each image in a batch.
      devices: None for all there are.
    """
    return fully_sharded(1, views=views, devices=devices)


def fully_sharded(
    fsdp: int | tuple[int, ...],
    *,
    views: int = 1,
    devices: Sequence[jax.Device] | None = None,
) -> Placement:
    """Batches split over all devices; parameters and moments over `fsdp` of them (ZeRO-3, FSDP).

    Groups of `fsdp` devices hold the whole state once, and devices of equal number in their groups
    hold the same part. Rajbhandari et al. 2020, "ZeRO".

    Args:
      fsdp: devices in a group, or the sizes of several mesh axes whose product it is: each axis
        is laid along a dimension of its own, where no dimension can be divided by all of them.
      views: of each image in a batch.
      devices: None for all there are.

    Raises:
      UserError: the devices are no whole number of groups.
    """
    found = np.asarray(jax.devices() if devices is None else devices)
    sizes = (fsdp,) if isinstance(fsdp, int) else fsdp
    groups, left = divmod(found.size, math.prod(sizes))
    if left:
        raise UserError(
            [
                f"fsdp={math.prod(sizes)}: does not divide {found.size} devices; use "
                f"{', '.join(str(n) for n in range(1, found.size + 1) if found.size % n == 0)}."
            ]
        )
    names = tuple(f"fsdp{k}" for k in range(len(sizes)))
    mesh = Mesh(
        found.reshape(groups, *sizes),
        ("data", *names),
        axis_types=(AxisType.Auto,) * (1 + len(sizes)),
    )
    axes = {name: size for name, size in zip(names, sizes, strict=True) if size > 1}
    rows = ("data", *names)
    images = PartitionSpec(rows) if views == 1 else PartitionSpec(None, rows)
    return Placement(
        mesh,
        parameter_rule=lambda path, shape: split_largest(axes, shape, stacked=_in_stack(path)),
        batch_rule=lambda name: images if name == "image" else PartitionSpec(rows),
    )


def split_largest(axes: dict[str, int], shape: tuple[int, ...], *, stacked: bool) -> PartitionSpec:
    """Each mesh axis, the largest first, to the largest dimension left that it divides.

    Args:
      axes: size of each mesh axis, by name.
      shape: of the array; small ones stay whole, as splitting them saves nothing.
      stacked: whether the first dimension counts layers. A loop goes through it, so it is never
        split: every turn would wait for the device that has the layer.
    """
    cut: list[str | None] = [None] * len(shape)
    free = set(range(1 if stacked else 0, len(shape)))
    if math.prod(shape[dimension] for dimension in free) <= WHOLE_UP_TO:
        return PartitionSpec()
    for name, size in sorted(axes.items(), key=lambda axis: -axis[1]):
        fits = [dimension for dimension in free if shape[dimension] % size == 0]
        if fits:
            chosen = max(fits, key=lambda dimension: (shape[dimension], dimension))
            cut[chosen] = name
            free.remove(chosen)
    return PartitionSpec(*cut)


def best_fsdp(devices: int, state: Any) -> tuple[int, ...]:
    """The sizes of at most two mesh axes, `devices` in all, that leave least on a device.

    Args:
      state: shapes of the train state.
    """
    pairs = [(devices,)] + [
        (devices // n, n) for n in range(2, math.isqrt(devices) + 1) if devices % n == 0
    ]
    return min(pairs, key=lambda sizes: (_resident(sizes, state), len(sizes)))


def _resident(sizes: tuple[int, ...], state: Any) -> float:
    """Bytes of the state on each device."""
    axes = {str(k): size for k, size in enumerate(sizes)}

    def of(path: tuple[Any, ...], x: Any) -> float:
        spec = split_largest(axes, x.shape, stacked=_in_stack(path))
        return x.size * x.dtype.itemsize / math.prod(axes[name] for name in spec if name)

    return sum(jax.tree.leaves(jax.tree.map_with_path(of, state)))


def _in_stack(path: tuple[Any, ...]) -> bool:
    return BLOCKS in [getattr(entry, "key", None) for entry in path]


class Jitted(NamedTuple):
    """A program whose arrays have their places, compiled when first called or lowered.

    Fields:
      start: (seed, backbone's parameters or None) -> state.
      step: (state, batch, rate, seed, number) -> state, metrics; the state given is used up.
      state: shapes, types and places of the train state.
    """

    start: Any
    step: Any
    state: Any


def jitted(
    program: Program,
    placement: Placement,
    batch: Batch,
    quick_start: dict[str, Any] | None = None,
) -> Jitted:
    """The program with the places of its inputs and outputs pinned: no call compiles again.

    The seed is an argument, so that runs that differ in it share the program.

    Args:
      batch: abstract; its names decide what a step is given.
      quick_start: compiler options for `start`, which runs once.
    """
    shapes = jax.eval_shape(program.start, SEED, None)
    places, one = placement.of_state(shapes), placement.everywhere()
    rows = {name: placement.of_batch(name) for name in batch}

    def step(state: Any, batch: Batch, rate: Any, seed: Any, number: Any) -> Any:
        return program.step(state, batch, rate, step_key(seed, number))

    return Jitted(
        start=jax.jit(program.start, out_shardings=places, compiler_options=quick_start),
        step=jax.jit(
            step,
            donate_argnums=0,
            in_shardings=(places, rows, one, one, one),
            out_shardings=(places, one),
        ),
        state=jax.tree.map(
            lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes, places
        ),
    )
