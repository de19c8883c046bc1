"""What training asks of an objective. Knows no objective by name.

An objective is written in two parts: a frozen config, which a study file names (`config.py`), and
what it builds for one shape of network, which training works with. Only `params` get gradients: a
teacher is `frozen`, a moving average is `state`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import jax
from flax import nnx

from models.layers import Kernel
from models.noise import Noise
from scaling.data.loader import Batch

Group: TypeAlias = Literal["head", "body", "undecayed"]
"""Which of a recipe's weight decays a parameter has; `undecayed` has none."""


class Learned(NamedTuple):
    """All that an objective keeps from step to step; each a plain pytree of arrays.

    Fields:
      params: get gradients and updates; a nested dict, in which the network that evaluations look
        at and that `scaling convert` writes lies under `backbone`.
      frozen: never change; where the network is locked that evaluations look at, it lies here under
        `backbone`, and `params` has none.
      state: what the last `loss` returned, such as a moving average.
    """

    params: Any
    frozen: Any
    state: Any


class Parts(NamedTuple):
    """A loss in three parts, for a step that goes through the stack of blocks by itself.

    Parameters come in three parts as well, each a nested dict: what lies below the blocks, the
    blocks themselves (`params["backbone"]["blocks"]`), and what lies above them.

    Fields:
      depth: number of blocks.
      bottom: keys of `params["backbone"]` that lie below; all that is neither among them nor
        `blocks` lies above.
      below: (bottom, batch, noise) -> what the first block is given, in the blocks' dtype.
      block: (layer, x, number, noise) -> x after block `number`, whose parameters are `layer`.
      above: (top, frozen, state, x, batch, noise) -> what `loss` returns.
    """

    depth: int
    bottom: tuple[str, ...]
    below: Callable[..., Any]
    block: Callable[..., Any]
    above: Callable[..., Any]


class BuiltObjective(Protocol):
    """An objective for one shape of network: pure functions, made without any array."""

    def init(self, key: jax.Array, backbone: Any = None, frozen: Any = None) -> Learned:
        """The beginning, a function of its arguments.

        Args:
          key: of all that is drawn.
          backbone: parameters of a network of this shape to begin with; None: drawn as well.
          frozen: what never changes, such as a teacher's parameters, where the config has a
            `teacher`; None: drawn as well, as a plan needs shapes alone.
        """

    def loss(
        self, params: Any, frozen: Any, state: Any, batch: Batch, noise: Noise
    ) -> tuple[Any, tuple[Any, dict[str, Any]]]:
        """Mean loss of the batch, then the new state, and metrics, of which `loss` is one.

        Args:
          batch: a global batch, whatever the hosts, images as bytes. Where the run mixes images
            (`augment.MixUp`), they are floats in 0 .. 255, and `partner` and `share` say how labels
            are mixed: an objective that looks at `label` looks at these too.
          noise: the key of this step's random numbers, and the recipe's rates of dropout. A network
            folds small numbers into the key; an objective folds in others for draws of its own.
        """

    def parts(self) -> Parts | None:
        """The same loss in three parts; None: the network is no single stack of equal blocks, or
        the loss is no function of one pass through it."""

    def module(self, learned: Learned) -> Any:
        """The trained network, with a `.backbone`, which evaluations look at."""

    def parameter_groups(self, params: Any) -> Any:
        """The `Group` of every parameter, as a tree of the structure of `params`."""


def groups_of(variables: nnx.State, kernels: Group) -> Any:
    """The `Group` of every variable of a module, as nested dicts: `kernels` for each `Kernel`,
    `undecayed` for biases, norms, position tables, tokens and probes.

    Args:
      variables: of the module, as `nnx.split` gives them; abstract ones will do.
    """
    flat = nnx.to_flat_state(variables)
    found: dict[Any, Any] = {}
    for path, variable in flat:
        *above, last = path
        inner = found
        for step in above:
            inner = inner.setdefault(step, {})
        inner[last] = kernels if isinstance(variable, Kernel) else "undecayed"
    return found
