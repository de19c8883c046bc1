"""Where arrays lie: a mesh of devices and a rule each for parameters and batches.

Knows no model by name. The same `Placement` serves arrays and abstract values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from numpy.typing import NDArray

from fits.base.counted import counted
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
      use_rule: from an array's shape to its partition while it is used; None: as it lies.
    """

    mesh: Mesh
    parameter_rule: Callable[[tuple[Any, ...], tuple[int, ...]], PartitionSpec]
    batch_rule: Callable[[str], PartitionSpec]
    use_rule: Callable[[tuple[int, ...]], PartitionSpec] | None = None

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

    def rows(self, batch: int) -> NDArray[np.int64]:
        """Rows of a global batch that devices of this process hold, int64, ascending.

        Several processes may hold the same rows: along a tensor axis devices share them.

        Raises:
          UserError: the devices cannot share so many rows equally.
        """
        self.check_batch(batch)
        held = self.of_batch("index").addressable_devices_indices_map((batch,))
        parts = {slices[0].indices(batch)[:2] for slices in held.values() if slices is not None}
        return np.concatenate([np.arange(*part, dtype=np.int64) for part in sorted(parts)])

    @property
    def shares(self) -> int:
        """Parts that a batch is split into: devices, or groups of them along a tensor axis."""
        return math.prod(self.mesh.shape[name] for name in self.of_batch("index").spec[0])

    def check_batch(self, batch: int) -> None:
        """Raise UserError when a batch cannot be split equally, with the nearest that can."""
        _check_batch(batch, self.shares)

    def gather(self, tree: Any, dtype: Any = None) -> Any:
        """Parameters outside a stack, or of one layer of it, brought together for their use.

        Without this a compiler may leave them apart and gather the activations of all images
        instead, on every device.

        Args:
          dtype: of those that were apart; None: their own.
        """
        use = self.use_rule
        if use is None:
            return tree

        def whole(x: Any) -> Any:
            if not any(self.parameter_rule((), x.shape)):
                return x
            cast = x if dtype is None else x.astype(dtype)
            return jax.lax.with_sharding_constraint(cast, NamedSharding(self.mesh, use(x.shape)))

        return jax.tree.map(whole, tree)

    def place(self, local: Batch, batch: int) -> dict[str, jax.Array]:
        """`rows(batch)` of a batch, NumPy arrays, as this process's part of global arrays.

        Args:
          local: of each entry, those rows.
          batch: rows of all processes together.
        """
        first = self.rows(batch)

        def of(name: str, found: NDArray[Any]) -> jax.Array:
            sharding = self.of_batch(name)
            axis = _rows_axis(sharding.spec)
            shape = (*found.shape[:axis], batch, *found.shape[axis + 1 :])

            def part(index: Any) -> NDArray[Any]:
                begin, end, _ = index[axis].indices(batch)
                here = slice(*np.searchsorted(first, (begin, end)))
                return found[(*index[:axis], here, *index[axis + 1 :])]

            return jax.make_array_from_callback(shape, sharding, part)

        return {name: of(name, found) for name, found in local.items()}

    def whole(self, tree: Any) -> Any:
        """NumPy arrays that every process has, on every device."""
        one = self.everywhere()
        return jax.tree.map(
            lambda x: jax.make_array_from_callback(np.shape(x), one, np.asarray(x).__getitem__),
            tree,
        )


TENSOR = "tensor"
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
    tensor: int = 1,
    width: int | None = None,
    views: int = 1,
    devices: Sequence[jax.Device] | None = None,
) -> Placement:
    """Batches split over all devices; parameters and moments over `fsdp` of them (ZeRO-3, FSDP).

    Groups of `fsdp` devices hold the whole state once, and devices of equal number in their groups
    hold the same part. Rajbhandari et al. 2020, "ZeRO". With `tensor`, each of these devices is so
    many, which see the same images and share heads, hidden features and classes. Shoeybi et al.
    2019, "Megatron-LM".

    Args:
      fsdp: devices in a group, or the sizes of several mesh axes whose product it is: each axis
        is laid along a dimension of its own, where no dimension can be divided by all of them.
      tensor: devices that share the features of a layer; 1: none do.
      width: features of a token, which `tensor` never splits.
      views: of each image in a batch.
      devices: None for all there are.

    Raises:
      UserError: the devices are no whole number of groups.
    """
    found = np.asarray(jax.devices() if devices is None else devices)
    sizes = (fsdp,) if isinstance(fsdp, int) else fsdp
    _check_groups(found.size, math.prod(sizes), tensor)
    axes = {f"fsdp{k}": size for k, size in enumerate(sizes)}
    rows = ("data", *axes)
    if tensor > 1:
        axes[TENSOR] = tensor
    shape = found.size // math.prod(axes.values()), *axes.values()
    mesh = Mesh(
        found.reshape(shape), ("data", *axes), axis_types=(AxisType.Auto,) * (1 + len(axes))
    )
    split = {name: size for name, size in axes.items() if size > 1}
    shared = {name: size for name, size in split.items() if name == TENSOR}
    images = PartitionSpec(rows) if views == 1 else PartitionSpec(None, rows)
    return Placement(
        mesh,
        parameter_rule=lambda path, shape: split_largest(
            split, shape, stacked=_in_stack(path), width=width
        ),
        batch_rule=lambda name: images if name == "image" else PartitionSpec(rows),
        use_rule=(lambda shape: split_largest(shared, shape, stacked=False, width=width))
        if split
        else None,
    )


def check_devices(fsdp: int, tensor: int, batches: Iterable[int]) -> None:
    """
    Raises:
      UserError: the devices there are, of all processes together, are no whole number of groups, or
        cannot share a batch equally.
    """
    devices = jax.device_count()
    _check_groups(devices, fsdp, tensor)
    for batch in sorted(set(batches)):
        _check_batch(batch, devices // tensor)


def _check_batch(batch: int, shares: int) -> None:
    if batch % shares:
        below = batch // shares * shares
        near = f"{below} or {below + shares}" if below else f"{shares}"
        raise UserError([f"a batch of {batch} cannot be split over {shares} devices; use {near}."])


def _check_groups(devices: int, fsdp: int, tensor: int) -> None:
    """Raise UserError when the devices are no whole number of groups."""
    if devices % (fsdp * tensor) == 0:
        return
    key, other = ("fsdp", tensor) if devices % tensor == 0 else ("tensor", fsdp)
    if devices % other:
        other = 1
    given = " and ".join(f"{name}={n}" for name, n in (("fsdp", fsdp), ("tensor", tensor)) if n > 1)
    allowed = [str(n) for n in range(1, devices + 1) if devices % (n * other) == 0]
    verb = "their product does" if min(fsdp, tensor) > 1 else "does"
    raise UserError(
        [
            f"{given}: {verb} not divide {counted(devices, 'device')}; use "
            f"{key}={', '.join(allowed)}."
        ]
    )


def split_largest(
    axes: dict[str, int], shape: tuple[int, ...], *, stacked: bool, width: int | None = None
) -> PartitionSpec:
    """Each mesh axis, the largest first, to the largest dimension left that it divides.

    An axis called `tensor` goes before them, to the first dimension that it divides and that is not
    as long as a token is wide: heads, hidden features, classes. So a product's result is split
    where the next product sums over it, and a block is summed over devices twice.

    Args:
      axes: size of each mesh axis, by name.
      shape: of the array; small ones stay whole, as splitting them saves nothing.
      stacked: whether the first dimension counts layers. A loop goes through it, so it is never
        split: every turn would wait for the device that has the layer.
      width: features of a token.
    """
    cut: list[str | None] = [None] * len(shape)
    free = set(range(1 if stacked else 0, len(shape)))
    if math.prod(shape[dimension] for dimension in free) <= WHOLE_UP_TO:
        return PartitionSpec()
    axes = dict(axes)
    tensor = axes.pop(TENSOR, 1)
    shared = [d for d in sorted(free) if shape[d] % tensor == 0 and shape[d] != width]
    if tensor > 1 and shared:
        cut[shared[0]] = TENSOR
        free.remove(shared[0])
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


def _rows_axis(spec: PartitionSpec) -> int:
    """The axis that a batch rule splits: that of the rows."""
    return next(axis for axis, names in enumerate(spec) if names is not None)


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
    shapes = jax.eval_shape(program.start, SEED, None, None)
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
