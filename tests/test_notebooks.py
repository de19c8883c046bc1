"""The notebooks run from top to bottom, and what is committed is fit to be read."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fits.data.results import Result, write_csv
from fits.laws.powers import saturating

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAPER = ROOT.parent / "shared" / "data" / "zhai2022" / "fewshot.csv"


def small_table(path):
    """Four models, three durations, two data sizes on and above a law."""
    rows = [
        Result(
            study="small", run=f"{m}{t}{size}", model=f"w{16 * 2**m}", params=2**m * 1000,
            flops=(flops := 10.0 ** (9 + 0.6 * m + 0.4 * t)), images_seen=1000 * 2**t,
            data_size=size, seed=0, metric=metric, n=1000,
            value=factor * float(saturating(flops / 1e9, 0.3, 0.4, 0.1, 0.5)),
        )
        for m in range(4) for t in range(3) for size, factor in ((500, 1.2), (None, 1.0))
        for metric in ("upstream_loss", "upstream_error")
    ]  # fmt: skip
    write_csv(path, rows)


def execute(**environment):
    """Runs the notebooks without keeping their outputs; what was printed."""
    before = [path.read_bytes() for path in NOTEBOOKS]
    done = subprocess.run(
        [sys.executable, ROOT / "notebooks" / "execute.py"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert before == [path.read_bytes() for path in NOTEBOOKS]
    return done.stdout


@pytest.mark.slow
def test_every_notebook_runs_on_a_table_of_ones_own(tmp_path):
    small_table(tmp_path / "small.csv")
    said = execute(FRONTIER_TABLE=str(tmp_path / "small.csv"))
    assert [line.split(":")[0] for line in said.splitlines()] == [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_committed_notebooks_show_their_outputs_and_hold_no_functions(path):
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(
        output["output_type"] == "error" or output.get("name") == "stderr" for output in outputs
    )
    source = "".join(line for cell in code for line in cell["source"])
    assert "def " not in source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_committed_notebooks_tell_nothing_of_the_machine_they_ran_on(path):
    notebook = json.loads(path.read_text())
    assert notebook["metadata"]["language_info"] == {"name": "python"}
    assert all(cell["metadata"] == {} for cell in notebook["cells"])
    words = [
        line
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        for line in [*output.get("text", []), *output.get("data", {}).get("text/plain", [])]
    ]
    assert not any(str(ROOT) in line or "/tmp" in line or "0x" in line for line in words)


@pytest.mark.skipif(not PAPER.exists(), reason="the paper's tables are not here")
def test_the_committed_runs_of_the_paper_are_those_of_its_tables():
    with (ROOT / "notebooks" / "zhai2022_inet10.csv").open(newline="") as file:
        ours = [tuple(row.values()) for row in csv.DictReader(file)]
    with PAPER.open(newline="") as file:
        theirs = [
            (
                row["model"],
                row["data_images"],
                row["steps_at_bs4096"],
                f"{1 - float(row['inet10']) / 100:.3f}",
                row["core_days_fig2"],
            )
            for row in csv.DictReader(file)
        ]
    assert sorted(ours) == sorted(theirs)


@pytest.mark.skipif(not PAPER.exists(), reason="the paper's tables are not here")
def test_the_committed_fine_tuned_runs_are_those_of_the_papers_tables_and_figure():
    def read(path):
        with path.open(newline="") as file:
            return list(csv.DictReader(file))

    def run(row, steps, error):
        compute = float(row["core_days_fig2"])
        return row["model"], row["data_images"], steps, error, compute

    tables, figure = (read(PAPER.with_name(f"{name}.csv")) for name in ("finetune", "finetune_g14"))
    theirs = [
        run(row, row["steps"], f"{1 - float(row['imagenet']) / 100:.3f}")
        for row in tables
        if row["core_days_fig2"]
    ]
    theirs += [
        run(row, "", f"{float(row['imagenet_finetune_error_pct']) / 100:.4f}") for row in figure
    ]
    ours = read(ROOT / "notebooks" / "zhai2022_finetune.csv")
    assert sorted((*list(row.values())[:4], float(row["core_days"])) for row in ours) == sorted(
        theirs
    )
