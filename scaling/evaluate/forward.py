"""Forward passes over many images: fixed batches, the last one padded, one compilation a shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from flax import nnx
from numpy.typing import NDArray

from scaling.data.pixels import to_floats
from scaling.data.source import Images

BATCH = 512


def features(
    module: nnx.Module, images: Images, indices: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """What the backbone makes of the images of these numbers, [n, width], and their labels [n]."""
    found, found_labels = [], []
    for chosen in _chunks(indices):
        pixels, labels = images.batch(_padded(chosen))
        found.append(np.asarray(_features(module, pixels))[: len(chosen)])
        found_labels.append(labels[: len(chosen)])
    return np.concatenate(found), np.concatenate(found_labels)


def losses(
    module: nnx.Module, objective: Any, images: Images, indices: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Loss in nats and top-1 error (0 or 1) of each of these images, [n] both."""
    loss, wrong = [], []
    for chosen in _chunks(indices):
        pixels, labels = images.batch(_padded(chosen))
        both = _losses(objective, module, pixels, labels)
        loss.append(np.asarray(both[0])[: len(chosen)])
        wrong.append(np.asarray(both[1])[: len(chosen)])
    return np.concatenate(loss), np.concatenate(wrong)


def _chunks(indices: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [indices[first : first + BATCH] for first in range(0, len(indices), BATCH)]


def _padded(chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """`chosen`, its last number repeated up to a whole batch."""
    return np.pad(chosen, (0, BATCH - len(chosen)), mode="edge")


def _features_of(module: Any, pixels: Any) -> Any:
    return module.backbone(to_floats(pixels))


def _losses_of(objective: Any, module: Any, pixels: Any, labels: Any) -> Any:
    return objective.losses(module, to_floats(pixels), labels)


_features: Callable[..., Any] = nnx.jit(_features_of)
_losses: Callable[..., Any] = nnx.jit(_losses_of, static_argnums=0)
