"""Parameters that are held or tied, and two-stage fits that carry the errors of the first."""

import json
from pathlib import Path

import numpy as np
import pytest
from binomial import fewest
from known_laws import KNOWN, TRUTHS, known

from fits.laws.chinchilla import CHINCHILLA
from fits.laws.constrained import Constraint, constrained
from fits.laws.farseer import FARSEER
from fits.laws.lines import LOG_LINEAR
from fits.laws.powers import POWER, POWER_FLOOR, SATURATING, saturating
from fits.laws.registry import BROKEN_2, LAWS
from fits.regression.fit import every_point, fit
from fits.regression.loss import Loss
from fits.regression.solver import in_units, minimise, unit_of
from fits.regression.two_stage import steps_of
from fits.saved.law_file import read_law

OVERTRAINED = Path(__file__).resolve().parents[2] / "shared/data/field/overtrained.csv"
EVERY = [
    (law, name)
    for law in KNOWN.values()
    for name in (law.parameters[0], law.parameters[1])
    if name not in law.unheld
]


@pytest.mark.parametrize(("law", "name"), EVERY, ids=[f"{law.name}-{n}" for law, n in EVERY])
def test_a_parameter_held_at_its_truth_leaves_the_others_at_theirs(law, name):
    x, error = known(law)
    truth = TRUTHS[law.name]
    unit = unit_of(law, x)
    held = constrained(law, Constraint({name: truth[law.parameters.index(name)]}), unit)
    assert name not in held.parameters
    values, _ = minimise(held, in_units(x, unit), error, np.ones_like(error))
    np.testing.assert_allclose(held.in_ones(unit, *values), truth, rtol=1e-5)


def test_tied_exponents_are_one_number_and_are_found():
    x, _ = known(CHINCHILLA)
    truth = (1.7, 400.0, 0.3, 900.0, 0.3)
    found = fit(CHINCHILLA, x, CHINCHILLA.predict(x, *truth), constraint=TIED)
    np.testing.assert_allclose(found.values, truth, rtol=1e-7)
    assert found.intervals[2] == found.intervals[4]
    assert not found.warnings


TIED = Constraint(tie={"alpha": "beta"})
RNG = np.random.default_rng(3)
X = np.geomspace(1, 1e4, 30)
ERROR = saturating(X, 0.6, 0.4, 0.1, 0.5) * np.exp(RNG.normal(0, 0.01, 30))


def test_what_is_held_makes_the_others_surer_and_has_no_interval_of_its_own():
    free = fit(SATURATING, X, ERROR)
    held = fit(SATURATING, X, ERROR, constraint=Constraint({"b": 0.4}))
    assert held.intervals[1] == (0.4, 0.4)
    for k in (0, 2, 3):
        assert np.diff(held.intervals[k]) < np.diff(free.intervals[k])
        assert held.intervals[k][0] < (0.6, 0.4, 0.1, 0.5)[k] < held.intervals[k][1]


def test_the_unit_of_x_does_not_change_a_fit_with_a_scale_or_a_shift_held():
    one = fit(SATURATING, X, ERROR, constraint=Constraint({"d": 0.5}))
    other = fit(SATURATING, X * 1e18, ERROR, constraint=Constraint({"d": 0.5e18}))
    np.testing.assert_allclose(one.predict(X), other.predict(X * 1e18), rtol=1e-7)
    np.testing.assert_allclose(one.band(X), other.band(X * 1e18), rtol=1e-4)


def test_a_floor_held_at_0_is_the_law_without_a_floor():
    held = fit(SATURATING, X, ERROR, constraint=Constraint({"c": 0.0, "d": 0.0}))
    np.testing.assert_allclose(held.values[:2], fit(POWER, X, ERROR).values, rtol=1e-6)
    np.testing.assert_allclose(held.band(X), fit(POWER, X, ERROR).band(X), rtol=1e-3)


@pytest.mark.parametrize(
    ("law", "constraint", "said"),
    [
        (
            SATURATING,
            Constraint({"bb": 1.0}),
            "no parameter 'bb'. Did you mean 'b'? Use a, b, c, d",
        ),
        (SATURATING, Constraint({"c": -0.1}), "c = -0.1 of law saturating cannot be"),
        (SATURATING, Constraint({"a": 0.0}), "above 0"),
        (SATURATING, Constraint({"b": np.nan}), "cannot be"),
        (SATURATING, Constraint(tie={"a": "b"}), "a is a scale and b an exponent"),
        (CHINCHILLA, Constraint({"beta": 1.0}, {"alpha": "beta"}), "hold each parameter once"),
        (CHINCHILLA, Constraint(tie={"alpha": "beta", "beta": "alpha"}), "hold each"),
        (POWER, Constraint({"a": 1.0, "b": 1.0}), "all of a, b are held"),
        (FARSEER, Constraint({"s": 1.0}), "s of law farseer means nothing apart from its exponent"),
        (BROKEN_2, Constraint({"d1": 1.0}), "numbered by where its break lies. Hold a, b, c"),
    ],
)
def test_what_cannot_be_held_is_named_with_what_can(law, constraint, said):
    with pytest.raises(ValueError, match=r"\.") as refused:
        constrained(law, constraint, 1.0)
    assert said in str(refused.value)


def test_two_stages_have_the_variance_of_murphy_and_topel():
    """Of a line, where the second stage has a slope of the first: var(a) + mean(log x)^2 var(b)."""
    rng = np.random.default_rng(0)
    first, second = np.geomspace(1, 1e4, 60), np.geomspace(10, 1e3, 40)
    options = {"loss": Loss(log=False)}
    y = [3 - 0.2 * np.log10(x) + rng.normal(0, 0.02, len(x)) for x in (first, second)]
    one = fit(LOG_LINEAR, first, y[0], **options)
    steps = steps_of(one.inference, ["b"])
    slope = Constraint({"b": one.values[1]})
    alone = fit(LOG_LINEAR, second, y[1], constraint=slope, **options)
    both = fit(LOG_LINEAR, second, y[1], constraint=slope, steps=steps, **options)
    assert both.values == alone.values
    half = [np.diff(each.intervals, axis=1)[:, 0] / 2 for each in (one, alone, both)]
    expected = np.hypot(half[1][0], np.log10(second).mean() * half[0][1])
    assert half[2][0] == pytest.approx(expected, rel=0.02)
    assert half[2][1] == pytest.approx(half[0][1], rel=0.02)
    ahead = both.band(np.array([1e6]))
    expected = np.hypot(half[1][0], (6 - np.log10(second).mean()) * half[0][1])
    assert np.ptp(ahead) / 2 == pytest.approx(expected, rel=0.02)


@pytest.mark.slow
def test_two_stage_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(1)
    truth = (0.6, 0.4, 0.1)
    first, second = np.geomspace(1, 1e4, 30), np.geomspace(1, 100, 8)
    inside = {"carried": 0, "exact": 0}
    for _ in range(24):
        y = [
            POWER_FLOOR.predict(x, *truth) * np.exp(rng.normal(0, 0.02, len(x)))
            for x in (first, second)
        ]
        one = fit(POWER_FLOOR, first, y[0])
        steps = steps_of(one.inference, ["b", "c"])
        held = Constraint({"b": one.values[1], "c": one.values[2]})
        for name, given in (("carried", steps), ("exact", ())):
            low, high = fit(POWER_FLOOR, second, y[1], constraint=held, steps=given).band([1e3])
            inside[name] += int(low[0] <= POWER_FLOOR.predict(1e3, *truth) <= high[0])
    assert inside["carried"] >= fewest(24)
    assert inside["exact"] < inside["carried"]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("flops,error\n" + "\n".join(f"{a},{b}" for a, b in zip(X, ERROR, strict=True)))
    return path


COLUMNS = "--x", "flops", "--y", "error"


def test_a_law_with_held_parameters_is_printed_kept_and_checked(table, tmp_path, command):
    law = tmp_path / "law.json"
    status, said, _ = command(table, *COLUMNS, "--fix", "b=.4", "--fix", "d=0.5", "--save", law)
    assert status == 0
    assert "held: b, d, as if exactly known" in said
    assert "exponent, held" in said
    assert read_law(law).evidence.spec.fix == {"b": 0.4, "d": 0.5}
    assert command("check", law)[0] == 0


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_a_second_stage_holds_what_the_laws_share_and_carries_its_errors(table, tmp_path, command):
    law, second = tmp_path / "law.json", tmp_path / "second.json"
    assert command(table, *COLUMNS, "--law", "power-floor", "--save", law)[0] == 0
    status, said, _ = command(table, *COLUMNS, "--from", law, "--hold", "b", "--save", second)
    assert status == 0
    assert "held: b, as an earlier fit gave them: its errors are in the intervals" in said
    low, high = read_law(second).intervals["b"]
    assert low < read_law(law).values["b"] < high
    assert "to every digit" in command("check", second)[1]


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_a_law_of_a_paper_has_no_rows_and_its_errors_are_said_to_be_ignored(table, command):
    from fits.saved.published import FOLDER

    paper = FOLDER / "zhai2022-imagenet-10-shot.json"
    status, said, _ = command(table, *COLUMNS, "--from", paper, "--hold", "b", "--hold", "c")
    assert status == 0
    assert "held: b, c, as if exactly known: whatever uncertainty they have is not" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fix", "b"], "--fix: 'b' is not NAME=VALUE, say b=0.5."),
        (["--fix", "b=one"], "--fix: b=one: the value is not a number."),
        (["--fix", "b=.1", "--fix", "b=.2"], "--fix: b is named twice."),
        (["--fix", "beta=.1"], "--fix: law saturating has no parameter 'beta'."),
        (["--tie", "a"], "--tie: 'a' is not NAME=NAME, say alpha=beta."),
        (["--tie", "a=2"], "--tie: law saturating has no parameter '2'."),
        (["--hold", "a"], "--hold: which law? Name its file with --from."),
        (["--law", "forecast", "--fix", "a=1"], "--fix: a forecast takes the points as they are."),
    ],
)
def test_a_mistake_in_what_is_held_is_named(table, command, options, said):
    status, _, wrong = command(table, *COLUMNS, *options)
    assert status == 2
    assert said in wrong


@pytest.mark.slow
def test_the_paper_s_tied_exponents_foresee_a_7b_run_better_than_a_free_fit():
    if not OVERTRAINED.exists():
        pytest.skip("overtrained.csv of ../shared is absent")
    rows = [line.split(",") for line in OVERTRAINED.read_text().splitlines()[1:]]
    kept = [row for row in rows if row[1] == "c4_original"]
    small = [row for row in kept if float(row[2]) < 1e9]
    x = np.array([[float(each) for each in row[2:4]] for row in small]).T
    loss = np.array([float(row[6]) for row in small])
    at = np.array([[6889410560.0], [137788211200.0]])
    free, tied = (fit(CHINCHILLA, x, loss, constraint=each) for each in (Constraint(), TIED))
    measured = 2.382
    assert free.predict(at)[0] == pytest.approx(2.144, abs=5e-4)
    assert abs(tied.predict(at)[0] - measured) < 0.7 * abs(free.predict(at)[0] - measured)
    assert np.ptp(tied.band(at)) < np.ptp(free.band(at))
    every = np.array([[float(each) for each in row[2:4]] for row in kept]).T
    whole = fit(CHINCHILLA, every, np.array([float(row[6]) for row in kept]), constraint=TIED)
    assert whole.values[0] == pytest.approx(1.51, abs=0.01)


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_a_floor_that_is_held_must_be_one_of_these_errors(table, command):
    status, said, _ = command(table, *COLUMNS, "--law", "power-floor", "--fix", "c=0.12")
    assert status == 0
    assert "c is held at 0.12, and " in said
    assert "no curve with that floor reaches there" in said
    assert "is held at" not in command(table, *COLUMNS, "--fix", "c=0.05")[1]
    for floor, why in (
        ("1.69", "--fix: c = 1.69 is held for an error rate, which is at most 1."),
        ("0.9", "c is held at 0.9, and no error lies above it: they are "),
    ):
        status, _, wrong = command(table, *COLUMNS, "--law", "power-floor", "--fix", f"c={floor}")
        assert status == 2
        assert why in wrong


def test_a_percentage_is_held_as_a_fraction(tmp_path, command):
    path = tmp_path / "percent.csv"
    rows = [f"{a},{100 * b}" for a, b in zip(X, ERROR, strict=True)]
    path.write_text("\n".join(["flops,error", *rows]))
    asked = path, *COLUMNS, "--y-is", "error-percent", "--fix"
    assert "write 12 % as 0.12" in command(*asked, "c=9")[2]
    assert command(*asked, "c=0.09")[0] == 0


@pytest.fixture
def of_loss(tmp_path, command):
    path, law = tmp_path / "loss.csv", tmp_path / "loss.json"
    rows = [f"{a:.9g},{1.69 + b:.9g}" for a, b in zip(X, ERROR, strict=True)]
    path.write_text("\n".join(["flops,loss", *rows]))
    asked = "--x", "flops", "--y", "loss", "--y-is", "loss", "--law", "power-floor"
    assert command(path, *asked, "--save", law)[0] == 0
    return path, law, asked


def test_the_floor_of_a_loss_is_not_held_for_an_error_rate(table, of_loss, command):
    *_, law = of_loss[:2]
    asked = table, *COLUMNS, "--law", "power-floor", "--from", law
    status, _, wrong = command(*asked, "--hold", "c")
    assert status == 2
    assert "is of a loss, and c of it cannot be held for an error rate" in wrong
    assert "Say --hold b alone" in command(*asked)[2]
    assert command(*asked, "--hold", "b")[0] == 0


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_a_law_of_the_same_rows_is_said_to_be(table, of_loss, tmp_path, command):
    path, law, asked = of_loss
    said = command(path, *asked, "--from", law, "--hold", "c")[1]
    assert "30 of 30 rows are among those that" in said
    half = tmp_path / "half.csv"
    lines = path.read_text().splitlines()
    other = [f"{a:.9g},{1.7 + b:.9g}" for a, b in zip(X, ERROR, strict=True)]
    half.write_text("\n".join([*lines[:11], *other]))
    assert "10 of 40 rows are" in command(half, *asked, "--from", law, "--hold", "c")[1]
    half.write_text("\n".join([lines[0], *other]))
    assert "are among" not in command(half, *asked, "--from", law, "--hold", "c")[1]


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_compare_next_and_best_size_say_it_too(of_loss, tmp_path, command):
    path, law, asked = of_loss
    held = *asked, "--from", law, "--hold", "c"
    other = tmp_path / "other.csv"
    head, *rows = path.read_text().splitlines()
    other.write_text("\n".join([head, *(row.replace(",", "1,") for row in rows)]))  # at other x
    status, said, warned = command("compare", path, other, *held, "--predict", "30")
    assert status == 0
    assert "A: 30 of 30 rows are among those" in said + warned
    assert (said + warned).count("rows are among those") == 1
    place = "--predict", "30", "--budget", "100", "--grid", "flops=1,10", "--per", "1"
    status, said, warned = command("next", path, *held, *place)
    assert status == 0
    assert "30 of 30 rows are among those" in said + warned


@pytest.fixture
def of_size_and_data(tmp_path, command):
    """A table of sizes and data, and its law."""
    size, data = (each.ravel() for each in np.meshgrid(10.0 ** np.arange(7, 11), [1e9, 1e10, 1e11]))
    loss = 1.7 + 400 * size**-0.34 + 410 * data**-0.28
    table, law = tmp_path / "runs.csv", tmp_path / "law.json"
    numbers = zip(size, data, 6 * size * data, loss, strict=True)
    rows = [",".join(f"{v:.9g}" for v in each) for each in numbers]
    table.write_text("\n".join(["n,d,flops,loss", *rows]))
    asked = table, "--y", "loss", "--y-is", "loss"
    saved = *asked, "--x", "n", "--x", "d", "--law", "chinchilla", "--save", law
    assert command(*saved)[0] == 0
    return asked, law


def test_best_size_says_that_its_law_is_of_the_same_rows(of_size_and_data, command):
    asked, law = of_size_and_data
    held = "--from", law, "--hold", "E", "--law", "chinchilla"
    status, said, warned = command(
        "best-size", *asked, "--x", "n", "--x", "d", "--budget", "1e21", *held
    )
    assert status == 0, warned
    assert "12 of 12 rows are among those" in said + warned


def test_parameters_that_cannot_be_held_are_not_shared(of_size_and_data, command):
    """A and B of Farseer's law are not those of the law that was saved."""
    asked, law = of_size_and_data
    of_two = *asked, "--x", "n", "--x", "d", "--law", "farseer", "--from", law
    status, _, wrong = command(*of_two)
    assert status == 2
    assert f"--from: laws farseer and chinchilla (of {law}) share no parameter to hold" in wrong
    assert "--fix" not in wrong


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
@pytest.mark.parametrize("columns", [("--size", "n", "--data", "d"), ("--data", "d"), ()])
def test_optimal_says_that_its_law_is_of_the_same_rows(of_size_and_data, columns, command):
    asked, law = of_size_and_data
    columns = *(columns or ("--size", "n")), "--flops", "flops"
    held = "--from", law, "--hold", "E"
    status, said, warned = command("optimal", *asked, *columns, *held)
    assert status == 0, warned
    assert (said + warned).count("12 of 12 rows are among those") == 1
    assert "are among those" not in "".join(command("optimal", *asked, *columns)[1:])
    status, said, _ = command("optimal", *asked, *columns, *held, "--json", "-")
    assert "rows_of_first_stage" in said


def test_a_parameter_is_held_by_one_option_and_each_says_what_is_known_of_it(of_loss, command):
    path, law, asked = of_loss
    status, _, wrong = command(path, *asked, "--from", law, "--hold", "b", "--fix", "b=0.3")
    assert status == 2
    assert "--hold: b is held by --fix or --tie too" in wrong
    said = command(path, *asked, "--from", law, "--hold", "c", "--fix", "b=0.4")[1]
    assert "held: c, as an earlier fit gave them" in said
    assert "held: b, as if exactly known" in said


def test_a_file_whose_values_its_rows_do_not_give_is_not_held(of_loss, command):
    path, law, asked = of_loss
    value = json.loads(law.read_text())
    value["values"]["c"] *= 1.5
    law.write_text(json.dumps(value))
    status, _, wrong = command(path, *asked, "--from", law, "--hold", "c")
    assert status == 2
    assert "the rows in the file do not give its numbers" in wrong
    assert "Fit the law anew, with --save." in wrong


@pytest.mark.parametrize("law", ["best", "forecast"])
def test_what_has_no_parameters_holds_none(of_loss, law, command):
    path, kept, asked = of_loss
    columns = asked[: asked.index("--law")]
    status, _, wrong = command(path, *columns, "--law", law, "--from", kept)
    assert status == 2
    assert f"--from: {law} has no parameters to hold. Name a law with --law." in wrong


def test_nothing_can_be_held_of_an_average(of_loss, command):
    path, kept, asked = of_loss
    columns = asked[: asked.index("--law")]
    assert command(path, *columns, "--law", "best", "--save", kept)[0] == 0
    status, _, wrong = command(path, *asked, "--from", kept)
    assert status == 2
    assert "is an average over laws, without parameters to hold." in wrong


def test_a_place_of_x_is_held_in_the_unit_of_the_table():
    x = np.geomspace(1e17, 1e21, 40)
    law, truth = LAWS["broken"], (1e4, 0.2, 0.1, 0.3, 3e19, 0.1)
    held = fit(
        law, x, law.predict(x, *truth), choose=every_point, constraint=Constraint({"d1": 3e19})
    )
    np.testing.assert_allclose(held.values, truth, rtol=1e-3)
