"""The fused step against the plain one: the same losses and parameters, whatever the optimizer."""

import jax
import numpy as np
import pytest

from fits.base.errors import UserError
from models.precision import Precision
from models.shapes import BiTShape, MixerShape, ViTShape
from scaling.data import Procedural
from scaling.training.placement import data_parallel, jitted
from scaling.training.placement_spec import DEFAULT, PlacementSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.step import abstract_batch, program

VIT = ViTShape(name="v", patch=4, resolution=16, width=64, depth=3, mlp=96, heads=2)
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
    start, step, _ = jitted(program(run, objective, spec), placement, abstract_batch(run), 0)
    state, losses, norms = start(None), [], []
    for number, batch in enumerate(batches(run)):
        rate = np.float32(1 / (1 + number / 30))
        state, metrics = step(
            state, placement.place(batch, len(batch["label"])), rate, np.uint32(number)
        )
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


@pytest.mark.parametrize(
    ("optimizer", "clip_by"),
    [
        pytest.param("adafactor-f32", "previous", marks=pytest.mark.slow),
        pytest.param("adafactor-f32", "current", marks=pytest.mark.slow),
        pytest.param("adam", "previous", marks=pytest.mark.slow),
        pytest.param("adam", "current", marks=pytest.mark.slow),
    ],
)
def test_twenty_fused_steps_are_twenty_plain_ones(optimizer, clip_by):
    run = run_of(optimizer=optimizer, clip_by=clip_by, clip_norm=0.5)
    losses, norms, end = trained(run)
    fused_losses, fused_norms, fused_end = trained(run, FUSED)
    assert losses[-1] < losses[0] - 0.5
    assert norms.min() > 2 * run.recipe.clip_norm  # every step is clipped
    np.testing.assert_allclose(fused_losses, losses, atol=1e-6)
    np.testing.assert_allclose(fused_norms[0], norms[0], rtol=1e-6)
    assert furthest(end, fused_end) < 1e-6


@pytest.mark.slow
def test_the_first_update_is_clipped_by_its_own_norm_by_either_rule():
    run = run_of(clip_by="previous", clip_norm=0.5)
    current = run_of(clip_by="current", clip_norm=0.5)
    for spec in (DEFAULT, FUSED):
        first, same = (first_step(each, spec) for each in (run, current))
        jax.tree.map(np.testing.assert_array_equal, first.params, same.params)


def first_step(run, spec):
    objective = run.objective.build(run.model, 8, Precision())
    start, step, _ = jitted(program(run, objective, spec), data_parallel(), abstract_batch(run), 0)
    batch = next(batches(run))
    return jax.device_get(step(start(None), batch, np.float32(1), np.uint32(0))[0])


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
    with pytest.raises(UserError, match=r'b is no single stack of equal blocks.*update = "plain"'):
        program(run, objective, FUSED)


def test_a_batch_in_parts_has_no_fused_step():
    with pytest.raises(ValueError, match="microbatches=2: a fused step updates a layer"):
        PlacementSpec(update="fused", microbatches=2)
