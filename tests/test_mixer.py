"""MLP-Mixer: every number as in the paper, written down once more in NumPy."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from beartype import beartype
from flax import nnx
from jaxtyping import jaxtyped

from models.build import build
from models.mixer import Mixer, MixerBlock
from models.noise import Noise
from models.shapes import MixerShape
from models.vit import PatchEmbedding
from models.zoo import mixer
from scaling.data.procedural.source import Procedural
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.trainer import Trainer

# A grid of 3 x 3 patches and a margin of two pixels that is not seen.
SIZES = {"patch": 4, "resolution": 14, "width": 16, "depth": 3, "mlp_tokens": 5, "mlp": 24}
SMALL = MixerShape(name="small", **SIZES)

# These tests compile much and compute little.
quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(scope="module", autouse=True)
def checked_shapes():
    """Every call of every module has its annotated shapes and float types checked."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (PatchEmbedding, MixerBlock, Mixer):
            checked = jaxtyped(typechecker=beartype)(module.__call__)
            patch.setattr(module, "__call__", checked)
        yield


@pytest.fixture(scope="module", params=["tanh", "erf"])
def shape(request):
    return MixerShape(name="small", gelu=request.param, **SIZES)


@pytest.fixture(scope="module")
def params():
    """Float64 parameters, all of them random, so that no bias hides at zero."""
    generator = np.random.default_rng(0)
    abstract = nnx.state(nnx.eval_shape(lambda: build(SMALL, rngs=nnx.Rngs(0))))
    leaves, tree = jax.tree.flatten(nnx.to_pure_dict(abstract))
    drawn = [0.5 * generator.standard_normal(leaf.shape) for leaf in leaves]
    return jax.tree.unflatten(tree, drawn)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).uniform(-1, 1, (2, 14, 14, 3))


def function(shape):
    """The network of that shape as a function of parameters and images, in their precision."""
    graph, abstract = nnx.split(nnx.eval_shape(lambda: build(shape, rngs=nnx.Rngs(0))))

    def apply(params, images, key=None, **rates):
        state = jax.tree.map(lambda leaf: leaf, abstract)
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(graph, state)(images, None if key is None else Noise(key, **rates))

    return apply


# The same network once more, in plain NumPy, one image, one patch, one feature at a time.

GELU = {
    "tanh": lambda h: 0.5 * h * (1 + math.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3))),
    "erf": lambda h: 0.5 * h * (1 + math.erf(h / math.sqrt(2))),
}


def norm(x, p):
    return (x - x.mean()) / math.sqrt(x.var() + 1e-6) * p["scale"] + p["bias"]


def think(x, p, gelu):
    hidden = x @ p["into"]["kernel"] + p["into"]["bias"]
    return np.array([GELU[gelu](h) for h in hidden]) @ p["out"]["kernel"] + p["out"]["bias"]


def mix(x, p, gelu):
    normed = np.array([norm(patch, p["norm1"]) for patch in x])
    x = x.copy()
    for feature in range(x.shape[1]):
        x[:, feature] += think(normed[:, feature], p["token_mixing"], gelu)
    return np.array([y + think(norm(y, p["norm2"]), p["channel_mixing"], gelu) for y in x])


def whole(image, p, gelu):
    squares = [image[i : i + 4, j : j + 4].reshape(-1) for i in (0, 4, 8) for j in (0, 4, 8)]
    x = np.array(squares) @ p["embedding"]["kernel"] + p["embedding"]["bias"]
    for layer in range(SIZES["depth"]):
        x = mix(x, jax.tree.map(lambda stacked, at=layer: stacked[at], p["blocks"]), gelu)
    return np.mean([norm(patch, p["norm"]) for patch in x], axis=0)


def test_the_network_is_the_one_written_down_in_numpy(shape, params, images):
    want = [whole(image, params, shape.gelu) for image in images]
    with jax.enable_x64(True):
        found = quick_jit(function(shape))(params, images)
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, want, rtol=1e-10, atol=1e-10)


def test_gradients_are_the_derivatives_of_the_function_written_down_in_numpy(shape, params, images):
    """Along a random direction of every array of parameters, by a central difference."""
    image, apply = images[:1], function(shape)
    weights = np.random.default_rng(3).standard_normal(shape.features)
    with jax.enable_x64(True):
        pixels = jnp.asarray(image)
        gradient = quick_jit(jax.grad(lambda p: apply(p, pixels)[0] @ weights))(params)
    generator, step = np.random.default_rng(4), 1e-5
    leaves, tree = jax.tree.flatten(params)
    for i, (leaf, derivatives) in enumerate(zip(leaves, jax.tree.leaves(gradient), strict=True)):
        direction = generator.standard_normal(leaf.shape)

        def along(way, i=i, direction=direction):
            moved = [*leaves]
            moved[i] = moved[i] + way * direction
            return whole(image[0], jax.tree.unflatten(tree, moved), shape.gelu) @ weights

        want = (along(step) - along(-step)) / (2 * step)
        np.testing.assert_allclose(
            (np.asarray(derivatives) * direction).sum(), want, rtol=1e-6, atol=1e-9
        )


def test_the_margin_that_no_patch_covers_is_not_seen(params, images):
    other = images.copy()
    other[:, 12:] = 0
    other[:, :, 12:] = 0
    compiled = quick_jit(function(SMALL))
    single = jax.tree.map(np.float32, params)
    np.testing.assert_array_equal(
        compiled(single, np.float32(images)), compiled(single, np.float32(other))
    )


@pytest.mark.parametrize("rates", [{"dropout": 0.3}, {"stochastic_depth": 0.5}], ids=str)
def test_noise_is_the_keys_alone_and_its_absence_is_evaluation(params, images, rates):
    single, images = jax.tree.map(np.float32, params), np.float32(images)
    noisy = quick_jit(partial(function(SMALL), **rates))
    one, again, other = (noisy(single, images, jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-2
    assert np.abs(one - quick_jit(function(SMALL))(single, images)).max() > 1e-2


def test_a_skipped_last_block_leaves_the_network_without_it(params, images):
    """With two blocks only the last is ever skipped, as the rate grows from 0 at the first."""
    shape = MixerShape(name="two", **SIZES | {"depth": 2})
    single = jax.tree.map(np.float32, params)
    two = single | {"blocks": jax.tree.map(lambda x: x[:2], single["blocks"])}
    one = single | {"blocks": jax.tree.map(lambda x: x[:1], single["blocks"])}
    many = np.repeat(np.float32(images[:1]), 64, axis=0)
    train = quick_jit(partial(function(shape), stochastic_depth=0.9))
    found = np.asarray(train(two, many, jax.random.key(0)))
    want = quick_jit(function(MixerShape(name="one", **SIZES | {"depth": 1})))(one, many[:1])
    without = np.isclose(found, want, rtol=1e-4, atol=1e-4).all(axis=1).mean()
    assert 0.81 - 0.15 < without < 0.81 + 0.15  # both branches of the last block


def test_a_deeper_mixer_is_no_longer_program():
    def length(depth):
        shape = MixerShape(name="deep", **SIZES | {"depth": depth})
        graph, state = nnx.split(nnx.eval_shape(lambda: build(shape, rngs=nnx.Rngs(0))))
        loss = jax.grad(lambda state, images: nnx.merge(graph, state)(images).sum())
        traced = jax.make_jaxpr(loss)(state, jax.ShapeDtypeStruct((1, 14, 14, 3), jnp.float32))
        return len(traced.jaxpr.eqns)

    assert length(13) == length(24)


def test_parameters_go_by_the_names_of_the_docs():
    model = nnx.eval_shape(lambda: build(mixer("Mixer-B/16"), rngs=nnx.Rngs(0)))
    leaves = jax.tree.leaves_with_path(nnx.to_pure_dict(nnx.state(model)))
    shapes = {"/".join(str(step.key) for step in path): leaf.shape for path, leaf in leaves}
    assert shapes["embedding/kernel"] == (16 * 16 * 3, 768)
    assert shapes["blocks/token_mixing/into/kernel"] == (12, 196, 384)
    assert shapes["blocks/channel_mixing/out/kernel"] == (12, 3072, 768)
    assert shapes["blocks/norm1/scale"] == shapes["blocks/norm2/bias"] == (12, 768)
    assert shapes["norm/scale"] == (768,)
    assert len(shapes) == 2 + 2 * 2 + 2 * 4 + 2


@pytest.mark.slow
def test_a_mixer_learns():
    sizes = {"patch": 4, "resolution": 16, "width": 32, "depth": 2, "mlp_tokens": 16, "mlp": 64}
    run = Run(
        model=MixerShape(name="nano", **sizes),
        data=Procedural(classes=4),
        recipe=Recipe(
            optimizer="adam",
            learning_rate=3e-3,
            warmup_steps=5,
            weight_decay_head=0.1,
            stochastic_depth=0.1,
        ),
        images_seen=16 * 65,
        batch=16,
    )
    trainer = Trainer(run)
    losses = []
    current = trainer.start()
    for until in (5, 60, 65):
        current = trainer.advance(
            current,
            until,
            total_steps=None,
            keep=lambda _: None,
            spec=CheckpointSpec(),
            tell=lambda progress: losses.append(progress.loss),
        )
    assert losses[-1] < 0.8 * losses[0]
