"""Extrapolations of more than 1,000 times are refused by every command; laws that rise and fall."""

import numpy as np
import pytest

from fits.fit_laws import main
from fits.laws.chinchilla import chinchilla

LAW = 1.82, 478.0, 0.3473, 2143.0, 0.3672


def written(path, **columns):
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(f"{each:.9g}" for each in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def runs(tmp_path):
    rng = np.random.default_rng(0)
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e9, 1e11, 6)))
    loss = chinchilla(n, d, *LAW) * np.exp(rng.normal(0, 0.002, len(n)))
    accuracy = 1 - 0.9 * np.exp(-1.0 / loss) * np.exp(rng.normal(0, 0.002, len(n)))
    path = tmp_path / "runs.csv"
    return written(path, N=n, D=d, C=6 * n * d, loss=loss, accuracy=accuracy)


OF_SIZE = ["--x", "N", "--x", "D", "--y", "loss", "--y-is", "loss", "--law", "chinchilla"]
OF_COMPUTE = ["--x", "C", "--y", "loss", "--y-is", "loss", "--law", "power-floor"]
CHAIN = ["--x", "C", "--law", "power-floor", "--through", "loss", "--y", "accuracy"]


@pytest.mark.parametrize(
    ("command", "asked", "option"),
    [
        ([], [*OF_COMPUTE, "--predict", "1e25"], "--predict"),
        (["best-size"], [*OF_SIZE, "--budget", "1e30"], "--budget"),
        (["downstream"], [*CHAIN, "--y-is", "accuracy", "--predict", "1e25"], "--predict"),
        (
            ["next"],
            [*OF_COMPUTE, "--predict", "1e25", "--budget", "1e21", "--grid", "C=1e20,1e21"],
            "--predict",
        ),
        (
            ["optimal"],
            ["--size", "N", "--data", "D", *OF_SIZE[4:8], "--target-error", "1.87"],
            "--target-error 1.87",
        ),
    ],
)
def test_more_than_a_thousand_times_ahead_is_refused_unless_far(
    runs, command, asked, option, capsys
):
    assert main([*command, runs, *asked]) == 2
    assert f"{option}: " in (said := capsys.readouterr().err)
    assert "say --far" in said
    assert main([*command, runs, *asked, "--far"]) == 0


@pytest.mark.slow
def test_comparing_so_far_ahead_is_refused_unless_far(runs, capsys):
    asked = ["compare", runs, runs, *OF_COMPUTE, "--predict", "1e25"]
    assert main(asked) == 2
    assert "--predict: 1e+25 is" in capsys.readouterr().err
    assert main([*asked, "--far"]) == 0


@pytest.mark.slow
def test_a_law_of_downstream_error_rises_and_nothing_odd_is_said_of_that(runs, capsys):
    asked = ["downstream", runs, *CHAIN, "--predict", "1e21"]
    assert main([*asked, "--y-is", "accuracy"]) == 0
    assert "can only" not in capsys.readouterr().out
    assert main([*asked, "--y-is", "error"]) == 0
    said = capsys.readouterr().out
    assert "accuracy as error falls as loss grows, and law exponential can only rise" in said
    assert "--y-is accuracy" in said


def test_units_in_the_names_of_columns_count_for_the_best_size(runs, tmp_path, capsys):
    n, d, loss = np.loadtxt(runs, delimiter=",", skiprows=1, usecols=(0, 1, 3)).T
    table = written(tmp_path / "units.csv", **{"N (M)": n / 1e6, "D [B]": d / 1e9, "loss": loss})
    answers = []
    for path in (runs, table):
        assert main(["best-size", path, *OF_SIZE, "--budget", "1e22"]) == 0
        line = next(each for each in capsys.readouterr().out.splitlines() if "  N   " in each)
        answers.append(float(line.split()[1]))
    assert answers[0] == pytest.approx(1e6 * answers[1], rel=1e-2)


def test_a_law_named_for_a_quantity_is_not_replaced_without_a_word(tmp_path, capsys):
    x = np.geomspace(1e18, 1e22, 8)
    table = written(tmp_path / "q.csv", C=x, B=1e-3 * x**0.4)
    asked = [table, "--x", "C", "--y", "B", "--y-is", "quantity"]
    assert main(asked) == 0
    assert main([*asked, "--law", "saturating"]) == 2
    assert "--law: saturating is of an error that falls" in capsys.readouterr().err


def test_best_size_without_a_law_says_which_there_are(runs, capsys):
    asked = ["best-size", runs, *OF_SIZE[:-2], "--budget", "1e22"]
    assert main(asked) == 2
    assert "--law: saturating is not of size and data. Use chinchilla" in capsys.readouterr().err
