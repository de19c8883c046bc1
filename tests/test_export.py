"""Learning curves and results in TensorBoard, Weights & Biases and trackio: each step once."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from fits.base.errors import UserError
from models.shapes import ViTShape
from scaling.data.procedural.source import Procedural
from scaling.evaluate import Upstream
from scaling.evaluate.measured import Measured
from scaling.runs.held_run import hold_run
from scaling.runs.metrics_file import METRICS, MetricsLine
from scaling.runs.run_file import write_run_file
from scaling.runs.run_folder import RunFolder
from scaling.runs.trunk_folder import TrunkFolder
from scaling.study.study import Study
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.writers import export as export_module
from scaling.writers.export import Follower, ToolFailed, export
from scaling.writers.protocol import about, numbers

UPSTREAM = Upstream(images=100)
RUN = Run(
    model=ViTShape(name="nano", patch=8, resolution=16, width=8, depth=1, mlp=16, heads=2),
    data=Procedural(classes=8, heldout_size=1000),
    recipe=Recipe(warmup_steps=2),
    images_seen=160,
    batch=16,
)
STUDY = Study(name="small", question="What is told?", runs=(RUN,), evaluate=(UPSTREAM,))


def a_line(step):
    return MetricsLine(
        step=step,
        images_seen=16 * step,
        loss=1.0 / step,
        learning_rate=1e-3,
        gradient_norm=None,
        layer_gradient_norms=(0.5, None),
        images_per_second=64.0,
        mfu=None,
        memory_bytes=None,
        seconds=0.1 * step,
    )


class Place:
    """A folder of runs in which one run comes on."""

    def __init__(self, root: Path):
        self.runs, self.out = root / "runs", root / "results"
        self.folder = RunFolder(self.runs / RUN.id)
        write_run_file(self.folder.path, RUN, [UPSTREAM], pytest.fail)
        TrunkFolder.of(self.folder, RUN).path.mkdir(parents=True)

    def steps(self, *steps):
        for step in steps:
            trunk = TrunkFolder.of(self.folder, RUN).path
            folder = trunk if step <= RUN.branch_step else self.folder.path
            with (folder / METRICS).open("a") as file:
                file.write(a_line(step).model_dump_json() + "\n")

    def done(self):
        with hold_run(self.folder.path) as held:
            held.finish([(UPSTREAM, [Measured(m, 0.5, 100) for m in UPSTREAM.metrics])], {})

    def export(self, to):
        export(STUDY, self.runs, to, self.out)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


class Recorded:
    """A tool that remembers what it was told, and fails when it is told to."""

    def __init__(self):
        self.opened, self.lines, self.measured, self.closed = [], [], {}, 0
        self.broken = False

    def open(self, about, after):
        self.opened.append((about, after))
        return self

    def line(self, step, numbers):
        if self.broken:
            raise ConnectionError("no route to\nhost")
        self.lines.append((step, dict(numbers)))

    def results(self, step, numbers):
        self.measured[step] = dict(numbers)

    def flush(self):
        pass

    def close(self):
        self.closed += 1


@pytest.fixture
def tool():
    return Recorded()


@pytest.fixture
def follower(place, tool):
    place.out.mkdir()
    return lambda: Follower(STUDY, place.runs, tool, place.out / "told.json")


def test_a_follower_tells_every_line_and_result_once_however_often_it_looks(place, tool, follower):
    place.steps(1, 2)
    first = follower()
    first.look(keep_open=True)
    first.look(keep_open=True)
    place.steps(3, 10)
    first.look(keep_open=True)
    assert (len(tool.opened), tool.closed, first.all_ended) == (1, 0, False)
    place.done()
    first.look(keep_open=True)
    first.look(keep_open=True)
    assert [step for step, _ in tool.lines] == [1, 2, 3, 10]
    assert tool.measured == {10: dict.fromkeys(UPSTREAM.metrics, 0.5)}
    assert (len(tool.opened), tool.closed, first.all_ended) == (1, 1, True)


def test_a_follower_that_was_killed_goes_on_after_the_last_step_told(place, tool, follower):
    place.steps(1, 2)
    follower().look(keep_open=False)
    place.steps(3)
    place.done()
    follower().look(keep_open=False)
    follower().look(keep_open=False)
    assert [step for step, _ in tool.lines] == [1, 2, 3]
    assert [after for _, after in tool.opened] == [0, 2]
    assert len(tool.measured) == 1


def test_steps_that_a_resumed_training_writes_anew_are_not_told_again(place, tool, follower):
    place.steps(1, 4)
    each = follower()
    each.look(keep_open=True)
    (TrunkFolder.of(place.folder, RUN).path / METRICS).unlink()
    place.steps(1, 3, 5)  # it was killed after step 4, and its checkpoint was of step 2
    each.look(keep_open=True)
    assert [step for step, _ in tool.lines] == [1, 4, 5]


def test_what_a_tool_was_not_told_because_it_failed_is_told_later(place, tool, follower):
    place.steps(1)
    each = follower()
    tool.broken = True
    with pytest.raises(ToolFailed, match=r"^no route to host\. Training is not affected"):
        each.look(keep_open=True)
    tool.broken = False
    place.steps(2)
    each.look(keep_open=True)
    assert [step for step, _ in tool.lines] == [1, 2]
    assert each.lines == 2


def test_watching_says_a_failure_once_and_ends_when_all_is_told(place, tool, monkeypatch, capsys):
    place.steps(1)
    tool.broken = True
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            tool.broken = False
        if len(slept) == 4:
            place.done()
        assert len(slept) < 9

    monkeypatch.setattr(export_module.time, "sleep", sleep)
    monkeypatch.setattr(export_module, "writer_of", lambda name, folder: tool)
    export(STUDY, place.runs, "wandb", place.out, watch=True)
    said = capsys.readouterr()
    assert said.err.count("no route to host") == 1
    assert "1 line and 2 results to wandb" in said.out
    assert slept == [30.0] * 4


def test_a_line_is_told_with_all_it_knows_and_nothing_that_it_does_not():
    assert numbers(RUN, a_line(5)) == {
        "images_seen": 80,
        "flops": RUN.flops / 2,
        "loss": 0.2,
        "learning_rate": 1e-3,
        "images_per_second": 64.0,
        "seconds": 0.5,
        "layer_gradient_norm/00": 0.5,
    }


def test_no_tool_is_told_what_the_environment_holds(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "a-very-secret-key")
    told = json.dumps(about(STUDY, RUN))
    assert "secret" not in told
    assert (about(STUDY, RUN).run, about(STUDY, RUN).study) == (RUN.id, "small")


def test_an_unknown_tool_is_answered_with_the_nearest(place):
    with pytest.raises(UserError, match=r"--to tensorbord: no such tool\. Did you mean 'tensorb"):
        place.export("tensorbord")
    assert not place.out.exists() or not list(place.out.rglob("*.json"))


def test_a_missing_package_is_named_with_the_command_that_installs_it(place, monkeypatch):
    monkeypatch.setattr(export_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="--to wandb: needs the package wandb: pip install wandb"):
        place.export("wandb")


def test_a_second_process_that_exports_the_same_study_is_refused(place, monkeypatch, tool):
    monkeypatch.setattr(export_module, "writer_of", lambda name, folder: tool)
    place.steps(1)

    def again(about, after):
        place.export("wandb")

    tool.open = again
    with pytest.raises(UserError, match="another process exports to it"):
        place.export("wandb")


def test_a_damaged_note_of_what_was_told_is_named(place):
    folder = place.out / "tensorboard" / "small"
    folder.mkdir(parents=True)
    (folder / "told.json").write_text('{"a": {"step": "many"}}')
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    with pytest.raises(UserError, match=r"told\.json: is damaged; delete its folder"):
        place.export("tensorboard")


# The real tools


def scalars(folder):
    """(tag, step, value) of all event files of a folder, in the order in which they were written,
    and the steps from which on earlier files are to be forgotten."""
    from tensorboardX.proto.event_pb2 import Event

    found, forgotten = [], []
    for file in sorted(folder.rglob("events.*"), key=lambda path: path.name):
        data = file.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            if event.HasField("session_log"):
                forgotten.append(event.step)
            found += [
                (value.tag, event.step, value.simple_value)
                for value in event.summary.value
                if value.HasField("simple_value")
            ]
    return found, forgotten


def test_tensorboard_reads_each_step_once_and_forgets_what_was_not_noted(place):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    place.steps(1, 2)
    place.export("tensorboard")
    place.steps(4)
    place.done()
    place.export("tensorboard")
    place.export("tensorboard")
    found, forgotten = scalars(place.out / "tensorboard" / "small")
    losses = [(step, round(value, 6)) for tag, step, value in found if tag == "loss"]
    assert losses == [(1, 1.0), (2, 0.5), (4, 0.25)]
    assert [step for tag, step, _ in found if tag == "result/upstream_error"] == [10]
    assert forgotten == [3]


def in_a_process(place, to, **environment):
    """Exports in a process of its own: these tools start threads and change what is global."""
    program = (
        "import sys; from pathlib import Path; from scaling.study.study import Study\n"
        "from scaling.writers.export import export\n"
        "export(Study.model_validate_json(sys.argv[1]), *(Path(sys.argv[2]), sys.argv[3]),"
        " Path(sys.argv[4]))\n"
    )
    words = [STUDY.model_dump_json(), str(place.runs), to, str(place.out)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=place.out.parent,
        env={**kept, "HOME": str(place.out.parent), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_trackio_keeps_each_step_once(place):
    pytest.importorskip("trackio", reason="trackio is not installed")
    for steps in ((1, 2), (4,), ()):
        place.steps(*steps)
        if not steps:
            place.done()
        assert in_a_process(place, "trackio").returncode == 0
    import sqlite3

    (file,) = (place.out / "trackio" / "small").glob("*.db")
    with sqlite3.connect(file) as store:
        rows = store.execute("SELECT step, metrics, run_name FROM metrics ORDER BY id").fetchall()
    told = [(step, json.loads(metrics)) for step, metrics, _ in rows]
    assert [(step, each["loss"]) for step, each in told if "loss" in each] == [
        (1, 1.0),
        (2, 0.5),
        (4, 0.25),
    ]
    assert [(step, each["result/upstream_error"]) for step, each in told[3:]] == [(10, 0.5)]
    assert len({name for *_, name in rows}) == 1


def test_wandb_offline_keeps_a_run_under_its_id_and_no_key(place):
    pytest.importorskip("wandb", reason="wandb is not installed")
    place.steps(1, 2)
    secret = "0123456789abcdef" * 2 + "01234567"
    offline = {"WANDB_MODE": "offline", "WANDB_API_KEY": secret}
    assert in_a_process(place, "wandb", **offline).returncode == 0
    folder = place.out / "wandb" / "small"
    (kept,) = folder.rglob(f"run-{RUN.id}.wandb")
    assert b"learning_rate" in kept.read_bytes()
    for file in filter(Path.is_file, place.out.parent.rglob("*")):
        assert secret.encode() not in file.read_bytes(), file


def test_wandb_without_a_key_is_one_sentence_and_training_is_not_affected(place):
    pytest.importorskip("wandb", reason="wandb is not installed")
    place.steps(1)
    failed = in_a_process(place, "wandb")
    assert failed.returncode == 1
    last = failed.stderr.strip().splitlines()[-1]
    assert "--to wandb: No API key configured" in last
    assert "Training is not affected" in last
