"""What a fused step, its rule of clipping, bfloat16 and biases of keys change in a training.

    python benchmarks/fused_step.py [--steps 200] [--seeds 8]

Trains a small ViT on the procedural data, on the CPU, and prints three Markdown tables: half an
hour of one core. Nothing is timed.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import numpy as np

from models.noise import Noise
from models.precision import Precision
from models.shapes import ViTShape
from scaling.data.loader import Batch, batches
from scaling.data.procedural.source import Procedural
from scaling.objectives.classify import Classify
from scaling.training.gradients import plain
from scaling.training.optimizer import names
from scaling.training.placement import data_parallel
from scaling.training.placement_spec import DEFAULT, PlacementSpec
from scaling.training.recipe import Recipe, schedule
from scaling.training.run import Run
from scaling.training.state import TrainState
from scaling.training.step import optimizer_of, plain_update, program, seed_word, step_key

MODEL = ViTShape(name="small", patch=4, resolution=16, width=64, depth=3, mlp=128, heads=2)
BATCH, LAST = 32, 20
FUSED = PlacementSpec(update="fused")
BINDING, LOOSE = 0.5, 1e6


def run_of(steps: int, seed: int = 0, compute: Any = "float32", **recipe: Any) -> Run:
    """A run of so many steps; Adam, unless the recipe says otherwise."""
    fields = {"optimizer": "adam", "learning_rate": 5e-3, "clip_by": "previous", **recipe}
    return Run(
        model=MODEL,
        objective=Classify(loss="softmax"),
        data=Procedural(classes=8, tail=0.0, jitter=1),
        recipe=Recipe(warmup_steps=steps // 10, **fields),
        images_seen=steps * BATCH,
        batch=BATCH,
        seed=seed,
        compute=compute,
    )


def shown(run: Run) -> Iterator[Batch]:
    return batches(
        run.data.train(),
        seed=run.seed,
        batch=run.batch,
        data_size=None,
        first_step=0,
        last_step=run.steps,
    )


@cache
def beginning(seed: int, optimizer: str) -> TrainState:
    """The state before the first step, which nothing else decides."""
    run = run_of(10, seed, optimizer=optimizer)
    objective = run.objective.build(MODEL, run.data.classes, Precision())
    quick = {"xla_backend_optimization_level": 0}
    start = jax.jit(program(run, objective).start, compiler_options=quick)
    return jax.device_get(start(seed_word(run)))


class Trained:
    """A compiled step, and what it makes of runs that differ in their seed alone."""

    def __init__(
        self, run: Run, spec: PlacementSpec = DEFAULT, devices: int = 1, freeze: bool = False
    ):
        """
        Args:
          devices: over which a batch is split.
          freeze: whether biases of keys get no gradient.
        """
        self.placement = data_parallel(devices=jax.devices()[:devices])
        objective = run.objective.build(MODEL, run.data.classes, Precision(compute=run.compute))
        self.program = program(run, objective, spec)
        step = frozen_step(run, objective) if freeze else self.program.step
        one = self.placement.everywhere()
        self.step = jax.jit(step, out_shardings=(one, one))

    def __call__(self, run: Run) -> tuple[np.ndarray, np.ndarray, Any]:
        """Losses and gradient norms of every step, and the parameters at the end."""
        state = self.placement.whole(beginning(run.seed, run.recipe.optimizer))
        losses, norms = [], []
        for number, batch in enumerate(shown(run)):
            rate = np.float32(schedule(run.recipe, number, run.steps))
            key = step_key(seed_word(run), number)
            state, metrics = self.step(state, self.placement.place(batch, run.batch), rate, key)
            losses.append(float(metrics["loss"]))
            norms.append(float(metrics["gradient_norm"]))
        return np.array(losses), np.array(norms), jax.device_get(state.params)


def is_key_bias(path: Any) -> bool:
    return names(path)[-2:] == ("key", "bias")


def frozen_step(run: Run, objective: Any) -> Callable[..., Any]:
    """A plain step in which biases of keys get no gradient, and so never move."""

    class Frozen:
        def __getattr__(self, name: str) -> Any:
            return getattr(objective, name)

        def loss(self, params: Any, *rest: Any) -> Any:
            held = jax.tree.map_with_path(
                lambda path, p: jax.lax.stop_gradient(p) if is_key_bias(path) else p, params
            )
            return objective.loss(held, *rest)

    update = plain_update(Frozen(), optimizer_of(run, objective), plain)

    def step(state: TrainState, batch: Batch, rate: Any, key: jax.Array) -> Any:
        return update(state, batch, rate, Noise(key))

    return step


def furthest(one: Any, other: Any, *, key_biases: bool) -> float:
    """The largest difference between parameters: of the biases of keys, or of all others."""
    return max(
        float(np.abs(p - q).max())
        for (path, p), q in zip(jax.tree.leaves_with_path(one), jax.tree.leaves(other), strict=True)
        if is_key_bias(path) == key_biases
    )


def end_of(losses: np.ndarray) -> float:
    return float(losses[-LAST:].mean())


def clipping(steps: int, seeds: int) -> None:
    print("| clip_norm | steps clipped | seed | loss, current | loss, previous | difference |")
    print("|---|---|---|---|---|---|")
    for clip in (BINDING, LOOSE):
        rules = {
            by: Trained(run_of(steps, clip_norm=clip, clip_by=by)) for by in ("current", "previous")
        }
        differences = []
        for seed in range(seeds):
            found = {
                by: trained(run_of(steps, seed, clip_norm=clip, clip_by=by))
                for by, trained in rules.items()
            }
            share = float((found["current"][1] > clip).mean())
            current, previous = (end_of(found[by][0]) for by in ("current", "previous"))
            differences.append(previous - current)
            print(
                f"| {clip:g} | {share:.0%} | {seed} | {current:.4f} | {previous:.4f} | "
                f"{previous - current:+.4f} |",
                flush=True,
            )
        error = np.std(differences, ddof=1) / np.sqrt(seeds)
        print(f"| {clip:g} | | mean | | | {np.mean(differences):+.4f} ± {error:.4f} |", flush=True)


def precision(steps: int, seeds: int) -> None:
    """A fused step against a plain one, beside the same plain step on eight devices, which differs
    from itself on one in rounding alone."""
    print(
        "| compute | seed | plain | plain, 8 devices | fused | apart in the first 20 steps: "
        "8 devices | fused |"
    )
    print("|---|---|---|---|---|---|---|")
    for compute in ("float32", "bfloat16"):
        kinds = [(DEFAULT, 1), (DEFAULT, 8), (FUSED, 1)]
        made = [Trained(run_of(steps, compute=compute), spec, n) for spec, n in kinds]
        ends = []
        for seed in range(seeds):
            losses = [each(run_of(steps, seed, compute=compute))[0] for each in made]
            apart = [np.abs(losses[k] - losses[0])[:20].max() for k in (1, 2)]
            ends.append([end_of(each) for each in losses])
            found = " | ".join(f"{end:.4f}" for end in ends[-1])
            print(f"| {compute} | {seed} | {found} | {apart[0]:.1e} | {apart[1]:.1e} |", flush=True)
        changes = np.array(ends)[:, 1:] - np.array(ends)[:, :1]
        means, errors = changes.mean(0), changes.std(0, ddof=1) / np.sqrt(seeds)
        told = " | ".join(f"{m:+.4f} ± {e:.4f}" for m, e in zip(means, errors, strict=True))
        print(f"| {compute} | mean | | {told} | | |", flush=True)


def key_biases(steps: int) -> None:
    print(
        "| optimizer | biases of keys | loss | apart on 1 and 8 devices: biases of keys | "
        "all others |"
    )
    print("|---|---|---|---|---|")
    for optimizer in ("adafactor-f32", "adam"):
        for freeze in (False, True):
            run = run_of(steps, optimizer=optimizer)
            one, eight = (Trained(run, devices=n, freeze=freeze)(run) for n in (1, 8))
            apart = [furthest(one[2], eight[2], key_biases=which) for which in (True, False)]
            print(
                f"| {optimizer} | {'held' if freeze else 'updated'} | {end_of(one[0]):.6f} | "
                f"{apart[0]:.1e} | {apart[1]:.1e} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=8)
    options = parser.parse_args()
    print("Clipping by the norm of this gradient, or of the one before:\n")
    clipping(options.steps, options.seeds)
    print("\nA fused step against a plain one:\n")
    precision(options.steps, options.seeds)
    print("\nA plain step on one device against eight, 20 steps:\n")
    key_biases(20)


if __name__ == "__main__":
    main()
