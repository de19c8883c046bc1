"""fit-laws optimal: what it prints and writes, and what it says of mistakes."""

import csv
import json

import numpy as np
import pytest

from fits.allocation.report import allocate
from fits.base.numbers import Estimate
from fits.cli.optimal import _open
from fits.fit_laws import main
from fits.laws.chinchilla import chinchilla
from fits.spec import FitSpec

LAW = 1.82, 478.0, 0.3473, 2143.0, 0.3672


@pytest.fixture
def table(tmp_path):
    """Profiles of nine sizes at six budgets."""
    rng = np.random.default_rng(0)
    path = tmp_path / "runs.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["params", "images", "flops", "loss"])
        for compute in np.geomspace(1e19, 1e21, 6):
            for size in 0.09 * compute**0.5 * np.geomspace(0.25, 4, 9):
                data = compute / 6 / size
                loss = chinchilla(size, data, *LAW) * np.exp(rng.normal(0, 0.002))
                rows.writerow([size, data, compute, float(loss)])
    return path


COLUMNS = ["--size", "params", "--data", "images", "--y", "loss", "--y-is", "loss"]


def test_how_a_table_was_read_is_a_note_and_no_warning(table, capsys):
    table.write_text(table.read_text().replace(",", ";"))
    assert main(["optimal", str(table), *COLUMNS, "--compute", "1e21"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert next(line for line in said if "read as" in line).startswith("note: ")


def test_every_question_is_answered_in_json_and_on_paper(table, capsys):
    asked = [
        "--compute",
        "1e22",
        "--target-error",
        "2.2",
        "--target-error",
        "1.5",
        "--trained",
        "1e10,1e10",
    ]
    out = table.with_name("answer.json")
    assert main(["optimal", str(table), *COLUMNS, *asked, "--json", str(out)]) == 0
    said = capsys.readouterr().out
    for words in ("the best size grows", "of 1e+22 FLOPs", "times less compute", "twice the data"):
        assert words in said
    assert "loss 1.5 takes FLOPs without end" in said
    assert "compute = 1e+22 is 10 times the largest compute fitted" in said
    answer = json.loads(out.read_text())
    assert [each["method"] for each in answer["methods"]] == [
        "envelope of all runs",
        "profiles at equal compute",
        "law of size and data",
    ]
    (budget,) = answer["divisions"]
    for size in budget["sizes"].values():
        assert size["low"] < size["value"] < size["high"]
    product = budget["sizes"]["law of size and data"]["value"] * budget["data"]["value"]
    assert product == pytest.approx(1e22 / 6, rel=1e-6)
    assert answer["target_errors"][1]["compute"]["value"] is None
    assert answer["trained"][0]["compute_ratio"]["low"] > 1


def test_a_notebook_has_the_answer_that_the_command_writes(table, capsys):
    asked = ["--compute", "1e22", "--target-error", "2.2", "--trained", "1e10,1e10"]
    assert main(["optimal", str(table), *COLUMNS, *asked, "--json", "-"]) == 0
    spec = FitSpec(x=("params", "images"), y="loss", y_is="loss", law="chinchilla")
    found = allocate(table, spec, compute=[1e22], target_errors=[2.2], trained=[(1e10, 1e10)])
    assert found.model_dump(mode="json") == json.loads(capsys.readouterr().out)
    assert found.divisions[0].error.low < found.divisions[0].error.value


def test_data_follow_from_flops_and_flops_from_data(table, capsys):
    asked = ["optimal", str(table), "--y", "loss", "--y-is", "loss", "--json", "-"]
    answers = []
    for columns in (["--data", "images"], ["--flops", "flops"]):
        assert main([*asked, "--size", "params", *columns, "--compute", "1e20"]) == 0
        sizes = json.loads(capsys.readouterr().out)["divisions"][0]["sizes"]
        answers.append([size["value"] for size in sizes.values()])
    np.testing.assert_allclose(*answers, rtol=1e-6)


def test_methods_that_the_runs_do_not_allow_are_named_and_the_others_answer(table, capsys):
    """One size a budget: there is no profile."""
    few = table.with_name("few.csv")
    lines = table.read_text().splitlines()
    few.write_text("\n".join([lines[0], *lines[1::9], *lines[5::9]]) + "\n")
    assert main(["optimal", str(few), *COLUMNS, "--compute", "1e20"]) == 0
    said = capsys.readouterr().out
    assert "none: profiles at equal compute: 0 budgets have at least 5 sizes" in said
    assert "law of size and data" in said


def test_one_size_has_no_best_and_that_is_said_by_every_command(table, capsys, tmp_path):
    path = tmp_path / "one.csv"
    data = np.geomspace(1e9, 1e11, 12)
    loss = chinchilla(3e8, data, *LAW) * np.exp(np.random.default_rng(0).normal(0, 0.002, 12))
    rows = (f"3e8,{d:.6g},{y:.5f}" for d, y in zip(data, loss, strict=True))
    path.write_text("\n".join(["params,tokens,loss", *rows]))
    of_loss = ["--y", "loss", "--y-is", "loss"]
    best_size = ["--x", "params", "--x", "tokens", "--law", "chinchilla", "--budget", "1e20"]
    for command, words in {
        "optimal": ["--size", "params", "--data", "tokens"],
        "best-size": best_size,
    }.items():
        assert main([command, str(path), *words, *of_loss]) == 0
        said = capsys.readouterr()
        assert "all runs have about the same size, 3e+08" in said.out
        assert "are not identifiable, and so neither is the best size; add runs of" in said.out
        assert not said.err


def test_budgets_of_no_profile_or_that_share_runs_are_mistakes(table, capsys):
    compute = sorted({float(line.split(",")[2]) for line in table.read_text().splitlines()[1:]})
    first, last = f"{compute[0]:g}", f"{compute[-1]:g}"
    named = [first, f"{1.1 * compute[0]:g}", "1e30", last]
    words = [word for each in named for word in ("--budgets", each)]
    assert main(["optimal", str(table), *COLUMNS, *words]) == 2
    said = capsys.readouterr().err
    assert "--budgets: 0 sizes were tried within 1.25 times 1e+30, and a profile needs 5" in said
    assert f"--budgets: {first} and {named[1]} are within 1.25 times each other" in said
    words = ["--budgets", last, "--budgets", first, "--budgets", first]
    assert main(["optimal", str(table), *COLUMNS, *words]) == 0


def test_all_mistakes_are_named_at_once_and_nothing_is_written(table, capsys):
    wrong = ["--compute", "-1", "--trained", "5", "--plot", "x.gif", "--per", "-6"]
    assert main(["optimal", str(table), *COLUMNS, *wrong, "--level", "2"]) == 2
    said = capsys.readouterr().err
    for words in (
        "--compute: -1",
        "--trained: 5 is not 2",
        "x.gif",
        "--flops-per-nd: -6",
        "--level: 2",
    ):
        assert words in said
    asked = [*COLUMNS, "--curve", "rum", "--cluster", "rom", "--weights", "rim"]
    assert main(["optimal", str(table), *asked]) == 2
    said = capsys.readouterr().err
    assert all(f"'{name}'" in said for name in ("rum", "rom", "rim"))
    assert sorted(path.name for path in table.parent.iterdir()) == ["runs.csv"]


def test_size_alone_is_no_compute(table, capsys):
    assert main(["optimal", str(table), "--size", "params", "--y", "loss"]) == 2
    assert "give --data, --flops, or both" in capsys.readouterr().err


@pytest.mark.slow
def test_the_figure_is_the_same_file_every_time(table):
    files = [table.with_name(name) for name in ("one.png", "two.png")]
    for file in files:
        assert (
            main(["optimal", str(table), *COLUMNS, "--compute", "1e22", "--plot", str(file)]) == 0
        )
    assert files[0].read_bytes() == files[1].read_bytes()


def runs_of_a_law(path, size, data, seed, noise=0.01):
    loss = chinchilla(size, data, *LAW) * np.exp(
        noise * np.random.default_rng(seed).normal(size=len(size))
    )
    rows = [f"{n:.6g},{d:.6g},{y:.5f}" for n, d, y in zip(size, data, loss, strict=True)]
    path.write_text("\n".join(["params,images,loss", *rows]) + "\n")
    return path


ASKED = "--compute", "1e21", "--target-error", "2.5", "--trained", "1e9,2e10"


@pytest.mark.slow
def test_data_in_proportion_to_size_do_not_tell_alpha_from_beta_and_that_is_said(tmp_path, capsys):
    size = np.geomspace(1e7, 1e9, 16)
    path = runs_of_a_law(tmp_path / "d20.csv", size, 20 * size, 3)
    assert main(["optimal", str(path), *COLUMNS, *ASKED]) == 0
    said = capsys.readouterr().out
    assert "law of size and data: data were in proportion to size, 20 times it: " in said
    assert "alpha and beta are not identifiable" in said
    assert "none: envelope of all runs: data were in proportion" in said
    assert main(["optimal", str(path), *COLUMNS, "--json", "-"]) == 0
    (law,) = (m for m in json.loads(capsys.readouterr().out)["methods"] if m["exponent"])
    (line,) = (each for each in law["diagnostics"] if each["code"] == "collinear")
    assert line["parameters"] == ["alpha", "beta"]
    assert "inf" not in said
    assert "no end" in said


@pytest.mark.parametrize(("seed", "runs"), [(1, 6), (4, 5), (5, 6)])
def test_a_handful_of_runs_is_answered_without_a_stray_warning(seed, runs, tmp_path, capsys):
    """Warnings are errors here; intervals have no ends, and predictions leave all numbers."""
    rng = np.random.default_rng(seed)
    size, data = (np.exp(rng.uniform(*np.log(ends), runs)) for ends in ((1e7, 1e9), (1e8, 1e10)))
    path = runs_of_a_law(tmp_path / "few.csv", size, data, seed)
    assert main(["optimal", str(path), *COLUMNS, *ASKED]) == 0
    assert "the best size grows" in capsys.readouterr().out


def test_how_well_the_law_predicts_is_said_on_one_line(table, capsys):
    assert main(["optimal", str(table), *COLUMNS]) == 0
    (line,) = (each for each in capsys.readouterr().out.splitlines() if "hold-out" in each)
    assert line.startswith("hold-out of the 18 largest, log error: chinchilla 0.00")
    assert " in N " in line or " in D " in line
    assert main(["optimal", str(table), *COLUMNS, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["holdout"]["best"] == "chinchilla"


def test_a_lower_level_narrows_every_interval(table, capsys):
    widths = []
    for level in ("0.5", "0.95"):
        asked = [*COLUMNS, "--compute", "1e20", "--json", "-", "--level", level]
        assert main(["optimal", str(table), *asked]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["spec"]["level"] == float(level)
        sizes = found["divisions"][0]["sizes"].values()
        widths.append([size["high"] / size["low"] for size in sizes])
    assert all(narrow < wide for narrow, wide in zip(*widths, strict=True))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ((2e19, 1e19, np.inf), "2e+19 [1e+19, no end]"),
        ((np.inf, 3e24, np.inf), "without end: the floor is fitted above it; at least 3e+24"),
        ((np.inf, 0.0, np.inf), "without end: the floor is fitted above it"),
        (
            (np.inf, np.inf, np.inf),
            "without end: the floor is fitted above it, with all of its interval",
        ),
    ],
)
def test_compute_without_end_is_told_in_words(found, said):
    assert _open(Estimate(*found)) == said


def test_what_a_method_does_not_use_is_said_of_it(table, capsys):
    out = table.with_name("answer.json")
    terms = ["--loss", "huber", "--scale", "linear"]
    assert main(["optimal", str(table), *COLUMNS, *terms, "--json", str(out)]) == 0
    found = [
        each["parameters"]
        for each in json.loads(out.read_text())["diagnostics"]
        if each["code"] == "options_not_used"
    ]
    assert found == [
        ["envelope of all runs", "--loss huber", "--scale linear"],
        ["profiles at equal compute", "--loss huber", "--scale linear"],
    ]
    assert "envelope of all runs: does not use --loss huber" in capsys.readouterr().out


def test_a_law_fitted_near_the_best_sizes_doubts_what_it_says_of_models_far_from_them(
    table, tmp_path, capsys
):
    """Larger models lie above the law, as after a long warm-up."""
    rng, path = np.random.default_rng(0), tmp_path / "warm-up.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["params", "images", "loss"])
        for compute in np.geomspace(1e19, 1e21, 6):
            for away in np.geomspace(0.1, 10, 11):
                size = 0.09 * compute**0.5 * away
                loss = chinchilla(size, compute / 6 / size, *LAW) * np.exp(rng.normal(0, 0.001))
                rows.writerow([size, compute / 6 / size, loss * max(away / 3, 1) ** 0.08])
    trained = "--trained", "1e9,1e11", "--trained", "1e9,1e12"
    assert main(["optimal", str(path), *COLUMNS, *trained, "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    codes = [each["code"] for each in report["methods"][2]["diagnostics"]]
    assert codes[0] == "law_near_best"
    far = [each for each in report["diagnostics"] if each["code"] == "far_from_best"]
    assert [each["numbers"]["size"] for each in far] == [1e9]
    assert 1 / 12 < far[0]["numbers"]["times"] < 1 / 3
