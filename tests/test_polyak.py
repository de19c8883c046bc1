"""Polyak averaging: what is averaged, who sees it, and what a run without it keeps."""

import jax
import numpy as np
import pytest
from flax import nnx
from test_fused import FUSED, VIT, batches, run_of

from models.precision import Precision
from models.shapes import BiTShape, MuP, ViTShape
from scaling.data.procedural.source import Procedural
from scaling.planning.out_of_memory import planned
from scaling.training import checkpoints
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.checkpoints import Checkpoint
from scaling.training.loop import CheckpointPaths, train
from scaling.training.placement import data_parallel, jitted
from scaling.training.placement_spec import DEFAULT, PlacementSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.step import SEED, abstract_batch, learned, program
from scaling.training.trainer import Trainer

DECAY = 0.75
STEPS = 6


def states(run, spec=DEFAULT):
    """The state before each update and after the last, as host arrays."""
    objective = run.objective.build(run.model, 8, Precision())
    placement = data_parallel()
    start, step, _ = jitted(program(run, objective, spec), placement, abstract_batch(run))
    state = start(np.uint32(0), None)
    found = [jax.device_get(state)]
    for number, batch in zip(range(STEPS), batches(run), strict=False):
        placed = placement.place(batch, run.batch)
        state, _ = step(state, placed, np.float32(1), np.uint32(0), np.uint32(number))
        found.append(jax.device_get(state))
    return found


@pytest.fixture(scope="module")
def plain():
    return states(run_of(polyak=DECAY, clip_by="previous"))


def assert_close(one, other, atol=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), one, other)


def assert_same_arrays(one, other):
    """Whatever the types of keys, which a checkpoint writes as words."""
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def averaged(found):
    """The first parameters weigh decay ** steps, later ones (1 - decay) * decay ** their age."""
    weights = [DECAY**STEPS, *((1 - DECAY) * DECAY**age for age in reversed(range(STEPS)))]
    assert sum(weights) == pytest.approx(1)
    return jax.tree.map(
        lambda *params: sum(w * p.astype(float) for w, p in zip(weights, params, strict=True)),
        *[state.params for state in found],
    )


@pytest.mark.slow
def test_the_average_of_all_parameters_so_far_weighs_each_less_the_older_it_is(plain):
    assert_close(plain[-1].average, averaged(plain))
    assert all(x.dtype == np.float32 for x in jax.tree.leaves(plain[-1].average))


@pytest.mark.slow
def test_averaging_changes_no_bit_of_the_training_itself(plain):
    without = states(run_of(clip_by="previous"))
    assert without[-1].average == ()
    jax.tree.map(np.testing.assert_array_equal, plain[-1].params, without[-1].params)
    jax.tree.map(np.testing.assert_array_equal, plain[-1].optimizer, without[-1].optimizer)


@pytest.mark.slow
def test_a_fused_step_averages_as_a_plain_one(plain):
    fused = states(run_of(polyak=DECAY, clip_by="previous"), FUSED)
    first = fused[0]
    jax.tree.map(np.testing.assert_array_equal, first.average, first.params)
    assert jax.tree.structure(fused[-1]) == jax.tree.structure(plain[-1])
    assert_close(fused[-1].average, averaged(fused))


@pytest.mark.slow
def test_evaluations_see_the_average_and_runs_without_it_their_parameters(plain):
    last = plain[-1]
    assert learned(last).params is last.average
    assert learned(last._replace(average=())).params is last.params


@pytest.mark.slow
def test_what_begins_with_a_finished_run_begins_with_its_average(tmp_path):
    """The network that was evaluated."""
    run = run_of(BiTShape(name="b", resolution=16, stages=(1,), width=32), polyak=DECAY)
    objective = run.objective.build(run.model, 8, Precision())
    state = jax.jit(program(run, objective).start)(np.uint32(0))
    state = state._replace(average=jax.tree.map(lambda x: x + 1, state.average))
    checkpoints.save(tmp_path / "1", Checkpoint(step=1, seconds=0.0, state=state))
    assert_same_arrays(checkpoints.parameters(tmp_path / "1"), state.average)
    state = state._replace(average=())
    checkpoints.save(tmp_path / "2", Checkpoint(step=2, seconds=0.0, state=state))
    assert_same_arrays(checkpoints.parameters(tmp_path / "2"), state.params)


def test_the_average_takes_four_bytes_a_parameter():
    with_it, without = (
        planned(run_of(VIT, polyak=polyak), PlacementSpec(), 1) for polyak in (0.9, None)
    )
    run = run_of(VIT)
    params = jax.eval_shape(
        program(run, run.objective.build(VIT, 8, Precision())).start, SEED, None
    ).params
    assert with_it - without == 4 * sum(x.size for x in jax.tree.leaves(params))


@pytest.mark.slow
def test_a_branch_goes_on_with_the_average_of_its_trunk(tmp_path):
    """With muP too, and the network that is evaluated is the averaged one."""
    model = ViTShape(
        name="n",
        patch=8,
        resolution=16,
        width=16,
        depth=2,
        mlp=32,
        heads=2,
        mup=MuP(base_width=8, base_depth=1),
    )
    short = Run(
        model=model,
        data=Procedural(classes=4),
        recipe=Recipe(optimizer="adam", learning_rate=1e-2, warmup_steps=2, polyak=0.9),
        images_seen=16 * 20,
        batch=16,
    )
    longer = short.model_copy(update={"images_seen": 2 * short.images_seen})
    trainer = Trainer(short)

    def trained(run, trunk, own):
        paths = CheckpointPaths(tmp_path / trunk, tmp_path / own, CheckpointSpec())
        return train(trainer, run, paths, lambda progress: None)

    end = trained(short, "trunk", "short")
    branched = trained(longer, "trunk", "branched")
    alone = trained(longer, "other", "alone")
    jax.tree.map(np.testing.assert_array_equal, branched.state, alone.state)
    evaluated = nnx.to_pure_dict(nnx.split(trainer.module(end.state))[1])
    assert_same_arrays(evaluated["head"], end.state.average["head"])
    kernels = (each["head"]["kernel"] for each in (end.state.average, end.state.params))
    assert np.abs(np.subtract(*kernels)).max() > 1e-6
