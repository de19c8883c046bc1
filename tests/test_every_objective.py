"""What every objective promises: trunks, resuming, devices, and numbers that a plan can rely on."""

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import get_args

import jax
import numpy as np
import pytest
from objective_cases import BATCH, CASES, tiny
from simulated import simulated

from fits.base.errors import UserError
from models.precision import Precision
from scaling.objectives import Objective
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.leaving import Left
from scaling.training.loop import CheckpointPaths, train
from scaling.training.placement_checks import check_runs, objective_mistakes
from scaling.training.placement_spec import PlacementSpec
from scaling.training.step import SEED, program
from scaling.training.trainer import Trainer

every = pytest.mark.parametrize("name", sorted(CASES))

DEVICES = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import jax, numpy as np
from objective_cases import tiny
from scaling.objectives.built.contrastive import pairwise_sigmoid
from scaling.training.trainer import Trainer
from test_every_objective import four_steps

assert jax.device_count() == 8
pairwise_sigmoid.__defaults__ = (4,)  # captions at once: four parts of a batch
folder, *names = sys.argv[2:]
for name in names:
    trainer = Trainer(tiny(name, Path(folder)))
    assert trainer.placement.shares == 8
    params, losses = four_steps(trainer)
    np.savez(Path(folder) / f"{name}, 8 devices.npz", *jax.tree.leaves(params), losses=losses)
    print(name)
"""
PARTS = 2  # of the cases: a process each, which starts once


def paths(folder: Path, name: str = "own", **changes) -> CheckpointPaths:
    spec = CheckpointSpec(every_seconds=1e9)
    return CheckpointPaths(trunk=folder / "trunk", own=folder / name, spec=spec, **changes)


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def quiet(progress):
    del progress


def test_every_member_of_the_union_is_tried_here():
    members = get_args(get_args(Objective)[0])
    assert {each.model_fields["kind"].default for each in members} <= {
        name.split(",")[0] for name in CASES
    }


@every
def test_a_step_is_built_without_arrays_and_leaves_the_state_s_structure_as_it_is(name, tmp_path):
    run = CASES[name](tmp_path)
    built = run.objective.build(run.model, run.data.classes, Precision())
    state = jax.eval_shape(program(run, built).start, SEED)
    assert not any(x.weak_type for x in jax.tree.leaves(state))  # or steps are compiled again
    groups = built.parameter_groups(state.params)
    assert jax.tree.structure(groups) == jax.tree.structure(state.params)
    assert set(jax.tree.leaves(groups)) <= {"head", "body", "undecayed"}
    assert "backbone" in state.params or "backbone" in state.frozen  # where it is locked


@every
def test_the_config_says_whether_a_state_is_kept_from_step_to_step(name, tmp_path):
    """Private training is refused by the config, before anything is built."""
    run = CASES[name](tmp_path)
    built = run.objective.build(run.model, run.data.classes, Precision())
    learned = jax.eval_shape(built.init, jax.random.key(0))
    assert run.objective.keeps_state == bool(jax.tree.leaves(learned.state))


@every
def test_where_labels_are_hidden_they_choose_no_images(name, tmp_path):
    run = CASES[name](tmp_path)
    resampled = run.setting._replace(resampled=True)
    said = [each for each in run.objective.problems(resampled) if "resample" in each]
    assert bool(said) == (run.objective.labelled(run.data_size) is not None)


@every
def test_a_fused_step_is_there_where_the_config_says_so(name, tmp_path):
    """A study file is refused by the config, training by what it builds."""
    run = CASES[name](tmp_path)
    built = run.objective.build(run.model, run.data.classes, Precision())
    assert (built.parts() is not None) == run.objective.one_pass
    specs = {"fused": PlacementSpec(update="fused"), "parts": PlacementSpec(microbatches=2)}
    allowed = {"fused": run.objective.one_pass, "parts": not run.objective.couples_examples}
    for kind, spec in specs.items():
        said = list(objective_mistakes(spec, run.objective))
        assert bool(said) != allowed[kind]
        if allowed[kind]:
            program(run, built, spec)
            check_runs(spec, [run])
            continue
        with pytest.raises(UserError, match=name.split(",")[0]):
            program(run, built, spec)
        with pytest.raises(UserError, match=name.split(",")[0]):
            check_runs(spec, [run])


@every
def test_flops_grow_with_images_and_are_no_less_than_the_backbone_s(name, tmp_path):
    run = CASES[name](tmp_path)
    flops = run.objective.flops(run.model, 1000, run.data.classes)
    first = run.objective.passes(run.model, run.data.classes)[0]
    assert flops >= 1000 * first.flops > 0
    assert run.objective.flops(run.model, 2000, run.data.classes) == pytest.approx(2 * flops)


@pytest.fixture(scope="module")
def trainers(tmp_path_factory):
    """By name of a case, its run and a trainer; compiled once for all tests."""
    folder = tmp_path_factory.mktemp("trainers")

    @cache
    def of(name):
        run = tiny(name, folder)
        return run, Trainer(run)

    return of


def advanced(trainer, start, until, total_steps=None, tell=quiet):
    """The state at step `until`, of which none was kept on the way."""
    rarely = CheckpointSpec(every_seconds=1e9)
    return trainer.advance(
        start, until, total_steps=total_steps, keep=lambda _: None, spec=rarely, tell=tell
    )


@pytest.mark.slow
@every
def test_a_run_left_in_the_middle_and_one_from_a_shared_trunk_end_with_the_same_bits(
    name, trainers, tmp_path
):
    run, trainer = trainers(name)
    longer = run.model_copy(update={"images_seen": run.images_seen + 8 * BATCH})
    asked = iter(range(10**6))
    with pytest.raises(Left):
        train(trainer, run, paths(tmp_path, leave=lambda: next(asked) >= 9), quiet)
    train(trainer, run, paths(tmp_path), quiet)
    branched = train(trainer, longer, paths(tmp_path, "longer"), quiet)
    branch = advanced(trainer, trainer.start(), longer.branch_step)
    assert_same(advanced(trainer, branch, longer.steps, longer.steps).state, branched.state)
    assert trainer._step._cache_size() == 1


def four_steps(trainer):
    """Parameters after four steps, and the loss of each."""
    losses, end = [], trainer.start()
    for step in range(1, 5):
        end = advanced(trainer, end, step, tell=lambda progress: losses.append(progress.loss))
    return jax.tree.map(np.asarray, end.state.params), losses


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_one_device_and_eight_train_the_same_network(part, trainers, tmp_path):
    names = sorted(CASES)[part::PARTS]
    done = subprocess.run(
        [sys.executable, "-c", DEVICES, str(Path(__file__).parent), str(tmp_path), *names],
        env=simulated(8),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == names
    for name in names:
        params, losses = four_steps(trainers(name)[1])
        found = np.load(tmp_path / f"{name}, 8 devices.npz")
        np.testing.assert_allclose(found["losses"], losses, rtol=1e-4, err_msg=name)
        for number, (path, one) in enumerate(jax.tree.leaves_with_path(params)):
            # a bias of keys has no gradient but rounding, of which Adam makes a full step
            if [each.key for each in path[-2:]] != ["key", "bias"]:
                by = np.abs(one - found[f"arr_{number}"]).max()
                assert by < 1e-5, (name, path, by)
