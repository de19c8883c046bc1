"""The same question has the same interval in every command of fit-laws, whatever decides the fit.

fit-laws TABLE --predict is the reference: `next`, `compare`, `optimal` and `check` answer as it.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from fits.fit_laws import main
from fits.laws.chinchilla import chinchilla
from fits.laws.powers import POWER
from fits.saved.law_file import read_law

FIELD = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "field"
SAME = 1e-8  # relative; the solver finds a minimum to 1e-13 of the loss, its place to less

CLUSTERS = "--cluster", "run"
ALL = (
    *("--cluster", "run", "--weights", "w", "--huber", "auto", "--scale", "linear"),
    *("--level", "0.8", "--where", "run!=3"),
)
TERMS = {"Huber's loss, threshold given": ("--huber", "0.02"), "all of these": ALL}
ROWS = {
    "clusters": (*CLUSTERS, "--all-points"),
    "all of these": (*ALL, "--all-points"),
    "the frontier, Huber's loss": ("--loss", "huber"),
    "the hull, clusters": ("--hull", *CLUSTERS),
}


@pytest.fixture
def ask(capsys):
    def asked(*arguments):
        """The JSON of a command that has to succeed."""
        capsys.readouterr()  # what a command said before
        status = main([*map(str, arguments), "--json", "-"])
        said, complaints = capsys.readouterr()
        assert status == 0, complaints
        return json.loads(said)

    return asked


def write(path, columns):
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(f"{cell:.17g}" for cell in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def noise(run, seed):
    """Of runs that have luck of their own, of points that differ in weight, and an outlier."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.3, 3, len(run))
    off = 0.02 * rng.normal(size=run.max() + 1)[run] + 0.01 * rng.normal(size=len(run)) / weights
    off[len(off) // 2] += 0.4
    return np.exp(off), weights


def curves(path, seed, a=0.8):
    """Six learning curves of five points, error against compute."""
    run = np.repeat(np.arange(6), 5)
    x = np.tile(np.geomspace(1, 100, 5), 6) * np.repeat(np.geomspace(1, 30, 6), 5)
    luck, weights = noise(run, seed)
    error = POWER.predict(x, a, 0.2) * luck
    return write(path, {"c": x, "e": error, "run": run, "recipe": run // 3, "w": weights})


def surface(path, seed=0):
    """Eight runs of six points, loss against size and data."""
    run = np.repeat(np.arange(8), 6)
    size = np.geomspace(1e7, 3e9, 8)[run]
    data = np.tile(np.geomspace(1e9, 1e11, 6), 8) * np.repeat(np.geomspace(1, 4, 8), 6)
    luck, weights = noise(run, seed)
    loss = chinchilla(size, data, 1.8, 480.0, 0.35, 2100.0, 0.37) * luck
    columns = {"n": size, "d": data, "loss": loss, "run": run, "recipe": run // 3, "w": weights}
    return write(path, columns)


def ends(found):
    return [found["low"], found["high"]]


def same(one, other):
    """To SAME, relative; no end is no end."""
    assert [each is None for each in one] == [each is None for each in other]
    numbers = ([np.nan if each is None else each for each in side] for side in (one, other))
    np.testing.assert_allclose(*numbers, rtol=SAME)


def estimate(found):
    return [found["value"], *ends(found)]


def same_fit(group, other):
    for name, parameter in group["parameters"].items():
        same(estimate(parameter), estimate(other["parameters"][name]))
    assert group["clusters"] == other["clusters"]
    assert group["points"] == other["points"]


def reference(ask, table, columns, at):
    """What fit-laws itself says: its only group, and the prediction there."""
    (group,) = ask(table, *columns, "--predict", at)["groups"]
    (prediction,) = group["predictions"]
    return group, prediction


def next_answers_as(ask, group, prediction, table, columns, at, grid):
    found = ask("next", table, *columns, "--predict", at, "--budget", "1e40", "--repeat", 2, *grid)
    same(estimate(found["error"]), estimate(prediction))
    same_fit(found["fit"], group)


def check_answers_as(ask, group, table, columns, path):
    assert main([str(table), *columns, "--save", str(path)]) == 0
    law = read_law(path)
    parameters = group["parameters"].values()
    same(law.numbers, [each["value"] for each in parameters])
    for mine, its in zip(law.ends, parameters, strict=True):
        same([None if not np.isfinite(end) else end for end in mine], ends(its))


def compare_answers_as(ask, group, prediction, table, other, columns, at):
    found = ask("compare", table, other, *columns, "--predict", at)
    same_fit(found["a"], group)
    second, beside = reference(ask, other, columns, at)
    same_fit(found["b"], second)
    (here,) = found["predictions"]
    same([here["error_a"], here["error_b"]], [prediction["value"], beside["value"]])
    for mine, its in (("a", prediction), ("b", beside)):
        (shown,) = found[mine]["predictions"]
        same(estimate(shown), estimate(its))
    logs = [np.log(estimate(each)) for each in (prediction, beside)]
    (a, low_a, high_a), (b, low_b, high_b) = logs
    low, high = b - a - np.hypot(b - low_b, high_a - a), b - a + np.hypot(high_b - b, a - low_a)
    same(estimate(here["error_ratio"]), np.exp([b - a, low, high]).tolist())


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
@pytest.mark.parametrize("rows", ROWS)
def test_of_a_law_of_one_variable_every_command_has_the_interval_of_the_fit(rows, tmp_path, ask):
    table, other = curves(tmp_path / "a.csv", 0), curves(tmp_path / "b.csv", 1, a=0.7)
    columns = "--x", "c", "--y", "e", "--law", "power", *ROWS[rows]
    group, prediction = reference(ask, table, columns, "1e4")
    next_answers_as(ask, group, prediction, table, columns, "1e4", ["--grid", "c=10,1e3,3e3"])
    compare_answers_as(ask, group, prediction, table, other, columns, "1e4")
    check_answers_as(ask, group, table, columns, tmp_path / "law.json")


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
@pytest.mark.parametrize("terms", TERMS)
def test_of_size_and_data_every_command_has_the_interval_of_the_fit(terms, tmp_path, ask):
    table, at = surface(tmp_path / "runs.csv"), "1e10,1e12"
    y = "--y", "loss", "--y-is", "loss", *TERMS[terms]
    columns = "--x", "n", "--x", "d", "--law", "chinchilla", *y
    group, prediction = reference(ask, table, columns, at)
    grid = "--grid", "n=1e9,1e10", "--grid", "d=1e10,1e11"
    next_answers_as(ask, group, prediction, table, columns, at, grid)
    check_answers_as(ask, group, table, columns, tmp_path / "law.json")
    (found,) = ask("optimal", table, "--size", "n", "--data", "d", *y, "--trained", at)["trained"]
    same(estimate(found["error"]), estimate(prediction))


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_seeds_that_nobody_named_are_a_cluster_in_every_command(tmp_path, ask):
    size, data = (
        each.ravel() for each in np.meshgrid(np.geomspace(1e7, 1e9, 4), [1e9, 1e10, 1e11])
    )
    seed = np.tile(np.arange(3), len(size))
    size, data = np.repeat(size, 3), np.repeat(data, 3)
    luck = 0.02 * np.random.default_rng(0).normal(size=len(size) // 3)
    luck = np.repeat(luck, 3) + 0.002 * np.random.default_rng(1).normal(size=len(size))
    loss = chinchilla(size, data, 1.8, 480.0, 0.35, 2100.0, 0.37) * np.exp(luck)
    table = write(tmp_path / "seeds.csv", {"n": size, "d": data, "seed": seed, "loss": loss})
    y, at = ("--y", "loss", "--y-is", "loss"), "1e10,1e12"
    columns = "--x", "n", "--x", "d", "--law", "chinchilla", *y
    group, prediction = reference(ask, table, columns, at)
    assert group["clusters"] == 12
    grid = "--grid", "n=1e9,1e10", "--grid", "d=1e10,1e11"
    next_answers_as(ask, group, prediction, table, columns, at, grid)
    check_answers_as(ask, group, table, columns, tmp_path / "law.json")
    (found,) = ask("optimal", table, "--size", "n", "--data", "d", *y, "--trained", at)["trained"]
    same(estimate(found["error"]), estimate(prediction))


def shuffled(table, seed, cluster=None):
    """The same rows in another order, their clusters under other names."""
    header, *rows = table.read_text().splitlines()
    rng = np.random.default_rng(seed)
    rows = [rows[row].split(",") for row in rng.permutation(len(rows))]
    if cluster:
        at = header.split(",").index(cluster)
        names = rng.permutation(sorted({row[at] for row in rows}))
        other = dict(zip(sorted(names), names, strict=True))
        for row in rows:
            row[at] = other[row[at]]
    table.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")


ORDERS = {
    "all points, clusters": ROWS["clusters"],
    "all points, weights, Huber's loss": ("--weights", "w", "--loss", "huber", "--all-points"),
    "the frontier": (),
    "the frontier, clusters": CLUSTERS,
    "the hull, clusters": ROWS["the hull, clusters"],
    "the forecast": ("--law", "forecast", "--all-points"),
}
TRIED = "all points, clusters"


@pytest.mark.slow
@pytest.mark.parametrize("rows", ORDERS)
def test_the_order_of_a_tables_rows_and_the_names_of_its_clusters_move_no_digit(
    rows, tmp_path, ask, request
):
    """Nor of the errors in hold-out, which are tried of the first rows alone: most of the work."""
    if rows != TRIED:
        request.getfixturevalue("no_holdout")
    table = curves(tmp_path / "a.csv", 0)
    lines = table.read_text().splitlines()
    cells = [line.split(",") for line in lines[4:12]]
    twins = [",".join([c, e, str((int(run) + 1) % 6), *more]) for c, e, run, *more in cells]
    table.write_text("\n".join([*lines, *twins]) + "\n")
    renamed = "run" if "--cluster" in ORDERS[rows] else None
    columns = "--x", "c", "--y", "e", "--law", "power", *ORDERS[rows], "--predict", "1e4"
    found = ask(table, *columns)
    for seed in range(2):
        shuffled(table, seed, renamed)
        assert ask(table, *columns) == found


@pytest.mark.slow
def test_the_order_of_a_tables_rows_moves_no_digit_of_size_and_data(tmp_path, ask):
    table = surface(tmp_path / "runs.csv")
    y = "--y", "loss", "--y-is", "loss", *CLUSTERS, "--weights", "w"
    both = "--x", "n", "--x", "d", "--law", "chinchilla", *y, "--predict", "1e10,1e12"
    optimal = "optimal", table, "--size", "n", "--data", "d", "--curve", "run", *y
    found = ask(table, *both), ask(*optimal)
    shuffled(table, 0)
    assert (ask(table, *both), ask(*optimal)) == found


def test_the_order_of_a_tables_rows_moves_no_digit_of_profiles(tmp_path, ask):
    flops, share = (e.ravel() for e in np.meshgrid([1e18, 1e19, 1e20], np.geomspace(0.3, 3, 7)))
    size = share * (flops / 60) ** 0.5
    data = flops / 6 / size
    luck = np.exp(0.002 * np.random.default_rng(0).normal(size=len(size)))
    loss = chinchilla(size, data, 1.8, 480.0, 0.35, 2100.0, 0.37) * luck
    table = write(tmp_path / "runs.csv", {"n": size, "d": data, "loss": loss})
    optimal = "optimal", table, "--size", "n", "--data", "d", "--y", "loss", "--y-is", "loss"
    found = ask(*optimal)
    assert [each["refusal"] for each in found["methods"] if "profiles" in each["method"]] == [None]
    shuffled(table, 0)
    assert ask(*optimal) == found


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_a_table_split_in_two_is_compared_as_it_is_fitted(tmp_path, ask):
    table = curves(tmp_path / "both.csv", 0)
    for more in ((), ("--cluster", "run"), ("--loss", "huber", "--weights", "w")):
        columns = "--x", "c", "--y", "e", "--law", "power", "--all-points", *more, "--by", "recipe"
        found = ask("compare", table, *columns, "--predict", "1e4")
        for mine, its in zip("ab", ask(table, *columns, "--predict", "1e4")["groups"], strict=True):
            same_fit(found[mine], its)
            same(ends(found[mine]["predictions"][0]), ends(its["predictions"][0]))


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
@pytest.mark.parametrize(
    ("name", "x", "terms", "at", "truth", "interval"),
    [
        (
            *("clustered_curves.csv", ("params", "tokens"), ("--cluster", "run")),
            *("1e10,3e11", 1.908, (1.898, 1.951)),
        ),
        ("outliers.csv", ("N", "D"), ("--loss", "huber"), "1e11,2e12", None, (1.930, 1.947)),
    ],
)
def test_simulated_studies_on_which_commands_parted(name, x, terms, at, truth, interval, ask):
    """`next` once knew neither clusters nor Huber's loss: a quarter of the width, or 11 times."""
    table = FIELD / name
    if not table.exists():
        pytest.skip("needs the simulated studies in ../shared")
    y = "--y", "loss", "--y-is", "loss", *terms
    columns = "--x", x[0], "--x", x[1], "--law", "chinchilla", *y
    group, prediction = reference(ask, table, columns, at)
    assert ends(prediction) == pytest.approx(interval, abs=0.001)
    assert truth is None or prediction["low"] < truth < prediction["high"]
    grid = "--grid", f"{x[0]}=1e9,1e10", "--grid", f"{x[1]}=1e11"
    next_answers_as(ask, group, prediction, table, columns, at, grid)
    (found,) = ask("optimal", table, "--size", x[0], "--data", x[1], *y, "--trained", at)["trained"]
    same(estimate(found["error"]), estimate(prediction))
