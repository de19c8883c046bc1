"""Procedural images: the same everywhere, and hard to a known degree."""

import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from scaling.data.procedural.source import Procedural, class_limits, find_glyphs
from scaling.data.source import fingerprint

CONFIGS = {
    "default": Procedural(),
    "one polarity": Procedural(inverted=False, seed=3),
    "as noisy as allowed": Procedural(contrast=61, noise=15, label_noise=0.25),
    "no noise": Procedural(noise=0, contrast=1, jitter=0, label_noise=0),
    "fills the image": Procedural(resolution=12, cells=6, cell=2, jitter=0, tail=0),
    "odd sizes": Procedural(resolution=23, cells=7, cell=2, jitter=4, classes=500, differ=2),
    "two classes": Procedural(classes=2, label_noise=0.4, cell=1, jitter=5),
}


def read_glyphs(source, pixels):
    """The class of each image, from nothing but its pixels and the list of glyphs."""
    level = pixels.sum(-1, dtype=int)
    middle = (level.min((1, 2)) + level.max((1, 2))) / 2
    ink = level > middle[:, None, None]
    ink ^= (2 * ink.sum((1, 2)) > ink[0].size)[:, None, None]  # ink is the rarer colour
    each = np.arange(source.cells) * source.cell
    row = ink.any(2).argmax(1)[:, None] + each
    column = ink.any(1).argmax(1)[:, None] + each
    cells = ink[np.arange(len(ink))[:, None, None], row[:, :, None], column[:, None, :]]
    glyphs = find_glyphs(source.classes, source.cells, source.differ, source.seed)
    number = {glyph.tobytes(): label for label, glyph in enumerate(glyphs)}
    return np.array([number[cell.tobytes()] for cell in cells])


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_the_class_can_be_read_off_every_image_and_the_rest_is_label_noise(name):
    source = CONFIGS[name]
    pixels, labels = source.heldout().batch(np.arange(10_000))
    wrong = read_glyphs(source, pixels) != labels
    assert wrong.mean() == source.irreducible_error()
    assert source.irreducible_error() == source.label_noise


def test_twenty_thousand_training_images_are_read_without_an_error():
    source = Procedural()
    train, numbers = source.train(), np.arange(20_000)
    clean = train.clean_labels(numbers)
    np.testing.assert_array_equal(read_glyphs(source, train.batch(numbers)[0]), clean)


def test_the_seed_leaves_the_same_images_as_in_earlier_versions():
    assert fingerprint(Procedural().train()) == TRAIN
    assert fingerprint(Procedural().heldout()) == HELDOUT


TRAIN, HELDOUT = "4547a3733c4d6cd0", "56f459f32669b1a0"


def test_an_image_depends_on_its_number_and_not_on_its_neighbours():
    train = Procedural().train()
    numbers = np.array([999, 5, 10**12, 5, 1000])
    pixels, labels = train.batch(numbers)
    for number, image, label in zip(numbers, pixels, labels, strict=True):
        alone_image, alone_label = train.batch(np.array([number]))
        np.testing.assert_array_equal(alone_image[0], image)
        assert alone_label[0] == label


def test_no_two_images_are_equal_held_out_ones_included():
    source = Procedural(noise=8)
    sets = (source.train(), source.heldout(), Procedural(noise=8, seed=1).train())
    images = np.concatenate([images.batch(np.arange(5000))[0] for images in sets])
    assert len({image.tobytes() for image in images}) == 15_000


@pytest.mark.parametrize("tail", [0.0, 1.0, 1.5])
def test_classes_come_as_often_as_zipf_says(tail):
    source, n = Procedural(tail=tail), 40_000
    count = np.bincount(source.train().clean_labels(np.arange(n)), minlength=64)
    expected = (np.arange(64) + 1.0) ** -tail
    expected *= n / expected.sum()
    chi_square = ((count - expected) ** 2 / expected).sum()
    assert chi_square < 63 + 5 * np.sqrt(2 * 63)


def test_an_offset_makes_it_mandelbrots_distribution():
    weights = np.cumsum((np.arange(48) + 11.0) ** -3)
    found = class_limits(48, 3.0, 10.0) / 2**32
    np.testing.assert_allclose(found, (weights / weights[-1])[:-1], 1e-9)


def test_class_limits_are_the_cumulative_zipf_distribution():
    weights = np.cumsum((np.arange(64) + 1.0) ** -1.25)
    np.testing.assert_allclose(class_limits(64, 1.25) / 2**32, (weights / weights[-1])[:-1], 1e-9)


def test_a_wrong_label_is_any_other_equally_likely():
    source = Procedural(classes=5, label_noise=0.4)
    numbers = np.arange(50_000)
    shift = (source.train().batch(numbers)[1] - source.train().clean_labels(numbers)) % 5
    count = np.bincount(shift, minlength=5)
    assert count[0] == 30_000
    np.testing.assert_allclose(count[1:], 5000, atol=5 * np.sqrt(5000))


def test_every_thousand_images_hold_the_same_number_of_wrong_labels():
    train, numbers = Procedural(label_noise=0.123).train(), np.arange(20_000)
    wrong = train.batch(numbers)[1] != train.clean_labels(numbers)
    assert set(wrong.reshape(20, 1000).sum(1)) == {123}
    assert len({tuple(block) for block in wrong.reshape(20, 1000)}) == 20


def test_the_place_is_any_within_the_jitter():
    source = Procedural(noise=0, resolution=20, jitter=2)
    pixels, _ = source.train().batch(np.arange(3000))
    ink = (pixels != pixels[:, :1, :1]).any(-1)  # the corner is background: 5 > jitter
    corners = np.stack([ink.any(2).argmax(1), ink.any(1).argmax(1)], 1)
    places, count = np.unique(corners, axis=0, return_counts=True)
    assert places.tolist() == [[y, x] for y in range(3, 8) for x in range(3, 8)]
    np.testing.assert_allclose(count, 120, atol=5 * np.sqrt(120))


def test_noise_reaches_its_bound_each_way_and_never_passes_it():
    numbers = np.arange(50)
    quiet, _ = Procedural(noise=0).train().batch(numbers)
    ink = (quiet != quiet[:, :1, :1]).any(-1)
    noisy, _ = Procedural(noise=9).train().batch(numbers)
    parts = [image[part] for image, i in zip(noisy, ink, strict=True) for part in (i, ~i)]
    spread = np.array([np.ptp(part.astype(int), axis=0) for part in parts])  # [parts, channel]
    assert spread.max() == 2 * 9


@pytest.mark.parametrize(("classes", "cells", "differ"), [(64, 5, 4), (500, 7, 6), (20, 4, 2)])
def test_glyphs_are_mirrored_reach_all_edges_and_differ(classes, cells, differ):
    glyphs = find_glyphs(classes, cells, differ, seed=0)
    assert glyphs.shape == (classes, cells, cells)
    np.testing.assert_array_equal(glyphs, glyphs[:, :, ::-1])
    for edge in (glyphs[:, 0], glyphs[:, -1], glyphs[:, :, 0], glyphs[:, :, -1]):
        assert edge.any(1).all()
    assert (2 * glyphs.sum((1, 2)) < cells * cells).all()
    apart = (glyphs[:, None] != glyphs[None]).sum((2, 3))
    assert apart[~np.eye(classes, dtype=bool)].min() >= differ


def test_more_classes_keep_the_glyphs_there_were():
    np.testing.assert_array_equal(find_glyphs(64, 5, 4, 0)[:16], find_glyphs(16, 5, 4, 0))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"jitter": 4}, "5 cells of 2 pixels that move by 4 each way need 18 pixels"),
        ({"noise": 24}, "contrast=96 and noise=24"),
        ({"contrast": 250}, "contrast=250 and noise=16"),
        ({"label_noise": 0.12345}, "use 0.123"),
        ({"classes": 4, "label_noise": 0.75}, "stay below 0.75"),
        ({"differ": 12}, "lower `classes` or `differ`, or raise `cells`"),
        ({"clases": 10}, "clases"),
    ],
)
def test_what_cannot_be_drawn_or_read_is_refused_in_words(change, said):
    with pytest.raises(ValidationError, match=said):
        Procedural(**change)


def test_the_data_floor_loads_no_jax():
    code = "import sys, scaling.data, scaling.data.loader; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_finite_set_is_the_first_images_of_the_endless_one():
    endless, finite = Procedural(), Procedural(train_size=500)
    numbers = np.arange(490, 500)
    for one, other in zip(
        endless.train().batch(numbers), finite.train().batch(numbers), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert (endless.sizes()[0], finite.sizes()[0]) == (None, 500)
