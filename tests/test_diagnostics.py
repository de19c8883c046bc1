"""What speaks against a fit is said where it is bad, whatever the unit, and not where it is sound.

Shares of simulated studies are small here; the docstrings of `outliers.py` have those of many.
"""

import re
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from fits.allocation.allocation import trainings
from fits.allocation.parametric import parametric
from fits.laws.chinchilla import CHINCHILLA, chinchilla
from fits.laws.powers import POWER_FLOOR, SATURATING, saturating
from fits.laws.registry import LAWS, SEVERAL
from fits.regression.diagnostics import _products
from fits.regression.fit import fit
from fits.regression.loss import Loss, _in_errors
from fits.report import fit_table
from fits.spec import FitSpec

STUDIES = Path(__file__).resolve().parents[1] / "docs" / "studies"
COMPUTE = np.geomspace(1e-2, 1e3, 24)  # EFLOP
TRUTH = 0.6, 0.35, 0.10, 0.5
LAW = 1.8172, 477.8, 0.3473, 2143.4, 0.3672


def noisy(seed=0, noise=0.01, x=COMPUTE, truth=TRUTH):
    return saturating(x, *truth) * np.exp(noise * np.random.default_rng(seed).normal(size=len(x)))


def grid(seed=0, noise=0.003, side=6):
    axes = np.geomspace(1e8, 1e10, side), np.geomspace(2e9, 2e11, side)
    size, data = (each.ravel() for each in np.meshgrid(*axes))
    scatter = np.exp(noise * np.random.default_rng(seed).normal(size=size.size))
    return size, data, chinchilla(size, data, *LAW) * scatter


def saying(fitted, words):
    return [warning for warning in fitted.warnings if words in warning]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "factor", "words"),
    [(1, 1.3, "far above"), (5, 1.3, "far above"), (2, 0.7, "far below"), (5, 0.7, "far below")],
)
def test_points_off_the_curve_do_not_hide_behind_one_another(count, factor, words):
    for seed in range(2):
        error = noisy(seed)
        off = np.random.default_rng(seed).choice(24, count, replace=False)
        error[off] *= factor
        (said,) = saying(fit(SATURATING, COMPUTE, error), words)
        assert said.startswith(f"{count} of 24 points")


@pytest.mark.slow
@pytest.mark.parametrize("change", [0.1, 10.0])
def test_noise_that_grows_or_shrinks_along_the_curve_puts_no_point_off_it(change):
    noise = 0.01 * np.geomspace(change**-0.5, change**0.5, 24)
    for seed in range(5):
        found = fit(SATURATING, COMPUTE, noisy(seed, noise))
        assert not saying(found, "far above")
        assert not saying(found, "far below")


@pytest.mark.slow
def test_the_shortest_runs_of_a_study_are_named_if_they_lie_above_the_law():
    size, data, loss = grid()
    loss[data == data.min()] *= 1.4
    (said,) = saying(fit(CHINCHILLA, (size, data), loss), "law fitted to the others")
    assert said.startswith("runs of the smallest D (D up to 2e+09) lie 4")
    assert "% above the law" in said
    way = parametric(trainings(size, data, loss), fit(CHINCHILLA, (size, data), loss))
    assert said in [each.words for each in way.diagnostics]


@pytest.mark.slow
def test_the_largest_models_are_named_if_they_lie_above_the_law():
    size, data, loss = grid()
    loss[size >= np.unique(size)[-2]] *= 1.15
    (said,) = saying(fit(CHINCHILLA, (size, data), loss), "law fitted to the others")
    assert said.startswith("runs of the largest N (N from 3.98e+09) lie 1")


def test_residuals_that_wave_along_a_variable_name_it():
    size, data, loss = grid(side=8)
    waves = fit(CHINCHILLA, (size, data), loss * np.exp(0.02 * np.sin(3 * np.log(size / 1e9))))
    (said,) = saying(waves, "neighbouring points along")
    assert "points along D are correlated" in said or "along N and along D" in said


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.003, 0.01])
def test_a_sound_law_of_size_and_data_is_sound(noise):
    for seed in range(4):
        size, data, loss = grid(seed, noise, side=7)
        assert fit(CHINCHILLA, (size, data), loss).warnings == ()


def test_learning_curves_that_are_said_to_be_such_are_sound_and_else_noticed():
    size, data, loss = grid(noise=0.001, side=7)
    curve = np.unique(size, return_inverse=True)[1].tolist()
    loss = loss * np.exp(0.005 * np.random.default_rng(1).normal(size=7))[curve]
    told, untold = (fit(CHINCHILLA, (size, data), loss, clusters=g) for g in (curve, None))
    assert not saying(told, "neighbouring") + saying(told, "law fitted to the others")
    assert saying(untold, "neighbouring points along")


@pytest.mark.slow
@pytest.mark.parametrize("place", [-5, -2])
@pytest.mark.parametrize("factor", [0.6, 0.7])
def test_a_lucky_run_that_moves_the_forecast_is_named(place, factor):
    x = np.geomspace(1, 1e4, 14)
    error = noisy(3, 0.005, x, (0.5, 0.3, 0.02, 0.5))
    assert not saying(fit(SATURATING, x, error), "one run")
    error[place] *= factor
    (said,) = saying(fit(SATURATING, x, error), "one run decides")
    assert f"without the run at x = {x[place]:.3g} the prediction" in said


@pytest.mark.slow
def test_one_run_does_not_decide_where_there_are_few():
    x = COMPUTE[::3]
    assert not any(saying(fit(SATURATING, x, noisy(s, 0.005, x)), "one run") for s in range(8))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("law", "off", "unit", "loss"),
    [
        (SATURATING, 1, 1e7, Loss()),
        (SATURATING, 1.3, 1e-6, Loss()),
        (SATURATING, 1.3, 1e6, Loss(log=False)),
        (POWER_FLOOR, 1, 1e9, Loss()),
        (POWER_FLOOR, 1, 1e6, Loss(log=False)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_no_warning_depends_on_the_unit_of_the_error(law, off, unit, loss):
    error = noisy()
    error[5] *= off
    ones, others = (fit(law, COMPUTE, error * u, loss=loss) for u in (1, unit))

    def words(found):
        return [re.sub(r"-?[\d.]+(e[+-]\d+)?", "", warning) for warning in found.warnings]

    assert words(others) == words(ones)


@pytest.mark.parametrize("unit", [1e-6, 1e7])
def test_no_band_depends_on_the_unit_of_the_error(unit):
    ones, others = (fit(SATURATING, COMPUTE, noisy() * u) for u in (1, unit))
    x = np.geomspace(1e-3, 1e5, 9)
    np.testing.assert_allclose(np.array(others.band(x)) / unit, ones.band(x), rtol=1e-6)


@pytest.mark.parametrize("law", [*LAWS.values(), *SEVERAL.values()], ids=lambda law: law.name)
def test_floors_and_offsets_are_counted_in_the_unit_of_the_error(law):
    linear = {"c", "lowest", "E", "xi", "eps", "floor"}
    exponents = {"shape": {"c"}, "routed": {"c"}, "routed-floor": {"c"}, "farseer": {"E"}}
    scales = {"product": {"c"}, "product-3": {"c"}}
    linear -= (exponents | scales).get(law.name, set())
    linear |= {
        "log-linear": {"a", "b"},
        "parabola": {"curvature"},
        "sparsity": {"A", "G"},
    }.get(law.name, set())
    found = {name for name, is_so in zip(law.parameters, _in_errors(law), strict=True) if is_so}
    assert found == linear & set(law.parameters)


def of_quantile(tau, errors, law=POWER_FLOOR):
    """Warnings of autocorrelation of a law through a quantile of errors along a known curve."""
    x = np.geomspace(1, 1e4, len(errors))
    loss = 1.5 + 1.9 * x**-0.12
    found = fit(law, x, loss * np.exp(0.02 * errors), loss=Loss(tau=tau), huber="auto")
    return saying(found, "neighbouring points are correlated")


@pytest.mark.parametrize("tau", [0.1, 0.9])
@pytest.mark.parametrize("growth", [1, 10])
def test_independent_noise_about_a_quantile_is_not_autocorrelated_even_where_it_grows(tau, growth):
    noise = np.geomspace(growth**-0.5, growth**0.5, 100)
    assert not any(
        of_quantile(tau, noise * np.random.default_rng(seed).normal(size=100)) for seed in range(4)
    )


@pytest.mark.parametrize("tau", [0.1, 0.5, 0.9])
def test_autocorrelated_noise_about_a_quantile_is_found(tau):
    for seed in range(3):
        errors = np.random.default_rng(seed).normal(size=60)
        for k in range(1, 60):
            errors[k] = 0.8 * errors[k - 1] + 0.6 * errors[k]
        assert of_quantile(tau, errors)


def test_of_a_quantile_of_several_variables_only_a_wave_is_autocorrelated():
    size, data, loss = grid(side=7)
    quantile = {"loss": Loss(tau=0.1), "huber": "auto"}
    assert not saying(fit(CHINCHILLA, (size, data), loss, **quantile), "neighbouring points")
    waves = loss * np.exp(0.02 * np.sin(3 * np.log(size / 1e9)))
    assert saying(fit(CHINCHILLA, (size, data), waves, **quantile), "neighbouring points along")


def test_as_many_points_as_parameters_are_said_to_be_met_only_where_they_are():
    x = COMPUTE[::7]
    met = fit(SATURATING, x, saturating(x, *TRUTH))
    assert saying(met, "4 points for 4 parameters: the curve goes through every point")
    missed = fit(SATURATING, x, [0.5, 0.2, 0.4, 0.3])
    assert missed.rms > 1e-2
    assert saying(missed, "4 points for 4 parameters: the curve has no point to spare")
    assert not saying(missed, "through every point")


def test_one_group_alone_tells_nothing_of_scatter():
    found = fit(SATURATING, COMPUTE, noisy(), clusters=["a"] * 24)
    (said,) = saying(found, "one cluster")
    assert said.startswith("all 24 points are in one cluster, so the variance between")


def test_seeds_at_one_place_are_neighbours_in_no_particular_order():
    residuals, place = np.array([0.3, -0.2, 0.5, 0.1, -0.4, 0.7]), np.array([1, 2, 2, 2, 3, 3])
    orders = [(0, *seeds, *last) for seeds in permutations((1, 2, 3)) for last in ((4, 5), (5, 4))]
    rows = residuals[np.array(orders)]
    mean = (rows[:, 1:] * rows[:, :-1]).sum(axis=1).mean()
    mixed = [3, 5, 0, 2, 4, 1]
    assert _products(residuals[mixed], place[mixed]) == pytest.approx(mean, rel=1e-12)


def test_an_end_whose_factor_the_parameters_can_do_themselves_is_not_named():
    spec = FitSpec(
        x=("params", "images_seen", "data_size"),
        y="value",
        where=("metric=cifar_probe_error",),
        law="repeated",
    )
    (group,) = fit_table(STUDIES / "objectives-cifar10.csv", spec).groups
    codes = [each.code for each in group.diagnostics]
    assert not [code for code in codes if code.startswith(("smallest_", "largest_"))]
