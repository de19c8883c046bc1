"""How fast this machine's processor multiplies matrices: what a time rests on when none was
measured."""

from __future__ import annotations

import time

SIDE = 2048
TIMES = 3


def products_rate() -> float:
    """FLOP/s of square float32 products by XLA on the processor: the fastest of a few."""
    import jax
    import jax.numpy as jnp

    with jax.default_device(jax.devices("cpu")[0]):
        product = jax.jit(jnp.matmul)
        a = jnp.ones((SIDE, SIDE), jnp.float32)
        product(a, a).block_until_ready()
        fastest = float("inf")
        for _ in range(TIMES):
            began = time.perf_counter()
            product(a, a).block_until_ready()
            fastest = min(fastest, time.perf_counter() - began)
    return 2 * SIDE**3 / fastest
