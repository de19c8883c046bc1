"""Where the time of a training step on one core of a CPU goes, and how fast it could be at most.

    python benchmarks/step_profile.py [--images 16] [--rounds 5]

Ti/16, float32, Adam, with XLA's flags as `scaling launch` gives them to a worker, pinned to one
core. Prints the seconds of a step in matrix products and in all else, by XLA's own profiler; the
rate of its products beside that of the best product seen on this core; and how many times faster
than plain JAX (`train_step_peers.py`) the step would be if its products ran at that best rate, with
all else as it is, and with all else free. Run it on an idle machine. Writes nothing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from scaling.base.machine import ONE_THREAD_XLA

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = ONE_THREAD_XLA

import jax
import jax.numpy as jnp
import numpy as np
from train_step_peers import CLASSES, RATE, plain

from models.zoo import vit
from scaling.data.procedural.source import Procedural
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.trainer import Trainer

SIDES = 512, 1024, 2048  # of the square products among which the best is looked for


class Split(NamedTuple):
    """Seconds of one step."""

    products: float
    others: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    run = run_of(options.images)
    step, names = compiled_step(run)
    peer = plain(run.model, *images_of(run))
    peer()
    profiles, ours, theirs = [], [], []
    for _ in range(options.rounds):
        ours.append(seconds(step))
        theirs.append(seconds(peer))
        profiles.append(profiled(step, names))
    told = min(profiles, key=sum)
    report(run.flops / run.steps, told, min(ours), statistics.median(theirs), best_rate())


def run_of(images: int) -> Run:
    return Run(
        model=vit("Ti/16"),
        data=Procedural(resolution=224, classes=CLASSES),
        recipe=Recipe(optimizer="adam", learning_rate=RATE, warmup_steps=0),
        images_seen=100 * images,
        batch=images,
    )


def images_of(run: Run) -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    side = run.data.resolution
    pixels = generator.integers(0, 256, (run.batch, side, side, 3), np.uint8)
    return pixels, generator.integers(0, CLASSES, run.batch).astype(np.int32)


def compiled_step(run: Run) -> tuple[Callable[[], Any], set[str]]:
    """What makes a step, and the names of its instructions that are matrix products."""
    trainer = Trainer(run)
    pixels, labels = images_of(run)
    batch = {"image": pixels, "label": labels, "index": np.arange(run.batch, dtype=np.uint32)}
    state = trainer.start().state
    rest = np.float32(1), np.uint32(0), np.uint32(0)
    text = trainer._step.lower(state, batch, *rest).compile().as_text()

    def step() -> float:
        nonlocal state
        state, metrics = trainer._step(state, batch, *rest)
        return float(metrics["loss"])

    step()
    return step, products_in(text)


def products_in(text: str) -> set[str]:
    """Names of instructions that are products, or fusions with a product inside."""
    bodies = dict(re.findall(r"^%(\S+) \(.*?\{\n(.*?)^\}", text, re.M | re.S))
    fused = {name for name, body in bodies.items() if " dot(" in body}
    found = set()
    for name, rest in re.findall(r"^\s+(?:ROOT )?%(\S+) = (.*)$", text, re.M):
        called = re.search(r"calls=%(\S+?)[,\s]", rest)
        if " dot(" in rest or (called and called[1] in fused):
            found.add(name)
    return found


def profiled(step: Callable[[], Any], products: set[str]) -> Split:
    """One step, by XLA's profiler."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True):
            step()
        (trace,) = Path(folder).rglob("perfetto_trace.json.gz")
        with gzip.open(trace) as file:
            events = json.load(file)["traceEvents"]
    seen = [(each["name"], each["dur"] / 1e6) for each in events if each.get("ph") == "X"]
    whole = max(length for name, length in seen if name.startswith("ThunkExecutor::Execute"))
    inside = sum(length for name, length in seen if name in products)
    return Split(inside, whole - inside)


def seconds(step: Callable[[], Any]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def multiplied(product: Callable[[Any], Any], x: Any) -> None:
    product(x).block_until_ready()


def best_rate() -> float:
    """FLOP/s of the fastest product among some large square ones."""
    product = jax.jit(lambda x: x @ x)
    best = 0.0
    for side in SIDES:
        x = jnp.ones((side, side))
        multiplied(product, x)
        took = min(seconds(partial(multiplied, product, x)) for _ in range(10))
        best = max(best, 2 * side**3 / took)
    return best


def report(flops: float, told: Split, ours: float, plain: float, best: float) -> None:
    at_best = flops / best
    print(
        f"a step, seconds: {ours:.2f}; of plain JAX: {plain:.2f}, {plain / ours:.2f} times as long"
    )
    print(
        f"by the profiler: products {told.products:.2f} s, at "
        f"{flops / told.products / 1e9:.0f} GFLOP/s; all else {told.others:.2f} s"
    )
    print(f"best product seen here: {best / 1e9:.0f} GFLOP/s; {at_best:.2f} s for the step's FLOPs")
    print(
        f"times as fast as plain JAX at that rate: {plain / (at_best + told.others):.2f}; with all "
        f"else free: {plain / at_best:.2f}"
    )


if __name__ == "__main__":
    main()
