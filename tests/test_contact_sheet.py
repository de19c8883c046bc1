"""The contact sheet."""

import numpy as np
from PIL import Image

from scaling.data.arrays import InMemory
from scaling.data.contact_sheet import MARGIN, contact_sheet
from scaling.data.procedural.source import Procedural


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
