"""The contact sheet."""

import numpy as np
from PIL import Image

from scaling.data.arrays import InMemory
from scaling.data.augment import Flip, MixUp, RandomCrop
from scaling.data.contact_sheet import MARGIN, contact_sheet
from scaling.data.procedural import Procedural


def test_a_row_shows_enlarged_examples_of_its_class_the_most_frequent_first(tmp_path):
    images = Procedural(classes=6, label_noise=0).heldout()
    sheet = contact_sheet(images, tmp_path / "sheet.png", rows=3, columns=4, scale=2)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "sheet.png")), sheet)

    tile, gap = 32, 2
    assert sheet.shape == (gap + 3 * (tile + gap), MARGIN + 4 * (tile + gap), 3)
    pixels, labels = images.batch(np.arange(1000))
    for row in range(3):  # with this tail class 0 is the commonest, then 1, then 2
        top = gap + row * (tile + gap)
        for column, image in enumerate(pixels[labels == row][:4]):
            left = MARGIN + column * (tile + gap)
            shown = sheet[top : top + tile, left : left + tile]
            np.testing.assert_array_equal(shown, image.repeat(2, 0).repeat(2, 1))
        assert (sheet[top : top + tile, :MARGIN] < 255).any()  # the label and its share


def test_classes_that_come_one_after_another_are_all_shown():
    """Of 10 classes in order, the first 500 of 5000 images would show one."""
    labels = np.repeat(np.arange(10, dtype=np.int32), 500)
    images = InMemory(np.zeros((5000, 4, 4, 3), np.uint8), labels, 10)
    sheet = contact_sheet(images, rows=10, columns=2, scale=2, looked_at=500)
    assert sheet.shape[0] == 2 + 10 * (4 * 2 + 2)
    whole = contact_sheet(images, rows=10, columns=2, scale=2)
    assert whole.shape == sheet.shape


def tiles(sheet, rows, columns, side):
    gap = 2
    return [
        [
            sheet[gap + row * (side + gap) :, MARGIN + column * (side + gap) :][:side, :side]
            for column in range(columns)
        ]
        for row in range(rows)
    ]


def test_images_are_drawn_after_cropping_and_flipping():
    """Each is the square of its padded original that the crop drew, mirrored where the flip did."""
    images = Procedural(classes=4, label_noise=0).heldout()
    crop, flip = RandomCrop(padding=3), Flip()
    drawn = {"rows": 2, "columns": 5, "scale": 1}
    plain = tiles(contact_sheet(images, **drawn), 2, 5, 16)
    sheet = contact_sheet(images, augment=(crop, flip), seed=7, **drawn)
    shown = [tile for row in tiles(sheet, 2, 5, 16) for tile in row]
    places = np.arange(10)
    sizes = np.full((10, 2), 16)
    corners = crop.crops(sizes, side=16, seed=7, places=places).corner + 3
    flips = flip.flips(7, places)
    for tile, before, (y, x), flipped in zip(
        shown, [tile for row in plain for tile in row], corners, flips, strict=True
    ):
        square = np.pad(before, ((3, 3), (3, 3), (0, 0)))[y : y + 16, x : x + 16]
        np.testing.assert_array_equal(tile, square[:, ::-1] if flipped else square)


def test_mixed_images_are_drawn_mixed():
    images = InMemory(
        np.repeat(np.array([0, 200], np.uint8), 8 * 8 * 3).reshape(2, 8, 8, 3),
        np.arange(2, dtype=np.int32),
        2,
    )
    sheet = contact_sheet(images, augment=(MixUp(alpha=1.0),), seed=0, rows=2, columns=1, scale=1)
    (dark,), (light,) = tiles(sheet, 2, 1, 8)
    assert 0 < dark[0, 0, 0] < light[0, 0, 0] < 200
    assert (int(dark[0, 0, 0]) + int(light[0, 0, 0])) == 200
