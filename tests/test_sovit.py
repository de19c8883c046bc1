"""The law of SoViT against the two shapes that were published, and the shapes proposed from it."""

import json
import math
import sys

import pytest

from models import sovit
from models.cost import forward_macs, parameters, train_flops
from models.shapes import ViTShape
from models.sovit import BACKWARD, EXPONENTS, START, START_COMPUTE, proportions, shape_for
from models.zoo import vit
from scaling.cli.main import main

SOVIT_400M = vit("So400m/14")
SOVIT_150M = ViTShape(
    name="So150m/14", patch=14, resolution=224, width=880, depth=18, mlp=2320, heads=16
)
SMALLEST = ViTShape(name="x0", patch=14, resolution=224, width=608, depth=10, mlp=928, heads=16)
# The compute that each was made for, in FLOPs of forward passes (arXiv 2305.13035, 4.1 and 5):
# 40e9 images of itself, and what ViT-B/14 spends on 4e9.
COMPUTE_400M = 40e9 * 2 * forward_macs(SOVIT_400M)
COMPUTE_150M = 4e9 * 2 * forward_macs(vit("B/14"))


def errors(compute, shape):
    """Relative errors of the law's width, depth and MLP."""
    published = (shape.width, shape.depth, shape.mlp)
    return [found / true - 1 for found, true in zip(proportions(compute), published, strict=True)]


def run(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["scaling", *words])
    try:
        main()
        status = 0
    except SystemExit as end:
        status = end.code
    said = capsys.readouterr()
    return status, said.out, said.err


# The law


def test_the_papers_compute_counts_forward_passes_alone():
    assert 2 * forward_macs(SOVIT_400M) / 1e9 == pytest.approx(221, rel=0.005)
    assert round(COMPUTE_400M / 1e21) == 9  # "40 billion examples, which amounts to 9T GFLOPs"
    assert round(16e9 * 2 * forward_macs(vit("g/14")) / 1e21) == 9  # as g/14 on 16 billion
    assert train_flops(SOVIT_400M, 40 * 10**9) == pytest.approx(BACKWARD * COMPUTE_400M)
    assert sovit.TESTED[1] == pytest.approx(COMPUTE_400M, rel=0.02)


def test_the_law_is_as_far_from_the_published_shapes_as_its_docstring_says():
    assert errors(COMPUTE_150M, SOVIT_150M) == pytest.approx([-0.075, 0.009, -0.114], abs=0.001)
    assert errors(COMPUTE_400M, SOVIT_400M) == pytest.approx([-0.063, 0.199, 0.032], abs=0.001)


def test_another_start_compute_would_fit_the_published_shapes_worse():
    def misfit(start):
        scale = START_COMPUTE / start
        found = errors(COMPUTE_150M * scale, SOVIT_150M) + errors(COMPUTE_400M * scale, SOVIT_400M)
        return sum(math.log(1 + error) ** 2 for error in found)

    best = misfit(START_COMPUTE)
    assert all(best < misfit(start) for start in (1e18, 2.5e18, 3.3e18, 3.7e18, 5e18, 9.3e18))
    images = START_COMPUTE / (2 * forward_macs(SMALLEST))
    assert 100e6 < images < 600e6  # what the paper leaves open


def test_shapes_grow_over_a_hundredfold_compute_as_the_papers_figure_1_shows():
    small, large = proportions(START_COMPUTE), proportions(100 * START_COMPUTE)
    assert small == START
    grown = [after / before for before, after in zip(small, large, strict=True)]
    assert grown == pytest.approx([1.4, 2.0, 2.5], abs=0.05)  # 1.5, 2.0, 2.6 there, rounded
    assert EXPONENTS.mlp > EXPONENTS.depth > EXPONENTS.width


# Proposals


def test_the_budget_of_sovit_400m_buys_about_its_images_of_about_its_size():
    budget = BACKWARD * COMPUTE_400M
    (own,) = [each for each in sovit.proposals(budget) if each["best_for_flops"] == budget]
    assert own["params"] == pytest.approx(parameters(SOVIT_400M), rel=0.05)
    assert own["images_seen"] == pytest.approx(40e9, rel=0.05)
    assert not own["extrapolated"]


@pytest.mark.parametrize("budget", [2e13, 1e16, 1e18, 3e19, 6e21, 1e24])
@pytest.mark.parametrize(("patch", "resolution"), [(14, 224), (4, 16)])
def test_proposals_tile_well_and_spend_the_budget(budget, patch, resolution):
    found = sovit.proposals(budget, patch=patch, resolution=resolution)
    assert [each["best_for_flops"] for each in found].count(budget) == 1
    assert len({each["name"] for each in found}) == len(found) >= 2
    params = [each["params"] for each in found]
    assert params == sorted(params)
    for each in found:
        for size in (each["width"], each["mlp"]):
            assert size % (128 if size >= 512 else 64) == 0
        assert each["width"] % each["heads"] == 0
        assert each["width"] // each["heads"] in (64, 128)
        sizes = {key: each[key] for key in ViTShape.__annotations__ if key in each}
        shape = ViTShape(**sizes)  # as a study file would have it
        assert each["params"] == parameters(shape)
        spent = train_flops(shape, each["images_seen"])
        assert budget - train_flops(shape, 1) < spent <= budget * (1 + 1e-9)


def test_rounding_moves_no_dimension_by_more_than_half_a_step():
    for budget in (1e16, 1e18, 1e20, 1e22, 1e24):
        best, shape = proportions(budget / BACKWARD), shape_for(budget)
        assert abs(shape.width - best.width) <= 64
        assert abs(shape.mlp - best.mlp) <= 64
        assert abs(shape.depth - best.depth) <= 0.5


def test_a_classifier_is_priced():
    (bare, *_), (headed, *_) = sovit.proposals(1e18), sovit.proposals(1e18, classes=30_000)
    assert headed["params"] == bare["params"] + 30_000 * (bare["width"] + 1)
    assert headed["images_seen"] < bare["images_seen"]


def test_the_least_budget_still_has_a_shape_and_any_less_has_none():
    shape_for(sovit.least_flops())
    with pytest.raises(ValueError, match=r"too small: below 1.6e\+13 the law of SoViT asks"):
        shape_for(sovit.least_flops() * 0.999)


@pytest.mark.parametrize("budget", [0.0, -1e18, float("nan"), float("inf"), 1e41])
def test_a_budget_that_is_none_is_refused(budget):
    with pytest.raises(ValueError, match=r"is not in \(0, 1e\+40\]"):
        sovit.proposals(budget)


# The command


def test_the_command_proposes_shapes_for_a_person(monkeypatch, capsys):
    status, out, errors = run(("models", "--budget", "1e18"), monkeypatch, capsys)
    assert (status, errors) == (0, "")
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["name", "patch", "resolution"]
    assert lines[3].split() == [
        *("512x7x640", "14", "224", "512", "7", "640", "8", "14_106_624"),
        *("3.736", "22.42", "44_611_646", "1e+18"),
    ]
    assert "Best for 1e+18 training FLOPs by the law of SoViT: 512x7x640." in lines
    assert lines[-1].startswith("The law rests on trainings of 1e+19 to 2.7e+22 FLOPs; beyond")
    assert lines[-1].endswith("448x5x320, 448x6x448, 512x7x640, 512x9x768.")


def test_the_command_proposes_shapes_for_a_program(monkeypatch, capsys):
    words = ("models", "--budget", "1e21", "--patch", "16", "--classes", "10", "--json", "-")
    status, out, _ = run(words, monkeypatch, capsys)
    assert status == 0
    assert json.loads(out) == sovit.proposals(1e21, patch=16, classes=10)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--budget", "1e12"), "--budget: a budget of 1e+12 FLOPs is too small: below 1.6e+13"),
        (("--budget", "2e13", "--resolution", "8192"), "does not buy one image of 8192 px"),
        (("--budget", "1e18", "--patch", "300"), "patch=300 px is larger than the image"),
        (("Ti/16", "--budget", "1e18"), "Ti/16: with --budget there are no names"),
        (("--patch", "8"), "--patch 8: is for --budget"),
    ],
)
def test_a_budget_that_no_shape_fits_is_refused_in_words(words, said, monkeypatch, capsys):
    status, out, errors = run(("models", *words), monkeypatch, capsys)
    assert (status, out) == (2, "")
    assert said in errors
