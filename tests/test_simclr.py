"""NT-Xent by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objective_cases import small

from scaling.objectives.built.simclr import nt_xent
from scaling.objectives.simclr import SimCLR


def by_hand(outputs, temperature):
    """The definition, pair by pair."""
    unit = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
    count, losses = len(unit), []
    for i in range(count):
        partner = (i + count // 2) % count
        others = [np.exp(unit[i] @ unit[k] / temperature) for k in range(count) if k != i]
        losses.append(-np.log(np.exp(unit[i] @ unit[partner] / temperature) / sum(others)))
    return np.mean(losses)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_nt_xent_is_its_definition_pair_by_pair(temperature):
    outputs = np.random.default_rng(0).normal(size=(8, 5))
    assert float(nt_xent(jnp.asarray(outputs), temperature)) == pytest.approx(
        by_hand(outputs, temperature), rel=1e-5
    )


def test_nt_xent_of_constant_outputs_is_the_log_of_the_number_of_others():
    outputs = jnp.tile(jnp.array([[1.0, -2.0, 0.5]]), (12, 1))
    assert float(nt_xent(outputs, 0.5)) == pytest.approx(np.log(11), rel=1e-6)


@pytest.mark.slow
def test_the_length_and_the_order_of_images_do_not_matter_and_zeros_have_a_finite_gradient():
    outputs = jnp.asarray(np.random.default_rng(1).normal(size=(6, 4)))
    loss = float(nt_xent(outputs, 0.2))
    order = np.array([2, 0, 1])
    shuffled = outputs[np.concatenate([order, 3 + order])] * jnp.arange(1.0, 7.0)[:, None]
    assert float(nt_xent(shuffled, 0.2)) == pytest.approx(loss, rel=1e-5)
    gradient = jax.grad(lambda x: nt_xent(x, 0.2))(outputs.at[0].set(0.0))
    assert np.isfinite(np.asarray(gradient)).all()


def test_a_batch_of_one_and_mixed_labels_are_refused():
    with pytest.raises(ValueError, match="a batch of 1 has no others"):
        small(objective=SimCLR(), batch=1)
    with pytest.raises(ValueError, match="leave mixup out"):
        small(objective=SimCLR(), augment=({"kind": "mixup"},))


def test_flops_are_those_of_two_views_and_the_projection_head():
    run = small(objective=SimCLR(hidden=6, projection=4))
    one = small()
    classifier = 2 * 3 * 8 * 4  # of one image
    head = 2 * 3 * (8 * 6 + 6 * 4)
    expected = 2 * (one.flops // one.images_seen - classifier + head) * run.images_seen
    assert run.flops == expected
