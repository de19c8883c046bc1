"""What runs cost together where those of one trunk train it but once."""

import csv
import itertools
import json

import numpy as np
import pytest

from fits.decisions.costs import Costs
from fits.decisions.design import design_problem, plan
from fits.fit_laws import main
from fits.laws.chinchilla import CHINCHILLA
from fits.regression.fit import fit

ALONE = np.array([10.0, 20.0, 40.0, 10.0, 80.0])  # three of one trunk, two of another
TRUNK = np.array([0, 0, 0, 1, 1])


def costs(shared=1.0, done=(0, 0, 0, 0, 0), branches=None):
    """`shared`: part of each run that is its trunk's."""
    return Costs(
        alone=ALONE, shared=shared * ALONE, trunk=TRUNK, done=np.array(done),
        branches=branches or {},
    )  # fmt: skip


def test_runs_of_one_trunk_cost_the_longest_and_their_cooldowns():
    assert costs().of(np.array([1, 1, 1, 0, 0])) == 40
    assert costs(0.8).of(np.array([1, 1, 1, 0, 0])) == pytest.approx(32 + 0.2 * 70)
    assert costs(0.8).of(np.array([0, 0, 0, 1, 1])) == pytest.approx(64 + 0.2 * 90)
    assert costs(0.8).of(np.array([1, 0, 0, 1, 0])) == pytest.approx(20)
    assert Costs.apart(ALONE).of(np.array([1, 1, 1, 0, 0])) == 70


def test_a_repeated_run_is_trained_anew_from_its_own_seed():
    assert costs(0.8).of(np.array([2, 0, 0, 0, 0])) == pytest.approx(20)
    assert costs().of(np.array([2, 0, 1, 0, 0])) == pytest.approx(40 + 10)


def test_a_trunk_that_is_there_is_paid_for_as_far_as_its_branches():
    """The run of 20 has left the trunk at 16, that of 10 at 8: what lies between starts at 8."""
    there = {0: [np.array([8.0, 16.0])]}
    some = costs(0.8, done=(1, 1, 0, 0, 0), branches=there)
    assert some.of(np.array([0, 0, 1, 0, 0])) == pytest.approx(32 - 16 + 8)
    assert some.of_one_more(np.zeros(5, int)) == pytest.approx([10, 20, 24, 10, 80])
    between = costs(0.8, done=(1, 0, 0, 0, 0), branches={0: [np.array([8.0, 20.0])]})
    assert between.of(np.array([0, 1, 0, 0, 0])) == pytest.approx(16 - 8 + 4)
    assert between.of(np.array([0, 1, 1, 0, 0])) == pytest.approx(16 - 8 + 4 + 32 - 20 + 8)


def test_what_each_run_adds_is_the_difference_of_the_sums_whatever_there_is():
    there = {0: [np.array([5.0, 20.0]), np.array([8.0])], 1: [np.array([2.0])]}
    some = costs(0.7, done=(1, 0, 1, 0, 0), branches=there)
    for times in itertools.product((0, 1, 2), repeat=5):
        times = np.array(times)
        more = [some.of(times + one) - some.of(times) for one in np.eye(5, dtype=int)]
        np.testing.assert_allclose(some.of_one_more(times), more, atol=1e-6)


def test_a_plan_with_shared_trunks_buys_more_for_the_same_budget():
    size, data = (a.ravel() for a in np.meshgrid(np.geomspace(1, 8, 4), np.geomspace(1, 8, 4)))
    x = np.stack([size, data])
    off = 0.01 * np.random.default_rng(0).normal(size=16)
    found = fit(CHINCHILLA, x, CHINCHILLA.predict(x, 1.7, 0.6, 0.35, 0.8, 0.3) * np.exp(off))
    far = np.stack([size, data]) * 4
    asked = design_problem(found, far, np.array([64.0, 64.0]))
    cost = 6 * far[0] * far[1]
    trunk = np.unique(far[0], return_inverse=True)[1]
    none = np.zeros(16, int)
    shared = Costs(alone=cost, shared=0.8 * cost, trunk=trunk, done=none, branches={})
    apart, together = (plan(asked, each, 4000.0, 3) for each in (cost, shared))
    assert together.widths[-1] < apart.widths[-1]
    times = np.bincount(together.runs, minlength=16)
    assert together.cost.sum() == pytest.approx(shared.of(times))
    assert together.cost.sum() <= 4000
    assert cost @ times > 4000


@pytest.fixture
def table(tmp_path):
    """Runs of three sizes and durations; the longest of the largest is not there."""
    rows = [(n, d) for n in (1e6, 2e6, 4e6) for d in (1e7, 2e7, 4e7)][:-1]
    x = np.array(rows).T
    off = 0.01 * np.random.default_rng(0).normal(size=len(rows))
    loss = CHINCHILLA.predict(x, 0.1, 8.0, 0.25, 30.0, 0.28) * np.exp(off)
    path = tmp_path / "runs.csv"
    lines = [f"{n:g},{d:g},{6 * n * d:g},{y:.6f}" for (n, d), y in zip(rows, loss, strict=True)]
    path.write_text("\n".join(["n,d,flops,loss", *lines]) + "\n")
    return path


ASKED = (
    *("--x", "n", "--x", "d", "--y", "loss", "--y-is", "loss", "--law", "chinchilla"),
    *("--predict", "1e7,1e8", "--json", "-", "--repeat", "1"),
)


def answered(capsys, *asked):
    assert main(["next", *map(str, asked)]) == 0
    return json.loads(capsys.readouterr().out)["runs"]


@pytest.mark.slow
def test_a_longer_run_costs_its_difference_on_the_trunk_that_is_there(table, tmp_path, capsys):
    planned = tmp_path / "planned.csv"
    planned.write_text("n,d,flops,cooldown\n4e6,4e7,9.6e14,0.2\n")
    (alone,) = answered(capsys, table, *ASKED, "--budget", "1e15", "--candidates", planned)
    assert alone["cost"] == pytest.approx(9.6e14)
    sharing = (*ASKED, "--trunk", "n")
    (run,) = answered(capsys, table, *sharing, "--budget", "6e14", "--candidates", planned)
    assert run["cost"] == pytest.approx(9.6e14 - 0.8 * 4.8e14)
    grid = "--grid", "n=4e6", "--grid", "d=4e7", "--budget", "6e14"
    (run,) = answered(capsys, table, *sharing, *grid, "--cooldown", "0.2")
    assert run["cost"] == pytest.approx(9.6e14 - 0.8 * 4.8e14)
    (run,) = answered(capsys, table, *sharing, *grid)
    assert run["cost"] == pytest.approx(4.8e14)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--cooldown", "0.2"], "--cooldown: say by --trunk which runs share a trunk"),
        (["--trunk", "n", "--cooldown", "2"], "--cooldown: 2 is not a number from 0 to 1"),
        (["--trunk", "model"], "--trunk: model is none of --x, and a grid has no other columns"),
    ],
)
def test_mistakes_about_trunks_are_named(more, words, table, capsys):
    asked = (*ASKED, "--budget", "1e15", "--grid", "n=8e6", "--grid", "d=4e7")
    assert main(["next", str(table), *asked, *more]) == 2
    assert words in capsys.readouterr().err


def test_a_table_of_candidates_and_the_runs_must_both_tell_the_trunk(table, tmp_path, capsys):
    planned = tmp_path / "planned.csv"
    planned.write_text("n,d,flops,model,cooldown\n4e6,4e7,9.6e14,S,1.2\n")
    asked = ["next", str(table), *ASKED, "--budget", "1e15", "--candidates", str(planned)]
    assert main([*asked, "--trunk", "model"]) == 2
    assert "cooldown is 1.2, not a part, from 0 to 1" in capsys.readouterr().err
    planned.write_text("n,d,flops,model\n4e6,4e7,9.6e14,S\n")
    assert main([*asked, "--trunk", "model"]) == 2
    said = capsys.readouterr().err
    assert "runs.csv: no column 'model'" in said
    assert "--trunk looks there for what is paid for" in said


def test_the_cooldown_of_a_plan_is_the_part_of_a_run_behind_its_trunk():
    from test_plan import TWO, a_study

    from scaling.planning.closed_form import as_csv, study_cost

    study = a_study(["mu/4"], [10, 20, 40], TWO)
    rows = list(csv.DictReader(as_csv(study).splitlines()))
    alone = np.array([float(row["flops"]) for row in rows])
    shared = alone * (1 - np.array([float(row["cooldown"]) for row in rows]))
    trunks = [row["seed"] for row in rows]
    trunk = np.array([sorted(set(trunks)).index(each) for each in trunks])
    none = np.zeros(len(rows), int)
    some = Costs(alone=alone, shared=shared, trunk=trunk, done=none, branches={})
    assert some.of(none + 1) == pytest.approx(study_cost(study).cost.flops, rel=1e-6)
