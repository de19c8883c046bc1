"""Dropout and stochastic depth: statistics, places and random numbers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from models.build import build
from models.noise import Noise, at, at_layer, dropped, skipped
from models.precision import Precision
from models.shapes import ViTShape
from models.vit import Block, ParallelBlock

SHAPE = ViTShape(name="nano", patch=4, resolution=8, width=8, depth=3, mlp=8, heads=2)
KEY = jax.random.key(0)
quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def far(found, wanted, spread):
    """By how many standard errors a mean is off."""
    return abs(found - wanted) / spread


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_keeps_the_mean_and_zeroes_at_its_rate(rate):
    x = np.asarray(dropped(jnp.full((200, 500), 3.0), Noise(KEY, dropout=rate)))
    np.testing.assert_allclose(np.unique(x), [0, 3 / (1 - rate)], rtol=1e-6)
    error = np.sqrt(rate * (1 - rate) / x.size)
    assert far((x == 0).mean(), rate, error) < 4
    assert far(x.mean() / 3, 1, error / (1 - rate)) < 4


def test_features_are_dropped_one_by_one():
    gone = np.asarray(dropped(jnp.ones((300, 400)), Noise(KEY, dropout=0.5))) == 0
    for axis in (0, 1):
        share = gone.mean(axis)
        assert share.std() == pytest.approx(0.5 / np.sqrt(gone.shape[axis]), rel=0.2)


@pytest.mark.parametrize("rate", [0.2, 0.6])
def test_stochastic_depth_skips_whole_images_at_its_rate_and_keeps_the_mean(rate):
    x = np.asarray(skipped(jnp.full((20_000, 2, 2), 3.0), Noise(KEY, stochastic_depth=rate)))
    images = x.reshape(len(x), -1)
    assert (images == images[:, :1]).all()
    error = np.sqrt(rate * (1 - rate) / len(x))
    assert far((images[:, 0] == 0).mean(), rate, error) < 4
    assert far(images.mean() / 3, 1, error / (1 - rate)) < 4


@pytest.mark.parametrize(("layer", "rate"), [(0, 0.0), (1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)])
def test_the_rate_grows_linearly_from_none_in_the_first_block_to_all_in_the_last(layer, rate):
    noise = at_layer(Noise(KEY, stochastic_depth=0.4), jnp.asarray(layer), 5)
    gone = np.asarray(skipped(jnp.ones((20_000, 1)), noise)) == 0
    if rate == 0:
        assert not gone.any()
    assert abs(gone.mean() - rate) <= 4 * np.sqrt(rate * (1 - rate) / len(gone))


def test_a_lone_block_is_never_skipped():
    noise = at_layer(Noise(KEY, stochastic_depth=0.9), 0, 1)
    np.testing.assert_array_equal(skipped(jnp.ones((100, 1)), noise), 1)


def test_without_noise_or_at_rates_of_zero_nothing_happens_at_all():
    x = jnp.ones((3, 4))
    for noise in (None, Noise(KEY)):
        assert dropped(x, noise) is x
        assert skipped(x, noise) is x
    assert at(None, 3) is None
    assert at_layer(None, 3, 5) is None


def test_one_place_has_one_luck_and_another_place_another():
    def drawn(noise):
        return np.asarray(dropped(jnp.ones(1000), noise)) == 0

    noise = Noise(KEY, dropout=0.5)
    assert np.array_equal(drawn(at(noise, 1)), drawn(at(noise, jnp.asarray(1))))
    agree = (drawn(at(noise, 1)) == drawn(at(noise, 2))).mean()
    assert 0.4 < agree < 0.6


# Blocks whose branches add a constant: what comes out tells which branches were taken.


def constant(cls, attention, mlp):
    """A block that adds `attention` and `mlp` to every token whatever it sees."""
    graph, shapes = nnx.split(nnx.eval_shape(lambda: cls(SHAPE, rngs=nnx.Rngs(0))))
    block = nnx.merge(graph, jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes))
    block.attention.out.bias.set_value(np.full(SHAPE.width, attention, np.float32))
    block.mlp.out.bias.set_value(np.full(SHAPE.width, mlp, np.float32))
    return block


def apply(block, x, noise):
    """What the block makes of x, compiled."""
    graph, params = nnx.split(block)
    return np.asarray(quick_jit(lambda p: nnx.merge(graph, p)(x, noise))(params))


def test_a_block_skips_attention_and_mlp_each_with_its_own_luck():
    noise = at_layer(Noise(KEY, stochastic_depth=0.5), 2, SHAPE.depth)
    out = apply(constant(Block, 1.0, 10.0), np.zeros((4000, 1, SHAPE.width), np.float32), noise)
    cases, counts = np.unique(out[:, 0, 0], return_counts=True)
    np.testing.assert_array_equal(cases, [0, 2, 20, 22])
    np.testing.assert_allclose(counts / 4000, 0.25, atol=4 * np.sqrt(0.25 * 0.75 / 4000))


def test_a_parallel_block_skips_both_of_its_parts_together():
    noise = at_layer(Noise(KEY, stochastic_depth=0.5), 2, SHAPE.depth)
    zeros = np.zeros((4000, 1, SHAPE.width), np.float32)
    out = apply(constant(ParallelBlock, 1.0, 10.0), zeros, noise)
    cases, counts = np.unique(out[:, 0, 0], return_counts=True)
    np.testing.assert_array_equal(cases, [0, 22])
    np.testing.assert_allclose(counts / 4000, 0.5, atol=4 * np.sqrt(0.25 / 4000))


@pytest.mark.parametrize("cls", [Block, ParallelBlock])
def test_dropout_acts_on_each_branch_of_a_block_but_not_on_its_stream(cls):
    noise = Noise(KEY, dropout=0.5)
    out = apply(constant(cls, 1.0, 10.0), np.full((50, 4, SHAPE.width), 100, np.float32), noise)
    cases = {Block: [100, 102, 120, 122], ParallelBlock: [100, 122]}
    np.testing.assert_array_equal(np.unique(out), cases[cls])


def test_dropout_acts_inside_the_mlp_between_its_products():
    mlp = constant(Block, 0.0, 0.0).mlp
    mlp.into.bias.set_value(np.full(SHAPE.mlp, 3, np.float32))
    mlp.out.kernel.set_value(np.eye(SHAPE.mlp, dtype=np.float32))
    hidden = apply(mlp, np.zeros((1000, SHAPE.width), np.float32), Noise(KEY, dropout=0.25))
    gelu = float(jax.nn.gelu(3.0))
    np.testing.assert_allclose(np.unique(hidden), [0, gelu / 0.75], rtol=1e-6)
    assert (hidden == 0).mean() == pytest.approx(0.25, abs=0.02)


# The whole network.


@pytest.fixture(scope="module")
def network():
    """Its two halves, images, and its answer to them as a function of noise and loop."""
    graph, params = nnx.split(nnx.jit(lambda: build(SHAPE, rngs=nnx.Rngs(0)))())
    images = jax.random.uniform(jax.random.key(1), (6, 8, 8, 3), minval=-1.0)

    @partial(quick_jit, static_argnums=(1, 2, 3))
    def answer(key, dropout, stochastic_depth, unroll):
        module = nnx.merge(graph, params)
        module.precision = Precision(unroll_up_to=unroll)
        return module(images, Noise(key, dropout, stochastic_depth))

    return nnx.merge(graph, params), images, answer


def test_one_key_gives_the_same_digits_and_another_key_others(network):
    _, _, answer = network
    found = answer(KEY, 0.1, 0.5, 0)
    assert np.array_equal(found, answer(KEY, 0.1, 0.5, 0))
    assert not np.allclose(found, answer(jax.random.key(1), 0.1, 0.5, 0), atol=1e-3)


@pytest.mark.slow
def test_the_loop_and_the_loop_written_out_are_equally_lucky(network):
    module, images, answer = network
    found = answer(KEY, 0.1, 0.5, 0)
    np.testing.assert_allclose(answer(KEY, 0.1, 0.5, SHAPE.depth), found, atol=1e-5)

    @quick_jit
    def layer_by_layer(params):
        module = nnx.merge(nnx.split(network[0])[0], params)
        graph, layers = nnx.split(module.blocks)
        noise = Noise(KEY, 0.1, 0.5)
        x = dropped(module.embedding(images) + module.position[...], at(noise, SHAPE.depth))
        for number in range(SHAPE.depth):
            block = nnx.merge(graph, jax.tree.map(lambda x, number=number: x[number], layers))
            x = block(x, at_layer(noise, number, SHAPE.depth))
        return module.pool(module.norm(x))

    np.testing.assert_allclose(layer_by_layer(nnx.state(module)), found, atol=1e-5)
