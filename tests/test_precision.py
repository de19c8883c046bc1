"""How a network is computed changes its digits at most, and never what it is."""

from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from models import layers
from models.build import build
from models.layers import Attention
from models.noise import Noise
from models.precision import Precision, compute_for, precision_for
from models.shapes import ViTShape

SMALL = ViTShape(name="small", patch=4, resolution=14, width=16, depth=2, mlp=24, heads=2)
quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def lines_of_a_step(depth, platform):
    """Length of the program that computes a gradient, as the compiler is handed it."""
    shape, precision = replace(SMALL, depth=depth), precision_for(platform)
    graph, params = nnx.split(nnx.eval_shape(lambda: build(shape, precision, rngs=nnx.Rngs(0))))
    images = jax.ShapeDtypeStruct((2, 14, 14, 3), jnp.float32)
    key = jax.ShapeDtypeStruct((), jax.random.key(0).dtype)

    def loss(params, images, key):
        return nnx.merge(graph, params)(images, Noise(key, 0.1, 0.1)).sum()

    return jax.jit(jax.grad(loss)).lower(params, images, key).as_text().count("\n")


@pytest.mark.slow
def test_the_program_of_a_step_does_not_grow_with_depth():
    assert lines_of_a_step(13, "cpu") == lines_of_a_step(48, "cpu")


def test_off_the_cpu_the_program_of_no_step_grows_with_depth():
    assert lines_of_a_step(2, "gpu") == lines_of_a_step(12, "gpu")


def test_only_shallow_models_on_a_cpu_have_their_loop_written_out():
    cpu = precision_for("cpu")
    assert [cpu.blocks_a_turn(depth) for depth in (1, 12, 13, 48)] == [1, 12, 1, 1]
    assert precision_for("gpu").blocks_a_turn(12) == precision_for("tpu").blocks_a_turn(1) == 1


@pytest.fixture(scope="module")
def computed():
    """Output and gradient of one network, as a function of its precision."""
    images = jax.random.uniform(jax.random.key(1), (2, 14, 14, 3), minval=-1, maxval=1)
    params = nnx.state(quick_jit(lambda: build(SMALL, rngs=nnx.Rngs(0)))())

    @cache
    def computed(**chosen):
        precision = Precision(**chosen)

        def loss(params):
            graph = nnx.split(nnx.eval_shape(lambda: build(SMALL, precision, rngs=nnx.Rngs(0))))[0]
            output = nnx.merge(graph, params)(images)
            return jnp.square(output).mean(), output

        gradient, output = quick_jit(jax.grad(loss, has_aux=True))(params)
        return output, jax.tree.leaves(gradient)

    return computed


@pytest.mark.slow
@pytest.mark.parametrize(
    "kept",
    [
        "full",
        "dots",
        "offload",
    ],
)
def test_rematerialisation_changes_no_number(computed, kept):
    output, gradient = computed()
    again, same = computed(rematerialise=kept)
    np.testing.assert_allclose(again, output, rtol=1e-6, atol=1e-6)
    for one, other in zip(gradient, same, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-6)


def test_blocks_in_bfloat16_give_nearly_the_same_network_with_float32_gradients(computed):
    output, _ = computed()
    rounded, gradient = computed(compute="bfloat16")
    assert rounded.dtype == jnp.float32
    assert {each.dtype for each in gradient} == {jnp.dtype("float32")}
    scale = float(jnp.abs(output).max())
    np.testing.assert_allclose(rounded, output, atol=0.03 * scale)
    assert not np.allclose(rounded, output, atol=1e-5 * scale)


def test_scores_of_attention_are_float32_where_all_else_is_bfloat16():
    module = nnx.eval_shape(lambda: Attention(SMALL, rngs=nnx.Rngs(0)))
    tokens = jax.ShapeDtypeStruct((2, SMALL.tokens, SMALL.width), jnp.bfloat16)
    graph, state = nnx.split(module)
    program = str(jax.make_jaxpr(lambda s, x: nnx.merge(graph, s)(x, x))(state, tokens))
    assert program.count("preferred_element_type=float32") == 1
    assert program.count("preferred_element_type=bfloat16") == 5  # query, key, value, mean, out


def test_no_network_asks_which_device_it_runs_on():
    for path in Path(layers.__file__).parent.rglob("*.py"):
        assert "default_backend" not in path.read_text(), path


def test_a_gpu_takes_the_fused_kernel_for_bfloat16_alone():
    assert precision_for("gpu", "bfloat16").attention == "cudnn"
    plain = precision_for("gpu"), precision_for("tpu", "bfloat16"), precision_for("cpu", "bfloat16")
    assert {each.attention for each in plain} == {"products"}


@pytest.mark.parametrize(
    ("name", "compute"),
    [
        ("Tesla T4", "float32"),
        ("Tesla V100-SXM2-16GB", "float32"),
        ("Quadro RTX 6000", "float32"),
        ("NVIDIA GeForce RTX 2080 Ti", "float32"),
        ("NVIDIA RTX A6000", "bfloat16"),
        ("NVIDIA A100-SXM4-40GB", "bfloat16"),
        ("NVIDIA L4", "bfloat16"),
        ("NVIDIA GeForce RTX 3090", "bfloat16"),
    ],
)
def test_gpus_before_ampere_compute_in_float32_and_have_no_fused_attention(name, compute):
    assert compute_for("gpu", name) == compute
    kernel = "cudnn" if compute == "bfloat16" else "products"
    assert precision_for("gpu", "bfloat16", device=name).attention == kernel


HEADS_OF_8 = replace(SMALL, heads=2, width=16)


@pytest.mark.parametrize("normed", [False, True])
def test_attention_by_the_fused_kernel_is_attention(monkeypatch, normed):
    """Its arguments, layout and scale, shown with XLA in cuDNN's place."""
    monkeypatch.setattr(layers, "FUSED", "xla")
    shape = replace(HEADS_OF_8, query_key_norm=normed)
    tokens = jax.random.normal(jax.random.key(2), (2, 10, 16), jnp.bfloat16)

    def value_and_gradient(kernel):
        attention = Attention(shape, kernel, rngs=nnx.Rngs(0))
        graph, params = nnx.split(attention)
        params = jax.tree.map(lambda x: x + 0.1, params)

        def loss(params):
            return jnp.square(nnx.merge(graph, params)(tokens, tokens).astype(jnp.float32)).mean()

        program = str(jax.make_jaxpr(loss)(params))
        return program, *quick_jit(jax.value_and_grad(loss))(params)

    (ours, value, gradient), (fused, same, like) = map(value_and_gradient, ("products", "cudnn"))
    assert ours != fused
    assert float(same) == pytest.approx(float(value), rel=0.02)
    for one, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(like), strict=True):
        np.testing.assert_allclose(other, one, atol=0.02 * float(jnp.abs(one).max()) + 1e-3)


def test_what_the_fused_kernel_does_not_take_is_computed_by_products():
    shape = replace(SMALL, heads=4)  # of 4 features
    tokens = jnp.ones((2, 10, 16), jnp.bfloat16)
    attention = Attention(shape, "cudnn", rngs=nnx.Rngs(0))
    assert attention(tokens, tokens).shape == tokens.shape
    wide = Attention(HEADS_OF_8, "cudnn", rngs=nnx.Rngs(0))
    odd = tokens[:, :9]
    assert wide(odd, odd).shape == odd.shape
    assert wide(tokens.astype(jnp.float32), tokens.astype(jnp.float32)).dtype == jnp.float32
