"""The fused step against the plain one: the same losses and parameters, whatever the optimizer."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from simulated import simulated

from fits.base.errors import UserError
from models.noise import Noise
from models.precision import Precision
from models.shapes import BiTShape, MixerShape, ViTShape
from scaling.data.procedural.source import Procedural
from scaling.training.placement import data_parallel, jitted
from scaling.training.placement_spec import DEFAULT, PlacementSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.step import SEED, abstract_batch, program

VIT = ViTShape(
    name="v", patch=4, resolution=16, width=64, depth=3, mlp=96, heads=2, pool="gap"
)  # that an attention pool is compiled too shows in test_image_text.py
MIXER = MixerShape(name="m", patch=4, resolution=16, width=64, depth=3, mlp=96, mlp_tokens=32)
BATCH, STEPS = 16, 20
FUSED = PlacementSpec(update="fused")


def run_of(model=VIT, **recipe):
    fields = {"optimizer": "adam", "learning_rate": 1e-3, "warmup_steps": 0, **recipe}
    return Run(
        model=model,
        data=Procedural(resolution=16, classes=8),
        recipe=Recipe(**fields),
        images_seen=BATCH * STEPS * 5,
        batch=BATCH,
    )


def batches(run):
    rng = np.random.default_rng(0)
    templates = rng.integers(0, 256, (8, 16, 16, 3))
    for _ in range(STEPS):
        label = rng.integers(0, 8, BATCH).astype(np.int32)
        noise = rng.integers(-60, 60, (BATCH, 16, 16, 3))
        image = np.clip(templates[label] + noise, 0, 255).astype(np.uint8)
        yield {"image": image, "label": label, "index": np.arange(BATCH, dtype=np.uint32)}


def trained(run, spec=DEFAULT):
    """Losses, gradient norms and the state after STEPS updates."""
    objective = run.objective.build(run.model, 8, Precision())
    placement = data_parallel()
    start, step, _ = jitted(program(run, objective, spec), placement, abstract_batch(run))
    state, losses, norms = start(np.uint32(0), None), [], []
    for number, batch in enumerate(batches(run)):
        rate = np.float32(1 / (1 + number / 30))
        placed = placement.place(batch, len(batch["label"]))
        state, metrics = step(state, placed, rate, np.uint32(0), np.uint32(number))
        losses.append(float(metrics["loss"]))
        norms.append(float(metrics["gradient_norm"]))
    return np.array(losses), np.array(norms), jax.device_get(state)


NO_GRADIENT = {  # in truth; what is computed is rounding, which the optimizers scale to full steps
    ("key", "bias"),  # softmax does not change when all scores of a query grow by the same
    ("token_mixing", "out", "bias"),  # adds the same to all features of a patch: no norm sees it
}


def furthest(one, other):
    """The largest difference between parameters, those without a gradient left out."""
    found = 0.0
    for (path, p), q in zip(
        jax.tree.leaves_with_path(one.params), jax.tree.leaves(other.params), strict=True
    ):
        names = [entry.key for entry in path]
        if not {tuple(names[-2:]), tuple(names[-3:])} & NO_GRADIENT:
            found = max(found, float(np.abs(p - q).max()))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "clip_by"),
    [
        ("adafactor-f32", "previous"),
        ("adam", "current"),
        ("sgd", "current"),
    ],
)
def test_twenty_fused_steps_are_twenty_plain_ones(optimizer, clip_by):
    more = {"learning_rate": 0.1} if optimizer == "sgd" else {}  # it takes no signs of gradients
    run = run_of(optimizer=optimizer, clip_by=clip_by, clip_norm=0.5, **more)
    losses, norms, end = trained(run)
    fused_losses, fused_norms, fused_end = trained(run, FUSED)
    assert losses[-1] < losses[0] - 0.5
    assert norms.min() > 2 * run.recipe.clip_norm  # every step is clipped
    np.testing.assert_allclose(fused_losses, losses, atol=1e-6)
    np.testing.assert_allclose(fused_norms[0], norms[0], rtol=1e-6)
    # Adam divides by gradients, the smallest of which are rounding: on some processors more than
    # 1e-6 is what another order of summation makes; three times that is not told apart.
    if (off := furthest(end, fused_end)) >= 1e-6:
        _, _, summed_otherwise = trained(run, PlacementSpec(microbatches=2))
        assert off < 3 * furthest(end, summed_otherwise)


EIGHT_DEVICES = """
import json, sys
sys.path.insert(0, sys.argv[1])
import jax, numpy as np
from test_fused import FUSED, furthest, run_of, trained

assert jax.device_count() == 8
for optimizer, clip_by in (("adafactor-f32", "current"), ("adam", "previous")):
    run = run_of(optimizer=optimizer, clip_by=clip_by, clip_norm=0.5)
    losses, _, end = trained(run)
    fused_losses, _, fused_end = trained(run, FUSED)
    off = [float(np.abs(losses - fused_losses).max()), furthest(end, fused_end)]
    print(json.dumps([optimizer, clip_by, *off]))
"""


@pytest.mark.slow
def test_twenty_fused_steps_are_twenty_plain_ones_on_eight_devices_too():
    done = subprocess.run(
        [sys.executable, "-c", EIGHT_DEVICES, str(Path(__file__).parent)],
        env=simulated(8, XLA_FLAGS="--xla_force_host_platform_device_count=8"),  # as a user's
        capture_output=True,
        text=True,
        timeout=560,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 2
    for *_, losses, params in found:
        assert losses < 1e-6, found
        assert params < 1e-6, found


@pytest.mark.slow
@pytest.mark.parametrize("model", [VIT, MIXER], ids=["vit", "mixer"])
def test_the_norm_of_every_layers_gradient_is_that_of_a_gradient_taken_by_itself(model):
    run = run_of(model)
    objective = run.objective.build(model, 8, Precision())
    built = program(run, objective)
    state, batch = built.start(np.uint32(0), None), next(batches(run))

    def drawn(x):
        return 0.1 * jax.random.normal(jax.random.key(x.ndim), x.shape)

    state = state._replace(  # a head that says something, so that all layers have a gradient
        params={**state.params, "head": jax.tree.map(drawn, state.params["head"])}
    )
    weights = np.linspace(-1, 1, 8, dtype=np.float32)
    state.params["head"]["kernel"] = state.params["head"]["kernel"] * weights
    noise = Noise(jax.random.key(0))
    grads = jax.grad(lambda p: objective.loss(p, {}, {}, batch, noise)[0])(state.params)
    squares = [
        sum(np.square(g[layer]).sum() for g in jax.tree.leaves(grads["backbone"]["blocks"]))
        for layer in range(3)
    ]
    for spec in (DEFAULT, FUSED):
        step = jax.jit(program(run, objective, spec).step)
        _, metrics = step(state, batch, np.float32(1), jax.random.key(0))
        found = metrics["layer_gradient_norms"]
        np.testing.assert_allclose(found, np.sqrt(squares), rtol=1e-5)
        total = np.sqrt(sum(float(np.square(g).sum()) for g in jax.tree.leaves(grads)))
        np.testing.assert_allclose(metrics["gradient_norm"], total, rtol=1e-5)
        assert len(set(np.asarray(found).tolist())) == 3


def test_a_network_that_is_no_stack_has_no_norms_of_layers():
    run = run_of(BiTShape(name="b", resolution=16, stages=(1,), width=32))
    built = program(run, run.objective.build(run.model, 8, Precision()))
    state, batch = jax.eval_shape(built.start, SEED), abstract_batch(run)
    key = jax.eval_shape(lambda: jax.random.key(0))
    _, metrics = jax.eval_shape(built.step, state, batch, np.float32(1), key)
    assert metrics.keys() == {"loss", "gradient_norm"}


@pytest.mark.slow
def test_the_first_update_is_clipped_by_its_own_norm_by_either_rule():
    run = run_of(clip_by="previous", clip_norm=0.5)
    current = run_of(clip_by="current", clip_norm=0.5)
    for spec in (DEFAULT, FUSED):
        first, same = (first_step(each, spec) for each in (run, current))
        jax.tree.map(np.testing.assert_array_equal, first.params, same.params)


def first_step(run, spec):
    objective = run.objective.build(run.model, 8, Precision())
    start, step, _ = jitted(program(run, objective, spec), data_parallel(), abstract_batch(run))
    batch = next(batches(run))
    return jax.device_get(
        step(start(np.uint32(0), None), batch, np.float32(1), np.uint32(0), np.uint32(0))[0]
    )


@pytest.mark.slow
def test_a_mixer_has_a_fused_step_too():
    run = run_of(MIXER, clip_by="previous")
    losses, _, end = trained(run)
    fused_losses, _, fused_end = trained(run, FUSED)
    np.testing.assert_allclose(fused_losses, losses, atol=1e-6)
    assert furthest(end, fused_end) < 1e-6


def test_a_network_that_is_no_single_stack_has_no_fused_step():
    run = run_of(BiTShape(name="b", resolution=16, stages=(1, 1), width=32))
    objective = run.objective.build(run.model, 8, Precision())
    with pytest.raises(UserError, match=r'blocks.*b with classify does not.*update = "plain"'):
        program(run, objective, FUSED)


def test_a_batch_in_parts_has_no_fused_step():
    with pytest.raises(ValueError, match="microbatches=2: a fused step updates a layer"):
        PlacementSpec(update="fused", microbatches=2)
