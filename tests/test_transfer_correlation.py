"""fit-laws transfer: correlations of upstream and transfer, on tables of a known correlation."""

import csv
import json
import math

import numpy as np
import pytest
from scipy import stats

from fits.decisions.transfer import transfer_of
from fits.fit_laws import main
from fits.regression.correlation import estimate, kendall, pearson, spearman

LEVEL = 0.9


def logistic(z):
    return 1 / (1 + np.exp(-np.asarray(z)))


def models(count, each, rho, seed, effect=0.8):
    """Logits x, y [count * each] of correlation rho, and of which model each run is.

    A model's own deviation and that of its runs are both of correlation rho, so the whole is."""
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky([[1, rho], [rho, 1]])
    own = rng.normal(size=(count, 1, 2)) @ root.T
    of_runs = rng.normal(size=(count, each, 2)) @ root.T
    whole = effect * own + math.sqrt(1 - effect**2) * of_runs if each > 1 else own
    x, y = whole.reshape(-1, 2).T
    return x, y, np.repeat(np.arange(count), each)


def write(path, logits, model, n=1000, name="error"):
    """A results table: logits {metric: [runs]}."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["run", "model", "metric", "value", "n"])
        for run, m in enumerate(model):
            for metric, z in logits.items():
                p = logistic(z[run])
                rows.writerow([f"r{run}", f"m{m}", metric, 1 - p if name == "error" else p, n])
    return path


@pytest.fixture
def table(tmp_path):
    """Two data sets: pets follows upstream exactly in logits, birds with noise."""
    x, y, model = models(12, 2, 0.7, seed=0)
    logits = {"upstream_error": x, "pets": 3 + 0.5 * x, "birds": y - 1}
    return write(tmp_path / "t.csv", logits, model), x, y, model


def test_coefficients_are_those_of_scipy():
    x, y, _ = models(15, 1, 0.5, seed=3)
    y[3], x[5] = y[4], x[6]  # ties
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y).statistic)
    assert math.isnan(pearson(x, np.ones(15)))


def test_the_interval_is_the_jackknife_over_models_on_fisher_s_scale():
    x, y, model = models(6, 3, 0.6, seed=1)
    found = estimate(pearson, x, y, model, LEVEL)
    z = [np.arctanh(np.corrcoef(x[model != m], y[model != m])[0, 1]) for m in range(6)]
    spread = math.sqrt(5 / 6 * np.square(z - np.mean(z)).sum())
    ends = np.arctanh(np.corrcoef(x, y)[0, 1]) + stats.t.ppf([0.05, 0.95], 4) * spread
    np.testing.assert_allclose(found[1:], np.tanh(ends), rtol=1e-9)


def test_runs_of_one_model_do_not_make_an_interval_narrower():
    x, y, model = models(8, 1, 0.6, seed=5)
    once = estimate(pearson, x, y, model, LEVEL)
    many = estimate(pearson, *(np.repeat(each, 5) for each in (x, y, model)), LEVEL)
    np.testing.assert_allclose(many, once)
    alone = estimate(pearson, np.repeat(x, 5), np.repeat(y, 5), np.arange(40), LEVEL)
    assert alone.high - alone.low < 0.6 * (once.high - once.low)


@pytest.mark.parametrize("coefficient", [pearson, spearman, kendall])
def test_perfect_agreement_or_too_few_models_have_no_interval(coefficient):
    x = np.arange(6.0)
    found = estimate(coefficient, x, x, np.arange(6), LEVEL)
    assert found.value == pytest.approx(1)
    assert math.isnan(found.low)
    x, y, model = models(2, 10, 0.5, seed=2)
    assert math.isnan(estimate(coefficient, x, y, model, LEVEL).high)


@pytest.mark.parametrize("coefficient", [spearman, kendall])
def test_a_coefficient_that_is_the_same_without_any_model_is_not_certain(coefficient):
    """Two runs of each model have changed places: the jackknife has no variance."""
    x = np.arange(12.0)
    y = x.reshape(6, 2)[:, ::-1].ravel()
    found = estimate(coefficient, x, y, np.repeat(np.arange(6), 2), LEVEL)
    assert 0.8 < found.value < 0.97
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "each", "rho"), [(8, 1, 0.8), (16, 1, 0.3), (16, 6, 0.5)])
def test_the_intervals_hold_the_truth_as_often_as_they_say(count, each, rho):
    """Nominal 90 %, 300 tables; of a normal pair Kendall's tau is 2 / pi asin rho, Spearman's
    6 / pi asin rho / 2. Fewer than 84 % would be 1 in 1,000 by chance."""
    truth = {
        pearson: rho,
        spearman: 6 / math.pi * math.asin(rho / 2),
        kendall: 2 / math.pi * math.asin(rho),
    }
    held = dict.fromkeys(truth, 0)
    for seed in range(300):
        x, y, model = models(count, each, rho, seed)
        for coefficient, true in truth.items():
            low, high = estimate(coefficient, x, y, model, LEVEL)[1:]
            held[coefficient] += low < true < high
    assert min(held.values()) >= 252, held
    assert held[pearson] <= 292, held


def test_a_known_relation_is_found_in_a_table(table):
    path, x, y, _ = table
    found = transfer_of(path, "upstream_error", ["pets", "birds"])
    pets, birds, mean = found.correlations
    assert pets.pearson.value == pytest.approx(1)
    assert birds.pearson.value == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-6)
    assert birds.kendall.value == pytest.approx(stats.kendalltau(x, y).statistic)
    adjusted = (0.5 * (x - x.mean()) + y - y.mean()) / 2
    assert mean.pearson.value == pytest.approx(np.corrcoef(x, adjusted)[0, 1], abs=1e-6)
    assert birds.pearson.low < birds.pearson.value < birds.pearson.high
    assert found.clusters == 12
    np.testing.assert_allclose([run.mean for run in found.runs], adjusted, atol=1e-6)
    assert np.mean([run.adjusted["pets"] for run in found.runs]) == pytest.approx(0, abs=1e-9)
    assert pets.mean_accuracy == pytest.approx(logistic((3 + 0.5 * x).mean()))
    assert found.diagnostics == ()


def test_a_data_set_s_level_does_not_matter_to_the_mean(table, tmp_path):
    _, x, y, model = table
    far = write(tmp_path / "f.csv", {"upstream_error": x, "pets": 0.5 * x - 2, "birds": y}, model)
    one, other = (
        transfer_of(path, "upstream_error", ["pets", "birds"]) for path in (table[0], far)
    )
    assert one.correlations[-1].pearson == pytest.approx(other.correlations[-1].pearson)


def test_accuracies_and_errors_give_the_same(table, tmp_path):
    _, x, y, model = table
    path = write(tmp_path / "a.csv", {"upstream_error": x, "birds": y - 1}, model, name="accuracy")
    one = transfer_of(path, "upstream_error", ["birds"], kind="accuracy")
    other = transfer_of(table[0], "upstream_error", ["birds"])
    assert one.correlations[0].pearson == pytest.approx(other.correlations[0].pearson)


@pytest.mark.parametrize(("n", "images"), [("50", 50), ('"50,000"', 50_000), ("50k", 50_000)])
def test_runs_that_lack_a_metric_are_left_out_and_an_error_of_0_is_half_an_image(
    n, images, tmp_path
):
    lines = ["run,model,metric,value,n"]
    for i in range(9):
        lines += [
            f"r{i},m{i},upstream_error,{0.1 * i:.1f},{n}",
            f"r{i},m{i},pets,{0.05 + i / 20},{n}",
        ]
    path = tmp_path / "t.csv"
    path.write_text("\n".join([*lines, f"r9,m9,upstream_error,0.5,{n}"]))
    found = transfer_of(path, "upstream_error", ["pets"])
    assert len(found.runs) == 9
    assert found.runs[0].upstream == pytest.approx(math.log(2 * images - 1))
    assert [each.words for each in found.diagnostics] == [
        "1 of 10 runs lack one of the metrics and are left out",
        "1 accuracy of 0 or 1, which has no logit, counts as half an image wrong or right",
    ]


# The command


def test_runs_of_one_model_are_one_cluster(tmp_path, capsys):
    x, y, model = models(1, 6, 0.7, seed=0)
    path = write(tmp_path / "t.csv", {"upstream_error": x, "pets": y}, model)
    assert main(["transfer", str(path), "--to", "pets"]) == 0
    assert "transfer, 6 runs in 1 cluster; 90% intervals\n" in capsys.readouterr().out


def test_the_command_prints_a_table_and_writes_json_and_a_figure(table, tmp_path, capsys):
    words = ["transfer", str(table[0]), "--to", "pets", "--to", "birds"]
    figure, answer = tmp_path / "t.png", tmp_path / "t.json"
    assert main([*words, "--plot", str(figure), "--json", str(answer)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "upstream_error against transfer, 24 runs in 12 clusters; 90% intervals"
    assert [line.split("  ")[0] for line in said[1:5]] == [
        "",
        "pets",
        "birds",
        "mean over data sets",
    ]
    assert "1.00 [no interval]" in said[2]
    assert figure.stat().st_size > 10_000
    found = json.loads(answer.read_text())
    assert found["correlations"][0]["kendall"] == {"value": 1.0, "low": None, "high": None}
    assert len(found["runs"]) == 24
    assert main(["schema", "transfer"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "pet"], "no metric 'pet'. Did you mean 'pets'? Metrics: upstream_error, pets"),
        (["--to", "pets", "--to", "pets"], "pets: named twice. Name each once."),
        (["--to", "pets", "--y-is", "loss"], "--y-is: no 'loss'. Use error, error-percent, acc"),
        (["--to", "pets", "--level", "2"], "--level: 2 is not from 0.01 to 0.999."),
        (["--to", "pets", "--where", "run"], "--where: 'run' compares nothing."),
        (["--to", "pets", "--where", "run=r1"], "1 of 1 runs have all of upstream_error, pets. At"),
        (["--to", "pets", "--cluster", "mdoel"], "no column 'mdoel'. Did you mean 'model'?"),
        (["--to", "pets", "--plot", "t.gif"], "--plot: t.gif ends in none of .pdf, .png, .svg."),
    ],
)
def test_mistakes_are_said_in_words(table, capsys, words, said):
    assert main(["transfer", str(table[0]), *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("r0,m0,pets,0.5,9", "line 74: run r0 has pets a second time. Keep one of the two."),
        ("r0,m0,pets,50,9", "value is 50, not from 0 to 1. Correct it, or leave the row out; for"),
        (
            "r99,m0,pets,0,",
            "line 74: value is an accuracy of 1, which has no logit. Add a column n",
        ),
        ("r0,m0,pets", "3 cells, but the header names 5 columns"),
    ],
)
def test_rows_that_cannot_be_are_named(table, row, said, capsys):
    with table[0].open("a") as file:
        file.write(row + "\n")
    assert main(["transfer", str(table[0]), "--to", "pets"]) == 2
    assert said in capsys.readouterr().err


def test_a_metric_that_never_changes_goes_with_nothing(tmp_path, capsys):
    x = np.linspace(-1, 1, 5)
    path = write(tmp_path / "t.csv", {"upstream_error": x, "pets": 0 * x}, np.arange(5))
    assert main(["transfer", str(path), "--to", "pets"]) == 2
    assert "pets is the same in all runs: nothing goes with it." in capsys.readouterr().err
