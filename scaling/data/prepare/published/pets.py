"""Oxford-IIIT Pet: images.tar.gz and annotations.tar.gz, as TFDS reads them.

Source: tensorflow-datasets 4.9.10, datasets/oxford_iiit_pet.
"""

from functools import partial

from fits.base.errors import all_of
from scaling.data.prepare.published.downloads import Downloads, Listed, item, number

NAME = "oxford_iiit_pet"
IMAGES, ANNOTATIONS = "images.tar.gz", "annotations.tar.gz"
FILES = (IMAGES, ANNOTATIONS)
SIGNS = (*FILES, "annotations", "trainval.txt")
LISTS = {"train": "trainval.txt", "test": "test.txt"}


def listed(found: Downloads, classes: list[str]) -> Listed:
    *read, _ = all_of(
        *(partial(_labels, found, file, len(classes)) for file in LISTS.values()),
        lambda: found.refuse_without(IMAGES, "images"),
    )
    images = found.images(IMAGES, "images", (name for each in read for name in each))
    return classes, {
        split: [item(label, images[name]) for name, label in each.items()]
        for split, each in zip(LISTS, read, strict=True)
    }


def _labels(found: Downloads, file: str, classes: int) -> dict[str, int]:
    lines = found.lines(file, ANNOTATIONS, fields=4)
    return {f"{each[0]}.jpg": number(where, each[1], classes) - 1 for where, each in lines}
