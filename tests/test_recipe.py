"""The recipe against its published numbers and against an independent NumPy transcription."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.build import build
from models.zoo import vit
from scaling.training.optimizer import Optimizer, beta2_at
from scaling.training.recipe import Recipe, schedule


def groups(params):
    """The kernel under `head` apart from every other one."""

    def group(path, _):
        first, *_, last = [entry.key for entry in (path[0], path[-1])]
        return "undecayed" if last != "kernel" else "head" if first == "head" else "body"

    return jax.tree.map_with_path(group, params)


def optimizer(recipe):
    return Optimizer(recipe, groups)


PAPER = Recipe(cooldown_steps=50_000)


# The recipe as a configuration


def test_the_defaults_are_the_papers():
    recipe = Recipe()
    assert recipe.optimizer == "adafactor"
    assert (recipe.learning_rate, recipe.warmup_steps, recipe.timescale_steps) == (8e-4, 1e4, 1e4)
    assert (recipe.weight_decay_head, recipe.weight_decay_body) == (3.0, 0.03)
    assert (recipe.beta1, recipe.beta2, recipe.clip_norm) == (0.9, 0.999, 1.0)


def test_a_cooldown_in_steps_takes_the_place_of_the_default_fraction():
    assert Recipe().cooldown(1000) == 200
    assert Recipe(cooldown_fraction=0.5).cooldown(1000) == 500
    assert Recipe(cooldown_steps=7).cooldown(1000) == 7


def test_a_cooldown_lasts_at_least_one_step():
    assert Recipe(cooldown_fraction=0.01).cooldown(3) == 1


@pytest.mark.parametrize("recipe", [Recipe(), PAPER, Recipe(cooldown_fraction=0.1)])
def test_a_recipe_survives_the_way_through_a_file(recipe):
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert Recipe(**recipe.model_dump(exclude_none=True)) == recipe


def test_a_study_file_can_ask_for_no_clipping():
    assert Recipe(clip_norm="none").clip_norm is None


@pytest.mark.parametrize(
    "fields",
    [
        {"cooldown_steps": 10, "cooldown_fraction": 0.1},
        {"cooldown_steps": None, "cooldown_fraction": None},
    ],
)
def test_two_cooldowns_or_none_are_refused_by_name(fields):
    with pytest.raises(ValidationError, match=r"cooldown_fraction=.* give exactly one"):
        Recipe(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"learning_rate": 0.0},
        {"learning_rate": float("inf")},
        {"weight_decay_head": -1.0},
        {"beta2": 1.0},
        {"clip_norm": 0.0},
        {"warmup_steps": -1},
        {"timescale_steps": 0},
        {"cooldown_fraction": 1.5},
        {"optimizer": "lion"},
        {"learning_rat": 1e-3},
    ],
)
def test_a_nonsensical_recipe_is_refused(fields):
    with pytest.raises(ValidationError, match=next(iter(fields))):
        Recipe(**fields)


def test_warmup_and_cooldown_may_fill_a_run_but_not_exceed_it():
    recipe = Recipe(warmup_steps=10, cooldown_steps=10)
    recipe.check(20)
    with pytest.raises(ValueError, match=r"use warmup_steps <= 9, or train longer"):
        recipe.check(19)
    with pytest.raises(ValueError, match=r"use a shorter cooldown, or train longer"):
        recipe.check(9)


# The schedule


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0),
        (5_000, 0.5),
        (10_000, 1),
        (20_000, 0.707107),
        (100_000, 0.316228),
        (500_000, 0.141421),
        (950_000, 0.102598),
        (975_000, 0.050637),
        (1_000_000, 0),
    ],
)
def test_the_schedule_passes_through_the_published_values(step, expected):
    assert schedule(PAPER, step, 1_000_000) == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize(("step", "expected"), [(5, 0.5), (10, 1), (15, 0.408248), (20, 0)])
def test_the_shortest_published_run_cools_right_after_its_warmup(step, expected):
    recipe = Recipe(cooldown_steps=10_000)
    assert schedule(recipe, step * 1000, 20_000) == pytest.approx(expected, abs=5e-7)


def test_a_warmup_that_is_shorter_than_the_timescale_stays_continuous():
    recipe = Recipe(warmup_steps=100, timescale_steps=3000)
    assert schedule(recipe, 100, None) == 1.0
    assert schedule(recipe, 3100, None) == pytest.approx(0.5**0.5)


def test_no_warmup_starts_at_the_peak():
    assert schedule(Recipe(warmup_steps=0), 0, None) == 1.0


recipes = st.builds(
    Recipe,
    warmup_steps=st.integers(0, 1000),
    timescale_steps=st.integers(1, 1000),
    cooldown_fraction=st.floats(0.01, 0.5),
)


@given(recipes, st.integers(2001, 100_000), st.floats(0, 1))
def test_before_its_cooldown_no_run_knows_how_long_it_is(recipe, total, where):
    branch = total - recipe.cooldown(total)
    step = round(where * branch)
    assert schedule(recipe, step, total) == schedule(recipe, step, None)


@given(recipes, st.integers(2001, 100_000), st.floats(0, 1))
def test_a_cooldown_only_ever_falls_from_the_trunk_to_zero(recipe, total, where):
    branch = total - recipe.cooldown(total)
    step = branch + round(where * (total - branch - 1))
    assert 0 < schedule(recipe, step + 1, total + 1) <= 1
    assert schedule(recipe, step + 1, total) < schedule(recipe, step, total)
    assert schedule(recipe, total, total) == schedule(recipe, total + 5, total) == 0


# Other schedules


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0), (250, 0.5), (500, 1), (5375, 0.853553), (10_250, 0.5), (20_000, 0), (20_007, 0)],
)
def test_the_cosine_of_vit_fine_tuning(step, expected):
    recipe = Recipe(schedule="cosine", warmup_steps=500)
    assert schedule(recipe, step, 20_000) == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize("steps", [500, 10_000, 20_000])
def test_the_stairs_of_bit_hyperrule(steps):
    recipe = Recipe(schedule="stairs", warmup_steps=0)
    assert schedule(recipe, 0, steps) == 1
    for part, expected in ((0.3, 0.1), (0.6, 0.01), (0.9, 0.001)):
        at = round(part * steps)
        assert schedule(recipe, at, steps) == pytest.approx(expected)
        assert schedule(recipe, at - 1, steps) == pytest.approx(10 * expected)


def test_a_constant_rate_stays_to_the_end():
    recipe = Recipe(schedule="constant", warmup_steps=2)
    assert [schedule(recipe, step, 6) for step in range(6)] == [0, 0.5, 1, 1, 1, 1]


@given(
    kind=st.sampled_from(["rsqrt", "cosine", "stairs", "constant"]),
    warmup=st.integers(0, 50),
    total=st.integers(2, 10_000),
    part=st.floats(0, 1),
)
def test_no_schedule_looks_ahead_before_its_run_leaves_the_trunk(kind, warmup, total, part):
    recipe = Recipe(schedule=kind, warmup_steps=min(warmup, total // 4))
    step = int(part * (total - recipe.cooldown(total)))
    if step < total - recipe.cooldown(total):
        assert schedule(recipe, step, total) == schedule(recipe, step, None)


def test_stairs_go_down_one_after_the_other():
    with pytest.raises(ValidationError, match="each is to come after the one before it"):
        Recipe(schedule="stairs", stairs=(0.6, 0.3))


def test_a_warm_up_that_does_not_fit_before_a_cosine_is_said():
    with pytest.raises(ValueError, match=r"warmup_steps=500 .* run of 100; use warmup_steps <= 99"):
        Recipe(schedule="cosine", warmup_steps=500).check(100)


# The optimizer


@pytest.mark.parametrize(
    ("t", "expected"),
    [(1, 0), (2, 0.425651), (10, 0.841511), (100, 0.974881), (1000, 0.996019), (5000, 0.998901)],
)
def test_the_second_moment_forgets_as_published(t, expected):
    assert beta2_at(t, 0.999) == pytest.approx(expected, abs=1e-6)


def test_the_second_moments_memory_stops_growing_at_update_5624():
    cap = jnp.float32(0.999)
    assert beta2_at(5623, 0.999) < cap
    assert beta2_at(5624, 0.999) == beta2_at(1_000_000, 0.999) == cap


def tree_like(shapes, seed):
    """Normal f32 arrays of the given shapes, in the same nested dict."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.normal(size=shape), jnp.float32),
        shapes,
        is_leaf=lambda node: isinstance(node, tuple),
    )


def block_shapes(depth, width=40, heads=2):
    """One encoder block's parameters, stacked `depth` deep; () gives a single block."""
    dim = width // heads
    return {
        "norm": {"scale": (*depth, width), "bias": (*depth, width)},
        "query": {"kernel": (*depth, width, heads, dim), "bias": (*depth, heads, dim)},
        "mlp": {"kernel": (*depth, width, 2 * width), "bias": (*depth, 2 * width)},
    }


def module_shapes(depth):
    return {
        "backbone": {
            "embedding": {"kernel": (4, 4, 3, 40), "bias": (40,)},
            "positions": (1, 36, 40),
            "blocks": block_shapes((depth,)),
            "pool": {"probe": (1, 1, 40)},
        },
        "head": {"kernel": (40, 10), "bias": (10,)},
    }


def first_update(recipe, grads, params):
    """The first step and the state after it."""
    tx = optimizer(recipe)
    return jax.jit(lambda g, p: tx.update(g, tx.init(p), p))(grads, params)


class NumPyAdafactor:
    """One parameter's Adafactor, as the paper tells it, in float64 save for the momentum."""

    def __init__(self, shape):
        self.moments = None
        self.momentum = np.zeros(shape, ml_dtypes.bfloat16)
        by_size = np.argsort(shape)
        self.axes = None
        if len(shape) > 1 and shape[by_size[-2]] >= 32:
            self.axes = by_size[-1], by_size[-2]  # largest, second largest

    def __call__(self, g, t):
        beta2 = min(0.999, 1 - t**-0.8)
        square = g.astype(np.float64) ** 2 + 1e-30
        if self.axes is None:
            fresh = [square]
        else:
            fresh = [square.mean(axis, keepdims=True) for axis in self.axes]
        if self.moments is None:
            self.moments = [0 * f for f in fresh]
        self.moments = [
            beta2 * m + (1 - beta2) * f for m, f in zip(self.moments, fresh, strict=True)
        ]
        if self.axes is None:
            scaled = g / np.sqrt(self.moments[0])
        else:
            rows, columns = self.moments
            overall = rows.mean(self.axes[1], keepdims=True)
            scaled = g / np.sqrt(rows / overall * columns)
        # JAX multiplies a bf16 array by a Python number in bf16, where 0.9 is 0.8984375.
        kept = (self.momentum * ml_dtypes.bfloat16(0.9)).astype(np.float32)
        average = kept + np.float32(0.1) * scaled.astype(np.float32)
        self.momentum = average.astype(ml_dtypes.bfloat16)
        return average


def each_layer(tree):
    """(path, array, stacked?) of every parameter, a stack once for each of its layers."""
    for path, leaf in jax.tree.leaves_with_path(tree):
        names = tuple(entry.key for entry in path)
        if "blocks" in names:
            yield from (((*names, layer), np.asarray(one)) for layer, one in enumerate(leaf))
        else:
            yield names, np.asarray(leaf)


@pytest.mark.slow
def test_the_whole_update_equals_its_numpy_transcription():
    recipe = Recipe(learning_rate=0.01, weight_decay_head=2.0, weight_decay_body=0.5)
    params = tree_like(module_shapes(depth=3), seed=0)
    tx = optimizer(recipe)
    state = tx.init(params)
    # Left to itself, the compiler skips some roundings to bf16 that the program asks for.
    update = jax.jit(tx.update, compiler_options={"xla_allow_excess_precision": False})
    expected = {names: NumPyAdafactor(p.shape) for names, p in each_layer(params)}
    rounded_otherwise = 0
    for t in range(1, 6):
        grads = tree_like(module_shapes(depth=3), seed=t)
        if t == 3:  # a gradient that the clip leaves alone
            grads = jax.tree.map(lambda g: g * 1e-4, grads)
        updates, state = update(grads, state, params)
        raw, old = dict(each_layer(grads)), dict(each_layer(params))
        norm = np.sqrt(sum(np.sum(np.square(g, dtype=np.float64)) for g in raw.values()))
        for names, u in each_layer(updates):
            decay = 0.0
            if "kernel" in names:
                decay = 2.0 if names[0] == "head" else 0.5
            core = expected[names](raw[names] / max(1.0, norm), t)
            off = np.abs(u - (0.01 * core + 0.01 * decay * old[names]))
            rounded_otherwise += np.sum(off > 1e-7)
            # A difference in f32's last bit may tip the momentum to bf16's next number.
            assert np.all(off <= 1e-7 + 0.01 * np.abs(core) * 2.0**-8), names
        params = jax.tree.map(lambda p, u: p - 0.3 * u, params, updates)
    assert rounded_otherwise < 1e-3 * 5 * sum(p.size for p in jax.tree.leaves(params))


@pytest.mark.parametrize("depth", [2, pytest.param(40, marks=pytest.mark.slow)])
def test_a_stack_is_optimised_like_its_layers_one_by_one(depth):
    recipe = Recipe(learning_rate=1.0, weight_decay_body=0.5, clip_norm=None, beta1=0.0)
    tx = optimizer(recipe)
    params = tree_like({"blocks": block_shapes((depth,))}, seed=0)

    def layer(tree, i):
        return {"layer": jax.tree.map(lambda a: a[i], tree["blocks"])}

    states = [tx.init(layer(params, i)) for i in range(depth)]
    state = tx.init(params)
    update = jax.jit(tx.update)
    for seed in (1, 2, 3):
        grads = tree_like({"blocks": block_shapes((depth,))}, seed)
        updates, state = update(grads, state, params)
        for i in range(depth):
            alone, states[i] = update(layer(grads, i), states[i], layer(params, i))
            # Sums of f32 run in another order in a stack; nothing else may differ.
            jax.tree.map(
                lambda u, v: np.testing.assert_allclose(u, v, rtol=1e-6, atol=1e-6),
                layer(updates, i),
                alone,
            )


def second_moments(state):
    """Shapes of Adafactor's row, column and full second moments, in that order."""
    return [
        [leaf.shape for leaf in jax.tree.leaves(getattr(node, field))]
        for node in jax.tree.leaves(state, is_leaf=lambda n: hasattr(n, "v_row"))
        if hasattr(node, "v_row")
        for field in ("v_row", "v_col", "v")
    ]


@pytest.mark.parametrize(
    ("shape", "row", "column"),
    [
        ((31, 500), None, None),
        ((32, 500), (32,), (500,)),
        ((768, 12, 64), (12, 64), (768, 12)),  # heads stay apart
        ((64, 48, 16), (48, 16), (64, 16)),  # more heads than channels a head
        ((192, 3, 16), None, None),
        ((768,), None, None),
        ((12, 64), None, None),
    ],
)
def test_only_two_dimensions_of_at_least_32_are_factored(shape, row, column):
    state = jax.eval_shape(optimizer(Recipe()).init, {"kernel": jnp.zeros(shape)})
    rows, columns, full, *_ = second_moments(state)
    factored = row is not None
    assert rows == [row if factored else (1,)]
    assert columns == [column if factored else (1,)]
    assert full == [(1,) if factored else shape]


def test_biases_of_a_deep_stack_are_not_factored_across_layers():
    params = {"blocks": {"bias": jnp.zeros((48, 1664))}}
    state = jax.eval_shape(optimizer(Recipe()).init, params)
    assert [(48, 1664)] in second_moments(state)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("adafactor", 2.0, 2.05),
        ("adafactor-f32", 4.0, 4.05),
        ("adam-bf16", 6.0, 6.0001),
        ("adam", 8.0, 8.0001),
        ("sgd", 4.0, 4.0001),
        ("sgd-bf16", 2.0, 2.0001),
    ],
)
def test_the_state_of_vit_b16_takes_the_promised_bytes_a_parameter(name, least, most):
    backbone = nnx.eval_shape(lambda: build(vit("B/16"), rngs=nnx.Rngs(0)))
    head = {"kernel": jnp.zeros((768, 1000)), "bias": jnp.zeros(1000)}
    params = {"backbone": nnx.to_pure_dict(nnx.state(backbone)), "head": head}
    count = sum(p.size for p in jax.tree.leaves(params))
    state = jax.eval_shape(optimizer(Recipe(optimizer=name)).init, params)
    size = sum(s.size * s.dtype.itemsize for s in jax.tree.leaves(state))
    assert least <= size / count <= most


def test_the_momentum_is_kept_rounded_to_bf16():
    params = {"kernel": jnp.zeros((40, 50))}
    tx = optimizer(Recipe(learning_rate=1.0, weight_decay_body=0.0))
    state = tx.init(params)
    update = jax.jit(tx.update)
    for seed in range(3):
        updates, state = update(tree_like({"kernel": (40, 50)}, seed), state, params)
    (momentum,) = [s for s in jax.tree.leaves(state) if s.dtype == jnp.bfloat16]
    expected = np.asarray(updates["kernel"]).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(np.asarray(momentum), expected)
    assert np.any(np.asarray(updates["kernel"]) != expected.astype(np.float32))


def test_sgd_is_the_textbooks_heavy_ball():
    params = {"kernel": jnp.ones((2, 3))}
    recipe = Recipe(
        optimizer="sgd", learning_rate=0.5, beta1=0.9, clip_norm=None, weight_decay_body=0.0
    )
    tx, velocity = optimizer(recipe), np.zeros((2, 3))
    state = tx.init(params)
    for seed in range(4):
        grads = tree_like({"kernel": (2, 3)}, seed)
        updates, state = tx.update(grads, state, params)
        velocity = 0.9 * velocity + np.asarray(grads["kernel"])
        np.testing.assert_allclose(updates["kernel"], 0.5 * velocity, rtol=1e-6)


@pytest.mark.parametrize("name", ["adam", "adam-bf16"])
def test_adams_first_step_is_the_sign_of_the_gradient(name):
    grads = tree_like(module_shapes(depth=2), seed=0)
    params = jax.tree.map(jnp.zeros_like, grads)
    recipe = Recipe(optimizer=name, learning_rate=1.0, clip_norm=None)
    updates, _ = first_update(recipe, grads, params)
    jax.tree.map(lambda u, g: np.testing.assert_allclose(u, np.sign(g), rtol=5e-3), updates, grads)


def test_decay_reaches_kernels_alone_and_the_classifiers_by_its_own_rate():
    params = jax.tree.map(jnp.ones_like, tree_like(module_shapes(depth=2), seed=0))
    recipe = Recipe(
        optimizer="adam", learning_rate=0.5, weight_decay_head=3.0, weight_decay_body=0.25
    )
    updates, _ = first_update(recipe, jax.tree.map(jnp.zeros_like, params), params)
    for names, u in each_layer(updates):
        expected = 0.0
        if "kernel" in names:
            expected = 1.5 if names[0] == "head" else 0.125
        np.testing.assert_array_equal(u, np.full_like(u, expected), err_msg=str(names))


def test_the_clip_sees_one_norm_over_stacks_and_singles_alike():
    params = {"blocks": {"bias": jnp.zeros((2, 1))}, "bias": jnp.zeros(1)}
    grads = {"blocks": {"bias": jnp.array([[2.0], [4.0]])}, "bias": jnp.array([4.0])}  # norm 6
    _, state = first_update(Recipe(optimizer="adam", clip_norm=3.0), grads, params)
    is_adam = lambda node: hasattr(node, "mu")  # noqa: E731
    first = jax.tree.map(lambda node: node.mu, state.moments, is_leaf=is_adam)
    np.testing.assert_allclose(first["blocks"]["bias"], [[0.1], [0.2]], rtol=1e-6)
    np.testing.assert_allclose(first["bias"], [0.2], rtol=1e-6)
