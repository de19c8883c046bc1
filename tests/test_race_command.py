"""`fit-laws race`: which of several trainings can be stopped, and why."""

import csv
import json

import numpy as np
import pytest

from fits.fit_laws import main

ASKED = ["--x", "step", "--y", "loss", "--y-is", "loss", "--until", "1000"]


def a_curve(scale, until, seed, exponent=0.2, points=50):
    x = np.linspace(20, 1000, points)
    y = (scale * (x / 1000) ** -exponent + 0.5) * np.exp(
        0.002 * np.random.default_rng(seed).normal(size=points)
    )
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True) if a <= until]


@pytest.fixture
def table(tmp_path):
    def write(curves, **more):
        """curves: name -> points; more: a column's name -> its value in the rows of a run."""
        path = tmp_path / "curves.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["run", "step", "loss", *more])
            for run, points in curves.items():
                for x, y in points:
                    writer.writerow([run, x, y, *(each(run, x) for each in more.values())])
        return str(path)

    return write


THREE = {
    "good": a_curve(3.0, 260, 0),
    "twin": a_curve(3.0, 260, 1),
    "bad": a_curve(9.0, 260, 2),
}


def answer(capsys, *words):
    assert main(["race", *map(str, words), "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_the_run_that_cannot_win_is_stopped_with_its_rival_and_what_that_saves(table, capsys):
    found = answer(capsys, table(THREE), *ASKED)
    (group,) = found["groups"]
    runs = {each["run"][0]: each for each in group["runs"]}
    assert [name for name, each in runs.items() if each["stopped"]] == ["bad"]
    assert runs["bad"]["rivals"][0]["run"][0] in ("good", "twin")
    assert runs["bad"]["rivals"][0]["lower"] > 0.95
    assert runs["bad"]["left"] == pytest.approx(740)
    assert group["saved"] == pytest.approx(740)
    assert group["left"] == pytest.approx(3 * 740)
    assert list(runs)[-1] == "bad"  # the lowest forecast first


@pytest.mark.slow
def test_what_is_printed_says_it_in_words(table, capsys):
    path = table(THREE, flops=lambda run, x: 1e9 * x)
    assert main(["race", path, *ASKED]) == 0
    printed = capsys.readouterr().out
    assert "loss at step = 1000; the best run matters" in printed
    assert "1 of 3 runs that go on can be stopped, which saves 7.4e+11 of the 2.22e+12" in printed
    assert "FLOPs that all would still cost (33 %)" in printed
    assert "bad: ends above " in printed


@pytest.mark.slow
def test_as_many_are_kept_as_matter(table, capsys):
    found = answer(capsys, table(THREE), *ASKED, "--keep", 3)
    assert not any(each["stopped"] for each in found["groups"][0]["runs"])
    assert main(["race", table(THREE), *ASKED, "--keep", "3"]) == 0
    assert "0 of 3 runs that go on can be stopped" in capsys.readouterr().out


def test_a_run_that_is_done_counts_as_measured_and_costs_nothing_more(table, capsys):
    curves = {"done": a_curve(3.0, 1000, 0), "bad": a_curve(9.0, 260, 1)}
    (group,) = answer(capsys, table(curves), *ASKED)["groups"]
    done, bad = group["runs"]
    assert done["done"]
    assert done["error"]["low"] == done["error"]["high"] == done["last"]
    assert not done["stopped"]
    assert done["left"] == 0
    assert bad["stopped"]
    assert main(["race", table({"done": a_curve(3.0, 1000, 0)}), *ASKED]) == 0
    assert "every run is done" in capsys.readouterr().out


@pytest.mark.slow
def test_runs_are_compared_within_their_group_alone(table, capsys):
    of = {"good": "small", "twin": "large", "bad": "large"}
    path = table(THREE, size=lambda run, x: of[run])
    small, large = answer(capsys, path, *ASKED, "--by", "size")["groups"]
    assert small["names"] == {"size": "small"}
    assert [each["stopped"] for each in small["runs"]] == [False]
    assert [each["stopped"] for each in large["runs"]] == [False, True]


@pytest.mark.slow
def test_of_a_run_with_fewer_than_four_points_nothing_is_said(table, capsys):
    (group,) = answer(capsys, table({**THREE, "new": a_curve(9.0, 61, 3)}), *ASKED)["groups"]
    (new,) = (each for each in group["runs"] if each["run"] == ["new"])
    assert new["points"] == 3
    assert not new["stopped"]


@pytest.mark.slow
def test_a_schedule_that_is_told_changes_the_forecast(table, capsys):
    plain, told = (
        answer(capsys, table(THREE), *ASKED, *more)["groups"][0]["runs"][0]["error"]["value"]
        for more in ([], ["--schedule", "cosine"])
    )
    assert plain != told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--delta", "0.7"], "--delta: 0.7 is not between 0 and 0.5"),
        (["--until", "soon"], "--until: soon is not a number"),
        (["--until", "1e9"], "more than 1,000 times ahead"),
        (["--run", "name"], "no column 'name'"),
        (["--cost", "hours"], "no column 'hours'"),
        (["--schedule", "cosin"], "--schedule: no cosin. Did you mean 'cosine'?"),
        (["--schedule", "wsd"], "--schedule: no wsd. A race has cosine and linear."),
        (["--schedule", "constant"], "--schedule: constant is of a trunk"),
        (["--final-rate", "0.1"], "--final-rate: of a schedule"),
        (["--x", "loss"], "law forecast takes 1 (x), and 2 are given"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_what_cannot_be_is_said(words, said, table, capsys):
    assert main(["race", table(THREE), *ASKED, *words]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert said in printed.err


def test_doubts_about_forecasts_are_printed_once_with_all_their_runs(table, capsys):
    worse = {
        name: [*points[:-1], (points[-1][0], 5 * points[-1][1])] for name, points in THREE.items()
    }
    assert (
        main(
            [
                "race",
                table({"good": THREE["good"], "one": worse["twin"], "two": worse["bad"]}),
                *ASKED,
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert printed.count("below the last point") == 1
    assert "warning: one (and, with numbers of their own, two): the forecast begins" in printed


def test_a_run_that_ends_in_nan_takes_no_part(table, capsys):
    """It was far ahead before: by its forecast from there it would have stopped all others."""
    ahead = a_curve(1.0, 160, 3)
    lost = [(x, float("nan")) for x, _ in a_curve(1.0, 260, 3)[len(ahead) :]]
    path = table(THREE | {"lost": [*ahead, *lost], "ahead": ahead})
    found = answer(capsys, path, *ASKED, "--where", "run!=ahead", "--where", "run!=twin")
    runs = {each["run"][0]: each for each in found["groups"][0]["runs"]}
    assert list(runs) == ["good", "bad", "lost"]
    assert [name for name, each in runs.items() if each["stopped"]] == ["bad"]
    assert runs["bad"]["rivals"][0]["run"] == ["good"]
    assert runs["lost"]["diverged"]
    assert runs["lost"]["diagnostics"][0]["code"] == "run_diverged"
    assert runs["lost"]["diagnostics"][0]["numbers"]["x"] == lost[0][0]

    found = answer(capsys, path, *ASKED, "--where", "run!=lost", "--where", "run!=twin")
    assert [run["run"][0] for run in found["groups"][0]["runs"] if run["stopped"]] == [
        "good",
        "bad",
    ]


def test_nan_between_all_measurements_is_no_divergence(table, capsys):
    between = {
        name: [pair for x, y in points for pair in ((x, y), (x + 1, float("nan")))]
        for name, points in THREE.items()
    }
    found, plain = (answer(capsys, table(each), *ASKED) for each in (between, THREE))
    assert not any(run["diverged"] for run in found["groups"][0]["runs"])
    assert found["groups"][0]["saved"] == plain["groups"][0]["saved"] > 0


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("error", "loss rises in every run, and the lowest is sought. Say --y-is accuracy"),
        ("quantity", "--y-is: of a quantity no end is the better one. Say loss, or accuracy"),
    ],
)
def test_what_rises_is_not_raced_as_if_less_were_better(table, capsys, kind, said):
    path = table({name: [(x, 0.2 + 0.3 * x / 260) for x, _ in its] for name, its in THREE.items()})
    assert main(["race", path, *ASKED, "--y-is", kind]) == 2
    assert said in capsys.readouterr().err
