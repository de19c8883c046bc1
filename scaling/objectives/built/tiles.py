"""Tiles of images, and the two tasks on them: in which order they are, and where one lies."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int
from numpy.typing import NDArray

from models.build import build
from models.noise import Noise
from models.precision import Precision
from models.shapes import Shape
from scaling.data.hashing import key
from scaling.data.loader import Batch
from scaling.data.order import permute
from scaling.objectives.built.distill import resized
from scaling.objectives.built.on_backbone import LossAndMore, OnBackbone
from scaling.objectives.built.projection import MLP
from scaling.objectives.built.rotation import Tasked
from scaling.objectives.jigsaw import Jigsaw
from scaling.objectives.relative_patch import NEIGHBOURS, RelativePatch
from scaling.objectives.tiled import GRID, Tiled, tile_side

TILES = GRID**2
MIDDLE = TILES // 2
OFFSETS, ANSWERS = 2**31, 2**31 + 1  # folded into a step's key
ORDERS = 38  # a key, as `scaling.data.order` lists them


class TilesObjective(OnBackbone):
    """A loss of some tiles of each image, which pass the backbone one by one.

    A subclass says which tiles those are, and what the answer is.
    """

    def __init__(self, config: Tiled, tiles: int, outputs: int, model: Shape, precision: Precision):
        self._config, self._tiles, self._outputs, self._model = config, tiles, outputs, model
        super().__init__(precision)

    @abstractmethod
    def shown(self, answers: Int[Array, " n"]) -> Int[Array, "n tiles"]:
        """The tiles of each image that the backbone is shown, counted from 0 row by row."""

    def ordered(
        self, features: Float[Array, "n tiles size"], answers: Int[Array, " n"]
    ) -> Float[Array, "n tiles size"]:
        """Those of `shown` as the head is given them."""
        del answers
        return features

    def network(self, rngs: nnx.Rngs) -> Tasked:
        width = self._model.features
        backbone = build(self._model, self._precision, rngs=rngs)
        hidden = self._config.hidden or width
        head = MLP(self._tiles * width, hidden, self._outputs, norm="none", rngs=rngs)
        return Tasked(backbone, head)

    def answers(self, batch: Batch, noise: Noise) -> Int[Array, " n"]:
        """What the head is to say of each image: a function of the run's seed, step and row."""
        drawn = jax.random.fold_in(noise.key, ANSWERS)
        return jax.random.randint(drawn, (len(batch["index"]),), 0, self._outputs)

    def images(self, batch: Batch, noise: Noise) -> Float[Array, "n h w 3"]:
        """The tiles of each image, one after another, at the resolution of the run."""
        whole = super().images(batch, noise)
        numbers = self.shown(self.answers(batch, noise))
        drawn = jax.random.fold_in(noise.key, OFFSETS)
        found = cut(whole, numbers, self._config.gap, drawn)
        if self._config.standardise:
            found = standardised(found)
        return resized(found.reshape(-1, *found.shape[2:]), whole.shape[1])

    def of_features(
        self, module: Any, features: Any, frozen: Any, state: Any, batch: Batch, noise: Noise
    ) -> LossAndMore:
        del frozen
        answers = self.answers(batch, noise)
        apart = features.reshape(len(answers), self._tiles, -1)
        logits = module.task(self.ordered(apart, answers).reshape(len(answers), -1))
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, answers).mean()
        return loss, (state, {"loss": loss})


class JigsawObjective(TilesObjective):
    """`Jigsaw` for one shape: everything is trained, nothing is frozen, there is no state."""

    def __init__(self, config: Jigsaw, model: Shape, precision: Precision):
        super().__init__(config, TILES, config.permutations, model, precision)

    def shown(self, answers: Int[Array, " n"]) -> Int[Array, "n tiles"]:
        """All; as each passes alone, it is their features that are put into another order."""
        return jnp.broadcast_to(jnp.arange(TILES), (len(answers), TILES))

    def ordered(
        self, features: Float[Array, "n tiles size"], answers: Int[Array, " n"]
    ) -> Float[Array, "n tiles size"]:
        orders = jnp.asarray(permutations(self._outputs))[answers]
        return jnp.take_along_axis(features, orders[..., None], 1)


class RelativePatchObjective(TilesObjective):
    """`RelativePatch` for one shape: everything is trained, nothing is frozen, no state."""

    def __init__(self, config: RelativePatch, model: Shape, precision: Precision):
        super().__init__(config, 2, NEIGHBOURS, model, precision)

    def shown(self, answers: Int[Array, " n"]) -> Int[Array, "n tiles"]:
        """The middle one, then the neighbour; neighbours are counted row by row."""
        around = answers + (answers >= MIDDLE)
        return jnp.stack([jnp.full_like(around, MIDDLE), around], axis=1)


def cut(
    images: Float[Array, "n h w 3"], numbers: Int[Array, "n tiles"], gap: float, key: jax.Array
) -> Float[Array, "n tiles side side 3"]:
    """Tiles of these numbers, each at a random place in its cell.

    Args:
      gap: share of a cell's side that a tile lacks.
      key: of the places; those of a cell do not depend on which tiles are cut.
    """
    whole = images.shape[1]
    cell, side = whole // GRID, tile_side(whole, gap)
    jitter = jax.random.randint(key, (len(images), TILES, 2), 0, cell - side + 1)
    corner = jnp.stack([numbers // GRID, numbers % GRID], axis=-1) * cell
    corner = corner + jnp.take_along_axis(jitter, numbers[..., None], 1)

    def one(image: Any, corner: Any) -> Any:
        return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), (side, side, 3))

    return jax.vmap(jax.vmap(one, (None, 0)))(images, corner)


def standardised(tiles: Float[Array, "*n h w 3"]) -> Float[Array, "*n h w 3"]:
    """Mean 0 and variance 1 of each colour of each tile; one of a single colour stays at 0."""
    centred = tiles - tiles.mean((-3, -2), keepdims=True)
    variance = jnp.square(centred).mean((-3, -2), keepdims=True)
    return centred * jax.lax.rsqrt(variance + 1e-4)  # 1e-4: a level and a quarter of 255


@lru_cache(maxsize=8)
def permutations(count: int) -> NDArray[np.int32]:
    """The orders that `Jigsaw` tells apart, [count, 9]: position j of an order has tile [.., j].

    Greedy: the first is any, and each next one is the one with the largest sum of Hamming distances
    to those before; of several, the first in one fixed random order of all. The first nine differ
    from each other in every place.
    """
    every = np.array(list(itertools.permutations(range(TILES))), np.int8)
    every = every[permute(np.arange(len(every)), len(every), key(ORDERS))]
    having = [[np.flatnonzero(column == tile) for tile in range(TILES)] for column in every.T]
    shared = np.zeros(len(every), np.int64)  # places in which an order agrees, summed over chosen
    chosen = [0]
    while len(chosen) < count:
        for place, tile in enumerate(every[chosen[-1]]):
            shared[having[place][tile]] += 1
        shared[chosen[-1]] = np.iinfo(np.int64).max // 2
        chosen.append(int(shared.argmin()))
    return every[chosen].astype(np.int32)
