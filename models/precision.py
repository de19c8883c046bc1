"""How a network is computed, as data: compute dtype, rematerialisation, unrolling.

None of it changes what a network is. Whoever builds a network hands it a `Precision`; the network
itself never asks which device it runs on. Knows no JAX.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Compute: TypeAlias = Literal["float32", "bfloat16"]
AttentionKernel: TypeAlias = Literal["products", "cudnn"]
Remat: TypeAlias = Literal["none", "dots", "full", "offload"]
BEFORE_AMPERE = re.compile(
    r"\b(T4|V100|[KMP]\d+|GTX|TITAN|Quadro|RTX 20\d\d)\b", re.IGNORECASE
)  # in the name of a GPU


@dataclass(frozen=True, kw_only=True)
class Precision:
    """The choices of one build. Parameters are float32 whatever is chosen here.

    Fields:
      compute: dtype of the blocks' products and of the residual stream. The statistics of norms,
        and the scores and sums of softmax, are float32 all the same; so are embedding, pool and
        head.
      rematerialise: what the forward pass keeps of a block for the backward pass, besides its
        input: "none" is computed again, all is kept; "dots": results of products with parameters;
        "full": nothing, a third more arithmetic; "offload": what "dots" keeps, in the host's
        memory.
      attention: what computes the blocks' attention: "products", two matrix products with a softmax
        between; "cudnn", NVIDIA's fused kernel, which never writes the scores. It takes bfloat16,
        head sizes that are multiples of 8 and an even number of tokens; where it does not, products
        are taken.
      unroll_up_to: the depth loop of a network with at most so many blocks is written out; a
        deeper one keeps the loop, and compiles as fast as one block.
      gather: (a block's parameters, compute dtype) -> the same, when the block's turn comes; None:
        as they are. Where devices share the state, one block's is brought together here.
    """

    compute: Compute = "float32"
    rematerialise: Remat = "none"
    attention: AttentionKernel = "products"
    unroll_up_to: int = 0
    gather: Callable[[Any, Any], Any] | None = None

    def blocks_a_turn(self, depth: int) -> int:
        """Blocks that one turn of the depth loop computes."""
        return depth if depth <= self.unroll_up_to else 1


def precision_for(
    platform: str,
    compute: Compute = "float32",
    rematerialise: Remat = "none",
    *,
    device: str = "",
) -> Precision:
    """What training chooses on a platform, "cpu", "gpu" or "tpu", besides what it is told.

    Args:
      device: its name, as the maker's driver tells it; "": any.

    A CPU runs models of up to 12 blocks about 1.3 times faster with the loop written out
    (`benchmarks/train_step_peers.py`).
    """
    kernel = platform == "gpu" and compute_for(platform, device) == "bfloat16"
    return Precision(
        compute=compute,
        rematerialise=rematerialise,
        attention="cudnn" if kernel and compute == "bfloat16" else "products",
        unroll_up_to=12 if platform == "cpu" else 0,
    )


def compute_for(platform: str, device: str = "") -> Compute:
    """The dtype of a study that leaves it open: what the device's matrix units are made for.

    NVIDIA's GPUs before Ampere have neither bfloat16 nor a fused attention.

    Args:
      platform, device: as of `precision_for`.
    """
    if platform == "cpu" or (platform == "gpu" and BEFORE_AMPERE.search(device)):
        return "float32"
    return "bfloat16"


PLAIN = Precision()
