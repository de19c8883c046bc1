"""Which runs to launch next: what a plan must be, whatever the law."""

import itertools
import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fits.decisions.design import design_problem, plan
from fits.fit_laws import main
from fits.laws.chinchilla import CHINCHILLA
from fits.laws.powers import POWER, SATURATING
from fits.regression.fit import fit
from fits.regression.loss import Loss
from fits.spec import REPEATS

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from next_runs import foreknown, grid, simulate

RUNS = np.geomspace(1, 10, 6)
OFFERED = np.geomspace(1, 1000, 13)


def ask(law, values, runs, candidates, predict, *, scatter, samples=64):
    """The problem of a fit with these values, about which runs scatter by so much."""
    off = np.random.default_rng(0).normal(size=runs.shape[-1])
    jacobian = (law.derivatives(runs, *values) / law.predict(runs, *values)).T
    off -= jacobian @ np.linalg.lstsq(jacobian, off, rcond=None)[0]
    off *= scatter * np.sqrt((len(off) - len(values)) / (off**2).sum())
    found = fit(law, runs, law.predict(runs, *values) * np.exp(off))
    return design_problem(found, candidates, predict, samples=samples)


def line(samples=16, scatter=0.02, unit=1.0, predict=1e4):
    """A power law: on log axes a straight line, whose designs are known."""
    values = np.array([0.8 * unit**0.2, 0.2])
    return ask(
        POWER, values, RUNS * unit, OFFERED * unit, np.array(predict * unit),
        scatter=scatter, samples=samples,
    )  # fmt: skip


def test_the_width_is_that_of_a_straight_line_on_log_axes():
    """Where the runs decide, the prior is nothing: ordinary least squares, but for the sandwich."""
    runs = np.geomspace(1, 1e4, 400)
    asked = ask(POWER, np.array([0.8, 0.2]), runs, OFFERED, np.array(1e6), scatter=0.02, samples=1)
    line = np.log(runs)
    variance = 1 / 400 + (np.log(1e6) - line.mean()) ** 2 / ((line - line.mean()) ** 2).sum()
    none = np.zeros(len(OFFERED), int)
    assert asked.width(none) == pytest.approx(2 * 1.6449 * 0.02 * variance**0.5, rel=0.1)


@pytest.mark.parametrize("log", [True, False])
def test_the_width_before_any_run_is_that_of_the_fit_and_a_run_counts_as_another_point(log):
    """Also where errors count as differences: a run of small error then says less of its log."""
    runs = np.geomspace(1, 1e4, 200)
    rng, loss = np.random.default_rng(1), Loss(log=log)
    error, off = POWER.predict(runs, 0.8, 0.2), 0.02 * rng.normal(size=len(runs))
    found = fit(POWER, runs, error * np.exp(off) if log else error + off, loss=loss)
    asked = design_problem(found, OFFERED, np.array(1e6), samples=1)
    low, high = found.band(1e6)
    before, many = np.zeros(len(OFFERED), int), np.full(len(OFFERED), 50)
    (own,) = asked.expected(np.array([asked.width(before)]))
    assert own == pytest.approx(float(np.log(high / low)), rel=1e-9)
    assert plan(asked, OFFERED, 100.0).before == pytest.approx(own)

    def variance(x):
        """Of the log of the prediction, by least squares."""
        weight = np.ones(len(x)) if log else POWER.predict(x, 0.8, 0.2) ** 2
        rows = np.stack([np.ones(len(x)), np.log(x)])
        aim = np.array([1, np.log(1e6)])
        return aim @ np.linalg.inv(rows * weight @ rows.T) @ aim

    after = np.sqrt(variance(np.concatenate([runs, np.repeat(OFFERED, 50)])) / variance(runs))
    assert asked.width(many) / asked.width(before) == pytest.approx(after, rel=0.1)


def test_a_bound_that_cuts_the_first_interval_does_not_narrow_those_after_it_as_much():
    linear = np.array([1.0, 0.5, 0.1, 0.01])
    cut = replace(line(), scale=0.2).expected(linear)
    assert cut[0] == pytest.approx(0.2)
    assert (np.diff(cut) <= 0).all()
    np.testing.assert_allclose(cut[2:], linear[2:], rtol=0.2)
    wide = replace(line(), scale=1.5).expected(linear)  # few degrees of freedom
    np.testing.assert_allclose(wide, 1.5 * linear)


@pytest.mark.slow
def test_the_interval_after_the_runs_is_about_the_one_to_be_expected():
    """Also where bounds of the law make the first interval much narrower than the linear one."""
    rng, ratios, scales = np.random.default_rng(1), [], []
    steps = np.geomspace(1, 10, 4), np.geomspace(1, 100, 5)
    runs, offered = (np.stack(np.meshgrid(1e7 * s, 1e9 * s)).reshape(2, -1) for s in steps)
    far = np.array([1e10, 1e12])
    for _ in range(12):
        alpha, beta = rng.uniform(0.25, 0.45, 2)
        truth = 1.0, 0.6 * 1e8**alpha, alpha, 0.6 * 1e10**beta, beta

        def measured(x, truth=truth):
            error = CHINCHILLA.predict(x, *truth)
            return error * np.exp(0.01 * rng.normal(size=error.shape))

        error = measured(runs)
        asked = design_problem(fit(CHINCHILLA, runs, error), offered, far)
        found = plan(asked, 6 * offered.prod(axis=0), 3e18, 16)
        more = offered[:, list(found.runs)]
        after = fit(CHINCHILLA, np.append(runs, more, axis=1), np.append(error, measured(more)))
        low, high = after.band(far)
        ratios.append(float(np.log(high / low)) / found.widths[-1])
        scales.append(asked.scale)
    assert min(scales) < 0.5
    assert 0.5 < np.median(ratios) < 2.2
    assert max(ratios) < 4


def test_one_more_run_narrows_by_as_much_as_computing_it_anew_says():
    problem = line()
    times = np.zeros(len(OFFERED), int)
    times[[2, 5, 5]] += 1
    expected = [problem.width(times + np.eye(len(OFFERED), dtype=int)[k]) for k in range(13)]
    found = problem.widths_with_one_more(times)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("budget", [30.0, 300.0, 1500.0])
def test_a_plan_is_within_its_budget_and_every_run_narrows(budget):
    found = plan(line(), OFFERED, budget)
    assert found.cost.sum() <= budget
    assert len(set(found.runs)) == len(found.runs)
    assert found.widths[0] < found.before
    assert (np.diff(found.widths) < 0).all()


def test_a_plan_is_all_but_the_best_of_all_that_could_be_paid():
    cost, budget = OFFERED[::2], 400.0
    some = ask(POWER, np.array([0.8, 0.2]), RUNS, cost, np.array(1e4), scatter=0.02, samples=16)
    best = min(
        some.width(np.array(times))
        for times in itertools.product((0, 1), repeat=len(cost))
        if np.array(times) @ cost <= budget
    )
    found = plan(some, cost, budget)
    assert some.width(np.bincount(found.runs, minlength=len(cost))) <= 1.01 * best
    assert some.level == 0.9


def test_a_larger_budget_never_buys_a_wider_interval():
    widths = [plan(line(), OFFERED, budget).widths[-1] for budget in (20, 100, 400, 1200, 3000)]
    assert all(later <= 1.006 * former for former, later in itertools.pairwise(widths))


def test_a_plan_knows_no_unit():
    found, scaled = (plan(line(unit=unit), OFFERED, 700.0) for unit in (1.0, 1e15))
    assert found.runs == scaled.runs
    np.testing.assert_allclose(found.widths, scaled.widths, rtol=1e-6)


def test_far_runs_are_bought_for_a_far_prediction_and_near_ones_for_a_near():
    far, near = (plan(line(predict=x), OFFERED, 1000.0, repeats=3) for x in (1e4, 3.0))
    far, near = (OFFERED[list(each.runs)] for each in (far, near))
    assert (far > 30).mean() > 2 * (near > 30).mean()


def test_seeds_are_bought_only_where_they_are_offered():
    once, thrice = (plan(line(), OFFERED, 60.0, repeats) for repeats in (1, 3))
    assert max(np.bincount(once.runs)) == 1
    assert max(np.bincount(thrice.runs)) > 1
    assert thrice.widths[-1] < once.widths[-1]


@pytest.mark.slow
def test_a_floor_at_its_bound_and_laws_of_two_variables_are_planned_for():
    saturating = ask(
        SATURATING, np.array([0.8, 0.2, 0.0, 0.0]), RUNS, OFFERED, np.array(1e4), scatter=0.02
    )
    assert np.isfinite(plan(saturating, OFFERED, 500.0).widths).all()
    size, data = (
        axis.ravel() for axis in np.meshgrid(np.geomspace(1, 8, 4), np.geomspace(1, 8, 4))
    )
    grid = np.stack([size, data]).astype(float)
    surface = ask(
        CHINCHILLA, np.array([1.7, 0.6, 0.35, 0.8, 0.3]), grid[:, :7], grid[:, 7:],
        np.array([16.0, 16.0]), scatter=0.01,
    )  # fmt: skip
    found = plan(surface, size[7:] * data[7:], 100.0)
    assert found.widths[-1] < 0.8 * found.before


@pytest.mark.slow
def test_in_simulation_a_third_of_the_grid_s_compute_reaches_the_width_of_the_grid():
    """With seeds on offer; benchmarks/next_runs.py has 160 studies and their widths to 8 %."""
    curves = simulate(8, ways=["design", "random"], shares=(0.1, 1 / 3))
    (full,) = curves["full grid"].width
    assert curves["design"].spent[-1] <= 1 / 3
    assert curves["design"].width[-1] <= 1.1 * full
    assert curves["design"].width[0] < 0.7 * curves["random"].width[0]


def test_as_often_repeated_as_the_command_allows_a_third_of_the_grid_is_worth_the_grid():
    """Without chance: of someone who knows the law."""
    problem, cost = foreknown(), grid().cost
    full = problem.width(np.ones(len(cost), int))
    often, once = (
        plan(problem, cost, cost.sum() / 3, repeats).widths[-1] for repeats in (REPEATS, 1)
    )
    assert often < 0.95 * full
    assert once > full


# The command


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    error = POWER.predict(RUNS, 0.8, 0.2) * np.exp(0.02 * rng.normal(size=len(RUNS)))
    path = tmp_path / "runs.csv"
    rows = [f"{x:.17g},{y:.6f}" for x, y in zip(RUNS, error, strict=True)]
    path.write_text("\n".join(["c,e", *rows]) + "\n")
    return path


@pytest.fixture
def command(capsys):
    def run(*arguments):
        status = main(["next", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


COLUMNS = "--x", "c", "--y", "e", "--law", "power", "--all-points", "--predict", "1e4"
GRID = "--grid", "c=1,30,100,300,1000"


def test_the_plan_is_printed_in_order_with_what_it_costs(table, command):
    status, said, _ = command(table, *COLUMNS, "--budget", "1200", *GRID, "--repeat", "1")
    assert status == 0
    assert "1 of 5 candidates have been run once, and are left out" in said
    assert "runs of 4 candidates" in said
    assert "E(10000) = " in said


def test_runs_of_one_x_in_a_row_stand_on_one_line(table, command):
    asked = table, *COLUMNS, "--budget", "1200", "--grid", "c=300"
    _, said, _ = command(*asked)
    runs = json.loads(command(*asked, "--json", "-")[1])["runs"]
    assert len(runs) == 4
    (line,) = (each for each in said.splitlines() if each.startswith("    1-4"))
    assert [float(each) for each in line.split()[1:4]] == [300, 300, 1200]
    assert float(line.split()[-1]) == pytest.approx(runs[-1]["error"]["high"], rel=1e-3)


@pytest.mark.parametrize(
    ("more", "unit"),
    [(["--grid", "c=30,300"], "c"), (["--grid", "c=30,300", "--per", "6"], "FLOPs")],
)
def test_costs_are_told_in_their_own_unit(more, unit, table, command):
    asked = table, *COLUMNS, *more
    status, said, _ = command(*asked, "--budget", "3000")
    assert status == 0
    assert f"of 3000 {unit}; the interval" in said
    assert ("FLOPs" in said) == (unit == "FLOPs")
    status, _, complaints = command(*asked, "--budget", "1")
    assert status == 2
    assert f" {unit}. Give more, or offer smaller runs." in complaints


def test_a_column_of_costs_lends_its_name(table, tmp_path, command):
    path = tmp_path / "planned.csv"
    path.write_text("c,euro\n30,60\n1000,2000\n")
    asked = table, *COLUMNS, "--budget", "2100", "--candidates", path, "--cost", "euro"
    assert "of 2100 euro; the interval" in command(*asked)[1]
    assert json.loads(command(*asked, "--json", "-")[1])["unit"] == "euro"


def test_how_the_law_predicts_is_said_on_one_line(table, command):
    asked = table, *COLUMNS, "--budget", "1200", *GRID
    (line,) = (each for each in command(*asked)[1].splitlines() if "hold-out" in each)
    assert "log error: " in line
    assert "power 0.0" in line
    assert json.loads(command(*asked, "--json", "-")[1])["fit"]["holdout"]["trials"]["power"] < 0.1


def test_candidates_of_a_table_are_named_by_their_lines(table, tmp_path, command):
    path = tmp_path / "planned.csv"
    path.write_text("model,c,flops\nS,30,60\nB,100,200\nL,1000,2000\nH,9000,9e9\n")
    arguments = table, *COLUMNS, "--budget", "2100", "--candidates", path
    arguments = *arguments, "--repeat", "1", "--json", "-"
    status, said, _ = command(*arguments)
    assert status == 0
    found = json.loads(said)
    assert found["cost"] == sum(run["cost"] for run in found["runs"]) <= 2100
    assert {run["line"] for run in found["runs"]} <= {2, 3, 4}
    assert 4 in {run["line"] for run in found["runs"]}
    assert found["runs"][-1]["spent"] == found["cost"]
    now, last = found["error"], found["runs"][-1]["error"]
    assert now["low"] < last["low"] < now["value"] < last["high"] < now["high"]
    by_x = json.loads(command(*arguments, "--cost", "c")[1])
    assert by_x["cost"] != found["cost"]


def test_a_law_of_two_variables_costs_six_times_their_product(tmp_path, command):
    size, data = (
        axis.ravel() for axis in np.meshgrid(np.geomspace(1, 8, 4), np.geomspace(1, 8, 4))
    )
    loss = CHINCHILLA.predict(np.stack([size, data]), 1.7, 0.6, 0.35, 0.8, 0.3)
    loss *= np.exp(0.003 * np.random.default_rng(0).normal(size=16))
    path = tmp_path / "runs.csv"
    rows = [f"{n},{d},{y:.6f}" for n, d, y in zip(size, data, loss, strict=True)]
    path.write_text("\n".join(["n,d,loss", *rows]))
    status, said, _ = command(
        path, "--x", "n", "--x", "d", "--y", "loss", "--y-is", "loss", "--law", "chinchilla",
        "--predict", "64,64", "--budget", "5000", "--grid", "n=8,16,32", "--grid", "d=8,16,32",
        "--json", "-",
    )  # fmt: skip
    assert status == 0
    runs = json.loads(said)["runs"]
    assert runs
    for run in runs:
        assert run["cost"] == pytest.approx(6 * run["x"][0] * run["x"][1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--budget", "x", *GRID], ["--budget: x is not"]),
        (["--budget", "0.5", *GRID], ["--budget: the cheapest candidate costs 1"]),
        (["--budget", "x", "--grid", "d=1"], ["--budget: x is not", "--grid: 'd=1'"]),
        (["--budget", "9", "--grid", "c=1", "--repeat", "0"], ["--repeat"]),
        (["--budget", "9", "--grid", "c=1,x,-3"], ["--grid c: x is", "--grid c: -3 is"]),
        (["--budget", "9", *GRID, "--cost", "c"], ["--cost: a grid has no columns"]),
        (["--budget", "9", "--candidates", "nix.csv"], ["nix.csv: No such file"]),
        (["--budget", "9", *GRID, "--json", "."], ["--json: . is a folder"]),
        (["--budget", "9", "--grid", "c=1", "--repeat", "1"], ["every candidate has been run"]),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(table, tmp_path, command, arguments, words):
    status, said, complaints = command(table, *COLUMNS, *arguments)
    assert (status, said) == (2, "")
    for word in words:
        assert word in complaints
    assert list(tmp_path.iterdir()) == [table]


def launched(said):
    return Counter(tuple(run["x"]) for run in json.loads(said)["runs"])


def test_an_x_is_run_again_as_often_as_is_allowed_counting_the_runs_there_are(table, command):
    arguments = table, *COLUMNS, "--budget", "1e9", "--grid", "c=1,1000", "--json", "-"
    often = launched(command(*arguments, "--repeat", "3")[1])
    assert often[1000.0,] == 3
    assert often[1.0,] <= 2  # it has been run once
    assert launched(command(*arguments)[1])[1000.0,] > 3


def test_rows_of_one_x_are_its_seeds_and_conditions_hold_for_candidates_too(
    table, tmp_path, command
):
    path = tmp_path / "planned.csv"
    rows = [f"1000,1000,{seed},{size}" for size in (50, 10) for seed in range(5)]
    path.write_text("\n".join(["c,flops,seed,data_size", *rows, "10,1e-9,0,50", "10,1,0,10"]))
    runs = tmp_path / "sized.csv"
    runs.write_text(table.read_text().replace("\n", ",50\n").replace("e,50", "e,data_size"))
    arguments = runs, *COLUMNS, "--budget", "1e9", "--candidates", path, "--json", "-"
    arguments = *arguments, "--where", "data_size=50", "--repeat", "1"
    said = command(*arguments)[1]
    assert launched(said)[1000.0,] == 5  # the five of 50 images
    assert {run["line"] for run in json.loads(said)["runs"]} <= {2, 12}


@pytest.mark.parametrize("offers", [[], ["--grid", "c=1", "--candidates", "a.csv"]])
def test_candidates_come_from_a_grid_or_from_a_table(table, offers, capsys):
    assert main(["next", str(table), *COLUMNS, "--budget", "9", *offers]) == 2
    assert "by --candidates or by --grid" in capsys.readouterr().err


def test_mistakes_in_the_table_of_candidates_come_with_their_lines(table, tmp_path, command):
    path = tmp_path / "planned.csv"
    path.write_text("c,flops\n30,60\n-1,200\n100,many\n")
    status, _, complaints = command(table, *COLUMNS, "--budget", "100", "--candidates", path)
    assert status == 2
    assert "line 3: c is -1" in complaints
    assert "line 4: flops is many, not a number" in complaints
