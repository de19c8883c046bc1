"""Whether the best learning rate stays put as a ViT grows wider: standard against muP.

    python benchmarks/mup_transfer.py [--steps 200] [--seeds 0] [--out docs/models]

Networks of width 32, 64, 128 and 256 (depth 2, 4 heads, patches of 4 px) learn the glyphs of
`scaling.data.procedural` at learning rates a factor of 2 apart, in both parametrisations; the base
of muP is width 32, where the two are one. Every run sees the same images in the same order. A loss
is the mean over the last tenth of the steps, and the best rate of a width is the lowest point of
the parabola through the best rate tried and its two neighbours.

Prints a table, writes mup.csv (every run) and mup.png into --out. A quarter of an hour on one core;
set XLA_FLAGS="--xla_cpu_multi_thread_eigen=false" to keep it to one.
"""

import argparse
import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from models.mup import multipliers
from models.precision import Precision
from models.shapes import MuP, ViTShape
from scaling.data.pixels.floats import to_floats
from scaling.data.procedural.source import Procedural
from scaling.objectives.classify import Classify
from scaling.objectives.protocol import Learned
from scaling.training.optimizer import Optimizer
from scaling.training.recipe import Recipe, schedule

BATCH = 64
WIDTHS = (32, 64, 128, 256)
RATES = tuple(2.0**k for k in range(-12, -4))
BASE = MuP(base_width=32, base_head=8)
PARAMETRISATIONS = {"standard": None, "muP": BASE}
DATA = Procedural(classes=32, label_noise=0.0, tail=0.0, heldout_size=1)
OBJECTIVE = Classify(loss="softmax")


class Point(NamedTuple):
    """One run: its loss in nats, infinite where it diverged."""

    parametrisation: str
    width: int
    rate: float
    seed: int
    loss: float


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=200, help="updates a run (default 200)")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=(0,), help="of the start (default 0)"
    )
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--out", type=Path, default=Path("docs/models"))
    asked = parser.parse_args()
    points = [
        Point(name, width, rate, seed, loss)
        for width in asked.widths
        for name, loss_at in trainings(width, asked.steps).items()
        for seed in asked.seeds
        for rate in RATES
        for loss in [said(name, width, rate, loss_at(rate, seed))]
    ]
    show(points)
    asked.out.mkdir(parents=True, exist_ok=True)
    with (asked.out / "mup.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(Point._fields)
        table.writerows(p._replace(loss=float(f"{p.loss:.5g}")) for p in points)
    draw(points, asked.out / "mup.png")


def said(name: str, width: int, rate: float, loss: float) -> float:
    print(f"{name:9} {width:4} 2^{math.log2(rate):3.0f}  {loss:.4f}", flush=True)
    return loss


def shape_of(width: int, mup: MuP | None) -> ViTShape:
    return ViTShape(
        name=f"w{width}",
        patch=4,
        resolution=16,
        width=width,
        depth=2,
        mlp=2 * width,
        heads=4,
        mup=mup,
    )


def trainings(width: int, steps: int) -> dict[str, Callable[[float, int], float]]:
    """By parametrisation, a function from learning rate and seed to the loss.

    At the base both are the same network (`tests/test_mup.py`) and train once.
    """
    if width == BASE.base_width:
        shared = training(shape_of(width, None), steps)
        known: dict[tuple[float, int], float] = {}

        def once(rate: float, seed: int) -> float:
            if (rate, seed) not in known:
                known[rate, seed] = shared(rate, seed)
            return known[rate, seed]

        return dict.fromkeys(PARAMETRISATIONS, once)
    return {name: training(shape_of(width, mup), steps) for name, mup in PARAMETRISATIONS.items()}


def training(shape: ViTShape, steps: int) -> Callable[[float, int], float]:
    """Compiles the step of one network once, for all rates and seeds."""
    recipe = Recipe(
        optimizer="adam",
        learning_rate=1.0,  # the rate comes with each step
        weight_decay_head=0.0,
        weight_decay_body=0.0,
        beta2=0.99,
        warmup_steps=steps // 10,
        timescale_steps=10**9,  # constant between warm-up and cooldown
        cooldown_fraction=0.3,
    )
    built = OBJECTIVE.build(shape, DATA.classes, Precision())
    update = Optimizer(recipe, built.parameter_groups, multipliers(shape))
    images, labels = DATA.train().batch(np.arange(steps * BATCH))
    images = images.reshape(steps, BATCH, *images.shape[1:])
    labels = labels.reshape(steps, BATCH)

    @jax.jit
    def start(key):
        params = built.init(key).params
        return params, update.init(params)

    @jax.jit
    def step(params, moments, images, labels, rate):
        def mean_loss(params):
            module = built.module(Learned(params, {}, {}))
            return OBJECTIVE.losses(module, to_floats(images), labels)[0].mean()

        loss, grads = jax.value_and_grad(mean_loss)(params)
        steps, moments = update.update(grads, moments, params)
        return jax.tree.map(lambda p, u: p - rate * u, params, steps), moments, loss

    def loss_at(rate: float, seed: int) -> float:
        params, moments = start(jax.random.key(seed))
        losses = []
        for t in range(steps):
            now = np.float32(rate * schedule(recipe, t, steps))
            params, moments, loss = step(params, moments, images[t], labels[t], now)
            losses.append(loss)
        last = float(jnp.stack(losses[-max(1, steps // 10) :]).mean())
        return last if math.isfinite(last) else math.inf

    return loss_at


def best_rate(rates: np.ndarray, losses: np.ndarray) -> float:
    """Where the parabola through the lowest point and its neighbours, over log2 rate, is least.

    The lowest point itself where it is the first or the last, or a neighbour diverged.
    """
    lowest = int(np.argmin(losses))
    near = slice(lowest - 1, lowest + 2)
    if not 0 < lowest < len(rates) - 1 or not np.isfinite(losses[near]).all():
        return float(rates[lowest])
    a, b, _ = np.polyfit(np.log2(rates[near]), losses[near], 2)
    return float(2 ** (-b / (2 * a)))


def curve(points: list[Point], name: str, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rates, and the mean loss over the seeds at each."""
    mine = [p for p in points if (p.parametrisation, p.width) == (name, width)]
    rates = np.array(sorted({p.rate for p in mine}))
    return rates, np.array([np.mean([p.loss for p in mine if p.rate == rate]) for rate in rates])


def widths_of(points: list[Point]) -> list[int]:
    return sorted({p.width for p in points})


def show(points: list[Point]):
    """The table: a row a width, the loss at each rate, and the best rate."""
    for name in PARAMETRISATIONS:
        print(
            f"\n{name:9}" + "".join(f"   2^{math.log2(rate):3.0f}" for rate in RATES) + "    best"
        )
        for width in widths_of(points):
            rates, losses = curve(points, name, width)
            cells = "".join(f"{loss:8.3f}" for loss in losses)
            print(f"{width:9}{cells}  2^{math.log2(best_rate(rates, losses)):.2f}")


def draw(points: list[Point], path: Path):
    """Loss over learning rate, a curve a width, the best rates marked; one panel each way."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    widths = widths_of(points)
    colours = plt.get_cmap("viridis")(np.linspace(0.0, 0.85, len(widths)))
    marks = ("o", "s", "^", "D")
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
    for panel, name in zip(panels, PARAMETRISATIONS, strict=True):
        for width, colour, mark in zip(widths, colours, marks, strict=False):
            rates, losses = curve(points, name, width)
            panel.plot(rates, losses, color=colour, marker=mark, markersize=4, label=f"{width}")
            panel.axvline(best_rate(rates, losses), color=colour, linestyle=":", linewidth=1.5)
        panel.set_xscale("log", base=2)
        panel.set_title({"standard": "Standard parametrisation", "muP": "muP"}[name])
        panel.set_xlabel("learning rate")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("training loss, nats")
    panels[0].legend(title="width", loc="best")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
