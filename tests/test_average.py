"""The average over laws: its parts against known answers, and what it foresees."""

import csv
import json
import math
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_t, norm

from fits.average.average import AVERAGED, RULE, Rule, average
from fits.average.errors import NO_WALK, ErrorModel, Ratio
from fits.average.mixture import Mixture
from fits.average.points import MOST, merged, smaller
from fits.average.posterior import posterior
from fits.average.priors import log_prior, priors_of
from fits.base.errors import UserError
from fits.data.frontier import on_frontier
from fits.fit_laws import main
from fits.laws.powers import POWER, POWER_FLOOR, SATURATING, saturating
from fits.laws.registry import LAWS
from fits.report import fit_table
from fits.report_text import worst_diagnostic
from fits.saved.law_file import read_law
from fits.spec import FitSpec

PAPER = Path(__file__).resolve().parents[1] / "notebooks" / "zhai2022_inet10.csv"
COLUMNS = "--x", "core_days", "--y", "error"


def runs(count=24, noise=0.01, seed=0, truth=(0.6, 0.35, 0.1, 0.5), top=1e3):
    x = np.geomspace(1e-1, top, count)
    errors = np.exp(noise * np.random.default_rng(seed).normal(size=count))
    return x, saturating(x, *truth) * errors


@pytest.fixture(scope="module")
def paper():
    with PAPER.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return tuple(np.array([float(row[name]) for row in rows]) for name in ("core_days", "error"))


def write(path):
    rows = [f"{x:.6g},{y:.6g}\n" for x, y in zip(*runs(14), strict=True)]
    path.write_text("core_days,error\n" + "".join(rows))
    return path


@pytest.fixture
def table(tmp_path):
    return write(tmp_path / "runs.csv")


@pytest.fixture(scope="module")
def of_twelve():
    return average(*runs(12))


# Parts


def test_without_walks_the_likelihood_is_students_t():
    x = np.log(np.geomspace(1, 100, 7))
    residuals = np.random.default_rng(0).normal(size=(5, 7)) * 0.02
    (found,) = ErrorModel(x, NO_WALK).log_likelihood(residuals)
    known = multivariate_t(shape=0.01**2 * np.eye(7), df=2).logpdf(residuals)
    np.testing.assert_allclose(np.diff(found), np.diff(known), rtol=1e-9)


def test_with_a_walk_of_the_level_the_last_residual_carries_over():
    """A level that errs by far more than the noise: what the last run shows is what is to come."""
    x = np.log(np.geomspace(1, 100, 9))
    model = ErrorModel(x, (Ratio(100.0, 0.0, 0.0),))
    residuals = np.linspace(-0.1, 0.3, 9)[None]
    means, variances = model.ahead(residuals, x[-1] + np.array([0.0, 1.0, 2.0]))
    np.testing.assert_allclose(means[0, 0], 0.3, rtol=1e-3)
    grown = np.diff(variances[0, 0])
    assert grown[0] > 0
    assert grown[1] == pytest.approx(grown[0])  # Brownian motion: the same for each unit of log x


def test_with_a_walk_of_the_slope_the_last_slope_carries_over():
    x = np.log(np.geomspace(1, 100, 400))
    model = ErrorModel(x, (Ratio(0.0, 1e4, 0.0),))
    means, variances = model.ahead(0.05 * (x - x[-1])[None], x[-1] + np.array([0.5, 1.0, 2.0]))
    np.testing.assert_allclose(means[0, 0], [0.025, 0.05, 0.1], rtol=0.02)
    assert np.diff(variances[0, 0], 2)[0] > 0  # faster than in proportion


def test_every_prior_is_a_density():
    x, y = runs()
    for name in AVERAGED:
        for prior in priors_of(LAWS[name], x, y):
            grid = np.linspace(-40, 60, 400_001)
            mass = np.exp(prior.log_density(grid)).sum() * (grid[1] - grid[0])
            assert mass == pytest.approx(1, rel=2e-3)
            drawn = prior.draws(np.random.default_rng(0), 4000)
            assert np.isfinite(log_prior([prior], drawn[:, None])).all()


def test_the_posterior_of_a_power_law_is_that_of_a_grid():
    x, y = runs(12, 0.05, truth=(0.5, 0.3, 0.0, 0.0))
    found = posterior(POWER, x, y, 0, NO_WALK)
    plain = x / np.exp(np.log(x).mean())
    priors = priors_of(POWER, plain, y)
    level, exponent = np.meshgrid(np.linspace(-1.6, -0.2, 300), np.linspace(-2.2, -0.4, 300))
    at = np.stack([level.ravel(), exponent.ravel()], axis=1)
    curve = at[:, :1] - np.exp(at[:, 1:]) * np.log(plain)
    likelihood = ErrorModel(np.log(plain), NO_WALK).log_likelihood(np.log(y) - curve)[0]
    logs = likelihood + log_prior(priors, at)
    weights = np.exp(logs - logs.max())
    cell = np.ptp(level) / 299 * np.ptp(exponent) / 299
    assert found.log_evidence == pytest.approx(np.log(weights.sum() * cell) + logs.max(), abs=0.03)
    weights /= weights.sum()
    mean = weights @ at
    deviation = np.sqrt(weights @ (at - mean) ** 2)
    np.testing.assert_allclose(found.draws.mean(axis=0), mean, atol=0.2 * deviation.max())
    np.testing.assert_allclose(found.draws.std(axis=0), deviation, rtol=0.2)


def test_quantiles_of_a_mixture_are_where_its_mass_lies():
    mixture = Mixture(np.array([[0.0], [3.0]]), np.array([[1.0], [0.25]]), np.array([0.3, 0.7]))
    for level in (0.05, 0.5, 0.95):
        at = mixture.quantile(level)
        mass = 0.3 * norm.cdf(at) + 0.7 * norm.cdf((at - 3) / 0.5)
        assert mass == pytest.approx(level, abs=1e-9)
    density = 0.3 * norm.pdf(1.0) + 0.7 * norm.pdf(1.0, 3, 0.5)
    assert mixture.log_density(np.array([1.0]))[0] == pytest.approx(math.log(density))
    between, within = mixture.variances(np.array([0, 1]))
    assert between[0] == pytest.approx(0.3 * 0.7 * 9)
    assert within[0] == pytest.approx(0.3 * 1 + 0.7 * 0.25)


def test_points_of_one_x_become_one_and_many_become_few():
    found = merged(np.array([2.0, 1.0, 2.0]), np.array([1.0, 5.0, 4.0]))
    np.testing.assert_allclose(found.x, [1, 2])
    np.testing.assert_allclose(found.y, [5, 2])  # the mean of the logarithms
    assert found.scatter == pytest.approx(2 * np.log(2) ** 2)
    x, y = runs(5000)
    many = merged(x, y)
    assert len(many.x) == MOST
    assert np.sqrt(many.scatter) == pytest.approx(np.sqrt(0.01**2 + many.scatter - 0.01**2))


def test_a_backtest_leaves_out_models_that_are_among_those_held_out():
    x = np.array([1.0, 2.0, 3.0, 4.0, 100.0])
    model = np.array([0, 0, 1, 2, 2])
    every = np.ones(5, bool)
    np.testing.assert_array_equal(smaller(x, every, 10, None), [1, 1, 1, 1, 0])
    np.testing.assert_array_equal(smaller(x, every, 10, model), [1, 1, 1, 0, 0])
    alike = np.zeros(5, int)  # else hardly anything would be left
    np.testing.assert_array_equal(smaller(x, every, 10, alike), [1, 1, 1, 1, 0])


def test_backtests_that_would_fit_the_same_runs_count_once():
    """Runs ten times apart: up to a third of the largest, and up to a tenth, lie the same runs."""
    x = 10.0 ** np.arange(6)
    found = average(x, saturating(x, 0.6, 0.35, 0.1, 0.5))
    assert [(each.times, each.fitted, each.held_out) for each in found.backtests] == [
        (10, 5, 1),
        (30, 4, 2),
    ]


# What it foresees


def test_of_a_law_that_holds_the_average_finds_it():
    x, y = runs(30, 0.003)
    found = average(x, y)
    assert sum(found.weights.values()) == pytest.approx(1)
    assert found.weights["saturating"] + found.weights["broken"] + found.weights["m4"] > 0.99
    assert found.weights["power"] < 1e-6
    low, high = found.band(1e4)
    assert low < saturating(1e4, 0.6, 0.35, 0.1, 0.5) < high


@pytest.mark.slow
@pytest.mark.parametrize("unit", [1e-12, 1e9])
def test_no_prediction_depends_on_the_unit_of_x(unit, of_twelve):
    x, y = runs(12)
    ahead = np.array([2e3, 1e4])
    np.testing.assert_allclose(
        average(x * unit, y).predict(ahead * unit), of_twelve.predict(ahead), rtol=1e-3
    )


@pytest.mark.slow
def test_the_order_of_the_runs_does_not_change_a_digit(of_twelve):
    x, y = runs(12)
    order = np.random.default_rng(1).permutation(12)
    assert average(x[order], y[order]).predict(1e4) == of_twelve.predict(1e4)


@pytest.mark.slow
def test_a_higher_level_is_wider_and_farther_ahead_is_wider():
    found = average(*runs(14))
    width = [float(np.log(np.divide(*found.band(1e4, level)[::-1]))) for level in (0.5, 0.9, 0.99)]
    assert width == sorted(width)
    ahead = [float(np.log(np.divide(*found.band(at)[::-1]))) for at in (1e3, 1e4, 1e6)]
    assert ahead == sorted(ahead)


def test_weights_follow_the_rule():
    found = average(*runs(20))
    alike = found.under(Rule(evidence=0, holdout=0))
    assert alike.weights == pytest.approx(dict.fromkeys(AVERAGED, 1 / len(AVERAGED)))
    narrow = found.under(Rule(between=False))
    assert np.divide(*narrow.band(1e6)[::-1]) < np.divide(*found.under(Rule()).band(1e6)[::-1])


@pytest.mark.slow
def test_the_frontier_of_the_papers_own_table_is_foreseen_from_its_small_runs(paper):
    """A tenth and a thirtieth of the largest compute; numbers as of docs/laws/average.md."""
    x, y = paper
    for times in (10, 30):
        kept = x <= x.max() / times
        beyond = on_frontier(x, y, np.ones((1, len(x)), bool))[0] & ~kept
        found = average(x[kept], y[kept], choose=on_frontier)
        low, high = found.band(x[beyond])
        assert np.mean((low <= y[beyond]) & (y[beyond] <= high)) >= 0.6
        assert np.sqrt(np.mean(np.log(found.predict(x[beyond]) / y[beyond]) ** 2)) < 0.07


@pytest.mark.slow
def test_it_says_when_it_is_little_but_its_prior_and_cannot_be_tested():
    x, y = runs(4, top=0.5)
    found = average(x, y)
    codes = {each.code for each in found.diagnostics}
    assert {"average_is_prior", "average_untested"} <= codes
    (far,) = found.extrapolates(5.0)
    assert far.words == "x = 5 is 10 times the largest x fitted"  # and of no backtest
    rising = average(*runs(8)[::1], choose=lambda x, y, present: present)
    assert not rising.diagnostics
    x = np.geomspace(1, 100, 12)
    codes = {each.code for each in average(x, 1 + 0.01 * x**0.1).diagnostics}
    assert "average_not_falling" in codes


@pytest.mark.slow
def test_it_says_when_its_backtests_were_worse_than_its_interval(paper):
    """A small network's curve, and a larger one's that takes the frontier over when it is flat."""
    x = np.geomspace(1, 1000, 40)
    found = average(x, np.minimum(0.3 + 0.5 * x**-0.8, 1.3 * x**-0.3))
    (said,) = (each for each in found.diagnostics if each.code == "average_backtests_worse")
    assert said.numbers["error"] > said.numbers["half"] > 0
    assert "may be too narrow" in said.words
    for level in (0.5, 0.99):  # what is wrong of a law does not depend on the level asked for
        other = average(x, np.minimum(0.3 + 0.5 * x**-0.8, 1.3 * x**-0.3), level=level)
        assert said in other.diagnostics
    assert not average(*paper, choose=on_frontier).diagnostics


def test_it_names_an_outlier_once(tmp_path):
    x, y = runs(24)
    assert not any("outlier" in each.code for each in average(x, y).diagnostics)
    y[10] *= 1.4
    (said,) = (each for each in average(x, y).diagnostics if "outlier" in each.code)
    assert said.numbers["x"] == pytest.approx((x[10],))
    assert "--loss" not in said.words  # an average has no other
    path = tmp_path / "runs.csv"
    rows = [f"{a},{b}\n" for a, b in zip(x, y, strict=True)]
    path.write_text("core_days,error\n" + "".join(rows))
    spec = FitSpec(x=("core_days",), y="error", average=True, rows="all")
    (group,) = fit_table(path, spec, at=[(1e4,)], holdout=False).groups
    assert [each.code for each in group.diagnostics].count("outliers_above") == 1


@pytest.mark.slow
def test_it_says_where_the_laws_part():
    x, y = runs(9, 0.02, top=3)
    averaged = average(x, y)
    found = {each.code: each for each in averaged.extrapolates(1e12)}
    assert {"average_extrapolates", "laws_part"} <= found.keys()
    assert "most of the interval is uncertainty about the law" in found["laws_part"].words
    assert not averaged.extrapolates(1.0)


def test_two_different_x_are_too_few():
    with pytest.raises(ValueError, match=r"with 2 different x; an average over laws needs 3"):
        average([1, 2, 2], [0.5, 0.4, 0.41])


@pytest.mark.slow
def test_hundreds_of_thousands_of_runs_take_seconds():
    x, y = runs(300_000)
    found = average(x, y)
    assert [each.code for each in found.diagnostics] == ["average_merged"]


# The command


def fit_laws(*words):
    return main(list(map(str, words)))


def test_best_prints_weights_backtests_and_what_each_law_predicts(capsys):
    assert fit_laws(PAPER, *COLUMNS, "--law", "best", "--predict", "1e5") == 0
    said = capsys.readouterr().out
    assert "an average over 6 laws" in said
    assert "90% intervals of one more measurement" in said
    for name in AVERAGED:
        assert f"\n    {name} " in said
    assert "E(100000) = 0.14" in said


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_without_a_law_parameters_are_the_papers_and_predictions_the_averages(
    table, tmp_path, capsys
):
    def asked(*law):
        """The group, and what is printed."""
        out = tmp_path / "laws.json"
        assert fit_laws(table, *COLUMNS, "--predict", "1e5", "--json", out, *law) == 0
        return json.loads(out.read_text())["groups"][0], capsys.readouterr().out

    plain, of_average = asked()
    best, _ = asked("--law", "best")
    named, of_law = asked("--law", "saturating")
    assert plain["parameters"] == named["parameters"]
    assert plain["predictions"] == best["predictions"] != named["predictions"]
    assert plain["average"] == best["average"]
    assert named["average"] is None
    assert "predictions are of the average over laws (--law best)" in of_average
    assert "intervals, if the law holds" in of_law
    assert "average" not in of_law


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_of_several_groups_the_table_has_predictions_and_says_whose(tmp_path, capsys):
    path = tmp_path / "runs.csv"
    rows = [f"{m},{x},{y}\n" for m in "ab" for x, y in zip(*runs(8, seed=ord(m)), strict=True)]
    path.write_text("model,core_days,error\n" + "".join(rows))
    words = path, *COLUMNS, "--by", "model", "--predict", "1e4"
    of_average = "Predictions are of the average over laws (--law best)"
    for law, whose, interval in (
        ([], True, "nominal 90 %, if the law holds."),
        (["--law", "best"], False, "nominal 90 %."),
    ):
        assert fit_laws(*words, *law, "--json", tmp_path / "laws.json") == 0
        said = capsys.readouterr().out
        assert (of_average in said) == whose
        assert interval in said
        for group in json.loads((tmp_path / "laws.json").read_text())["groups"]:
            (found,) = group["predictions"]
            estimate = "{value:.3g} [{low:.3g}, {high:.3g}]".format(**found)
            assert any(estimate in line for line in said.splitlines() if line[:2] in ("a ", "b "))


def test_the_table_of_groups_has_what_speaks_against_the_average_of_its_predictions(tmp_path):
    path = tmp_path / "runs.csv"
    x = np.linspace(1, 2, 12)  # none is 3 times cheaper than the costliest: no backtest
    y = 0.5 * x**-0.5 * np.exp(1e-3 * np.random.default_rng(0).normal(size=12))
    rows = [f"{a},{b}\n" for a, b in zip(x, y, strict=True)]
    path.write_text("core_days,error\n" + "".join(rows))
    spec = FitSpec(x=("core_days",), y="error", law="power", rows="all")
    for predicted, worst in ((False, "none"), (True, "fewer than 4 different x")):
        found = fit_table(path, replace(spec, average=predicted), at=[(4.0,)], holdout=False)
        assert worst_diagnostic(found.groups[0]).startswith(worst)


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
@pytest.mark.parametrize("law", [[], ["--law", "best"]], ids=["no law", "best"])
def test_a_saved_average_predicts_the_same_and_is_checked(table, tmp_path, capsys, law):
    kept = tmp_path / "law.json"
    words = table, *COLUMNS, *law, "--predict", "1e5", "--save", kept, "--json", "-"
    assert fit_laws(*words) == 0
    (prediction,) = json.loads(capsys.readouterr().out)["groups"][0]["predictions"]
    law = read_law(kept)
    assert float(law.predict(1e5)) == prediction["value"]
    assert [float(each) for each in law.average.band(1e5)] == [
        prediction["low"],
        prediction["high"],
    ]
    assert fit_laws("check", kept) == 0
    capsys.readouterr()
    with table.open("a") as lines:
        lines.write("2e3,0.01\n3e3,0.005\n")  # runs that no law foresees
    assert fit_laws("check", kept) == 1
    assert "DOES NOT HOLD" in capsys.readouterr().out


@pytest.fixture(scope="module")
def law_of_average(tmp_path_factory):
    """The text of a file that holds an average."""
    folder = tmp_path_factory.mktemp("average")
    kept, words = folder / "law.json", (*COLUMNS, "--law", "best", "--save")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fits.observations.Observations.hold_out", lambda self, spec: None)
        assert fit_laws(write(folder / "runs.csv"), *words, kept) == 0
    return kept.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda law: law["values"].update(power=0.5), "add to 1"),
        (lambda law: law["values"].update(m5=0.0), "weights of laws, of power, power-floor"),
        (lambda law: law.update(formula="a x"), "formula"),
        (lambda law: law.update(intervals={}), "no intervals"),
        (lambda law: law["evidence"]["spec"].update(law="power"), "law power is not best"),
    ],
)
def test_a_file_of_an_average_is_believed_only_if_it_is_whole(
    law_of_average, tmp_path, change, said
):
    kept = tmp_path / "law.json"
    law = json.loads(law_of_average)
    change(law)
    kept.write_text(json.dumps(law))
    with pytest.raises(UserError, match=said):
        read_law(kept)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--scale", "linear"), "--scale: an average over laws takes runs as they are"),
        (("--weights", "steps"), "--weights: an average over laws takes runs as they are"),
        (("--loss", "huber"), "--loss: an average over laws takes runs as they are"),
        (("--x", "steps"), "--x: an average over laws takes one, and 2 are given"),
    ],
)
def test_what_an_average_cannot_do_is_refused_in_words(capsys, words, said):
    assert fit_laws(PAPER, *COLUMNS, "--law", "best", *words) == 2
    assert said in capsys.readouterr().err


def test_options_that_an_average_does_not_know_leave_predictions_to_the_law(table, capsys):
    words = shlex.split("--scale linear --predict 1e5")
    assert fit_laws(table, *COLUMNS, *words) == 0
    said = capsys.readouterr().out
    assert "average over laws" not in said
    assert "intervals, if the law holds" in said


def test_next_and_compare_refuse_an_average_in_words(capsys):
    grid = "--predict", "1e5", "--budget", "1e5", "--grid", "core_days=1,2"
    assert fit_laws("next", PAPER, *COLUMNS, "--law", "best", *grid) == 2
    assert "an average over laws has no parameters to make surer" in capsys.readouterr().err
    assert fit_laws("compare", PAPER, PAPER, *COLUMNS, "--law", "best") == 2
    assert "best is no law of one x" in capsys.readouterr().err


@pytest.mark.slow
def test_the_figure_shows_where_the_laws_that_count_part(paper):
    from fits.plot_foreseen import COUNTS, draw_parting
    from fits.plotting import canvas

    x, y = paper
    best = on_frontier(x, y, np.ones((1, len(x)), bool))[0]
    found = average(x[best], y[best])
    ax = canvas()[1][0]
    draw_parting(found, x[best], y[best], to=1e7, xlabel="core-days", ax=ax)
    drawn = {label: line for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    for name, weight in found.weights.items():
        lines = [line for label, line in drawn.items() if label.startswith(f"{name}, weight")]
        assert len(lines) == (weight >= COUNTS)
        for line in lines:
            at, ratio = (each[-1] for each in line.get_data())
            assert at == pytest.approx(1e7)
            assert ratio == pytest.approx(found.of_law(name, 1e7) / found.predict(1e7))


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_the_command_draws_the_laws_beside_the_frontier(table, tmp_path, monkeypatch):
    from fits import plotting

    panels = []
    monkeypatch.setattr(plotting, "save", lambda figure, _: panels.append(figure.axes))
    for law in ("best", "saturating"):
        words = "--law", law, "--predict", "1e6", "--plot", tmp_path / "laws.png"
        assert fit_laws(table, *COLUMNS, *words) == 0
    assert [len(each) for each in panels] == [2, 1]
    assert panels[0][1].get_ylabel() == "error / average"
    assert panels[0][1].get_xlim()[1] == pytest.approx(1e6)


def test_a_spec_that_averages_equals_one_that_names_best():
    assert FitSpec(x=("c",), y="e", law="best").rows == "frontier"
    assert FitSpec(x=("c",), y="e").average is False
    with pytest.raises(UserError, match="takes one, and 2 are given"):
        FitSpec(x=("n", "d"), y="e", law="chinchilla", average=True)
    assert RULE.between
    assert POWER_FLOOR.name in AVERAGED
    assert SATURATING.name in AVERAGED
