"""Caltech-UCSD Birds 200-2011: CUB_200_2011.tgz, as TFDS splits and numbers it.

TFDS gives its classes no names, but each record a `label_name`: these are the names here.

Source: tensorflow-datasets 4.9.10, image_classification/caltech_birds.py.
"""

from functools import partial

from fits.base.errors import UserError, all_of
from scaling.data.prepare.item import Item
from scaling.data.prepare.published.downloads import Downloads, Listed, item, number

NAME = "caltech_birds2011"
ARCHIVE = "CUB_200_2011.tgz"
FILES = (ARCHIVE,)
SIGNS = (ARCHIVE, "images.txt", "train_test_split.txt")
TABLES = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")


def listed(found: Downloads, classes: list[str]) -> Listed:
    paths, labels, trained, folders, _ = all_of(
        *(partial(_table, found, file) for file in TABLES),
        lambda: found.refuse_without(ARCHIVE, "images"),
    )
    names = [""] * len(classes)
    for id_, (where, folder) in folders.items():
        names[number(where, id_, len(classes)) - 1] = folder.partition(".")[2].lower()
    if not all(names) or len(set(names)) < len(names):
        raise UserError([f"{found.called}: {TABLES[3]} has not {len(names)} names of classes."])
    images = found.images(ARCHIVE, "images", (path for _, path in paths.values()))
    splits: dict[str, list[Item]] = {"train": [], "test": []}
    for id_, (where, path) in paths.items():
        if id_ not in labels or id_ not in trained:
            raise UserError([f"{where}: image {id_} is not in both other tables of images."])
        line, text = labels[id_]
        label = number(line, text, len(classes)) - 1
        splits["train" if trained[id_][1] == "1" else "test"].append(item(label, images[path]))
    return names, splits


def _table(found: Downloads, file: str) -> dict[str, tuple[str, str]]:
    """Where each line stands and its second field, by the first."""
    return {each[0]: (where, each[1]) for where, each in found.lines(file, ARCHIVE, fields=2)}
