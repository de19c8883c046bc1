import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fits.ticks import numeral, small_ticks, ticks


@given(st.floats(-12, 24), st.floats(0.02, 12), st.integers(4, 12))
def test_ticks_are_round_increasing_and_never_too_many(power, decades, most):
    low, high = 10.0**power, 10.0 ** (power + decades)
    found = ticks(low, high, most)
    assert len(found) <= most
    assert (np.diff(found) > 0).all()
    assert ((low <= found) & (found <= high)).all()
    for value in found if high >= 2 * low else []:
        assert float(f"{value:.1e}") == pytest.approx(value, rel=1e-12)


@given(st.floats(-3, 0), st.floats(0.15, 4))
def test_an_error_axis_always_names_several_numbers(power, decades):
    assert len(ticks(10.0**power, 10.0 ** (power + decades), 7)) >= 2


@pytest.mark.parametrize(
    ("low", "high", "most", "words"),
    [
        (0.09, 1.1, 6, ["0.1", "0.2", "0.3", "0.5", "1"]),
        (0.29, 0.36, 7, ["0.29", "0.3", "0.31", "0.32", "0.33", "0.34", "0.35"]),
        (0.2, 3e4, 6, ["1", "10", "100", "1 000", "10 000"]),
        (3e10, 5e13, 6, ["$10^{11}$", "$10^{12}$", "$10^{13}$"]),
        (2e15, 4e16, 6, ["2×$10^{15}$", "3×$10^{15}$", "5×$10^{15}$", "$10^{16}$"]),
        (1e0, 1e24, 5, ["$10^{0}$", "$10^{6}$", "$10^{12}$"]),
    ],
)
def test_numbers_are_written_as_people_read_them(low, high, most, words):
    found = [
        numeral(tick, low, high).replace("\N{THIN SPACE}", " ") for tick in ticks(low, high, most)
    ]
    assert found[: len(words)] == words


def test_small_ticks_show_the_logarithm_and_thin_out_over_many_decades():
    assert small_ticks(1, 10).tolist() == list(range(2, 10))
    assert small_ticks(1, 1e12).tolist() == [10.0**power for power in range(13)]
