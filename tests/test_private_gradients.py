"""The gradients of DP-SGD: bounds, noise, and the plain gradient where neither is felt."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_cases import BATCH, small
from simulated import simulated

from fits.base.errors import UserError
from models.build import build
from models.noise import Noise
from models.precision import Precision
from models.shapes import BiTShape, MixerShape, Shape, ViTShape
from scaling.data.augment import Flip, MixUp
from scaling.objectives.built.projection import MLP
from scaling.objectives.byol import BYOL
from scaling.objectives.classify import Classify
from scaling.objectives.config import Norm
from scaling.objectives.simclr import SimCLR
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.gradients import plain
from scaling.training.leaving import Left
from scaling.training.loop import CheckpointPaths, train
from scaling.training.placement_checks import check_runs
from scaling.training.placement_spec import PlacementSpec
from scaling.training.privacy import Privacy, mean_images
from scaling.training.private_gradients import clipped, private
from scaling.training.recipe import Recipe
from scaling.training.step import program
from scaling.training.trainer import Trainer

examples = settings(max_examples=60, deadline=None, derandomize=True)
ENDLESS = 1e30  # a norm that no gradient has
KEY = jax.random.key(7)

nano_vit = partial(ViTShape, patch=8, resolution=16, width=8, depth=2, mlp=16, heads=2)
NETWORKS = [
    *(nano_vit(name=f"ViT, {pool}", pool=pool) for pool in ("map", "gap", "token")),
    nano_vit(name="ViT-22B", block="parallel", query_key_norm=True, qkv_and_norm_biases=False),
    *(
        BiTShape(name=f"BiT, {order}", resolution=16, stages=(1, 2), width=32, order=order)
        for order in ("pre", "post")
    ),
    MixerShape(name="Mixer", patch=8, resolution=16, width=8, depth=2, mlp_tokens=8, mlp=16),
]
quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

DEVICES = """
import sys
sys.path.insert(0, sys.argv[1])
import jax, numpy as np
from test_private_gradients import private_run
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.placement import fully_sharded
from scaling.training.placement_spec import PlacementSpec
from scaling.training.trainer import Trainer

run = private_run(augmentations=2)
ends = []
for devices, fsdp, parts in ((1, 1, 1), (8, 1, 1), (4, 2, 2)):
    placement = fully_sharded(fsdp, views=run.views, devices=jax.devices()[:devices])
    trainer = Trainer(run, placement=placement, spec=PlacementSpec(microbatches=parts))
    end = trainer.advance(
        trainer.start(), 4, total_steps=None, keep=lambda _: None,
        spec=CheckpointSpec(every_steps=1), tell=lambda progress: None,
    )
    ends.append(jax.tree.map(np.asarray, end.state.params))
for other in ends[1:]:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), ends[0], other)
print("same")
"""


def private_run(noise_multiplier=1.0, augmentations=1, **changes):
    """SGD, so that what is compared is gradients and not their signs."""
    privacy = Privacy(
        noise_multiplier=noise_multiplier, delta=1e-3, clip_norm=0.5, augmentations=augmentations
    )
    recipe = Recipe(
        optimizer="sgd",
        learning_rate=0.1,
        warmup_steps=2,
        cooldown_steps=2,
        clip_norm=None,
        privacy=privacy,
    )
    return small(**{"objective": Classify(loss="softmax"), "recipe": recipe, **changes})


def squared(params, frozen, state, batch, noise):
    """A loss of one number an image: its gradient is (w @ x - y) x, in closed form."""
    x = batch["image"].reshape(*batch["image"].shape[:-3], -1).astype(jnp.float32)
    x = x.reshape(-1, x.shape[-1])
    y = jnp.tile(batch["label"], len(x) // len(batch["label"]))
    loss = 0.5 * jnp.square(x @ params["w"] - y).mean()
    return loss, (state, {"loss": loss})


def toy(count=8, views=1, seed=0):
    rng = np.random.default_rng(seed)
    shape = (count, 1, 2, 3) if views == 1 else (views, count, 1, 2, 3)
    return {
        "image": rng.normal(size=shape).astype(np.float32),
        "label": rng.normal(size=count).astype(np.float32),
        "index": np.arange(count, dtype=np.uint32),
        "present": np.ones(count, bool),
    }


def params_of(seed=1):
    return {"w": np.random.default_rng(seed).normal(size=6).astype(np.float32)}


def taken(batch, params=None, noise_multiplier=0.0, clip_norm=ENDLESS, key=KEY, **more):
    """The sum of clipped gradients, with noise; divided by 1."""
    augmentations = more.pop("augmentations", 1)
    config = Privacy(
        noise_multiplier=noise_multiplier,
        delta=1e-5,
        clip_norm=clip_norm,
        augmentations=augmentations,
    )
    way = private(config, 1.0, **more)(squared)
    return jax.jit(way)(params or params_of(), {}, {}, batch, Noise(key))


def norm(tree):
    return float(np.sqrt(sum(np.square(np.asarray(x, float)).sum() for x in jax.tree.leaves(tree))))


@pytest.mark.slow
def test_without_noise_and_clipping_it_is_the_plain_gradient():
    run = private_run(0.0)
    built = run.objective.build(run.model, 4, Precision())
    params = built.init(jax.random.key(0)).params
    (batch,) = Trainer(run)._batches(0, 1)
    batch["present"] = np.ones(BATCH, bool)
    config = Privacy(noise_multiplier=0, delta=1e-3, clip_norm=ENDLESS)
    ways = plain(built.loss), private(config, BATCH)(built.loss)
    ((one, _), wanted), ((two, _), found) = (
        jax.jit(lambda params, way=way: way(params, {}, {}, batch, Noise(KEY)))(params)
        for way in ways
    )
    assert norm(wanted) > 0.1
    np.testing.assert_allclose(two, one, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), wanted, found)


def test_a_sum_by_hand():
    batch, params, most = toy(), params_of(), 0.7
    x, y = batch["image"].reshape(8, 6).astype(float), batch["label"].astype(float)
    each = (x @ params["w"] - y)[:, None] * x
    norms = np.linalg.norm(each, axis=1)
    assert (norms > most).any()
    assert (norms < most).any()
    wanted = (each * np.minimum(1, most / norms)[:, None]).sum(0)
    _, found = taken(batch, params, clip_norm=most)
    np.testing.assert_allclose(found["w"], wanted, rtol=1e-5)


@examples
@given(
    st.lists(st.floats(-(2.0**126), 2.0**126, width=32), min_size=12, max_size=12),
    st.floats(2.0**-10, 2.0**10, width=32),
    st.integers(0, 2),
)
def test_the_sum_is_no_longer_than_as_many_clips_as_there_are_images(numbers, most, without):
    """Whatever the gradients, those that overflow included."""
    grads = {"a": np.array(numbers[:8], np.float32).reshape(4, 2), "b": np.array(numbers[8:])}
    grads = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), grads)
    present = jnp.arange(4) >= without
    each = jax.vmap(clipped, (0, None, 0))(grads, most, present)
    total = jax.tree.map(lambda x: np.asarray(x, float).sum(0), each)
    assert norm(total) <= (4 - without) * most * (1 + 1e-5)


def test_what_is_not_finite_adds_nothing():
    grads = {"a": jnp.array([[np.nan, 1.0], [np.inf, 0.0], [3.0, 4.0]])}
    found = jax.vmap(lambda g: clipped(g, 1.0))(grads)
    np.testing.assert_allclose(found["a"], [[0, 0], [0, 0], [0.6, 0.8]], rtol=1e-6)


def test_an_outlier_moves_the_sum_by_no_more_than_two_clips():
    batch, most = toy(), 0.3
    other = {**batch, "image": batch["image"].copy(), "label": batch["label"].copy()}
    other["image"][5] *= -1e6
    other["label"][5] = 1e9
    (_, one), (_, two) = (taken(each, clip_norm=most) for each in (batch, other))
    moved = norm(jax.tree.map(lambda a, b: a - b, one, two))
    assert 0.1 * most < moved <= 2 * most * (1 + 1e-5)


def test_a_row_without_an_image_adds_nothing_to_gradient_and_loss():
    batch = toy()
    batch["present"][[2, 6]] = False
    kept = {name: rows[[0, 1, 3, 4, 5, 7]] for name, rows in batch.items()}
    ((loss, _), found), ((wanted_loss, _), wanted) = taken(batch), taken(kept)
    np.testing.assert_allclose(found["w"], wanted["w"], rtol=1e-5)
    np.testing.assert_allclose(loss, wanted_loss, rtol=1e-6)


def test_noise_has_its_standard_deviation_and_is_another_in_every_step():
    std = 3.0 * 0.5
    batch = toy()
    _, without = taken(batch, clip_norm=0.5)
    keys = jax.random.split(KEY, 4000)
    config = Privacy(noise_multiplier=3.0, delta=1e-5, clip_norm=0.5)
    way = private(config, 1.0)(squared)
    step = jax.jit(jax.vmap(lambda key: way(params_of(), {}, {}, batch, Noise(key))[1]["w"]))
    drawn = np.asarray(step(keys)) - np.asarray(without["w"])
    assert np.abs(drawn.mean(0)).max() < 5 * std / np.sqrt(4000)
    np.testing.assert_allclose(drawn.std(0), std, rtol=0.06)  # 5 standard errors: 5 / sqrt(8000)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(6)).max() < 0.08


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_change_nothing_beyond_rounding(parts):
    batch = toy()
    batch["present"][3] = False
    whole, apart = (
        taken(batch, noise_multiplier=2.0, clip_norm=0.4, microbatches=n) for n in (1, parts)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), whole, apart)


@pytest.mark.parametrize("views", [1, 2])
def test_augmentations_are_averaged_before_they_are_clipped(views):
    many, most = 3, 0.5
    batch = toy(4, views * many)
    x = batch["image"].reshape(views * many, 4, 6).astype(float)
    w, y = params_of()["w"].astype(float), batch["label"].astype(float)
    each = ((x @ w - y)[..., None] * x).mean(0)
    norms = np.linalg.norm(each, axis=1)
    assert (norms > most).any()
    wanted = (each * np.minimum(1, most / norms)[:, None]).sum(0)
    _, found = taken(batch, clip_norm=most, views=views, augmentations=many)
    np.testing.assert_allclose(found["w"], wanted, rtol=1e-5)


def test_a_batch_has_the_rows_and_views_that_the_run_says():
    run = private_run(augmentations=3)
    (batch,) = Trainer(run)._batches(3, 4)
    assert batch["image"].shape == (3, BATCH, 16, 16, 3)
    assert batch["present"].shape == (BATCH,)
    assert not np.array_equal(batch["image"][0], batch["image"][1])  # flips of their own
    assert run.flops == 3 * run.objective.flops(run.model, run.images_seen, 4)
    assert sum(each.flops for each in run.passes) * run.images_seen == run.flops


def test_an_objective_with_a_state_is_refused():
    way = private(Privacy(noise_multiplier=1, delta=1e-5), 1.0)(squared)
    with pytest.raises(UserError, match="keeps a state from step to step"):
        way(params_of(), {}, {"average": np.zeros(3)}, toy(), Noise(KEY))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective": SimCLR()}, "the loss simclr of one depends on the others"),
        ({"objective": BYOL(norm="layer")}, "byol keeps a state from step to step"),
        ({"augment": (Flip(), MixUp(alpha=0.2))}, "mixup mixes two"),
        ({"resample": "square-root"}, "leave resample out"),
        ({"data_size": 1000}, "delta=0.001 of 1_000 images protects none of them"),
        ({"data_size": 3}, "6.1 images on average into a batch of 16, and there are 3"),
        (
            {"recipe": Recipe(warmup_steps=2, privacy=Privacy(noise_multiplier=1, delta=1e-5))},
            'clip_norm=1 would clip the noisy sum of them once more; say clip_norm = "none"',
        ),
    ],
)
def test_what_cannot_be_private_is_refused_in_words(changes, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        private_run(**changes)


def drawn(make):
    """A module made by `make` as a function, every parameter at random: none is 0 at the start."""
    graph, state = nnx.split(nnx.eval_shape(make))
    rng = np.random.default_rng(0)
    state = jax.tree.map(lambda x: rng.normal(0, 0.5, x.shape).astype(np.float32), state)
    return quick_jit(lambda x: nnx.merge(graph, state)(x))


def with_other_neighbours(module, shape, rows=4):
    """What a module makes of a batch, and of one whose first row alone is the same."""
    rng = np.random.default_rng(1)
    batch = rng.uniform(-1, 1, (rows, *shape)).astype(np.float32)
    others = np.concatenate([batch[:1], rng.uniform(-3, 3, (rows - 1, *shape)).astype(np.float32)])
    return np.asarray(module(batch)), np.asarray(module(others))


def test_every_family_of_networks_is_tried_here():
    assert {type(shape) for shape in NETWORKS} == set(get_args(Shape))


@pytest.mark.parametrize("shape", NETWORKS, ids=lambda shape: shape.name)
def test_no_network_lets_the_images_of_a_batch_see_each_other(shape):
    module = drawn(lambda: build(shape, rngs=nnx.Rngs(0)))
    side = shape.resolution
    found, other = with_other_neighbours(module, (side, side, 3))
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[0], other[0])
    assert (np.abs(found[1:] - other[1:]).max(1) > 1e-3).all()  # which are other images


@pytest.mark.parametrize("norm", get_args(Norm))
def test_a_layer_that_couples_examples_is_one_of_an_objective_that_says_so(norm):
    """Batch normalisation of a head changes what one image becomes with the others."""
    module = drawn(lambda: MLP(8, 16, 4, norm=norm, rngs=nnx.Rngs(0)))
    found, other = with_other_neighbours(module, (8,))
    assert BYOL(norm=norm).couples_examples == (not np.array_equal(found[0], other[0]))


def test_a_fused_step_is_refused_in_words():
    run, fused = private_run(), PlacementSpec(update="fused")
    with pytest.raises(UserError, match='clips by the norm over all of them; say update = "plain"'):
        check_runs(fused, [run])
    built = run.objective.build(run.model, 4, Precision())
    with pytest.raises(UserError, match='say update = "plain"'):
        program(run, built, fused)


def test_so_little_noise_that_nothing_can_be_counted_is_refused():
    with pytest.raises(ValueError, match=r"use at least 0\.2, or 0 for clipping alone"):
        Privacy(noise_multiplier=0.05, delta=1e-5)


def test_ids_and_steps_of_runs_without_privacy_are_as_they_were():
    run = small()
    assert "privacy" not in str(sorted(run.recipe.model_dump(exclude_defaults=True)))
    assert (run.id, run.trunk) == ("764c8d04dbbb", "e8b9be684348")
    assert private_run().step_digest != private_run(2.0).step_digest


def test_the_mean_leaves_room_for_four_standard_deviations():
    for batch in (1, 16, 256, 4096):
        mean = mean_images(batch)
        assert 0 < mean < batch
        assert mean + 4 * np.sqrt(mean) == pytest.approx(batch)


def paths(folder, name="own", **changes):
    spec = CheckpointSpec(every_seconds=1e9)
    return CheckpointPaths(trunk=folder / "trunk", own=folder / name, spec=spec, **changes)


@pytest.mark.slow
def test_a_private_run_resumes_and_shares_a_trunk_with_the_same_bits(tmp_path):
    run = private_run()
    longer = run.model_copy(update={"images_seen": run.images_seen + 8 * BATCH})
    trainer, quiet = Trainer(run), lambda progress: None
    alone = train(trainer, longer, paths(tmp_path / "alone"), quiet)
    train(trainer, run, paths(tmp_path / "shared"), quiet)
    branched = train(trainer, longer, paths(tmp_path / "shared", "longer"), quiet)
    asked = iter(range(10**6))
    with pytest.raises(Left):
        train(trainer, longer, paths(tmp_path / "left", leave=lambda: next(asked) >= 9), quiet)
    resumed = train(Trainer(run), longer, paths(tmp_path / "left"), quiet)
    for other in (branched, resumed):
        jax.tree.map(np.testing.assert_array_equal, alone.state, other.state)


@pytest.mark.slow
def test_one_device_several_and_microbatches_train_the_same_network_with_the_same_noise():
    done = subprocess.run(
        [sys.executable, "-c", DEVICES, str(Path(__file__).parent)],
        env=simulated(8),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "same"
