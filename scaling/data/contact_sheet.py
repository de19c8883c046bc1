"""A contact sheet: what a source's images look like, a row a class, for a person to look at."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from scaling.data.labels import NONE, as_rows
from scaling.data.source import Images, sample

PAPER, INK = (255, 255, 255), (70, 70, 70)
MARGIN = 110  # pixels left of the images, for the label and its share
AT_ONCE = 1000  # images in memory, beside the examples


def contact_sheet(
    images: Images,
    path: Path | None = None,
    *,
    rows: int = 16,
    columns: int = 16,
    scale: int = 3,
    looked_at: int = 10_000,
) -> NDArray[np.uint8]:
    """Draws a row for each class, the most frequent first, and writes it as PNG if told where.

    A row shows images with its label, right or wrong: one that does not belong is label noise. An
    image of several labels is in several rows, one of no label in the row "none".
    Beside it stand the label and its share of the images looked at.

    Args:
      rows: classes shown, at most.
      columns: examples of a class, at most.
      scale: pixels of the sheet for a pixel of an image.
      looked_at: size of the sample in which examples are found (`source.sample`).

    Returns:
      The sheet, uint8 [height, width, 3].
    """
    numbers = sample(images, looked_at)
    count = len(numbers)
    examples: dict[int, list[NDArray[np.uint8]]] = {}
    frequency = np.zeros(images.classes + 1, int)  # of `NONE`, then of each class
    for first in range(0, count, AT_ONCE):
        pixels, labels = images.batch(numbers[first : first + AT_ONCE])
        rows_of = as_rows(labels)
        there = rows_of > NONE
        there[:, 0] |= ~there.any(1)  # an image without a label is shown under none
        of_image, column = np.nonzero(there)
        found = rows_of[of_image, column]
        frequency += np.bincount(found + 1, minlength=images.classes + 1)
        for image, label in zip(pixels[of_image], found, strict=True):
            if len(drawn := examples.setdefault(int(label), [])) < columns:
                drawn.append(image)
    shown = sorted(examples, key=lambda label: (-frequency[label + 1], label))[:rows]

    tile = images.resolution * scale
    gap = max(2, tile // 12)
    size = (MARGIN + columns * (tile + gap), gap + len(shown) * (tile + gap))
    sheet = Image.new("RGB", size, PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for row, label in enumerate(shown):
        top = gap + row * (tile + gap)
        share = f"{frequency[label + 1] / count:.1%}"
        draw.text(
            (MARGIN - 70, top + tile // 2),
            "none" if label == NONE else str(label),
            INK,
            font,
            anchor="rm",
        )
        draw.text((MARGIN - 12, top + tile // 2), share, INK, font, anchor="rm")
        for place, image in enumerate(examples[label]):
            picture = Image.fromarray(image).resize((tile, tile), Image.Resampling.NEAREST)
            sheet.paste(picture, (MARGIN + place * (tile + gap), top))
    if path is not None:
        sheet.save(path)
    return np.asarray(sheet)
