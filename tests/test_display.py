"""What a launch and `scaling status` show of runs at work."""

import contextlib
import io
import os
import pty
import re
import subprocess
import time
from types import SimpleNamespace

import pytest
from launched import UPSTREAM, a_run, a_study

from scaling.evaluate.measured import Measured
from scaling.launch.devices import Slot
from scaling.launch.jobs import jobs
from scaling.launch.local.pool import Pool
from scaling.launch.progress import display
from scaling.launch.progress.events import AtWork, LaunchProgress, describe, duration
from scaling.launch.progress.status import show_status, statuses, time_left
from scaling.launch.progress.tally import Tally
from scaling.runs.held_run import hold_run
from scaling.runs.run_file import write_run_file
from scaling.runs.run_folder import RunFolder, RunProgress

CORE = Slot(number=0, devices=(), cores=(0,), environment={})

# What is shown


def report(**changes):
    fields = {"step": 5, "steps": 10, "phase": "train", "phase_began": 0.0, "pid": 1, "host": ""}
    return RunProgress(**(fields | changes))


def test_a_worker_that_compiles_says_for_how_long():
    compiling = report(phase="compile", phase_began=1000.0)
    assert display.doing(compiling, now=1074.9) == "compiling, 1:14"
    assert display.doing(compiling, now=990.0) == "compiling, 0:00"  # by another clock
    assert display.doing(report(), now=1074.9) == "train"


def test_a_worker_that_makes_no_step_says_what_it_does_instead_and_for_how_long():
    checking, measuring = (report(phase=name, phase_began=10.0) for name in ("check", "evaluate"))
    assert display.doing(checking, now=195.0) == "checking images, 3:05"
    assert display.doing(measuring, now=195.0) == "evaluating, 3:05"
    tuning = report(phase="finetune nano on pets 120 of 500", phase_began=10.0)
    assert display.doing(tuning, now=195.0) == "finetune nano on pets 120 of 500"


def test_a_launch_whose_runs_others_are_at_says_so_and_how_far_they_are(place):
    study = a_study(0)
    write_run_file(place.runs / study.runs[0].id, study.runs[0], study.evaluate, pytest.fail)
    shown = []
    screen = SimpleNamespace(update=shown.append, tell=print, say=print)
    with hold_run(place.runs / study.runs[0].id) as held:
        held.report(step=1, steps=10, phase="train", pace=0.64)
        looks = {study.runs[0].id: RunFolder(held.path).look(study.evaluate)}
        todo = jobs(study.runs, {study.runs[0].id})
        tally = Tally(study, place.runs, todo, looks=looks, tell=print)
        held.report(step=5, steps=10, phase="cooldown", pace=0.64)
        pool = Pool(tally, slots=[CORE], command=pytest.fail, screen=screen, idle_for=1.0)
        pool.work()
    last = shown[-1]
    assert last.busy == ()
    assert last.flops_done == pytest.approx(last.flops / 2)
    assert re.fullmatch(
        r"0 of 1 runs done; waits for other processes, 0:0\d; about 8 min left",
        display.in_words(last),
    )
    assert last.as_json()["waits_for"] == "other processes"


def test_of_many_runs_at_work_some_are_looked_at_each_time_and_one_that_ended_is_soon_seen(
    place, monkeypatch
):
    monkeypatch.setattr("scaling.launch.progress.tally.AT_LEAST", 1)
    study = a_study(*range(6))
    folders = [RunFolder(place.runs / run.id) for run in study.runs]
    for run, folder in zip(study.runs, folders, strict=True):
        write_run_file(folder.path, run, study.evaluate, pytest.fail)
    ended = []
    with contextlib.ExitStack() as leases:
        held = {each.id: leases.enter_context(hold_run(each.path)) for each in folders[:4]}
        for each in held.values():
            each.report(step=1, steps=10, phase="train", pace=64.0)
        looks = {each.id: each.look(study.evaluate) for each in folders}
        queue = jobs(study.runs, set(looks))
        tally = Tally(study, place.runs, queue, looks=looks, tell=ended.append)
        assert len(tally.progress().busy) == 4
        for each in held.values():
            each.report(step=5, steps=10, phase="evaluate", pace=64.0)
        looked_at = [sum(at.progress.step == 5 for at in tally.progress().busy) for _ in range(4)]
        assert looked_at == [1, 2, 3, 4]
    with hold_run(folders[2].path) as gone:
        gone.fail("the loss is nan at step 7.")
    for _ in range(4):
        last = tally.progress()
    assert [event.what for event in ended] == ["failed"]
    assert (last.busy, last.failed) == ((), 1)


def test_a_narrow_screen_shows_fewer_columns_and_cuts_no_number():
    from rich.console import Console
    from rich.live import Live

    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=60, color_system=None)
    numbers = {"images_per_second": 14641.0, "loss": 1.896, "gradient_norm": 6.22, "mfu": 0.41}
    progress = report(step=13_103, steps=40_000, **numbers)
    busy = (AtWork(a_run(images_seen=2_560_000), progress),)
    launch = LaunchProgress(
        runs=1, done=0, failed=0, flops=8.0, flops_done=2.0, seconds_left=None, busy=busy
    )
    with Live(console=console, auto_refresh=False) as live:
        display.LiveTable(live).update(launch)
    shown = screen.getvalue()
    assert "…" not in shown
    assert "gradient" not in shown
    for words in ("2_560_000", "13_103/40_000", "14_641", "train"):
        assert words in shown


@pytest.mark.slow
def test_launch_and_status_say_the_same_time_left(place):
    """While one run is at work, one is done and one waits."""
    study = a_study(0, 1, 2)
    launcher = place.launcher(study, pause=0.3, workers=1, stdout=subprocess.DEVNULL)
    try:
        place.wait_for("begin", 2)
        time.sleep(1.5)
        found = statuses(study, place.runs)
        looks = {run.id: RunFolder(place.runs / run.id).look(study.evaluate) for run in study.runs}
        todo = jobs(study.runs, {s.run.id for s in found if s.state != "done"})
        tally = Tally(study, place.runs, todo, looks=looks, tell=print)
        assert tally.seconds_left() == pytest.approx(time_left(found), abs=0.5)
        assert time_left(found) > 1
    finally:
        launcher.kill()
        launcher.wait()


def test_status_tells_every_state_without_escape_codes(place, capfd):
    study = a_study(0, 1, 2, 3)
    done, failed, running, waiting = (RunFolder(place.runs / run.id) for run in study.runs)
    for run in study.runs:
        write_run_file(place.runs / run.id, run, study.evaluate, pytest.fail)
    values = zip(UPSTREAM.metrics, (2.0, 0.125), strict=True)
    measured = [Measured(name, value, 100) for name, value in values]
    with hold_run(done.path) as held:
        held.finish([(UPSTREAM, measured)], {"seconds_here": 7})
    with hold_run(failed.path) as held:
        held.fail("the loss is nan at step 3.")
    with hold_run(running.path) as held:
        held.report(step=5, steps=10, phase="train", images_per_second=99.0, pace=64.0)
        assert [status.state for status in statuses(study, place.runs)] == [
            *("done", "failed", "running", "waiting")
        ]
        show_status(study, place.runs)
    said = capfd.readouterr().out
    assert "\x1b" not in said
    rows = {line.split()[0]: line.split() for line in said.splitlines()}
    assert rows[done.id][1:] == ["tiny", "all", "640", "0", "done", "0.1250", "7.0"]
    assert rows[running.id][-3:] == ["running", "50", "%"]
    assert rows[waiting.id][-1] == "waiting"
    assert "1 of 4 runs done, 1 running, 1 failed, 1 waiting, 7 s of training" in said
    assert "running: tiny, 640 images: train, step 5 of 10, 99 images/s, about 5 s left" in said
    assert "about 15 s left" in said  # 5 and 10 steps of 64 images at 64 images a second
    assert f"failed: {describe(study.runs[1])}: the loss is nan at step 3." in said


def test_status_says_damage_and_changes_nothing(place, capfd):
    study = a_study(0)
    assert place.launch(study)
    (place.runs / study.runs[0].id / "manifest.json").write_text("?")
    before = sorted(place.runs.rglob("*"))
    capfd.readouterr()
    show_status(study, place.runs)
    assert "manifest.json is not what was written there" in capfd.readouterr().out
    assert sorted(place.runs.rglob("*")) == before


def test_status_of_a_study_never_launched_makes_no_folder(place, capfd):
    show_status(a_study(0), place.runs)
    assert "0 of 1 runs done, 1 waiting" in capfd.readouterr().out
    assert not place.runs.exists()


@pytest.mark.slow
def test_a_terminal_gets_a_live_table_and_keeps_the_lines(place, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    study = a_study(0)
    ours, theirs = pty.openpty()
    launcher = place.launcher(study, pause=0.1, stdout=theirs)
    os.close(theirs)
    shown = b""
    try:
        while block := os.read(ours, 4096):
            shown += block
    except OSError:  # how Linux says that the last writer has gone
        pass
    os.close(ours)
    assert launcher.wait() == 0
    assert b"\x1b[" in shown
    assert "░".encode() in shown
    assert f"done: {describe(study.runs[0])}".encode() in shown
    assert "small: 1 of 1 runs done" in shown.decode().rstrip().splitlines()[-1]


def test_the_live_table_has_a_line_a_worker_and_one_for_the_whole(monkeypatch):
    from rich.console import Console
    from rich.live import Live

    monkeypatch.setattr("scaling.launch.progress.display.time.time", lambda: 1_007.0)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    progress = report(images_per_second=1234.0, loss=0.51234, gradient_norm=0.25)
    launch = LaunchProgress(
        runs=4,
        done=1,
        failed=0,
        flops=8.0,
        flops_done=2.0,
        seconds_left=90.0,
        busy=(AtWork(a_run(), progress), AtWork(a_run(seed=1), None, began=1_000.0)),
    )
    with Live(console=console, auto_refresh=False) as live:
        display.LiveTable(live).update(launch)
    shown = screen.getvalue()
    assert "5/10" in shown
    assert "1_234" in shown
    assert "0.5123" in shown
    assert "0.25" in shown
    assert "MFU" not in shown  # nobody knows it here
    assert "starting, 0:07" in shown
    assert "25 %  1 of 4 runs done; about 90 s left" in shown


def test_plain_lines_come_twice_a_minute(capfd, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("scaling.launch.progress.display.time.monotonic", lambda: clock[0])
    plain = display.PlainLines()
    progress = report(images_per_second=64.0, loss=0.5, mfu=0.412, memory_bytes=3 * 2**30)
    launch = LaunchProgress(
        runs=4,
        done=1,
        failed=1,
        flops=8.0,
        flops_done=2.0,
        seconds_left=240.0,
        busy=(AtWork(a_run(), progress),),
    )
    for clock[0] in (1.0, 29.0, 30.0, 31.0, 60.0):
        plain.update(launch)
    line = (
        "1 of 4 runs done, 1 failed; tiny, 640 images, train, step 5 of 10, loss 0.5, "
        "64 images/s, MFU 41.2%, 3 GiB"
    )
    assert capfd.readouterr().out == f"{line}; about 4 min left\n" * 2


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59, "59 s"), (300, "5 min"), (9000, "2.5 h"), (4e5, "4.6 days")],
)
def test_durations_are_told_in_words(seconds, words):
    assert duration(seconds) == words
