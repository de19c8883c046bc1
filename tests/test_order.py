"""The order of a run's images: seed and step decide it, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.data.augment import Flip
from scaling.data.hashing import hash64, key
from scaling.data.order import permute, places, resampled, step_indices, subset

examples = settings(max_examples=50, deadline=None, derandomize=True)
seeds = st.integers(0, 2**64)


@pytest.mark.slow
@examples
@given(seeds, st.integers(1, 300), st.integers(1, 50), st.integers(1, 4))
def test_each_epoch_shows_every_member_once(seed, data_size, batch, epochs):
    steps = -(-epochs * data_size // batch)
    seen = np.concatenate([step_indices(seed, step, batch, data_size) for step in range(steps)])
    for epoch in range(epochs):
        shown = seen[epoch * data_size : (epoch + 1) * data_size]
        assert sorted(shown) == list(range(data_size))


def test_no_two_epochs_and_no_two_seeds_share_an_order():
    orders = [step_indices(seed, step, 50, 50) for seed in range(4) for step in range(4)]
    assert len({tuple(order) for order in orders}) == 16


@examples
@given(seeds, st.integers(0, 10**6), st.none() | st.integers(1, 10**7), st.integers(1, 9))
def test_the_slices_of_all_hosts_make_the_batch(seed, step, data_size, hosts):
    batch = 5 * hosts
    shares = np.arange(batch).reshape(hosts, -1)
    slices = [step_indices(seed, step, batch, data_size, rows) for rows in shares]
    whole = step_indices(seed, step, batch, data_size)
    assert np.concatenate(slices).tolist() == whole.tolist()
    flips = [Flip().flips(seed, places(step, batch, rows)) for rows in shares]
    assert np.concatenate(flips).tolist() == Flip().flips(seed, places(step, batch)).tolist()


def test_an_endless_source_is_read_from_its_start_and_once():
    seen = np.concatenate([step_indices(7, step, 6, None) for step in range(5)])
    assert seen.tolist() == list(range(30))


def test_the_order_does_not_depend_on_the_batch():
    small = [step_indices(3, step, 4, 23) for step in range(15)]
    large = [step_indices(3, step, 12, 23) for step in range(5)]
    assert np.concatenate(small).tolist() == np.concatenate(large).tolist()


@examples
@given(st.integers(1, 2000), st.data())
def test_the_smaller_data_set_lies_inside_the_larger(total, data):
    small, large = sorted(data.draw(st.tuples(*[st.integers(1, total)] * 2)))
    inner, outer = (set(subset(np.arange(n), total).tolist()) for n in (small, large))
    assert len(inner) == small
    assert len(outer) == large
    assert inner <= outer <= set(range(total))


def test_a_subset_is_drawn_from_the_whole_of_the_source():
    chosen = subset(np.arange(2000), 1_000_000)
    tenths = np.bincount(chosen // 100_000, minlength=10)
    assert tenths.min() > 200 - 5 * 14  # five standard deviations
    assert tenths.max() < 200 + 5 * 14


@pytest.mark.parametrize("size", [2, 5, 10, 30])
def test_a_permutation_sends_a_place_anywhere_with_equal_chance(size):
    keys = hash64(key(1), np.arange(20_000))
    for place in (0, size - 1):
        count = np.bincount(permute(np.full(keys.shape, place), size, keys), minlength=size)
        expected = len(keys) / size
        chi_square = ((count - expected) ** 2 / expected).sum()
        assert chi_square < (size - 1) + 5 * np.sqrt(2 * (size - 1))


def test_a_permutation_of_a_trillion_needs_no_table():
    size = 10**12 + 39
    sent = permute(np.arange(5000), size, key(2))
    assert len(set(sent.tolist())) == 5000
    assert sent.min() >= 0
    assert 0.99 * size < sent.max() < size


def test_half_of_the_images_are_mirrored_anew_in_every_step():
    flips = Flip().flips(1, places(0, 10_000))
    assert abs(flips.mean() - 0.5) < 0.025  # five standard deviations
    assert not np.array_equal(flips[:100], flips[100:200])


def test_the_order_stays_what_it_was_in_earlier_versions():
    assert step_indices(0, 0, 8, 1000).tolist() == [413, 568, 428, 44, 411, 295, 919, 157]
    assert subset(np.arange(8), 1000).tolist() == [640, 895, 911, 695, 594, 656, 381, 659]


# Resampling by class

RULES = {"square-root": lambda f: f**0.5, "class-balanced": lambda f: f**0.0}


@pytest.mark.parametrize("rule", RULES)
def test_classes_are_shown_in_proportion_to_the_rule_and_images_within_one_of_their_share(rule):
    """The property that is defined here: shares of classes, and no image off by more than one."""
    counts = np.array([400, 100, 25, 1])
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(4), counts)).astype(np.int32)
    n, epochs = len(labels), 40
    shares = resampled(labels, rule)
    shown = [step_indices(9, epoch, n, n, shares=shares) for epoch in range(epochs)]
    wanted = RULES[rule](counts.astype(float))
    wanted = n * wanted / wanted.sum()
    for epoch in shown:
        times = np.bincount(epoch, minlength=n)
        each = (wanted / counts)[labels]
        assert (np.abs(times - each) < 1).all()
    found = np.bincount(labels[np.concatenate(shown)], minlength=4) / epochs
    spread = np.sqrt(counts.max() / 4 / epochs)  # of members whose times are rounded at random
    np.testing.assert_allclose(found, wanted, atol=5 * spread)
    np.testing.assert_allclose(found[-1], wanted[-1], atol=1)


@pytest.mark.parametrize("rule", RULES)
def test_equally_frequent_classes_are_shown_in_the_order_of_no_resampling(rule):
    labels = np.arange(60, dtype=np.int32) % 5
    for step in range(12):
        plain = step_indices(3, step, 7, 60)
        again = step_indices(3, step, 7, 60, shares=resampled(labels, rule))
        assert plain.tolist() == again.tolist()


@examples
@given(seeds, st.integers(0, 10**6), st.integers(1, 9))
def test_the_slices_of_all_hosts_make_the_resampled_batch(seed, step, hosts):
    shares = resampled(np.array([0, 0, 0, 1, 0, 2, 0], np.int32), "square-root")
    batch = 5 * hosts
    slices = [
        step_indices(seed, step, batch, 7, rows, shares)
        for rows in np.arange(batch).reshape(hosts, -1)
    ]
    whole = step_indices(seed, step, batch, 7, shares=shares)
    assert np.concatenate(slices).tolist() == whole.tolist()
    assert whole.min() >= 0
    assert whole.max() < 7


def test_of_several_labels_the_rarest_decides_and_no_label_counts_as_the_commonest():
    labels = np.array([[0, -1]] * 16 + [[0, 1]] * 4 + [[-1, -1]], np.int32)
    size = np.diff(resampled(labels, "square-root"), prepend=0)
    np.testing.assert_allclose(size[0] / size[16], np.sqrt(4 / 20), rtol=1e-12)
    np.testing.assert_allclose(size[20], size[0], rtol=1e-12)
    with pytest.raises(ValueError, match="none of 3 images has a label"):
        resampled(np.full(3, -1, np.int32), "square-root")


@pytest.mark.parametrize("rule", ["square-root", "class-balanced"])
def test_a_label_that_an_image_has_twice_is_counted_once(rule):
    twice = np.array([[0, 0], [0, -1], [1, 1]], np.int32)
    once = np.array([[0, -1], [0, -1], [1, -1]], np.int32)
    np.testing.assert_array_equal(resampled(twice, rule), resampled(once, rule))
    assert twice.tolist() == [[0, 0], [0, -1], [1, 1]]
