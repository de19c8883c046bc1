"""Laws: formulas, their special cases, derivatives, units, and what their papers say of them."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_laws import KNOWN, TRUTHS, X, crossed, known

from fits.laws.broken import broken, broken_power
from fits.laws.chinchilla import CHINCHILLA, chinchilla, optimal_params
from fits.laws.lines import PARABOLA, log_linear, parabola
from fits.laws.names import ALIASES, ONE_VARIABLE, SEVERAL_VARIABLES
from fits.laws.names import RISING as RISING_NAMES
from fits.laws.powers import POWER, POWER_FLOOR, POWER_SHIFT, SATURATING, saturating
from fits.laws.registry import (
    BROKEN,
    BROKEN_2,
    LAWS,
    MANY_BREAKS,
    OF_QUANTITIES,
    RISING,
    SEVERAL,
    rivals,
)
from fits.laws.repeated import REPEATED, data_repeated
from fits.laws.shape import SHAPE, shape_law
from fits.laws.sigmoidal import M3, M4, levelling, sigmoidal
from fits.regression.fit import fit
from fits.regression.holdout import choose_law
from fits.regression.solver import in_units, minimise, unit_of

EVERY_LAW = pytest.mark.parametrize("law", KNOWN.values(), ids=KNOWN)


def in_its_units(law):
    """Points and true parameters with x in units of its geometric mean, as fits see them."""
    x, _ = known(law)
    unit = unit_of(law, x)
    return in_units(x, unit), law.in_ones(1 / unit, *TRUTHS[law.name])


@EVERY_LAW
def test_every_law_is_found_again_from_its_own_points(law):
    x, error = known(law)
    found = fit(law, x, error)
    assert not found.warnings
    np.testing.assert_allclose(found.values, TRUTHS[law.name], rtol=1e-10)


UNSEEN = {  # points that one law or the other cannot be read from
    "saturating": 1e-3 * X,
    "power": 1 + 1e-9 * X,
    "power-floor": np.geomspace(1, 1.3, 20),
    "power-shift": 1e-6 * X,
    "m3": 1e6 * X,
    "m4": 1e-4 * X,
    "broken": 1e-6 * X,
    "broken-2": 1e-6 * X,
    "log-linear": 1 + 1e-9 * X,
    "parabola": 7 + 1e-6 * X,
    "growth": 1 + 1e-9 * X,
    "product": crossed(np.geomspace(1e6, 1e10, 9), np.ones(2) * 1e9),
    "product-3": crossed(np.geomspace(1e6, 1e10, 9), np.ones(2) * 1e9, np.geomspace(1, 9, 3)),
    "chinchilla": crossed(np.geomspace(1e6, 1e10, 9), np.ones(2) * 1e9),
    "repeated": crossed(np.geomspace(1e6, 1e8, 6), np.geomspace(1e9, 1e11, 6), np.ones(1) * 1e12),
    "shape": crossed(np.geomspace(200, 3000, 12), np.ones(2) * 1e3),
    "exponential": 4 + 1e-9 * X,
    "sigmoid": np.linspace(4.5, 5, 20),
    "farseer": crossed(np.geomspace(1e8, 1e10, 12), np.ones(2) * 1e10),
    "routed": crossed(np.geomspace(1e7, 1e9, 12), np.array([1.0, 2])),
    "routed-floor": crossed(np.geomspace(1e7, 1e9, 12), np.array([1.0, 2])),
    "sparsity": crossed(np.geomspace(1e6, 1e10, 9), np.ones(2) * 1e9, np.array([4.0, 8])),
}


@pytest.mark.slow
@pytest.mark.parametrize("law", KNOWN.values(), ids=KNOWN)
def test_every_law_tells_when_its_points_do_not_tell_its_parameters(law):
    x = UNSEEN[law.name]
    size = 0 if law is BROKEN_2 else 1e-3  # two breaks find themselves places in any noise
    noise = np.exp(size * np.random.default_rng(0).normal(size=x.shape[-1]))
    found = fit(law, x, law.predict(x, *TRUTHS[law.name]) * noise)
    assert {each.code for each in found.diagnostics} & {
        "not_identifiable",
        "floor_not_identifiable",
        "flat",
    }


def test_constant_data_tell_neither_the_exponent_of_data_nor_the_floor():
    x = UNSEEN["chinchilla"]
    error = chinchilla(*x, *TRUTHS["chinchilla"])
    assert "E, B, beta are not identifiable" in "; ".join(fit(CHINCHILLA, x, error).warnings)


@EVERY_LAW
def test_a_formula_names_every_parameter_and_a_law_says_all_that_a_reader_needs(law):
    assert all(
        re.search(rf"(?<![a-zA-Z]){name}(?![a-zA-Z])", law.formula) for name in law.parameters
    )
    assert len(law.bounds) == len(law.parameters) == len(TRUTHS[law.name])
    assert len(law.units) == len(law.variables)
    assert law.floor is None or law.floor in law.parameters
    assert re.search(r"\d{4}", law.source)


@EVERY_LAW
def test_coordinates_unfold_to_the_values_that_were_folded(law):
    _, values = in_its_units(law)
    np.testing.assert_allclose(
        law.from_unconstrained(*law.to_unconstrained(*values)), values, rtol=1e-12
    )


@EVERY_LAW
def test_every_coordinate_grows_with_its_own_parameter(law):
    _, values = in_its_units(law)
    for k, bounds in enumerate(law.bounds):
        if not np.isfinite(bounds).any():
            continue
        more = values.copy()
        more[k] += 0.1 * abs(more[k])
        assert law.to_unconstrained(*more)[k] > law.to_unconstrained(*values)[k]


@EVERY_LAW
def test_the_jacobian_holds_the_derivatives_by_the_coordinates(law):
    x, values = in_its_units(law)
    at, jacobian = law.to_unconstrained(*values), law.derivatives(x, *values)
    for k in range(len(at)):
        step = np.eye(len(at))[k] * 1e-6
        up, down = (
            law.predict(x, *law.from_unconstrained(*(at + sign * step))) for sign in (1, -1)
        )
        numeric = (up - down) / 2e-6
        np.testing.assert_allclose(
            jacobian[k], numeric, rtol=1e-6, atol=1e-8 * np.ptp(numeric) + 1e-9
        )


@EVERY_LAW
@given(factor=st.floats(1e-9, 1e9))
def test_a_curve_does_not_depend_on_the_unit_of_x(law, factor):
    x, error = known(law)
    powers = np.array([0 if each is None else 1 + each for each in law.units])
    unit = factor**powers if len(law.variables) > 1 else factor
    rescaled = law.in_ones(unit, *TRUTHS[law.name])
    many = x * unit if len(law.variables) == 1 else x * unit[:, None]
    np.testing.assert_allclose(law.predict(many, *rescaled), error)


@EVERY_LAW
def test_one_of_the_starts_leads_to_the_curve_whatever_hidden_points_say(law):
    x, values = in_its_units(law)
    error = law.predict(x, *values)
    weights = np.ones(len(error))
    weights[::9] = 1e-12
    marred = np.where(weights == 1, error, 1.3 * error)
    found, loss = minimise(law, x, marred, weights)
    np.testing.assert_allclose(law.predict(x, *found), error, rtol=1e-4)
    assert loss < 1e-9


def test_a_saturating_law_leaves_a_plateau_and_settles_on_its_floor():
    a, b, c, d = 0.63, 0.32, 0.12, 0.52
    assert saturating(0, a, b, c, d) == pytest.approx(a * d**-b + c)
    assert saturating(1e30, a, b, c, d) == pytest.approx(c)


def test_the_published_10_shot_law_gives_the_errors_of_its_paper():
    error = saturating([1, 10, 100, 1000, 1e4], 0.63, 0.32, 0.12, 0.52)
    np.testing.assert_allclose(error, [0.671, 0.417, 0.264, 0.189, 0.153], atol=5e-4)


@pytest.mark.parametrize(
    ("law", "zero"), [(POWER, "cd"), (POWER_FLOOR, "d"), (POWER_SHIFT, "c"), (SATURATING, "")]
)
def test_special_cases_are_the_saturating_law_without_floor_or_head_start(law, zero):
    values = [0 if name in zero else TRUTHS["saturating"]["abcd".index(name)] for name in "abcd"]
    own = [value for name, value in zip("abcd", values, strict=True) if name not in zero]
    np.testing.assert_array_equal(law.predict(X, *own), saturating(X, *values))


def test_m1_to_m4_are_one_another_s_special_cases():
    assert (LAWS[ALIASES["m1"]], LAWS[ALIASES["m2"]]) == (POWER, POWER_FLOOR)
    np.testing.assert_allclose(levelling(X, 0.6, 0.3, 0), POWER.predict(X, 0.6, 0.3))
    nearly = sigmoidal(X, 0.6, 0.3, 0.1, 5.0, 1e-7)
    np.testing.assert_allclose(nearly, POWER_FLOOR.predict(X, 0.6, 0.3, 0.1), rtol=1e-6)


def test_m3_is_flat_where_1_over_x_no_longer_counts():
    assert levelling(1e30, *TRUTHS[M3.name]) == pytest.approx(0.6 * 0.02**0.35)


def test_m4_solves_its_implicit_equation_from_the_guess_down_to_the_floor():
    a, b, c, e, s = TRUTHS[M4.name]
    x = np.geomspace(1e-12, 1e12, 49)
    error = M4.predict(x, a, b, c, e, s)
    np.testing.assert_allclose(
        (error - c)[20:] / (e - error[20:]) ** s, a * x[20:] ** -b, rtol=1e-9
    )
    assert (np.diff(error) < 0).all()
    assert error[[0, -1]] == pytest.approx([e, c], abs=1e-4)


def test_m4_is_a_number_and_solved_wherever_its_bounds_allow():
    rng = np.random.default_rng(0)
    low, high = np.array(M4.bounds).T
    low = np.maximum(low, 1e-12)
    values = np.exp(rng.uniform(np.log(low), np.log(high), (3000, 5))).T
    for k, (bottom, top) in enumerate(M4.bounds):  # bounds too, and floors above the guess
        values[k, k::11], values[k, k + 5 :: 11] = bottom, top
    assert (values[3] <= values[2]).any()
    for x in (1e-30, 1e-3, 1.0, 1e3, 1e30):
        error, jacobian = M4.predict(x, *values), M4.derivatives(x, *values)
        assert np.isfinite(error).all()
        assert (error >= 0).all()
        assert np.isfinite(jacobian).all()
    folded = M4.to_unconstrained(*values)
    corners = np.where(rng.random((5, 3000)) < 0.5, *(folded.T[[0, 1]][..., None]))
    for coordinates in (folded, corners, rng.permuted(folded, axis=1)):
        assert np.isfinite(M4.from_unconstrained(*coordinates)).all()


@pytest.mark.parametrize("s", [1e-2, 0.1, 1.0, 5.0, 20.0])
def test_m4_needs_few_steps_to_solve_its_equation(s):
    """As exactly as rounding allows, where neither side of it is lost to rounding itself."""
    x = np.geomspace(1e-3, 1e3, 2001)
    error = sigmoidal(x, 1.0, 2.0, 0.0, 1.0, s)
    inside = (error < 1 - 1e-6) & (error > 0)
    assert inside.sum() > 500
    left = np.log(error[inside]) - s * np.log1p(-error[inside])
    np.testing.assert_allclose(left, -2 * np.log(x[inside]), rtol=1e-9, atol=1e-9 * s)


FLAT = {
    "constant": lambda rng, u: np.full(len(u), 0.3),
    "noise": lambda rng, u: np.exp(rng.normal(size=len(u))),
    "little noise": lambda rng, u: 0.8 * np.exp(0.02 * rng.normal(size=len(u))),
    "rising": lambda rng, u: np.exp(u + 0.02 * rng.normal(size=len(u))),
    "steep": lambda rng, u: np.exp(-8 * u + 0.05 * rng.normal(size=len(u))),
    "step": lambda rng, u: np.where(u < 0.5, 1, 0.1) * np.exp(1e-3 * rng.normal(size=len(u))),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FLAT)
def test_m4_comes_to_rest_in_numbers_on_what_does_not_look_like_it(kind):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        u = np.linspace(0, 1, rng.integers(5, 40))
        x, y = 10 ** (4 * u - 2), FLAT[kind](rng, u)
        values, loss = minimise(M4, x, y, np.ones(len(x)))
        ahead = M4.predict(np.array([1e-9, 1e3, 1e9]), *values)
        assert np.isfinite(values).all()
        assert np.isfinite(ahead).all()
        assert np.isfinite(M4.rescale(1e9, *values)).all()  # for x in ones, were it in billions
        assert loss <= (np.log(y / np.exp(np.log(y).mean())) ** 2).sum() / 2 + 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["constant", "rising"])
def test_m4_says_of_what_does_not_fall_that_it_does_not(kind):
    u = np.linspace(0, 1, 12)
    found = fit(M4, 1e9 * 10 ** (4 * u), FLAT[kind](np.random.default_rng(0), u))
    assert "does not fall" in "; ".join(found.warnings)
    assert np.isfinite(found.values).all()
    assert not np.isnan(found.intervals).any()
    assert not np.isnan(found.band(1e14)).any()


def test_a_broken_power_law_has_its_exponents_before_and_after_its_breaks():
    def slope(x):
        up, down = (
            broken_power(x * f, 0.4, 0.1, 0, 0.4, 5.0, 0.2, 0.3, 1e4, 0.2) for f in (2, 0.5)
        )
        return -np.log(up / down) / np.log(4)

    np.testing.assert_allclose([slope(x) for x in (1e-4, 200, 1e8)], [0.1, 0.5, 0.8], atol=1e-6)


def test_a_broken_power_law_is_the_product_of_its_paper():
    a, b, c0, c1, d1, f1 = 0.05, 0.4, 0.1, 0.4, 5.0, 0.4  # letters of its equation 1
    paper = a + b * X**-c0 * (1 + (X / d1) ** (1 / f1)) ** (-c1 * f1)
    np.testing.assert_allclose(BROKEN.predict(X, b, c0, a, c1, d1, f1), paper)
    assert broken(3).parameters[-3:] == ("b3", "d3", "f3")


def test_a_log_linear_law_changes_by_the_same_amount_with_every_tenfold():
    np.testing.assert_allclose(np.diff(log_linear([1, 10, 100], 0.6, 0.1)), -0.1)


def test_an_isoflop_profile_is_lowest_at_its_best_size_and_symmetric_about_it():
    assert parabola(7, 2.1, 0.05, 7) == 2.1
    assert parabola(70, 2.1, 0.05, 7) == pytest.approx(parabola(0.7, 2.1, 0.05, 7))
    sizes = np.geomspace(1, 30, 9)
    assert fit(PARABOLA, sizes, parabola(sizes, 2.1, 0.05, 7)).values[2] == pytest.approx(7)


def test_the_size_that_suits_the_data_is_the_best_one_at_its_compute():
    _, A, alpha, B, beta = TRUTHS[CHINCHILLA.name]
    best = optimal_params(1e10, A, alpha, B, beta)
    around = best * np.geomspace(0.8, 1.25, 101)
    losses = chinchilla(around, best * 1e10 / around, 1.8172, A, alpha, B, beta)
    assert around[losses.argmin()] == pytest.approx(best, rel=1e-2)


def test_data_seen_once_by_a_model_no_larger_than_it_feeds_is_worth_what_chinchilla_says():
    five = TRUTHS[CHINCHILLA.name]
    loss = data_repeated(1e7, 1e10, 1e10, *five, 15.4, 5.3)
    assert loss == pytest.approx(chinchilla(1e7, 1e10, *five))


def test_repeated_data_is_worth_as_much_as_the_published_formula_says():
    E, A, alpha, B, beta, reuse, excess = TRUTHS[REPEATED.name]
    params, unique, epochs = 1e10, 1e9, 12
    fed = optimal_params(unique, A, alpha, B, beta)
    assert fed < params
    tokens = unique + unique * reuse * (1 - np.exp(-(epochs - 1) / reuse))
    size = fed + fed * excess * (1 - np.exp(-(params / fed - 1) / excess))
    loss = data_repeated(params, unique * epochs, unique, *TRUTHS[REPEATED.name])
    assert loss == pytest.approx(E + A / size**alpha + B / tokens**beta)


def test_a_count_of_parameters_is_no_ratio_of_them():
    law, names = SEVERAL["sparsity"], ["active", "tokens", "total"]
    active, tokens, ratio = np.array([1e7, 1e9]), np.array([1e9, 1e11]), np.array([1.0, 2048.0])
    assert law.out_of_range(names, np.array([active, tokens, ratio])) == []
    (said,) = law.out_of_range(names, np.array([active, tokens, active * ratio]))
    assert "total is 2.05e+12, and P of law sparsity is at most 10000: all parameters over" in said


@pytest.mark.parametrize("seed", [1, 5, 8, 15, 18, 29, 30, 32, 56, 57])
def test_data_repeated_to_models_of_any_size_never_leave_size_worth_nothing(seed):
    """With A = 0 no way led back to the curve: the misfit was three to ten times as large."""
    truth = 1.996, 45.63, 0.2428, 2437.0, 0.3519, 19.74, 3.03
    rng = np.random.default_rng(seed)
    n, d, u = 10 ** rng.uniform([[7], [9], [8.3]], [[9.3], [11], [11]], (3, 60))
    x = np.array([n, d, np.minimum(u, d)])
    clean = REPEATED.predict(x, *truth)
    y = clean * np.exp(0.005 * rng.normal(size=60))
    _, least = minimise(REPEATED, in_units(x, unit_of(REPEATED, x)), y, np.ones(60))
    assert least < (np.log(clean / y) ** 2).sum() / 2


def test_the_best_shape_grows_as_its_paper_says():
    alpha, a, beta, b, _, c, _ = TRUTHS[SHAPE.name]
    widths = np.geomspace(1e3, 1e6, 20_001)
    best = [widths[shape_law(widths, t, *TRUTHS[SHAPE.name]).argmin()] for t in (1e2, 1e3)]
    paper = [(alpha * a * t**c / (beta * b)) ** (1 / (a + b)) for t in (1e2, 1e3)]
    np.testing.assert_allclose(best, paper, rtol=1e-3)


@pytest.mark.parametrize("breaks", [0, -1, 11, 1.5, "two"])
def test_breaks_that_no_law_has_are_refused(breaks):
    with pytest.raises(ValueError, match="give a whole number from 1 to 10, or take power-floor"):
        broken(breaks)


@pytest.mark.parametrize("law", [CHINCHILLA, REPEATED, SHAPE], ids=lambda law: law.name)
def test_a_law_of_one_of_several_variables_is_found_again_whatever_the_others_are(law):
    points, _ = known(law)
    for k, name in enumerate(law.variables):
        (one,) = (each for each in rivals(law) if each.name == f"power-floor in {name}")
        error = POWER_FLOOR.predict(points[k] / points[k].min(), 0.5, 0.4, 0.1)
        (row,) = choose_law(points, error, [one], by=points[k]).trials
        if name == "U":  # of four values the two largest are held out
            assert row.refusal == "2 different x to fit, 3 parameters"
        else:
            assert row.values[1:] == pytest.approx((0.4, 0.1), rel=1e-6)
            assert row.error < 1e-8


def test_repeated_data_are_tried_against_the_law_that_knows_no_repetition():
    points, _ = known(REPEATED)
    (rival,) = (each for each in rivals(REPEATED) if each.name == "chinchilla in N, D")
    values = TRUTHS[CHINCHILLA.name]
    np.testing.assert_array_equal(
        rival.predict(points, *values), CHINCHILLA.predict(points[:2], *values)
    )
    assert SHAPE not in rivals(CHINCHILLA)
    assert rivals(POWER) == [POWER, *(law for law in LAWS.values() if law is not POWER)]


def test_help_names_the_laws_that_the_registry_holds():
    assert set(ONE_VARIABLE) == {*LAWS, *MANY_BREAKS, *OF_QUANTITIES}
    assert set(RISING_NAMES) == {*RISING}
    assert {name: " ".join(law.variables) for name, law in SEVERAL.items()} == SEVERAL_VARIABLES


def test_the_law_that_the_docs_add_fits_its_own_points_in_any_unit_of_x():
    page = (Path(__file__).resolve().parents[1] / "docs" / "extending.md").read_text()
    block, *_ = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    namespace = {}
    exec(block, namespace)  # the page is a file of this repository
    law, truth = namespace["LOGARITHMIC"], np.array([0.9, 0.02, 0.1])
    x = np.geomspace(1e-2, 1e3, 40)
    for unit in (1.0, 1e6):
        found = fit(law, unit * x, law.predict(x, *truth))
        assert not found.warnings
        np.testing.assert_allclose(found.values, truth * [1, unit, 1], rtol=1e-6)
