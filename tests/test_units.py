"""Units of compute, size and data in fit-laws optimal, and extrapolations that are mistakes."""

import json
from pathlib import Path

import numpy as np
import pytest

from fits.allocation.report import allocate
from fits.base.errors import UserError
from fits.fit_laws import main
from fits.laws.chinchilla import chinchilla
from fits.spec import FitSpec

LAW = 1.82, 478.0, 0.3473, 2143.0, 0.3672
ASKED = ["--size", "N", "--data", "D", "--flops", "C", "--y", "loss", "--y-is", "loss"]


@pytest.fixture
def table(tmp_path):
    def written(flops=1.0, size=1.0, data=1.0):
        rng = np.random.default_rng(0)
        rows = ["N,D,C,loss"]
        for c in np.geomspace(1e19, 1e21, 6):
            for n in 0.09 * c**0.5 * np.geomspace(0.25, 4, 7):
                d = c / 6 / n
                loss = float(chinchilla(n, d, *LAW) * np.exp(rng.normal(0, 0.002)))
                rows.append(f"{n / size:.9g},{d / data:.9g},{c / flops:.9g},{loss:.6f}")
        path = tmp_path / f"{flops:g}_{size:g}_{data:g}.csv"
        path.write_text("\n".join(rows) + "\n")
        return str(path)

    return written


@pytest.mark.parametrize(
    ("units", "said"),
    [
        ({"flops": 1e9}, "--unit flops=GFLOP"),
        ({"flops": 8.64e19}, "--unit flops=PF-day"),
        ({"flops": 1e12}, "--unit flops=TFLOP"),
        ({"size": 1e9}, "--unit size=B"),
        ({"size": 1e6}, "--unit size=M"),
        ({"size": 1e9, "data": 1e12}, "--unit size=B --unit data=T"),
        ({"flops": 1e9, "size": 1e9}, "--unit size=B"),  # the ratio alone is 6
        (  # of small models, whose head is no part of N, it is 21
            {"flops": 1e9 / 3.5, "size": 1e6, "data": 1e9},
            "--unit flops=GFLOP --unit size=M --unit data=B",
        ),
    ],
)
def test_another_unit_is_recognised_and_refused_until_told(table, units, said, capsys):
    assert main(["optimal", table(**units), *ASKED]) == 2
    assert said in capsys.readouterr().err


def test_the_answer_is_the_same_in_any_unit_and_printed_in_it(table, capsys):
    answers = []
    for units, told, compute in (
        ({}, [], 1e22),
        ({"flops": 1e9, "size": 1e9}, ["--unit", "C=GFLOPs", "--unit", "size=B"], 1e13),
    ):
        words = ["optimal", table(**units), *ASKED, *told, "--compute", str(compute)]
        assert main([*words, "--json", "-"]) == 0
        found = json.loads(capsys.readouterr().out)
        size = found["divisions"][0]["sizes"]["law of size and data"]["value"]
        answers.append(size * units.get("size", 1.0))
        assert found["flops_per_nd"] == pytest.approx(6, rel=1e-6)
    np.testing.assert_allclose(*answers, rtol=1e-4)
    assert found["units"] == {"flops": "GFLOP", "size": "B", "data": "1"}
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "compute in GFLOP, size in B, data in ones: 6 FLOPs" in said
    assert "of 1e+13 GFLOP" in said
    assert "compute in GFLOP = 1e+13 is 10 times" in said


def test_a_ratio_that_is_told_is_believed(table, capsys):
    words = ["optimal", table(flops=1e9), *ASKED, "--flops-per-nd"]
    assert main([*words, "6e-9"]) == 0
    capsys.readouterr()
    assert main([*words, "6"]) == 2
    assert "it should be 6 as told" in capsys.readouterr().err


def test_more_than_a_thousand_times_ahead_is_a_mistake_unless_far(table, capsys):
    words = ["optimal", table(), *ASKED, "--compute"]
    assert main([*words, "1.1e24"]) == 2
    said = capsys.readouterr().err
    assert "1.1e+24 FLOPs is 1.1e+03 times the largest fitted, 1e+21 FLOPs" in said
    assert "--far" in said
    assert main([*words, "1.1e24", "--far"]) == 0
    assert main([*words, "9e23"]) == 0


ASKED_OF_LAW = ["--x", "N", "--x", "D", *ASKED[6:], "--law", "chinchilla"]


def test_a_target_error_that_takes_far_less_compute_than_any_run_is_a_mistake_unless_far(
    table, capsys
):
    words = ["optimal", table(), *ASKED, "--target-error", "200"]
    assert main(words) == 2
    assert "--target-error 200: the smallest fitted" in capsys.readouterr().err
    assert main([*words, "--far"]) == 0


@pytest.mark.parametrize(
    ("command", "asked", "option"),
    [
        ("optimal", ASKED, "--compute"),
        ("best-size", ASKED_OF_LAW, "--budget"),
    ],
)
def test_a_budget_far_below_the_runs_is_a_mistake_unless_far_and_one_below_is_said(
    table, command, asked, option, capsys
):
    words = [command, table(), *asked, option]
    assert main([*words, "9e15", option, "3e3"]) == 2
    said = capsys.readouterr().err
    assert f"{option}: the smallest fitted, 1e+19 FLOPs, is 1.11e+03 times 9e+15 FLOPs" in said
    assert f"{option}: the smallest fitted, 1e+19 FLOPs, is 3.33e+15 times 3000 FLOPs" in said
    assert "say --far" in said
    assert main([*words, "9e15", "--far"]) == 0
    capsys.readouterr()
    assert main([*words, "1e17"]) == 0
    said = capsys.readouterr().out
    assert "compute = 1e+17: the smallest compute fitted is 100 times that" in said
    assert main([*words, "1e20"]) == 0
    assert "compute fitted" not in capsys.readouterr().out


def test_a_model_far_below_the_runs_is_a_mistake(table, capsys):
    assert main(["optimal", table(), *ASKED, "--trained", "10,10"]) == 2
    assert "--trained 10,10: the smallest fitted" in capsys.readouterr().err


def test_a_prediction_that_far_is_too(tmp_path, capsys):
    path = tmp_path / "runs.csv"
    rows = [f"{x:g},{0.5 * x**-0.2:.6g}" for x in np.geomspace(1, 1e3, 9)]
    path.write_text("\n".join(["x,y", *rows]) + "\n")
    words = [str(path), "--x", "x", "--y", "y", "--law", "power", "--predict", "2e6"]
    assert main(words) == 2
    assert "--predict: 2e+06 is 2e+03 times the largest fitted" in capsys.readouterr().err
    assert main([*words, "--far"]) == 0


def test_a_wrong_unit_of_compute_is_recognised_by_the_one_that_gives_six(table, capsys):
    words = ["optimal", table(flops=1e9), *ASKED, "--unit"]
    assert main([*words, "flops=TFLOP"]) == 2
    said = capsys.readouterr().err
    assert "It looks like C in GFLOP, not TFLOP (--unit flops=GFLOP), or each D of 1,000" in said
    assert main([*words, "flops=GFLOP"]) == 0


@pytest.mark.parametrize(
    ("name", "cell", "said"),
    [
        ("GPU hours", "{:.6g} h", "--flops: GPU hours is in h, a time"),
        ("spent", "{:.6g} h", "--flops: spent is in h, a time"),
        ("time (GPU-hours)", "{:.6g}", "is in GPU-hours, a time"),
        ("gpu_hours", "{:.6g}", "--flops: gpu_hours is a time (gpu_hours)"),
        ("wall_clock s", "{:.6g}", "is a time (wall_clock s)"),
        ("A100-days", "{:.6g}", "--flops: A100-days is a time (A100-days)"),
        ("_runtime", "{:.6g}", "--flops: _runtime is a time (runtime)"),
        ("train_time", "{:.6g}", "--flops: train_time is a time (train_time)"),
        ("walltime", "{:.6g}", "is a time (walltime)"),
    ],
)
@pytest.mark.parametrize("told", [[], ["--unit", "flops=EFLOP"]])
def test_a_time_in_place_of_compute_is_refused_with_what_to_do(
    table, name, cell, said, told, capsys
):
    path = Path(table(flops=1e18))
    head, *rows = (line.split(",") for line in path.read_text().splitlines())
    rows = [[n, d, cell.format(float(c)), y] for n, d, c, y in rows]
    head[2] = name
    path.write_text("\n".join(map(",".join, [head, *rows])) + "\n")
    words = ["optimal", str(path), *ASKED[:4], "--flops", name, *ASKED[6:]]
    assert main([*words, *told]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "seconds x number of devices x peak FLOP/s of one x utilisation" in err
    assert "EFLOP" not in err


@pytest.mark.parametrize("names", [("params", "tokens"), ("N", "D"), ("size", "images_seen")])
@pytest.mark.parametrize("command", ["optimal", "best-size", "fit"])
def test_columns_of_size_and_data_that_are_exchanged_are_refused(table, names, command, capsys):
    path = Path(table())
    path.write_text(path.read_text().replace("N,D,C,loss", f"{','.join(names)},C,loss"))
    words = {
        "optimal": lambda n, d: ["optimal", str(path), "--size", n, "--data", d, "--flops", "C"],
        "best-size": lambda n, d: ["best-size", str(path), *of_two(n, d), "--budget", "1e21"],
        "fit": lambda n, d: [str(path), *of_two(n, d)],
    }[command]
    size, data = names
    assert main([*words(data, size), "--y", "loss", "--y-is", "loss"]) == 2
    said = capsys.readouterr().err
    assert f"{data} and {size} look exchanged. Name {size} for N (--size, or the first --x)" in said
    assert main([*words(size, data), "--y", "loss", "--y-is", "loss"]) == 0


@pytest.mark.parametrize(
    "names",
    [("d", "n"), ("image_encoder", "batch_size"), ("data_scale", "corpus_size"), ("D", "tokens")],
)
def test_a_width_and_a_count_of_data_are_not_taken_for_exchanged(table, names):
    path = Path(table())
    path.write_text(path.read_text().replace("N,D,C,loss", f"{','.join(names)},C,loss"))
    assert main([str(path), *of_two(*names), "--y", "loss", "--y-is", "loss"]) == 0


def test_a_product_of_powers_takes_its_columns_in_any_order(table):
    words = ["--x", "D", "--x", "N", "--law", "product", "--y", "loss", "--y-is", "loss"]
    assert main([table(), *words]) == 0


def of_two(*x):
    return [*(word for name in x for word in ("--x", name)), "--law", "chinchilla"]


@pytest.mark.parametrize(
    "name",
    [
        *("PF-days", "compute in PFLOP/s-days", "flops of all GPU hours", "of 8 GPUs"),
        "train_time_compute",
    ],
)
def test_compute_that_is_named_by_a_time_is_no_time(table, name, capsys):
    path = Path(table(flops=8.64e19))
    path.write_text(path.read_text().replace("N,D,C,loss", f"N,D,{name},loss"))
    words = ["optimal", str(path), *ASKED[:4], "--flops", name, *ASKED[6:]]
    assert main([*words, "--unit", "flops=PF-day"]) == 0


def test_units_in_the_names_of_columns_are_taken_unless_others_are_told(table, capsys):
    path = Path(table(flops=8.64e19, size=1e9))
    path.write_text(path.read_text().replace("N,D,C,loss", "N (B),D,C [PF-days],loss"))
    assert main(["optimal", str(path), *ASKED, "--compute", "1000"]) == 0
    said = capsys.readouterr().out
    assert "compute in PF-day, size in B, data in ones: 6 FLOPs" in said
    assert main(["optimal", str(path), *ASKED, "--unit", "flops=FLOP"]) == 2
    assert "is 6.94e-20 FLOPs a parameter and example" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("PFLOP/s-days", 8.64e19),
        ("petaFLOP/s days", 8.64e19),
        ("PFLOPs-days", 8.64e19),
        ("exaFLOPs", 1e18),
        ("10^18 FLOPs", 1e18),
        ("billion FLOPs", 1e9),
    ],
)
def test_units_of_compute_are_read_as_people_write_them(table, unit, factor, capsys):
    assert main(["optimal", table(flops=factor), *ASKED, "--unit", f"flops={unit}"]) == 0
    assert "data in ones: 6 FLOPs" in capsys.readouterr().out


@pytest.mark.parametrize("unit", ["millions", "million tokens", "M tokens", "mn", "10^6 tokens"])
def test_a_column_of_millions_is_not_one_of_ones(table, unit, capsys):
    """Nothing else would show it: without a column of compute, there may be so few tokens."""
    path = Path(table(data=1e6))
    path.write_text(path.read_text().replace("N,D,C,loss", f"N,D ({unit}),C,loss"))
    words = [*ASKED[:4], *ASKED[6:], "--compute", "1e21"]
    assert main(["optimal", str(path), *words]) == 0
    assert "data in M: 6 FLOPs" in capsys.readouterr().out


def test_a_unit_that_is_none_is_named_with_the_others_mistakes(table, capsys):
    wrong = ["--unit", "flops=GFLOPPS", "--unit", "weight=kg", "--compute", "-1"]
    assert main(["optimal", table(), *ASKED, *wrong]) == 2
    said = capsys.readouterr().err
    for words in ("no unit 'GFLOPPS' of flops", "weight=kg is not NAME=UNIT", "--compute: -1"):
        assert words in said


def test_a_size_that_follows_from_compute_in_another_unit_names_no_column_of_it(table, capsys):
    asked = ["--data", "D", "--flops", "C", "--y", "loss", "--y-is", "loss"]
    assert main(["optimal", table(flops=1e9), *asked]) == 2
    said = capsys.readouterr().err
    assert "the size that follows from C and D is" in said
    assert "--unit flops=GFLOP" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("units", "columns", "ways"),
    [
        ({"size": 1e6, "data": 1e9}, "ND", ["--unit size=M --unit data=B"]),
        ({"size": 1e6}, "ND", ["--unit size=M"]),
        ({"data": 1e9}, "ND", ["--unit data=B"]),
        ({"data": 1e6}, "ND", ["--unit data=M"]),
        ({"flops": 1e9}, "NC", ["--unit flops=GFLOP"]),
        ({"flops": 8.64e19}, "DC", ["--unit flops=PF-day", "--unit flops=EFLOP"]),
        ({"data": 1e3}, "NDC", ["--unit data=K", "--flops-per-nd 6e+03"]),
        ({"size": 1e3}, "NDC", ["--unit size=K", "--flops-per-nd 6e+03"]),
        (
            {"flops": 1e18, "size": 1e9, "data": 1e9},
            "NDC",
            [
                "--unit flops=EFLOP --unit size=B --unit data=B",
                "--unit flops=TFLOP --unit size=M --unit data=M",
            ],
        ),
    ],
)
def test_every_unit_that_explains_the_numbers_is_named_whatever_columns_there_are(
    table, units, columns, ways, capsys
):
    names = {"N": "--size", "D": "--data", "C": "--flops"}
    asked = [word for each in columns for word in (names[each], each)]
    words = ["optimal", table(**units), *asked, "--y", "loss", "--y-is", "loss"]
    assert main(words) == 2
    said = capsys.readouterr().err
    for way in ways:
        assert f"({way})" in said
    assert main([*words, *ways[0].split()]) == 0


def test_numbers_that_are_right_as_they_stand_can_be_said_to_be(table, capsys):
    words = ["optimal", table(size=1e6, data=1e9), *ASKED[:4], *ASKED[6:]]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "or --unit size=1 --unit data=1 if the numbers are right as they stand" in said
    assert main([*words, "--unit", "size=1", "--unit", "data=1"]) == 0
    assert "6 FLOPs a parameter and example, assumed" in capsys.readouterr().out


def test_an_image_has_more_than_a_token_and_another_unit_still_shows(table, capsys):
    path = Path(table(flops=1 / 200, data=1.0))
    path.write_text(path.read_text().replace("N,D,C,loss", "N,images,C,loss"))
    words = ["optimal", str(path), *ASKED[:2], "--data", "images", *ASKED[4:]]
    assert main(words) == 0
    assert "1.2e+03 FLOPs a parameter and example\n" in capsys.readouterr().out
    path.write_text(path.read_text().replace("images", "D"))  # tokens, perhaps
    assert main(["optimal", str(path), *ASKED]) == 2
    assert "each D of 200 tokens (--flops-per-nd 1.2e+03)" in capsys.readouterr().err


@pytest.mark.parametrize("unit", [[], ["--unit", "flops=GFLOP"], ["--flops-per-nd", "1180"]])
def test_flops_of_one_image_are_no_compute_of_a_training(unit, tmp_path, capsys):
    path = tmp_path / "runs.csv"
    rows = [
        f"{n:g},{d:g},{g},{float(chinchilla(n, 197 * d, *LAW)):.4f}"
        for n, g in ((5.7e6, 1.26), (22e6, 4.6), (86e6, 17.6), (307e6, 61.6))
        for d in np.geomspace(1e7, 1e9, 4)
    ]
    path.write_text("\n".join(["N,images,gflops,loss", *rows]))
    asked = ["--size", "N", "--data", "images", "--flops", "gflops", *ASKED[6:], *unit]
    assert main(["optimal", str(path), *asked]) == 2
    said = capsys.readouterr().err
    assert "gflops is the same for runs of one N whatever their images" in said
    assert "--unit" not in said


def test_compute_in_macs_is_half_of_what_is_expected_and_said_to_be(table, capsys):
    words = ["optimal", table(flops=2.0), *ASKED]
    assert main(words) == 0
    assert "say --unit flops=MAC" in capsys.readouterr().out
    assert main([*words, "--unit", "flops=MAC"]) == 0
    assert "--unit flops=MAC" not in capsys.readouterr().out


def test_the_unit_is_printed_of_a_plain_table_too(table, capsys):
    assert main(["optimal", table(), *ASKED]) == 0
    said = capsys.readouterr().out
    assert "compute in FLOPs, size in ones, data in ones: 6 FLOPs a parameter and example\n" in said


def test_the_best_size_is_found_in_the_units_told_and_refused_in_odd_ones(table, capsys):
    asked = ["--x", "N", "--x", "D", *ASKED[6:], "--law", "chinchilla", "--budget"]
    path = table(size=1e9, data=1e9)
    assert main(["best-size", path, *asked, "1e22"]) == 2
    assert "(--unit size=B --unit data=B)" in capsys.readouterr().err
    told = ["--unit", "size=B", "--unit", "data=B", "--unit", "flops=EFLOP"]
    answers = []
    for words in ([path, *asked, "1e4", *told], [table(), *asked, "1e22"]):
        assert main(["best-size", *words, "--json", "-"]) == 0
        answers.append(json.loads(capsys.readouterr().out)["budgets"][0]["size"]["value"])
    assert 1e9 * answers[0] == pytest.approx(answers[1], rel=1e-3)


def test_a_target_that_takes_too_much_compute_is_refused_outside_the_command_line_too(table):
    spec = FitSpec(x=("N", "D"), y="loss", y_is="loss", law="chinchilla", rows="all")
    with pytest.raises(UserError, match=r"target-error 1\.86: .* FLOPs is .* times the largest"):
        allocate(table(), spec, target_errors=[1.86])
    assert allocate(table(), spec, target_errors=[1.86], far=True).target_errors[0].compute
