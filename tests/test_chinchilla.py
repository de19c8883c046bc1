"""The law of model size and data on the points read off its paper's figure."""

import csv
from pathlib import Path

import numpy as np
import pytest

from fits.laws.chinchilla import CHINCHILLA
from fits.regression.fit import fit
from fits.regression.loss import Loss
from fits.regression.solver import in_units, levenberg_marquardt, minimise, unit_of

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "chinchilla_epoch"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the points are not at {DATA}")
LEAST = 1.0182740178e-3  # found by thousands of initial guesses and by others' optimizers
VALUES = {"A": 477.826, "B": 2143.417, "E": 1.817218, "alpha": 0.347310, "beta": 0.367172}


@pytest.fixture(scope="module")
def points():
    with open(DATA / "svg_extracted_data.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = "Model Size", "Training FLOP", "loss"
    params, flops, loss = (np.array([float(row[name]) for row in rows]) for name in columns)
    kept = np.argsort(loss)[:-5]
    return np.stack([params, flops / (6 * params)])[:, kept], loss[kept]


@pytest.fixture(scope="module")
def found(points):
    return fit(CHINCHILLA, *points, huber=1e-3)


def test_the_minimum_is_the_one_that_thousands_of_starts_find(found):
    assert found.n == 240
    assert found.objective == pytest.approx(LEAST, rel=1e-9)
    for name, value in zip(CHINCHILLA.parameters, found.values, strict=True):
        assert value == pytest.approx(VALUES[name], rel=2e-6)  # half a unit of their last digit


def test_no_number_of_the_minimum_depends_on_units(points, found):
    (params, tokens), loss = points
    others = fit(CHINCHILLA, (params / 1e9, tokens / 1e12), loss, huber=1e-3)
    np.testing.assert_allclose(np.delete(others.values, [1, 3]), np.delete(found.values, [1, 3]))
    x = np.array([[70e9], [1.4e12]])
    np.testing.assert_allclose(others.predict(x / [[1e9], [1e12]]), found.predict(x), rtol=1e-8)
    np.testing.assert_allclose(others.band(x / [[1e9], [1e12]]), found.band(x), rtol=1e-5)


def test_intervals_are_about_as_wide_as_the_replication_s_bootstrap_says(found):
    errors = {"E": 0.0257, "alpha": 0.0154, "beta": 0.0206}  # arXiv 2404.10102, standard errors
    for name, (low, high) in zip(CHINCHILLA.parameters, found.intervals, strict=True):
        if name in errors:
            assert high - low == pytest.approx(2 * 1.645 * errors[name], rel=0.5)
    low, high = found.interval(lambda E, A, alpha, B, beta: beta / (alpha + beta))
    assert low < 0.5 < 0.513 < high
    assert high - low == pytest.approx(2 * 1.645 * 0.020, rel=0.5)


def test_points_of_less_data_than_parameters_are_said_to_be_undertrained(found):
    said, end = found.warnings
    assert end.startswith("runs of the largest D (D from 5.4e+10) lie 0.55 % below the law")
    assert said.startswith("3 of 240 points are outliers, far above the curve (N = 1.61e+09, D = 1")


def test_a_prediction_says_which_variable_lies_beyond_the_points(points, found):
    (params, tokens), _ = points
    last = np.array([params.max(), tokens.max()])
    assert found.extrapolates(last) == []
    (beyond,) = found.extrapolates(last * [10, 1])
    assert beyond.words.endswith("is 10 times the largest N fitted")
    assert len(found.extrapolates(last * [10, 3])) == 2


def test_every_bootstrap_refit_reaches_its_minimum(points):
    x, loss = points
    x, huber = in_units(x, unit_of(CHINCHILLA, x)), Loss(delta=1e-3)
    values, _ = minimise(CHINCHILLA, x, loss, np.ones(240), huber)
    rows = np.random.default_rng(0).multinomial(240, np.full(240, 1 / 240), size=200).astype(float)
    start = np.tile(values[:, None], 200)
    _, quick = levenberg_marquardt(CHINCHILLA, x, loss, rows, start, loss=huber, gain=1e-6)
    for other in CHINCHILLA.guess(x, loss, np.ones(240)).T:
        start = np.tile(other[:, None], 200)
        best = levenberg_marquardt(CHINCHILLA, x, loss, rows, start, loss=huber)[1]
        assert (quick / best).max() < 1 + 1e-6
