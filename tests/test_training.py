"""Training: shared trunks, interruptions and divergence change no digit."""

import json
import os

import jax
import numpy as np
import pytest

from models.shapes import ViTShape
from scaling.data.arrays import Digits
from scaling.data.procedural.source import Procedural
from scaling.evaluate import FewShot, Upstream
from scaling.runs.run_file import write_run_file
from scaling.runs.run_folder import RunFolder
from scaling.training import checkpoints, loop
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.leaving import Left
from scaling.training.loop import CheckpointPaths
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.trainer import Diverged, Trainer
from scaling.worker import Ended, work

NANO = ViTShape(name="nano", patch=8, resolution=16, width=8, depth=2, mlp=16, heads=2, pool="gap")
DATA = Procedural(classes=8, heldout_size=1000)
RECIPE = Recipe(  # a third of the arrays that Adafactor keeps: a save takes as long as there are
    optimizer="adam",
    learning_rate=1e-2,
    warmup_steps=2,
    timescale_steps=8,
    weight_decay_head=0.1,
)
UPSTREAM = Upstream()
EVERY_LOOK = CheckpointSpec(every_seconds=1e-9)


def run(steps, **changes):
    fields = {"model": NANO, "data": DATA, "recipe": RECIPE, "images_seen": steps * 16, "batch": 16}
    return Run(**(fields | changes))


def written(root, run, *evaluations):
    path = root / run.id
    write_run_file(path, run, evaluations or (UPSTREAM,), print)
    return path


def bits(checkpoint):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(checkpoint.state)]


@pytest.fixture(scope="module")
def trainer():
    return Trainer(run(40))


@pytest.fixture(scope="module")
def alone(trainer, tmp_path_factory):
    """Each run trained in a place of its own, from its first image."""
    return {
        steps: finish(trainer, run(steps), tmp_path_factory.mktemp("alone"))
        for steps in (10, 20, 40)
    }


def finish(trainer, run, root, *, trunk=None, **paths):
    paths = CheckpointPaths(trunk=trunk or root / "trunk", own=root / run.id, **paths)
    return loop.train(trainer, run, paths, tell=lambda progress: None)


@pytest.mark.slow
def test_runs_that_branch_from_one_trunk_equal_runs_trained_alone_bit_for_bit(
    trainer, alone, tmp_path
):
    for steps in (10, 20, 40):
        shared = finish(trainer, run(steps), tmp_path / str(steps), trunk=tmp_path / "trunk")
        assert bits(shared) == bits(alone[steps])
    assert [step for step, _ in checkpoints.found(tmp_path / "trunk")] == [8, 16, 32]


@pytest.mark.slow
def test_a_shorter_run_asked_for_later_branches_all_the_same(trainer, alone, tmp_path):
    for steps in (40, 10):
        shared = finish(trainer, run(steps), tmp_path / str(steps), trunk=tmp_path / "trunk")
        assert bits(shared) == bits(alone[steps])


@pytest.mark.slow
def test_each_duration_costs_its_cooldown_alone(trainer, tmp_path, monkeypatch):
    steps = []
    compiled = trainer._step
    monkeypatch.setattr(trainer, "_step", lambda *args: steps.append(1) or compiled(*args))
    for duration in (10, 20, 40):
        finish(trainer, run(duration), tmp_path / str(duration), trunk=tmp_path / "trunk")
    assert len(steps) == 32 + 2 + 4 + 8


@pytest.mark.slow
def test_nothing_is_compiled_twice(trainer, alone):
    assert trainer._step._cache_size() == 1


class Killed(Exception):
    pass


def die_after_saves(monkeypatch, count):
    """The `count`-th save is done, and then the training dies."""
    begin, left = checkpoints.begin, [count]

    def begin_then_die(folder, checkpoint, guard):
        rest = begin(folder, checkpoint, guard)

        def rest_then_die():
            rest()
            left[0] -= 1
            if not left[0]:
                raise Killed

        return rest_then_die

    monkeypatch.setattr(checkpoints, "begin", begin_then_die)


@pytest.mark.slow
@pytest.mark.parametrize("saves", [1, 20])
def test_a_training_killed_anywhere_ends_with_the_same_bits(
    trainer, alone, tmp_path, monkeypatch, saves
):
    monkeypatch.setattr("scaling.training.trainer.LOOK_EVERY", 0.0)
    die_after_saves(monkeypatch, saves)
    with pytest.raises(Killed):
        finish(trainer, run(20), tmp_path, spec=EVERY_LOOK)
    assert bits(finish(trainer, run(20), tmp_path, spec=EVERY_LOOK)) == bits(alone[20])


@pytest.mark.slow
def test_a_training_killed_inside_a_save_ends_with_the_same_bits(
    trainer, alone, tmp_path, monkeypatch
):
    monkeypatch.setattr("scaling.training.trainer.LOOK_EVERY", 0.0)
    replace, left = os.replace, [3]

    def die_instead(source, target):
        left[0] -= 1
        if not left[0]:
            raise Killed
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.os, "replace", die_instead)
        with pytest.raises(Killed):
            finish(trainer, run(20), tmp_path, spec=EVERY_LOOK)
    assert any(tmp_path.rglob("*.partial"))
    assert bits(finish(trainer, run(20), tmp_path, spec=EVERY_LOOK)) == bits(alone[20])


@pytest.mark.slow
def test_a_full_disk_is_not_the_runs_failure(tmp_path, monkeypatch, capsys):
    path = written(tmp_path, run(10))

    def full(folder, checkpoint, guard):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "begin", full)
        assert work([path]) == Ended.FAILED
    assert "No space left on device" in capsys.readouterr().err
    assert RunFolder(path).failure() is None
    assert work([path]) == Ended.DONE


@pytest.mark.slow
def test_states_are_kept_at_the_steps_that_a_user_names(trainer, alone, tmp_path, monkeypatch):
    kept, begin = [], checkpoints.begin

    def noted(folder, checkpoint, guard):
        kept.append((folder.name, checkpoint.step))
        return begin(folder, checkpoint, guard)

    monkeypatch.setattr(checkpoints, "begin", noted)
    end = finish(trainer, run(20), tmp_path, spec=CheckpointSpec(every_steps=3))
    trunk, cooldown = [3, 6, 9, 12, 15], [18]
    assert [step for name, step in kept if name == "passing"] == trunk + cooldown
    assert [name for name, _ in kept if name != "passing"] == ["16", "20"]
    assert bits(end) == bits(alone[20])


@pytest.mark.slow
def test_a_point_of_a_trunk_goes_once_no_run_has_still_to_start_there(tmp_path):
    spec = CheckpointSpec(keep="needed")
    paths = [tmp_path / run(steps).id for steps in (10, 20, 40)]
    for path, steps in zip(paths, (10, 20, 40), strict=True):
        write_run_file(path, run(steps), (UPSTREAM,), print, checkpoints=spec)

    def trunk():
        return [step for step, _ in checkpoints.found(tmp_path / "trunks" / run(10).trunk)]

    for path, left in zip(paths, ([8], [16], []), strict=True):
        assert work([path]) == Ended.DONE
        assert trunk() == left


@pytest.mark.slow
def test_a_damaged_checkpoint_is_said_set_aside_and_trained_again(trainer, alone, tmp_path):
    finish(trainer, run(20), tmp_path)
    for folder in (tmp_path / run(20).id / "20", tmp_path / "trunk" / "16"):
        victim = max(folder.rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0)
        victim.write_bytes(b"\0" + victim.read_bytes()[1:])
    said = []
    assert bits(finish(trainer, run(20), tmp_path, say=said.append)) == bits(alone[20])
    assert len(said) == 2
    assert all("changed after it was written" in line and "damaged-1" in line for line in said)


@pytest.fixture(scope="module")
def noisy():
    """A run with dropout and stochastic depth, as a function of its steps, and its trainer."""

    def noisy(steps):
        return run(
            steps, recipe=RECIPE.model_copy(update={"dropout": 0.1, "stochastic_depth": 0.5})
        )

    return noisy, Trainer(noisy(20))


@pytest.mark.slow
def test_with_noise_too_runs_that_branch_from_one_trunk_equal_runs_trained_alone(noisy, tmp_path):
    run, trainer = noisy
    for steps in (10, 20):
        alone = finish(trainer, run(steps), tmp_path / f"alone{steps}")
        shared = finish(trainer, run(steps), tmp_path / f"{steps}", trunk=tmp_path / "trunk")
        assert bits(shared) == bits(alone)
    assert trainer._step._cache_size() == 1


@pytest.mark.slow
def test_with_noise_too_a_killed_training_ends_with_the_same_bits(noisy, tmp_path, monkeypatch):
    run, trainer = noisy
    monkeypatch.setattr("scaling.training.trainer.LOOK_EVERY", 0.0)
    whole = bits(finish(trainer, run(10), tmp_path / "whole"))
    die_after_saves(monkeypatch, 5)
    with pytest.raises(Killed):
        finish(trainer, run(10), tmp_path, spec=EVERY_LOOK)
    assert bits(finish(trainer, run(10), tmp_path, spec=EVERY_LOOK)) == whole


@pytest.mark.slow
def test_each_step_has_random_numbers_of_its_own_and_no_noise_has_none(trainer, noisy):
    _, random = noisy
    images = np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3), np.uint8)
    labels = np.arange(16, dtype=np.int32) % 8

    def after(trainer, step):
        batch = {"image": images, "label": labels, "index": np.arange(16, dtype=np.uint32)}
        placed = trainer._placement.place(batch, len(batch["label"]))
        updated = trainer._step(
            trainer.start().state, placed, np.float32(1), np.uint32(0), np.uint32(step)
        )
        return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(updated)]

    assert after(random, 3) == after(random, 3)
    assert after(random, 3) != after(random, 4)
    assert after(trainer, 3) == after(trainer, 4)


@pytest.mark.slow
def test_another_seed_gives_other_parameters(trainer, alone, tmp_path):
    other = run(10, seed=1)
    assert bits(finish(Trainer(other), other, tmp_path)) != bits(alone[10])


def test_a_trainer_refuses_a_run_of_another_trunk(trainer, tmp_path):
    with pytest.raises(ValueError, match="does not grow from trunk"):
        finish(trainer, run(10, seed=1), tmp_path)


@pytest.mark.slow
def test_training_lowers_the_loss(trainer, tmp_path, monkeypatch):
    monkeypatch.setattr("scaling.training.trainer.LOOK_EVERY", 0.0)
    losses = []
    paths = CheckpointPaths(trunk=tmp_path / "trunk", own=tmp_path / "own")
    loop.train(trainer, run(40), paths, tell=lambda progress: losses.append(progress.loss))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1


def test_a_loss_that_is_not_finite_ends_the_run_in_words(tmp_path):
    hot = run(10, recipe=RECIPE.model_copy(update={"learning_rate": 1e30}))
    with pytest.raises(Diverged, match=r"diverged\. Try a learning_rate below 1e\+30"):
        finish(Trainer(hot), hot, tmp_path)


@pytest.mark.slow
def test_a_worker_names_the_failed_run_and_finishes_the_others(tmp_path):
    hot = run(10, recipe=RECIPE.model_copy(update={"learning_rate": 1e30}))
    digits = FewShot(name="digits", data=Digits(resolution=16), shots=(1, 5))
    paths = [written(tmp_path, hot), written(tmp_path, run(10), UPSTREAM, digits)]
    assert work(paths) == Ended.FAILED
    bad, good = map(RunFolder, paths)
    assert "diverged" in bad.failure()
    assert not bad.results()
    assert good.failure() is None
    rows = {row.metric: row for row in good.results()}
    assert rows["upstream_error"].n == 1000
    assert 0 < rows["upstream_error"].value < 1
    subsets = [rows[f"digits_5shot_error_subset{i}"].value for i in range(3)]
    assert rows["digits_5shot_error"].value == pytest.approx(np.mean(subsets))
    assert len(set(subsets)) > 1
    manifest = json.loads((good.path / "manifest.json").read_text())
    assert manifest["versions"]["jax"] == jax.__version__
    assert manifest["seed"] == 0
    assert manifest["seconds"] > 0
    assert manifest["flops"] == run(10).flops
    assert [source["heldout_size"] for source in manifest["data"]] == [1000, 797]


@pytest.mark.slow
def test_a_finished_run_is_not_trained_again_but_can_be_measured_anew(tmp_path, monkeypatch):
    path = written(tmp_path, run(10))
    assert work([path]) == Ended.DONE
    before = {row.metric: row.value for row in RunFolder(path).results()}

    def refuse(*args, **kwargs):
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "advance", refuse)
    assert work([path]) == Ended.DONE
    half = Upstream(images=500)
    written(tmp_path, run(10), half)
    assert work([path]) == Ended.DONE
    after = {row.metric: row.n for row in RunFolder(path).results((half,))}
    assert after["upstream_error"] == 500
    assert before == {row.metric: row.value for row in RunFolder(path).results((UPSTREAM,))}


def test_a_training_that_is_told_to_leave_goes_on_where_it_was_with_the_same_bits(
    trainer, alone, tmp_path
):
    """On the trunk, and in the cooldown; three times in all."""
    left = []
    for patience in (5, 20, 7, 1000):
        asked = iter(range(1000))
        try:
            end = finish(
                trainer,
                run(40),
                tmp_path,
                leave=lambda: next(asked) >= patience,  # noqa: B023
            )
        except Left as why:
            left.append(why.step)
    assert len(left) == 3
    assert left == sorted(left)
    assert left[-1] > 32
    assert bits(end) == bits(alone[40])
