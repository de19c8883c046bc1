"""`fit-laws pool`: which run of a table to do next, and what it says of the target region."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from fits.fit_laws import main
from fits.laws.chinchilla import CHINCHILLA

TRUTH = 1.7, 400.0, 0.34, 400.0, 0.28
ASKED = ["--x", "N", "--x", "D", "--y", "loss", "--y-is", "loss", "--target", "flops>=1e22"]


@pytest.fixture
def table(tmp_path):
    """Runs of eight sizes and durations, of which cheap ones are done."""
    grid = np.meshgrid(np.geomspace(1e7, 1e10, 8), np.geomspace(1e9, 1e12, 8))
    size, data = (each.ravel() for each in grid)
    order = np.argsort(size * data, kind="stable")
    off = np.random.default_rng(0).normal(size=len(order))

    def write(done, *, cost=lambda k, flops: flops):
        path = tmp_path / f"runs{len(done)}.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["N", "D", "flops", "loss"])
            for k, run in enumerate(order.tolist()):
                x = size[run], data[run]
                loss = CHINCHILLA.predict(np.array(x), *TRUTH) * np.exp(0.002 * off[run])
                flops = cost(k, 6 * x[0] * x[1])
                writer.writerow([*x, flops, f"{loss:.6g}" if k in done else ""])
        return str(path)

    return write


def answer(capsys, *words):
    assert main(["pool", *map(str, words), "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def test_it_predicts_the_target_region_and_names_an_affordable_run_that_is_not_done(table, capsys):
    found = answer(capsys, table(range(0, 40, 2)), *ASKED, "--budget", 1e21)
    assert found["done"] == 20
    assert len(found["targets"]) == 3
    for each in found["targets"]:
        truth = CHINCHILLA.predict(np.array(each["x"]), *TRUTH)
        assert each["error"]["value"] == pytest.approx(truth, rel=0.03)
        assert each["error"]["low"] < truth < each["error"]["high"]
    lines = [each["line"] for each in found["runs"]]
    assert len(set(lines)) == len(lines)
    assert found["runs"][-1]["spent"] <= 1e21
    assert all(line % 2 == 1 or line > 41 for line in lines)  # the header is line 1
    assert all(each["x"][0] * each["x"][1] * 6 < 1e22 for each in found["runs"])


def test_what_is_printed_names_line_cost_and_interval(table, capsys):
    assert main(["pool", table(range(0, 40, 2)), *ASKED, "--budget", "1e21"]) == 0
    printed = capsys.readouterr().out
    assert "20 runs done" in printed
    assert "90% intervals of what will be measured" in printed
    assert "next: line " in printed
    assert "FLOPs" in printed


def test_with_few_runs_done_cheap_ones_come_first_and_nothing_is_said_of_the_target(table, capsys):
    found = answer(capsys, table([0, 1]), *ASKED, "--budget", 1e21)
    assert found["width"] is None
    assert found["targets"][0]["error"] is None
    assert {each["width"] for each in found["runs"]} == {None}
    assert main(["pool", table([0, 1]), *ASKED, "--budget", "1e21"]) == 0
    printed = capsys.readouterr().out
    assert "too few runs are done to predict them" in printed
    assert "first, cheap ones at random" in printed


def test_a_place_may_be_asked_for_in_place_of_rows(table, capsys):
    words = [*ASKED[:-2], "--predict", "1e10,1e12", "--budget", 1e21]
    found = answer(capsys, table(range(0, 40, 2)), *words)
    (target,) = found["targets"]
    assert target["line"] is None
    assert target["error"]["value"] == pytest.approx(
        CHINCHILLA.predict(np.array([1e10, 1e12]), *TRUTH), rel=0.03
    )


def test_several_laws_count_together_those_of_fewer_variables_too(tmp_path, table, capsys):
    path = tmp_path / "three.csv"
    header, *rows = Path(table(range(0, 40, 2))).read_text().splitlines()
    path.write_text("\n".join([f"{header},U", *(f"{row},{row.split(',')[1]}" for row in rows)]))
    words = [*ASKED[:4], "--x", "U", *ASKED[4:], "--budget", 1e21]
    found = answer(capsys, path, *words, "--law", "repeated", "--law", "chinchilla")
    assert found["laws"] == ["repeated", "chinchilla in N, D"]
    assert found["spec"]["law"] == "repeated"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--law", "chinchila"], "no chinchila of several variables. Did you mean 'chinchilla'?"),
        (["--law", "power"], "no power of several variables"),
        (["--law", "repeated"], "repeated is of N, D, U; name --x once for each, in order."),
        (["--law", "chinchilla", "--law", "routed"], "routed is of N, E, which chinchilla is not"),
        (["--budget", "1"], "--budget: the cheapest run on offer costs "),
        (["--target", "flops>=1e40"], "no row has flops>=1e40"),
        (["--cost", "hours"], "no column 'hours'"),
        (["--predict", "1e10"], "--predict: 1e10 is not 2 numbers"),
        (["--predict", "1e15,1e12"], "more than 1,000 times ahead"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_what_cannot_be_is_said(words, said, table, capsys):
    asked = [*ASKED, "--budget", "1e21", *words]
    assert main(["pool", table(range(0, 40, 2)), *asked]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert said in printed.err


def test_nothing_to_predict_and_nothing_on_offer_are_said_together(table, capsys):
    path = table(range(64))
    assert main(["pool", path, *ASKED[:-2], "--budget", "1e21"]) == 2
    said = capsys.readouterr().err
    assert "nothing is to be predicted. Say by --target" in said
    assert "none is on offer" in said


def test_a_cost_of_zero_is_named_with_its_line(table, capsys):
    path = table(range(0, 40, 2), cost=lambda k, flops: 0 if k == 3 else flops)
    assert main(["pool", path, *ASKED, "--budget", "1e21"]) == 2
    assert "line 5: flops is 0, not above 0, which every cost is." in capsys.readouterr().err


def test_a_run_without_a_cost_is_named(table, capsys):
    path = table(range(0, 40, 2), cost=lambda k, flops: "" if k in (3, 4) else flops)
    asked = [*ASKED[:-1], "N>=9e9", "--budget", "1e21"]
    assert main(["pool", path, *asked]) == 2
    said = capsys.readouterr().err
    assert "line 5: flops is empty. Write what the run costs, or leave its row out." in said
    assert "line 6: flops is empty" in said


def test_rows_of_the_target_region_that_lie_too_far_beyond_the_others_are_refused(table, capsys):
    path = Path(table(range(0, 40, 2)))
    path.write_text(f"{path.read_text()}1e15,1e12,6e27,\n")
    asked = ["pool", str(path), *ASKED[:-1], "flops>=1e27", "--budget", "1e21"]
    assert main(asked) == 2
    said = capsys.readouterr().err
    assert "--target: line 66: 1e+15 is 1e+05 times the largest fitted" in said
    assert main([*asked, "--far"]) == 0
