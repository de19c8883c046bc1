"""What training asks of an objective. Knows no objective by name.

An objective is written in two parts: a frozen config, which a study file names, and what it builds
for one shape of network, which training works with. Only `params` get gradients: a teacher is
`frozen`, a moving average is `state`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeAlias

import jax

from models.noise import Noise
from models.precision import Precision
from models.shapes import Shape

Batch: TypeAlias = dict[str, Any]
"""`image` uint8 [batch, side, side, 3], or [views, batch, side, side, 3] where an objective wants
more than one view; `label` int32 [batch]; `index` uint32 [batch], the image's
member of the data set."""

Group: TypeAlias = Literal["head", "body", "undecayed"]
"""Which of a recipe's weight decays a parameter has; `undecayed` has none."""


class Learned(NamedTuple):
    """All that an objective keeps from step to step; each a plain pytree of arrays.

    Fields:
      params: get gradients and updates.
      frozen: never change.
      state: what the last `loss` returned, such as a moving average.
    """

    params: Any
    frozen: Any
    state: Any


class BuiltObjective(Protocol):
    """An objective for one shape of network: pure functions, made without any array."""

    def init(self, key: jax.Array) -> Learned:
        """The beginning, a function of the key."""

    def loss(
        self, params: Any, frozen: Any, state: Any, batch: Batch, noise: Noise
    ) -> tuple[Any, tuple[Any, dict[str, Any]]]:
        """Mean loss of the batch, then the new state, and metrics, of which `loss` is one.

        Args:
          noise: the key of this step's random numbers, and the recipe's rates of dropout.
        """

    def module(self, learned: Learned) -> Any:
        """The trained network, with a `.backbone`, which evaluations look at."""

    def parameter_groups(self, params: Any) -> Any:
        """The `Group` of every parameter, as a tree of the structure of `params`."""


class ObjectiveConfig(Protocol):
    """An objective as a study file names it."""

    views: ClassVar[int]
    """Differently augmented versions of each image a step."""
    couples_examples: ClassVar[bool]
    """Whether one image's loss depends on the others of its batch."""

    def build(self, model: Shape, classes: int, precision: Precision) -> BuiltObjective:
        """The objective for one shape; makes no arrays."""

    def flops(self, model: Shape, images_seen: int, classes: int) -> int:
        """FLOPs of training on `images_seen` images."""


def kernels(tree: Any, group: Group) -> Any:
    """`group` for every kernel of `tree`, `undecayed` for biases, norms, tables and probes."""
    return jax.tree.map_with_path(
        lambda path, _: group if path[-1].key == "kernel" else "undecayed", tree
    )
