"""Sets to measure on what was trained on ImageNet: ImageNet-V2, -A and -R, a folder a class.

All have one split, `test`, and the classes and numbers of ImageNet 2012. In ImageNet-V2 a folder is
called by the number, in the others by the WordNet id.

Source: tensorflow-datasets 4.9.10, datasets/imagenet_v2, imagenet_a and imagenet_r.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from fits.base.counted import counted
from fits.base.errors import UserError
from scaling.data.prepare.entries import Entry
from scaling.data.prepare.item import Item
from scaling.data.prepare.layout import say_left_out
from scaling.data.prepare.published.downloads import Downloads, Listed

V2 = {
    "matched-frequency": "imagenetv2-matched-frequency.tar.gz",
    "threshold-0.7": "imagenetv2-threshold0.7.tar.gz",
    "topimages": "imagenetv2-top-images.tar.gz",
}
DEFAULT = "matched-frequency"  # what TFDS means by the bare name
UNPACKED = "-format-val"  # how the folder in such an archive ends, instead of .tar.gz


def of_v2(variant: str, found: Downloads, classes: list[str]) -> Listed:
    folders = {str(i): i for i in range(len(classes))}
    images = _images(found, folders, _with_class)
    names = {part for each in found.packed or found.loose for part in each.parts}
    names |= {found.root.name, Path(found.called).name}
    for other, archive in V2.items():
        if other != variant and archive.removesuffix(".tar.gz") + UNPACKED in names:
            words = f"{found.called} is another variant: give --name imagenet_v2/{other}"
            raise UserError([f"{words}, or the path of the one that is meant."])
    return classes, {"test": images}


def of_a(found: Downloads, classes: list[str]) -> Listed:
    folders = {name: i for i, name in enumerate(classes)}
    return classes, {"test": _images(found, folders, lambda entry: entry.parts[-1])}


def of_r(found: Downloads, classes: list[str]) -> Listed:
    folders = {name: i for i, name in enumerate(classes)}
    return classes, {"test": _images(found, folders, _with_class)}


def _with_class(entry: Entry) -> str:
    return "/".join(entry.parts[-2:])


def _images(
    found: Downloads, number: Mapping[str, int], name: Callable[[Entry], str]
) -> list[Item]:
    """All images, in the order of their classes.

    Args:
      number: of the class, by what its folder is called.
      name: what TFDS calls an image.
    """
    entries = [
        each
        for each in found.packed or found.loose
        if not each.hidden and len(each.parts) >= 2 and each.parts[-2] in number
    ]
    images = [each for each in entries if each.is_image]
    if not images:
        raise UserError(
            [f"{found.called} has no {found.files[0]}, nor what it holds, a folder a class."]
        )
    _refuse_two(found, images)
    _refuse_others(found, images)
    say_left_out(found.called, [each for each in entries if not each.is_image])
    images.sort(key=lambda each: (number[each.parts[-2]], each.parts[-1]))
    return [Item(number[each.parts[-2]], name(each), each.size, each.place) for each in images]


def _refuse_two(found: Downloads, images: list[Entry]) -> None:
    """Two folders of classes are two data sets."""
    places = sorted({"/".join(each.parts[:-2]) or "." for each in images})
    if len(places) > 1:
        words = f"{found.called} holds several sets ({', '.join(places)})"
        raise UserError([f"{words}; give one of them by its path."])


def _refuse_others(found: Downloads, images: list[Entry]) -> None:
    """Images beside these that are of none of the classes."""
    root, known = images[0].parts[:-2], {id(each) for each in images}
    others = [
        each
        for each in found.packed or found.loose
        if each.is_image
        and not each.hidden
        and id(each) not in known
        and each.parts[: len(root)] == root
        and len(each.parts) > len(root) + 1
    ]
    if others:
        count = counted(len(others), "image is", "images are", form="_")
        words = f"{count} in the folder of none of the classes of ImageNet, the first"
        raise UserError(
            [f"{found.called}: {words} {others[0].name}; move or remove what is there."]
        )
