"""Tables of positions against SciPy and against their formula."""

import ml_dtypes
import numpy as np
import pytest
from scipy.ndimage import zoom

from models.positions import resize_positions, sincos_positions


@pytest.mark.parametrize(("old", "new"), [(14, 24), (24, 14), (3, 2), (7, 7), (5, 1), (1, 4)])
def test_a_resized_table_is_what_scipy_makes_of_it(old, new):
    square = np.random.default_rng(0).standard_normal((old, old, 6)).astype(np.float32)
    wanted = zoom(square, (new / old, new / old, 1), order=1)
    found = resize_positions(square.reshape(1, -1, 6), new)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted.reshape(1, -1, 6), atol=1e-6)


def test_corners_stay_and_a_plane_stays_a_plane():
    rows, columns = np.mgrid[:4, :4] / 3
    plane = np.stack([rows, columns], -1).reshape(1, 16, 2)
    rows, columns = np.mgrid[:9, :9] / 8
    wanted = np.stack([rows, columns], -1).reshape(1, 81, 2)
    np.testing.assert_allclose(resize_positions(plane, 9), wanted, atol=1e-12)


def test_a_table_keeps_its_type():
    table = np.ones((1, 4, 2), ml_dtypes.bfloat16)
    assert resize_positions(table, 3).dtype == ml_dtypes.bfloat16


def test_a_table_that_covers_no_square_is_refused_in_words():
    with pytest.raises(ValueError, match="14 rows covers no square grid: 3x3 would have 9 and 4x4"):
        resize_positions(np.zeros((1, 14, 8)), 4)


def test_a_table_with_a_class_token_is_recognised():
    with pytest.raises(ValueError, match="197 is 196 and a class token"):
        resize_positions(np.zeros((1, 197, 8)), 24)


@pytest.mark.parametrize(("table", "grid"), [((196, 8), 7), ((2, 4, 8), 7), ((1, 4, 8), 0)])
def test_what_is_no_table_or_no_grid_is_refused(table, grid):
    with pytest.raises(ValueError, match=r"must be \[1, patches, width\] and the grid at least 1"):
        resize_positions(np.zeros(table), grid)


def test_sines_and_cosines_are_those_of_the_formula():
    grid, width = 5, 12
    table = sincos_positions(grid, width)
    assert table.dtype == np.float32
    for row in range(grid):
        for column in range(grid):
            for k, frequency in enumerate([1, 1e-2, 1e-4]):
                wanted = [f(at * frequency) for at in (column, row) for f in (np.sin, np.cos)]
                found = table[0, row * grid + column, k :: width // 4]
                np.testing.assert_allclose(found, wanted, atol=1e-7)


def test_the_narrowest_table_has_one_frequency():
    np.testing.assert_allclose(sincos_positions(2, 4)[0, 1], [np.sin(1), np.cos(1), 0, 1])
