"""Where arrays lie changes where numbers are computed, and not what they are."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from simulated import simulated

from fits.base.errors import UserError
from models.precision import Precision
from models.zoo import vit
from scaling.data.procedural.source import Procedural
from scaling.training.placement import best_fsdp, fully_sharded, split_largest
from scaling.training.placement_spec import PlacementSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.step import SEED, program

FOUR_DEVICES = """
import jax, numpy as np
from models.shapes import ViTShape
from scaling.data.procedural.source import Procedural
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.trainer import Trainer
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
    (None, PlacementSpec(tensor=2)),
    (None, PlacementSpec(tensor=2, fsdp=2, update="fused")),
):
    trainer = Trainer(run, placement=placement, spec=spec)
    end = trainer.advance(
        trainer.start(), 8, total_steps=None, keep=None, spec=CheckpointSpec(), tell=lambda _: None
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


def on_devices(count, code, *arguments):
    """The lines that `code` prints in a process with so many CPU devices."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=simulated(count),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_one_device_four_and_four_with_parameters_cut_apart_train_the_same_network():
    """Steps compile once in each, and a rule for parameters is all that cuts them apart."""
    assert on_devices(4, FOUR_DEVICES) == [
        "1 (2, 128, 256)",
        "4 (2, 128, 256)",
        "4 (2, 128, 64)",
        "4 (2, 64, 128)",
        "4 (2, 128, 128)",
        "4 (2, 128, 128)",
        "4 (2, 64, 128)",
        *["close True"] * 6,
    ]


COLLECTIVES = """
import re
import jax, numpy as np
from models.precision import Precision
from models.shapes import ViTShape
from scaling.data.procedural.source import Procedural
from scaling.training.assembly import assemble
from scaling.training.placement_spec import PlacementSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.step import abstract_batch

run = Run(
    model=ViTShape(name="nano", patch=4, resolution=16, width=128, depth=3, mlp=512, heads=2),
    data=Procedural(classes=4),
    recipe=Recipe(warmup_steps=0, clip_by="previous"),
    images_seen=64 * 10,
    batch=64,
)
number, rate = (jax.ShapeDtypeStruct((), kind) for kind in (np.uint32, np.float32))
for spec in (
    PlacementSpec(remat="full"),
    PlacementSpec(remat="full", fsdp=8),
    PlacementSpec(update="fused"),
    PlacementSpec(update="fused", fsdp=8),
):
    made = assemble(run, spec, Precision(rematerialise=spec.remat)).jitted
    step = made.step.lower(made.state, abstract_batch(run), rate, number, number).compile()
    moved = re.findall(r"= .*? (?:all-gather|all-to-all|all-reduce)\\(.*", step.as_text())
    results = (line.split(" all-")[0] for line in moved)
    images = [each for each in results if re.search(r"\\[(?:1024|64,16)[,\\]]", each)]
    print(len(moved) > 0, len(images), step.memory_analysis().temp_size_in_bytes)
"""


@pytest.mark.slow
def test_where_devices_share_the_state_parameters_travel_and_no_activations():
    """64 images of 16 tokens: nothing with so many rows is gathered or summed, and a step needs
    little more work space than where each device has the whole state."""
    lines = [line.split() for line in on_devices(8, COLLECTIVES)]
    assert [line[:2] for line in lines] == [["True", "0"]] * 4
    plain, plain_split, fused, fused_split = (int(line[2]) for line in lines)
    assert plain_split < 1.1 * plain
    assert fused_split < 1.2 * fused


TRAINS_PART = """
import sys
import jax, numpy as np
from pathlib import Path
from models.shapes import ViTShape
from scaling.data.procedural.source import Procedural
from scaling.training import checkpoints, trainer
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.trainer import Trainer
from scaling.training.placement_spec import PlacementSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run

trainer.LOOK_EVERY = 0.0  # each step is a look
root, first, last, spec = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
run = Run(
    model=ViTShape(name="nano", patch=8, resolution=16, width=128, depth=2, mlp=256, heads=2),
    data=Procedural(classes=4),
    recipe=Recipe(learning_rate=1e-3, warmup_steps=2, optimizer="adafactor-f32"),
    images_seen=16 * 20,
    batch=16,
)
trainer = Trainer(run, spec=PlacementSpec.model_validate_json(spec))
begin = checkpoints.restore(root / str(first), trainer.like()) if first else trainer.start()
losses = []
end = trainer.advance(
    begin, last, total_steps=None, keep=None, spec=CheckpointSpec(every_steps=10**6),
    tell=lambda progress: losses.append(progress.loss),
)
checkpoints.save(root / str(last), end)
print(losses[-1])
"""


@pytest.mark.slow
def test_a_training_goes_on_on_other_devices_with_another_step_and_the_same_loss(tmp_path):
    """8 devices that share the state, then 1, then 4 with the fused step: one canonical tree."""
    parts = (
        (8, 0, 6, PlacementSpec(fsdp=4, tensor=2)),
        (1, 6, 8, PlacementSpec()),
        (4, 8, 12, PlacementSpec(update="fused", fsdp=2)),
    )
    for devices, first, last, spec in parts:
        arguments = str(tmp_path), str(first), str(last), spec.model_dump_json()
        moved = float(on_devices(devices, TRAINS_PART, *arguments)[-1])
    whole = str(tmp_path / "whole"), "0", "12", PlacementSpec().model_dump_json()
    alone = float(on_devices(1, TRAINS_PART, *whole)[-1])
    assert moved == pytest.approx(alone, abs=1e-6)


def test_an_axis_goes_to_the_largest_dimension_left_that_it_divides():
    axes = {"one": 16, "other": 4}
    assert split_largest(axes, (1664, 8192), stacked=False) == PartitionSpec("other", "one")
    assert split_largest(axes, (8192, 1001), stacked=False) == PartitionSpec("one", None)
    assert split_largest(axes, (1001, 1003), stacked=False) == PartitionSpec(None, None)


def test_the_axis_that_a_loop_goes_through_is_never_split():
    axes = {"one": 16}
    assert split_largest(axes, (48, 1664, 64), stacked=True) == PartitionSpec(None, "one", None)
    assert split_largest(axes, (48, 1664), stacked=True) == PartitionSpec()  # small, once sliced


def test_a_tensor_axis_takes_heads_hidden_features_and_classes_and_never_a_tokens_width():
    axes = {"tensor": 2, "fsdp0": 4}

    def split(*shape, stacked=True):
        return split_largest(axes, shape, stacked=stacked, width=256)

    assert split(12, 256, 4, 64) == PartitionSpec(None, "fsdp0", "tensor", None)  # query
    assert split(12, 4, 64, 256) == PartitionSpec(None, "tensor", None, "fsdp0")  # out
    assert split(12, 256, 1024) == PartitionSpec(None, "fsdp0", "tensor")
    assert split(12, 1024, 256) == PartitionSpec(None, "tensor", "fsdp0")
    assert split(256, 1000, stacked=False) == PartitionSpec("fsdp0", "tensor")
    assert split(12, 256, 256) == PartitionSpec(None, None, "fsdp0")


def test_a_batch_that_devices_cannot_share_is_said_with_the_nearest_that_they_can():
    code = """
import jax
from fits.base.errors import UserError
from scaling.training.placement import fully_sharded
for placement, batch in ((fully_sharded(2, tensor=2), 10), (fully_sharded(1), 3)):
    try:
        placement.rows(batch)
    except UserError as error:
        print(error)
print(fully_sharded(2, tensor=2).rows(12))
"""
    assert on_devices(8, code) == [
        "a batch of 10 cannot be split over 4 devices; use 8 or 12.",
        "a batch of 3 cannot be split over 8 devices; use 8.",
        "[ 0  1  2  3  4  5  6  7  8  9 10 11]",
    ]


def test_groups_that_do_not_divide_the_devices_are_said_with_those_that_do():
    with pytest.raises(UserError, match="tensor=2: does not divide 1 device; use tensor=1"):
        fully_sharded(1, tensor=2)


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
    with pytest.raises(ValueError, match="fsdp=3: does not divide 1 device; use fsdp=1"):
        fully_sharded(3)
