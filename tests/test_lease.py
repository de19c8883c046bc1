"""Leases: who may write, who takes over, and what happens to a holder that comes too late."""

import contextlib
import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from models.shapes import ViTShape
from scaling.data.procedural.source import Procedural
from scaling.evaluate import Upstream
from scaling.evaluate.measured import Measured
from scaling.runs import lease
from scaling.runs.held_run import hold_run
from scaling.runs.lease import LeaseLost, hold, hold_if_free, is_held
from scaling.runs.run_file import write_run_file
from scaling.runs.run_folder import RunFolder
from scaling.runs.trunk_folder import hold_trunk
from scaling.training.recipe import Recipe
from scaling.training.run import Run

ROOT = Path(__file__).resolve().parents[1]
UPSTREAM = Upstream(images=100)
RUN = Run(
    model=ViTShape(name="tiny", patch=4, resolution=16, width=32, depth=1, mlp=64, heads=2),
    data=Procedural(),
    recipe=Recipe(warmup_steps=1),
    images_seen=640,
    batch=64,
)
ELSEWHERE = {"host": "elsewhere", "pid": 1, "machine": None, "started": None}


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT", 0.02)
    monkeypatch.setattr(lease, "EXPIRY", 0.3)
    monkeypatch.setattr(lease, "POLL", 0.01)


@pytest.fixture
def suspended(monkeypatch):
    """Holders show no sign of life, as when they are suspended or cut off from the folder."""
    monkeypatch.setattr(lease, "HEARTBEAT", 1e6)
    monkeypatch.setattr(lease, "EXPIRY", 0.1)
    monkeypatch.setattr(lease, "POLL", 0.01)


def held_elsewhere(folder, number=1):
    """A lease that a process on another machine holds."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number}.held"
    path.write_text(json.dumps(ELSEWHERE))
    return path


def python(code, **popen):
    head = "import os, sys, time\nfrom pathlib import Path\nfrom scaling.runs import lease\n"
    return subprocess.Popen([sys.executable, "-c", head + code], cwd=ROOT, text=True, **popen)


def wait_until(true):
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Taking and giving back


def test_a_mark_that_a_full_disk_left_half_is_undone_and_the_disk_is_named(tmp_path, monkeypatch):
    """Else others would wait until it expires, and its holder be told no file."""

    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    def opened(handle, *_, **__):
        os.close(handle)
        return Full()

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdopen", opened)
        with pytest.raises(OSError, match=r"'.*1\.held'"), hold_if_free(tmp_path / "lease"):
            pytest.fail("nobody holds it")
    assert list((tmp_path / "lease").iterdir()) == []
    with hold_if_free(tmp_path / "lease") as held:
        assert held is not None


def test_each_holder_has_a_higher_number_than_the_one_before(tmp_path):
    numbers = []
    for _ in range(3):
        with hold(tmp_path / "lease") as held:
            held.check()
            numbers.append(held.number)
            assert [path.name for path in (tmp_path / "lease").iterdir()] == [f"{held.number}.held"]
    assert numbers == [1, 2, 3]
    assert [path.name for path in (tmp_path / "lease").iterdir()] == ["3.free"]


def test_a_lease_is_given_back_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), hold(tmp_path):
        raise RuntimeError
    with hold_if_free(tmp_path) as held:
        assert held is not None


def test_a_lease_that_is_held_is_not_free(tmp_path):
    with hold(tmp_path) as held, hold_if_free(tmp_path) as second:
        assert second is None
        held.check()


def test_looking_at_a_lease_that_never_was_leaves_nothing(tmp_path):
    assert not is_held(tmp_path / "lease")
    assert not (tmp_path / "lease").exists()


def test_a_lease_names_its_holder_for_a_person(tmp_path):
    with hold(tmp_path):
        holder = json.loads((tmp_path / "1.held").read_text())
    assert holder["pid"] == os.getpid()
    assert holder["host"]


@pytest.mark.parametrize("there", ["6.free", "7.free", "7.held"])
def test_who_takes_a_number_too_late_does_not_get_it_and_leaves_nothing(tmp_path, there):
    (tmp_path / there).write_text("{}")
    assert lease._claim(tmp_path, 6) is None
    assert [path.name for path in tmp_path.iterdir()] == [there]


def test_of_many_processes_one_at_a_time_holds_the_lease(tmp_path):
    (tmp_path / "count").write_text("0")
    code = (
        "lease.POLL = 0.005\n"
        f"count = Path({str(tmp_path / 'count')!r})\n"
        "for _ in range(20):\n"
        f"    with lease.hold(Path({str(tmp_path / 'lease')!r})) as held:\n"
        "        before = int(count.read_text())\n"
        "        time.sleep(0.001)\n"
        "        held.check()\n"
        "        count.write_text(str(before + 1))\n"
    )
    processes = [python(code) for _ in range(3)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "60"
    assert [path.name for path in (tmp_path / "lease").iterdir()] == ["60.free"]


# Taking over


def test_a_lease_without_a_heartbeat_is_taken_over_after_its_expiry(tmp_path, quick):
    held_elsewhere(tmp_path)
    with hold_if_free(tmp_path) as mine:
        assert mine is None
    began = time.monotonic()
    with hold(tmp_path) as mine:
        assert time.monotonic() - began >= lease.EXPIRY
        assert mine.number == 2


@pytest.mark.parametrize("first", [0, 2**62], ids=["clock-behind", "clock-ahead"])
def test_a_heart_that_beats_by_another_clock_is_not_taken_for_dead(tmp_path, quick, first):
    path, ended = held_elsewhere(tmp_path), threading.Event()

    def beat():
        for tick in range(10**6):
            os.utime(path, ns=(first + tick * 10**7,) * 2)
            if ended.wait(0.02):
                return

    heart, looks = threading.Thread(target=beat), []

    def waiting():
        looks.append(time.monotonic())
        if looks[-1] - looks[0] > 3 * lease.EXPIRY:
            raise InterruptedError

    heart.start()
    try:
        with pytest.raises(InterruptedError), hold(tmp_path, waiting):
            pass
    finally:
        ended.set()
        heart.join()


def test_a_live_holder_is_not_robbed(tmp_path, quick):
    looks = []

    def waiting():
        looks.append(time.monotonic())
        if looks[-1] - looks[0] > 3 * lease.EXPIRY:
            raise InterruptedError

    with hold(tmp_path) as held:
        with pytest.raises(InterruptedError), hold(tmp_path, waiting):
            pass
        held.check()


def test_a_holder_of_this_machine_that_was_killed_is_not_waited_for(tmp_path):
    code = (
        f"with lease.hold(Path({str(tmp_path / 'lease')!r})):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    with python(code, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == "held\n"
        assert is_held(tmp_path / "lease")
        holder.kill()
        wait_until(lambda: not is_held(tmp_path / "lease"))
        began = time.monotonic()
        with hold(tmp_path / "lease") as mine:
            assert mine.number == 2
        assert time.monotonic() - began < lease.EXPIRY / 2


def test_a_process_id_that_was_given_out_again_is_another_process(tmp_path):
    with hold(tmp_path):
        holder = json.loads((tmp_path / "1.held").read_text())
        if holder["machine"] is None:
            pytest.skip("this system does not tell when a process began")
        holder["started"] = "1"
        (tmp_path / "1.held").write_text(json.dumps(holder))
        assert not is_held(tmp_path)
        with hold_if_free(tmp_path) as mine:
            assert mine is not None


def test_who_cannot_wait_believes_a_recent_heartbeat_from_elsewhere(tmp_path):
    path = held_elsewhere(tmp_path)
    assert is_held(tmp_path)
    old = time.time() - 2 * lease.PRESUMED
    os.utime(path, (old, old))
    assert not is_held(tmp_path)


def test_a_holder_that_has_not_yet_said_who_it_is_counts_as_one(tmp_path):
    (tmp_path / "1.held").write_text("")
    with hold_if_free(tmp_path) as mine:
        assert mine is None


# Coming too late


@contextlib.contextmanager
def taken_over(path):
    """A run's folder that its holder believes to hold, while another has taken over."""
    write_run_file(path, RUN, [UPSTREAM], pytest.fail)
    with hold_run(path) as stale, hold_run(path) as mine:
        mine.check()
        yield stale


def finish(folder):
    folder.finish([(UPSTREAM, [Measured(name, 0.5, 100) for name in UPSTREAM.metrics])], {})


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(finish, id="results"),
        pytest.param(lambda folder: folder.fail("no memory."), id="failure"),
        pytest.param(lambda folder: folder.clear_failure(), id="clearing"),
        pytest.param(lambda folder: folder.report(step=1, steps=2, phase="train"), id="progress"),
        pytest.param(lambda folder: folder.repair(pytest.fail), id="repair"),
    ],
)
def test_who_lost_the_lease_of_a_run_changes_nothing_in_its_folder(tmp_path, suspended, write):
    with taken_over(tmp_path / RUN.id) as stale:
        (stale.path / "results.jsonl").write_text("torn")
        (stale.path / "failed.txt").write_text("before")

        def files():
            return {
                path.relative_to(stale.path): path.read_bytes()
                for path in stale.path.rglob("*")
                if path.is_file()
            }

        before = files()
        with pytest.raises(LeaseLost, match="another process has taken over"):
            write(stale)
        assert files() == before


def test_who_lost_the_lease_of_a_trunk_remembers_no_divergence(tmp_path, suspended):
    with hold_trunk(tmp_path) as stale, hold_trunk(tmp_path):
        with pytest.raises(LeaseLost):
            stale.diverge(3, "the loss is nan.")
        assert stale.divergence(3) is None


def test_giving_back_a_lost_lease_leaves_the_new_holder_alone(tmp_path, suspended):
    with contextlib.ExitStack() as stack:
        with hold(tmp_path):
            mine = stack.enter_context(hold(tmp_path))
        mine.check()
        assert [path.name for path in tmp_path.iterdir()] == ["2.held"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be suspended here")
def test_a_process_that_wakes_up_after_its_lease_was_taken_over_writes_nothing(tmp_path, quick):
    path = tmp_path / RUN.id
    write_run_file(path, RUN, [UPSTREAM], pytest.fail)
    code = (
        "from scaling.runs.held_run import hold_run\n"
        "lease.HEARTBEAT = 0.02\n"
        f"with hold_run(Path({str(path)!r})) as folder:\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    try:\n"
        "        folder.fail('written too late')\n"
        "    except lease.LeaseLost as lost:\n"
        "        print(lost, flush=True)\n"
    )
    with python(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sleeper:
        assert sleeper.stdout.readline() == "held\n"
        os.kill(sleeper.pid, signal.SIGSTOP)
        with hold_run(path) as mine:
            os.kill(sleeper.pid, signal.SIGCONT)
            said, _ = sleeper.communicate("\n", timeout=60)
            mine.check()
        assert "another process has taken over" in said
    assert RunFolder(path).failure() is None
