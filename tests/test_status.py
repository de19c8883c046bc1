"""A study as a picture, as JSON, and watched."""

import json
import time

import pytest
from launched import UPSTREAM, a_run, a_study

from scaling.evaluate.measured import Measured
from scaling.launch.progress import status
from scaling.launch.progress.grid_picture import LEGEND, NARROWEST, picture, short
from scaling.launch.progress.status import RunStatus, as_json, watch_status
from scaling.launch.progress.time_left import Pace
from scaling.runs.held_run import hold_run
from scaling.runs.run_file import write_run_file


def seen(images, seed, state):
    return RunStatus(a_run(images, seed), state, None, None, None, None, None, Pace())


def test_a_line_a_model_and_a_mark_a_run():
    found = [
        *(seen(640, 0, "done"), seen(640, 1, "failed")),
        *(seen(1280, 0, "running"), seen(1280, 1, "waiting")),
    ]
    head, line, legend = picture(found, 80)
    assert head.split() == ["model", "data", "images"]
    assert line.split() == ["tiny", "all", "640-1.28k", "●✗", "▶·"]
    assert legend == LEGEND
    assert LEGEND == "● done  ▶ at work  ✗ failed  · waits"


@pytest.mark.parametrize(("seeds", "durations"), [(1, 1), (3, 7), (1, 30), (5, 40)])
@pytest.mark.parametrize("width", [10, 60, 79, 200])
def test_whatever_the_grid_no_line_is_wider_than_the_screen(seeds, durations, width):
    grid = [(640 * k, seed) for k in range(1, durations + 1) for seed in range(seeds)]
    found = [seen(images, seed, "done") for images, seed in grid]
    _, line, _ = lines = picture(found, width)
    assert max(map(len, lines)) <= max(width, NARROWEST)
    assert line.count("●") == len(found) or line.endswith(f" ● {len(found)}")


@pytest.mark.parametrize(
    ("number", "words"),
    [(512, "512"), (1280, "1.28k"), (30_000_000, "30M"), (3_900_000_000, "3.9B")],
)
def test_counts_are_short(number, words):
    assert short(number) == words


@pytest.fixture
def runs(tmp_path):
    study = a_study(0, 1)
    for run in study.runs:
        write_run_file(tmp_path / run.id, run, study.evaluate, pytest.fail)
    return tmp_path


def finish(runs, run):
    with hold_run(runs / run.id) as held:
        measured = [Measured(name, 0.25, 100) for name in UPSTREAM.metrics]
        held.finish([(UPSTREAM, measured)], {"seconds_here": 2.0})


def test_as_json_every_run_has_every_key(runs):
    study = a_study(0, 1)
    finish(runs, study.runs[0])
    with hold_run(runs / study.runs[1].id) as held:
        held.report(step=4, steps=10, phase="train", images_per_second=64.0, mfu=0.4)
        done, running = json.loads(json.dumps(as_json(study, runs)))
    assert done.keys() == running.keys()
    assert (done["state"], done["error"], done["seconds"], done["step"]) == (
        "done",
        0.25,
        2.0,
        None,
    )
    assert (running["state"], running["step"], running["steps"]) == ("running", 4, 10)
    assert (running["images_per_second"], running["mfu"], running["phase"]) == (64.0, 0.4, "train")


def test_a_watch_ends_when_all_is_done_and_says_so_in_lines_without_a_terminal(
    runs, capsys, monkeypatch
):
    study = a_study(0, 1)
    left = list(study.runs)
    monkeypatch.setattr(time, "sleep", lambda seconds: finish(runs, left.pop(0)))
    watch_status(study, runs)
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(" runs")[0] for line in said] == ["0 of 2", "1 of 2", "2 of 2"]


def test_a_watch_draws_the_grid_and_what_is_at_work_on_a_screen(runs, capsys, monkeypatch):
    study = a_study(0, 1)
    finish(runs, study.runs[0])
    monkeypatch.setattr(status, "in_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    with hold_run(runs / study.runs[1].id) as held:
        held.report(step=4, steps=10, phase="train", loss=0.5, pace=64.0, images_per_second=64.0)
        monkeypatch.setattr(
            time,
            "sleep",
            lambda _: held.finish(
                [(UPSTREAM, [Measured(name, 0.25, 100) for name in UPSTREAM.metrics])], {}
            ),
        )
        watch_status(study, runs)
    first, second = capsys.readouterr().out.split("\x1b[H\x1b[2J")[1:]
    assert "small: Does it end?" in first
    assert "●▶" in first
    told = " ".join(first.split())
    assert "tiny, 640 images: train, step 4 of 10, loss 0.5, 64 images/s, about 6 s left" in told
    assert max(map(len, first.splitlines())) <= 60
    assert "1 of 2 runs done, 1 running" in first
    assert "●●" in second


def test_watching_ends_when_runs_have_failed_and_none_is_left(tmp_path, capsys):
    study = a_study(0)
    path = tmp_path / study.runs[0].id
    write_run_file(path, study.runs[0], study.evaluate, pytest.fail)
    with hold_run(path) as held:
        held.fail("the loss is nan.")
    assert not watch_status(study, tmp_path)
    assert "0 of 1 runs done, 1 failed" in capsys.readouterr().out
    screen = status.drawn(study, status.statuses(study, tmp_path), 60)
    assert max(map(len, screen)) <= 60
    assert "the loss is nan." in " ".join(line.strip() for line in screen)
