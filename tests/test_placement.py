"""Where arrays lie changes where numbers are computed, and not what they are."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from models.precision import Precision
from models.zoo import vit
from scaling.data import Procedural
from scaling.training.placement import best_fsdp, fully_sharded, split_largest
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.step import SEED, program

FOUR_DEVICES = """
import jax, numpy as np
from models.shapes import ViTShape
from scaling.data import Procedural
from scaling.training.loop import Trainer
from scaling.training.placement import data_parallel, fully_sharded
from scaling.training.placement_spec import PlacementSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run

assert jax.device_count() == 4
run = Run(
    model=ViTShape(name="nano", patch=8, resolution=16, width=128, depth=2, mlp=256, heads=2),
    data=Procedural(classes=4),
    recipe=Recipe(learning_rate=1e-2, warmup_steps=2, optimizer="adam"),
    images_seen=16 * 10,
    batch=16,
)
ends = []
for placement, spec in (
    (data_parallel(devices=jax.devices()[:1]), PlacementSpec()),
    (data_parallel(), PlacementSpec()),
    (fully_sharded(4), PlacementSpec()),
    (fully_sharded((2, 2)), PlacementSpec(update="fused")),
    (fully_sharded(2), PlacementSpec(microbatches=2)),
):
    trainer = Trainer(run, placement=placement, spec=spec)
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
        "1 (2, 128, 256)",
        "4 (2, 128, 256)",
        "4 (2, 128, 64)",
        "4 (2, 64, 128)",
        "4 (2, 128, 128)",
        *["close True"] * 4,
    ]


def test_an_axis_goes_to_the_largest_dimension_left_that_it_divides():
    axes = {"one": 16, "other": 4}
    assert split_largest(axes, (1664, 8192), stacked=False) == PartitionSpec("other", "one")
    assert split_largest(axes, (8192, 1001), stacked=False) == PartitionSpec("one", None)
    assert split_largest(axes, (1001, 1003), stacked=False) == PartitionSpec(None, None)


def test_the_axis_that_a_loop_goes_through_is_never_split():
    axes = {"one": 16}
    assert split_largest(axes, (48, 1664, 64), stacked=True) == PartitionSpec(None, "one", None)
    assert split_largest(axes, (48, 1664), stacked=True) == PartitionSpec()  # small, once sliced


def test_two_axes_split_g14_over_256_devices_where_one_would_leave_it_whole():
    """1664 = 13 x 128 is divided by 16 and by 128, and not by 256."""
    run = Run(
        model=vit("G/14"),
        data=Procedural(resolution=224, classes=8),
        recipe=Recipe(warmup_steps=0),
        images_seen=2**20,
        batch=2**10,
    )
    objective = run.objective.build(run.model, 29_593, Precision())
    state = jax.eval_shape(program(run, objective).start, SEED, None)

    def resident(sizes):
        axes = {str(k): size for k, size in enumerate(sizes)}

        def on_a_device(path, x):
            stacked = "blocks" in [getattr(entry, "key", None) for entry in path]
            cut = [axes[name] for name in split_largest(axes, x.shape, stacked=stacked) if name]
            return x.size * x.dtype.itemsize / np.prod(cut)

        return sum(jax.tree.leaves(jax.tree.map_with_path(on_a_device, state))) / 2**30

    sizes = best_fsdp(256, state)
    assert len(sizes) == 2
    assert (
        resident(sizes) <= resident((16, 16)) < 0.08
    )  # of 3.37 whole, small arrays on every device
    assert resident((256,)) > 3


def test_devices_that_are_no_whole_number_of_groups_are_said_with_what_divides_them():
    with pytest.raises(ValueError, match="fsdp=3: does not divide 1 devices; use 1"):
        fully_sharded(3)
