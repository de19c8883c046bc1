"""Images a second through forward and backward: the depth loop as a scan, and written out.

    python benchmarks/train_step.py [--repeats 5]

Two models: Ti/16 at 224 px with batch 32, and a micro ViT (width 64, depth 4, 4 heads, 32 px,
patch 4) with batch 256. Both forms of the loop take turns within one run, so that their ratio
survives a noisy machine; compare ratios, not rates, between machines. Prints a table, writes
nothing.

The last column is the part of the processor time that went to the operating system, nearly all of
it to hand out fresh pages of memory, for XLA returns its work space after every step. On Linux
with glibc 2.35 or later, start it as

    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python benchmarks/train_step.py

to get pages of 2 MiB instead of 4 KiB, and nearly all of that time back.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from models.build import build
from models.shapes import ViTShape
from models.zoo import vit

MICRO = ViTShape(name="micro", patch=4, resolution=32, width=64, depth=4, mlp=256, heads=4)
CASES = ((vit("Ti/16"), 32), (MICRO, 256))


class Timing(NamedTuple):
    """One step: seconds on the clock, seconds of all processors in our code and in the system."""

    wall: float
    user: float
    system: float


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, help="steps of each kind (default 5)")
    repeats = parser.parse_args().repeats
    print(
        f"{'model':8}{'batch':>6}  {'loop':8}{'compile s':>10}{'images/s':>10}{'ratio':>7}  system"
    )
    for shape, batch in CASES:
        compare(shape, batch, repeats)


def compare(shape: ViTShape, batch: int, repeats: int):
    """Times both loops in turns and prints a line for each."""
    loops = {"scan": 1, "unrolled": shape.depth}
    steps, compile_seconds = {}, {}
    for loop, unroll in loops.items():
        start = time.perf_counter()
        steps[loop] = compiled_step(shape, batch, unroll)
        compile_seconds[loop] = time.perf_counter() - start
    timings = {loop: [] for loop in loops}
    for _ in range(repeats):
        for loop, step in steps.items():
            timings[loop].append(timed(step))
    rate = {x: batch / statistics.median(t.wall for t in timings[x]) for x in loops}
    for loop in loops:
        _, user, system = (sum(column) for column in zip(*timings[loop], strict=True))
        print(
            f"{shape.name:8}{batch:6}  {loop:8}{compile_seconds[loop]:10.1f}{rate[loop]:10.1f}"
            f"{rate[loop] / rate['scan']:7.2f}{system / (user + system):8.0%}"
        )


def compiled_step(shape: ViTShape, batch: int, unroll: int) -> Callable[[], object]:
    """A function that runs one forward and backward pass and waits for it; already run once."""
    graph, params = nnx.split(nnx.jit(lambda rngs: build(shape, rngs=rngs))(nnx.Rngs(0)))
    images = jax.random.uniform(
        jax.random.key(1), (batch, shape.resolution, shape.resolution, 3), minval=-1.0
    )

    @jax.jit
    def step(params, images):
        def loss(params):
            model = nnx.merge(graph, params)
            model.unroll = unroll
            return jnp.square(model(images)).mean()

        return jax.value_and_grad(loss)(params)

    def run():
        return jax.block_until_ready(step(params, images))

    run()
    return run


def timed(step: Callable[[], object]) -> Timing:
    """What one call takes."""
    before, start = os.times(), time.perf_counter()
    step()
    wall, after = time.perf_counter() - start, os.times()
    return Timing(wall, after.user - before.user, after.system - before.system)


if __name__ == "__main__":
    main()
