"""BiT: every number as in the paper's code, written down once more in NumPy."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from beartype import beartype
from flax import nnx
from jaxtyping import jaxtyped

from models.bit import BiT, Bottleneck, GroupNorm, PostBottleneck, Stage, StandardisedConv
from models.build import build
from models.noise import Noise
from models.shapes import BiTShape
from models.zoo import bit
from scaling.data.procedural.source import Procedural
from scaling.training import checkpoints as checkpoint
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.trainer import Trainer

# These tests compile much and compute little.
quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

TINY = BiTShape(name="tiny", resolution=32, stages=(1, 2), width=32)


@pytest.fixture(autouse=True)
def checked_shapes(monkeypatch):
    """Every call of every module has its annotated shapes and float types checked."""
    for module in (GroupNorm, StandardisedConv, Bottleneck, PostBottleneck, Stage, BiT):
        checked = jaxtyped(typechecker=beartype)(module.__call__)
        monkeypatch.setattr(module, "__call__", checked)


@pytest.fixture(scope="module")
def network():
    """Graph and float64 parameters of the tiny BiT, noise added so that no bias hides at zero."""
    graph, abstract = nnx.split(nnx.eval_shape(lambda: build(TINY, rngs=nnx.Rngs(0))))
    generator = np.random.default_rng(0)
    leaves, tree = jax.tree.flatten(nnx.to_pure_dict(abstract))
    drawn = [generator.standard_normal(leaf.shape) for leaf in leaves]
    return graph, abstract, jax.tree.unflatten(tree, drawn)


@pytest.fixture(scope="module", params=[32, 33], ids=["even", "odd"])
def images(request):
    """Of an even side, halved without rest three times, and of an odd one."""
    return np.random.default_rng(1).uniform(-1, 1, (2, request.param, request.param, 3))


@pytest.fixture(scope="module")
def function(network):
    """The network as a function of parameters and images, in their precision."""
    graph, abstract, _ = network

    def apply(params, images, key=None, **rates):
        state = jax.tree.map(lambda leaf: leaf, abstract)
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(graph, state)(images, None if key is None else Noise(key, **rates))

    return apply


# The same network once more, in plain NumPy, one image at a time.


def convolve(x, kernel, stride):
    kernel = kernel - kernel.mean((0, 1, 2))
    kernel = kernel / np.sqrt((kernel**2).mean((0, 1, 2)) + 1e-10)
    side = len(kernel)
    padded = np.pad(x, ((side // 2, side // 2), (side // 2, side // 2), (0, 0)))
    rows = range(0, len(padded) - side + 1, stride)
    return np.array(
        [[np.tensordot(padded[i : i + side, j : j + side], kernel, 3) for j in rows] for i in rows]
    )


def normalise(x, p):
    size = x.shape[-1] // 32
    out = np.empty_like(x)
    for group in range(32):
        part = x[..., group * size : (group + 1) * size]
        out[..., group * size : (group + 1) * size] = (part - part.mean()) / np.sqrt(
            ((part - part.mean()) ** 2).mean() + 1e-5
        )
    return out * p["scale"] + p["bias"]


def largest(x):
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    rows = range(0, len(padded) - 2, 2)
    return np.array([[padded[i : i + 3, j : j + 3].max((0, 1)) for j in rows] for i in rows])


def unit(x, p, stride):
    y = np.maximum(normalise(x, p["norm1"]), 0)
    if "projection" in p:
        x = convolve(y, p["projection"]["kernel"], stride)
    y = convolve(y, p["conv1"]["kernel"], 1)
    y = convolve(np.maximum(normalise(y, p["norm2"]), 0), p["conv2"]["kernel"], stride)
    return x + convolve(np.maximum(normalise(y, p["norm3"]), 0), p["conv3"]["kernel"], 1)


def whole(image, p):
    x = largest(convolve(image, p["root"]["kernel"], 2))
    for number, depth in enumerate(TINY.stages):
        x = unit(x, p["stages"][number]["first"], 2 if number else 1)
        for i in range(depth - 1):
            x = unit(x, jax.tree.map(lambda a, i=i: a[i], p["stages"][number]["blocks"]), 1)
    return np.maximum(normalise(x, p["norm"]), 0).mean((0, 1))


def test_the_network_is_the_one_written_down_in_numpy(network, function, images):
    *_, params = network
    want = [whole(image, params) for image in images]
    with jax.enable_x64(True):
        found = quick_jit(function)(params, images)
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, want, rtol=1e-10, atol=1e-10)


def unit_post(x, p, stride):
    y = np.maximum(normalise(convolve(x, p["conv1"]["kernel"], 1), p["norm1"]), 0)
    y = np.maximum(normalise(convolve(y, p["conv2"]["kernel"], stride), p["norm2"]), 0)
    if "projection" in p:
        x = normalise(convolve(x, p["projection"]["kernel"], stride), p["projection_norm"])
    return np.maximum(x + normalise(convolve(y, p["conv3"]["kernel"], 1), p["norm3"]), 0)


def test_the_one_with_norms_after_its_convolutions_is_written_down_in_numpy_too():
    shape = dataclasses.replace(TINY, order="post")
    graph, abstract = nnx.split(nnx.eval_shape(lambda: build(shape, rngs=nnx.Rngs(0))))
    generator = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: generator.standard_normal(leaf.shape), nnx.to_pure_dict(abstract)
    )
    image = generator.uniform(-1, 1, (33, 33, 3))
    x = convolve(image, params["root"]["kernel"], 2)
    x = largest(np.maximum(normalise(x, params["root_norm"]), 0))
    x = unit_post(x, params["stages"][0]["first"], 1)
    x = unit_post(x, params["stages"][1]["first"], 2)
    want = unit_post(x, jax.tree.map(lambda a: a[0], params["stages"][1]["blocks"]), 1)

    def apply(params, images):
        nnx.replace_by_pure_dict(abstract, params)
        return nnx.merge(graph, abstract)(images)

    with jax.enable_x64(True):
        found = quick_jit(apply)(params, image[None])[0]
    np.testing.assert_allclose(found, want.mean((0, 1)), rtol=1e-10, atol=1e-10)


def test_in_single_precision_it_is_the_same_to_five_digits(network, function, images):
    *_, params = network
    single = jax.tree.map(lambda x: x.astype(np.float32), params)
    want = np.array([whole(image, params) for image in images])
    found = quick_jit(function)(single, images.astype(np.float32))
    assert np.abs(found - want).max() < 1e-5 * np.abs(want).max()


@pytest.mark.slow
def test_gradients_are_the_derivatives_of_the_function_written_down_in_numpy(network, function):
    """Along a random direction of every array of parameters, by a central difference."""
    *_, params = network
    image = np.random.default_rng(2).uniform(-1, 1, (1, 32, 32, 3))
    weights = np.random.default_rng(3).standard_normal(TINY.features)
    with jax.enable_x64(True):
        image = jnp.asarray(image)
        gradient = quick_jit(jax.grad(lambda p: function(p, image)[0] @ weights))(params)
    generator, step = np.random.default_rng(4), 1e-6
    leaves, tree = jax.tree.flatten(params)
    for i, (leaf, derivatives) in enumerate(zip(leaves, jax.tree.leaves(gradient), strict=True)):
        direction = generator.standard_normal(leaf.shape)

        def along(way, i=i, direction=direction):
            moved = [*leaves]
            moved[i] = moved[i] + way * direction
            return whole(image[0], jax.tree.unflatten(tree, moved)) @ weights

        want = (along(step) - along(-step)) / (2 * step)
        np.testing.assert_allclose(
            (np.asarray(derivatives) * direction).sum(), want, rtol=1e-5, atol=1e-7
        )


def test_the_scale_of_a_kernel_changes_nothing(network, function):
    *_, params = network
    images = np.random.default_rng(1).uniform(-1, 1, (2, 32, 32, 3))
    scaled = jax.tree.map_with_path(
        lambda path, x: 7 * x if path[-1].key == "kernel" else x, params
    )
    with jax.enable_x64(True):
        compiled = quick_jit(function)
        np.testing.assert_allclose(
            compiled(scaled, images), compiled(params, images), rtol=1e-6, atol=1e-7
        )


def test_no_image_of_a_batch_sees_another(network, function):
    *_, params = network
    images = np.random.default_rng(1).uniform(-1, 1, (3, 32, 32, 3))
    with jax.enable_x64(True):
        compiled = quick_jit(function)
        alone = [compiled(params, image[None])[0] for image in images]
        np.testing.assert_allclose(compiled(params, images), alone, rtol=1e-9, atol=1e-9)


def test_parameters_go_by_the_names_of_the_docs():
    state = nnx.state(nnx.eval_shape(lambda: build(TINY, rngs=nnx.Rngs(0))))
    leaves = jax.tree.leaves_with_path(nnx.to_pure_dict(state))
    shapes = {"/".join(str(step.key) for step in path): leaf.shape for path, leaf in leaves}
    assert shapes["root/kernel"] == (7, 7, 3, 32)
    assert shapes["stages/0/first/projection/kernel"] == (1, 1, 32, 128)
    assert shapes["stages/1/first/conv2/kernel"] == (3, 3, 64, 64)
    assert shapes["stages/1/blocks/conv3/kernel"] == (1, 1, 1, 64, 256)
    assert shapes["stages/1/blocks/norm1/scale"] == (1, 256)
    assert shapes["norm/bias"] == (256,)
    assert not any(name.startswith("stages/0/blocks") for name in shapes)
    assert not any("blocks" in name and "projection" in name for name in shapes)


def operations(jaxpr):
    """How many a traced function has, those inside its loops included once."""
    total = len(jaxpr.eqns)
    for equation in jaxpr.eqns:
        for value in equation.params.values():
            inside = getattr(value, "jaxpr", value)
            total += operations(inside) if hasattr(inside, "eqns") else 0
    return total


@pytest.mark.slow
def test_a_deeper_stage_is_no_longer_program():
    def length(name):
        shape = bit(name, 64)
        graph, state = nnx.split(nnx.eval_shape(lambda: build(shape, rngs=nnx.Rngs(0))))
        images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
        loss = jax.grad(lambda state, images: nnx.merge(graph, state)(images).sum())
        return operations(jax.make_jaxpr(loss)(state, images).jaxpr)

    assert length("BiT-R50x1") == length("BiT-R152x1")


def test_noise_that_a_bit_does_not_have_is_refused(network, function):
    *_, params = network
    images = np.zeros((1, 32, 32, 3), np.float32)

    def trained(dropout, stochastic_depth):
        noisy = partial(function, dropout=dropout, stochastic_depth=stochastic_depth)
        return jax.eval_shape(noisy, params, images, jax.random.key(0))

    with pytest.raises(ValueError, match=r"dropout=0\.1 and stochastic_depth=0: a BiT has neither"):
        trained(0.1, 0)
    with pytest.raises(ValueError, match=r"stochastic_depth=0\.2: a BiT has neither; use 0"):
        trained(0, 0.2)
    assert trained(0, 0).shape == (1, TINY.features)


@pytest.mark.slow
def test_a_bit_learns_and_its_checkpoint_is_read_back(tmp_path):
    shape = BiTShape(name="nano", resolution=16, stages=(2,), width=32)
    run = Run(
        model=shape,
        data=Procedural(classes=4),
        recipe=Recipe(optimizer="adam", learning_rate=3e-3, warmup_steps=5, weight_decay_head=0.1),
        images_seen=16 * 45,
        batch=16,
    )
    trainer = Trainer(run)
    losses = []
    current = trainer.start()
    for until in (5, 40, 45):
        current = trainer.advance(
            current,
            until,
            total_steps=None,
            keep=lambda _: None,
            spec=CheckpointSpec(),
            tell=lambda progress: losses.append(progress.loss),
        )
    assert losses[-1] < 0.8 * losses[0]
    checkpoint.save(tmp_path / "45", current)
    again = checkpoint.restore(tmp_path / "45", trainer.like())
    for one, other in zip(
        jax.tree.leaves(current.state), jax.tree.leaves(again.state), strict=True
    ):
        np.testing.assert_array_equal(one, other)
