"""muP: features change by as much at every width and depth; at the base nothing is different."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from models.build import build
from models.mup import attention_scale, branch_scale, multiplier, multipliers
from models.precision import Precision
from models.shapes import BiTShape, MuP, ViTShape
from scaling.data.pixels.floats import to_floats
from scaling.data.procedural.source import Procedural
from scaling.objectives.classify import Classify
from scaling.objectives.protocol import Learned
from scaling.training.optimizer import Optimizer
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.step import optimizer_of

CLASSES, BATCH, STEPS = 8, 32, 4
OBJECTIVE = Classify()
RECIPE = Recipe(
    optimizer="adam",
    learning_rate=1e-3,
    weight_decay_head=0.0,
    weight_decay_body=0.0,
    warmup_steps=1,
)
QUICK = {  # compiling is what costs here
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}


def shape_of(width=32, depth=2, mup=None, **changes):
    sizes = {"patch": 4, "resolution": 16, "mlp": 2 * width, "heads": 4}
    return ViTShape(name="x", width=width, depth=depth, mup=mup, **(sizes | changes))


def wide(mup=True):
    return shape_of(width=256, mup=MuP(base_width=32, base_head=8) if mup else None)


def deep(exponent):
    return shape_of(depth=16, mup=exponent and by_depth(exponent))


def by_depth(exponent):
    return MuP(base_width=32, base_head=8, base_depth=2, depth_exponent=exponent)


# Who gets which multiplier


@pytest.mark.parametrize("block", ["sequential", "parallel"])
@pytest.mark.parametrize("pool", ["map", "token"])
def test_only_kernels_between_features_learn_more_slowly_as_the_width_grows(block, pool):
    shape = shape_of(
        width=64, mup=MuP(base_width=16), block=block, pool=pool, query_key_norm=True, pre_logits=64
    )
    for path in paths(shape):
        slower = path[-1] == "kernel" and path[-2] != "embedding"
        assert multiplier(shape, path) == (0.25 if slower else 1.0), path
    assert multiplier(shape, ("head", "kernel")) == 0.25
    assert multiplier(shape, ("head", "bias")) == 1.0


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_whatever_is_in_a_block_learns_more_slowly_as_the_depth_grows(exponent):
    mup = MuP(base_width=32, base_depth=2, depth_exponent=exponent)
    shape = shape_of(depth=8, mup=mup)
    for path in paths(shape):
        assert multiplier(shape, path) == (4 ** (exponent - 1) if path[0] == "blocks" else 1), path
    assert branch_scale(shape) == 4**-exponent


def test_without_a_base_depth_depth_changes_nothing():
    shape = shape_of(depth=8, mup=MuP(base_width=32))
    assert branch_scale(shape) == 1
    assert {multiplier(shape, path) for path in paths(shape)} == {1.0}


def test_attention_is_scaled_by_the_size_of_a_head_and_equals_the_standard_at_the_base():
    standard = [attention_scale(shape_of(width=w)) for w in (32, 64, 128)]  # heads of 8, 16, 32
    followed = [
        attention_scale(shape_of(width=w, mup=MuP(base_width=32, base_head=8)))
        for w in (32, 64, 128)
    ]
    assert standard == pytest.approx([8**-0.5, 16**-0.5, 32**-0.5])
    assert followed == pytest.approx([8**-0.5, 8**-0.5 / 2, 8**-0.5 / 4])
    assert followed[0] == standard[0]


def test_a_model_without_mup_has_no_multipliers():
    assert multipliers(shape_of()) is None
    assert multipliers(BiTShape(name="r", resolution=32, stages=(1, 1), width=32)) is None


# What the optimizer does with them


def all_body(params):
    """Every parameter has the body's weight decay."""
    return jax.tree.map(lambda _: "body", params)


@pytest.mark.parametrize("name", ["adam", "adafactor"])
def test_a_multiplier_reaches_the_update_and_not_the_decay(name):
    recipe = Recipe(optimizer=name, learning_rate=0.5, weight_decay_body=0.25)
    rng = np.random.default_rng(0)
    params, grads = (
        {"blocks": {"a": {"kernel": jnp.asarray(rng.normal(size=(2, 40, 40)), jnp.float32)}}}
        for _ in range(2)
    )

    def first(factor, grads):
        tx = Optimizer(recipe, all_body, None if factor is None else lambda path: factor)
        update = jax.jit(lambda g: tx.update(g, tx.init(params), params)[0], compiler_options=QUICK)
        return update(grads)["blocks"]["a"]["kernel"]

    p = params["blocks"]["a"]["kernel"]
    plain, third = first(None, grads), first(0.3, grads)
    np.testing.assert_array_equal(first(1.0, grads), plain)
    np.testing.assert_allclose(third - 0.125 * p, 0.3 * (plain - 0.125 * p), atol=1e-6)
    still = first(0.3, jax.tree.map(jnp.zeros_like, grads))
    np.testing.assert_allclose(still, 0.125 * p, rtol=1e-6)  # decay alone, and all of it


def test_a_multiplier_is_asked_for_by_path():
    seen = set()
    tx = Optimizer(RECIPE, all_body, lambda path: seen.add(path) or 1.0)
    params = {"backbone": {"norm": {"scale": jnp.ones(3)}}, "head": {"bias": jnp.ones(2)}}
    jax.eval_shape(lambda p: tx.update(p, tx.init(p), p), params)
    assert seen == {("backbone", "norm", "scale"), ("head", "bias")}


@pytest.mark.slow
def test_training_asks_the_model_for_its_multipliers():
    """Adam's first step moves every parameter by the learning rate times its multiplier."""

    def moved(mup):
        run = Run(
            model=shape_of(width=16, depth=1, heads=2, mup=mup),
            data=Procedural(classes=CLASSES),
            recipe=RECIPE,
            images_seen=64,
            batch=8,
        )
        built = run.objective.build(run.model, CLASSES, Precision())
        tx = optimizer_of(run, built)
        params = jax.tree.map(
            lambda x: jnp.ones(x.shape), jax.eval_shape(built.init, jax.random.key(0)).params
        )
        update, _ = jax.jit(lambda p: tx.update(p, tx.init(p), p))(params)
        return [float(update["head"][key].mean()) for key in ("kernel", "bias")]

    assert moved(None) == pytest.approx([1e-3, 1e-3], rel=1e-3)
    assert moved(MuP(base_width=4)) == pytest.approx([0.25e-3, 1e-3], rel=1e-3)


# The coordinate check: how much features change in a few steps. Yang et al. 2022, appendix D.1.


class Trained(NamedTuple):
    """A training of STEPS updates of Adam: first parameters, and mean absolute changes of features.

    Features: after the embedding, the first block and the last, of the pool, and the logits;
    geometric means over two seeds. Parameters are those of the second.
    """

    first: dict
    change: dict[str, float]


class Programs(NamedTuple):
    """What a training is made of, not compiled yet."""

    look: Callable
    start: Callable
    gradients: Callable
    step: Callable


def programs(shape):
    """From parameters and images to features; from a key to parameters and moments; from
    parameters and images to gradients; to the next parameters and moments."""
    built = OBJECTIVE.build(shape, CLASSES, Precision())
    update = Optimizer(RECIPE, built.parameter_groups, multipliers(shape))

    def look(params, images):
        return features(built.module(Learned(params, {}, {})), images)

    def loss(params, images, labels):
        seen = look(params, images)
        targets = jax.nn.one_hot(labels, CLASSES)
        return optax.sigmoid_binary_cross_entropy(seen["logits"], targets).sum(-1).mean(), seen

    def start(key):
        params = built.init(key).params
        return params, update.init(params)

    def step(grads, moments, params):
        u, moments = update.update(grads, moments, params)
        return jax.tree.map(jnp.subtract, params, u), moments

    return Programs(look, start, jax.grad(loss, has_aux=True), step)


@cache
def starts(shape):
    """The compiled start, shared by shapes that `begin` alike."""
    return jax.jit(programs(shape).start, compiler_options=QUICK)


def begin(shape):
    """The same shape without its depth's parametrisation, which no start depends on."""
    same = shape.mup is None or shape.mup.base_width == shape.width
    return replace(shape, mup=None if same else MuP(base_width=shape.mup.base_width))


@cache
def trained(shape):
    _, _, gradients, step = (jax.jit(each, compiler_options=QUICK) for each in programs(shape))
    images, labels = Procedural(classes=CLASSES).train().batch(np.arange(STEPS * BATCH))
    images = to_floats(images).reshape(STEPS, BATCH, *images.shape[1:])
    labels = labels.reshape(STEPS, BATCH)
    changes = []
    for seed in range(2):
        params, moments = starts(begin(shape))(jax.random.key(seed))
        first = params
        _, before = gradients(params, images[0], labels[0])
        for each in range(STEPS):
            grads, _ = gradients(params, images[each], labels[each])
            params, moments = step(grads, moments, params)
        _, after = gradients(params, images[0], labels[0])
        changes.append({key: np.abs(after[key] - each).mean() for key, each in before.items()})
    between = partial(jax.tree.map, lambda a, b: float(np.sqrt(a * b)))
    return Trained(first, between(*changes))


def size_at_start(shape):
    """Mean absolute size of the features behind the last block, of an untrained network."""
    images, _ = Procedural(classes=CLASSES).train().batch(np.arange(BATCH))
    look = jax.jit(programs(shape).look, compiler_options=QUICK)
    params, _ = starts(begin(shape))(jax.random.key(0))
    return float(np.abs(look(params, to_floats(images))["last block"]).mean())


def features(module, images):
    vit = module.backbone
    x = vit.embedding(images) + vit.positions()
    block, layers = nnx.split(vit.blocks)

    def step(x, layer):
        x = nnx.merge(block, layer)(x)
        return x, x

    last, stream = jax.lax.scan(step, x, layers)
    pooled = vit.pool(vit.norm(last))
    seen = {"embedded": x, "first block": stream[0], "last block": last, "pooled": pooled}
    return seen | {"logits": module.head(pooled)}


def exponents(shape, times):
    """Of the changes' growth as a power of `times`, the factor by which width or depth grew."""
    large, small = trained(shape).change, trained(shape_of()).change
    return {key: float(np.log(large[key] / small[key]) / np.log(times)) for key in small}


@pytest.mark.slow
def test_at_the_base_training_is_the_program_of_the_standard_parametrisation():
    standard, followed = (programs(shape_of(mup=mup)) for mup in (None, by_depth(0.5)))
    params, moments = jax.eval_shape(standard.start, jax.random.key(0))
    images, labels = jnp.zeros((BATCH, 16, 16, 3)), jnp.zeros(BATCH, int)
    given = [
        *((params, images), (jax.random.key(0),)),
        *((params, images, labels), (params, moments, params)),
    ]
    for one, other, values in zip(standard, followed, given, strict=True):
        texts = [jax.jit(each).lower(*values).as_text() for each in (one, other)]
        assert texts[0] == texts[1]


@pytest.mark.slow
def test_positions_and_probe_start_as_large_at_every_width():
    narrow, broad, plain = (
        trained(shape).first["backbone"] for shape in (shape_of(), wide(), wide(mup=False))
    )
    for tree, width in ((narrow, 32), (broad, 32), (plain, 256)):
        assert tree["position"].std() == pytest.approx(width**-0.5, rel=0.1)
        assert tree["pool"]["probe"].std() == pytest.approx((2 / (1 + width)) ** 0.5, rel=0.25)


@pytest.mark.slow
def test_with_mup_features_change_by_as_much_at_eight_times_the_width():
    found = exponents(wide(), 8)
    assert max(abs(exponent) for exponent in found.values()) < 0.15, found


@pytest.mark.slow
def test_without_mup_they_change_the_more_the_wider_the_network():
    found = exponents(wide(mup=False), 8)
    assert found["logits"] > 1.2
    for key in ("first block", "last block", "pooled"):
        assert found[key] > 0.35, key
    assert found["embedded"] < -0.15  # through positions that start at 1 / sqrt(width)


@pytest.mark.slow
@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_with_scaled_branches_features_change_by_no_more_at_eight_times_the_depth(exponent):
    found = exponents(deep(exponent), 8)
    for key in ("pooled", "logits"):
        assert abs(found[key]) < 0.15, key
    assert found["last block"] < 0.15
    assert found["last block"] > (-0.15 if exponent == 0.5 else -0.3)


@pytest.mark.slow
def test_without_scaled_branches_they_grow_with_depth():
    assert exponents(deep(None), 8)["last block"] > 0.7


@pytest.mark.slow
def test_a_deeper_network_starts_no_larger_with_scaled_branches():
    small, scaled, plain = (size_at_start(shape) for shape in (shape_of(), deep(0.5), deep(None)))
    assert scaled == pytest.approx(small, rel=0.4)
    assert plain > 2 * small


def paths(shape):
    model = nnx.eval_shape(lambda: build(shape, rngs=nnx.Rngs(0)))
    tree = nnx.to_pure_dict(nnx.state(model))
    return [tuple(str(entry.key) for entry in path) for path, _ in jax.tree.leaves_with_path(tree)]
