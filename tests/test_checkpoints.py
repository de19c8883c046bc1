"""Checkpoints: whole or not there, and noticed when they change."""

import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.runs.lease import LeaseLost
from scaling.training import checkpoints
from scaling.training.checkpoint_manifest import MANIFEST
from scaling.training.checkpoints import Checkpoint, Damaged, OtherState


@pytest.fixture
def checkpoint():
    state = {"w": jnp.arange(6.0).reshape(2, 3), "m": jnp.ones(4, jnp.bfloat16)}, (jnp.int32(7),)
    return Checkpoint(step=12, seconds=3.5, state=state)


def like(checkpoint):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), checkpoint.state
    )


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path, checkpoint):
    checkpoints.save(tmp_path / "12", checkpoint)
    found = checkpoints.restore(tmp_path / "12", like(checkpoint))
    assert (found.step, found.seconds) == (12, 3.5)
    for a, b in zip(jax.tree.leaves(found.state), jax.tree.leaves(checkpoint.state), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_saving_again_replaces_what_was_there(tmp_path, checkpoint):
    checkpoints.save(tmp_path / "passing", checkpoint)
    checkpoints.save(tmp_path / "passing", Checkpoint(step=13, seconds=4.0, state=checkpoint.state))
    assert checkpoints.found(tmp_path) == [(13, tmp_path / "passing")]


def test_a_save_whose_guard_raises_publishes_nothing_and_leaves_the_old_one(tmp_path, checkpoint):
    def taken_over():
        raise LeaseLost("another process has taken over")

    checkpoints.save(tmp_path / "passing", checkpoint)
    later = Checkpoint(step=13, seconds=4.0, state=checkpoint.state)
    for name in ("passing", "13"):
        with pytest.raises(LeaseLost):
            checkpoints.save(tmp_path / name, later, taken_over)
    assert checkpoints.restore(tmp_path / "passing", like(checkpoint)).step == 12
    assert not (tmp_path / "13").exists()


def test_a_checkpoint_that_its_trainer_replaces_between_two_looks_is_passed_over(
    tmp_path, monkeypatch
):
    (tmp_path / "passing").mkdir()
    monkeypatch.setattr(Path, "exists", lambda path: True)  # as it was a moment ago
    assert checkpoints.found(tmp_path) == []


def test_only_complete_checkpoints_are_found_and_in_order(tmp_path, checkpoint):
    for step in (100, 20):
        checkpoints.save(
            tmp_path / str(step), Checkpoint(step=step, seconds=0.0, state=checkpoint.state)
        )
    (tmp_path / "300.partial").mkdir()
    (tmp_path / "400").mkdir()
    assert [step for step, _ in checkpoints.found(tmp_path)] == [20, 100]
    assert checkpoints.found(tmp_path / "nowhere") == []


def test_one_changed_byte_in_any_file_is_noticed(tmp_path, checkpoint):
    checkpoints.save(tmp_path / "good", checkpoint)
    names = [
        path.relative_to(tmp_path / "good")
        for path in (tmp_path / "good").rglob("*")
        if path.is_file() and path.stat().st_size
    ]
    assert len(names) > 3
    for name in names:
        path = tmp_path / "good" / name
        original = path.read_bytes()
        path.write_bytes(bytes([original[0] ^ 1]) + original[1:])
        with pytest.raises(Damaged, match="good"):
            checkpoints.restore(tmp_path / "good", like(checkpoint))
        path.write_bytes(original)
    checkpoints.restore(tmp_path / "good", like(checkpoint))


def test_a_changed_step_is_noticed(tmp_path, checkpoint):
    """A bit of checkpoint.json: the files beside it are as they were."""
    checkpoints.save(tmp_path / "passing", checkpoint)
    manifest = tmp_path / "passing" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"step": 12', '"step": 13'))
    with pytest.raises(Damaged, match=r"checkpoint.json changed after it was written"):
        checkpoints.restore(tmp_path / "passing", like(checkpoint))


@pytest.mark.parametrize("text", ["", '{"step": 12,', "[12]"])
def test_a_cut_checkpoint_json_is_named(tmp_path, checkpoint, text):
    checkpoints.save(tmp_path / "12", checkpoint)
    (tmp_path / "12" / MANIFEST).write_text(text)
    for read in (checkpoints.verify, checkpoints.saved_shapes):
        with pytest.raises(Damaged, match=r"12 .*checkpoint\.json changed after it was written"):
            read(tmp_path / "12")


def test_a_missing_file_is_named(tmp_path, checkpoint):
    checkpoints.save(tmp_path / "12", checkpoint)
    victim = next(p for p in (tmp_path / "12").rglob("*") if p.is_file() and "json" not in p.name)
    victim.unlink()
    with pytest.raises(Damaged, match=victim.name):
        checkpoints.restore(tmp_path / "12", like(checkpoint))


def test_a_file_cut_short_is_named_before_any_number_is_read(tmp_path, checkpoint):
    checkpoints.save(tmp_path / "12", checkpoint)
    whole = (tmp_path / "12" / "_METADATA").read_bytes()
    for left in (len(whole) // 2, 0):
        (tmp_path / "12" / "_METADATA").write_bytes(whole[:left])
        with pytest.raises(Damaged, match=r"12: _METADATA changed after it was written"):
            checkpoints.saved_shapes(tmp_path / "12")


def test_a_state_of_another_shape_is_refused(tmp_path, checkpoint):
    checkpoints.save(tmp_path / "12", checkpoint)
    other = Checkpoint(step=0, seconds=0.0, state=({"w": jnp.zeros(3)}, ()))
    with pytest.raises(OtherState, match=r"0/m is bfloat16 \[4\] there and not asked for here"):
        checkpoints.restore(tmp_path / "12", like(other))
    wider = Checkpoint(step=0, seconds=0.0, state=({**checkpoint.state[0], "w": jnp.ones(3)}, ()))
    with pytest.raises(OtherState, match="move it away to train that part again"):
        checkpoints.restore(tmp_path / "12", like(wider))
    assert checkpoints.found(tmp_path) == [(12, tmp_path / "12")]


def test_a_state_with_the_same_arrays_in_another_tree_is_refused_and_not_called_damaged(tmp_path):
    saved = Checkpoint(step=1, seconds=0.0, state={"params": jnp.ones(3)})
    checkpoints.save(tmp_path / "1", saved)
    asked = Checkpoint(step=1, seconds=0.0, state={"params": jnp.ones(3), "average": ()})
    with pytest.raises(OtherState, match=r"is whole and cannot be taken: .* move it away"):
        checkpoints.restore(tmp_path / "1", like(asked))


def test_a_save_in_the_background_keeps_the_numbers_that_it_was_given(tmp_path, checkpoint):
    """Though the arrays are used up by the next step while files are written."""
    step = jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)
    given = [np.array(x) for x in jax.tree.leaves(checkpoint.state)]
    with checkpoints.Saver() as saver:
        state = checkpoint.state
        for number in range(12, 15):
            saver.save(tmp_path / str(number), Checkpoint(step=number, seconds=0.0, state=state))
            state = step(state)
    for number in range(12, 15):
        found = checkpoints.restore(tmp_path / str(number), like(checkpoint))
        assert found.step == number
        for a, b in zip(jax.tree.leaves(found.state), given, strict=True):
            np.testing.assert_array_equal(np.asarray(a), b + np.asarray(number - 12, b.dtype))


def test_an_error_of_a_save_in_the_background_is_raised_by_the_next_or_at_the_end(
    tmp_path, checkpoint
):
    def taken_over():
        raise LeaseLost("another process has taken over")

    saver = checkpoints.Saver(taken_over)
    saver.save(tmp_path / "1", checkpoint)
    with pytest.raises(LeaseLost):
        saver.save(tmp_path / "2", checkpoint)
    with pytest.raises(LeaseLost), checkpoints.Saver(taken_over) as saver:
        saver.save(tmp_path / "3", checkpoint)
    saver = checkpoints.Saver(taken_over)
    saver.save(tmp_path / "4", checkpoint)
    saver.__exit__(ZeroDivisionError)  # whose error is the one to be seen
    assert not any((tmp_path / name).exists() for name in "1234")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB; skipped where this process may not mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small file system is not allowed here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_said_and_leaves_the_checkpoint_before_and_the_space_of_the_new_one(
    small_disk, checkpoint
):
    checkpoints.save(small_disk / "passing", checkpoint)
    noise = np.random.default_rng(0).integers(0, 2**32, 2**20, np.uint32)  # 4 MB, incompressible
    large = Checkpoint(step=13, seconds=4.0, state={"w": jnp.asarray(noise)})
    with pytest.raises(OSError, match="No space left on device") as full:
        checkpoints.save(small_disk / "passing", large)
    assert full.value.filename == str(small_disk / "passing")
    assert os.listdir(small_disk) == ["passing"]
    assert checkpoints.restore(small_disk / "passing", like(checkpoint)).step == 12


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.mark.parametrize("second", range(6))
@pytest.mark.parametrize("first", range(6))
def test_two_kills_at_any_steps_of_a_save_leave_a_whole_checkpoint(
    tmp_path, checkpoint, monkeypatch, first, second
):
    """Step by step: manifest, rename aside, rename in, deletions; 5 lets the save finish."""
    checkpoints.save(tmp_path / "passing", checkpoint)
    for step, kill_at in ((13, first), (14, second)):
        best = checkpoints.found(tmp_path)[-1][0]
        with monkeypatch.context() as patch:
            calls = iter(range(100))

            def dies(real, calls=calls, kill_at=kill_at):
                def call(*args, **kwargs):
                    if next(calls) == kill_at:
                        raise Killed
                    return real(*args, **kwargs)

                return call

            patch.setattr(checkpoints, "write_text", dies(checkpoints.write_text))
            mine = SimpleNamespace(rename=dies(os.rename), urandom=os.urandom)
            patch.setattr(checkpoints, "os", mine)
            patch.setattr(checkpoints, "shutil", SimpleNamespace(rmtree=dies(shutil.rmtree)))
            try:
                new = Checkpoint(step=step, seconds=4.0, state=checkpoint.state)
                checkpoints.save(tmp_path / "passing", new)
            except Killed:
                pass
        found, last = checkpoints.found(tmp_path)[-1]
        assert found >= best
        assert checkpoints.restore(last, like(checkpoint)).step == found
    checkpoints.save(tmp_path / "passing", Checkpoint(step=15, seconds=5.0, state=checkpoint.state))
    assert os.listdir(tmp_path) == ["passing"]
