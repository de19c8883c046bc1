"""What looks odd in a table of runs: slips of a unit, and a costliest run off the frontier."""

import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from fits.base.messages import slip_in_brief
from fits.data.misplaced import misplaced
from fits.data.remarks import (
    of_costliest,
    of_misplaced,
    of_mixed_fractions,
    of_slips,
    slips,
)
from fits.fit_laws import main
from fits.spec import FitSpec
from fits.suited import rises_along, slips_among

X = np.geomspace(1e15, 1e20, 12)
ERROR = 10 + 40 * (X / 1e15) ** -0.2  # percent


def of(error, x=X, kind="error-percent"):
    measured = 100 - error if kind.startswith("accuracy") else error
    return [
        *of_slips(("flops", "y"), x, measured, kind),
        *of_costliest(("flops", "y"), x, error, measured, kind),
        *of_misplaced(("flops", "y"), x, error, measured, kind, frontier=True),
    ]


def changed(place, how):
    error = ERROR.copy()
    error[place] = how(error[place])
    return error


@pytest.mark.parametrize("kind", ["error-percent", "accuracy-percent"])
def test_a_sound_table_has_no_remark(kind):
    assert of(ERROR, kind=kind) == []


@pytest.mark.parametrize("kind", ["error-percent", "accuracy-percent"])
@pytest.mark.parametrize("part", [slice(0, 6), slice(6, 12), slice(0, 12, 2)])
def test_many_fractions_among_percentages_are_said(kind, part):
    measured = 100 - ERROR if kind.startswith("accuracy") else ERROR.copy()
    assert of_mixed_fractions("y", X, measured, kind) == []
    measured[part] /= 100
    (found,) = of_mixed_fractions("y", X, measured, kind)
    assert found.words.startswith("6 of 12 rows have y of at most 1 %, and would fit in with the ")
    assert of_mixed_fractions("y", np.array([X, X**0.5]), measured, kind) == [found]
    assert of_mixed_fractions("y", X, measured, "loss") == []


def test_a_loss_does_not_rise_along_what_is_the_same_in_all_rows():
    size = np.array([1e7, 3e7, 1e8, 3e8, 1e9, 3e9])
    loss = 1.7 + 400 / size**0.34 * (1 + 0.01 * np.sin(range(6)))
    spec = FitSpec(x=("N", "D"), y="loss", y_is="loss", law="chinchilla")
    for data in (1e9, 1e10, 2e10):  # the mean of whose logarithms is rounded
        assert rises_along(spec, np.array([size, np.full(6, data)]), loss) == []
    assert rises_along(spec, np.array([size, loss**9]), loss) == ["D"]


def test_errors_that_fall_below_one_percent_are_no_fractions():
    assert of_mixed_fractions("y", X, 8 * (X / 1e15) ** -0.3, "error-percent") == []


def test_fractions_among_percentages_are_the_only_cause_that_a_fit_names(tmp_path, capsys):
    path, error = tmp_path / "runs.csv", np.where(X < 1e17, ERROR / 100, ERROR)
    rows = (f"{x:g},{y:.4f}" for x, y in zip(X, error, strict=True))
    path.write_text("\n".join(["flops,err", *rows]))
    words = [str(path), "--x", "flops", "--y", "err", "--y-is", "error-percent", "--json", "-"]
    assert main(words) == 0
    (group,) = json.loads(capsys.readouterr().out)["groups"]
    codes = [each["code"] for each in group["diagnostics"]]
    assert "fractions_among_percentages" in codes
    assert not {"slip", "misplaced", "costliest_not_on_frontier"} & set(codes)


def test_a_fraction_among_percentages_at_the_costliest_run_is_said_with_its_cause(tmp_path, capsys):
    path = tmp_path / "runs.csv"
    accuracy = 100 - ERROR
    accuracy[-1] = 0.7612
    rows = [f"{x:.6g},{y:.6g}" for x, y in zip(X, accuracy, strict=True)]
    path.write_text("\n".join(["flops,top1", *rows]) + "\n")
    words = [str(path), "--x", "flops", "--y", "top1", "--y-is", "accuracy-percent", "--json", "-"]
    assert main(words) == 0
    (group,) = json.loads(capsys.readouterr().out)["groups"]
    said = {each["code"]: each["words"] for each in group["diagnostics"]}
    assert "fractions among percentages?" in said["slip"]
    assert "top1 = 0.7612) is not on the frontier" in said["costliest_not_on_frontier"]
    assert "a fraction among percentages?" in said["costliest_not_on_frontier"]


def test_a_run_that_hides_all_costlier_ones_by_a_slip_is_named():
    slip, costliest = of(changed(4, lambda y: y / 100))
    assert slip.numbers["x"] == (X[4],)
    assert "a line through the neighbours of that run gives" in costliest.words


@pytest.mark.parametrize("factor", [10, 100, 1000, 0.1, 0.01])
@pytest.mark.parametrize("place", [0, 5, 11])
def test_a_slip_by_a_power_of_ten_is_found_wherever_it_is(factor, place):
    which, near = slips(X, changed(place, lambda y: y * factor))
    assert which.tolist() == [place]
    assert near[0] == pytest.approx(ERROR[place], rel=0.5)


def test_a_costliest_run_that_did_worse_is_said_to_have():
    (found,) = of(changed(-1, lambda y: y * 1.7))
    assert "undertrained, too few data, or failed?" in found.words


def test_one_about_as_good_is_said_to_be():
    (found,) = of(changed(-1, lambda y: ERROR[-2] * 1.005))
    assert "about equal" in found.words


def test_a_costliest_run_far_beyond_the_others_may_be_in_another_unit():
    x = X.copy()
    x[3] *= 1e9
    (found,) = of(ERROR, x=x)
    assert "another unit?" in found.words


def test_different_models_at_one_compute_are_no_slips():
    rng = np.random.default_rng(0)
    x = np.repeat(X, 4)
    error = np.repeat(ERROR, 4) * np.tile([1, 1.6, 2.5, 4.0], 12) * np.exp(rng.normal(0, 0.1, 48))
    assert not len(slips(x, error)[0])


@pytest.mark.parametrize("count", [6, 7, 8])
@pytest.mark.parametrize("factor", [1e3, 1e-3, 1e9])
def test_a_slip_of_x_in_a_small_table_is_found_and_undone(count, factor):
    x = np.geomspace(1e15, 1e20, count)
    error = 10 + 40 * (x / 1e15) ** -0.2
    for place in (count // 2, count - 1):
        moved = x.copy()
        moved[place] *= factor
        (found,) = misplaced(moved, error)
        assert found.run == place
        assert found.x_factors[0] == pytest.approx(1 / factor)


def test_a_slip_of_x_is_named_whether_the_run_is_the_costliest_hides_others_or_is_hidden():
    x, error = X[::2].copy(), ERROR[::2]
    x[3] *= 1e3
    (found,) = of(error, x=x)  # costliest now, beside others
    assert found.code == "costliest_not_on_frontier"
    assert "or is its flops 1,000 times too large (at flops = " in found.words
    x = X[::2].copy()
    x[-1] /= 1e3
    said = [each.words for each in of(error, x=x)]
    assert any("is its flops 1,000 times too small?" in words for words in said)
    x = X[::2].copy()
    x[2] *= 10
    (found,) = of(error, x=x)
    assert found.code == "misplaced"
    assert "is its flops 10 times too large" in found.words


def test_an_error_among_accuracies_is_named():
    error = changed(5, lambda y: 100 - y) / 100
    (found,) = of_misplaced(("flops", "y"), X, error, 1 - error, "accuracy", frontier=True)
    assert "is it an error among the others?" in found.words


def test_what_a_line_gives_for_an_accuracy_is_one():
    x = np.geomspace(1e15, 1e20, 6)
    accuracy = 100 - np.array([50, 20, 9, 4, 1.9, 0.8])
    accuracy[-1] /= 100
    which, near = slips(x, accuracy, 100.0)
    assert which.tolist() == [5]
    assert 98 < near[0] < 100


def test_sound_tables_have_no_run_misplaced():
    found = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        x = np.sort(10 ** rng.uniform(15, 20, rng.integers(5, 12)))
        fall = 40 * (x / 1e15) ** -rng.uniform(0.05, 0.4)
        error = rng.choice([0, 5, 10]) + fall * np.exp(rng.normal(0, 0.02, len(x)))
        found += bool(misplaced(x, error))
    assert found <= 4


STUDIES = Path(__file__).resolve().parents[1] / "docs" / "studies"


@pytest.mark.parametrize("study", ["objectives", "objectives-cifar10"])
def test_no_slip_is_suspected_among_nine_runs_of_three_models_of_a_real_study(study):
    """Their scatter about a curve is no slip of a factor of ten in compute."""
    runs = defaultdict(list)
    with (STUDIES / f"{study}.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["metric"].endswith("error"):
                pair = float(row["flops"]), float(row["value"])
                runs[row["variant"], row["metric"]].append(pair)
    assert len(runs) >= 24
    for name, pairs in runs.items():
        x, error = np.array(pairs).T
        assert len(x) in (3, 9)
        assert misplaced(x, error, whole=1.0) == [], name


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_among_nine_noisy_runs_a_slip_of_a_thousand_is_still_found(factor):
    found, sound = 0, 0
    for seed in range(50):
        rng = np.random.default_rng(seed)
        x = np.sort(10 ** rng.uniform(15, 20, 9))
        error = 5 + 40 * (x / 1e15) ** -0.25 * np.exp(rng.normal(0, 0.02, 9))
        place = rng.integers(9)
        sound += bool(misplaced(x, error))
        x[place] *= factor
        found += place in [each.run for each in misplaced(x, error)]
    assert (found >= 40, sound) == (True, 0)


SHORT = np.array([1e16, 3e16, 1e17, 3e17, 1e18, 1e19, 1e20])
ERRORS = np.array([71.2, 62.1, 55.23, 49.8, 45.1, 38.0, 32.9])


def written(path, x, y, group=None):
    names = [] if group is None else [f"{each}," for each in group]
    rows = [f"{a:.6g},{b:.6g}" for a, b in zip(x, y, strict=True)]
    rows = [f"{name}{row}" for name, row in zip(names or [""] * len(rows), rows, strict=True)]
    head = "flops,err" if group is None else "grp,flops,err"
    path.write_text("\n".join([head, *rows]) + "\n")
    return [str(path), "--x", "flops", "--y", "err", "--y-is", "error-percent"]


def refused(words, capsys):
    assert main(words) == 2
    return capsys.readouterr().err.splitlines()[1:]


def test_a_slip_that_leaves_too_few_points_is_named_before_the_refusal(tmp_path, capsys):
    table = written(tmp_path / "runs.csv", SHORT, np.where(SHORT == 1e17, 0.5523, ERRORS))
    first, second = refused([*table, "--predict", "1e21"], capsys)
    assert first.lstrip().startswith(f"{table[0]}: 1 of 7 rows differs from its neighbours")
    assert "flops = 1e+17: err = 0.5523, where" in first
    assert first.endswith("fractions among percentages? Correct it, or leave it out.")
    assert "3 of 7 points are to be fitted" in second


def test_a_slip_that_makes_a_prediction_far_is_named_before_the_refusal(tmp_path, capsys):
    x = np.geomspace(1e16, 1e20, 12)
    error = 100 * (0.1 + 0.5 * (x / 1e17) ** -0.2)
    error[5] /= 100
    table = written(tmp_path / "runs.csv", x, error)
    first, second = refused([*table, "--law", "power-floor", "--predict", "1e21"], capsys)
    assert "1 of 12 rows differs from its neighbours by a power of ten" in first
    assert "--predict: 1e+21 is 1.52e+03 times the largest fitted" in second
    assert main([*table, "--law", "power-floor", "--predict", "1e21", "--far"]) == 0
    assert capsys.readouterr().out.count("1 of 12 rows differs") == 1


def test_an_x_too_small_that_leaves_one_point_is_named_before_the_refusal(tmp_path, capsys):
    table = written(tmp_path / "runs.csv", np.where(SHORT == 1e20, 1e11, SHORT), ERRORS)
    first, second = refused(table, capsys)
    assert "a run of 1e+11 has 32.9" in first
    assert first.endswith("is its flops 1,000,000,000 times too small?")
    assert "1 of 7 points are to be fitted" in second


def test_few_points_without_a_slip_are_refused_in_one_line(tmp_path, capsys):
    table = written(tmp_path / "runs.csv", SHORT[:3], ERRORS[:3])
    assert main(table) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "3 of 3 points are to be fitted" in said


def test_in_a_table_of_groups_a_slip_comes_before_all_else(tmp_path, capsys):
    x = np.geomspace(1e17, 1e20, 7)
    error = [100 * (0.1 + 0.5 * (x / 1e17) ** -b) for b in (0.2, 0.25, 0.3)]
    error[1][-1] /= 100
    places, groups = np.tile(x, 3), np.repeat(["a", "b", "c"], 7)
    table = written(tmp_path / "runs.csv", places, np.concatenate(error), groups)
    words = [*table, "--by", "grp", "--law", "power-floor"]
    assert main(words) == 0
    rows = capsys.readouterr().out.splitlines()[3:6]
    assert rows[1].endswith("slip? flops = 1e+20: err = 0.1889, not 18 (+5)")
    assert [row.split()[-1] for row in rows[::2]] == ["none", "none"]
    assert main([*words, "--details"]) == 0
    said = capsys.readouterr().out.split("grp=b")[1].split("grp=c")[0]
    assert said.count("warning: ") == 6


def test_in_a_table_of_groups_a_slip_is_shown_for_a_group_that_has_no_fit(tmp_path, capsys):
    errors = np.concatenate([ERRORS, np.where(SHORT == 1e17, 0.5523, ERRORS)])
    table = written(tmp_path / "runs.csv", np.tile(SHORT, 2), errors, np.repeat(["a", "b"], 7))
    assert main([*table, "--by", "grp"]) == 0
    row = capsys.readouterr().out.splitlines()[4]
    assert "no fit" in row
    assert "slip? flops = 1e+17: err = 0.5523, not 56.1 (+" in row


@pytest.mark.parametrize(
    ("place", "factor", "words"),
    [
        (5, 1e3, "slip? flops = 1.87e+20, not 1.87e+17"),
        (11, 1e-9, "slip? flops = 1e+11, not 1e+20"),
        (3, 1e9, "slip? flops = 2.31e+25, not 2.31e+16"),
    ],
)
def test_a_slip_of_x_is_said_in_few_words(place, factor, words):
    x = X.copy()
    x[place] *= factor
    (found,) = slips_among(of(ERROR, x=x))
    assert slip_in_brief(found.code, found.parameters, found.numbers) == words


def test_a_costliest_run_that_only_did_worse_is_no_slip():
    assert slips_among(of(changed(-1, lambda y: y * 1.7))) == []


def test_slips_among_some_runs_are_those_among_all():
    rng = np.random.default_rng(0)
    x = np.geomspace(1e17, 1e21, 12)
    y = (x / 1e17) ** -0.1 * np.exp(rng.normal(0, 0.01, 12))
    y[[3, 8]] *= 100
    which, near = slips(x, y)
    assert set(which.tolist()) == {3, 8}
    for run in range(12):
        some, its = slips(x, y, among=[run])
        assert some.tolist() == [each for each in which.tolist() if each == run]
        np.testing.assert_array_equal(its, near[which == run])
