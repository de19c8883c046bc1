"""Studies whose runs lie in a bucket end as those on a disk do, with the same tables."""

import json
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path

import pytest
from s3_server import BUCKET, Server, environment, make_bucket

from scaling.base.storage import place
from scaling.evaluate.trained.outcomes import steps_done
from scaling.runs.run_folder import RunFolder
from scaling.study.parse import read_study

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
pool = "gap"

[models.b]
patch = 4
width = 16
depth = 1
mlp = 64
heads = 2
pool = "gap"

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
import os
import sys
study, runs, audit, worker = sys.argv[1:]
sys.path.insert(0, os.path.dirname(worker))
from launched import Pretended, launch
from scaling.base.storage import place
from scaling.launch.launch_spec import DEFAULT
from scaling.study.parse import read_study
command = lambda folders: [sys.executable, worker, audit, "0.005", *map(str, folders)]
local = Pretended(workers=1).with_command(command)
sys.exit(not launch(read_study(study), place(runs), DEFAULT, local))
"""


@pytest.mark.slow
def test_two_launches_on_one_bucket_do_every_run_once_and_both_end_well(server, tmp_path, runs):
    study = tmp_path / "small.toml"
    study.write_text(SMALL)
    audit = tmp_path / "audit.jsonl"
    both = [python(LAUNCH, study, runs, audit, PRETEND) for _ in range(2)]
    assert [launch.wait(timeout=300) for launch in both] == [0, 0]
    begun, ended = counts(audit)
    assert ended == begun
    assert set(ended.values()) == {1}
    assert len({event["pid"] for event in events(audit)}) > 1


@pytest.mark.slow
def test_after_a_launch_on_a_bucket_is_killed_two_others_end_what_it_left(server, tmp_path, runs):
    study = tmp_path / "small.toml"
    study.write_text(SMALL)
    audit = tmp_path / "audit.jsonl"
    first = python(LAUNCH, study, runs, audit, PRETEND)
    wait_until(lambda: audit.exists() and sum(counts(audit)[1].values()) > 0)
    first.kill()
    first.wait(timeout=60)
    begun, ended = counts(audit)
    assert sum(ended.values()) < 4  # something is left
    both = [python(LAUNCH, study, runs, audit, PRETEND) for _ in range(2)]
    assert [launch.wait(timeout=300) for launch in both] == [0, 0]
    begun_in_all, ended_in_all = counts(audit)
    assert set(ended_in_all.values()) == {1}
    assert len(ended_in_all) == 4
    assert all(begun_in_all[run] == begun[run] for run in ended)  # done is done


TUNED = """
[[evaluate]]
kind = "finetune"
name = "tuned"
data = { kind = "digits", resolution = 8 }
protocol = { kind = "vit", resolution = 16, steps = 60, warmup_steps = 4, batch = 16 }

[[grid]]"""


@pytest.mark.slow
def test_fine_tuning_in_a_bucket_is_resumed_and_cleared_away(server, tmp_path, runs):
    kept, unused = SMALL.index("[models.b]"), SMALL.index("[[evaluate]]")
    text = (SMALL[:kept] + SMALL[unused:]).replace("\n[[grid]]", TUNED)
    text = text.replace('["a", "b"]', '"a"')
    study = tmp_path / "small.toml"
    study.write_text(text.replace("[1920, 3840]", "1920"))
    command = "work", study, "--runs", runs
    (run,) = read_study(study).runs
    first = scaling(*command)
    folder = RunFolder(place(runs) / run.id)
    wait_until(lambda: first.poll() is not None or steps_done(folder.path) >= 70)
    first.kill()  # in the second learning rate
    first.communicate(timeout=60)
    assert first.returncode < 0
    left = steps_done(folder.path)
    assert 70 <= left < 180
    second = scaling(*command)
    _, complaints = second.communicate(timeout=300)
    assert second.returncode == 0, complaints
    (error, rate) = [row for row in folder.results() if row.metric.startswith("tuned_")]
    assert (error.metric, error.n) == ("tuned_finetune_error", 797)
    assert rate.n == 20
    assert [each["steps"] for each in folder.manifest()["finetune"]] == [60] * 3
    assert not (folder.path / "finetune").is_dir()


def events(audit):
    return list(map(json.loads, audit.read_text().splitlines()))


def counts(audit):
    """How often each run was begun, and brought to its end."""
    return [
        Counter(event["run"] for event in events(audit) if event["event"] == what)
        for what in ("begin", "end")
    ]


def wait_until(happens, seconds=120):
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


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
