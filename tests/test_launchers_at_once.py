"""Launchers that share a folder, one of which is killed, hangs, or has another hour than the rest.

The workers only pretend to train: what each began and ended stands in an audit.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from launched import Place, a_study

from scaling.report.report import collect

ELSEWHERE = Path(__file__).with_name("elsewhere.py")
HOUR = 3600
STUDY = a_study(0, 1, 2, durations=(640, 1280))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="workers outlive a killed launcher here"),
]


class Shared(Place):
    """A folder of runs, and launchers of several machines that share it."""

    def launcher_of(self, machine, ahead=0, pause=0.1):
        text = self.runs.parent / "study.json"
        text.write_text(STUDY.model_dump_json())
        words = [machine, ahead, "launch", text, self.runs, self.audit, pause]
        return subprocess.Popen(
            [sys.executable, str(ELSEWHERE), *map(str, words)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def worker_of(self, launcher):
        """The process id of its worker, once that has begun a run."""
        children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            begun = {event["pid"] for event in self.events("begin")}
            if found := begun.intersection(map(int, children.read_text().split())):
                return found.pop()
            time.sleep(0.02)
        raise AssertionError("its worker began nothing within a minute")

    def tables(self, name="out"):
        collect(STUDY, self.runs, self.runs.parent / name)
        out = self.runs.parent / name
        return [(out / f"small.{end}").read_bytes() for end in ("csv", "parquet")]


@pytest.fixture
def shared(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ELSEWHERE.parents[1]))
    return Shared(tmp_path)


@pytest.fixture
def wanted(tmp_path, shared):
    """The tables of a launch that nobody disturbs."""
    quiet = Shared(tmp_path / "quiet")
    quiet.runs.parent.mkdir()
    assert quiet.launch(STUDY)
    return quiet.tables()


@pytest.mark.parametrize(
    ("count", "whole", "ahead"),
    [(2, True, 0), (3, False, HOUR)],
    ids=["one of two with its workers", "one of three alone, clocks an hour apart"],
)
def test_a_killed_launcher_costs_what_its_worker_was_at_and_nothing_else(
    shared, wanted, count, whole, ahead
):
    """The others, on other machines, take over when the heartbeat has stood still."""
    clocks = [0, ahead, -ahead][:count]
    launchers = [shared.launcher_of(f"m{k}", clock, 0.4) for k, clock in enumerate(clocks)]
    killed, *others = launchers
    worker = shared.worker_of(killed)
    if whole:
        os.killpg(killed.pid, signal.SIGKILL)
    else:
        killed.kill()
    killed.wait()
    for launcher in others:
        said, _ = launcher.communicate(timeout=120)
        assert launcher.returncode == 0, said
    killed.stdout.close()
    assert shared.ended_once(STUDY)
    begun = Counter(event["run"] for event in shared.events("begin"))
    again = [run for run, times in begun.items() if times > 1]
    at = [event["run"] for event in shared.events("begin") if event["pid"] == worker]
    assert again in ([], [at[-1]])  # the run that the killed worker was at, if it was at one
    assert max(begun.values()) <= 2
    assert shared.tables() == wanted


def test_a_worker_that_hangs_is_replaced_and_writes_nothing_when_it_wakes_up(shared, wanted):
    hanging = shared.launcher_of("m0")
    worker = shared.worker_of(hanging)
    os.kill(worker, signal.SIGSTOP)
    other = shared.launcher_of("m1", HOUR)
    said, _ = other.communicate(timeout=120)
    assert other.returncode == 0, said
    before = files(shared.runs)
    os.kill(worker, signal.SIGCONT)
    said, _ = hanging.communicate(timeout=120)
    assert hanging.returncode == 0, said
    assert files(shared.runs) == before
    assert shared.ended_once(STUDY)
    assert shared.tables() == wanted


def files(runs):
    """All but leases and logs, by their paths."""
    return {
        path: path.read_bytes()
        for path in runs.rglob("*")
        if path.is_file() and not {"lease", "logs"}.intersection(path.parts)
    }


@pytest.mark.parametrize("back", [True, False], ids=["comes back", "is gone"])
def test_a_folder_that_vanishes_ends_a_launch_in_words_and_the_next_one_does_the_rest(
    shared, wanted, back
):
    launcher = shared.launcher_of("m0")
    shared.worker_of(launcher)
    away = shared.runs.with_name("away")
    shared.runs.rename(away)
    time.sleep(2)
    if back and not shared.runs.exists():
        away.rename(shared.runs)
    said, _ = launcher.communicate(timeout=120)
    assert "Traceback" not in said
    assert launcher.returncode in (0, 1)
    assert shared.launch(STUDY)
    assert shared.tables() == wanted
