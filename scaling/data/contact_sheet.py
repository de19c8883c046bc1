"""A contact sheet: what a source's images look like, a row a class, for a person to look at."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from scaling.data.augment import Augment, mixed, of_batches
from scaling.data.loader import loaded
from scaling.data.source import Images, sample

PAPER, INK = (255, 255, 255), (70, 70, 70)
MARGIN = 110  # pixels left of the images, for the label and its share
AT_ONCE = 1000  # images in memory, beside the examples


def contact_sheet(
    images: Images,
    path: Path | None = None,
    *,
    augment: Sequence[Augment] = (),
    seed: int = 0,
    rows: int = 16,
    columns: int = 16,
    scale: int = 3,
    looked_at: int = 10_000,
) -> NDArray[np.uint8]:
    """Draws a row for each class, the most frequent first, and writes it as PNG if told where.

    A row shows images with its label, right or wrong: one that does not belong is label noise.
    Beside it stand the label and its share of the images looked at.

    Args:
      augment: what is done to each image first, crops included; what mixes images mixes each with
        the one shown before it.
      seed: of the augmentations.
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
    members: dict[int, list[int]] = {}
    frequency = np.zeros(images.classes, int)
    for first in range(0, count, AT_ONCE):
        pixels, labels = images.batch(numbers[first : first + AT_ONCE])
        frequency += np.bincount(labels, minlength=images.classes)
        for number, image, label in zip(numbers[first:], pixels, labels, strict=False):
            if len(found := examples.setdefault(int(label), [])) < columns:
                found.append(image)
                members.setdefault(int(label), []).append(number)
    shown = sorted(examples, key=lambda label: (-frequency[label], label))[:rows]

    if augment:
        chosen = np.array([number for label in shown for number in members[label]])
        after = iter(_augmented(images, chosen, augment, seed))
        examples = {label: [next(after) for _ in examples[label]] for label in shown}

    tile = images.resolution * scale
    gap = max(2, tile // 12)
    size = (MARGIN + columns * (tile + gap), gap + len(shown) * (tile + gap))
    sheet = Image.new("RGB", size, PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for row, label in enumerate(shown):
        top = gap + row * (tile + gap)
        share = f"{frequency[label] / count:.1%}"
        draw.text((MARGIN - 70, top + tile // 2), str(label), INK, font, anchor="rm")
        draw.text((MARGIN - 12, top + tile // 2), share, INK, font, anchor="rm")
        for column, image in enumerate(examples[label]):
            picture = Image.fromarray(image).resize((tile, tile), Image.Resampling.NEAREST)
            sheet.paste(picture, (MARGIN + column * (tile + gap), top))
    if path is not None:
        sheet.save(path)
    return np.asarray(sheet)


def _augmented(
    images: Images, numbers: NDArray[np.int64], augment: Sequence[Augment], seed: int
) -> NDArray[np.uint8]:
    """These images as a run would see them, as if they were its first, in this order."""
    (pixels,), labels = loaded(images, numbers, augment, seed, np.arange(len(numbers)))
    if not of_batches(augment):
        return pixels
    import jax  # which a sheet without mixed images does without

    batch = mixed(augment, {"image": pixels, "label": labels}, jax.random.key(seed))
    return np.rint(np.asarray(batch["image"])).astype(np.uint8)
