"""Two studies compared: the ratio of their laws, compute saved, and what is said of both."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from fits.decisions.compare import diagnostics, equal_error, error_ratio, ratio
from fits.fit_laws import main
from fits.laws.powers import POWER, POWER_FLOOR, SATURATING
from fits.regression.fit import fit

X = np.geomspace(1, 1e4, 24)


def study(a, b, seed, noise=0.01, x=X):
    rng = np.random.default_rng(seed)
    return fit(POWER, x, POWER.predict(x, a, b) * np.exp(noise * rng.normal(size=len(x))))


@pytest.mark.slow
def test_the_intervals_of_ratio_and_saving_hold_the_truth_as_often_as_they_say():
    """Of 24 pairs of studies, nominal 90 %; fewer than 16 would be 1 in 1,000 by chance."""
    held = np.zeros(2, int)
    for seed in range(24):
        a, b = study(0.8, 0.2, 2 * seed), study(0.7, 0.22, 2 * seed + 1)
        _, low, high = ratio(a, b, 1e5)
        held[0] += low < POWER.predict(1e5, 0.7, 0.22) / POWER.predict(1e5, 0.8, 0.2) < high
        error = float(POWER.predict(1e3, 0.8, 0.2))
        truth = 1e3 / (error / 0.7) ** (-1 / 0.22)
        factor = equal_error(a, b, error).x_ratio
        held[1] += factor.low < truth < factor.high
    assert (held >= 16).all(), held


def test_a_study_compared_with_itself_is_equal():
    a = study(0.8, 0.2, 0)
    here = error_ratio(a, a, 100.0)
    assert here.error_ratio.value == 1
    assert here.error_ratio.low < 1 < here.error_ratio.high
    assert here.share_a == pytest.approx(0.5)
    assert equal_error(a, a, here.error_a).x_ratio.value == pytest.approx(1)


def test_swapping_the_studies_turns_every_ratio_round():
    a, b = study(0.8, 0.2, 0), study(0.7, 0.25, 1)
    one, other = (error_ratio(*pair, 50.0).error_ratio for pair in ((a, b), (b, a)))
    assert one.value == pytest.approx(1 / other.value)
    assert (one.low, one.high) == pytest.approx((1 / other.high, 1 / other.low))
    one, other = (equal_error(*pair, 0.3).x_ratio for pair in ((a, b), (b, a)))
    assert one.value == pytest.approx(1 / other.value, rel=1e-6)
    assert (one.low, one.high) == pytest.approx((1 / other.high, 1 / other.low), rel=1e-6)


def test_an_error_below_the_floor_is_out_of_reach_and_its_saving_unknown():
    error = 0.2 + POWER.predict(X, 0.8, 0.6)
    floored = fit(POWER_FLOOR, X, error)
    found = equal_error(floored, study(0.8, 0.2, 0), 0.15)
    assert found.x_a is None
    assert found.x_b == pytest.approx((0.15 / 0.8) ** (-1 / 0.2), rel=0.5)
    assert found.x_ratio is None


def test_the_less_certain_study_has_the_larger_share_of_the_variance():
    sharp, blunt = study(0.8, 0.2, 0, noise=0.002), study(0.8, 0.2, 1, noise=0.05)
    assert error_ratio(sharp, blunt, 10.0).share_a < 0.1
    assert error_ratio(blunt, sharp, 10.0).share_a > 0.9


def test_diagnostics_name_crossings_and_ranges_not_in_common():
    a, b = study(0.8, 0.2, 0), study(0.9, 0.25, 1)
    (found,) = diagnostics(a, b)
    assert found.code == "curves_cross"
    assert found.numbers["x"] == pytest.approx((10.5,), rel=0.2)
    far = study(0.8, 0.2, 1, x=X * 1e6)
    assert [each.code for each in diagnostics(a, far)] == ["no_common_range"]


# The command


@pytest.fixture
def tables(tmp_path):
    paths = []
    for name, a, seed in (("a", 0.8, 0), ("b", 0.7, 1)):
        rng = np.random.default_rng(seed)
        y = POWER.predict(X, a, 0.2) * np.exp(0.01 * rng.normal(size=len(X)))
        lines = [f"{name},{x:.6g},{error:.6f}" for x, error in zip(X, y, strict=True)]
        paths.append(tmp_path / f"{name}.csv")
        paths[-1].write_text("\n".join(["recipe,c,e", *lines]) + "\n")
    return paths


@pytest.fixture
def command(capsys):
    def run(*arguments):
        status = main(["compare", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


COLUMNS = "--x", "c", "--y", "e", "--law", "power", "--all-points"


@pytest.mark.slow
def test_the_better_recipe_and_what_it_saves_are_said(tables, command):
    status, said, _ = command(*tables, *COLUMNS, "--predict", "1e4", "--predict", "1e6")
    assert status == 0
    assert "B is better: B's error is 0.8" in said
    assert "at x = 1e+06:" in said
    assert "B needs 1." in said
    assert "warning: A: x = 1e+06 is 100 times the largest x fitted" in said


@pytest.mark.slow
def test_how_the_law_predicts_is_said_of_both_studies(tables, command):
    arguments = *tables, *COLUMNS
    status, said, _ = command(*arguments)
    assert status == 0
    assert (
        len([line for line in said.splitlines() if line.startswith("     hold-out of the ")]) == 2
    )
    found = json.loads(command(*arguments, "--json", "-")[1])
    assert all("power" in found[study]["holdout"]["trials"] for study in "ab")


@pytest.mark.slow
def test_two_values_of_a_column_compare_as_two_tables_do(tables, tmp_path, command):
    both = tmp_path / "both.csv"
    first, second = (path.read_text() for path in tables)
    both.write_text(first + second.partition("\n")[2])
    arguments = *COLUMNS, "--target-error", "0.3", "--json", "-"
    two = json.loads(command(*tables, *arguments)[1])
    one = json.loads(command(both, "--by", "recipe", *arguments)[1])
    assert (one["name_a"], one["name_b"]) == ("recipe=a", "recipe=b")
    assert (one["predictions"], one["target_errors"]) == (two["predictions"], two["target_errors"])
    (here,) = one["predictions"]
    assert here["x"] == pytest.approx(1e4)
    assert here["error_ratio"]["low"] < 0.7 / 0.8 < here["error_ratio"]["high"]
    (there,) = one["target_errors"]
    assert there["x_ratio"]["low"] < (0.8 / 0.7) ** 5 < there["x_ratio"]["high"]


def test_equal_recipes_are_not_told_apart_and_runs_in_both_are_said(tables, command):
    status, said, _ = command(tables[0], tables[0], *COLUMNS)
    assert status == 0
    assert "no difference found; 50% of the variance is that of" in said
    assert "24 runs have the same x and y in both" in said


@pytest.mark.slow
def test_the_figure_shows_the_ratio(tables, tmp_path, command):
    figure = tmp_path / "ratio.svg"
    assert command(*tables, *COLUMNS, "--plot", figure)[0] == 0
    assert "error of B / error of A" in figure.read_text()


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--law", "powr"], ["--law: no 'powr'"]),
        (["--predict", "0", "--predict", "x"], ["--predict: 0 is not", "--predict: x is not"]),
        (["--target-error", "-1"], ["--target-error: -1 is not"]),
        (["--plot", "a.gif", "--json", "."], ["a.gif ends in none", "--json: . is a folder"]),
        (
            ["--y-is", "eror", "--where", "d"],
            ["--y-is: no 'eror'", "--where: 'd' compares nothing"],
        ),
        (["--weights", "w", "--where", "d=1"], ["no column 'w'", "no column 'd'"]),
        (
            ["--law", "log-linear", "--all-points", "--predict", "1e5", "--far"],
            ["a.csv: at x = 1e+05 law log-linear is -", "b.csv: at x = 1e+05", "or by another law"],
        ),
    ],
)
def test_mistakes_are_all_named_and_nothing_is_written(tables, tmp_path, command, extra, words):
    status, said, complaints = command(*tables, "--x", "c", "--y", "e", *extra)
    assert (status, said) == (2, "")
    for word in words:
        assert word in complaints
    assert sorted(tmp_path.iterdir()) == tables


def test_a_study_that_cannot_be_fitted_is_named(tables, command):
    tables[1].write_text("c,e\n1,0.5\n")
    status, _, complaints = command(*tables, *COLUMNS)
    assert status == 2
    assert f"{tables[1]}: 1 of 1 points are to be fitted" in complaints


@pytest.mark.parametrize("arguments", [["a.csv"], ["a.csv", "b.csv", "--by", "m"]])
def test_one_table_is_split_and_two_are_not(arguments, capsys):
    assert main(["compare", *arguments, "--x", "c", "--y", "e"]) == 2
    assert "tables;" in capsys.readouterr().err


def test_more_than_two_values_are_refused_with_a_way_out(tables, command):
    with tables[0].open("a") as file:
        file.write("z,1,0.5\nw,2,0.4\n")
    status, _, complaints = command(tables[0], "--by", "recipe", *COLUMNS)
    assert status == 2
    assert "--by: 3 values of recipe, not two" in complaints


def quantity(path, a, b, seed=0):
    x = np.geomspace(1e18, 1e22, 9)
    noise = np.exp(0.01 * np.random.default_rng(seed).normal(size=9))
    rows = [f"{c:.6g},{y:.6g}" for c, y in zip(x, a * x**b * noise, strict=True)]
    path.write_text("\n".join(["C,N_opt", *rows]) + "\n")
    return str(path)


def test_a_quantity_that_rises_has_its_name_no_better_study_and_the_x_that_reaches_it(
    tmp_path, capsys
):
    tables = quantity(tmp_path / "a.csv", 0.2, 0.5), quantity(tmp_path / "b.csv", 0.1, 0.52, 1)
    asked = ["compare", *tables, "--x", "C", "--y", "N_opt", "--y-is", "quantity"]
    reached = [word for e in ("1e9", "1e13", "1e5") for word in ("--target-error", e)]
    assert main([*asked, *reached, "--json", "-"]) == 0
    one, above, below = json.loads(capsys.readouterr().out)["target_errors"]
    assert one["x_a"] == pytest.approx((1e9 / 0.2) ** 2, rel=0.1)
    assert one["x_b"] == pytest.approx((1e9 / 0.1) ** (1 / 0.52), rel=0.1)
    assert one["x_ratio"]["low"] < one["x_a"] / one["x_b"] < one["x_ratio"]["high"]
    assert (above["x_a"], above["beyond_a"]) == (None, "above")
    assert (below["x_a"], below["beyond_a"]) == (None, "below")
    assert main([*asked, *reached]) == 0
    said = capsys.readouterr().out
    for words in (
        "y_B / y_A = 1",
        "B's N_opt is 1.",
        "to reach N_opt = 1e+09",
        "A: out of reach of its law, up to 1,000 times the largest C fitted",
        "B: reached at less than a thousandth of the smallest C fitted",
    ):
        assert words in said
    assert "better" not in said
    assert "error" not in said.replace("log error", "")


def test_one_curve_that_rises_and_one_that_falls_save_each_other_nothing(tmp_path, capsys):
    tables = quantity(tmp_path / "a.csv", 0.2, 0.5), quantity(tmp_path / "b.csv", 2e19, -0.5, 1)
    asked = ["compare", *tables, "--x", "C", "--y", "N_opt", "--y-is", "quantity"]
    assert main([*asked, "--target-error", "5e9", "--json", "-"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["target_errors"]
    assert found["x_a"]
    assert found["x_b"]
    assert found["x_ratio"] is None


@pytest.mark.parametrize(
    ("low_a", "low_b", "share"), [(0.0, 0.0, 0.5), (0.0, 0.1, 1.0), (0.1, 0.0, 0.0)]
)
def test_a_band_that_reaches_0_makes_a_ratio_without_an_end_and_no_warning(low_a, low_b, share):
    def law(low):
        return SimpleNamespace(predict=lambda x: 0.2, band=lambda x: (low, 0.4))

    found = error_ratio(law(low_a), law(low_b), 1.0)
    assert found.share_a == share
    assert (found.error_ratio.high == np.inf) == (low_a == 0)
    assert (found.error_ratio.low == 0) == (low_b == 0)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_band_that_is_wide_open_far_below_the_runs_says_nothing_of_an_error_among_them(seed):
    """The law's shift is not identifiable, so that below the runs the band holds any error."""
    x = np.geomspace(1, 1e4, 15)
    rng = np.random.default_rng(seed)
    errors = [
        (0.1 + 0.6 * (less * x) ** -0.25) * np.exp(0.01 * rng.normal(size=15)) for less in (1, 2)
    ]
    a, b = (fit(SATURATING, x, error) for error in errors)
    assert min(study.band(np.array([1e-3]))[0][0] for study in (a, b)) < 0.3
    found = equal_error(a, b, float(a.predict(1e4))).x_ratio
    assert 1 < found.low < 2 < found.high < 4
