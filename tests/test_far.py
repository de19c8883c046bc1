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


BELOW = [
    ([], [*OF_COMPUTE, "--predict", "1e12"], "--predict"),
    ([], [*OF_SIZE, "--predict", "1e3,1e10"], "--predict"),
    (["downstream"], [*CHAIN, "--y-is", "accuracy", "--predict", "1e12"], "--predict"),
    (
        ["next"],
        [*OF_COMPUTE, "--predict", "1e12", "--budget", "1e21", "--grid", "C=1e20,1e21"],
        "--predict",
    ),
]


@pytest.mark.parametrize(("command", "asked", "option"), BELOW)
def test_more_than_a_thousand_times_below_the_smallest_is_refused_unless_far(
    runs, command, asked, option, capsys
):
    assert main([*command, runs, *asked]) == 2
    said = capsys.readouterr().err
    assert f"{option}: the smallest fitted, " in said
    assert "more than 1,000 times below its runs. Check the unit, or say --far." in said
    assert main([*command, runs, *asked, "--far"]) == 0


@pytest.fixture
def experts(tmp_path):
    rng = np.random.default_rng(0)
    n, e = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e9, 6), 2.0 ** np.arange(1, 9)))
    loss = 12 * n**-0.08 * e**-0.05 * np.exp(rng.normal(0, 0.002, len(n)))
    path = tmp_path / "experts.csv"
    return written(path, N=n, E=e, loss=loss)


OF_EXPERTS = ["--x", "N", "--x", "E", "--y", "loss", "--y-is", "loss", "--law", "routed"]
NEXT = ["--budget", "1e12", "--per", "1"]


@pytest.mark.parametrize(
    ("command", "asked", "option"),
    [
        ([], ["--predict", "1e9,0.5"], "--predict"),
        (["next"], ["--predict", "1e9,0.5", "--grid", "N=1e9", "--grid", "E=2,4"], "--predict"),
        (["next"], ["--predict", "1e9,2", "--grid", "N=1e9", "--grid", "E=0.5,4"], "--grid"),
    ],
)
def test_places_that_a_law_does_not_have_are_refused_far_or_not(
    experts, command, asked, option, capsys
):
    more = NEXT if command else []
    assert main([*command, experts, *OF_EXPERTS, *asked, *more, "--far"]) == 2
    assert f"{option}: E is 0.5, and E of law routed is at least 1: " in capsys.readouterr().err


def test_a_pool_of_densities_is_no_pool_of_experts(tmp_path, capsys):
    rng = np.random.default_rng(0)
    table = tmp_path / "pool.csv"
    lines = [f"{1e9 * share:.6g},{share:.6g},3,1" for share in rng.uniform(0.1, 1, 20)]
    table.write_text("\n".join(["N,E,loss,cost", *lines, "1e8,0.5,,1"]) + "\n")
    asked = ["pool", str(table), *OF_EXPERTS, "--cost", "cost", "--budget", "5"]
    assert main([*asked, "--predict", "1e9,4"]) == 2
    assert "and E of law routed is at least 1" in capsys.readouterr().err
