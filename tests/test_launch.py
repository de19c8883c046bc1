"""Launching on this machine: kills, failures and damage, with a worker that only pretends."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import PrivateAttr

from models.shapes import ViTShape
from scaling.base.config import digest
from scaling.data import Procedural
from scaling.evaluate import Upstream
from scaling.evaluate.measured import Measured
from scaling.launch import display
from scaling.launch.devices import Machine, cores
from scaling.launch.events import LaunchProgress, describe, duration
from scaling.launch.jobs import Segment, jobs, seconds_until_free
from scaling.launch.launch import launch
from scaling.launch.launch_spec import DEFAULT, LaunchSpec
from scaling.launch.local import Local
from scaling.launch.status import show_status, statuses, time_left
from scaling.launch.tally import Tally
from scaling.launch.time_left import Pace, seconds_left
from scaling.runs.held_run import hold_run
from scaling.runs.run_file import write_run_file
from scaling.runs.run_folder import RunFolder, RunProgress
from scaling.study.study import Study
from scaling.training.recipe import Recipe
from scaling.training.run import Run

PRETEND = Path(__file__).with_name("pretend_worker.py")
DIVERGES, STOPS = 13, 14
UPSTREAM = Upstream(images=100)


def a_run(images_seen=640, seed=0):
    return Run(
        model=ViTShape(name="tiny", patch=4, resolution=16, width=32, depth=1, mlp=64, heads=2),
        data=Procedural(),
        recipe=Recipe(warmup_steps=1),
        images_seen=images_seen,
        batch=64,
        seed=seed,
    )


def a_study(*seeds, durations=(640,)):
    runs = tuple(a_run(images, seed) for seed in seeds for images in durations)
    return Study(name="small", question="Does it end?", runs=runs, evaluate=(UPSTREAM,))


class Pretended(Local):
    """Launches on this machine, with another worker."""

    _command: Any = PrivateAttr(None)

    def with_command(self, command):
        self._command = command
        return self

    def command(self, folders):
        return self._command(folders)


class Place:
    """A runs folder, a pretended worker, and the audit of what it did there."""

    def __init__(self, tmp_path):
        self.runs = tmp_path / "runs"
        self.audit = tmp_path / "audit.jsonl"

    def command(self, pause=0.005, hangs=None):
        return lambda folders: [
            *(sys.executable, str(PRETEND), str(self.audit), f"{pause},{hangs or ''}"),
            *map(str, folders),
        ]

    def launch(self, study, *, workers=2, pause=0.005, hangs=None, **spec):
        """
        Args:
          hangs: a file; the worker that finds it deletes it and hangs.
        """
        local = Pretended(workers=workers).with_command(self.command(pause, hangs))
        return launch(study, self.runs, LaunchSpec(**spec), local)

    def launcher(self, study, *, pause, workers=2, **popen):
        """A launcher in a process of its own.

        It asks for Ctrl-C: a shell's background jobs, and so their children, are born deaf to it.
        """
        code = (
            "import signal\n"
            "import sys\n"
            "from pathlib import Path\n"
            f"sys.path.insert(0, {str(PRETEND.parent)!r})\n"
            "from test_launch import Pretended, launch, DEFAULT\n"
            "from scaling.study.study import Study\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            f"study = Study.model_validate_json({study.model_dump_json()!r})\n"
            f"start = [sys.executable, {str(PRETEND)!r}, {str(self.audit)!r}, {str(pause)!r}]\n"
            "command = lambda folders: start + [str(folder) for folder in folders]\n"
            f"local = Pretended(workers={workers}).with_command(command)\n"
            f"sys.exit(not launch(study, Path({str(self.runs)!r}), DEFAULT, local))\n"
        )
        path = {"PYTHONPATH": str(PRETEND.parents[1])}
        return subprocess.Popen(
            [sys.executable, "-c", code], env={**os.environ, **path}, **{"text": True, **popen}
        )

    def events(self, kind):
        lines = self.audit.read_text().splitlines() if self.audit.exists() else []
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def all_events(self):
        return list(map(json.loads, self.audit.read_text().splitlines()))

    def wait_for(self, kind, count=1):
        deadline = time.monotonic() + 60
        while len(self.events(kind)) < count:
            assert time.monotonic() < deadline, f"waited a minute for {count} times {kind}"
            time.sleep(0.02)
        return self.events(kind)

    def ended_once(self, study):
        counts = Counter(event["run"] for event in self.events("end"))
        return counts == Counter({run.id: 1 for run in study.runs})

    def results(self, study):
        return {run.id: RunFolder(self.runs / run.id).results() for run in study.runs}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PRETEND.parents[1]))
    return Place(tmp_path)


def is_alive(pid):
    """Whether a process is there and not only waits for a slow first process to reap it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


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


def test_a_longer_study_trains_only_what_it_adds(place):
    place.launch(a_study(0))
    wider = a_study(0, 1)
    assert place.launch(wider)
    assert place.ended_once(wider)


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
def test_where_no_trunk_is_left_a_worker_trains_on_the_trunk_of_another(place):
    """While the first run cools down, the second is trained from its branch on."""
    study = a_study(0, durations=(640, 1280))
    cooldown = Recipe(warmup_steps=1, cooldown_steps=8)
    runs = tuple(run.model_copy(update={"recipe": cooldown}) for run in study.runs)
    study = study.model_copy(update={"runs": runs})
    assert place.launch(study, pause=0.5)
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


def test_workers_are_shown_their_own_devices_and_a_free_one_is_given_to_the_next(
    place, monkeypatch
):
    machine = Machine("gpu", ("GPU-a", "GPU-b"), "H100", tuple(cores()))
    monkeypatch.setattr("scaling.launch.local.find_machine", lambda: machine)
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


def test_two_launchers_on_one_folder_do_every_run_once_and_both_end_well(place):
    study = a_study(0, 1, durations=(640, 1280))
    both = [place.launcher(study, pause=0.02, stdout=subprocess.PIPE) for _ in range(2)]
    for launcher in both:
        said, _ = launcher.communicate(timeout=60)
        assert launcher.returncode == 0
        assert "small: 4 of 4 runs done" in said
    assert place.ended_once(study)


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


# Jobs


def test_runs_that_share_a_trunk_make_a_job_in_ascending_duration():
    runs = [a_run(images, seed) for images in (1280, 640) for seed in (0, 1)]
    found = jobs(runs, {run.id for run in runs})
    assert [[s.run.images_seen for s in job.segments] for job in found] == [[640, 1280]] * 2
    assert {job.trunk for job in found} == {run.trunk for run in runs}


def test_a_job_costs_its_trunk_once_and_every_cooldown():
    short, long = a_run(640), a_run(1280)  # 10 and 20 steps, cooldowns of 2 and 4
    (job,) = jobs([short, long], {short.id, long.id})
    assert [s.start for s in job.segments] == [0, 8]
    assert job.flops == pytest.approx(short.flops * (10 + 20 - 8) / 10)


def test_a_run_that_is_done_leaves_its_trunk_to_the_longer_ones():
    short, long = a_run(640), a_run(1280)
    (job,) = jobs([short, long], {long.id})
    assert [(s.run, s.start) for s in job.segments] == [(long, 8)]


def test_the_longest_job_comes_first_and_finished_ones_not_at_all():
    runs = [a_run(640, 0), a_run(1280, 1), a_run(1920, 2)]
    found = jobs(runs, {runs[0].id, runs[1].id})
    assert [job.segments[0].run.seed for job in found] == [1, 0]


def test_a_segment_is_done_in_proportion_to_its_own_steps():
    segment = Segment(a_run(1280), start=8)
    assert [segment.flops_done(step) / segment.flops for step in (0, 8, 14, 20)] == [0, 0, 0.5, 1]


@pytest.mark.parametrize(
    ("busy", "queued", "workers", "expected"),
    [
        ([5.0], [], 1, 5.0),
        ([5.0, 2.0], [], 2, 5.0),
        ([5.0, 2.0], [4.0], 2, 6.0),  # the freed worker takes the third job
        ([], [3.0, 2.0, 1.0], 2, 3.0),
        ([0.5], [3.0], 4, 3.0),
    ],
)
def test_the_time_left_is_that_of_the_last_worker_to_finish(busy, queued, workers, expected):
    assert seconds_until_free(busy, queued, workers) == expected


def pace(step=0, images_per_second=None, beside=None, at_work=False):
    return Pace(step, images_per_second, beside, at_work)


def test_no_time_left_is_said_before_a_pace_was_measured_after_compilation():
    run = a_run()
    job = jobs([run], {run.id})
    assert seconds_left(job, {run.id: pace(at_work=True)}, []) is None
    assert seconds_left(job, {run.id: pace(1, 64.0, at_work=True)}, []) == pytest.approx(9)


def test_runs_that_wait_are_given_the_pace_of_those_at_work_and_what_others_took_beside():
    done, busy, waiting = (a_run(seed=seed) for seed in range(3))
    todo = jobs([busy, waiting], {busy.id, waiting.id})
    paces = {busy.id: pace(5, 64.0, at_work=True), waiting.id: pace()}
    (finished,) = jobs([done], {done.id})
    beside = [(finished.segments[0], pace(images_per_second=1.0, beside=3.0))]
    assert seconds_left(todo, paces, []) == pytest.approx(5 + 10)
    assert seconds_left(todo, paces, beside) == pytest.approx(5 + 3 + 10 + 3)


def test_while_all_compile_the_pace_is_that_of_runs_that_are_done():
    done, busy = a_run(seed=0), a_run(seed=1)
    (finished,) = jobs([done], {done.id})
    before = [(finished.segments[0], pace(images_per_second=128.0))]
    left = seconds_left(jobs([busy], {busy.id}), {busy.id: pace(at_work=True)}, before)
    assert left == pytest.approx(5)


# What is shown


def report(**changes):
    fields = {"step": 5, "steps": 10, "phase": "train", "phase_began": 0.0, "pid": 1, "host": ""}
    return RunProgress(**(fields | changes))


def test_a_worker_that_compiles_says_for_how_long():
    compiling = report(phase="compile", phase_began=1000.0)
    assert display.doing(compiling, now=1074.9) == "compiling, 1:14"
    assert display.doing(compiling, now=990.0) == "compiling, 0:00"  # by another clock
    assert display.doing(report(), now=1074.9) == "train"


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


def test_the_live_table_has_a_line_a_worker_and_one_for_the_whole():
    from rich.console import Console
    from rich.live import Live

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
        busy=((a_run(), progress), (a_run(seed=1), None)),
    )
    with Live(console=console, auto_refresh=False) as live:
        display.LiveTable(live).update(launch)
    shown = screen.getvalue()
    assert "5/10" in shown
    assert "1_234" in shown
    assert "0.5123" in shown
    assert "0.25" in shown
    assert "MFU" not in shown  # nobody knows it here
    assert "starting" in shown
    assert "25 %  1 of 4 runs done; about 90 s left" in shown


def test_plain_lines_come_twice_a_minute(capfd, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("scaling.launch.display.time.monotonic", lambda: clock[0])
    plain = display.PlainLines()
    progress = report(images_per_second=64.0, loss=0.5, mfu=0.412, memory_bytes=3 * 2**30)
    launch = LaunchProgress(
        runs=4,
        done=1,
        failed=1,
        flops=8.0,
        flops_done=2.0,
        seconds_left=240.0,
        busy=((a_run(), progress),),
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


def test_launching_and_status_need_no_jax():
    code = "import sys, scaling.launch.local, scaling.launch.status; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PRETEND.parents[1]).returncode == 0
