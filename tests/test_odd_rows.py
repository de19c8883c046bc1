"""Rows in another unit than the others, and slips in one row, where compute is k N D."""

import numpy as np
import pytest

from fits.fit_laws import main
from fits.laws.chinchilla import chinchilla

LAW = 1.82, 478.0, 0.3473, 2143.0, 0.3672
COLUMNS = ["--size", "N", "--data", "D", "--flops", "C", "--y", "loss", "--y-is", "loss"]


def written(path, moved=(), column="C", times=1.0, per=lambda n: 6.0):
    """IsoFLOP profiles; in the rows `moved` (0 is line 2) a column is `times` what it should be."""
    rng = np.random.default_rng(0)
    rows = []
    for c in np.geomspace(1e19, 1e21, 6):
        for n in 0.09 * c**0.5 * np.geomspace(0.25, 4, 7):
            d = c / per(n) / n
            loss = float(chinchilla(n, d, *LAW) * np.exp(rng.normal(0, 0.002)))
            rows.append({"N": n, "D": d, "C": c, "loss": loss})
    for row in moved:
        rows[row][column] *= times
    lines = [",".join(rows[0]), *(",".join(f"{v:.9g}" for v in row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.mark.parametrize("column", ["N", "D", "C"])
@pytest.mark.parametrize("times", [1e-9, 1e-3, 1e6])
def test_rows_in_another_unit_are_named_and_refused(column, times, tmp_path, capsys):
    table = written(tmp_path / "runs.csv", range(7, 14), column, times)
    assert main(["optimal", table, *COLUMNS]) == 2
    said = capsys.readouterr().err
    assert "in 7 of 42 rows (line 9, line 10, line 11, ...)" in said
    assert "--unit" not in said  # no unit of the whole column explains them


@pytest.mark.parametrize("command", ["optimal", "best-size"])
def test_sizes_in_two_units_are_refused_without_a_column_of_compute_too(command, tmp_path, capsys):
    table = written(tmp_path / "runs.csv", range(7), "N", 1e-6)
    columns = {
        "optimal": [*COLUMNS[:4], *COLUMNS[6:]],
        "best-size": ["--x", "N", "--x", "D", *COLUMNS[6:], "--law", "chinchilla"],
    }
    asked = ["--budget", "1e21"] if command == "best-size" else []
    assert main([command, table, *columns[command], *asked]) == 2
    assert "in 7 of 42 rows (line 2, line 3, line 4, ...)" in capsys.readouterr().err


@pytest.mark.parametrize(("column", "times"), [("N", 10), ("D", 0.1), ("C", 100), ("C", 0.1)])
def test_a_slip_in_one_row_is_named_and_moves_no_ratio(column, times, tmp_path, capsys):
    table = written(tmp_path / "runs.csv", [20], column, times)
    assert main(["optimal", table, *COLUMNS]) == 0
    said = capsys.readouterr()
    assert "data in ones: 6 FLOPs a parameter and example" in said.out
    assert "1 of 42 rows (line 22)" in said.out + said.err


def test_ratios_that_differ_from_size_to_size_are_no_slips(tmp_path, capsys):
    table = written(tmp_path / "runs.csv", per=lambda n: 6 + 60 * (n < 6e8))
    assert main(["optimal", table, *COLUMNS]) == 0
    said = capsys.readouterr()
    assert "compute is not proportional" in said.out + said.err
    assert "of 42 rows" not in said.out + said.err


def test_flops_that_are_told_and_not_used_are_said_to_be(tmp_path, capsys):
    table = written(tmp_path / "runs.csv")
    assert main(["optimal", table, *COLUMNS, "--flops-per-nd", "100"]) == 0
    assert "--flops-per-nd 100 is not used: C, N and D are columns" in capsys.readouterr().out
    assert main(["optimal", table, *COLUMNS, "--flops-per-nd", "6"]) == 0
    assert "not used" not in capsys.readouterr().out
