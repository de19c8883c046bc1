"""Quantities that rise with x: said, and fitted by powers of either sign."""

import json
from pathlib import Path

import numpy as np
import pytest

from fits.data.remarks import rising
from fits.fit_laws import main

FIELD = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "field"


def fitted(words, capsys):
    assert main([*words, "--json", "-"]) == 0
    (group,) = json.loads(capsys.readouterr().out)["groups"]
    return group


@pytest.fixture
def batches(tmp_path):
    """The best batch against data, 0.58 D^.571, with 3 % noise."""
    data = np.geomspace(1e9, 1e12, 12)
    noise = np.exp(0.03 * np.random.default_rng(0).normal(size=12))
    path = tmp_path / "batches.csv"
    rows = [f"{d:.6g},{b:.6g}" for d, b in zip(data, 0.58 * data**0.571 * noise, strict=True)]
    path.write_text("\n".join(["tokens,batch", *rows]) + "\n")
    return path


def test_the_best_sizes_of_a_paper_grow_as_they_did(capsys):
    path = FIELD / "optimal_sizes.csv"
    if not path.exists():
        pytest.skip("needs optimal_sizes.csv in ../shared/data/field")
    words = [str(path), "--x", "C", "--y", "N_opt", "--predict", "1e24", "--far"]
    for kind in (["--y-is", "quantity"], ["--y-is", "loss", "--law", "power", "--all-points"]):
        group = fitted([*words, *kind], capsys)
        assert group["law"] == "growth"
        exponent = group["parameters"]["b"]
        assert exponent["low"] < 0.52 < exponent["high"] + 0.01
        assert exponent["value"] == pytest.approx(0.52, abs=0.005)
        (ahead,) = group["predictions"]
        assert ahead["low"] < 3e11 < ahead["high"]


@pytest.mark.parametrize("law", ["saturating", "power", "power-floor", "m4"])
def test_a_law_that_can_only_fall_gives_way_where_y_rises_and_that_is_said(batches, law, capsys):
    words = [str(batches), "--x", "tokens", "--y", "batch", "--y-is", "loss", "--law", law]
    group = fitted(words, capsys)
    assert group["law"] == "growth"
    assert group["points"] == 12  # not the frontier, which would be the first alone
    assert group["parameters"]["b"]["low"] < 0.571 < group["parameters"]["b"]["high"]
    assert (
        f"batch rises with tokens, and law {law} can only fall" in group["diagnostics"][0]["words"]
    )


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_an_error_rate_that_rises_is_said_to_and_the_kind_of_y_doubted(tmp_path, capsys):
    path = tmp_path / "runs.csv"
    x = np.geomspace(1, 1e4, 10)
    rows = [f"{c:.6g},{0.3 + 0.05 * np.log10(c):.6g}" for c in x]
    path.write_text("\n".join(["x,y", *rows]) + "\n")
    words = [str(path), "--x", "x", "--y", "y", "--law", "power", "--all-points"]
    group = fitted(words, capsys)
    assert group["law"] == "power"
    assert "Say --y-is accuracy" in group["diagnostics"][0]["words"]


def test_the_best_rate_is_a_product_of_powers_of_size_and_data(tmp_path, capsys):
    """Step Law: lr = 1.79 N^-.713 D^.307."""
    rng = np.random.default_rng(1)
    n, d = (each.ravel() for each in np.meshgrid(np.geomspace(6e7, 1e9, 6), [2e9, 1e10, 1e11]))
    rate = 1.79 * n**-0.713 * d**0.307 * np.exp(0.05 * rng.normal(size=len(n)))
    path = tmp_path / "rates.csv"
    rows = [",".join(f"{cell:.6g}" for cell in row) for row in zip(n, d, rate, strict=True)]
    path.write_text("\n".join(["N,D,lr", *rows]) + "\n")
    words = [str(path), "--x", "N", "--x", "D", "--y", "lr", "--y-is", "quantity"]
    group = fitted([*words, "--law", "product", "--predict", "7e9,1e12"], capsys)
    truth = {"c": 1.79, "a": -0.713, "b": 0.307}
    for name, found in group["parameters"].items():
        assert found["low"] < truth[name] < found["high"]
    (ahead,) = group["predictions"]
    assert ahead["low"] < 1.79 * 7e9**-0.713 * 1e12**0.307 < ahead["high"]


@pytest.mark.parametrize(
    ("y", "rises"),
    [
        ([1, 2, 3, 5], True),
        ([5, 3, 2, 1], False),
        ([2, 1, 3, 1.5], False),
        ([1, 1, 1, 1], False),
        ([1, 2], False),
    ],
)
def test_what_rises(y, rises):
    assert rising(np.arange(1.0, len(y) + 1), np.array(y, float)) is rises


def of_runs(path, **columns):
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(f"{cell:.6g}" for cell in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def reward(tmp_path):
    x = np.geomspace(100, 1e5, 20)
    noise = np.exp(0.02 * np.random.default_rng(0).normal(size=20))
    return [of_runs(tmp_path / "up.csv", step=x, r=3 * x**0.3 * noise), "--x", "step", "--y", "r"]


def words_of(group):
    return [each["words"] for each in group["diagnostics"]]


@pytest.mark.parametrize("kind", ["loss", "quantity"])
def test_the_forecast_of_a_curve_that_rises_is_a_power_that_grows_and_says_so(reward, kind, capsys):
    words = [*reward, "--y-is", kind, "--law", "forecast", "--predict", "1e6"]
    group = fitted(words, capsys)
    assert group["law"] == "growth"
    assert group["predictions"][0]["low"] < 3 * 1e6**0.3 < group["predictions"][0]["high"]
    assert "r rises with step, and law forecast is of a curve that falls" in words_of(group)[0]


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_the_forecast_of_an_accuracy_taken_for_an_error_doubts_that(tmp_path, capsys):
    x = np.geomspace(100, 1e5, 20)
    path = of_runs(tmp_path / "up.csv", step=x, acc=1 - 0.8 * x**-0.1)
    group = fitted([path, "--x", "step", "--y", "acc", "--law", "forecast"], capsys)
    assert "Say --y-is accuracy if acc grows" in words_of(group)[0]
    group = fitted([path, "--x", "step", "--y", "acc", "--y-is", "accuracy", "--law", "m3"], capsys)
    assert not any("rises" in each for each in words_of(group))


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
@pytest.mark.parametrize("law", ["parabola", "log-linear"])
def test_a_law_of_either_way_takes_all_points_of_what_rises_and_says_so(reward, law, capsys):
    group = fitted([*reward, "--y-is", "loss", "--law", law], capsys)
    assert (group["law"], group["points"]) == (law, 20)
    assert f"r rises with step: law {law} is fitted to all points" in words_of(group)[0]


def test_what_is_held_of_a_law_that_falls_is_held_of_no_other(reward, capsys):
    assert main([*reward, "--y-is", "loss", "--fix", "b=0.3"]) == 2
    said = capsys.readouterr().err
    assert "r rises with step, and law saturating can only fall" in said
    assert "--law growth for a quantity, with parameters of its own to hold" in said
    group = fitted([*reward, "--y-is", "loss", "--law", "growth", "--fix", "b=0.3"], capsys)
    assert group["parameters"]["b"]["value"] == 0.3


def test_a_law_of_size_and_data_gives_way_to_a_product_where_y_rises(tmp_path, capsys):
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
    noise = np.exp(0.02 * np.random.default_rng(0).normal(size=25))
    path = of_runs(tmp_path / "b.csv", N=n, D=d, batch=0.1 * n**0.2 * d**0.3 * noise)
    words = [path, "--x", "N", "--x", "D", "--y", "batch", "--law", "chinchilla"]
    group = fitted([*words, "--y-is", "loss", "--predict", "1e9,1e12"], capsys)
    assert group["law"] == "product"
    assert group["predictions"][0]["value"] == pytest.approx(0.1 * 1e9**0.2 * 1e12**0.3, rel=0.1)
    assert "batch rises with N and with D, and law chinchilla can only fall" in words_of(group)[0]
    asked = ["--y", "batch", "--y-is", "loss"]
    for command in (
        ["optimal", path, "--size", "N", "--data", "D", *asked],
        ["best-size", *words, *asked[2:], "--budget", "1e21"],
    ):
        assert main(command) == 2
        assert "what rises has no best size" in capsys.readouterr().err


@pytest.mark.parametrize("batch", [[256] * 8, [256, 512, 512, 1024, 1024, 512, 512, 256]])
def test_a_quantity_that_does_not_change_has_an_exponent_of_0_and_is_no_error(
    batch, tmp_path, capsys
):
    path = tmp_path / "batch.csv"
    rows = (f"{x:g},{b}" for x, b in zip(np.geomspace(1e18, 1e21, 8), batch, strict=True))
    path.write_text("\n".join(["C,batch", *rows]))
    assert main([str(path), "--x", "C", "--y", "batch", "--y-is", "quantity", "--json", "-"]) == 0
    (group,) = json.loads(capsys.readouterr().out)["groups"]
    assert group["parameters"]["b"]["value"] == pytest.approx(0, abs=1e-4)
    assert "flat" not in [each["code"] for each in group["diagnostics"]]
