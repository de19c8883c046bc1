"""What a training step takes, from Ti/16 to G/14: images a second, MFU, memory, compilation.

    python benchmarks/train_step.py [MODEL ...] [--images 32] [--update fused] [--write]

One script for CPU, GPU and TPU. A step is `Trainer`'s own, with the paper's Adafactor and 500
classes at 224 px, on all devices of this process, on images that lie on them already. It is
compiled, made once untimed, and then timed; the median counts.

    images/s      of all devices together
    MFU           6 x multiply-adds an image (rematerialisation not counted) over the peak of the
                  devices. On a CPU, whose peak nobody states: over the rate of a product of two
                  matrices of 2,048 x 2,048 in the same dtype, measured before; the line says so
    GiB           most memory of a device, by the compiler
    seen GiB      most memory of a device that its allocator has seen; none is counted on a CPU
    compile s     from Python to a program that can run, without a cache

A model that does not fit is a line that says so. `--write` puts the table into
benchmarks/results/train_step.<device>.md beside what decided it; nothing else is written.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from models.precision import compute_for
from models.zoo import vit
from scaling.base.console import print_table
from scaling.data.procedural.source import Procedural
from scaling.planning.compiled import peak_bytes
from scaling.planning.devices import peak_flops
from scaling.training.placement_spec import PlacementSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.trainer import Trainer

MODELS = ("Ti/16", "S/16", "B/16", "L/16", "H/14", "g/14", "G/14")
HEADINGS = ("model", "images", "update", "remat", "images/s", "MFU", "GiB", "seen GiB", "compile s")
RESULTS = Path(__file__).parent / "results"
CLASSES = 500
GIB = 2**30


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=MODELS, help="of the zoo; default: all seven")
    parser.add_argument("--images", type=int, default=32, help="a device (default 32)")
    parser.add_argument("--steps", type=int, default=5, help="that are timed (default 5)")
    parser.add_argument("--compute", choices=("float32", "bfloat16"), help="default: the device's")
    parser.add_argument("--update", choices=("plain", "fused"), default="plain")
    parser.add_argument("--remat", choices=("none", "dots", "full", "offload"), default="none")
    parser.add_argument("--fsdp", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="also into benchmarks/results/")
    options = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    compute = options.compute or compute_for(jax.default_backend())
    spec = PlacementSpec(update=options.update, remat=options.remat, fsdp=options.fsdp)
    peak, source = peak_of(compute)
    rows = [
        measured(name, options.images, options.steps, compute, spec, peak)
        for name in options.models
    ]
    about = described(compute, peak, source)
    print(f"{about}\n")
    print_table(HEADINGS, rows, left=("model", "update", "remat"))
    if options.write:
        write(about, rows)


def measured(name, images, steps, compute, spec, peak):
    """One line of the table."""
    begin = name, f"{images}", spec.update, spec.recomputed
    run = Run(
        model=vit(name),
        data=Procedural(resolution=224, classes=CLASSES),
        recipe=Recipe(warmup_steps=0, clip_by="previous"),
        compute=compute,
        images_seen=images * jax.device_count() * 10**6,
        batch=images * jax.device_count(),
    )
    try:
        return *begin, *timed(run, steps, spec, peak)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return *begin, "", "", "too large", "", ""


def timed(run, steps, spec, peak):
    """images/s, MFU, GiB by the compiler, GiB as seen, seconds to compile, as text."""
    trainer = Trainer(run, spec=spec)
    generator = np.random.default_rng(0)
    batch = {
        "image": generator.integers(0, 256, (run.batch, 224, 224, 3), np.uint8),
        "label": generator.integers(0, CLASSES, run.batch).astype(np.int32),
        "index": np.arange(run.batch, dtype=np.uint32),
    }
    placed = trainer.placement.place(batch, run.batch)
    state, numbers = trainer.start().state, (np.float32(1), np.uint32(0), np.uint32(0))
    began = time.perf_counter()
    step = trainer._step.lower(state, placed, *numbers).compile()
    compile_seconds = time.perf_counter() - began
    seconds = []
    for _ in range(1 + steps):
        began = time.perf_counter()
        state, metrics = step(state, placed, *numbers)
        jax.block_until_ready((state, metrics))
        seconds.append(time.perf_counter() - began)
    rate = run.batch / statistics.median(seconds[1:])
    flops = run.flops / run.images_seen
    seen = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return (
        f"{rate:.3g}",
        f"{rate * flops / (peak * jax.device_count()):.1%}",
        f"{peak_bytes(step, jax.default_backend()) / GIB:.2f}",
        "" if seen is None else f"{seen / GIB:.2f}",
        f"{compile_seconds:.1f}",
    )


def peak_of(compute):
    """FLOP/s of a device, and where the number is from."""
    device = jax.devices()[0]
    stated = peak_flops(device.device_kind)
    if stated is not None:
        return stated, "stated by the maker, of bf16 products"
    a = jnp.ones((2048, 2048), compute)
    product = jax.jit(lambda a: jnp.matmul(a, a, preferred_element_type=jnp.float32))
    jax.block_until_ready(product(a))
    seconds = []
    for _ in range(10):
        began = time.perf_counter()
        jax.block_until_ready(product(a))
        seconds.append(time.perf_counter() - began)
    return 2 * 2048**3 / statistics.median(seconds), "a matrix product of 2,048 x 2,048, measured"


def described(compute, peak, source):
    """What decided the numbers, in a sentence or two."""
    device = jax.devices()[0]
    return (
        f"{jax.device_count()} x {device.device_kind} ({device.platform}), {compute}, "
        f"jax {jax.__version__}, Python {platform.python_version()}. "
        f"Peak of a device: {peak / 1e12:.4g} TFLOP/s ({source})."
    )


def write(about, rows):
    """The table as Markdown, replaced as a whole."""
    device = jax.devices()[0].device_kind.replace(" ", "-").replace("/", "-")
    RESULTS.mkdir(exist_ok=True)
    lines = [f"| {' | '.join(HEADINGS)} |", f"|{' --- |' * len(HEADINGS)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    path = RESULTS / f"train_step.{device}.md"
    path.write_text(f"# A training step\n\n{about}\n\n" + "\n".join(lines) + "\n")
    print(f"\n{path}")


if __name__ == "__main__":
    main()
