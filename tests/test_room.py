import numpy as np

from fits.room import Room, along, beside, distance

FRAME = np.array([0.0, 0.0, 100.0, 100.0])
SIZE = np.array([20.0, 10.0])


def room(ink):
    ink = np.array(ink, float).reshape(-1, 2)
    return Room(FRAME, ink, np.ones(len(ink)), margin=1.0)


def test_words_go_where_they_hide_least():
    places = np.array([[20.0, 50.0], [50.0, 50.0], [80.0, 50.0]])
    ink = [[20, 50], [22, 50], [80, 50]]
    assert room(ink).put(SIZE, places, np.zeros(3)).tolist() == [50, 50]
    assert room(ink).put(SIZE, places, np.array([0, 3.0, 0])).tolist() == [80, 50]


def test_words_never_cover_other_words_while_there_is_a_free_place():
    places = np.array([[50.0, 50.0], [55.0, 55.0], [50.0, 80.0]])
    panel = room([[50, 80]] * 50)
    first = panel.put(SIZE, places, np.zeros(3))
    second = panel.put(SIZE, places, np.zeros(3))
    assert first.tolist() == [50, 50]
    assert second.tolist() == [50, 80]


def test_words_stay_in_the_frame():
    places = np.array([[5.0, 50.0], [50.0, 98.0], [50.0, 50.0]])
    assert room([[50, 50]] * 50).put(SIZE, places, np.zeros(3)).tolist() == [50, 50]


def test_words_beside_a_point_are_as_far_as_their_gap_or_a_little_farther():
    centres, point, gap = beside(np.array([[40.0, 40.0], [60.0, 60.0]]), SIZE, np.array([3.0, 9.0]))
    assert len(centres) == 2 * 2 * 16
    for number, where in enumerate([[40.0, 40.0], [60.0, 60.0]]):
        away = distance(np.array([where]), centres[point == number], SIZE)
        assert (away >= 0.9 * gap[point == number]).all()
        assert (away <= gap[point == number] + 1e-9).all()


def test_distance_counts_from_the_edge_of_the_words_to_the_nearest_point():
    points = np.array([[13.0, 9.0], [500.0, 0.0]])
    assert distance(points, np.zeros((1, 2)), SIZE).tolist() == [5.0]
    assert distance(np.zeros((1, 2)), np.zeros((1, 2)), SIZE).tolist() == [0.0]


def test_a_line_is_sampled_evenly_with_both_its_ends():
    marks = along(np.array([[0.0, 0.0], [30.0, 0.0], [30.0, 40.0]]), spacing=5.0)
    np.testing.assert_allclose(marks[[0, -1]], [[0, 0], [30, 40]])
    assert np.hypot(*np.diff(marks, axis=0).T).max() <= 5.0
