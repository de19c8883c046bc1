"""Where arrays lie changes where numbers are computed, and not what they are."""

import os
import subprocess
import sys

import pytest

FOUR_DEVICES = """
import jax, numpy as np
from jax.sharding import PartitionSpec
from models.shapes import ViTShape
from scaling.data import Procedural
from scaling.training.loop import Trainer
from scaling.training.placement import Placement, data_parallel
from scaling.training.recipe import Recipe
from scaling.training.run import Run

assert jax.device_count() == 4
run = Run(
    model=ViTShape(name="nano", patch=8, resolution=16, width=16, depth=2, mlp=32, heads=2),
    data=Procedural(classes=4),
    recipe=Recipe(learning_rate=1e-2, warmup_steps=2, optimizer="adam"),
    images_seen=16 * 10,
    batch=16,
)
whole = data_parallel()


def last_axis(path, shape):
    "Each array that can be is cut along its last axis, its moments with it."
    cut = shape and shape[-1] % 4 == 0
    return PartitionSpec(*(None,) * (len(shape) - 1), "data") if cut else PartitionSpec()


ends = []
for placement in (
    data_parallel(devices=jax.devices()[:1]),
    whole,
    Placement(whole.mesh, last_axis, whole.batch_rule),
):
    trainer = Trainer(run, placement=placement)
    end = trainer.advance(
        trainer.start(), 8, total_steps=None, keep=None, every_seconds=1e9, tell=lambda _: None
    )
    assert trainer._step._cache_size() == 1
    kernel = end.state.params["backbone"]["blocks"]["mlp"]["into"]["kernel"]
    print(len(kernel.sharding.device_set), kernel.addressable_shards[0].data.shape)
    ends.append(jax.tree.map(np.asarray, end.state.params))
for other in ends[1:]:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-3), ends[0], other)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), ends[0], other)
    print("close", max(jax.tree.leaves(moved)) < 2e-3)
"""


@pytest.mark.slow
def test_one_device_four_and_four_with_parameters_cut_apart_train_the_same_network():
    """Steps compile once in each, and a rule for parameters is all that cuts them apart."""
    flags = "--xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-c", FOUR_DEVICES],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "1 (2, 16, 32)",
        "4 (2, 16, 32)",
        "4 (2, 16, 8)",
        "close True",
        "close True",
    ]
