"""How many of something, in words."""

import pytest

from fits.base.counted import counted
from fits.base.messages import render


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((1, "cluster"), "1 cluster"),
        ((0, "cluster"), "0 clusters"),
        ((1.0, "row"), "1 row"),
        ((2, "accuracy", "accuracies"), "2 accuracies"),
    ],
)
def test_one_is_said_in_the_singular(words, said):
    assert counted(*words) == said


def test_thousands_are_grouped_where_a_form_says_so():
    assert counted(12_000, "image", form="_") == "12_000 images"
    assert counted(1, "image is", "images are", form="_") == "1 image is"


@pytest.mark.parametrize(
    ("code", "numbers", "one", "two"),
    [
        ("shared_runs", {}, "1 run has the same x", "2 runs have the same x"),
        ("shared_runs", {}, "if it is the same run,", "if they are the same runs,"),
        ("half_an_image", {}, "1 accuracy of 0 or 1, which has", "2 accuracies of 0 or 1, which"),
        (
            "repeated_rows",
            {"line": 3, "first": 2},
            "1 row repeats an earlier one (line 3 is line 2): it counts once",
            "2 rows repeat an earlier one (line 3 is line 2): they count once",
        ),
    ],
)
def test_diagnostics_agree_with_their_number(code, numbers, one, two):
    for count, said in ((1, one), (2, two)):
        assert said in render(code, (), {"n": count, "count": count, **numbers})
