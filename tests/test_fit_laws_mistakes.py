"""The command fit-laws: every mistake is named, and nothing is written."""

import subprocess
import sys

import pytest

from fits.laws.registry import EVERY_LAW

MISTAKES = {
    "too few columns": (["--law", "chinchilla"], ["--x: law chinchilla takes 2 (N, D), and 1 are"]),
    "too many columns": (["--x", "error"], ["--x: law saturating takes 1 (x), and 2 are given"]),
    "place": (["--predict", "1,2"], ["--predict: 1,2 is not one number"]),
    "ways": (
        ["--loss", "hubr", "--scale", "lg"],
        ["--loss: no 'hubr'. Did you", "--scale: no 'lg'"],
    ),
    "huber": (["--huber", "outo"], ["--huber: outo is neither auto nor a number"]),
    "huber's size": (["--huber", "11"], ["--huber: 11 is not from 1e-09 to 10"]),
    "two losses": (
        ["--loss", "squares", "--huber", "1"],
        ["--huber: squares have no threshold"],
    ),
    "forecast's ways": (
        ["--law", "forecast", "--weights", "eflop", "--cluster", "model", "--scale", "linear"],
        ["--weights: a forecast takes", "--cluster: a forecast", "--scale: a forecast"],
    ),
    "weights": (["--weights", "model"], ["line 2: model is S, not a number"]),
    "cluster": (["--cluster", "modle"], ["no column 'modle'. Did you mean 'model'?"]),
    "points twice": (["--hull", "--all-points"], ["--all-points and --hull: say which points"]),
    "hull of two": (
        ["--x", "error", "--law", "chinchilla", "--hull"],
        ["--hull: a law of several"],
    ),
    "forecast kept": (
        ["--law", "forecast", "--save", "a.json"],
        ["--save: a forecast cannot be saved"],
    ),
    "schedule of a law": (
        ["--schedule", "cosine", "--until", "5"],
        ["--schedule: of a forecast alone"],
    ),
    "schedule": (
        ["--law", "forecast", "--schedule", "cosin", "--predict", "-1"],
        ["--schedule: no cosin. Did you mean 'cosine'", "--predict: -1"],
    ),
    "end of a schedule": (
        ["--law", "forecast", "--schedule", "linear"],
        ["--schedule: say with --until X where the run ends"],
    ),
    "cooled column": (
        ["--law", "forecast", "--schedule", "constant", "--until", "9", "--cooled", "modle"],
        ["no column 'modle'"],
    ),
    "unknown law": (["--law", "saturatin"], ["--law: no 'saturatin'. Did you mean 'saturating'?"]),
    "unknown kind": (["--y-is", "eror"], ["--y-is: no 'eror'. Did you mean 'error'"]),
    "prediction at 0": (["--predict", "0", "--predict", "x"], ["--predict: 0 ", "--predict: x "]),
    "condition": (["--where", "model"], ["--where: 'model' compares nothing"]),
    "no such value": (["--where", "model=L"], ["no row has model=L. Values of model: S, B."]),
    "no such column": (["--by", "modle"], ["no column 'modle'. Did you mean 'model'?"]),
    "words of no figure": (
        ["--title", "A law", "--ylabel", "top-1 error"],
        ["--title, --ylabel: for a figure. Name its file with --plot."],
    ),
    "figure": (["--plot", "fit.gif"], ["--plot: fit.gif ends in none of .pdf, .png, .svg"]),
    "no folder": (["--json", "nowhere/a.json"], ["--json: there is no folder nowhere"]),
    "folder": (["--json", "."], ["--json: . is a folder"]),
    "itself": (["--json", "runs.csv"], ["--json: runs.csv is the table itself"]),
    "one file twice": (
        ["--json", "a.png", "--plot", "./a.png"],
        ["--json and --plot: both name a.png. Name two files."],
    ),
    "several": (
        ["--law", "x", "--predict", "-1", "--plot", "a", "--y-is", "b", "--by", "c"],
        ["--law: no 'x'", "--predict: -1", "--plot: a ends", "--y-is: no 'b'", "no column 'c'"],
    ),
}


@pytest.mark.parametrize(("extra", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_all_named_and_nothing_is_written(
    table, tmp_path, command, monkeypatch, extra, words
):
    monkeypatch.chdir(tmp_path)
    written = ["--json", "out.json"] if "--json" not in extra else []
    status, said, complaints = command(table, "--x", "eflop", "--y", "error", *written, *extra)
    assert (status, said) == (2, "")
    assert complaints.startswith("fit-laws:")
    for word in words:
        assert word in complaints
    assert list(tmp_path.iterdir()) == [table]


@pytest.mark.parametrize("missing", ["nix.csv", "nix.parquet"])
def test_a_table_that_is_not_there_is_said(tmp_path, command, missing):
    status, _, complaints = command(tmp_path / missing, "--x", "a", "--y", "b")
    assert status == 2
    assert complaints == f"fit-laws: {tmp_path / missing}: No such file or directory.\n"


def test_a_table_that_is_not_there_hides_no_other_mistake(tmp_path, command):
    _, _, complaints = command(tmp_path / "nix.csv", "--x", "a", "--y", "b", "--law", "x")
    assert "--law: no 'x'" in complaints
    assert "nix.csv: No such file or directory." in complaints


def test_a_folder_is_no_table(tmp_path, command):
    status, _, complaints = command(tmp_path, "--x", "a", "--y", "b")
    assert (status, complaints) == (2, f"fit-laws: {tmp_path}: Is a directory.\n")


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["runs.csv", "--x", "a"], "--y"),
        (["runs.csv", "--y", "a"], "--x"),
        (["fit", "--x", "a", "--y", "b"], "TABLE"),
        (["check"], "LAW.json"),
    ],
)
def test_options_left_out_are_said(command, words, missing):
    status, said, complaints = command(*words)
    assert (status, said) == (2, "")
    assert f"'{missing}'" in complaints
    assert "Traceback" not in complaints


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runs.csv", "--lwa", "power"], "No such option: --lwa (Possible options: --law"),
        (["runs.csv", "--lvel=.5"], "No such option: --lvel (Possible options: "),
        (["runs.csv", "--zzz", "1"], "No such option: --zzz"),
        (
            ["runs.csv", "more.csv", "--x", "a", "--y", "b"],
            "unexpected extra argument(s) (more.csv)",
        ),
        (
            ["check", "law.json", "--tabel", "t"],
            "--tabel (Possible options: --help, --table, --tie)",
        ),
        (["chek", "law.json"], "chek: no such command, and no table. Did you mean 'check'"),
    ],
)
def test_options_and_commands_that_there_are_not_are_told_with_the_near_ones(words, said, command):
    status, printed, complaints = command(*words)
    assert (status, printed) == (2, "")
    assert said in complaints
    assert "Traceback" not in complaints


def test_a_law_of_no_such_name_is_refused_with_all_names(table, command):
    status, _, complaints = command(table, "--x", "eflop", "--y", "error", "--law", "m5")
    assert status == 2
    for name in (*EVERY_LAW, "m1", "m2"):
        assert name in complaints


@pytest.mark.parametrize("level", ["90", "1", "half", "0"])
def test_a_level_that_is_no_probability_is_refused(level, table, command):
    status, _, complaints = command(table, "--x", "eflop", "--y", "error", "--level", level)
    assert status == 2
    assert "--level" in complaints
    assert "0.01 to 0.999" in complaints or "valid number" in complaints
    assert "Traceback" not in complaints


@pytest.mark.slow
def test_a_group_that_cannot_be_fitted_is_left_out_and_said(table, tmp_path, command, answer):
    with table.open("a") as file:
        file.write("L,1,0.5\nL,2,0.4\n")
    arguments = table, "--x", "eflop", "--y", "error", "--by", "model"
    found, complaints = answer(*arguments, "--predict", "10")
    *fitted, failed = found["groups"]
    assert [group["group"]["model"] for group in fitted] == ["S", "B"]
    assert all(group["parameters"] for group in fitted)
    assert failed["group"] == {"model": "L"}
    assert failed["runs"] == 2
    assert failed["predictions"] == []
    for name in ("parameters", "points", "rms", "holdout"):
        assert failed[name] is None
    refusal = failed["refusal"]
    assert refusal.startswith("2 of 2 points are to be fitted")
    assert f"warning: model=L: no fit: {refusal}" in complaints
    status, said, _ = command(*arguments, "--plot", tmp_path / "fit.svg")
    assert status == 0
    assert "L      no fit" in said
    assert f"warning: no fit: {refusal}" in command(*arguments, "--details")[1]
    assert "model=L" in (tmp_path / "fit.svg").read_text()


def test_fewer_points_than_parameters_are_said_with_a_way_out(tmp_path, command):
    path = tmp_path / "runs.csv"
    path.write_text("x,y,m\n1,0.5,a\n2,0.4,a\n3,0.3,a\n4,0.2,b\n")
    status, _, complaints = command(path, "--x", "x", "--y", "y", "--by", "m")
    assert status == 2
    first, second = complaints.splitlines()[1:]
    assert f"{path}, m=a: 3 of 3 points are to be fitted" in first
    assert f"{path}, m=b: 1 of 1 points" in second
    assert "try --law power, which has 2; or" in first
    assert "leave the group out with --where 'm!=b'" in second


def test_an_accuracy_taken_for_an_error_is_suspected(tmp_path, command):
    path = tmp_path / "runs.csv"
    rows = [f"{x},{1 - 0.5 * x**-0.3:.3f}" for x in range(1, 9)]
    path.write_text("\n".join(["x,y", *rows]))
    status, _, complaints = command(path, "--x", "x", "--y", "y")
    assert status == 2
    assert "1 of 8 points are to be fitted" in complaints
    assert "--y-is accuracy if y grows as runs get better" in complaints


@pytest.mark.skipif(sys.platform != "linux", reason="limits on addresses are of Linux")
def test_a_limit_on_memory_too_low_to_start_in_is_answered_in_words(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("x,y\n1,0.5\n10,0.4\n100,0.33\n1000,0.3\n")
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20)); "
        "from fits.fit_laws import main; sys.exit(main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", code, str(path), "--x", "x", "--y", "y"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("fit-laws: there is not enough memory")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="limits on addresses are of Linux")
def test_blas_has_its_memory_before_a_table_takes_what_a_limit_leaves():
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (500 << 20, 500 << 20))\n"
        "from fits.cli.output import ending\n"
        "def work():\n"
        "    import numpy as np\n"
        "    kept = []\n"
        "    try:\n"
        "        while True:\n"
        "            kept.append(np.empty(1 << 20, np.uint8))\n"
        "    except MemoryError:\n"
        "        del kept[-16:]\n"
        "    import scipy.special\n"
        "    ones = np.ones((256, 256))\n"
        "    assert (ones @ ones == 256).all()\n"
        "sys.exit(ending(work))"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
