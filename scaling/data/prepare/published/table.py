"""Data sets that are read as their authors publish them, by the name that TFDS gives them."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from scaling.data.prepare import imagenet
from scaling.data.prepare.published import (
    birds,
    caltech101,
    flowers,
    imagenet21k,
    imagenet_tests,
    pets,
)
from scaling.data.prepare.published.downloads import Downloads, Listed


class Published(NamedTuple):
    """One data set."""

    files: tuple[str, ...]
    """Published names; the archives among them may be unpacked as well."""
    signs: tuple[str, ...]
    """Files or folders one of which is there when anything of it is; none: always read so."""
    listed: Callable[[Downloads, list[str]], Listed]
    """From what is there and the names of the classes: the images of each split."""


V2 = {
    name: Published((file,), (), partial(imagenet_tests.of_v2, name))
    for name, file in imagenet_tests.V2.items()
}
PUBLISHED: dict[str, Published] = {
    **{
        each.NAME: Published(each.FILES, each.SIGNS, each.listed)
        for each in (flowers, pets, birds, caltech101)
    },
    "imagenet_v2": V2[imagenet_tests.DEFAULT],
    **{f"imagenet_v2/{name}": each for name, each in V2.items()},
    "imagenet_a": Published(("imagenet-a.tar",), (), imagenet_tests.of_a),
    "imagenet_r": Published(("imagenet-r.tar",), (), imagenet_tests.of_r),
}
IMAGENET_21K = imagenet21k.NAME
OTHERS: dict[str, tuple[str, ...]] = {
    "cifar10": ("cifar-10-binary.tar.gz",),
    "cifar100": ("cifar-100-binary.tar.gz",),
    "imagenet2012": (imagenet.TRAIN, imagenet.VALIDATION),
    IMAGENET_21K: ("nXXXXXXXX.tar",),
}
"""Published names of those that are read whatever they are to be called, and of ImageNet-21k."""


def published_as(file: str) -> list[str]:
    """The names of the data sets of which this is a published file."""
    files = {name: each.files for name, each in PUBLISHED.items()} | OTHERS
    return [name for name, each in files.items() if file in each]
