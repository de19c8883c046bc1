"""Captions of procedural images, read back and held against pixels; and images without labels."""

import colorsys
import re

import numpy as np
import pytest

from fits.base.errors import UserError
from scaling.data.around.hierarchy import Hierarchy
from scaling.data.around.part import Part
from scaling.data.around.subset import Selection, Subset
from scaling.data.contact_sheet import contact_sheet
from scaling.data.loader import batches
from scaling.data.procedural.captions import COLOURS, PLACES, Said, best_recall, places
from scaling.data.procedural.source import Procedural
from scaling.data.source import Captioned, captions
from scaling.objectives.byol import BYOL
from scaling.objectives.classify import Classify
from scaling.objectives.simclr import SimCLR

CLEAN = Procedural(noise=0, label_noise=0)
HUE = {"red": 0, "yellow": 1, "green": 2, "cyan": 3, "blue": 4, "magenta": 5}


def parts(caption):
    """Ink, class, paper and place of "a light red glyph 7 on dark blue at the top left"."""
    words = caption.split(" ")
    assert (words[0], words[3], words[5]) == ("a", "glyph", "on")
    return " ".join(words[1:3]), int(words[4]), " ".join(words[6:8]), " ".join(words[8:])


def test_a_caption_says_class_colours_and_place_as_words():
    said = Said(*(np.array([n]) for n in (7, COLOURS.index("light red"), 2, 0)))
    (caption,) = said.words(Procedural().class_names, class_alone=False)
    assert caption == "a light red glyph 7 on dark blue at the top left"
    assert Procedural().class_names[:2] == ["glyph 0", "glyph 1"]


def test_colours_and_places_of_captions_are_those_of_the_pixels():
    images, numbers = CLEAN.heldout(), np.arange(500)
    pixels, labels = images.batch(numbers)
    for image, label, caption in zip(pixels, labels, images.captions_of(numbers), strict=True):
        ink, glyph, paper, place = parts(caption)
        found, counts = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
        assert len(found) == 2  # no noise: two colours, the commoner is the paper
        seen = {"paper": found[counts.argmax()], "ink": found[counts.argmin()]}
        assert glyph == label
        assert ink.split()[0] != paper.split()[0]
        for name, words in (("ink", ink), ("paper", paper)):
            shade, hue = words.split()
            other = seen["paper" if name == "ink" else "ink"]
            assert (shade == "light") == (seen[name].sum() > other.sum())
            sixths = 6 * colorsys.rgb_to_hsv(*(seen[name] / 255))[0]
            assert abs((sixths - HUE[hue] + 3) % 6 - 3) <= 0.5 + 1e-9
        rows, columns = np.nonzero((image == seen["ink"]).all(-1))
        off = (rows.min() + rows.max() - 15) / 2, (columns.min() + columns.max() - 15) / 2
        expected = [
            "" if abs(by) < 1.5 else names[int(by > 0)]
            for by, names in zip(off, (("top", "bottom"), ("left", "right")), strict=True)
        ]
        where = " ".join(filter(None, expected))
        assert place == (f"at the {where}" if where else "in the middle")


@pytest.mark.parametrize(
    ("jitter", "expected"),
    [(0, [1]), (1, [0, 1, 2]), (2, [0, 0, 1, 2, 2]), (3, [0, 0, 1, 1, 1, 2, 2])],
)
def test_thirds_of_the_shifts_are_symmetric(jitter, expected):
    shifts = np.arange(-jitter, jitter + 1)
    assert places(0 * shifts, shifts, jitter).tolist() == [3 + k for k in expected]
    assert places(shifts, 0 * shifts, jitter).tolist() == [1 + 3 * k for k in expected]
    assert len(PLACES) == 9


def test_the_class_of_a_caption_is_the_first_label_and_so_wrong_at_its_rate():
    images, numbers = Procedural(label_noise=0.2).train(), np.arange(5000)
    named = np.array([parts(each)[1] for each in images.captions_of(numbers)])
    np.testing.assert_array_equal(named, images.labels_of(numbers))
    assert (named != images.clean_labels(numbers)).mean() == 0.2
    several = Procedural(classes=40, parents=(6, 2), second_label=0.3, ancestors=True)
    assert several.class_names[31:] == [
        "glyph 31", *(f"family {k}" for k in range(6)), *(f"family {k} of level 2" for k in (0, 1)),
    ]  # fmt: skip
    named = [parts(each)[1] for each in several.train().captions_of(np.arange(1000))]
    labels = several.train().labels_of(np.arange(1000))
    assert all(each in row for each, row in zip(named, labels, strict=True))


def test_a_caption_depends_on_the_number_of_its_image_alone():
    images, numbers = Procedural().train(), np.array([999, 5, 10**12, 5])
    together = images.captions_of(numbers)
    assert together == [images.captions_of(numbers[k : k + 1])[0] for k in range(4)]
    assert together[1] == together[3]


def test_sources_around_it_hand_captions_and_names_on(tmp_path):
    source, numbers = Procedural(classes=8, heldout_size=2000), np.arange(50)
    parents = tmp_path / "parents.txt"
    parents.write_text("0 1\n")
    few = Subset(of=source, select=Selection(classes=3, seed=1))
    for around in (
        Subset(of=source, select=Selection(label_noise=0.5)),
        Hierarchy(of=source, parents=parents),
        Part(of=source, images=1000, validation=100),
    ):
        assert around.captioned
        assert around.class_names == source.class_names
        assert around.train().captions_of(numbers) == source.train().captions_of(numbers)
    named = [parts(each)[1] for each in few.heldout().captions_of(numbers)]
    labels = few.heldout().labels_of(numbers)
    assert [few.class_names[label] for label in labels] == [f"glyph {k}" for k in named]
    longer = Hierarchy(of=source, parents=parents, all_classes=9)
    assert longer.class_names is None


def test_images_without_captions_are_refused_in_words_below_a_subset_too():
    from scaling.data.arrays import Digits

    below = Subset(of=Digits(), select=Selection(classes=3))
    assert not below.captioned
    for images in (Digits().train(), below.train()):
        with pytest.raises(UserError, match="have no captions"):
            captions(images, np.arange(3))
    assert isinstance(Procedural().train(), Captioned)
    assert not isinstance(Digits().train(), Captioned)


def by_hand(drawn, said, shares, noise, most):
    """Every image against every caption, and a simulation of the ties."""
    n, glyphs, rng = len(drawn), len(shares), np.random.default_rng(0)
    label = lambda l, x: 1 - noise if l == x else noise / (glyphs - 1)  # noqa: E731, E741
    chance = np.array([
        [
            label(said.label[j], drawn[i])
            * (said.ink[i] == said.ink[j] and said.paper[i] == said.paper[j]
               and said.place[i] == said.place[j])
            for j in range(n)
        ]
        for i in range(n)
    ])  # fmt: skip
    marginal = np.array([sum(s * label(k, x) for x, s in enumerate(shares)) for k in said.label])
    found = []
    for scores in (chance / marginal, chance.T):
        hits = 0
        for _ in range(400):
            order = np.argsort(-(scores + 1e-9 * rng.random((n, n))), axis=1)[:, :most]
            hits += (order == np.arange(n)[:, None]).any(1).mean()
        found.append(hits / 400)
    return found


@pytest.mark.parametrize("most", [1, 3])
def test_the_best_recall_is_that_of_all_pairs_compared_one_by_one(most):
    rng = np.random.default_rng(1)
    shares, n = np.array([0.6, 0.3, 0.1]), 40
    drawn = rng.choice(3, n, p=shares).astype(np.int32)
    label = np.where(rng.random(n) < 0.3, (drawn + rng.integers(1, 3, n)) % 3, drawn)
    said = Said(label.astype(np.int64), *(rng.integers(0, 2, n) for _ in range(3)))
    found = best_recall(drawn, said, shares, 0.3, most)
    assert found == pytest.approx(by_hand(drawn, said, shares, 0.3, most), abs=0.02)


def test_without_wrong_labels_only_equal_captions_are_confused():
    source = Procedural(label_noise=0, heldout_size=1000)
    said = source.heldout().captions_of(np.arange(300))
    expected = np.mean([1 / said.count(each) for each in said])
    assert source.irreducible_recall(300, 1) == pytest.approx((expected, expected))
    assert source.irreducible_recall(300, 300) == (1, 1)
    noisy = Procedural(label_noise=0.1, heldout_size=1000)
    assert max(noisy.irreducible_recall(300, 1)) < expected


def test_captions_of_the_class_alone_are_those_of_the_full_ones_without_colours_and_place():
    full, alone = Procedural(), Procedural(caption="class")
    numbers = np.arange(50)
    images = [source.train().batch(numbers)[0] for source in (full, alone)]
    assert np.array_equal(*images)
    said = alone.train().captions_of(numbers)
    assert said == [
        "a " + re.search(r"glyph \d+", each)[0] for each in full.train().captions_of(numbers)
    ]


def test_where_captions_name_the_class_alone_the_best_recall_is_that_of_guessing_within_a_class():
    source = Procedural(classes=4, tail=0, label_noise=0, caption="class", heldout_size=400)
    counts = np.bincount(source.heldout().clean_labels(np.arange(400)))
    expected = 4 / 400  # of each class 1 / count of its images are found, and the classes are 4
    assert len(counts) == 4
    assert source.irreducible_recall(400, 1) == pytest.approx((expected, expected))


def test_unlabelled_images_are_the_same_images_and_captions_and_held_out_ones_keep_labels():
    known, hidden = Procedural(), Procedural(unlabelled=True)
    numbers = np.arange(100)
    np.testing.assert_array_equal(*(s.train().batch(numbers)[0] for s in (known, hidden)))
    assert (hidden.train().batch(numbers)[1] == -1).all()
    assert (hidden.train().labels_of(numbers) == -1).all()
    assert hidden.train().captions_of(numbers) == known.train().captions_of(numbers)
    np.testing.assert_array_equal(*(s.heldout().labels_of(numbers) for s in (known, hidden)))
    several = Procedural(unlabelled=True, classes=40, parents=(4,))
    assert several.train().labels_of(numbers).tolist() == [[-1, -1]] * 100


def test_an_objective_that_needs_labels_and_a_subset_by_class_refuse_unlabelled_images():
    from objective_cases import small

    hidden = Procedural(classes=4, unlabelled=True)
    for objective in (SimCLR(), BYOL()):
        assert small(data=hidden, objective=objective).data.unlabelled
    with pytest.raises(ValueError, match=r"training images of \[data\] have none"):
        small(data=hidden, objective=Classify())
    subset = Subset(of=hidden, select=Selection(classes=2))
    assert "no labels to choose classes by" in subset.problem()
    noisy = Subset(of=hidden, select=Selection(label_noise=0.5))
    assert (noisy.train().labels_of(np.arange(9)) == -1).all()


def test_label_free_objectives_are_given_the_same_images_with_and_without_labels():
    seen = [
        next(iter(batches(
            Procedural(unlabelled=hidden).train(), seed=1, batch=8, data_size=64, first_step=3,
            last_step=4, views=2,
        )))
        for hidden in (False, True)
    ]  # fmt: skip
    np.testing.assert_array_equal(seen[0]["image"], seen[1]["image"])
    assert (seen[1]["label"] == -1).all()


def test_a_contact_sheet_shows_images_without_labels_in_a_row_of_their_own():
    sheet = contact_sheet(Procedural(unlabelled=True).train(), columns=3, scale=1, looked_at=100)
    assert sheet.shape == (2 + 18, 110 + 3 * 18, 3)
