"""Colour jitter, grey, blur and solarise against transcriptions, and the presets made of them."""

import colorsys

import numpy as np
import pytest
from scipy import ndimage
from test_augment import photo

from fits.base.errors import UserError
from scaling.data.arrays import Digits
from scaling.data.augment import (
    Blur,
    BYOLViews,
    ColourJitter,
    Flip,
    Grey,
    InceptionCrop,
    MixUp,
    ResizedCrop,
    SimCLRViews,
    Solarise,
    spelled_out,
    views_problem,
)
from scaling.data.augment.blur import blurred
from scaling.data.augment.colour_jitter import contrasted, saturated, turned
from scaling.data.loader import batches
from scaling.data_seen import Seen
from scaling.objectives.byol import BYOL
from scaling.study.parse import read_study
from scaling.training.recipe import Recipe
from scaling.training.run import Run

PLACES = np.arange(4000, dtype=np.int64)
ALWAYS = [
    ColourJitter(probability=1.0),
    ColourJitter(probability=1.0, brightness_by="scaling", strength=2.0),
    Grey(probability=1.0),
    Blur(probability=1.0, sigma_min=0.5),
    Solarise(probability=1.0),
]


def photos(count, side=24):
    return np.stack([photo(side, seed) for seed in range(count)])


def planes(images):
    """[3, n, pixels], as colour jitter has them."""
    return np.moveaxis(images.astype(np.float32), -1, 0).reshape(3, len(images), -1)


def as_images(found, like):
    return np.moveaxis(found.reshape(3, *like.shape[:-1]), 0, -1)


def by_colorsys(image, change):
    """Each pixel by itself, through the standard library's HSV."""
    pixels = [
        colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*pixel)))
        for pixel in image.reshape(-1, 3) / 255
    ]
    return 255 * np.array(pixels).reshape(image.shape)


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.8, 50.0])
def test_saturation_is_that_of_hsv_times_the_factor(factor):
    images = photos(2, 8)
    images[0, 0, 0], images[0, 0, 1], images[0, 0, 2] = 0, 255, (90, 90, 90)
    found = as_images(saturated(planes(images), np.full((2, 1), factor, np.float32)), images)
    for image, each in zip(images, found, strict=True):
        expected = by_colorsys(image, lambda h, s, v: (h, min(s * factor, 1), v))
        np.testing.assert_allclose(each, expected, atol=2e-3)


@pytest.mark.parametrize("turns", [-0.5, -0.1, 0.0, 0.2, 1 / 3])
def test_hue_is_that_of_hsv_turned(turns):
    images = photos(2, 8)
    images[0, 0, 0], images[0, 0, 1], images[0, 0, 2] = 0, 255, (200, 10, 200)
    found = as_images(turned(planes(images), np.full((2, 1), turns, np.float32)), images)
    for image, each in zip(images, found, strict=True):
        expected = by_colorsys(image, lambda h, s, v: ((h + turns) % 1, s, v))
        np.testing.assert_allclose(each, expected, atol=2e-3)


def test_a_third_of_a_turn_makes_red_green_green_blue_and_blue_red():
    image = photo(8)[None]
    found = turned(planes(image), np.array([[1 / 3]], np.float32))
    np.testing.assert_allclose(found, planes(image)[[2, 0, 1]], atol=2e-3)


def test_contrast_turns_about_the_mean_of_each_channel_of_each_image():
    images = photos(3)
    factor = np.array([[0.0], [0.5], [1.7]], np.float32)
    found = as_images(contrasted(planes(images), factor), images)
    for image, by, each in zip(images, factor[:, 0], found, strict=True):
        mean = image.mean((0, 1), dtype=float)
        np.testing.assert_allclose(each, mean + by * (image - mean), atol=1e-2)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("adding", lambda image, d: image + 255 * d),
        ("scaling", lambda image, d: image * max(1 + d, 0)),
    ],
)
def test_brightness_alone_is_added_or_a_factor_as_drawn(by, expected):
    jitter = ColourJitter(
        brightness=0.8, contrast=0, saturation=0, hue=0, brightness_by=by, strength=1.5,
        probability=1.0,
    )  # fmt: skip
    images = photos(20)
    found = jitter.apply(images, seed=3, places=PLACES[:20])
    delta = jitter._drawn((3, 41, 0), PLACES[:20])[0]
    assert -1.2 <= delta.min() < -0.6 < 0.6 < delta.max() <= 1.2
    for image, d, each in zip(images, delta, found, strict=True):
        wanted = np.clip(expected(image.astype(float), float(d)), 0, 255)
        assert np.abs(each - wanted).max() <= 0.5 + 1e-3  # a byte is the nearest


def test_the_four_changes_come_in_every_order_and_are_clipped_after_each():
    """One image under the same draws but for the order, against the changes made one by one."""
    jitter = ColourJitter(probability=1.0, strength=2.0)
    image, count = photo(16), 200
    found = jitter.apply(np.stack([image] * count), seed=0, places=PLACES[:count])
    drawn, orders = jitter._drawn((0, 41, 0), PLACES[:count]), set()
    for row in range(count):
        for order in ORDERS:
            x = planes(image[None])
            for which in order:
                by = drawn[which, row].reshape(1, 1)
                step = (lambda x, d: x + 255 * d, contrasted, saturated, turned)[which]
                x = np.clip(step(x, by), 0, 255)
            if (np.rint(as_images(x, image[None])[0]) == found[row]).all():
                orders.add(order)
                break
        else:
            raise AssertionError(row)
    assert len(orders) == 18  # of 24: in 12, saturation and hue follow each other and commute


ORDERS = [(a, b, c, 6 - a - b - c) for a in range(4) for b in range(4) for c in range(4)
          if len({a, b, c}) == 3]  # fmt: skip


def test_grey_is_the_luminance_in_all_channels():
    image = photo()
    found = Grey(probability=1.0).apply(image[None], seed=0, places=PLACES[:1])[0]
    expected = image.astype(float) @ [0.2989, 0.587, 0.114]
    assert np.abs(found - expected[..., None]).max() <= 0.5 + 1e-3
    assert (found[..., 0] == found[..., 2]).all()


@pytest.mark.parametrize(("side", "radius"), [(224, 11), (64, 3), (20, 1), (19, 0)])
def test_blur_is_a_gaussian_over_a_tenth_of_the_side_and_black_beyond(side, radius):
    image, sigma = photo(side).astype(np.float32), np.array([1.3])
    found = blurred(image[None], sigma)[0]
    away = np.arange(-radius, radius + 1)
    kernel = np.exp(-(away**2) / (2 * 1.3**2))
    kernel /= kernel.sum()
    expected = image
    for axis in (0, 1):
        expected = ndimage.correlate1d(expected, kernel, axis=axis, mode="constant")
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_the_width_of_a_blur_is_uniform_between_its_ends():
    spike = np.zeros((400, 41, 41, 3), np.uint8)
    spike[:, 20, 20] = 255
    blur = Blur(probability=1.0, sigma_min=0.5, sigma_max=1.0)
    peak = blur.apply(spike, seed=0, places=PLACES[:400])[:, 20, 20, 0] / 255
    away = np.arange(-2, 3)
    centre = lambda sigma: (1 / np.exp(-(away**2) / (2 * sigma**2)).sum()) ** 2  # noqa: E731
    assert centre(1.0) - 0.01 < peak.min() < centre(0.95) < centre(0.55) < peak.max()
    assert 0.4 < (peak < centre(0.75)).mean() < 0.6


def test_solarise_inverts_from_its_threshold_on():
    image = photo()
    found = Solarise(probability=1.0, threshold=100).apply(image[None], seed=0, places=PLACES[:1])
    np.testing.assert_array_equal(found[0], np.where(image < 100, image, 255 - image))
    at = np.array([127, 128], np.uint8).reshape(1, 1, 2, 1).repeat(3, -1)
    found = Solarise(probability=1.0).apply(at, seed=0, places=PLACES[:1])
    assert found[0, 0, :, 0].tolist() == [127, 127]


@pytest.mark.parametrize("kind", [ColourJitter, Grey, Blur, Solarise])
@pytest.mark.parametrize(("view", "expected"), [(0, 0.3), (1, 0.0), (2, 1.0)])
def test_as_many_images_are_changed_as_the_probability_of_their_view_says(kind, view, expected):
    """Within four standard deviations, which are 0 at 0 and at 1."""
    images = np.broadcast_to(photo(20), (2000, 20, 20, 3)).copy()
    done = kind(probability=(0.3, 0.0, 1.0)).apply(images, seed=5, places=PLACES[:2000], view=view)
    share = (done != images).any((1, 2, 3)).mean()
    # of blurs, those below a standard deviation of a third of a pixel change no byte
    low = 0.85 * expected if kind is Blur else expected
    away = 4 * np.sqrt(expected * (1 - expected) / 2000)
    assert low - away <= share <= expected + away


def test_which_images_are_grey_says_nothing_about_which_are_solarised_and_views_are_apart():
    images = np.broadcast_to(photo(8), (4000, 8, 8, 3)).copy()

    def chosen(augment, view=0):
        return (augment.apply(images, seed=0, places=PLACES, view=view) != images).any((1, 2, 3))

    grey, solarised = chosen(Grey(probability=0.5)), chosen(Solarise(probability=0.5))
    for other in (solarised, chosen(Grey(probability=0.5), view=1)):
        assert 0.46 < (grey == other).mean() < 0.54


@pytest.mark.parametrize("augment", ALWAYS, ids=lambda each: each.kind)
@pytest.mark.parametrize("side", [24, 300])
def test_an_image_is_changed_alike_wherever_its_row_is_and_otherwise_with_another_seed_or_view(
    augment, side
):
    """Also where a few images at a time are worked on: 300 x 300 are one at a time."""
    images, rows = photos(6, side), PLACES[100:106]
    before = images.copy()
    whole = augment.apply(images, seed=1, places=rows)
    np.testing.assert_array_equal(images, before)
    assert (whole.dtype, whole.shape) == (np.uint8, images.shape)
    for half in range(2):
        alone = augment.apply(images[half::2], seed=1, places=rows[half::2])
        np.testing.assert_array_equal(whole[half::2], alone)
    for row in range(6):
        alone = augment.apply(images[row : row + 1], seed=1, places=rows[row : row + 1])
        np.testing.assert_array_equal(whole[row], alone[0])
    if isinstance(augment, Grey | Solarise):
        return  # nothing but which images is random
    for other in ({"seed": 2, "places": rows}, {"seed": 1, "places": rows, "view": 1}):
        assert not np.array_equal(augment.apply(images, **other), whole)


def test_the_presets_are_what_the_published_code_does():
    crop = InceptionCrop(area_min=0.08, aspect_min=3 / 4, aspect_max=4 / 3)
    assert spelled_out((BYOLViews(),)) == (
        ResizedCrop(area_min=0.08, area_max=1.0, aspect_max=4 / 3),
        Flip(),
        ColourJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, probability=0.8),
        Grey(probability=0.2),
        Blur(sigma_min=0.1, sigma_max=2.0, probability=(1.0, 0.1)),
        Solarise(threshold=128, probability=(0.0, 0.2)),
    )
    jitter = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
    cifar = SimCLRViews(strength=0.5, blur=0)
    assert spelled_out((cifar, MixUp())) == (
        crop,
        Flip(),
        ColourJitter(**jitter, strength=0.5, brightness_by="scaling", probability=0.8),
        Grey(probability=0.2),
        MixUp(),
    )
    assert spelled_out((SimCLRViews(area_min=1, strength=0),)) == (
        Flip(),
        Grey(probability=0.2),
        Blur(probability=0.5),
    )


def run(*augment, **changes):
    from models.zoo import vit

    recipe = Recipe(warmup_steps=0)
    fields = {"recipe": recipe, "images_seen": 64, "batch": 8, "augment": augment, **changes}
    return Run(model=vit("mu/4", 16), data=Digits(), **fields)


def test_a_preset_and_what_it_stands_for_are_the_same_run():
    preset = run(BYOLViews(), objective=BYOL())
    assert preset.id == run(*spelled_out((BYOLViews(),)), objective=BYOL()).id
    assert Run.model_validate_json(preset.model_dump_json()) == preset


def test_what_a_run_is_shown_has_both_views_of_an_image_beside_each_other():
    of_byol = run(BYOLViews(blur=0), objective=BYOL())
    seen, _ = Seen(of_byol, 16).batch(np.arange(16))
    (batch,) = batches(
        of_byol.data.train(), seed=0, batch=8, data_size=None, first_step=0, last_step=1,
        augment=of_byol.augment, views=2,
    )  # fmt: skip
    np.testing.assert_array_equal(seen[0::2], batch["image"][0])
    np.testing.assert_array_equal(seen[1::2], batch["image"][1])
    assert (batch["image"][0] != batch["image"][1]).any((1, 2, 3)).all()


def test_fewer_probabilities_than_views_are_refused_in_words():
    blur = Blur(probability=(0.5, 0.1))
    words = r"blur has probability=[0.5, 0.1], one number a view, and the objective has 3 views"
    assert words in views_problem((Flip(), blur), 3)
    for views in (1, 2):  # a lone view is the first
        assert views_problem((Flip(), blur, Grey(probability=0.3), BYOLViews()), views) is None


def test_a_study_gives_one_probability_or_one_a_view(tmp_path):
    study = tmp_path / "views.toml"
    for given, expected in (("[0.5, 0.1]", (0.5, 0.1)), ("0.25", (0.25,)), ("[1]", (1.0,))):
        study.write_text(STUDY.replace("HERE", given))
        assert read_study(study).runs[0].augment == (Blur(probability=expected),)
    for given in ("2", "[0.5, 2]"):
        study.write_text(STUDY.replace("HERE", given))
        with pytest.raises(UserError, match="2 is not a number >= 0 and <= 1"):
            read_study(study)
    study.write_text(STUDY.replace("HERE", "[]"))
    with pytest.raises(UserError, match="is an empty list"):
        read_study(study)


STUDY = """\
name = "views"
question = "Does it read?"

[data]
kind = "digits"

[objective]
kind = "byol"

[recipe]
warmup_steps = 0
cooldown_steps = 1

[[evaluate]]
kind = "knn"
name = "digits"
data = { kind = "digits" }

[[grid]]
model = ["mu/4"]
images_seen = [128]
batch = 64
augment = [{ kind = "blur", probability = HERE }]
"""
