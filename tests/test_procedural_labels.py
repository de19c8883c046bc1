"""Procedural images with several labels and a hierarchy: as described, and the best is known."""

import itertools

import numpy as np
import pytest
from pydantic import ValidationError

from scaling.data.procedural.labels import hierarchy
from scaling.data.procedural.source import Procedural

JFT = {
    "classes": 30,
    "parents": (6, 2),
    "label_noise": 0.2,
    "second_label": 0.26,
    "tail": 1.5,
    "differ": 2,
}
SMALL = {"classes": 11, "parents": (3, 2), "label_noise": 0.2, "second_label": 0.3, "tail": 1.0}


def listed(source, clean):
    """Every outcome of the labels of an image of glyph `clean`: (chance, set of classes)."""
    glyphs, level = source.glyphs, source.parents[0]
    table = hierarchy(glyphs, source.parents)

    def spread(right, of):
        wrong = source.label_noise / (of - 1)
        return {k: 1 - source.label_noise if k == right else wrong for k in range(of)}

    second = {glyphs + k: source.second_label * p for k, p in spread(clean % level, level).items()}
    second[None] = 1 - source.second_label
    for (a, p), (b, q) in itertools.product(spread(clean, glyphs).items(), second.items()):
        held = {a} if b is None else {a, b}
        if source.ancestors:
            held = {int(up) for each in held for up in table[each] if up >= 0}
        yield p * q, held


def best(source):
    """Least expected sigmoid loss, softmax loss and error, by listing every outcome."""
    shares = (np.arange(source.glyphs) + 1.0) ** -source.tail
    totals = np.zeros(3)
    for clean, share in enumerate(shares / shares.sum()):
        there, target = np.zeros(source.classes), np.zeros(source.classes)
        for chance, held in listed(source, clean):
            there[list(held)] += chance
            target[list(held)] += chance / len(held)
        inner, some = there[(there > 0) & (there < 1)], target[target > 0]
        sigmoid = -(inner * np.log(inner) + (1 - inner) * np.log(1 - inner)).sum()
        totals += share * np.array([sigmoid, -(some * np.log(some)).sum(), 1 - there.max()])
    return totals


@pytest.mark.parametrize("second", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("ancestors", [False, True])
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_the_best_error_and_loss_are_those_of_all_outcomes_listed(second, ancestors, noise):
    fields = SMALL | {"second_label": second, "label_noise": noise}
    source = Procedural(**fields, ancestors=ancestors)
    sigmoid, softmax, error = best(source)
    assert source.irreducible_error() == pytest.approx(error, abs=1e-8)
    assert source.irreducible_loss("sigmoid") == pytest.approx(sigmoid, rel=1e-7)
    if ancestors:
        assert source.irreducible_loss("softmax") is None
    else:
        assert source.irreducible_loss("softmax") == pytest.approx(softmax, rel=1e-7)


def test_the_best_losses_of_one_label_an_image_are_those_of_the_textbook():
    source = Procedural(classes=10, label_noise=0.1)
    right, wrong = 0.9, 0.1 / 9
    softmax = -right * np.log(right) - 9 * wrong * np.log(wrong)
    logistic = softmax - 0.1 * np.log(0.1) - 9 * (1 - wrong) * np.log(1 - wrong)
    assert source.irreducible_loss("softmax") == pytest.approx(softmax)
    assert source.irreducible_loss("sigmoid") == pytest.approx(logistic)


def test_labels_are_as_jft_300m_is_described():
    """1.26 labels an image, 20 % of them wrong, a hierarchy, a long tail."""
    source = Procedural(**JFT)
    images, numbers = source.train(), np.arange(20_000)
    clean, labels = images.clean_labels(numbers), images.labels_of(numbers)
    assert labels.shape == (20_000, source.labels_each)
    assert (labels >= 0).sum() / len(labels) == pytest.approx(1.26, abs=1e-12)
    assert (labels[:, 0] != clean).mean() == pytest.approx(0.2, abs=1e-12)
    has = labels[:, 1] >= 0
    assert (labels[has, 1] != source.glyphs + clean[has] % 6).mean() == pytest.approx(0.2, abs=0.02)
    assert labels[:, 0].max() < source.glyphs <= labels[has, 1].min()
    counts = np.bincount(clean, minlength=source.glyphs)
    assert counts[0] > 50 * counts[-1] > 0


def test_wrong_labels_are_any_of_the_others_and_draws_are_independent():
    source = Procedural(**SMALL | {"tail": 0.0})
    images, numbers = source.train(), np.arange(60_000)
    clean, labels = images.clean_labels(numbers), images.labels_of(numbers)
    one = clean == 2
    found = np.bincount(labels[one, 0], minlength=6) / one.sum()
    np.testing.assert_allclose(found, [0.04, 0.04, 0.8, 0.04, 0.04, 0.04], atol=0.012)
    wrong, there = labels[:, 0] != clean, labels[:, 1] >= 0
    wrong_too = labels[:, 1] != source.glyphs + clean % 3
    assert wrong[there].mean() == pytest.approx(0.2, abs=0.01)
    assert wrong[there & wrong_too].mean() == pytest.approx(0.2, abs=0.02)


def test_ancestors_are_added_to_whatever_labels_an_image_has():
    plain, filled = (Procedural(**JFT, ancestors=each) for each in (False, True))
    numbers = np.arange(2000)
    table = hierarchy(plain.glyphs, plain.parents)
    few, all_of_them = (each.heldout().labels_of(numbers) for each in (plain, filled))
    assert all_of_them.shape == (2000, filled.labels_each) == (2000, 6)
    for own, held in zip(few.tolist(), all_of_them.tolist(), strict=True):
        expected = {int(up) for x in own if x >= 0 for up in table[x] if up >= 0}
        assert {x for x in held if x >= 0} == expected
    few_pixels, pixels = (each.heldout().batch(numbers)[0] for each in (plain, filled))
    np.testing.assert_array_equal(few_pixels, pixels)


def test_pixels_and_first_labels_are_those_of_a_source_without_parents():
    """22 glyphs and 8 classes above them are the images of 22 classes."""
    single = Procedural(classes=22, label_noise=0.2, tail=1.5, differ=2).train()
    pixels, labels = Procedural(**JFT).train().batch(np.arange(500))
    expected, first = single.batch(np.arange(500))
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_array_equal(labels[:, 0], first)


def test_labels_alone_are_those_that_come_with_the_pixels():
    for source in (Procedural(), Procedural(**JFT, ancestors=True)):
        images, numbers = source.train(), np.array([5, 999, 10**12, 5])
        np.testing.assert_array_equal(images.labels_of(numbers), images.batch(numbers)[1])


def test_the_best_classifier_on_held_out_images_errs_as_often_as_it_must():
    source = Procedural(**JFT)
    images, numbers = source.heldout(), np.arange(10_000)
    clean, labels = images.clean_labels(numbers), images.labels_of(numbers)
    right = (labels == clean[:, None]).any(1)
    assert 1 - right.mean() == pytest.approx(source.irreducible_error(), abs=1e-12)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"classes": 7, "parents": (4, 2)}, "leave 1 glyphs; there must be 2"),
        ({"second_label": 0.2}, "second_label needs classes above the glyphs"),
        ({"ancestors": True}, "ancestors needs classes above the glyphs"),
        ({"parents": (1,), "second_label": 0.2}, "cannot be wrong where the level above"),
        ({"parents": (4,), "second_label": 0.2605}, "second_label=0.2605 is not a whole number"),
        ({"parents": (4, 0)}, "parents"),
    ],
)
def test_what_cannot_be_is_said_in_words(fields, said):
    with pytest.raises(ValidationError, match=said):
        Procedural(**fields)
