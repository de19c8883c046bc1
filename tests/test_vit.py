from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from beartype import beartype
from flax import nnx
from jaxtyping import TypeCheckError, jaxtyped
from scipy.special import erf

from models import layers
from models.build import build
from models.cost import parameters
from models.heads import LinearHead, MAPHead, MeanPool, PreLogits, TokenPool
from models.layers import MLP, Attention, IntoHeads, LayerNorm, Linear, OutOfHeads
from models.positions import sincos_positions
from models.precision import Precision
from models.shapes import ViTShape
from models.vit import Block, ParallelBlock, PatchEmbedding, ViT
from models.zoo import vit

# A grid of 3 x 3 patches and a margin of two pixels that is not seen.
SMALL = ViTShape(name="small", patch=4, resolution=14, width=16, depth=2, mlp=24, heads=2)
# A class token and a tanh layer, as in the first ViT, and the exact GELU.
TOKEN = replace(SMALL, pool="token", pre_logits=10, gelu="erf")
# The blocks of ViT-22B between fixed positions and a mean.
PARALLEL = replace(
    SMALL,
    pool="gap",
    position="sincos",
    block="parallel",
    query_key_norm=True,
    qkv_and_norm_biases=False,
)
LAYERS = (LayerNorm, Linear, IntoHeads, OutOfHeads, Attention, MLP)
POOLS = (MAPHead, MeanPool, TokenPool, PreLogits, LinearHead)
MODULES = (*LAYERS, *POOLS, PatchEmbedding, Block, ParallelBlock, ViT)


@pytest.fixture(scope="module", autouse=True)
def checked_shapes():
    """Every call of every module has its annotated shapes and float types checked."""
    with pytest.MonkeyPatch.context() as patch:
        for module in MODULES:
            checked = jaxtyped(typechecker=beartype)(module.__call__)
            patch.setattr(module, "__call__", checked)
        yield


# These tests compile much and compute little.
quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def initial(shape, seed):
    """A new network, its initialisation traced and compiled anew."""
    graph, _ = nnx.split(abstract(shape))

    @quick_jit
    def parameters(key):
        return nnx.state(build(shape, rngs=nnx.Rngs(key)))

    return nnx.merge(graph, parameters(jax.random.key(seed)))


@partial(quick_jit, static_argnums=0)
def apply(graph, state, x):
    return nnx.merge(graph, state)(x)


def call(module, x):
    """module(x), compiled."""
    return apply(*nnx.split(module), x)


def noisy(shape):
    """A network with noise added to every parameter, so that no bias hides at zero."""
    graph, state = nnx.split(initial(shape, seed=0))
    leaves, tree = jax.tree.flatten(state)
    generator = np.random.default_rng(0)
    moved = [x + 0.2 * generator.standard_normal(x.shape).astype(np.float32) for x in leaves]
    return nnx.merge(graph, jax.tree.unflatten(tree, moved))


@pytest.fixture(scope="module")
def model():
    return noisy(SMALL)


@pytest.fixture(scope="module")
def block(model):
    """The last block of the model, on its own."""
    graph, _ = nnx.split(nnx.eval_shape(lambda: Block(SMALL, rngs=nnx.Rngs(0))))
    return nnx.merge(graph, jax.tree.map(lambda x: x[-1], nnx.state(model.blocks)))


@pytest.fixture(scope="module")
def tokens():
    normal = np.random.default_rng(2).standard_normal((2, SMALL.tokens, SMALL.width))
    return jnp.asarray(normal, jnp.float32)


@pytest.fixture(scope="module")
def images():
    side = SMALL.resolution
    uniform = np.random.default_rng(1).uniform(-1, 1, (5, side, side, 3))
    return jnp.asarray(uniform, jnp.float32)


@pytest.fixture(scope="module")
def gradients(model, images):
    """Of the mean squared output: with the depth loop as a loop, and written out."""

    def gradient(unroll):
        graph, params = nnx.split(model)

        def loss(params):
            module = nnx.merge(graph, params)
            module.precision = Precision(unroll_up_to=unroll)
            return jnp.square(module(images)).mean()

        return quick_jit(jax.grad(loss))(nnx.to_pure_dict(params))

    return gradient(0), gradient(SMALL.depth)


def numbers(module):
    """The module's parameters as nested dictionaries of float64 arrays."""
    return jax.tree.map(lambda x: np.asarray(x, float), nnx.to_pure_dict(nnx.state(module)))


# The same network once more, in plain NumPy, one image and one head at a time.


def norm(x, p):
    unit = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return unit * p["scale"] + p.get("bias", 0)


def attend(queries, tokens, p):
    out = np.tile(p["out"]["bias"], (len(queries), 1))
    for head in range(SMALL.heads):
        q, k, v = (
            x @ p[role]["kernel"][:, head] + p[role].get("bias", np.zeros((SMALL.heads, 1)))[head]
            for role, x in (("query", queries), ("key", tokens), ("value", tokens))
        )
        if "query_norm" in p:
            q, k = norm(q, p["query_norm"]), norm(k, p["key_norm"])
        for i in range(len(queries)):
            scores = k @ q[i] / np.sqrt(SMALL.width / SMALL.heads)
            weights = np.exp(scores - scores.max())
            out[i] += (weights / weights.sum()) @ v @ p["out"]["kernel"][head]
    return out


def think(x, p, gelu="tanh"):
    h = x @ p["into"]["kernel"] + p["into"]["bias"]
    if gelu == "erf":
        below = (1 + erf(h / np.sqrt(2))) / 2
    else:
        below = 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
    return h * below @ p["out"]["kernel"] + p["out"]["bias"]


def encode(x, p, shape=SMALL):
    if shape.block == "parallel":
        y = norm(x, p["norm"])
        return x + attend(y, y, p["attention"]) + think(y, p["mlp"], shape.gelu)
    y = norm(x, p["norm1"])
    x = x + attend(y, y, p["attention"])
    return x + think(norm(x, p["norm2"]), p["mlp"], shape.gelu)


def pool(tokens, p):
    x = attend(p["probe"][0], tokens, p["attention"])
    return (x + think(norm(x, p["norm"]), p["mlp"]))[0]


def whole(image, p, shape=SMALL):
    grid, patch = shape.grid, shape.patch
    x = np.zeros((grid**2, shape.width))
    for row in range(grid):
        for column in range(grid):
            square = image[row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
            x[row * grid + column] = square.reshape(-1) @ p["embedding"]["kernel"]
    positions = p["position"] if shape.position == "learned" else sincos_positions(grid, 16)
    x = x + p["embedding"]["bias"] + positions[0]
    if shape.pool == "token":
        x = np.concatenate([p["token"][0], x])
    for layer in range(shape.depth):
        x = encode(x, jax.tree.map(lambda stacked, at=layer: stacked[at], p["blocks"]), shape)
    x = norm(x, p["norm"])
    x = {"map": lambda: pool(x, p["pool"]), "gap": lambda: x.mean(0), "token": lambda: x[0]}[
        shape.pool
    ]()
    if shape.pre_logits is None:
        return x
    return np.tanh(x @ p["pre_logits"]["kernel"] + p["pre_logits"]["bias"])


def test_the_network_is_the_one_written_down_in_numpy(model, images):
    p = numbers(model)
    want = [whole(np.asarray(image, float), p) for image in images]
    np.testing.assert_allclose(call(model, images), want, atol=1e-5)


@pytest.mark.parametrize("shape", [TOKEN, PARALLEL], ids=["token", "parallel"])
def test_its_other_forms_are_the_ones_written_down_in_numpy(shape, images):
    model = noisy(shape)
    want = [whole(np.asarray(image, float), numbers(model), shape) for image in images]
    np.testing.assert_allclose(call(model, images), want, atol=1e-5)


def test_a_block_is_the_one_written_down_in_numpy(block, tokens):
    want = [encode(np.asarray(x, float), numbers(block)) for x in tokens]
    np.testing.assert_allclose(call(block, tokens), want, atol=1e-5)


def test_the_pool_is_the_one_written_down_in_numpy(model, tokens):
    want = [pool(np.asarray(x, float), numbers(model.pool)) for x in tokens]
    np.testing.assert_allclose(call(model.pool, tokens), want, atol=1e-5)


def test_the_patch_embedding_is_a_valid_convolution(model, images):
    kernel = model.embedding.kernel[...].reshape(SMALL.patch, SMALL.patch, 3, SMALL.width)
    convolved = jax.lax.conv_general_dilated(
        images,
        kernel,
        window_strides=(SMALL.patch, SMALL.patch),
        padding="VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    want = convolved.reshape(5, SMALL.tokens, SMALL.width) + model.embedding.bias[...]
    np.testing.assert_allclose(call(model.embedding, images), want, atol=1e-5)


def test_scores_beyond_the_range_of_exp_do_not_overflow(model, tokens):
    found = np.asarray(call(model.pool, 1e4 * tokens))
    want = [pool(np.asarray(x, float), numbers(model.pool)) for x in 1e4 * tokens]
    np.testing.assert_allclose(found, want, rtol=1e-4)


def test_the_order_of_tokens_does_not_matter_to_a_block_and_the_pool(model, block, tokens):
    order = np.random.default_rng(5).permutation(SMALL.tokens)
    shuffled = tokens[:, order]
    np.testing.assert_allclose(call(block, shuffled), call(block, tokens)[:, order], atol=1e-5)
    np.testing.assert_allclose(call(model.pool, shuffled), call(model.pool, tokens), atol=1e-5)


def test_squares_moved_together_with_their_positions_give_the_same_output(model, images):
    patch, grid = SMALL.patch, SMALL.grid
    order = np.random.default_rng(6).permutation(SMALL.tokens)
    moved = np.array(images)
    for to, source in enumerate(order):
        (i, j), (k, m) = divmod(to, grid), divmod(int(source), grid)
        moved[:, i * patch : (i + 1) * patch, j * patch : (j + 1) * patch] = images[
            :, k * patch : (k + 1) * patch, m * patch : (m + 1) * patch
        ]
    moved = jnp.asarray(moved)
    graph, state = nnx.split(model)
    state["position"] = jax.tree.map(lambda position: position[:, order], state["position"])
    want = call(model, images)
    np.testing.assert_allclose(apply(graph, state, moved), want, atol=1e-5)
    assert float(jnp.abs(call(model, moved) - want).max()) > 1e-2  # positions do matter


def test_an_image_is_answered_the_same_in_any_company(model, images):
    order = np.random.default_rng(7).permutation(len(images))
    want = call(model, images)
    np.testing.assert_allclose(call(model, images[order]), want[order], atol=1e-5)
    alone = jnp.zeros_like(images).at[3].set(images[3])
    np.testing.assert_allclose(call(model, alone)[3], want[3], atol=1e-5)


def test_pixels_beyond_the_last_whole_patch_are_not_seen(model, images):
    seen = SMALL.grid * SMALL.patch
    other = images.at[:, seen:].set(0.0).at[:, :, seen:].set(0.0)
    assert not np.array_equal(other, images)
    assert np.array_equal(call(model, other), call(model, images))


@pytest.mark.slow
def test_a_loop_written_out_has_the_gradient_of_the_loop(gradients):
    looped, unrolled = gradients
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), looped, unrolled)


def test_every_parameter_learns_save_the_bias_of_the_keys(gradients):
    for path, g in jax.tree.leaves_with_path(gradients[0]):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        largest = np.abs(g).reshape(len(g) if name.startswith("blocks") else 1, -1).max(1)
        if name.endswith("key/bias"):  # adds the same to every score of a query: softmax is blind
            assert (largest < 1e-6).all(), name
        else:
            assert (largest > 1e-4).all(), name


def test_all_parameters_are_float32_and_no_randomness_stays_inside(model):
    graph, params = nnx.split(model, nnx.Param)  # raises if anything else were left
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    assert set(nnx.to_pure_dict(params)) == {"embedding", "position", "blocks", "norm", "pool"}
    rebuilt = nnx.merge(graph, nnx.to_pure_dict(params))
    assert isinstance(rebuilt, ViT)


def test_the_head_starts_at_its_bias_whatever_it_sees():
    head = LinearHead(SMALL.width, 7, bias=-10.0, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (3, SMALL.width))
    assert np.array_equal(head(x), np.full((3, 7), -10.0, np.float32))
    gradient = nnx.grad(lambda head: jnp.square(head(x)).mean())(head)
    assert (np.abs(gradient["kernel"][...]) > 0).all()


def test_a_call_with_another_shape_than_its_signature_says_is_caught(block, images, tokens):
    with pytest.raises(TypeCheckError):
        block(images)
    with pytest.raises(TypeCheckError):
        block(tokens.astype(jnp.int32))


# What the parameters are called, for whoever reads or writes checkpoints.


def paths(shape):
    tree = nnx.to_pure_dict(nnx.state(abstract(shape)))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


def test_a_class_token_and_a_tanh_layer_have_their_places():
    extra = {"token": (1, 1, 16), "pre_logits/kernel": (16, 10), "pre_logits/bias": (10,)}
    pooled = {path: size for path, size in paths(SMALL).items() if not path.startswith("pool/")}
    assert paths(TOKEN) == pooled | extra


def test_the_parameters_of_parallel_blocks_are_these():
    assert paths(PARALLEL) == {
        "embedding/kernel": (48, 16),
        "embedding/bias": (16,),
        "blocks/norm/scale": (2, 16),
        **{f"blocks/attention/{x}/kernel": (2, 16, 2, 8) for x in ("query", "key", "value")},
        "blocks/attention/query_norm/scale": (2, 8),
        "blocks/attention/key_norm/scale": (2, 8),
        "blocks/attention/out/kernel": (2, 2, 8, 16),
        "blocks/attention/out/bias": (2, 16),
        "blocks/mlp/into/kernel": (2, 16, 24),
        "blocks/mlp/into/bias": (2, 24),
        "blocks/mlp/out/kernel": (2, 24, 16),
        "blocks/mlp/out/bias": (2, 16),
        "norm/scale": (16,),
    }


def test_without_their_biases_the_norms_and_projections_of_the_pool_have_none_either():
    gone = set(paths(SMALL)) - set(paths(replace(SMALL, qkv_and_norm_biases=False)))
    qkv = {f"attention/{x}/bias" for x in ("query", "key", "value")}
    assert gone == {
        *(f"blocks/{x}" for x in (*qkv, "norm1/bias", "norm2/bias")),
        *(f"pool/{x}" for x in (*qkv, "norm/bias")),
        "norm/bias",
    }


def test_a_class_token_starts_at_zero_and_a_tanh_layer_lecun_normal():
    p = numbers(initial(replace(FRESH, pool="token", pre_logits=128), seed=0))
    assert (p["token"] == 0).all()
    assert (p["pre_logits"]["bias"] == 0).all()
    assert p["pre_logits"]["kernel"].std() == pytest.approx(FRESH.width**-0.5, rel=0.05)


# Initialisation. Uniform on [-a, a] has standard deviation a / sqrt(3).


FRESH = ViTShape(name="fresh", patch=4, resolution=32, width=64, depth=4, mlp=256, heads=4)


@pytest.fixture(scope="module")
def fresh():
    return numbers(initial(FRESH, seed=0))


@pytest.mark.parametrize(
    ("path", "bound"),
    [
        *((f"blocks/attention/{x}", np.sqrt(3 / 64)) for x in ("query", "key", "value", "out")),
        ("blocks/mlp/into", np.sqrt(6 / (64 + 256))),
        ("blocks/mlp/out", np.sqrt(6 / (64 + 256))),
        ("pool/attention/query", np.sqrt(3 / 64)),
        ("pool/mlp/out", np.sqrt(6 / (64 + 256))),
    ],
)
def test_kernels_of_attention_and_mlp_start_xavier_uniform(fresh, path, bound):
    kernel = at(fresh, path)["kernel"]
    layers = kernel if path.startswith("blocks") else kernel[None]
    for layer in layers:
        assert 0.99 * bound < np.abs(layer).max() <= bound
        assert layer.std() == pytest.approx(bound / np.sqrt(3), rel=0.03)
        assert abs(layer.mean()) < 0.05 * bound


def test_probe_position_and_embedding_start_as_the_paper_has_them(fresh):
    assert np.abs(fresh["pool"]["probe"]).max() <= np.sqrt(6 / (1 + 64))
    assert fresh["pool"]["probe"].std() == pytest.approx(np.sqrt(2 / 65), rel=0.2)  # 64 numbers
    assert fresh["position"].std() == pytest.approx(64**-0.5, rel=0.05)
    kernel = fresh["embedding"]["kernel"]
    assert kernel.std() == pytest.approx((4 * 4 * 3) ** -0.5, rel=0.05)
    assert np.abs(kernel).max() < 2.3 * kernel.std()  # LeCun-normal is cut at two sigma


def test_biases_start_at_zero_save_the_mlps_and_scales_at_one(fresh):
    for path, x in jax.tree.leaves_with_path(fresh):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if "mlp" in name and name.endswith("bias"):
            assert x.std() == pytest.approx(1e-6, rel=0.3), name
        elif name.endswith("bias"):
            assert (x == 0).all(), name
        elif name.endswith("scale"):
            assert (x == 1).all(), name


def test_no_two_layers_start_alike(fresh):
    kernels = [
        *fresh["blocks"]["attention"]["query"]["kernel"],
        *fresh["blocks"]["attention"]["key"]["kernel"],
        fresh["pool"]["attention"]["query"]["kernel"],
    ]
    flat = np.stack([np.ravel(kernel) for kernel in kernels])
    correlation = np.corrcoef(flat) - np.eye(len(flat))
    assert np.abs(correlation).max() < 0.1


@pytest.mark.slow
def test_one_seed_is_one_network_and_another_seed_another():
    one, again, other = (numbers(initial(SMALL, seed)) for seed in (0, 0, 1))
    assert jax.tree.all(jax.tree.map(np.array_equal, one, again))
    for path in ("embedding", "pool/attention/out", "blocks/mlp/into"):
        assert not np.array_equal(at(one, path)["kernel"], at(other, path)["kernel"])


# The whole zoo, without a byte of it in memory.


def abstract(shape):
    return nnx.eval_shape(lambda: build(shape, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize("name", ["mu/16", "Ti/16", "s/28", "S/32", "So400m/14", "G/14", "e/14"])
def test_a_model_has_the_parameters_that_the_formula_counts(name):
    shape = vit(name)
    model = abstract(shape)
    assert sum(x.size for x in jax.tree.leaves(nnx.state(model))) == parameters(shape)
    images = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    out = nnx.eval_shape(lambda model, images: model(images), model, images)
    assert out.shape == (2, shape.width)
    assert out.dtype == jnp.float32


def test_the_shapes_of_a_large_model_take_no_memory():
    leaves = jax.tree.leaves(nnx.state(abstract(vit("G/14"))))
    assert {type(x) for x in leaves} == {jax.ShapeDtypeStruct}
    assert sum(x.size for x in leaves) == parameters(vit("G/14"))


def test_a_shape_of_no_known_family_is_not_built():
    with pytest.raises(ValueError, match="No model family is built from a str"):
        build("B/16", rngs=nnx.Rngs(0))


def at(tree, path):
    for key in path.split("/"):
        tree = tree[key]
    return tree


@pytest.mark.parametrize("biases", [True, False], ids=["biases", "none"])
def test_wide_attention_takes_its_three_products_at_once_and_is_the_same(monkeypatch, biases):
    sizes = {"patch": 4, "resolution": 8, "depth": 1, "mlp": 8, "heads": 4}
    shape = ViTShape(name="wide", width=128, **sizes, qkv_and_norm_biases=biases)
    attention = layers.Attention(shape, rngs=nnx.Rngs(0))
    graph, params = nnx.split(attention)
    params = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(jax.random.key(1), x.shape), params)
    tokens = jax.random.normal(jax.random.key(2), (2, 5, 128))

    def value_and_slopes():
        def loss(params, tokens):
            return jnp.square(nnx.merge(graph, params)(tokens, tokens)).mean()

        return jax.tree.leaves(jax.jit(jax.value_and_grad(loss, (0, 1)))(params, tokens))

    at_once = value_and_slopes()
    monkeypatch.setattr(layers, "WIDE", 1000)
    apart = value_and_slopes()
    largest = max(np.abs(each).max() for each in apart)  # a bias of the keys has slope 0
    for one, other in zip(at_once, apart, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6 * largest)
