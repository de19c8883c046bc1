"""Forward passes over many images: fixed batches, the last one padded, one compilation a shape.

A batch is split over all devices, and each process loads the rows that its own devices hold. What
comes out is whole on every process.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, TypeAlias

import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from fits.base.errors import UserError
from scaling.data.labels import NONE, as_rows, check_labels
from scaling.data.pixels.floats import to_floats
from scaling.data.source import Images
from scaling.training.hosts import agreed
from scaling.training.placement import Placement, data_parallel

BATCH = 512  # images, of all devices where their memory is not known, else of each at most
PART_OF_FREE = 0.9  # of the memory that is free, as the allocator cannot use all of it

Forward: TypeAlias = Callable[..., tuple[Any, ...]]
"""(module, pixels, labels) -> arrays with a row an image, whole on every device."""


def features(
    module: nnx.Module,
    images: Images,
    indices: NDArray[np.int64],
    placement: Placement | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """What the backbone makes of the images of these numbers, [n, width], and their labels.

    Args:
      placement: where images lie; None: on all devices.

    Raises:
      ValueError: it makes no finite numbers.
    """
    where = placement or _on_all_devices()
    found = _over_all(_features(where), module, images, indices, where)
    return _finite(found[0], "images"), found[1]


def losses(
    module: nnx.Module,
    objective: Any,
    images: Images,
    indices: NDArray[np.int64],
    placement: Placement | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Loss in nats and top-1 error (0 or 1) of each of these images that has a label, [n] both.

    Raises:
      UserError: none has.
    """
    where = placement or _on_all_devices()
    loss, wrong, labels = _over_all(_losses(objective, where), module, images, indices, where)
    counts = as_rows(labels).max(1) > NONE
    if not counts.any():
        raise UserError([f"none of {len(indices):_} images to measure on has a label; give some."])
    return loss[counts], wrong[counts]


def scores(
    module: nnx.Module,
    objective: Any,
    images: Images,
    indices: NDArray[np.int64],
    placement: Placement | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """What the head says of these images, [n, classes], and their labels."""
    where = placement or _on_all_devices()
    found = _over_all(_scores(objective, where), module, images, indices, where)
    return found[0], found[1]


def image_vectors(
    module: nnx.Module,
    images: Images,
    indices: NDArray[np.int64],
    placement: Placement | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """What a network that reads text makes of these images, [n, size], and their labels."""
    where = placement or _on_all_devices()
    found = _over_all(_image_vectors(where), module, images, indices, where)
    return _finite(found[0], "images"), found[1]


def text_vectors(
    module: nnx.Module, tokens: NDArray[np.int32], placement: Placement | None = None
) -> NDArray[np.float32]:
    """What it makes of texts, [n, size].

    Args:
      tokens: of the texts, [n, length].
    """
    where = placement or _on_all_devices()
    forward, found = _text_vectors(where), []
    batch = -(-BATCH // where.shares) * where.shares
    rows = where.rows(batch)
    for first in range(0, len(tokens), batch):
        chosen = tokens[first : first + batch]
        padded = np.pad(chosen, ((0, batch - len(chosen)), (0, 0)), mode="edge")
        placed = where.place({"text": padded[rows]}, batch)["text"]
        found.append(np.asarray(forward(module, placed, placed)[0])[: len(chosen)])
    return _finite(np.concatenate(found), "texts")


def _finite(rows: NDArray[np.float32], of: str) -> NDArray[np.float32]:
    """The same rows; neighbours and ranks would take NaN for a number.

    Raises:
      ValueError: one is no finite number.
    """
    if not np.isfinite(rows).all():
        raise ValueError(f"features of {of} are no finite numbers: the weights are damaged.")
    return rows


def batch_that_fits(memory_needed: Callable[[int], float], free: float | None, shares: int) -> int:
    """Images of one batch on all devices.

    Args:
      memory_needed: bytes of a device for so many images of it, as compiled.
      free: bytes of a device; None: not known, as on a CPU.
      shares: devices, or groups of devices, that a batch is split over.
    """
    if free is None:
        return -(-BATCH // shares) * shares
    each = BATCH
    while each > 1 and memory_needed(each) > free:
        each //= 2
    return each * shares


@cache
def _on_all_devices() -> Placement:
    return data_parallel()


@lru_cache(maxsize=8)  # so that what is compiled for one run serves the next
def _features(where: Placement) -> Any:
    def of(module: Any, pixels: Any, labels: Any) -> tuple[Any, ...]:
        return module.backbone(to_floats(pixels)), labels

    return _whole(of, where)


@lru_cache(maxsize=8)
def _image_vectors(where: Placement) -> Any:
    def of(module: Any, pixels: Any, labels: Any) -> tuple[Any, ...]:
        return module.of_features(module.backbone(to_floats(pixels))), labels

    return _whole(of, where)


@lru_cache(maxsize=8)
def _text_vectors(where: Placement) -> Any:
    def of(module: Any, tokens: Any, _: Any) -> tuple[Any, ...]:
        return (module.of_texts(tokens),)

    return _whole(of, where)


@lru_cache(maxsize=8)
def _losses(objective: Any, where: Placement) -> Any:
    def of(module: Any, pixels: Any, labels: Any) -> tuple[Any, ...]:
        return (*objective.losses(module, to_floats(pixels), labels), labels)

    return _whole(of, where)


@lru_cache(maxsize=8)
def _scores(objective: Any, where: Placement) -> Any:
    def of(module: Any, pixels: Any, labels: Any) -> tuple[Any, ...]:
        return objective.logits(module, to_floats(pixels)), labels

    return _whole(of, where)


def _whole(of: Forward, where: Placement) -> Any:
    """`of`, compiled when first called, with results whole on every device."""

    def forward(module: Any, pixels: Any, labels: Any) -> tuple[Any, ...]:
        found = of(module, pixels, labels)
        return tuple(jax.lax.with_sharding_constraint(each, where.everywhere()) for each in found)

    return nnx.jit(forward)


def _over_all(
    forward: Any, module: Any, images: Images, indices: NDArray[np.int64], where: Placement
) -> list[NDArray[Any]]:
    """The results of all images, one after another."""
    batch, found = _batch(forward, module, images, where), []
    rows = where.rows(batch)
    for first in range(0, len(indices), batch):
        chosen = indices[first : first + batch]
        padded = np.pad(chosen, (0, batch - len(chosen)), mode="edge")
        pixels, labels = images.batch(padded[rows])
        check_labels(labels, images.classes, padded[rows])
        placed = where.place({"pixels": pixels, "label": labels}, batch)
        results = forward(module, placed["pixels"], placed["label"])
        found.append([np.asarray(each)[: len(chosen)] for each in results])
    return [np.concatenate(column) for column in zip(*found, strict=True)]


def _batch(forward: Any, module: Any, images: Images, where: Placement) -> int:
    """As many images as memory allows, by the first process's reckoning."""
    side = images.resolution

    def memory_needed(each: int) -> float:
        batch = each * where.shares
        place = where.of_batch("label")
        pixels = jax.ShapeDtypeStruct((batch, side, side, 3), np.uint8, sharding=place)
        of_one = images.batch(np.zeros(1, np.int64))[1].shape[1:]
        labels = jax.ShapeDtypeStruct((batch, *of_one), np.int32, sharding=place)
        try:
            analysis = forward.lower(module, pixels, labels).compile().memory_analysis()
        except jax.errors.JaxRuntimeError:  # too large to compile
            return float("inf")
        return float(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)

    return agreed(batch_that_fits(memory_needed, _free(where), where.shares), True)[0]


def _free(where: Placement) -> float | None:
    """Bytes that a program may still take on this process's first device; None: not known."""
    stats = where.mesh.local_devices[0].memory_stats()
    if not stats or "bytes_limit" not in stats:
        return None
    return PART_OF_FREE * (stats["bytes_limit"] - stats["bytes_in_use"])
