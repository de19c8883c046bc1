"""What `clean` frees, `logs` shows and `curves` lists, of folders that no training wrote."""

import csv
import errno
import io
import json
import os
import shutil

import jax
import pytest
from launched import UPSTREAM, a_study

from fits.base.errors import UserError
from models.precision import Precision
from scaling.evaluate.measured import Measured
from scaling.objectives.distill import Distill
from scaling.planning.disk import BESIDE, states_kept
from scaling.report.curves import as_csv
from scaling.runs.clean import clean
from scaling.runs.held_run import hold_run
from scaling.runs.logs import log_of
from scaling.runs.metrics_file import METRICS, MetricsLine
from scaling.runs.run_file import write_run_file
from scaling.runs.run_folder import RunFolder
from scaling.runs.trunk_folder import TrunkFolder, hold_trunk
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.checkpoints import MANIFEST
from scaling.training.initial import Init
from scaling.training.step import SEED, program

STUDY = a_study(0, durations=(640, 1280, 1920))  # branches at steps 8, 16 and 24
SHORT, MIDDLE, LONG = STUDY.runs


@pytest.fixture
def runs(tmp_path):
    for run in STUDY.runs:
        write_run_file(tmp_path / run.id, run, STUDY.evaluate, pytest.fail)
    return tmp_path


def a_state(path, step=None):
    """A training state; without a step what an interrupted save left."""
    path.mkdir(parents=True)
    (path / "data").write_bytes(b"x" * 1000)
    if step is not None:
        (path / MANIFEST).write_text(json.dumps({"step": step}))


def done(runs, run):
    with hold_run(runs / run.id) as held:
        found = [Measured(name, 0.5, 100) for name in UPSTREAM.metrics]
        held.finish([(UPSTREAM, found)], {})


def trunk(runs):
    return TrunkFolder.of(RunFolder(runs / SHORT.id), SHORT).path


def freed(runs, **how):
    return {str(each.path.relative_to(runs)) for each in clean(STUDY, runs, **how)}


def test_points_of_a_trunk_stay_from_which_runs_have_still_to_start_and_the_last(runs):
    for step in (8, 16, 24):
        a_state(trunk(runs) / str(step), step)
    assert freed(runs) == set()
    done(runs, SHORT)
    assert freed(runs) == {f"trunks/{SHORT.trunk}/8"}
    assert not (trunk(runs) / "8").exists()
    done(runs, MIDDLE)
    done(runs, LONG)
    assert freed(runs) == {f"trunks/{SHORT.trunk}/16"}
    assert (trunk(runs) / "24").exists()
    assert freed(runs) == set()


def test_what_a_run_that_is_not_done_learns_from_or_begins_with_stays(runs):
    """Whatever study it is of, and where `keep = "needed"` deletes too."""
    for step in (4, 8, 12, 24):
        a_state(trunk(runs) / str(step), step)
    end = RunFolder(runs / SHORT.id).checkpoints / str(SHORT.steps)
    a_state(end, SHORT.steps)
    for run in STUDY.runs:
        done(runs, run)
    teachers = [trunk(runs) / "4", runs / SHORT.id]
    students = [
        SHORT.model_copy(update={"objective": Distill(teacher={"from": each})}) for each in teachers
    ]
    begun = SHORT.model_copy(update={"init": Init(from_=trunk(runs) / "8")})
    for run in (*students, begun):
        write_run_file(runs / run.id, run, STUDY.evaluate, pytest.fail)
    assert freed(runs, ends=True) == {f"trunks/{SHORT.trunk}/12"}
    with hold_trunk(trunk(runs)) as held:
        held.delete_unneeded(SHORT)
    assert {each.name for each in trunk(runs).iterdir() if each.name.isdecimal()} == {"4", "8"}
    a_state(trunk(runs) / "24", 24)
    for run in (*students, begun):
        done(runs, run)
    assert freed(runs, ends=True) == {
        *(f"trunks/{SHORT.trunk}/{step}" for step in (4, 8)),
        f"{SHORT.id}/checkpoints/{SHORT.steps}",
    }


def test_ends_of_runs_stay_unless_they_are_asked_for(runs):
    own = RunFolder(runs / SHORT.id).checkpoints
    a_state(own / "10", 10)
    a_state(own / "passing", 9)
    a_state(own / "passing.0123.partial")
    assert freed(runs) == {f"{SHORT.id}/checkpoints/passing.0123.partial"}
    done(runs, SHORT)
    assert freed(runs) == {f"{SHORT.id}/checkpoints/passing"}
    assert freed(runs, ends=True) == {f"{SHORT.id}/checkpoints/10"}
    assert RunFolder(runs / SHORT.id).is_done(STUDY.evaluate)


def test_what_a_worker_is_at_is_left_alone_and_a_dry_run_deletes_nothing(runs):
    a_state(trunk(runs) / "8", 8)
    a_state(trunk(runs) / "24", 24)
    for run in STUDY.runs:
        done(runs, run)
    with hold_trunk(trunk(runs)):
        assert freed(runs) == set()
    (found,) = clean(STUDY, runs, dry_run=True)
    assert (found.path, found.bytes > 1000) == (trunk(runs) / "8", True)
    assert found.path.exists()


def test_a_dry_run_takes_no_lease_and_writes_nothing(runs):
    a_state(trunk(runs) / "8", 8)
    a_state(trunk(runs) / "24", 24)
    for run in STUDY.runs:
        done(runs, run)

    def there():
        return {path: path.stat().st_mtime_ns for path in runs.rglob("*")}

    before = there()
    assert clean(STUDY, runs, ends=True, dry_run=True)
    assert there() == before


def test_a_plan_counts_the_states_that_are_there_in_the_end():
    """Of each run its end, and each point of the trunk unless only needed ones are kept."""
    count, size = states_kept(STUDY)
    assert count == 6
    needed = STUDY.model_copy(update={"checkpoints": CheckpointSpec(keep="needed")})
    assert states_kept(needed) == (3, size // 2)
    built = program(SHORT, SHORT.objective.build(SHORT.model, SHORT.data.classes, Precision()))
    state = jax.tree.leaves(jax.eval_shape(built.start, SEED))
    assert size / 6 - BESIDE == pytest.approx(
        sum(x.size * x.dtype.itemsize for x in state), rel=0.005
    )


# Logs


def test_a_run_is_named_by_how_its_id_begins(runs):
    (runs / "logs").mkdir()
    (runs / "logs" / f"{SHORT.trunk}.log").write_text("one\ntwo\n")
    assert log_of(runs, SHORT.id) == ["one", "two"]
    assert log_of(runs, SHORT.id[:6]) == ["one", "two"]
    with pytest.raises(UserError, match="no run in"):
        log_of(runs, "zzz")
    with pytest.raises(UserError, match="no run in"):
        log_of(runs, "")


def test_where_a_run_has_no_log_of_its_own_it_is_said_where_its_workers_print(runs):
    with pytest.raises(UserError, match=r"no log of its own.*kubectl logs") as refused:
        log_of(runs, SHORT.id)
    assert "latest" not in str(refused.value)


def test_an_empty_log_is_said_to_be_empty_with_the_reason_of_the_end(runs):
    (runs / "logs").mkdir()
    (runs / "logs" / f"{SHORT.trunk}.log").write_text("\n")
    nothing = f"{SHORT.id}: its workers have printed nothing."
    assert log_of(runs, SHORT.id) == [nothing]
    with hold_run(runs / SHORT.id) as held:
        held.stop("the device is full.")
    assert log_of(runs, SHORT.id) == [
        nothing,
        f"{SHORT.id} was left unfinished: the device is full.",
    ]
    with hold_run(runs / SHORT.id) as held:
        held.attempt("exit status 3, before its first step.", 0)
    why = "exit status 3, before its first step."
    assert log_of(runs, SHORT.id) == [nothing, f"{SHORT.id} was tried 1 time in vain: {why}"]
    with hold_run(runs / SHORT.id) as held:
        held.fail("the loss is nan.")
    assert log_of(runs, SHORT.id) == [nothing, f"{SHORT.id} failed: the loss is nan."]
    (runs / "logs" / f"{SHORT.trunk}.log").unlink()
    with pytest.raises(UserError, match=rf"kubectl logs.*\n{SHORT.id} failed: the loss is nan\."):
        log_of(runs, SHORT.id)


def test_of_logs_of_jobs_the_latest_are_named(runs):
    (runs / "logs" / "slurm-7").mkdir(parents=True)
    names = "slurm-7/12_0_log.out", "ray-1-1.log", "ray-1-2.log", "ray-1-3.log"
    for time, name in enumerate(names):
        (runs / "logs" / name).write_text("")
        os.utime(runs / "logs" / name, (time, time))
    (runs / "logs" / "ray-1-3.log").unlink()
    with pytest.raises(UserError) as refused:
        log_of(runs, SHORT.id)
    named = [str(runs / "logs" / name) for name in reversed(names[:3])]
    assert str(refused.value).endswith(f"The latest of jobs: {', '.join(named)}.")
    (runs / "logs" / "ray-1-3.log").write_text("")
    with pytest.raises(UserError, match=r"ray-1-3\.log, .* and 1 more\.$"):
        log_of(runs, SHORT.id)


# Curves


def a_line(step, loss):
    return MetricsLine(
        step=step,
        images_seen=64 * step,
        loss=loss,
        learning_rate=1e-3,
        gradient_norm=None,
        images_per_second=None,
        mfu=None,
        memory_bytes=None,
        seconds=1.0,
    )


def test_the_curve_of_a_run_is_its_trunks_and_then_its_own(runs):
    for folder, lines in (
        (trunk(runs), [a_line(4, 2.0), a_line(16, 1.0)]),
        (runs / SHORT.id, [a_line(10, 0.5)]),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / METRICS).write_text("".join(x.model_dump_json() + "\n" for x in lines))
    rows = list(csv.DictReader(io.StringIO(as_csv(STUDY, runs))))
    found = [(row["run"], row["step"], row["loss"]) for row in rows]
    assert found == [
        *((SHORT.id, "4", "2.0"), (SHORT.id, "10", "0.5")),
        *((MIDDLE.id, "4", "2.0"), (MIDDLE.id, "16", "1.0")),
        *((LONG.id, "4", "2.0"), (LONG.id, "16", "1.0")),
    ]
    assert float(rows[1]["flops"]) == SHORT.flops
    assert rows[0]["data_size"] == rows[0]["gradient_norm"] == ""
    assert len(as_csv(STUDY, runs, ["images_seen=640"]).splitlines()) == 3


def test_without_a_step_there_is_no_curve(runs):
    with pytest.raises(UserError, match="no run of small has made a step"):
        as_csv(STUDY, runs)


def test_a_study_that_leaves_its_dtype_to_the_devices_is_cleaned_as_its_runs_were_begun(runs):
    """A GPU had its runs begin in bfloat16, which this machine's processor would not choose."""
    opened = STUDY.model_copy(update={"compute_open": True})
    half = opened.computed_in("bfloat16")
    for run in STUDY.runs:
        shutil.rmtree(runs / run.id)
    for run in half.runs:
        write_run_file(runs / run.id, run, half.evaluate, pytest.fail)
        done(runs, run)
    (name,) = {run.trunk for run in half.runs}
    for step in (8, 16, 24):
        a_state(runs / "trunks" / name / str(step), step)
    found = [each.path.name for each in clean(opened, runs)]
    assert sorted(found) == ["16", "8"]


def test_what_interrupted_saves_and_damage_left_of_a_trunk_is_freed(runs):
    """Also while its runs are still to be done; what is no training state stays."""
    for step in (8, 24):
        a_state(trunk(runs) / str(step), step)
    with hold_trunk(trunk(runs)):
        pass
    (trunk(runs) / METRICS).write_text("")
    (trunk(runs) / "notes of mine").mkdir()
    left = ("passing.0123.partial.orbax-checkpoint-tmp", "12.damaged", "16")
    for name in left:
        a_state(trunk(runs) / name)
    there = {each.name for each in trunk(runs).iterdir()}
    assert freed(runs) == {f"trunks/{SHORT.trunk}/{name}" for name in left}
    assert {each.name for each in trunk(runs).iterdir()} == there - set(left)


def test_what_goes_with_a_state_is_not_looked_for_afterwards(runs):
    """Deleting a state deletes what interrupted saves left beside it."""
    own = RunFolder(runs / SHORT.id).checkpoints
    done(runs, SHORT)
    a_state(own / "passing", 9)
    a_state(own / "passing.0123.partial")
    assert freed(runs) == {
        f"{SHORT.id}/checkpoints/{n}" for n in ("passing", "passing.0123.partial")
    }


def test_a_full_disk_is_freed(runs, monkeypatch):
    """A lease is taken by an empty file where nothing more can be written."""
    for step in (8, 24):
        a_state(trunk(runs) / str(step), step)
    for run in STUDY.runs:
        done(runs, run)

    class Full(io.TextIOWrapper):
        def write(self, text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def opened(handle, mode="r", **how):
        return Full(io.FileIO(handle, mode), **how)

    monkeypatch.setattr(os, "fdopen", opened)
    assert freed(runs) == {f"trunks/{SHORT.trunk}/8"}
    with pytest.raises(OSError, match="No space left"), hold_trunk(trunk(runs)):
        pass
