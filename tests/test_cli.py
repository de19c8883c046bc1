"""The command line: what is printed where, with which exit status, and what is loaded for it."""

import csv
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from results_table import read_results

from fits.fit_laws import main as fit_laws
from models import cost
from models.zoo import shape
from scaling.cli.main import main
from scaling.evaluate.measured import Measured
from scaling.launch.launch_spec import Budget, LaunchSpec
from scaling.runs.held_run import hold_run
from scaling.runs.run_file import write_run_file
from scaling.study.parse import read_study
from scaling.study.schema import EXAMPLE

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def scaling(tmp_path, monkeypatch, capsys):
    """Runs a command in an empty folder that holds study.toml; returns status, output, errors."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(EXAMPLE)

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["scaling", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capsys.readouterr())

    return command


def spoil():
    text = EXAMPLE.replace("batch = 128", "batch = 120", 1).replace("depth", "dept")
    Path("study.toml").write_text(text.replace('"Ti/8"', '"Tj/8"'))


# What is said and what is left behind


@pytest.mark.slow
@pytest.mark.parametrize("command", ["plan", "launch", "status", "collect", "report"])
def test_mistakes_go_to_standard_error_and_nothing_is_written(scaling, command, tmp_path):
    spoil()
    status, out, errors = scaling(command, "study.toml")
    assert (status, out) == (2, "")
    said = errors.splitlines()
    assert len(said) == 6
    assert 'study.toml, line 11: models.nano.dept: unknown key; did you mean "depth"?' in said
    assert any("models.nano.depth: is missing" in line for line in said)
    assert sum("is not a whole number of batches of 120" in line for line in said) == 3
    assert any("did you mean 'Ti/8'" in line for line in said)
    assert "Traceback" not in errors
    assert os.listdir(tmp_path) == ["study.toml"]


def test_a_plan_is_printed_and_leaves_nothing_behind(scaling, tmp_path):
    status, out, errors = scaling("plan", "study.toml")
    assert (status, errors) == (0, "")
    assert "13 runs on 5 trunks" in out
    assert os.listdir(tmp_path) == ["study.toml"]


def test_a_plan_as_json_goes_to_a_file_or_to_standard_output(scaling):
    assert scaling("plan", "study.toml", "--json", "plan.json") == (0, "", "")
    _, out, _ = scaling("plan", "study.toml", "--json", "-")
    assert json.loads(out) == json.loads(Path("plan.json").read_text())
    assert json.loads(out)["runs"] == 13


def test_the_runs_of_a_plan_are_candidates_for_the_next_ones(scaling, tmp_path):
    assert scaling("plan", "study.toml", "--table", "planned.csv")[0] == 0
    assert scaling("plan", "study.toml", "--table", "-")[1] == Path("planned.csv").read_text()
    assert scaling("plan", "study.toml", "--table", "no/a.csv")[2].startswith("no/a.csv: No such")
    study = read_study("study.toml")
    with Path("planned.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == [run.id for run in study.runs]
    assert [int(row["flops"]) for row in rows] == [run.flops for run in study.runs]
    lines = [f"{x:g},{0.3 * (x / 1e9) ** -0.2}" for x in (1e8, 2e8, 4e8, 1e9, 2e9, 4e9)]
    Path("done.csv").write_text("\n".join(["flops,value", *lines]))
    words = "next", "done.csv", "--x", "flops", "--y", "value", "--law", "power", "--json", "-"
    more = "--predict", "1e12", "--budget", "1e12", "--candidates", "planned.csv"
    assert fit_laws([*words, *more]) == 0


def test_a_file_that_cannot_be_written_is_named_without_a_traceback(scaling):
    status, _, errors = scaling("plan", "study.toml", "--json", "nowhere/plan.json")
    assert (status, errors) == (1, "nowhere/plan.json: No such file or directory.\n")


def test_a_study_that_is_not_there_is_a_user_s_mistake(scaling):
    status, out, errors = scaling("plan", "studi.toml")
    assert (status, out) == (2, "")
    assert 'Did you mean "study.toml"?' in errors


@pytest.mark.parametrize("words", ["plan", "plam study.toml", "launch x --workers 0"])
def test_a_mistake_on_the_command_line_has_status_2(scaling, words):
    status, out, errors = scaling(*words.split())
    assert (status, out) == (2, "")
    assert "Error: " in errors


@pytest.fixture
def photographs(scaling, tmp_path, monkeypatch):
    """study.toml on a folder of images, four of each class and split, a cache of their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for split, name, i in itertools.product(("train", "test"), ("ant", "bee"), range(4)):
        file = tmp_path / "pictures" / split / name / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (i, i, i)).save(file)
    data = 'kind = "folder"\npath = "pictures"\nresolution = 16'
    text = EXAMPLE.replace('kind = "procedural"\nlabel_noise = 0.1', data)
    text = text.replace("images = 8192", "").replace('[10_000, "all"]', '"all"')
    Path("study.toml").write_text(text)
    return tmp_path / "pictures"


def test_a_sheet_of_images_that_cannot_be_read_is_refused_in_words(scaling, photographs):
    assert scaling("data", "show", "study.toml")[0] == 0
    (photographs / "train" / "bee" / "2.png").write_text("no image")
    status, out, errors = scaling("data", "show", "study.toml")
    assert (status, out) == (2, "")
    assert "train/bee/2.png: not a readable image" in errors


def test_a_sheet_without_room_for_its_cache_is_refused_in_words(
    scaling, photographs, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(photographs / "train" / "ant" / "0.png"))
    status, out, errors = scaling("data", "show", "study.toml")
    assert (status, out) == (2, "")
    assert "Point XDG_CACHE_HOME to a folder with room" in errors


def test_results_outlive_the_data(scaling, photographs, capsys):
    """What a run has measured is collected with the sizes and FLOPs of when the data were there."""
    study = read_study("study.toml")
    run = study.runs[0]
    path = Path("runs") / run.id
    write_run_file(path, run, study.evaluate, print)
    flops = run.flops
    measured = [(each, [Measured(m, 0.5, 8) for m in each.metrics]) for each in study.evaluate]
    with hold_run(path) as folder:
        folder.finish(measured, {"flops": flops, "data": [{"train_size": 8}]})
    shutil.rmtree(photographs)
    assert "1 of " in scaling("status", "study.toml")[1]
    assert scaling("collect", "study.toml")[0] == 0
    rows = read_results(Path("results/example.csv"))
    assert {(row.run, row.flops, row.data_size) for row in rows} == {(run.id, flops, 8)}
    status, _, errors = scaling("plan", "study.toml")
    assert status == 2
    assert "data.path: there is no" in errors
    assert "Unpack the images there as train/<class>/ and test/<class>/" in errors


# What a launch and a worker answer


@pytest.mark.parametrize(("done", "expected"), [(True, 0), (False, 1)])
def test_a_launch_says_by_its_status_whether_all_is_done(scaling, monkeypatch, done, expected):
    calls = []

    def launch(study, runs, spec, launcher):
        calls.append((launcher.workers, study.name, runs, spec))
        return done

    monkeypatch.setattr("scaling.launch.launch.launch", launch)
    assert scaling("launch", "study.toml")[0] == expected
    words = ("--workers", "3", "--retry", "--runs", "elsewhere", "--budget", "12h")
    only = ("--only", "seed=0", "--only", "model!=Ti/16", "--first", "seed=1")
    limits = ("--stop", "diverged", "--max-parallel", "2", "--hang-after", "60", "--json-lines")
    assert scaling("launch", "study.toml", *words, *only, *limits)[0] == expected
    spec = LaunchSpec(
        retry=True,
        only=("seed=0", "model!=Ti/16"),
        first=("seed=1",),
        max_parallel=2,
        budget=Budget(seconds=12 * 3600),
        hang_after=60.0,
        stop=("diverged",),
        json_lines=True,
    )
    assert calls == [
        (None, "example", Path("runs"), LaunchSpec()),
        (3, "example", Path("elsewhere"), spec),
    ]


def test_status_of_a_study_never_launched_writes_nothing(scaling, tmp_path):
    status, out, _ = scaling("status", "study.toml")
    assert status == 0
    assert "0 of 13 runs done" in out
    assert os.listdir(tmp_path) == ["study.toml"]


def test_a_run_folder_that_was_never_launched_is_refused(scaling):
    status, _, errors = scaling("run", "runs/a", "runs/b")
    assert status == 2
    assert errors.splitlines() == [
        "runs/a has no run.json; `scaling launch` writes it.",
        "runs/b has no run.json; `scaling launch` writes it.",
    ]


def test_ctrl_c_ends_with_130(scaling, monkeypatch):
    def interrupted(self, study, runs, spec):
        raise KeyboardInterrupt

    monkeypatch.setattr("scaling.launch.launch.launch", interrupted)
    status, _, errors = scaling("launch", "study.toml")
    assert status == 130
    assert "Traceback" not in errors


# The zoo


def test_the_zoo_as_json_has_a_row_a_model_and_resolution(scaling):
    rows = json.loads(scaling("models", "--json", "-")[1])
    assert rows == cost.catalogue()
    assert list(rows[0]) == [
        *("name", "family", "patch", "resolution", "width", "depth", "mlp", "heads"),
        *("params", "params_trunk", "forward_gmacs"),
    ]


def test_named_models_are_counted_at_any_patch_and_resolution_with_any_classifier(scaling):
    names = ("Ti/8", "BiT-R50x2", "Mixer-B/4")
    words = ("models", *names, "--resolution", "32", "--classes", "10", "--json", "-")
    rows = json.loads(scaling(*words)[1])
    assert rows == [cost.row(shape(name, 32), classes=10) for name in names]


def test_the_zoo_at_another_resolution_leaves_out_patches_that_are_too_large(scaling):
    rows = json.loads(scaling("models", "--resolution", "28", "--json", "-")[1])
    assert {row["resolution"] for row in rows} == {28}
    assert {row["patch"] for row in rows} == {None, 14, 16, 28}


def test_the_zoo_is_a_plain_table_in_a_pipe_where_a_dash_is_no_such_number(scaling):
    head, *rows = scaling("models", "B/16", "BiT-R50x1")[1].splitlines()
    assert head.split()[-3:] == ["params", "params_trunk", "forward_gmacs"]
    assert [row.split() for row in rows] == [
        [
            *("B/16", "ViT", "16", "224", "768", "12", "3_072", "12"),
            *("92_884_224", "85_797_120", "17.71"),
        ],
        [
            *("BiT-R50x1", "BiT", "-", "224", "64", "50", "-", "-"),
            *("23_500_352", "23_500_352", "4.087"),
        ],
    ]


@pytest.mark.parametrize("family", ["vit", "bit", "mixer"])
def test_the_table_of_a_familys_page_is_what_the_command_prints(scaling, family):
    page = (ROOT / "docs" / "models" / f"{family}.md").read_text(encoding="utf-8")
    block = page.partition("```text\n$ scaling ")[2].partition("```")[0].replace("\\\n", "")
    words, _, printed = block.partition("\n")
    assert scaling(*words.split())[1] == printed


def test_all_misspelt_models_are_named(scaling):
    status, out, errors = scaling("models", "Tii/16", "B/16", "Mixr-B/16", "R50x1")
    assert (status, out) == (2, "")
    assert [
        line.partition("mean ")[2].partition(" ")[0].rstrip("?") for line in errors.splitlines()
    ] == ["'Ti/16'", "'Mixer-B/16'", "'BiT-R50x1'"]


# Processes


def python(*words, cwd=ROOT):
    command = [sys.executable, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_help_opens_with_what_to_type_and_lists_the_exit_statuses():
    help_text = python("-m", "scaling", "--help").stdout
    assert "scaling launch  demo" in help_text
    assert "Exit status:  0    done" in help_text
    assert "130  stopped by Ctrl-C" in help_text


@pytest.mark.parametrize("words", [["--help"], ["plan", "study.toml"], ["status", "study.toml"]])
def test_help_plan_and_status_load_no_jax(tmp_path, words):
    (tmp_path / "study.toml").write_text(EXAMPLE)
    script = (
        "import sys\n"
        f"sys.argv = {['scaling', *words]}\n"
        "from scaling.cli.main import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as ended:\n"
        "    assert not ended.code, ended.code\n"
        "heavy = {'jax', 'flax', 'optax', 'sklearn', 'scipy', 'pandas', 'tensorflow_datasets'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
    )
    done = python("-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_stops_early_causes_no_traceback():
    pipe = f"{sys.executable} -m scaling models --json - | head -c 10"
    done = subprocess.run(["bash", "-c", pipe], cwd=ROOT, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
