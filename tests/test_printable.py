"""Nothing that stands in a file drives the terminal of who looks at it."""

import io
import json
import subprocess
import sys

import pytest
from rich.console import Console
from rich.live import Live

from fits.base.errors import UserError
from fits.base.printable import printable
from models.shapes import ViTShape
from scaling.base.console import print_table, say
from scaling.data.procedural.source import Procedural
from scaling.evaluate import Upstream
from scaling.launch.progress.display import LiveTable
from scaling.launch.progress.events import AtWork, LaunchProgress
from scaling.launch.progress.status import drawn, show_status, statuses
from scaling.runs.damage import DamagedRun
from scaling.runs.held_run import hold_run
from scaling.runs.logs import LOGS, log_of
from scaling.runs.run_file import write_run_file
from scaling.runs.run_folder import PROGRESS, RunFolder
from scaling.study.study import Study
from scaling.training.recipe import Recipe
from scaling.training.run import Run

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m red\r\u202ecod.exe"
UPSTREAM = Upstream(images=100)


def a_run(name="nano"):
    return Run(
        model=ViTShape(name=name, patch=8, resolution=16, width=8, depth=1, mlp=16, heads=2),
        data=Procedural(classes=8, heldout_size=1000),
        recipe=Recipe(warmup_steps=2),
        images_seen=160,
        batch=16,
    )


def drives_nothing(text):
    return all(c in "\n\t" or (c.isprintable() and c != "\u202e") for c in text)


def test_control_characters_are_spelled_out_and_lines_stay():
    assert printable(EVIL) == (r"\x1b]0;owned\x07\x1b[2J\x9b31m red\x0d" + r"\u202ecod.exe")
    assert printable("first\n\tsecond: 1 × 2 − ½ 像") == "first\n\tsecond: 1 × 2 − ½ 像"


def test_lines_tables_and_mistakes_are_fit_for_a_terminal(capsys):
    say(EVIL)
    print_table(("name", EVIL), [(EVIL, "1")])
    assert drives_nothing(capsys.readouterr().out)
    assert drives_nothing(str(UserError([f"{EVIL}: no such column."])))
    assert drives_nothing(str(DamagedRun(f"run.json: {EVIL}")))


def test_status_and_logs_of_a_strangers_runs_drive_nothing(tmp_path, capsys):
    runs, run = tmp_path / "runs", a_run(f"a{EVIL}")
    write_run_file(runs / run.id, run, [UPSTREAM], pytest.fail)
    with hold_run(runs / run.id) as held:
        held.fail(f"failed {EVIL}\nand more")
    (runs / LOGS).mkdir()
    (runs / LOGS / f"{run.trunk}.log").write_text(f"first {EVIL}\nsecond\n")
    show_status(Study(name="s", question="q", runs=(run,), evaluate=(UPSTREAM,)), runs)
    said = capsys.readouterr().out
    assert drives_nothing(said)
    assert r"failed \x1b]0;owned" in said
    lines = log_of(runs, run.id)
    assert drives_nothing("".join(lines))
    assert lines[-1] == "second"


def test_the_screens_of_a_strangers_study_drive_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    runs = tmp_path / "runs"
    busy, failed = a_run(f"a{EVIL}"), a_run(f"b{EVIL}")
    for run in (busy, failed):
        write_run_file(runs / run.id, run, [UPSTREAM], pytest.fail)
    with hold_run(runs / failed.id) as held:
        held.fail(f"failed {EVIL}")
    study = Study(name="s", question=f"q{EVIL}", runs=(busy, failed), evaluate=(UPSTREAM,))
    with hold_run(runs / busy.id) as held:
        held.report(step=1, steps=10, phase="train")
        lines = drawn(study, statuses(study, runs), 60)
        at_work = AtWork(busy, held.progress())
    assert all(drives_nothing(line) for line in lines)
    assert r"q\x1b]0;owned" in lines[0]
    assert sum(r"\x1b]0;owned" in line for line in lines) >= 3

    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, color_system=None, width=400)
    with Live(console=console, auto_refresh=False) as live:
        table = LiveTable(live)
        table.say(f"said {EVIL}")
        table.update(LaunchProgress(2, 0, 1, 1.0, 0.5, None, (at_work,)))
    text = screen.getvalue()
    assert text.count(r"\x1b]0;owned\x07") >= 2
    assert "\x1b]0" not in text
    assert "\x07" not in text
    assert "\x9b" not in text


def test_a_report_of_progress_with_escape_codes_counts_for_nothing(tmp_path):
    run = a_run()
    write_run_file(tmp_path / run.id, run, [UPSTREAM], pytest.fail)
    with hold_run(tmp_path / run.id) as held:
        held.report(step=1, steps=10, phase="train")
    path = tmp_path / run.id / PROGRESS
    assert RunFolder(tmp_path / run.id).progress() is not None
    path.write_text(json.dumps(json.loads(path.read_text()) | {"phase": EVIL}))
    assert RunFolder(tmp_path / run.id).progress() is None


@pytest.mark.slow
def test_cells_and_headings_of_a_table_drive_no_terminal_through_fit_laws(tmp_path):
    table = tmp_path / "table.csv"
    rows = [f"{10.0**k},{0.5 * 10 ** (-0.1 * k):.6f},a\x1b[2J,{k}" for k in range(1, 9)]
    table.write_text("flops,value,group\x1b]0;x\x07,seed\n" + "\n".join(rows) + "\n")
    for words in (
        ["--by", "group\x1b]0;x\x07"],
        ["--x", "flop"],
        ["--y", "group\x1b]0;x\x07"],
        [],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "fits.fit_laws", str(table), *words],
            capture_output=True,
            text=True,
        )
        assert drives_nothing(done.stdout + done.stderr), words
