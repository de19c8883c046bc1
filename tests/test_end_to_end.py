"""From a study file to a fitted law, by the commands a person types; and the same after kills."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

STUDY = """
name = "tiny"
question = "Does it all hang together?"

[data]
kind = "procedural"
classes = 8
label_noise = 0.1
jitter = 1
heldout_size = 1000

[objective]
kind = "classify"
loss = "softmax"

[recipe]
learning_rate = 1e-2
warmup_steps = 10
timescale_steps = 200
weight_decay_head = 0.0
weight_decay_body = 0.0

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

[[evaluate]]
kind = "fewshot"
name = "digits"
data = { kind = "digits", resolution = 16 }
shots = [10]

[[grid]]
model = ["a", "b"]
images_seen = [1_280, 2_560, 5_120, 10_240]
batch = 64
"""


def scaling(*words, cwd, **kwargs):
    return subprocess.run(
        [sys.executable, "-P", "-m", "scaling", *words],
        cwd=cwd,
        text=True,
        capture_output=True,
        **kwargs,
    )


def numbers(runs):
    """The text of every finished run's results, by run."""
    return {
        manifest.parent.name: (manifest.parent / "results.jsonl").read_text()
        for manifest in runs.glob("*/manifest.json")
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which the study was launched, beside modules of a person's own."""
    place = tmp_path_factory.mktemp("study")
    (place / "tiny.toml").write_text(STUDY)
    for name in ("models", "scaling"):
        (place / f"{name}.py").write_text("raise SystemExit('not the project')\n")
    done = scaling("launch", "tiny.toml", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    return place


@pytest.mark.slow
def test_a_study_file_becomes_a_law_and_a_figure(place):
    told = scaling("report", "tiny.toml", cwd=place)
    assert told.returncode == 0, told.stderr
    assert "tiny.png" in told.stdout
    with open(place / "results" / "tiny.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == (
        [
            "study",
            "run",
            "model",
            "params",
            "flops",
            "images_seen",
            "data_size",
            "seed",
            "metric",
            "value",
            "n",
            "subset",
            "variant",
        ]
    )
    assert {row["metric"] for row in rows} >= {"upstream_error", "digits_10shot_error"}
    assert len({row["run"] for row in rows}) == 8
    laws = json.loads((place / "results" / "tiny.laws.json").read_text())
    upstream = laws["groups"][0]
    floor = upstream["parameters"]["c"]
    assert 0 <= floor["low"] <= floor["value"] <= floor["high"]
    assert (place / "results" / "tiny.png").stat().st_size > 10_000


@pytest.mark.slow
def test_launching_again_trains_nothing(place):
    before = numbers(place / "runs")
    stamps = {p: p.stat().st_mtime_ns for p in (place / "runs").glob("*/manifest.json")}
    assert scaling("launch", "tiny.toml", cwd=place).returncode == 0
    assert numbers(place / "runs") == before
    assert stamps == {p: p.stat().st_mtime_ns for p in (place / "runs").glob("*/manifest.json")}


@pytest.mark.slow
def test_killed_at_any_moment_and_launched_again_it_ends_with_the_same_bytes(place):
    """The launcher dies after one run is done, and after three; the workers die with it."""
    command = [sys.executable, "-P", "-m", "scaling", "launch", "tiny.toml", "--runs", "again"]
    for finished in (1, 3):
        launcher = subprocess.Popen(
            command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 300
        while len(numbers(place / "again")) < finished:
            assert time.monotonic() < deadline
            assert launcher.poll() is None
            time.sleep(0.02)
        os.kill(launcher.pid, signal.SIGKILL)
        launcher.wait()
        assert len(numbers(place / "again")) < 8
    done = scaling("launch", "tiny.toml", "--runs", "again", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert numbers(place / "again") == numbers(place / "runs")


@pytest.mark.slow
def test_a_misspelt_study_file_writes_nothing_and_names_every_mistake(tmp_path):
    text = STUDY.replace('"a", "b"', '"a", "Ti/61x"').replace("1_280,", "1_281,")
    text = text.replace("learning_rate", "learning_rat").replace("10_240", "-5")
    (tmp_path / "wrong.toml").write_text(text)
    for command in ("plan", "launch", "status", "collect", "report"):
        told = scaling(command, "wrong.toml", cwd=tmp_path)
        assert told.returncode == 2
        assert "Traceback" not in told.stderr
        for clue in ("learning_rate", "Ti/61x", "1_281", "-5"):
            assert clue in told.stderr, (command, clue, told.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.toml"]
