"""BYOL's loss, its target and its momentum, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_cases import BATCH, NANO, small

from fits.base.errors import UserError
from models.noise import Noise
from models.precision import Precision
from scaling.objectives.built.byol import momentum, regression
from scaling.objectives.built.projection import BatchNorm
from scaling.objectives.byol import BYOL
from scaling.training.placement_spec import PlacementSpec
from scaling.training.step import program, step_key
from scaling.training.trainer import Trainer


def by_hand(predicted, projected):
    """Image by image and direction by direction."""
    half, losses = len(predicted) // 2, []
    for i in range(half):
        for online, target in ((i, half + i), (half + i, i)):
            p, z = predicted[online], projected[target]
            losses.append(2 - 2 * p @ z / np.linalg.norm(p) / np.linalg.norm(z))
    return np.mean(losses)


def test_the_loss_is_its_definition_image_by_image_and_direction_by_direction():
    predicted, projected = np.random.default_rng(0).normal(size=(2, 10, 7))
    found = float(regression(jnp.asarray(predicted), jnp.asarray(projected)))
    assert found == pytest.approx(by_hand(predicted, projected), rel=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e6), st.booleans())
def test_the_loss_lies_in_0_to_4_and_the_length_of_outputs_does_not_matter(seed, scale, alike):
    predicted, projected = np.random.default_rng(seed).normal(size=(2, 6, 3)).astype(np.float32)
    if alike:  # each view's prediction is the other's projection, or its opposite
        predicted = np.roll(projected, 3, axis=0) * np.sign(np.float32(seed % 2) - 0.5)
    loss = float(regression(predicted, projected))
    assert -1e-5 <= loss <= 4 + 1e-5
    assert float(regression(predicted * np.float32(scale), projected)) == pytest.approx(
        loss, abs=1e-5
    )


def test_the_right_prediction_has_loss_0_the_opposite_one_4_and_zeros_a_finite_gradient():
    projected = jnp.asarray(np.random.default_rng(2).normal(size=(4, 5)))
    others = jnp.roll(projected, 2, axis=0)
    assert float(regression(3 * others, projected)) == pytest.approx(0, abs=1e-6)
    assert float(regression(-others, projected)) == pytest.approx(4, abs=1e-6)
    gradient = jax.grad(lambda x: regression(x, projected))(jnp.zeros((4, 5)))
    assert np.isfinite(np.asarray(gradient)).all()


def test_the_momentum_rises_from_its_start_to_1_by_half_a_cosine_and_stays_there():
    found = [float(momentum(k, 0.9, 10)) for k in (0, 5, 10, 25)]
    assert found == pytest.approx([0.9, 0.95, 1.0, 1.0], abs=1e-6)
    by_formula = 1 - 0.1 * (np.cos(np.pi * 3 / 10) + 1) / 2
    assert float(momentum(3, 0.9, 10)) == pytest.approx(by_formula, abs=1e-6)
    assert float(momentum(12345, 0.996, None)) == pytest.approx(0.996)


def test_a_batch_norm_is_that_of_each_view_by_itself():
    x = np.random.default_rng(3).normal(2, 5, (12, 4)).astype(np.float32)
    found = BatchNorm(4, apart=2)(x)
    for view in (slice(0, 6), slice(6, 12)):
        expected = (x[view] - x[view].mean(0)) / np.sqrt(x[view].var(0) + 1e-5)
        np.testing.assert_allclose(found[view], expected, atol=1e-5)


def test_a_batch_norm_couples_examples_and_refuses_a_batch_of_one_and_parts_of_a_batch():
    assert BYOL().couples_examples
    assert not BYOL(norm="layer").couples_examples
    assert small(objective=BYOL(norm="none"), batch=1).batch == 1
    with pytest.raises(ValueError, match="a batch of 1 has no variance"):
        small(objective=BYOL(), batch=1)
    run = small(objective=BYOL())
    with pytest.raises(UserError, match="microbatches = 2: the loss byol of an image depends"):
        program(run, run.objective.build(NANO, 4, Precision()), PlacementSpec(microbatches=2))


@pytest.fixture(scope="module")
def run():
    return small(objective=BYOL(projection=8, momentum=0.5, rises_over=4, norm="layer"))


@pytest.fixture(scope="module")
def built(run):
    return run.objective.build(NANO, 4, Precision())


@pytest.fixture(scope="module")
def learned(built):
    return built.init(jax.random.key(0))


@pytest.fixture(scope="module")
def batch():
    images = np.random.default_rng(0).integers(0, 256, (2, 6, 16, 16, 3)).astype(np.uint8)
    return {"image": images, "label": np.zeros(6, np.int32), "index": np.arange(6)}


NOISE = Noise(jax.random.key(1), 0.0, 0.0)


def moved(params, by):
    return jax.tree.map(lambda x: x + by, params)


def test_the_target_has_no_predictor_and_begins_as_a_copy_that_shares_no_array(learned):
    target = learned.state["target"]
    assert set(target) == {"backbone", "projector"}
    online = {name: learned.params[name] for name in target}
    jax.tree.map(np.testing.assert_array_equal, target, online)
    assert not {id(x) for x in jax.tree.leaves(target)} & {
        id(x) for x in jax.tree.leaves(learned.params)
    }


@pytest.mark.slow
def test_a_step_uses_the_average_after_the_previous_update_and_moves_it_by_the_momentum(
    built, learned
):
    params, state = learned.params, learned.state
    first = built.followed(moved(params, 7.0), state)  # nothing was updated before
    jax.tree.map(np.testing.assert_array_equal, first["target"], state["target"])
    keeps = [0.5, 1 - 0.5 * (np.cos(np.pi / 4) + 1) / 2]
    expected = np.asarray(state["target"]["projector"]["out"]["bias"])
    for step, keep in enumerate(keeps, start=1):
        online = moved(params, float(step))
        first = built.followed(online, first)
        expected = keep * expected + (1 - keep) * np.asarray(online["projector"]["out"]["bias"])
        np.testing.assert_allclose(
            first["target"]["projector"]["out"]["bias"], expected, rtol=1e-5, atol=1e-6
        )
    assert int(first["steps"]) == 3


@pytest.mark.slow
def test_the_target_gets_no_gradient(built, learned, batch):
    """Neither by itself nor by way of the parameters that it is an average of."""
    params = learned.params
    state = {**learned.state, "steps": jnp.int32(1)}  # half of these parameters are in the average

    def loss(params, target):
        return built.loss(params, {}, {**state, "target": target}, batch, NOISE)[0]

    online, target = jax.grad(loss, argnums=(0, 1))(moved(params, 0.1), state["target"])
    assert all((np.asarray(x) == 0).all() for x in jax.tree.leaves(target))
    fixed = built.followed(moved(params, 0.1), state)["target"]

    def against_fixed(params):
        module = built.around(params)
        features = module.backbone(built.images(batch, NOISE), None)
        return built.of_features(module, features, {}, {"target": fixed}, batch, NOISE)[0]

    alone = jax.grad(against_fixed)(moved(params, 0.1))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), online, alone)
    assert max(np.abs(x).max() for x in jax.tree.leaves(alone)) > 1e-3


@pytest.mark.slow
def test_the_loss_of_a_network_is_that_of_its_two_halves_by_hand(built, learned, batch):
    loss, (_, metrics) = built.loss(learned.params, {}, learned.state, batch, NOISE)
    module = built.around(learned.params)
    projected = module.projector(module.backbone(built.images(batch, NOISE), None))
    expected = by_hand(np.asarray(module.predictor(projected)), np.asarray(projected))
    assert float(loss) == float(metrics["loss"]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_the_average_moves_once_a_step_however_many_parts_the_batch_has(run):
    trainer, states = Trainer(run), []
    built = run.objective.build(NANO, 4, trainer.precision)
    (step, batch), *_ = enumerate(trainer._batches(0, 1))
    for parts in (1, 4):
        state = trainer.start().state
        stepped = jax.jit(program(run, built, PlacementSpec(microbatches=parts)).step)
        for number in range(3):
            state, _ = stepped(state, batch, np.float32(1), step_key(run.seed, step + number))
        states.append(state)
    one, four = states
    assert int(one.state["steps"]) == int(four.state["steps"]) == 3
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5),
        one.state["target"]["projector"]["into"],
        four.state["target"]["projector"]["into"],
    )


def test_mixed_images_are_refused():
    with pytest.raises(ValueError, match="leave mixup out"):
        small(objective=BYOL(), augment=({"kind": "mixup"},))


def test_flops_are_those_of_two_views_through_both_networks_the_target_s_forward_alone():
    run, one = small(objective=BYOL(hidden=6, projection=4)), small()
    backbone = one.flops // one.images_seen - 2 * 3 * 8 * 4  # forward and backward of one image
    projector, predictor = 6 * (8 + 4), 6 * (4 + 4)
    online = backbone + 2 * 3 * (projector + predictor)
    target = backbone // 3 + 2 * projector
    assert run.flops == 2 * (online + target) * run.images_seen
    assert run.images_seen == 24 * BATCH
