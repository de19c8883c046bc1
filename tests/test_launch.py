"""Launching on this machine: kills, failures and damage, with a worker that only pretends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from launched import DIVERGES, PRETEND, STOPS, UPSTREAM, Pretended, a_study, is_alive

from scaling.base.config import digest
from scaling.evaluate import Upstream
from scaling.launch.devices import Machine, cores
from scaling.launch.launch import launch
from scaling.launch.launch_spec import DEFAULT
from scaling.launch.local.launcher import Local
from scaling.launch.progress.events import describe
from scaling.launch.progress.status import show_status
from scaling.runs.run_file import write_run_file
from scaling.runs.run_folder import RunFolder
from scaling.training.recipe import Recipe

# Ends well


def test_a_study_is_done_once_and_launching_again_trains_nothing(place, capfd, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_of_the_user=1")
    study = a_study(0, 1, durations=(640, 1280))
    assert place.launch(study)
    assert place.ended_once(study)
    said = capfd.readouterr().out
    assert "small: 4 of 4 runs done" in said
    assert said.count("upstream_error 0.") == 4
    assert "\x1b" not in said

    begun = place.events("begin")
    assert all(event["cores"] == 1 and event["threads"] == "1" for event in begun)
    flags = "--xla_of_the_user=1 --xla_cpu_multi_thread_eigen=false"
    assert {event["xla"] for event in begun} == {flags}
    assert len({event["pid"] for event in begun}) == 2  # one worker a trunk
    longest = [
        event["run"] for event in begun if event["run"] in (study.runs[0].id, study.runs[1].id)
    ]
    assert longest == [study.runs[0].id, study.runs[1].id]  # in ascending duration

    before = place.results(study)
    assert place.launch(study)
    assert place.events("begin") == begun
    assert place.results(study) == before
    assert "4 of 4 runs done" in capfd.readouterr().out


@pytest.mark.slow
def test_a_longer_study_trains_only_what_it_adds(place):
    place.launch(a_study(0))
    wider = a_study(0, 1)
    assert place.launch(wider)
    assert place.ended_once(wider)


@pytest.mark.slow
def test_an_evaluation_that_is_added_is_measured_and_the_old_one_kept(place):
    study = a_study(0)
    place.launch(study)
    more = study.model_copy(update={"evaluate": (Upstream(images=200),)})
    assert place.launch(more)
    rows = RunFolder(place.runs / study.runs[0].id).results()
    assert {row.evaluation for row in rows} == {digest(UPSTREAM), digest(Upstream(images=200))}


def test_the_worker_is_this_program_itself():
    command = Local().command([Path("runs/a"), Path("runs/b")])
    assert command == [
        *(sys.executable, "-P", "-m", "scaling", "run", "--no-wait"),
        "runs/a",
        "runs/b",
    ]


@pytest.mark.slow
def test_machines_are_told_in_json_lines(place, capfd):
    study = a_study(0, DIVERGES)
    assert not place.launch(study, json_lines=True)
    told = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert all(event["time"] > 1.7e9 for event in told)
    good, failed = study.runs
    assert {event["run"]: event["event"] for event in told if "run" in event} == {
        good.id: "done",
        failed.id: "failed",
    }
    (done,) = (event for event in told if event["event"] == "done")
    assert done["error"].keys() == {"upstream_error"}
    assert told[-1]["event"] == "end"
    assert told[-1]["failed"] == {failed.id: "the loss is nan at step 3: training diverged."}
    assert told[0]["event"] == "progress"
    assert told[0]["runs"] == 2


# Ends badly


def test_a_failed_run_is_named_with_its_reason_and_harms_no_other(place, capfd):
    study = a_study(0, DIVERGES)
    assert not place.launch(study)
    end = capfd.readouterr().out.partition("small: ")[2]
    good, failed = study.runs
    assert "1 of 2 runs done, 1 failed" in end
    assert f"failed: {describe(failed)}: the loss is nan at step 3" in end
    assert "--retry" in end
    assert place.results(study)[good.id]
    assert not (place.runs / failed.id / "results.jsonl").exists()

    assert not place.launch(study)  # named again, but not tried
    assert len(place.events("begin")) == 2
    assert "the loss is nan at step 3" in capfd.readouterr().out

    assert not place.launch(study, retry=True)
    assert [event["run"] for event in place.events("begin")[2:]] == [failed.id]


@pytest.mark.slow
def test_a_run_whose_worker_was_killed_is_tried_again(place):
    study = a_study(0, 1, durations=(640, 1280))
    launcher = place.launcher(study, pause=0.1, stdout=subprocess.PIPE)
    victim = place.wait_for("begin")[0]
    os.kill(victim["pid"], signal.SIGKILL)
    said, _ = launcher.communicate(timeout=60)
    assert launcher.returncode == 0
    killed = next(run for run in study.runs if run.id == victim["run"])
    again = f"tried again: {describe(killed)}: its worker was killed by signal 9"
    assert again in said
    assert place.ended_once(study)


@pytest.mark.slow
def test_a_run_that_kills_its_worker_three_times_is_named_and_harms_no_other(place):
    study = a_study(0, 1)
    victim = study.runs[0]
    launcher = place.launcher(study, pause=0.1, workers=1, stdout=subprocess.PIPE)
    killed = set()
    while len(killed) < 3:
        for event in place.events("begin"):
            if event["run"] == victim.id and event["pid"] not in killed:
                killed.add(event["pid"])
                os.kill(event["pid"], signal.SIGKILL)
        time.sleep(0.02)
    said, _ = launcher.communicate(timeout=60)
    assert launcher.returncode == 1
    end = said.partition("small: ")[2]
    assert "1 of 2 runs done, 1 failed" in end
    assert f"failed: {describe(victim)}: its worker was killed by signal 9" in end
    assert "while at step" in end
    assert "Tried 3 times." in end

    assert not place.launch(study)
    assert place.launch(study, retry=True)
    assert place.ended_once(study)


@pytest.mark.slow
def test_a_worker_that_hangs_is_killed_and_its_run_tried_again(place, capfd):
    """One of two steps takes a minute."""
    study = a_study(0)
    once = place.runs.parent / "hangs"
    once.touch()
    assert place.launch(study, workers=1, pause=0.02, hang_after=10.0, hangs=once)
    assert "its worker made no step for 10 s and was killed" in capfd.readouterr().out
    assert place.ended_once(study)


@pytest.mark.slow
def test_a_worker_that_makes_no_step_for_long_hangs_though_nobody_said_what_is_long(
    place, capfd, monkeypatch
):
    monkeypatch.setattr("scaling.training.hanging.HANGS", 10.0)
    once = place.runs.parent / "hangs"
    once.touch()
    assert place.launch(a_study(0), workers=1, pause=0.02, hangs=once)
    assert "its worker made no step for 10 s and was killed" in capfd.readouterr().out


@pytest.mark.slow
def test_where_no_trunk_is_left_a_worker_trains_on_the_trunk_of_another(place):
    """While the first run cools down, the second is trained from its branch on."""
    study = a_study(0, durations=(640, 1280))
    cooldown = Recipe(warmup_steps=1, cooldown_steps=8)
    runs = tuple(run.model_copy(update={"recipe": cooldown}) for run in study.runs)
    study = study.model_copy(update={"runs": runs})
    assert place.launch(study, pause=1.0)
    assert place.ended_once(study)
    short, long = runs
    events = [(event["event"], event["run"]) for event in place.all_events()]
    assert events == [("begin", short.id), ("begin", long.id), ("end", short.id), ("end", long.id)]
    assert len({event["pid"] for event in place.events("begin")}) == 2


@pytest.mark.slow
def test_nobody_need_read_what_a_launch_says(place):
    study = a_study(0, 1)
    launcher = place.launcher(study, pause=0.02, stdout=subprocess.PIPE)
    launcher.stdout.close()
    assert launcher.wait(60) == 0
    assert place.ended_once(study)


def test_a_launch_does_without_a_folder_of_logs(place):
    study = a_study(0)
    place.runs.mkdir()
    (place.runs / "logs").write_text("no folder")
    assert place.launch(study)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere orphans finish their jobs")
def test_killing_the_launcher_ends_its_workers_and_launching_again_at_once_does_the_rest(place):
    study = a_study(0, 1)
    launcher = place.launcher(study, pause=2.0, stdout=subprocess.DEVNULL)  # 20 s a run
    workers = {event["pid"] for event in place.wait_for("begin", 2)}
    launcher.kill()
    launcher.wait()
    assert place.launch(study)
    assert place.ended_once(study)
    assert workers.isdisjoint(event["pid"] for event in place.events("end"))
    assert not any(is_alive(pid) for pid in workers)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_says_so_and_is_the_exit_status(place, number):
    study = a_study(0, 1)
    launcher = place.launcher(study, pause=1.0, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    workers = {event["pid"] for event in place.wait_for("begin", 2)}
    launcher.send_signal(number)
    said, complaints = launcher.communicate(timeout=60)
    assert launcher.returncode == 128 + number
    assert "0 of 2 runs are done" in said
    assert "launch again to resume" in said
    assert complaints == ""
    assert not any(is_alive(pid) for pid in workers)


@pytest.mark.slow
def test_a_run_left_unfinished_is_named_with_its_reason_and_the_others_of_its_job_go_on(
    place, capfd
):
    study = a_study(STOPS, 0, durations=(640, 1280))
    assert not place.launch(study)
    end = capfd.readouterr().out.partition("small: ")[2]
    stopped = [run for run in study.runs if run.seed == STOPS]
    assert "2 of 4 runs done, 2 unfinished" in end
    for run in stopped:
        assert f"unfinished: {describe(run)}: the device is full." in end
    show_status(study, place.runs)
    said = capfd.readouterr().out
    assert f"waiting: {describe(stopped[0])}: the device is full." in said


@pytest.mark.slow
def test_workers_are_shown_their_own_devices_and_a_free_one_is_given_to_the_next(
    place, monkeypatch
):
    machine = Machine("gpu", ("GPU-a", "GPU-b"), "H100", tuple(cores()))
    monkeypatch.setattr("scaling.launch.local.launcher.find_machine", lambda: machine)
    study = a_study(0, 1, 2, 3)
    assert place.launch(study, workers=None, pause=0.05)
    seen = Counter(event["gpus"] for event in place.events("begin"))
    assert sum(seen.values()) == 4
    assert set(seen) == {"GPU-a", "GPU-b"}
    begun = {event["run"]: event for event in place.events("begin")}
    order = [(e["event"], begun[e["run"]]["gpus"]) for e in place.all_events()]
    for gpu in seen:  # never two at a time on one
        own = [event for event, name in order if name == gpu]
        assert own == ["begin", "end"] * (len(own) // 2)


def test_a_worker_that_cannot_start_is_named_with_its_last_words(place, capfd):
    study = a_study(0)
    broken = [sys.executable, "-c", "raise SystemExit('no such accelerator')"]
    local = Pretended(workers=1).with_command(lambda folders: broken)
    assert not launch(study, place.runs, DEFAULT, local)
    end = capfd.readouterr().out.partition("small: ")[2]
    assert "exit status 1 (no such accelerator), before its first step. Tried 3 times." in end


@pytest.mark.slow
def test_what_another_process_trains_is_waited_for_and_not_trained_twice(place, capfd):
    study = a_study(0)
    place.runs.mkdir()
    path = place.runs / study.runs[0].id
    write_run_file(path, study.runs[0], study.evaluate, pytest.fail)
    with subprocess.Popen(place.command(pause=0.2)([path])):
        place.wait_for("begin")
        assert place.launch(study)
    assert "is being trained by another process" in capfd.readouterr().out
    assert place.ended_once(study)


@pytest.mark.slow
def test_two_launchers_on_one_folder_do_every_run_once_and_both_end_well(place):
    study = a_study(0, 1, durations=(640, 1280))
    both = [place.launcher(study, pause=0.02, stdout=subprocess.PIPE) for _ in range(2)]
    for launcher in both:
        said, _ = launcher.communicate(timeout=60)
        assert launcher.returncode == 0
        assert "small: 4 of 4 runs done" in said
    assert place.ended_once(study)


@pytest.mark.slow
def test_a_study_that_is_being_run_is_widened_by_a_launch_that_joins_in(place, capfd):
    """One run more on the same trunk, and one on a trunk of its own."""
    study = a_study(0, durations=(640, 1280))
    wider = a_study(0, durations=(640, 1280, 1920))
    wider = wider.model_copy(update={"runs": (*wider.runs, *a_study(1).runs)})
    assert len({run.trunk for run in wider.runs}) == 2
    first = place.launcher(study, pause=0.5, workers=1, stdout=subprocess.PIPE)
    (begun, *_) = place.wait_for("begin")
    assert place.launch(wider, pause=0.1)
    assert "small: 4 of 4 runs done" in capfd.readouterr().out
    said, _ = first.communicate(timeout=60)
    assert first.returncode == 0
    assert "small: 2 of 2 runs done" in said

    assert place.ended_once(wider)
    once = Counter({run.id: 1 for run in wider.runs})
    assert Counter(event["run"] for event in place.events("begin")) == once
    events = [(event["event"], event["run"]) for event in place.all_events()]
    added = events.index(("begin", wider.runs[-1].id))
    assert added < events.index(("end", study.runs[-1].id))  # while the first launch was at work
    by = {event["run"]: event["pid"] for event in place.events("begin")}
    assert by[wider.runs[-1].id] != by[begun["run"]]


# Damage


@pytest.mark.slow
def test_damaged_files_are_said_kept_aside_and_their_runs_done_again(place, capfd):
    study = a_study(0, durations=(640, 1280, 1920, 2560))
    assert place.launch(study)
    before = place.results(study)
    torn, garbage, order, _ = (place.runs / run.id for run in study.runs)
    (torn / "results.jsonl").write_bytes((torn / "results.jsonl").read_bytes()[:-7])
    (garbage / "manifest.json").write_bytes(b"\x00\x01garbage")
    (order / "run.json").write_text("{")
    capfd.readouterr()
    assert place.launch(study)
    said = capfd.readouterr().out
    assert f"{torn / 'results.jsonl'} is not what its manifest confirmed" in said
    assert f"{garbage / 'manifest.json'} is not" in said
    assert f"{order / 'run.json'} does not describe a run" in said
    for path in (torn / "results.jsonl", garbage / "manifest.json", order / "run.json"):
        assert path.with_name(path.name + ".damaged-1").exists()
    again = Counter(event["run"] for event in place.events("end"))
    assert [again[run.id] for run in study.runs] == [2, 2, 1, 1]
    assert place.results(study) == before


def test_what_a_worker_notes_reaches_the_person(place, capfd):
    study = a_study(0)
    speak = "import sys; print('noise'); print('note: a checkpoint was set aside')"
    talkative = [sys.executable, "-c", speak]
    launch(study, place.runs, DEFAULT, Pretended(workers=1).with_command(lambda folders: talkative))
    said = capfd.readouterr().out
    assert "a checkpoint was set aside\n" in said
    assert "noise" not in said


def test_launching_and_status_need_no_jax():
    modules = "sys, scaling.launch.local.launcher, scaling.launch.progress.status"
    code = f"import {modules}; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PRETEND.parents[1]).returncode == 0
