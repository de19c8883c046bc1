"""What a reader of the picture relies on; how it looks is looked at by eye."""

import itertools
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from fits import plot_style, plotting
from fits.base.diagnostic import Diagnostic
from fits.data.frontier import frontier
from fits.laws.powers import SATURATING
from fits.regression.fit import Fit
from fits.saved.published import zhai_2022

WORDS = {"xlabel": "compute, FLOP", "ylabel": "error"}


class TenPercent:
    """Every parameter may lie up to ten per cent off, all of them together."""

    def __init__(self, values):
        self.drawn = values[:, None] * np.linspace(0.9, 1.1, 21)

    def interval(self, quantity, count, level):
        drawn = np.array([quantity(self.drawn, np.full(21, k)) for k in range(count)])
        return tuple(np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=1))


def fitted(a=0.6, b=0.35, c=0.1, d=0.5, *, span=(0.1, 1e3)):
    values = np.array([a, b, c, d])
    return Fit(
        law=SATURATING,
        values=(a, b, c, d),
        intervals=tuple((0.91 * value, 1.09 * value) for value in values),
        level=0.9,
        rms=0.01,
        n=9,
        span=span,
        diagnostics=(),
        inference=TenPercent(values),
        objective=0.0,
    )


def grid(seed=0, models=5, durations=5, series=1):
    """Runs of a scaling study: x, error, model, series."""
    rng = np.random.default_rng(seed)
    rows = [
        (10.0 ** (0.6 * m + 0.4 * t - 1), f"w{16 * 2**m}d{m + 1}p4", 1000 * 4**s)
        for m in range(models)
        for t in range(durations)
        for s in range(series)
    ]
    x, names, sizes = zip(*rows, strict=True)
    x = np.array(x)
    error = SATURATING.predict(x, 0.6, 0.35, 0.1, 0.5) * np.exp(0.4 * rng.random(len(x)))
    return x, np.minimum(error, 0.95), names, sizes


def draw(found=None, *, seed=0, **more):
    x, y, names, sizes = grid(seed)
    return plotting.draw_frontier(
        found, x, y, frontier=frontier(x, y), labels=names, sizes=sizes, **WORDS, **more
    )


def draw_of(found, x, y, **more):
    return plotting.draw_frontier(found, x, y, **WORDS, **more)


def levels(ax):
    """Heights of the horizontal lines that span the panel's left end."""
    return {
        round(float(line.get_ydata()[0]), 6)
        for line in ax.lines
        if len(line.get_xdata()) and line.get_xydata()[0, 0] == 0
    }


def words(ax):
    """Everything written in or around the panel, with its box in pixels."""
    ax.figure.draw_without_rendering()
    texts = [*ax.texts, *ax.get_legend().get_texts(), *ax.get_xticklabels(), *ax.get_yticklabels()]
    texts += [ax.title, ax.xaxis.label, ax.yaxis.label]
    return {text.get_text(): text.get_window_extent() for text in texts if text.get_text()}


@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 2))])
@pytest.mark.parametrize(("models", "durations", "series"), [(5, 5, 1), (4, 4, 4), (19, 3, 2)])
def test_no_words_cover_other_words(seed, models, durations, series):
    x, y, names, sizes = grid(seed, models, durations, series)
    figure, (left, right) = plotting.canvas(2)
    boxes = {}
    for ax in (left, right):
        plotting.draw_frontier(
            fitted(), x, y, frontier=frontier(x, y), labels=names, sizes=sizes, reference=0.105,
            title="a study", ax=ax, **WORDS,
        )  # fmt: skip
    for side, ax in (("left", left), ("right", right)):
        found = words(ax)
        assert {*names, "true floor 0.105", "plateau 0.86"} < set(found)
        boxes |= {f"{side} {text}": box for text, box in found.items()}
    for (one, box), (other, another) in itertools.combinations(boxes.items(), 2):
        # An extent is a line's full height; half a point of that may be shared by two lines.
        assert not box.padded(-0.7).overlaps(another.padded(-0.7)), (one, other)
    assert all(figure.bbox.containsx(end) for box in boxes.values() for end in (box.x0, box.x1))


def test_words_are_large_enough_to_be_read():
    ax = draw(fitted())
    ax.figure.draw_without_rendering()
    assert ax.bbox.width > 2.5 * ax.figure.dpi  # the legend leaves the panel a column of a paper
    assert all(text.get_fontsize() >= 8 for text in ax.get_xticklabels())
    assert all(text.get_fontsize() >= 8 for text in ax.get_legend().get_texts())


@pytest.mark.parametrize(
    ("low", "high"),
    [
        *((0.29, 0.36), (0.11, 0.19), (0.21, 0.55), (0.09, 0.95), (0.3, 2.9), (0.011, 0.95)),
        *(
            (0.0003, 0.9),
            (2e15, 4e16),
            (1.1e15, 4e15),
            (1.3e11, 8e12),
            (3e10, 5e13),
            (1, 1e24),
            (2, 190_000),
        ),
    ],
)
def test_an_axis_of_any_range_has_labels_that_keep_apart(low, high):
    for name in "xy":
        ax = plotting.draw_frontier(None, [1, 2], [0.5, 0.4], **WORDS)
        ax.set(**{f"{name}lim": (low, high)})
        plot_style.set_ticks(getattr(ax, f"{name}axis"))
        ax.figure.draw_without_rendering()
        axis = getattr(ax, f"{name}axis")
        places = zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=True)
        seen = [label for label, at in places if label.get_text() and low <= at <= high]
        assert 2 <= len(seen) <= 14
        for one, other in itertools.pairwise(label.get_window_extent() for label in seen):
            assert one.x1 < other.x0 if name == "x" else one.y1 < other.y0


@pytest.mark.parametrize(
    ("value", "plain", "power"),
    [
        (0.05, "0.05", r"$5\times10^{-2}$"),
        (20_000, "20000", r"$2\times10^{4}$"),
        (1000.0, "1000", "$10^{3}$"),
    ],
)
def test_a_label_is_the_number_or_its_power_of_ten(value, plain, power):
    assert (plot_style.numeral(value), plot_style.power_of_ten(value)) == (plain, power)


@pytest.mark.parametrize("name", SATURATING.parameters)
def test_a_floor_is_the_parameter_with_that_role_whatever_its_name(name):
    roles = dict.fromkeys(SATURATING.parameters, "scale") | {name: "floor"}
    found = fitted(0.2, 0.3, 0.25, 0.15)
    found = replace(found, law=replace(SATURATING, roles=roles))
    value = found.values[SATURATING.parameters.index(name)]
    assert levels(draw(found)) == {value}


def test_floor_plateau_and_the_true_floor_are_marked():
    found = fitted()
    ax = draw(found, reference=0.08)
    assert {0.1, 0.08, round(float(found.predict(0.0)), 6)} == levels(ax)
    assert {"floor 0.100 (0.091 to 0.109)", "true floor 0.08", "plateau 0.86"} < set(words(ax))


def test_a_plateau_that_is_no_error_rate_is_left_out():
    assert levels(draw(fitted(a=2.0, d=0.01))) == {0.1}


def test_a_plateau_above_1_is_left_out_of_error_rates_though_the_panel_reaches_it():
    x, y, _, _ = grid()
    found, high = fitted(a=0.75), np.where(x == x.min(), 0.99, y)
    assert 1 < found.predict(0.0) < draw_of(found, x, high).get_ylim()[1]
    assert levels(draw_of(found, x, high)) == {0.1}
    assert len(levels(draw_of(found, x, high, is_rate=False))) == 2


def test_runs_on_fewer_data_are_paler_and_the_legend_has_a_key_to_it():
    x, y, names, _ = grid(series=3)
    order = [16000, 1000, ""] * 25  # of the table: neither that of numbers nor that of letters
    ax = draw_of(None, x, y, labels=names, sizes=order)
    shown, said = ax.get_legend_handles_labels()
    key = dict(zip(said, shown, strict=True))
    assert said[-3:] == ["data size 1000", "data size 16000", "endless data"]
    pale = [key[name].get_alpha() for name in said[-3:]]
    assert pale == sorted(pale)
    assert pale[0] < 0.5 < pale[2] == 1
    x_of_smallest = set(x[1::3])
    dots = [line for line in ax.lines if line.get_linestyle() == "None" and len(line.get_xdata())]
    its = {at for line in dots if line.get_alpha() == pale[0] for at in line.get_xdata()}
    assert its == x_of_smallest


def test_a_key_to_many_data_sizes_names_the_smallest_the_largest_and_two_between():
    x, y, names, sizes = grid(series=9)
    said = draw_of(None, x, y, labels=names, sizes=sizes).get_legend_handles_labels()[1]
    keys = [each for each in said if each.startswith("data size")]
    assert len(keys) == 4
    assert (keys[0], keys[-1]) == ("data size 1000", f"data size {1000 * 4**8}")


def test_of_one_data_size_there_is_no_key():
    said = words(draw(fitted()))
    assert not [each for each in said if "data" in each]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "names", "said"),
    [
        ("no_degrees_of_freedom", (), "too few points"),
        ("few_points", (), "too few points"),
        ("one_cluster", (), "one cluster"),
        ("flat", (), "error does not fall"),
        ("on_bound", ("b",), "b on its bound"),
        ("not_identifiable", ("b", "d"), "b, d not identifiable"),
    ],
)
def test_a_law_whose_intervals_mean_nothing_is_not_drawn_and_the_legend_says_why(code, names, said):
    numbers = {"n": 4, "needs": 4, "misfit": 0.0, "bound": 0.0}
    found = replace(fitted(), diagnostics=(Diagnostic(code, names, numbers),))
    ax = draw(found)
    assert f"law not drawn: {said}" in words(ax)
    assert not [line for line in ax.lines if len(line.get_xdata()) == 200]
    assert not levels(ax)
    assert any(each.startswith("frontier, ") for each in words(ax))


@pytest.mark.parametrize(
    ("code", "names"), [("on_bound", ("d",)), ("not_identifiable", ("d",)), ("autocorrelated", ())]
)
def test_a_law_with_lesser_diagnostics_is_drawn(code, names):
    numbers = {"bound": 0.0, "correlation": 0.4}
    found = replace(fitted(), diagnostics=(Diagnostic(code, names, numbers),))
    assert "law and its 90 % band" in words(draw(found))


def test_without_a_head_start_there_is_no_plateau():
    assert levels(draw(fitted(d=0.0))) == {0.1}


def test_a_floor_that_is_not_seen_is_told_in_words():
    ax = draw(fitted(c=0.0), reference=0.0)
    assert "true floor 0" in words(ax)
    assert any(text.startswith("floor 0.00") for text in words(ax))
    assert ax.get_ylim()[0] > 0.05


def test_the_law_is_full_where_it_was_fitted_and_dashed_beyond():
    ax = draw(fitted(span=(0.3, 100.0)))
    law = [line for line in ax.lines if len(line.get_xdata()) == 200]
    inside = [line for line in law if line.get_linestyle() == "-"]
    assert [tuple(line.get_xdata()[[0, -1]]) for line in inside] == [(0.3, 100.0)]
    assert len(law) == 3
    assert {line.get_linestyle() for line in law if line not in inside} == {"--"}


def test_models_have_markers_of_their_own_and_grow_lighter_with_size():
    ax = draw(fitted(), seed=1)
    dots = [line for line in ax.lines if line.get_label()[0] == "w"]
    dots.sort(key=lambda line: min(line.get_xdata()))
    grey = [np.dot(line.get_color()[:3], (0.299, 0.587, 0.114)) for line in dots]
    assert len({line.get_marker() for line in dots}) == len(dots) == 5
    assert (np.diff(grey) > 0.03).all()  # so that they differ in grey and to the colour-blind


def test_runs_of_two_series_are_not_joined():
    x, y, names, sizes = grid(models=2, durations=3, series=2)
    ax = plotting.draw_frontier(None, x, y, labels=names, series=sizes, **WORDS)
    joined = [line for line in ax.lines if line.get_linestyle() == "-"]
    assert sorted(len(line.get_xdata()) for line in joined) == [3, 3, 3, 3]
    assert all((np.diff(line.get_xdata()) > 0).all() for line in joined)


def test_runs_of_one_model_at_the_same_compute_are_no_curve():
    ax = plotting.draw_frontier(None, [1, 2, 2], [0.5, 0.4, 0.3], labels=["S"] * 3, **WORDS)
    assert not [line for line in ax.lines if line.get_linestyle() == "-"]


def test_all_runs_and_levels_lie_within_tight_limits():
    x, y, _, _ = grid()
    ax = plotting.draw_frontier(fitted(), x, y, reference=0.07, **WORDS)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert x.min() / 2 < left < x.min() < x.max() < right < 5 * x.max()
    assert 0.04 < bottom < 0.07
    assert y.max() < top < 1.5 * y.max()


@pytest.mark.parametrize("runs", [([3.0], [0.4]), ([1.0, 2.0], [0.3, 0.3])])
def test_a_study_that_has_hardly_begun_can_be_drawn(runs):
    ax = plotting.draw_frontier(
        None, *runs, labels=["S"] * len(runs[0]), frontier=frontier(*runs), **WORDS
    )
    assert f"frontier, 1 of {len(runs[0])} runs" in words(ax)


def test_panels_stand_side_by_side():
    figure, (left, right) = plotting.canvas(2)
    for ax in (left, right):
        draw(fitted(), ax=ax)
    figure.draw_without_rendering()
    assert left.get_tightbbox().x1 <= right.get_tightbbox().x0
    assert figure.bbox.containsx(right.get_tightbbox().x1)


def test_a_published_law_lies_on_its_own_runs_beside_the_fit():
    ax = plotting.draw_published(zhai_2022("imagenet-10-shot"))
    draw(fitted(), ax=ax)
    (line,) = [line for line in ax.lines if line.get_label() == "law as published"]
    assert tuple(line.get_xdata()[[0, -1]]) == pytest.approx((0.267, 27_500))
    assert {"law as published", "law and its 90 % band", "frontier, 9 of 25 runs"} & set(words(ax))


@pytest.mark.parametrize(
    ("task", "compute", "error"),
    [
        ("imagenet-10-shot", [1, 10, 100, 1e3, 1e4], [0.671, 0.417, 0.264, 0.189, 0.153]),
        ("imagenet-fine-tuned", [1, 10, 100, 1e3, 1e4], [0.349, 0.206, 0.142, 0.113, 0.100]),
        ("imagenet-10-shot-from-imagenet-21k", [1, 10, 100], [0.780, 0.456, 0.297]),
    ],
)
def test_the_published_laws_give_the_values_worked_out_from_the_paper(task, compute, error):
    np.testing.assert_allclose(zhai_2022(task).predict(compute), error, atol=6e-4)


@pytest.mark.parametrize("suffix", plotting.FORMATS)
def test_the_same_figure_is_the_same_file(tmp_path, suffix):
    first, second = (
        plotting.save(draw(fitted()).figure, tmp_path / f"{name}{suffix}").read_bytes()
        for name in "ab"
    )
    assert first == second
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a{suffix}", f"b{suffix}"]


@pytest.mark.parametrize("name", ["law.gif", "law"])
def test_a_suffix_that_cannot_be_written_is_refused_with_those_that_can(tmp_path, name):
    with pytest.raises(ValueError, match=r"\.pdf, \.png or \.svg"):
        plotting.save(plotting.canvas()[0], tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_figure_that_fails_half_way_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "law.png"
    path.write_bytes(b"old")
    figure, _ = plotting.canvas()

    def half(aside, **_):
        aside.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", half)
    with pytest.raises(OSError, match="disk full"):
        plotting.save(figure, path)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("law.png", b"old")]


def test_pictures_cost_nothing_until_drawn_and_never_need_a_display(tmp_path):
    script = f"""
import sys
from fits import plot_style, plotting
assert "matplotlib" not in sys.modules
ax = plotting.draw_frontier(None, [1, 2], [.5, .4], xlabel="x", ylabel="y")
plotting.save(ax.figure, {str(tmp_path / "a.png")!r})
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run(
        [sys.executable, "-c", script], check=True, env=os.environ | {"MPLBACKEND": "tkagg"}
    )


def test_the_law_of_size_and_data_is_no_line_where_its_intervals_mean_nothing():
    from fits.allocation.allocation import trainings
    from fits.allocation.parametric import parametric
    from fits.laws.chinchilla import CHINCHILLA
    from fits.plotting import canvas, draw_allocations
    from fits.regression.fit import fit

    size, data = (np.ravel(each) for each in np.meshgrid([1e7, 1e8], [1e9, 1e10, 1e11]))
    runs = trainings(size, data, 1.8 + 400 / size**0.34 + 400 / data**0.28)
    method = parametric(runs, fit(CHINCHILLA, (runs.size, runs.data), runs.loss))
    _, (ax,) = canvas()
    draw_allocations([method], runs, [], xlabel="FLOPs", ylabel="N", ax=ax)
    assert "law of size and data not drawn: too few points" in words(ax)
