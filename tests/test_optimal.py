"""fit-laws optimal: what it prints and writes, and what it says of mistakes."""

import csv
import json

import numpy as np
import pytest

from fits.fit_laws import main
from fits.surfaces import chinchilla

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


def test_every_question_is_answered_in_json_and_on_paper(table, capsys):
    asked = ["--compute", "1e22", "--reach", "2.2", "1.5", "--against", "1e10,1e10"]
    out = table.with_name("answer.json")
    assert main(["optimal", str(table), *COLUMNS, *asked, "--json", str(out)]) == 0
    said = capsys.readouterr().out
    for words in ("the best size grows", "of 1e+22 FLOPs", "times cheaper", "twice the data"):
        assert words in said
    assert "loss 1.5 takes FLOPs without end" in said
    assert "1e+22 is 10 times the largest compute" in said
    answer = json.loads(out.read_text())
    assert [way["way"] for way in answer["ways"]] == [
        "envelope of all runs",
        "profiles at equal compute",
        "law of size and data",
    ]
    (budget,) = answer["compute"]
    for size in budget["sizes"]:
        assert size["low"] < size["value"] < size["high"]
    product = budget["sizes"][2]["value"] * budget["data"]["value"]
    assert product == pytest.approx(1e22 / 6, rel=1e-6)
    assert answer["reach"][1]["compute"]["value"] is None
    assert answer["against"][0]["cheaper"]["low"] > 1


def test_data_follow_from_flops_and_flops_from_data(table, capsys):
    asked = ["optimal", str(table), "--y", "loss", "--y-is", "loss", "--json", "-"]
    answers = []
    for columns in (["--data", "images"], ["--flops", "flops"]):
        assert main([*asked, "--size", "params", *columns, "--compute", "1e20"]) == 0
        sizes = json.loads(capsys.readouterr().out)["compute"][0]["sizes"]
        answers.append([size["value"] for size in sizes])
    np.testing.assert_allclose(*answers, rtol=1e-6)


def test_ways_that_the_runs_do_not_allow_are_named_and_the_others_answer(table, capsys):
    """One size a budget: there is no profile."""
    few = table.with_name("few.csv")
    lines = table.read_text().splitlines()
    few.write_text("\n".join([lines[0], *lines[1::9], *lines[5::9]]) + "\n")
    assert main(["optimal", str(few), *COLUMNS, "--compute", "1e20"]) == 0
    said = capsys.readouterr().out
    assert "none: profiles at equal compute: 0 budgets have a best size" in said
    assert "law of size and data" in said


def test_all_mistakes_are_named_at_once_and_nothing_is_written(table, capsys):
    wrong = ["--compute", "-1", "--against", "5", "--plot", "x.gif", "--per", "six"]
    asked = [*COLUMNS, "--curve", "rum", *wrong]
    assert main(["optimal", str(table), *asked]) == 2
    said = capsys.readouterr().err
    for words in ("--compute: -1", "--against: 5 is not 2", "x.gif", "--per: six", "'rum'"):
        assert words in said
    assert sorted(path.name for path in table.parent.iterdir()) == ["runs.csv"]


def test_size_alone_is_no_compute(table, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["optimal", str(table), "--size", "params", "--y", "loss"])
    assert ended.value.code == 2
    assert "give --data, --flops, or both" in capsys.readouterr().err


def test_the_figure_is_the_same_file_every_time(table):
    files = [table.with_name(name) for name in ("one.png", "two.png")]
    for file in files:
        assert (
            main(["optimal", str(table), *COLUMNS, "--compute", "1e22", "--plot", str(file)]) == 0
        )
    assert files[0].read_bytes() == files[1].read_bytes()
