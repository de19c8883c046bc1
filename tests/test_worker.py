"""What a worker does with leases and failures, with a training that is only pretended."""

import json
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest
from simulated import simulated

import scaling.task
from fits.base.errors import UserError
from models.precision import Precision
from models.shapes import ViTShape
from scaling import worker
from scaling.data.procedural.source import Procedural
from scaling.evaluate import Upstream
from scaling.evaluate.measured import Measured
from scaling.planning.out_of_memory import out_of_memory, planned
from scaling.runs import lease
from scaling.runs.attempts import Attempts, read_attempts
from scaling.runs.held_run import hold_run
from scaling.runs.rule_file import Verdict, write_verdict
from scaling.runs.run_file import write_run_file
from scaling.runs.run_folder import RunFolder
from scaling.runs.trunk_folder import TrunkFolder, hold_trunk
from scaling.task import Task, task_of
from scaling.training.checkpoint_manifest import MANIFEST
from scaling.training.leaving import Leaving, Left
from scaling.training.placement_spec import DEFAULT, PlacementSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.trainer import Diverged, Progress
from scaling.worker import Ended

ROOT = Path(__file__).resolve().parents[1]
UPSTREAM = Upstream(images=100)
RUN = Run(
    model=ViTShape(name="nano", patch=8, resolution=16, width=8, depth=1, mlp=16, heads=2),
    data=Procedural(classes=8, heldout_size=1000),
    recipe=Recipe(warmup_steps=2),
    images_seen=160,
    batch=16,
)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "runs" / RUN.id
    write_run_file(path, RUN, [UPSTREAM], pytest.fail)
    return RunFolder(path)


def measured(task):
    return 1.0, [(each, [Measured(m, 0.5, 100) for m in each.metrics]) for each in task.missing]


@pytest.fixture
def training(monkeypatch):
    """Takes the place of training and measuring; a test appends what is to happen, in turn."""
    acts = []

    def pretended(task, paths, watch, trainers, leaving):
        act = acts.pop(0) if acts else lambda watch: None
        act(watch)
        trainers[task.run.trunk] = SimpleNamespace(precision=Precision())
        return measured(task)

    for module in (worker, scaling.task):
        monkeypatch.setattr(module, "train_and_measure", pretended)
    return acts


def files(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_no_secret_of_the_environment_is_written_down(folder, monkeypatch):
    names = "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "HF_TOKEN", "SSH_AUTH_SOCK"
    for name in names:
        monkeypatch.setenv(name, f"secret-{name}")
    assert worker.work([folder.path]) == Ended.DONE
    assert folder.manifest()["run"]
    written = files(folder.path.parents[1]).values()
    assert not [each for each in written if b"secret-" in each]


def test_a_worker_that_loses_its_lease_waits_for_the_other_and_does_the_run_after_it(
    folder, training, monkeypatch, capsys
):
    monkeypatch.setattr(lease, "EXPIRY", 0.2)
    monkeypatch.setattr(lease, "POLL", 0.01)

    def taken_over(watch):
        held = folder.path / "lease" / "2.held"  # by a process that then dies, elsewhere
        held.write_text(json.dumps({"machine": None}))
        watch.phase("train", 1)

    training.append(taken_over)
    assert worker.work([folder.path]) == Ended.DONE
    assert folder.is_done([UPSTREAM])
    assert [path.name for path in (folder.path / "lease").iterdir()] == ["3.free"]
    said = capsys.readouterr().err
    assert "another process has taken over" in said
    assert said.count("1 run is left, at which other processes are: waits, 0:00") == 1


def test_a_worker_whose_run_was_finished_by_the_one_that_took_over_does_not_train_it_again(
    folder, training, monkeypatch
):
    monkeypatch.setattr(lease, "HEARTBEAT", 1e6)
    monkeypatch.setattr(lease, "EXPIRY", 0.1)
    monkeypatch.setattr(lease, "POLL", 0.01)

    def finished_by_another(watch):
        with hold_run(folder.path) as other:
            task = task_of(other)
            other.finish(measured(task)[1], {"by": "the other"})
        watch.phase("train", 1)

    training.extend([finished_by_another, lambda watch: pytest.fail("trained again")])
    assert worker.work([folder.path]) == Ended.DONE
    assert folder.manifest()["by"] == "the other"


def test_a_worker_that_loses_its_trunk_stops_too(folder, training, monkeypatch):
    monkeypatch.setattr(lease, "EXPIRY", 0.2)
    monkeypatch.setattr(lease, "POLL", 0.01)
    steps = []

    def taken_over(watch):
        held = TrunkFolder.of(folder, RUN).path / "lease" / "2.held"
        held.write_text(json.dumps({"machine": None}))
        watch.phase("train", 1)
        steps.append("after the trunk was lost")

    training.append(taken_over)
    assert worker.work([folder.path]) == Ended.DONE
    assert steps == []


def test_leases_are_free_after_a_failure(folder, training):
    def fail(watch):
        raise ValueError("no such thing.")

    training.extend([fail] * 3)
    assert worker.work([folder.path]) == Ended.FAILED
    assert folder.failure() == "ValueError: no such thing. Tried 3 times."
    assert folder.status([UPSTREAM]) == "failed"
    assert not lease.is_held(TrunkFolder.of(folder, RUN).path / "lease")


def test_a_worker_gives_up_the_run_that_a_rule_stops_meanwhile(folder, training):
    def stopped(watch):
        progress = Progress(
            step=1,
            steps=1,
            loss=1.0,
            learning_rate=0.1,
            gradient_norm=1.0,
            layer_gradient_norms=None,
            images_per_second=None,
            pace=None,
            seconds=1.0,
        )
        watch.tell(progress)
        assert folder.progress().step == 1
        write_verdict(folder.path, Verdict(rule="behind", step=1, reason="too slow."))
        watch.tell(replace(progress, step=2))
        pytest.fail("trained on")

    training.append(stopped)
    assert worker.work([folder.path]) == Ended.FAILED
    assert folder.failure() == "stopped by the rule 'behind': too slow."
    assert read_attempts(folder.path).reasons == ()


def test_a_worker_does_not_begin_a_run_that_a_rule_has_stopped(folder, training):
    write_verdict(folder.path, Verdict(rule="behind", step=1, reason="too slow."))
    training.append(lambda watch: pytest.fail("trained"))
    assert worker.work([folder.path]) == Ended.FAILED
    assert folder.failure() == "stopped by the rule 'behind': too slow."


@pytest.mark.slow
def test_a_log_on_a_full_disk_keeps_no_worker_from_writing_down_why(folder):
    """Else its traceback ended it, and the launch was told of exit status 120."""
    code = (
        "import sys; from pathlib import Path\n"
        "from scaling.runs.held_run import hold_run; from scaling.task import write_down\n"
        "with hold_run(Path(sys.argv[1])) as held:\n"
        "    write_down(held, OSError(28, 'No space left on device', 'there'))\n"
    )
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", code, str(folder.path)]
        assert subprocess.run(command, cwd=ROOT, stderr=full, check=False).returncode == 0
    assert folder.stopped() == "OSError: [Errno 28] No space left on device: 'there'"


def test_a_run_that_fails_once_is_tried_again_by_another_process(folder, training):
    training.append(lambda watch: 1 / 0)
    assert worker.work([folder.path], wait=False) == Ended.TAKEN
    assert folder.status([UPSTREAM]) == "waiting"
    assert read_attempts(folder.path).reasons == ("ZeroDivisionError: division by zero.",)
    assert worker.work([folder.path], wait=False) == Ended.DONE
    assert read_attempts(folder.path).reasons == ()


def test_a_new_checkpoint_begins_the_count_of_attempts_anew(folder):
    with hold_run(folder.path) as held:
        steps = (0, 0, 7, 7, 7)
        assert [held.attempt("why.", step) for step in steps] == [True, True, True, True, False]
    assert folder.failure() == "why. Tried 3 times."


def test_attempts_that_cannot_be_read_count_for_nothing(folder):
    for text in ("", "[", '{"step": -1, "reasons": []}', "[" * 10**5):
        (folder.path / "attempts.json").write_text(text)
        assert read_attempts(folder.path) == Attempts(step=0, reasons=())


# Sharing the work


@pytest.fixture
def longer(folder):
    """The folder of a run on the same trunk, which branches later."""
    run = RUN.model_copy(update={"images_seen": 320})
    path = folder.path.parent / run.id
    write_run_file(path, run, [UPSTREAM], pytest.fail)
    return RunFolder(path)


def test_a_worker_that_does_not_wait_leaves_the_runs_of_others_to_them(folder, longer, training):
    with hold_run(folder.path):
        assert worker.work([folder.path, longer.path], wait=False) == Ended.TAKEN
    assert longer.is_done([UPSTREAM])
    assert not folder.is_done([UPSTREAM])


def test_a_run_whose_trunk_another_trains_is_taken_when_its_branch_is_there(
    folder, longer, training
):
    trunk = TrunkFolder.of(folder, RUN)
    with hold_trunk(trunk.path):
        assert worker.work([folder.path, longer.path], wait=False) == Ended.TAKEN
        branch = trunk.path / str(RUN.branch_step) / MANIFEST
        branch.parent.mkdir()
        branch.write_text("{}")
        assert worker.work([folder.path, longer.path], wait=False) == Ended.TAKEN
    assert folder.is_done([UPSTREAM])
    assert not longer.is_done([UPSTREAM])
    assert worker.work([longer.path], wait=False) == Ended.DONE


def test_while_it_waits_for_a_trunk_a_worker_takes_no_lease(folder, training, monkeypatch):
    looks = []

    def look(seconds):
        looks.append(sorted(path.name for path in (folder.path / "lease").iterdir()))
        if len(looks) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(worker.time, "sleep", look)
    with hold_trunk(TrunkFolder.of(folder, RUN).path), pytest.raises(KeyboardInterrupt):
        worker.work([folder.path])
    assert looks == [["1.free"]] * 5


def test_the_trunk_is_free_while_its_run_cools_down(folder, training, monkeypatch):
    trunk = TrunkFolder.of(folder, RUN)
    seen = []

    def branched(task, paths, watch, trainers, leaving):
        seen.append(lease.is_held(trunk.path / "lease"))
        paths.branched()
        seen.append(lease.is_held(trunk.path / "lease"))
        watch.phase("cooldown", 9)
        trainers[task.run.trunk] = SimpleNamespace(precision=Precision())
        return measured(task)

    monkeypatch.setattr(scaling.task, "train_and_measure", branched)
    assert worker.work([folder.path]) == Ended.DONE
    assert seen == [True, False]


def test_what_failed_does_not_hide_that_others_are_at_the_rest(folder, longer, training):
    training.append(lambda watch: (_ for _ in ()).throw(Diverged("the loss is nan.", step=9)))
    with hold_run(longer.path):
        assert worker.work([folder.path, longer.path], wait=False) == Ended.TAKEN
    assert folder.failure() == "the loss is nan."


def test_a_worker_that_was_told_to_leave_says_where_and_frees_its_leases(folder, training, capsys):
    told = Leaving()

    def leave(watch):
        told.status = 143
        raise Left(7)

    training.append(leave)
    with pytest.raises(SystemExit) as status:
        worker.work([folder.path], leaving=told)
    assert status.value.code == 143
    assert "left at step 7" in capsys.readouterr().err
    assert folder.status([UPSTREAM]) == "waiting"
    assert folder.stopped() is None


def test_a_worker_whose_run_hangs_writes_the_attempt_down_and_ends(folder, training, monkeypatch):
    ended = threading.Event()
    statuses = []

    def exit_at_once(status):
        statuses.append(status)
        ended.set()

    def hang(watch):
        watch.phase("train", 3)
        assert ended.wait(30)
        raise SystemExit

    monkeypatch.setattr(worker.os, "_exit", exit_at_once)
    training.append(hang)
    with pytest.raises(SystemExit):
        worker.work([folder.path], ends_itself=True, hang_after=0.2)
    assert statuses == [75]
    assert read_attempts(folder.path).reasons == (
        "it made no step for 0.2 s, and its worker was ended.",
    )


def test_a_worker_that_others_watch_does_not_end_itself(folder, training, monkeypatch):
    monkeypatch.setattr("scaling.training.hanging.HANGS", 0.05)
    monkeypatch.setattr(worker.os, "_exit", lambda status: pytest.fail("ended itself"))

    def pause(watch):
        watch.phase("train", 3)
        time.sleep(0.5)

    training.append(pause)
    assert worker.work([folder.path]) == Ended.DONE


# Several processes of one training


@pytest.fixture
def first_of_two(monkeypatch):
    """This process is the first of two; what it tells the other is returned."""
    told = []
    monkeypatch.setattr(worker.jax, "process_count", lambda: 2)
    monkeypatch.setattr(worker, "agreed_word", told.append)
    return told


def test_the_first_process_tells_the_others_what_to_do(folder, training, first_of_two):
    assert worker.work([folder.path]) == Ended.DONE
    task = Task.model_validate_json(first_of_two[0])
    assert task == Task(run=RUN, evaluate=(UPSTREAM,), missing=(UPSTREAM,))
    assert worker.work([folder.path]) == Ended.DONE
    assert first_of_two[1:] == [worker.DONE, worker.DONE]


def test_the_others_hear_from_the_first_while_it_waits_for_a_lease(
    folder, training, first_of_two, monkeypatch
):
    monkeypatch.setattr(lease, "EXPIRY", 0.2)
    monkeypatch.setattr(lease, "POLL", 0.01)
    (folder.path / "lease").mkdir()
    (folder.path / "lease" / "1.held").write_text(json.dumps({"machine": None}))
    assert worker.work([folder.path]) == Ended.DONE
    assert set(first_of_two[:-2]) == {worker.WAIT}


def test_the_others_wait_train_and_write_nothing(folder, training, monkeypatch):
    task = Task(run=RUN, evaluate=(UPSTREAM,), missing=(UPSTREAM,))
    messages = [worker.WAIT, worker.WAIT, task.model_dump_json(), worker.DONE]
    monkeypatch.setattr(worker.jax, "process_index", lambda: 1)
    monkeypatch.setattr(worker, "agreed_word", lambda _: messages.pop(0))
    trained = []
    training.append(lambda watch: trained.append(watch.phase("train", 1)))
    before = files(folder.path.parent)
    assert worker.work([folder.path, folder.path]) == Ended.DONE
    assert len(trained) == 1
    assert files(folder.path.parent) == before


@pytest.mark.parametrize(
    ("message", "ended"), [(worker.DONE, Ended.DONE), (worker.NOT_DONE, Ended.FAILED)]
)
def test_all_processes_end_with_the_same_status(folder, training, monkeypatch, message, ended):
    """Whether runs were done before, or failed before the others had anything to do."""
    monkeypatch.setattr(worker.jax, "process_index", lambda: 1)
    monkeypatch.setattr(worker, "agreed_word", lambda _: message)
    training.append(lambda watch: pytest.fail("trained"))
    assert worker.work([folder.path]) == ended


def test_all_processes_go_on_after_a_divergence(folder, training, first_of_two):
    def diverge(watch):
        raise Diverged("the loss is nan.", step=1)

    training.append(diverge)
    assert worker.work([folder.path]) == Ended.FAILED
    assert folder.failure() == "the loss is nan."


def test_the_others_do_not_begin_a_run_whose_trunk_has_diverged(folder, training, first_of_two):
    with hold_trunk(TrunkFolder.of(folder, RUN).path) as trunk:
        trunk.diverge(1, "the loss was nan.")
    training.append(lambda watch: pytest.fail("trained"))
    assert worker.work([folder.path]) == Ended.FAILED
    assert first_of_two == [worker.NOT_DONE]
    assert folder.failure() == "the loss was nan."


def test_an_error_of_the_first_process_alone_is_written_down_and_ends_it(
    folder, training, first_of_two
):
    def fail(watch):
        raise ValueError("no such thing.")

    training.append(fail)
    with pytest.raises(SystemExit):
        worker.work([folder.path])
    assert read_attempts(folder.path).reasons == ("ValueError: no such thing.",)


@pytest.mark.slow
def test_two_processes_of_one_training_finish_a_run_and_one_of_them_writes(folder):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    code = (
        "import sys, jax\n"
        "from pathlib import Path\n"
        f"jax.distributed.initialize('localhost:{port}', 2, int(sys.argv[1]))\n"
        "from scaling.worker import Ended, work\n"
        f"sys.exit(work([Path({str(folder.path)!r})]) != Ended.DONE)\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(k)],
            cwd=ROOT,
            env=simulated(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for k in range(2)
    ]
    said = [process.communicate(timeout=600)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    assert folder.is_done([UPSTREAM])
    assert folder.failure() is None
    assert folder.manifest()["device"]["count"] == 2
    assert [path.name for path in (folder.path / "lease").iterdir()] == ["1.free"]


# A device that is full


FULL = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8589934592 bytes. [tf-allocator]"


def test_a_device_that_is_full_is_said_with_the_plans_number_and_the_others_go_on(
    folder, training, capsys, monkeypatch
):
    other = RUN.model_copy(update={"seed": 1})
    second = folder.path.parent / other.id
    write_run_file(second, other, [UPSTREAM], pytest.fail)
    monkeypatch.setattr("scaling.training.metrics.peak_memory", lambda: 3 * 2**30)
    monkeypatch.setattr("scaling.training.metrics.memory_limit", lambda: 10 * 2**30)

    def full(watch):
        watch.phase("train", 1)
        raise jax.errors.JaxRuntimeError(FULL)

    training.append(full)
    assert worker.work([folder.path, second]) == Ended.FAILED
    assert RunFolder(second).is_done([UPSTREAM])
    reason = folder.stopped()
    gib = planned(RUN, DEFAULT, jax.device_count()) / 2**30
    assert reason.startswith("nano ran out of the device's memory: planned ")
    assert f"planned {gib:.3g} GiB a device, measured 3 GiB in use" in reason
    assert "8 GiB more asked for, 10 GiB there." in reason
    for remedy in ("--remat full (", "--microbatches 8 (", "--update fused (", "--fsdp 2 ("):
        assert remedy in reason
    assert reason in capsys.readouterr().err
    assert folder.failure() is None
    assert folder.status([UPSTREAM]) == "waiting"

    assert worker.work([folder.path]) == Ended.DONE  # there is room now
    assert folder.stopped() is None


def test_what_the_devices_cannot_do_stops_a_run_and_does_not_fail_it(folder, training, capsys):
    def impossible(watch):
        raise UserError(["fsdp=2: does not divide 1 device; use fsdp=1."])

    training.append(impossible)
    assert worker.work([folder.path]) == Ended.FAILED
    assert folder.failure() is None
    assert folder.stopped() == "fsdp=2: does not divide 1 device; use fsdp=1."
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "use fsdp=1. Fix this and launch again" in said


def test_what_would_not_help_is_not_proposed():
    fused = PlacementSpec(update="fused", fsdp=2)
    said = out_of_memory(RuntimeError(FULL), RUN, fused, 2)
    assert "--microbatches" not in said
    assert "--remat" not in said
    assert "--fsdp 4" in said


def test_measuring_something_more_keeps_what_the_training_took_and_ran_on(folder, training):
    """A manifest of the process that measured alone would say that all was computed by it."""
    old = {"versions": {"jax": "0.1"}, "device": {"kind": "of long ago"}}
    took = {"seconds_here": 7000.0, "seconds_beside": 60.0, "images_per_second": 12.0}
    with hold_run(folder.path) as held:
        first = measured(SimpleNamespace(missing=[UPSTREAM]))[1]
        held.finish(first, {"flops": 1.0, **old, **took})
    more = Upstream(images=200)
    write_run_file(folder.path, RUN, [more], pytest.fail)
    assert worker.work([folder.path]) == Ended.DONE
    manifest = folder.manifest()
    assert manifest["seconds_here"] >= 7000.0
    assert manifest["seconds_beside"] >= 60.0
    assert manifest["images_per_second"] == 12.0
    assert manifest["earlier"] == [old]
    assert len(folder.results([UPSTREAM, more])) == 4
