"""What TFDS calls the data sets of the papers, and what is particular about each.

Seen in the source of tensorflow-datasets 4.9.10, with which a test compares it; a prepared data set
says its own sizes.
"""

from collections.abc import Iterable
from typing import NamedTuple

from fits.base.names import did_you_mean, near_names


class Known(NamedTuple):
    """One image data set of TFDS; its images are the feature `image`, its classes `label`."""

    name: str
    splits: tuple[str, ...]
    """Those with labels, the one to learn from first, then the one to measure on."""
    classes: int
    words: tuple[str, ...]
    """What people call it."""
    note: str = ""


KNOWN = (
    Known(
        "imagenet2012",
        ("train", "validation"),
        1000,
        ("imagenet", "imagenet1k", "imagenet-1k", "ilsvrc2012"),
        "its labels of the split `test` are withheld: measure on `validation`",
    ),
    Known("imagenet_v2", ("test",), 1000, ("imagenet-v2", "imagenetv2"), "only to measure on"),
    Known("imagenet_a", ("test",), 1000, ("imagenet-a",), "only to measure on"),
    Known("imagenet_r", ("test",), 1000, ("imagenet-r",), "only to measure on"),
    Known("cifar10", ("train", "test"), 10, ("cifar", "cifar-10")),
    Known(
        "cifar100",
        ("train", "test"),
        100,
        ("cifar-100",),
        "`coarse_label` has the 20 superclasses",
    ),
    Known("oxford_iiit_pet", ("train", "test"), 37, ("pets", "pet", "oxford_pets")),
    Known(
        "oxford_flowers102",
        ("train", "test", "validation"),
        102,
        ("flowers", "flowers102"),
        "`test` is larger than `train`",
    ),
    Known(
        "caltech101",
        ("train", "test"),
        102,
        ("caltech", "caltech-101"),
        "101 objects and a class of background",
    ),
    Known("caltech_birds2011", ("train", "test"), 200, ("birds", "cub", "cub200", "cub_200_2011")),
    Known("caltech_birds2010", ("train", "test"), 200, ()),
)
IMAGENET_21K = ("imagenet21k", "imagenet-21k", "imagenet22k", "imagenet_21k")


def hint(asked: str, prepared: Iterable[str]) -> str:
    """What `asked` may be a slip for, a sentence and a space; or nothing.

    A word that people use for a data set of TFDS, else a near name of one that is `prepared`, else
    a near name of one that TFDS has.
    """
    name = asked.partition(":")[0].partition("/")[0].lower()
    if name in IMAGENET_21K:
        return f"TFDS has no {asked!r}: make it of a folder train/<class>/. "
    words = {word: each for each in KNOWN for word in (each.name, *each.words)}
    if name not in words and (slip := did_you_mean(asked, prepared)):
        return slip
    near = near_names(name, words, most=1)
    if not near:
        return ""
    found = words[near[0]]
    note = f"; {found.note}" if found.note else ""
    return f"TFDS has {found.name!r}, with labels in {', '.join(found.splits)}{note}. "
