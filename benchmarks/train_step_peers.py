"""Images a second through a training step: ours, plain JAX, and timm on torch.

    python benchmarks/train_step_peers.py [--rounds 7] [--model Ti/16]

A step is forward, backward and Adam, in float32, on images already in memory:

    ours    as `Trainer` runs it
    scan    the same with the depth loop kept a loop
    plain   the same network in fifty lines of JAX: a list of layers, products of two dimensions
    timm    `vit_tiny_patch16_224` and its like on torch, if installed; eager

All of them take turns within each round, every second round in reverse, and each makes a step that
is not timed first, so that ratios survive a noisy machine: compare ratios, not rates, between
machines. `x plain` is the median over rounds of the rate over that of `plain` in the same round.
`cpu s` is the processor time of a step, all cores; `system` is the part of it that went to the
operating system, nearly all to hand out fresh pages of memory, for XLA returns its work space after
every step. On Linux with glibc 2.35 or later, start it as `scaling launch` starts its workers,

    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python benchmarks/train_step_peers.py

to get pages of 2 MiB instead of 4 KiB, and nearly all of that time back. Prints a table, writes
nothing.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from models.precision import Precision
from models.shapes import ViTShape
from models.zoo import vit
from scaling.data.procedural.source import Procedural
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.trainer import Trainer

MICRO = ViTShape(name="micro", patch=4, resolution=32, width=64, depth=4, mlp=256, heads=4)
CASES = {"Ti/16": (vit("Ti/16"), 32), "micro": (MICRO, 256)}
CLASSES = 8
RATE = 1e-3


class Timing(NamedTuple):
    """One step: seconds on the clock, seconds of all processors in our code and in the system."""

    wall: float
    user: float
    system: float


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="steps of each kind (default 7)")
    parser.add_argument("--model", choices=CASES, help="only this one")
    options = parser.parse_args()
    print(
        f"{'model':8}{'batch':>6}  {'step':8}{'compile s':>10}{'images/s':>10}{'x plain':>9}"
        f"{'cpu s':>8}  system"
    )
    for name in [options.model] if options.model else CASES:
        compare(*CASES[name], options.rounds)


def compare(shape: ViTShape, batch: int, rounds: int):
    """Times all steps in turns and prints a line for each."""
    generator = np.random.default_rng(0)
    side = shape.resolution
    pixels = generator.integers(0, 256, (batch, side, side, 3), np.uint8)
    labels = generator.integers(0, CLASSES, batch).astype(np.int32)
    steps, compile_seconds = {}, {}
    for name, make in {"ours": ours, "scan": looped, "plain": plain, "timm": timm_on_torch}.items():
        start = time.perf_counter()
        step = make(shape, pixels, labels)
        if step is not None:
            step()
            steps[name], compile_seconds[name] = step, time.perf_counter() - start
    timings = []
    for turn in range(rounds):
        order = list(steps) if turn % 2 else list(reversed(steps))
        timings.append({name: timed(steps[name]) for name in order})
    for name in steps:
        of = [each[name] for each in timings]
        ratio = statistics.median(each["plain"].wall / each[name].wall for each in timings)
        cpu = statistics.median(t.user + t.system for t in of)
        system = sum(t.system for t in of) / sum(t.user + t.system for t in of)
        print(
            f"{shape.name:8}{batch:6}  {name:8}{compile_seconds[name]:10.1f}"
            f"{batch / statistics.median(t.wall for t in of):10.1f}{ratio:9.2f}{cpu:8.2f}"
            f"{system:8.0%}"
        )


def timed(step: Callable[[], object]) -> Timing:
    """What one call takes, after another that takes back the memory that others have left."""
    step()
    before, start = os.times(), time.perf_counter()
    step()
    wall, after = time.perf_counter() - start, os.times()
    return Timing(wall, after.user - before.user, after.system - before.system)


def looped(shape, pixels, labels):
    """The same with the depth loop never written out."""
    return ours(shape, pixels, labels, Precision())


def ours(shape, pixels, labels, precision=None):
    """A step of `Trainer`, without the loader."""
    batch = len(pixels)
    trainer = Trainer(
        Run(
            model=shape,
            data=Procedural(resolution=shape.resolution, classes=CLASSES),
            recipe=Recipe(optimizer="adam", learning_rate=RATE, warmup_steps=0),
            images_seen=100 * batch,
            batch=batch,
        ),
        precision,
    )
    index = np.arange(batch, dtype=np.uint32)
    images = {"image": pixels, "label": labels, "index": index}
    state = trainer.start().state

    def step():
        nonlocal state
        state, metrics = trainer._step(state, images, np.float32(1), np.uint32(0), np.uint32(0))
        return float(metrics["loss"])

    return step


def plain(shape, pixels, labels):
    """The same step, written down once more with nothing but arrays."""
    d, h, n = shape.width, shape.heads, shape.patches
    normal = jax.nn.initializers.normal(d**-0.5)
    keys = iter(jax.random.split(jax.random.key(0), 1000))

    def linear(inputs, outputs):
        return {"kernel": normal(next(keys), (inputs, outputs)), "bias": jnp.zeros(outputs)}

    def norm():
        return {"scale": jnp.ones(d), "bias": jnp.zeros(d)}

    def block():
        products = {name: linear(d, d) for name in ("query", "key", "value", "out")}
        products |= {"into": linear(d, shape.mlp), "back": linear(shape.mlp, d)}
        return products | {"norm1": norm(), "norm2": norm()}

    params = {
        "embedding": linear(3 * shape.patch**2, d),
        "position": normal(next(keys), (n, d)),
        "blocks": [block() for _ in range(shape.depth)],
        "norm": norm(),
        "pool": {**block(), "probe": normal(next(keys), (1, 1, d))},
        "head": {"kernel": jnp.zeros((d, CLASSES)), "bias": jnp.zeros(CLASSES)},
    }

    def apply(p, x):
        flat = x.reshape(-1, x.shape[-1]) @ p["kernel"] + p["bias"]
        return flat.reshape(*x.shape[:-1], -1)

    def normed(p, x):
        centred = x - x.mean(-1, keepdims=True)
        spread = jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-6)
        return centred * spread * p["scale"] + p["bias"]

    def attend(p, queries, tokens):
        def heads(name, x):
            return apply(p[name], x).reshape(*x.shape[:2], h, -1).transpose(0, 2, 1, 3)

        q, k, v = heads("query", queries), heads("key", tokens), heads("value", tokens)
        weights = jax.nn.softmax(q @ k.swapaxes(-1, -2) * (d // h) ** -0.5)
        return apply(p["out"], (weights @ v).transpose(0, 2, 1, 3).reshape(len(tokens), -1, d))

    def think(p, x):
        return apply(p["back"], jax.nn.gelu(apply(p["into"], x)))

    def loss(params, pixels, labels):
        images = pixels.astype(jnp.float32) / 127.5 - 1
        side, patch = shape.grid, shape.patch
        squares = images.reshape(-1, side, patch, side, patch, 3).swapaxes(2, 3)
        x = apply(params["embedding"], squares.reshape(-1, n, 3 * patch**2)) + params["position"]
        for p in params["blocks"]:
            y = normed(p["norm1"], x)
            x = x + attend(p, y, y)
            x = x + think(p, normed(p["norm2"], x))
        p = params["pool"]
        x = attend(p, p["probe"], normed(params["norm"], x))[:, 0]
        logits = apply(params["head"], x + think(p, normed(p["norm2"], x)))
        targets = jax.nn.one_hot(labels, CLASSES)
        return optax.sigmoid_binary_cross_entropy(logits, targets).sum(-1).mean()

    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(RATE, weight_decay=3e-2))

    @jax.jit(donate_argnums=(0, 1))
    def update(params, state, pixels, labels):
        value, grads = jax.value_and_grad(loss)(params, pixels, labels)
        updates, state = adam.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    state = params, adam.init(params)

    def step():
        nonlocal state
        *state, value = update(*state, pixels, labels)
        return float(value)

    return step


def timm_on_torch(shape, pixels, labels):
    """The same step by timm, or None where it is not installed."""
    try:
        import torch
        from timm.models.vision_transformer import VisionTransformer
    except ImportError:
        return None
    model = VisionTransformer(
        img_size=shape.resolution,
        patch_size=shape.patch,
        embed_dim=shape.width,
        depth=shape.depth,
        num_heads=shape.heads,
        mlp_ratio=shape.mlp / shape.width,
        num_classes=CLASSES,
        class_token=False,
        global_pool="map",
        act_layer="gelu_tanh",
    )
    adam = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=3e-2)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    targets = torch.nn.functional.one_hot(torch.from_numpy(labels).long(), CLASSES).float()

    def step():
        adam.zero_grad()
        logits = model(images.float() / 127.5 - 1)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, targets, reduction="none"
        )
        loss = loss.sum(-1).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        return loss.item()

    return step


if __name__ == "__main__":
    main()
