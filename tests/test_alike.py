"""Rows of equal x: several kinds of rows, or a sweep, in one fit."""

from dataclasses import replace

import numpy as np
import pytest

from fits.data.tables import table_of
from fits.report import fit_table
from fits.spec import FitSpec

SIZES, DATA = (
    each.ravel() for each in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5))
)


def loss(n, d, noise=0.003, seed=0):
    true = 1.7 + 400 / n**0.34 + 410 / d**0.28
    return true * np.exp(noise * np.random.default_rng(seed).normal(size=n.shape))


PLAIN = FitSpec(x=("N", "D"), y="loss", y_is="loss", law="chinchilla")
FRONTIER = FitSpec(x=("C",), y="error", y_is="error", law="saturating")


def warnings(columns, spec=PLAIN, **fields):
    """Those about rows of equal x."""
    (group,) = fit_table(table_of(columns), replace(spec, **fields)).groups
    return [each for each in group.diagnostics if each.code.startswith("rows_of")]


def twice(*columns):
    return [np.concatenate([each, each]) for each in columns]


@pytest.mark.parametrize("other", [lambda y: np.exp(y), lambda y: 1.2 * y, lambda y: y + 0.7])
def test_two_metrics_in_one_column_are_named_with_the_column_that_tells_them_apart(other):
    n, d = twice(SIZES, DATA)
    y = loss(SIZES, DATA)
    kind = ["nll"] * len(y) + ["other"] * len(y)
    (found,) = warnings({"N": n, "D": d, "loss": np.concatenate([y, other(y)]), "what": kind})
    assert found.code == "rows_of_kinds"
    assert found.parameters == ("loss", "N, D", "what", "nll", "other")
    assert "--where 'what=nll', or fit each with --by what where" in found.words


def test_kinds_are_named_in_a_table_of_which_only_a_part_is_looked_at(monkeypatch):
    monkeypatch.setattr("fits.data.alike.LOOKED_AT", 12)
    n, d = twice(SIZES, DATA)
    y = loss(SIZES, DATA)
    kind = ["nll"] * len(y) + ["ppl"] * len(y)
    assert warnings({"N": n, "D": d, "loss": np.concatenate([y, np.exp(y)]), "what": kind})


@pytest.mark.parametrize("unit", ["", " (1)"])
def test_kinds_are_named_in_a_table_with_seeds_of_each_setting(unit):
    n, d = (np.tile(each, 4) for each in (SIZES, DATA))
    y = loss(n, d, noise=0.01, seed=1) * np.repeat([1, 1, 0.8, 0.8], 25)
    kind, seeds = np.repeat(["a", "b"], 50).tolist(), np.tile(np.repeat([0, 1], 25), 2)
    columns = {f"N{unit}": n, "D": d, "loss": y, "kind": kind, "seed": seeds}
    (found,) = warnings(columns)
    assert found.code == "rows_of_kinds"
    assert found.parameters[2:] == ("kind", "a", "b")
    (found,) = warnings({"of what" if k == "kind" else k: v for k, v in columns.items()})
    assert "--by 'of what' where" in found.words
    assert not warnings(columns, where=("kind=a",))


def test_one_of_the_metrics_alone_is_not_warned_of():
    n, d = twice(SIZES, DATA)
    y = loss(SIZES, DATA)
    kind = ["nll"] * len(y) + ["ppl"] * len(y)
    columns = {"N": n, "D": d, "loss": np.concatenate([y, np.exp(y)]), "what": kind}
    assert not warnings(columns, where=("what=nll",))


def sweep():
    """Each place at five learning rates, whose best grows as networks shrink; most are bad."""
    rates = np.geomspace(1e-4, 1e-2, 5)
    n, d = np.repeat(SIZES, 5), np.repeat(DATA, 5)
    rate = np.tile(rates, len(SIZES))
    off = np.log10(rate) + 2.2 + 0.3 * np.log10(n / 1e7)
    return {"N": n, "D": d, "lr": rate, "loss": loss(n, d) * (1 + 0.05 * off**2)}


def test_a_sweep_fitted_whole_is_told_of_best_of_which_mends_the_fit():
    (found,) = warnings(sweep())
    assert found.code == "rows_of_sweep"
    assert found.parameters == ("loss", "N, D", "lr")
    assert "--best-of 'N,D'" in found.words
    assert not warnings(sweep(), best_of=("N", "D"))


@pytest.mark.parametrize("seeds", ["seed", "rep", "which"])
def test_seeds_and_noise_are_no_sweep(seeds):
    n, d = (np.repeat(each, 4) for each in (SIZES, DATA))
    y = loss(n, d, noise=0.06, seed=1)
    assert not warnings({"N": n, "D": d, "loss": y, seeds: np.tile(np.arange(4.0), len(SIZES))})


@pytest.mark.parametrize("rows", ["all", "frontier"])
def test_notes_and_dates_beside_noisy_repeats_are_seldom_told_of(rows):
    warned = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        compute = np.repeat(np.geomspace(1, 1e3, 6), 3)
        error = (0.1 + 0.5 * compute**-0.3) * np.exp(0.06 * rng.normal(size=18))
        more = {
            "host": rng.choice(["n1", "n2", "n3"], 18).tolist(),
            "note": rng.choice(["", "again", "checked"], 18).tolist(),
            "dataset": rng.choice(["a", "b"], 18).tolist(),
            "job": rng.integers(0, 6, 18),
        }
        warned += len(warnings({"C": compute, "error": error, **more}, FRONTIER, rows=rows))
    assert warned <= 2


def test_settings_that_change_nothing_are_no_sweep():
    n, d = (np.repeat(each, 4) for each in (SIZES, DATA))
    y = loss(n, d, noise=0.005, seed=1)
    kind = ["a", "b", "c", "d"] * len(SIZES)
    assert not warnings({"N": n, "D": d, "loss": y, "kind": kind})


@pytest.mark.parametrize("name", ["model", "recipe", "train_dataset", "pretraining task"])
def test_a_frontier_over_models_and_recipes_is_one(name):
    assert not warnings(three_curves(name), FRONTIER)


@pytest.mark.parametrize("name", ["dataset", "downstream_dataset", "Test set", "eval split"])
def test_a_frontier_over_what_was_measured_is_none(name):
    (found,) = warnings(three_curves(name), FRONTIER)
    assert found.code == "rows_of_kinds"
    assert f"--where '{name}=S'" in found.words


def three_curves(name):
    compute, model = np.tile(np.geomspace(1, 1e3, 8), 3), np.repeat(["S", "B", "L"], 8)
    error = 0.1 + 0.5 * compute**-0.3 * np.repeat([1.3, 1.0, 0.8], 8)
    return {"C": compute, "error": error, name: model}
