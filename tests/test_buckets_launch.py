"""Studies whose runs lie in a bucket end as those on a disk do, with the same tables."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path

import pytest
from s3_server import BUCKET, Server, environment, make_bucket

ROOT = Path(__file__).resolve().parents[1]
PRETEND = Path(__file__).with_name("pretend_worker.py")
SMALL = """
name = "small"
question = "Does it end in a bucket too?"
compute = "float32"

[data]
kind = "procedural"
heldout_size = 100

[recipe]
warmup_steps = 1

[models.a]
patch = 4
width = 8
depth = 1
mlp = 32
heads = 1

[models.b]
patch = 4
width = 16
depth = 1
mlp = 64
heads = 2

[[evaluate]]
kind = "upstream"
images = 100

[[grid]]
model = ["a", "b"]
images_seen = [1920, 3840]
batch = 64

[checkpoints]
every_steps = 10
"""


@pytest.fixture
def runs():
    """A name of its own for each test: what moto holds outlives a server."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture
def server(monkeypatch):
    with Server().running() as server:
        for name, value in environment(server).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        make_bucket()
        yield server


def python(code, *arguments, **popen):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], text=True, **popen)


def scaling(*arguments, **popen):
    command = [sys.executable, "-m", "scaling", *map(str, arguments)]
    return subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **popen
    )


def say(*arguments):
    """What a command says, and complains of, and its exit status."""
    process = scaling(*arguments)
    printed, complaints = process.communicate(timeout=300)
    return process.returncode, printed, complaints


LAUNCH = """
import sys
from scaling.base.storage import place
from scaling.launch.local import Local
from scaling.study.parse import read_study
study, runs, audit, worker = sys.argv[1:]
command = lambda folders: [sys.executable, worker, audit, "0.005", *map(str, folders)]
sys.exit(not Local(workers=1).launch(read_study(study), place(runs), command=command))
"""


@pytest.mark.slow
def test_two_launches_on_one_bucket_do_every_run_once_and_both_end_well(server, tmp_path, runs):
    study = tmp_path / "small.toml"
    study.write_text(SMALL)
    audit = tmp_path / "audit.jsonl"
    both = [python(LAUNCH, study, runs, audit, PRETEND) for _ in range(2)]
    assert [launch.wait(timeout=300) for launch in both] == [0, 0]
    events = list(map(json.loads, audit.read_text().splitlines()))
    ended = Counter(event["run"] for event in events if event["event"] == "end")
    begun = Counter(event["run"] for event in events if event["event"] == "begin")
    assert ended == begun
    assert set(ended.values()) == {1}
    assert len({event["pid"] for event in events}) > 1


@pytest.mark.slow
def test_a_study_in_a_bucket_killed_and_launched_twice_has_the_table_of_one_on_a_disk(
    server, tmp_path, runs
):
    study = tmp_path / "small.toml"
    study.write_text(SMALL)
    local = tmp_path / "local"
    assert say("launch", study, "--runs", local)[0] == 0

    first = scaling("launch", study, "--runs", runs, "--workers", 1, start_new_session=True)
    deadline = time.monotonic() + 200
    while not any("/trunks/" in name and "checkpoint.json" in name for name in server.puts):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    both = [scaling("launch", study, "--runs", runs, "--workers", 1) for _ in range(2)]
    assert [(launch.communicate(timeout=300), launch.returncode)[1] for launch in both] == [0, 0]

    for place, out in ((local, tmp_path / "here"), (runs, tmp_path / "there")):
        assert say("collect", study, "--runs", place, "--out", out)[0] == 0
    tables = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert len(tables) == 2
    for name in tables:
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()

    status, printed, _ = say("status", study, "--runs", runs, "--json", "-")
    assert status == 0
    found = json.loads(printed)
    assert {each["state"] for each in found} == {"done"}
    curves = [say("curves", study, "--runs", place)[1] for place in (local, runs)]
    last = [{row.split(",")[0]: row.split(",")[6] for row in text.splitlines()} for text in curves]
    assert last[0] == last[1]  # the last step that each run's curve tells of
    assert say("clean", study, "--runs", runs)[0] == 0
    assert "4 of 4 runs done" in say("launch", study, "--runs", runs)[1]
    assert say("logs", found[0]["run"], "--runs", runs)[0] == 0


ROBBED = """
import os, signal, sys
from scaling.base.storage import place
from scaling.runs import lease
from scaling.runs.held_run import HeldRun
from scaling.worker import work
lease.HEARTBEAT, lease.EXPIRY, lease.POLL = 0.2, 3.0, 0.1
report, suspended = HeldRun.report, []
def suspend_once(self, *, step, **more):
    if step and not suspended:
        suspended.append(step)
        print("suspended", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
    report(self, step=step, **more)
HeldRun.report = suspend_once
print(work([place(sys.argv[1])]).name, flush=True)
"""
THIEF = """
import sys
from scaling.base.storage import place
from scaling.runs import lease
from scaling.worker import work
lease.HEARTBEAT, lease.EXPIRY, lease.POLL = 0.2, 3.0, 0.1
lease._machine = lambda: None  # as from another machine
print(work([place(sys.argv[1])]).name, flush=True)
"""
PREPARE = """
import sys
from scaling.base.storage import place
from scaling.launch.local import prepare
from scaling.study.parse import read_study
study, runs = sys.argv[1:]
print(sorted(prepare(read_study(study), place(runs), retry=False, say=print))[0])
"""


@pytest.mark.slow
def test_a_worker_whose_leases_were_stolen_in_the_middle_of_a_run_writes_nothing(
    server, tmp_path, runs
):
    study = tmp_path / "small.toml"
    study.write_text(SMALL.replace("every_steps = 10", "every_steps = 1000"))
    with python(PREPARE, study, runs, stdout=subprocess.PIPE) as process:
        run = f"{runs}/{process.communicate(timeout=100)[0].strip()}"
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with python(ROBBED, run, **output) as robbed:
        while robbed.stdout.readline() != "suspended\n":
            assert robbed.poll() is None
        with python(THIEF, run, **output) as thief:
            assert thief.communicate(timeout=300)[0].endswith("DONE\n")
        server.puts.clear()
        os.kill(robbed.pid, signal.SIGCONT)
        said, _ = robbed.communicate(timeout=300)
    assert "another process has taken over" in said
    assert said.endswith("DONE\n")  # it looks again, and finds the run done
    assert [name for name in server.puts if "/lease/" not in name] == []


@pytest.mark.parametrize(
    ("change", "runs", "said"),
    [
        ({}, "s3://no-such-bucket/runs", "s3://no-such-bucket: there is no such bucket."),
        (
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
            "s3://studies/runs",
            "s3://studies: Unable to locate credentials. Set AWS_PROFILE, or",
        ),
        (
            {"PYTHONPATH": "without"},
            "s3://studies/runs",
            "s3://studies: needs s3fs: pip install 'vit-scaling",
        ),
    ],
    ids=["no bucket", "no credentials", "no package"],
)
def test_what_keeps_from_a_bucket_is_said_in_a_sentence_and_is_the_users_to_mend(
    server, tmp_path, monkeypatch, change, runs, said
):
    for name, value in change.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            (tmp_path / value).mkdir()
            (tmp_path / value / "s3fs.py").write_text("raise ImportError('not here')")
            monkeypatch.setenv(name, f"{tmp_path / value}:{ROOT}")
    monkeypatch.setenv("HOME", str(tmp_path))
    status, printed, complaints = say("status", "demo", "--runs", runs)
    assert (status, printed) == (2, "")
    assert complaints.startswith(said)
    assert complaints.count("\n") == 1
