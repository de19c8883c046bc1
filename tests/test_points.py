"""Points: what a column of errors or accuracies means, and what cannot be fitted."""

import numpy as np
import pytest

from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.data.points import points_of
from fits.data.tables import read_table


def read_points(path, x, y, kind="error", **more):
    return points_of(read_table(path), [x], y, kind, **more)


@pytest.fixture
def csv(tmp_path):
    def write(*lines):
        path = tmp_path / "runs.csv"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        ("error", ["0.25", "1"]),
        ("error-percent", ["25", "100"]),
        ("accuracy", ["0.75", "0"]),
        ("accuracy-percent", ["75", "0"]),
    ],
)
def test_all_kinds_of_y_become_errors_as_fractions(csv, kind, cells):
    points = read_points(csv("x,y", f"1,{cells[0]}", f"2,{cells[1]}"), "x", "y", kind)
    np.testing.assert_allclose(points.error, [0.25, 1])
    np.testing.assert_array_equal(points.x, [1, 2])
    assert not points.notes


@pytest.mark.parametrize(
    ("kind", "cell", "words"),
    [
        ("error", "23.6", "--y-is error-percent; for a loss say --y-is loss, "),
        (
            "accuracy",
            "76.4",
            "above 1. Rates are fractions; for percentages say --y-is accuracy-percent.",
        ),
        (
            "error-percent",
            "101",
            "above 100 %. Correct it, or leave the row out; for a loss say --y-is loss.",
        ),
        ("accuracy-percent", "101", "above 100 %"),
        ("error", "-0.1", "below 0, which no error is"),
        ("accuracy-percent", "-3", "below 0, which no accuracy is"),
        ("error", "0", "an error of 0, which has no logarithm"),
        ("accuracy-percent", "100", "an error of 0, which has no logarithm"),
        ("error", "1e-300", "an error below 1e-12, which nobody can measure"),
        ("error-percent", "1e-11", "an error below 1e-12"),
        ("error", "half", "not a number"),
    ],
)
def test_a_y_that_is_no_rate_is_named_with_its_line(csv, kind, cell, words):
    with pytest.raises(UserError) as error:
        read_points(csv("x,y", "1,0.5", f"2,{cell}"), "x", "y", kind)
    assert f"runs.csv, line 3: y is {cell}, " in str(error.value)
    assert words in str(error.value)


def test_mistakes_in_x_and_y_are_named_together(csv):
    with pytest.raises(UserError) as error:
        read_points(csv("x,y", "1,0", "-2,1.5", "3,0.2"), "x", "y")
    lines = sorted(str(error.value).splitlines())
    assert [line.partition("line ")[2].split(",")[0] for line in lines] == [
        "2: y is 0",
        "3: x is -2",
        "3: y is 1.5",
    ]


def test_no_mistake_in_a_row_hides_another(csv):
    rows = [f"-{k},0.5,{k}" for k in range(1, 13)]
    path = csv("x,y,n", *rows, "1,7,a", "2", "3,half,b", "4,0.4,c", "4,0.4,c", "1e31,0.4,d")
    with pytest.raises(UserError) as error:
        read_points(path, "x", "y")
    said = str(error.value).splitlines()
    assert "line 15: 1 cell" in said[0]
    assert "line 2: x is -1, not above 0" in said[1]
    assert said[11] == "... and 2 more of this kind."
    assert "line 19: x is 1e31, not from 1e-30 to 1e+30. Count x in another unit" in said[12]
    assert "line 14: y is 7, above 1" in said[13]
    assert "line 16: y is half, not a number" in said[14]
    assert len(said) == 15


def test_a_column_that_is_missing_is_named_together_with_rows_that_do_not_fit_the_header(csv):
    with pytest.raises(UserError) as error:
        read_points(csv("x,y", "1,0.5", "2"), "x", "why")
    column, form = str(error.value).splitlines()
    assert "no column 'why'" in column
    assert "line 3: 1 cell" in form


def test_rows_without_x_or_y_are_left_out_and_said(csv):
    points = read_points(csv("x,y,z", "1,0.5,a", ",0.4,b", "3,,c", "4,0.2,"), "x", "y")
    np.testing.assert_array_equal(points.x, [1, 4])
    assert points.notes == (
        Diagnostic("empty_cells", ("x",), {"count": 1, "n": 4}),
        Diagnostic("empty_cells", ("y",), {"count": 1, "n": 3}),
    )
    assert [each.words for each in points.notes] == [
        "1 of 4 rows have no x and are left out",
        "1 of 3 rows have no y and are left out",
    ]
    with pytest.raises(UserError, match=r"(?s)column x is empty in every row.*column y is empty"):
        read_points(csv("x,y,z", ",,1", ",,2"), "x", "y")


def test_percentages_that_look_like_fractions_are_doubted(csv):
    points = read_points(csv("x,y", "1,0.5", "2,0.7"), "x", "y", "accuracy-percent")
    (note,) = points.notes
    assert (note.code, note.numbers) == ("fractions_as_percent", {"largest": 0.7})
    assert note.words == "no y is above 1 %; if these are fractions, say accuracy"


def test_rows_without_error_are_left_out_where_that_is_wanted_and_counted_by_group(csv):
    path = csv("x,y,m", "1,0.9,a", "2,1,a", "3,1,b", "4,0.8,b", "5,1.0,b", "6,1,c")
    with pytest.raises(UserError, match="line 3: y is 1, an error of 0"):
        read_points(path, "x", "y", "accuracy", by=["m"])
    points = read_points(path, "x", "y", "accuracy", by=["m"], drop_zeros=True)
    np.testing.assert_array_equal(points.x, [1, 4])
    assert points.notes == tuple(
        Diagnostic("zero_error", ("y", group), {"count": count, "n": n})
        for group, count, n in (("a", 1, 2), ("b", 2, 3), ("c", 1, 1))
    )
    (_, first), (_, second) = points.split(["m"])
    assert [each.words for each in first.notes] == [
        "a: 1 run without any error left out: 0 has no logarithm"
    ]
    assert second.notes == points.notes[1:2]
    whole = read_points(path, "x", "y", "accuracy", drop_zeros=True)
    assert whole.notes == (Diagnostic("zero_error", ("y",), {"count": 4, "n": 6}),)


def test_mistakes_outside_the_rows_asked_for_do_not_matter(csv):
    path = csv("x,y,set", "1,0.5,a", "2,nan,b", "2,nan,b", "3,0.4,a")
    assert len(read_points(path, "x", "y", where=["set=a"]).x) == 2
    assert len(read_points(path, "x", "y", where=["set!=b"]).x) == 2


def test_equal_rows_are_kept_and_said(csv):
    points = read_points(csv("x,y", "1,0.5", "2,0.4", "1,0.5"), "x", "y")
    np.testing.assert_array_equal(points.x, [1, 2, 1])
    (note,) = points.notes
    assert note.words.startswith("1 row equals an earlier row in every column (line 4 is line 2)")


@pytest.mark.parametrize("word", ["NaN", "inf", "-Infinity", "N/A", "-", "null", "None", "#N/A"])
def test_a_row_in_which_nothing_was_measured_is_left_out_and_counted(csv, word):
    points = read_points(csv("x,y", "1,0.5", f"2,{word}", f"{word},0.4", "3,0.3"), "x", "y")
    np.testing.assert_array_equal(points.x, [1, 3])
    assert [each.words for each in points.notes] == [
        f"1 of 4 rows have no number as x ({word}) and are left out",
        f"1 of 3 rows have no number as y ({word}) and are left out",
    ]


def test_an_x_of_0_has_no_logarithm_and_is_left_out_and_counted(csv):
    points = read_points(csv("step,y", "0,0.9", "1,0.5", "2,0.4"), "step", "y")
    np.testing.assert_array_equal(points.x, [1, 2])
    assert [each.words for each in points.notes] == [
        "1 of 3 rows have a step of 0, which has no place on a log axis, and are left out"
    ]
    with pytest.raises(UserError, match="no row has numbers as x, y"):
        read_points(csv("x,y", "0,0.9", "0,0.8"), "x", "y")


def test_all_columns_that_are_missing_are_named_at_once(csv):
    with pytest.raises(UserError) as error:
        read_points(csv("x,y", "1,0.5"), "X", "why", where=["set=a"], by=["seed"])
    assert [line.split("'")[1] for line in str(error.value).splitlines()] == [
        "X",
        "why",
        "seed",
        "set",
    ]


def test_metrics_in_one_column_are_not_mixed(csv):
    lines = ["flops,metric,value", "1,digits_5shot_error,0.5", "1,upstream_loss,0.7"]
    with pytest.raises(UserError, match=r"2 metrics .* --where metric=digits_5shot_error, or --by"):
        read_points(csv(*lines), "flops", "value")
    assert len(read_points(csv(*lines), "flops", "value", by=["metric"]).x) == 2
    assert len(read_points(csv(*lines), "flops", "value", where=["metric=upstream_loss"]).x) == 1


def test_points_split_by_every_combination_of_values(csv):
    path = csv("x,y,m,s", "1,0.5,B,0", "2,0.4,S,0", "3,0.3,B,0", "4,0.2,B,1")
    split = list(read_points(path, "x", "y", by=["m", "s"]).split(["m", "s"]))
    assert [names for names, _ in split] == [
        {"m": "B", "s": "0"},
        {"m": "S", "s": "0"},
        {"m": "B", "s": "1"},
    ]
    np.testing.assert_array_equal(split[0][1].x, [1, 3])
    np.testing.assert_array_equal(split[0][1].error, [0.5, 0.3])
    assert split[2][1].table.numbers == [5]
