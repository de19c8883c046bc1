"""RandAugment's operations against Pillow and by hand, and what it draws."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from scaling.data.arrays import Digits
from scaling.data.augment import AugReg, Flip, MixUp, RandAugment, spelled_out
from scaling.data.augment.augreg import SETTINGS
from scaling.data.augment.operations import CONTRAST_GREY, FILL, OPERATIONS, Draw
from scaling.training.recipe import Recipe
from scaling.training.run import Run

NAMES = tuple(OPERATIONS)
UP, DOWN = Draw(1, 0.5, 0.25), Draw(-1, 0.5, 0.25)


def photo(side=32, seed=0):
    """Uneven colours with some structure, so that no operation is without effect."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    bands = np.stack([40 + 160 * x, 220 * y**2, 90 + 60 * x * y], -1)
    return np.clip(bands + rng.integers(-20, 20, (side, side, 3)), 5, 230).astype(np.uint8)


def done(name, level, draw=UP, side=32):
    return OPERATIONS[name](photo(side), level, draw)


def pillow(function, *arguments, side=32):
    return np.asarray(function(Image.fromarray(photo(side)), *arguments))


@pytest.mark.parametrize(
    ("name", "level", "function", "argument"),
    [
        ("Equalize", 1.0, ImageOps.equalize, ()),
        ("Invert", 1.0, ImageOps.invert, ()),
        ("Posterize", 0.5, ImageOps.posterize, (2,)),
        ("Posterize", 1.5, ImageOps.posterize, (6,)),
        ("Solarize", 0.5, ImageOps.solarize, (128,)),
    ],
)
def test_operations_on_levels_are_pillows(name, level, function, argument):
    np.testing.assert_array_equal(done(name, level), pillow(function, *argument))


def test_autocontrast_is_pillows_but_for_rounding():
    ours = done("AutoContrast", 1.0).astype(int)
    assert np.abs(ours - pillow(ImageOps.autocontrast)).max() <= 1
    assert (ours.min(), ours.max()) == (0, 255)


@pytest.mark.parametrize(
    ("name", "enhance", "off"),
    [
        ("Brightness", ImageEnhance.Brightness, 1),
        ("Color", ImageEnhance.Color, 2),
        ("Sharpness", ImageEnhance.Sharpness, 2),
    ],
)
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0, 1.5])
def test_enhancements_are_pillows_with_a_factor_that_grows_with_the_level(
    name, enhance, off, level
):
    """Up to rounding of the degenerate image, which the factor multiplies."""
    factor = 1.8 * level + 0.1
    expected = np.asarray(enhance(Image.fromarray(photo())).enhance(factor)).astype(int)
    difference = np.abs(done(name, level).astype(int) - expected)
    assert difference.max() <= off * max(1, factor)


def test_contrast_turns_about_the_grey_that_tensorflow_takes_for_the_mean():
    assert CONTRAST_GREY == 196
    image = photo().astype(np.float32)
    expected = np.clip(196 + np.float32(1.9) * (image - 196), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(done("Contrast", 1.0), expected)


def test_solarize_add_brightens_what_is_dark():
    image = photo().astype(int)
    expected = np.where(image < 128, np.minimum(image + 55, 255), image)
    np.testing.assert_array_equal(done("SolarizeAdd", 0.5), expected)


def test_a_rotation_of_three_levels_is_a_quarter_turn_either_way():
    np.testing.assert_array_equal(done("Rotate", 3.0, UP), np.rot90(photo(), 1))
    np.testing.assert_array_equal(done("Rotate", 3.0, DOWN), np.rot90(photo(), -1))


def test_a_translation_moves_by_100_of_224_pixels_and_leaves_grey():
    side = 112  # 50 pixels at level 1
    moved, image = done("TranslateX", 1.0, side=side), photo(side)
    np.testing.assert_array_equal(moved[:, :62], image[:, 50:])
    assert (moved[:, 62:] == FILL).all()
    moved = done("TranslateY", 1.0, DOWN, side=side)
    np.testing.assert_array_equal(moved[50:], image[:62])
    assert (moved[:50] == FILL).all()


def test_a_shear_moves_each_row_by_three_tenths_of_its_number():
    image, sheared = photo(), done("ShearX", 1.0)
    for row in (0, 10, 30):
        shift = round(0.3 * row)
        np.testing.assert_array_equal(sheared[row, : 32 - shift], image[row, shift:])
        assert (sheared[row, 32 - shift :] == FILL).all()
    turned = OPERATIONS["ShearY"](np.swapaxes(image, 0, 1), 1.0, UP)
    np.testing.assert_array_equal(np.swapaxes(turned, 0, 1), sheared)


def test_cutout_greys_a_square_of_80_of_224_pixels():
    side = 112
    cut, image = done("Cutout", 1.0, side=side), photo(side)
    grey = (cut == FILL).all(-1)
    assert grey[36:76, 8:48].all()  # 40 pixels about (56, 28)
    outside = np.ones((side, side), bool)
    outside[36:76, 8:48] = False
    np.testing.assert_array_equal(cut[outside], image[outside])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [0.0, 1.0, 3.0])
def test_every_operation_gives_bytes_of_the_same_shape_and_leaves_its_image_alone(name, level):
    for image in (photo(), np.full((8, 8, 3), 77, np.uint8), photo(2)):
        before = image.copy()
        after = OPERATIONS[name](image, level, DOWN)
        assert (after.dtype, after.shape) == (np.uint8, image.shape)
        np.testing.assert_array_equal(image, before)


PLACES = np.arange(4000, dtype=np.int64)


def test_sixteen_operations_are_drawn_with_equal_chance_and_layers_apart():
    first, draws = RandAugment().draws(3, PLACES, 0, 0)
    second, _ = RandAugment().draws(3, PLACES, 0, 1)
    counts = [first.count(name) for name in NAMES]
    assert len(NAMES) == 16
    assert 190 < min(counts) <= max(counts) < 310  # 250 is expected, 15 the standard deviation
    assert 190 < sum(a == b for a, b in zip(first, second, strict=True)) < 310
    assert 0.47 < np.mean([draw.sign == 1 for draw in draws]) < 0.53
    assert 0.47 < np.mean([draw.y for draw in draws]) < 0.53


def test_an_image_is_augmented_alike_wherever_its_row_is_and_otherwise_with_another_seed_or_view():
    images = np.stack([photo(16, seed) for seed in range(12)])
    augment, rows = RandAugment(layers=2, magnitude=10), PLACES[:12]
    whole = augment.apply(images, seed=1, places=rows)
    halves = [augment.apply(images[h::2], seed=1, places=rows[h::2]) for h in range(2)]
    np.testing.assert_array_equal(whole[0::2], halves[0])
    np.testing.assert_array_equal(whole[1::2], halves[1])
    for other in ({"seed": 2, "places": rows}, {"seed": 1, "places": rows, "view": 1}):
        assert not np.array_equal(augment.apply(images, **other), whole)


def test_magnitude_0_is_not_nothing():
    images = np.stack([photo(16, seed) for seed in range(32)])
    shown = RandAugment(layers=2, magnitude=0).apply(images, seed=0, places=PLACES[:32])
    changed = (shown != images).any((1, 2, 3))
    assert 16 < changed.sum() < 32


def test_the_settings_of_augreg_are_those_of_the_paper():
    assert SETTINGS == {
        "none": (0, 0, 0),
        "light1": (2, 0, 0),
        "light2": (2, 10, 0.2),
        "medium1": (2, 15, 0.2),
        "medium2": (2, 15, 0.5),
        "strong1": (2, 20, 0.5),
        "strong2": (2, 20, 0.8),
    }
    assert AugReg(setting="none").parts() == ()
    assert AugReg(setting="light1").parts() == (RandAugment(layers=2, magnitude=0),)
    strong2 = (RandAugment(layers=2, magnitude=20), MixUp(alpha=0.8))
    assert AugReg(setting="strong2").parts() == strong2
    assert spelled_out((Flip(), AugReg(setting="strong2"))) == (Flip(), *strong2)


def test_a_setting_and_what_it_stands_for_are_the_same_run():
    from models.zoo import vit

    def run(*augment):
        recipe = Recipe(warmup_steps=0)
        model = vit("mu/4", 16)
        return Run(
            model=model, data=Digits(), recipe=recipe, images_seen=64, batch=8, augment=augment
        )

    preset = run(Flip(), AugReg(setting="light2"))
    assert preset.augment == (Flip(), RandAugment(magnitude=10), MixUp(alpha=0.2))
    assert preset.id == run(*preset.augment).id
    assert run(AugReg(setting="none")).id == run().id
    assert Run.model_validate_json(preset.model_dump_json()) == preset
