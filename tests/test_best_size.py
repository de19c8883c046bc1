"""fit-laws best-size: budgets of compute and of what else a law takes, and their units."""

import json

import numpy as np
import pytest

from fits.allocation.best_size import sized
from fits.fit_laws import main
from fits.laws.farseer import FARSEER, farseer
from fits.laws.repeated import data_repeated
from fits.laws.sparsity import sparse
from fits.regression.fit import fit

REPEATED = 1.87, 521.0, 0.353, 1488.0, 0.353, 15.4, 5.3
LOSS = ["--y", "loss", "--y-is", "loss"]


def written(path, columns):
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(f"{each:.9g}" for each in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def repeated(path, data="D", unique="U", count=1.0, differing=1.0):
    """Runs that see their data 1 to 40 times; data in `count`, different data in `differing`."""
    rng = np.random.default_rng(0)
    n, u, times = (
        each.ravel()
        for each in np.meshgrid(
            np.geomspace(5e7, 5e9, 5), np.geomspace(1e8, 1e10, 3), [1.0, 4.0, 12.0, 40.0]
        )
    )
    loss = data_repeated(n, u * times, u, *REPEATED) * np.exp(rng.normal(0, 0.003, len(n)))
    columns = {"N": n, data: u * times / count, unique: u / differing, "loss": loss}
    return written(path, columns)


def asked(table, data="D", unique="U"):
    x = ["--x", "N", "--x", data, "--x", unique]
    return ["best-size", table, *x, *LOSS, "--law", "repeated"]


@pytest.fixture
def sparse_runs(tmp_path):
    n, d, p = (
        each.ravel()
        for each in np.meshgrid(
            np.geomspace(2e7, 2e9, 4), np.geomspace(2e9, 6e10, 4), [1.0, 2.0, 4.0, 8.0]
        )
    )
    loss = sparse(n, d, p, 1.7, 200.0, 0.34, 410.0, 0.28, 200.0, 0.8)
    loss = loss * np.exp(np.random.default_rng(0).normal(0, 0.003, len(n)))
    columns = {"N": n, "D": d, "P": p, "density": 1 / p, "sparsity": 1 - 1 / p, "loss": loss}
    return written(tmp_path / "sparse.csv", columns)


@pytest.mark.parametrize(("unique", "times"), [("1e15", "1e+05"), ("10", "1e+07")])
def test_data_at_hand_far_from_those_of_the_runs_are_refused_unless_far(
    unique, times, tmp_path, capsys
):
    words = [*asked(repeated(tmp_path / "runs.csv")), "--budget", f"1e20,{unique}"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "--budget, U" in said
    assert f"{times} times" in said
    assert main([*words, "--far"]) == 0


def test_data_at_hand_outside_those_of_the_runs_are_said_to_be_also_in_json(tmp_path, capsys):
    words = [*asked(repeated(tmp_path / "runs.csv")), "--budget", "1e20,5e10", "--json", "-"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "warning: U = 5e+10 is 5 times the largest U fitted" in said.err
    (found,) = json.loads(said.out)["diagnostics"]
    assert (found["code"], found["parameters"]) == ("extrapolates", ["U"])


def test_data_and_different_data_in_two_units_are_refused(tmp_path, capsys):
    names = {"data": "D (B)", "unique": "U (M)"}
    table = repeated(tmp_path / "runs.csv", **names, count=1e9, differing=1e6)
    assert main([*asked(table, **names), "--budget", "1e20,1e3"]) == 2
    assert "U (M) is in M, and D (B) in B. Write both in one unit" in capsys.readouterr().err


def test_a_table_in_which_nothing_is_repeated_says_nothing_of_repeated_data(tmp_path, capsys):
    table = repeated(tmp_path / "runs.csv", count=1e9, differing=1e6)
    told = ["--unit", "data=B", "--budget", "1e20,1e3"]
    assert main([*asked(table), *told]) == 0
    assert "U is not below D in any row" in capsys.readouterr().out
    assert main([*asked(repeated(tmp_path / "ones.csv")), "--budget", "1e20,1e9"]) == 0
    assert "in any row" not in capsys.readouterr().out


@pytest.mark.parametrize("column", ["density", "sparsity"])
def test_a_density_or_a_sparsity_is_no_ratio_of_parameters(column, sparse_runs, capsys):
    words = [sparse_runs, "--x", "N", "--x", "D", "--x", column, *LOSS, "--law", "sparsity"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "P of law sparsity is at least 1: all parameters over those that a token sees" in said


def test_a_budget_of_less_than_all_parameters_is_refused(sparse_runs, capsys):
    words = ["best-size", sparse_runs, "--x", "N", "--x", "D", "--x", "P", *LOSS]
    assert main([*words, "--law", "sparsity", "--budget", "1e20,0.5"]) == 2
    assert "--budget: P is 0.5, and P of law sparsity is at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["best-size", "optimal"])
def test_flops_of_a_token_are_doubted_where_an_example_is_an_image(command, tmp_path, capsys):
    names = {"data": "images_seen", "unique": "images"}
    table = repeated(tmp_path / "runs.csv", **names)
    words = {
        "best-size": [*asked(table, **names), "--budget", "1e20,1e9"],
        "optimal": [command, table, "--size", "N", "--data", "images_seen", *LOSS],
    }[command]
    assert main(words) == 0
    assert "images_seen are more than tokens, and 6 FLOPs" in capsys.readouterr().out
    assert main([*words, "--flops-per-nd", "1180"]) == 0
    assert "are more than tokens" not in capsys.readouterr().out


def test_a_budget_names_what_it_lacks(tmp_path, capsys):
    words = [*asked(repeated(tmp_path / "runs.csv")), "--budget", "1e20"]
    assert main(words) == 2
    assert "--budget: 1e20 has 1 number, and compute and U are wanted" in capsys.readouterr().err


OF_SCALEBENCH = -0.8485, 0.04801, 1.4894, 111.25, -0.14366, -1.0074, -3.488, 0.02572, 4.7293


def test_a_law_that_falls_without_end_far_from_the_runs_has_its_best_size_in_the_valley():
    """Farseer's law, as fitted to its own runs: its floor sinks below the valley at 1e14."""
    rng = np.random.default_rng(3)
    compute = 10 ** rng.uniform(19, 21.5, 40)
    size = 2e9 * (compute / 1e21) ** 0.45 * np.exp(rng.uniform(-1.5, 1.5, 40))
    data = compute / 6 / size
    loss = farseer(size, data, *OF_SCALEBENCH) * np.exp(rng.normal(0, 0.001, 40))
    found = sized(fit(FARSEER, (size, data), loss), (10**22.5,))
    sizes = np.geomspace(1e9, 1e11, 10_001)
    best = sizes[farseer(sizes, 10**22.5 / 6 / sizes, *OF_SCALEBENCH).argmin()]
    assert found.within
    assert found.size.low < best < found.size.high
    assert found.size.value == pytest.approx(best, rel=0.15)
