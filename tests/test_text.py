"""The text tower: what it sees, what it does not, and how it is computed."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from models.noise import Noise
from models.precision import PLAIN, Precision
from models.shapes import TextShape
from models.text import Text

SHAPE = TextShape(
    name="small", width=16, depth=2, mlp=24, heads=2, vocabulary=40, length=6, pool="last"
)
TEXT = jnp.array([[7, 3, 9, 2, 0, 0], [5, 5, 1, 0, 0, 0]])
quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def tower(pool="last", precision=PLAIN):
    shape = TextShape(**{**SHAPE.__dict__, "pool": pool})
    return Text(shape, precision, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("pool", ["last", "map", "gap"])
def test_a_text_becomes_one_vector_that_depends_on_every_token_and_on_their_order(pool):
    text = tower(pool)
    found = text(TEXT)
    assert found.shape == (2, 16)
    for changed in (TEXT.at[0, 0].set(8), TEXT.at[0, 3].set(8), TEXT.at[0, :2].set([3, 7])):
        other = text(changed)
        assert float(jnp.abs(other[0] - found[0]).max()) > 1e-4
        np.testing.assert_array_equal(other[1], found[1])


@pytest.mark.slow
def test_nothing_is_masked_the_first_token_sees_the_last():
    text = tower()
    blocks, seen = text.blocks, []
    for tokens in (TEXT, TEXT.at[0, -1].set(8)):
        x = text.embedding(tokens) + text.position[...]
        graph, layers = nnx.split(blocks)
        block = nnx.merge(graph, jax.tree.map(lambda each: each[0], layers))
        seen.append(block(x)[0, 0])
    assert float(jnp.abs(seen[0] - seen[1]).max()) > 1e-5


def test_the_tokens_embeddings_and_positions_start_with_length_one_on_average():
    shape = TextShape(**{**SHAPE.__dict__, "width": 64, "vocabulary": 1000, "length": 500})
    text = Text(shape, rngs=nnx.Rngs(0))
    for table in (text.embedding.table[...], text.position[0]):
        assert float(jnp.square(table).sum(-1).mean()) == pytest.approx(1, abs=0.03)


@pytest.mark.slow
def test_how_it_is_computed_changes_its_digits_at_most():
    params = nnx.state(tower())

    def computed(**chosen):
        graph = nnx.split(nnx.eval_shape(lambda: tower(precision=Precision(**chosen))))[0]

        def loss(params):
            output = nnx.merge(graph, params)(TEXT)
            return jnp.square(output).mean(), output

        return quick_jit(jax.value_and_grad(loss, has_aux=True))(params)

    (_, plain), gradient = computed()
    for chosen in ({"rematerialise": "full"}, {"unroll_up_to": 2}):
        (_, output), found = computed(**chosen)
        np.testing.assert_allclose(output, plain, atol=1e-5)
        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), found, gradient)
    (_, output), _ = computed(compute="bfloat16")
    assert output.dtype == jnp.float32
    assert 1e-6 < float(jnp.abs(output - plain).max()) < 0.1


def test_dropout_acts_in_training_alone():
    text = tower()
    noisy = text(TEXT, Noise(jax.random.key(0), 0.5))
    assert float(jnp.abs(noisy - text(TEXT)).max()) > 1e-2
    np.testing.assert_array_equal(text(TEXT, Noise(jax.random.key(0))), text(TEXT))


@pytest.mark.parametrize("field", ["width", "depth", "mlp", "heads", "vocabulary", "length"])
def test_a_size_that_is_none_is_refused(field):
    with pytest.raises(ValueError, match=f"{field}=0 is not a positive whole number"):
        TextShape(**{**SHAPE.__dict__, field: 0})


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="use 2 or 4 heads"):
        TextShape(**{**SHAPE.__dict__, "heads": 3})
