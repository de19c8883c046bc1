"""Caltech 101: caltech-101.zip, or the archive in it, with a split drawn as TFDS draws it.

TFDS draws 30 files of each class with a fixed seed, out of file names in the order in which
TensorFlow lists a folder, which is arbitrary. Here names are in alphabetical order: the splits are
not the very ones that somebody else's TFDS has drawn. As there, a file that is no image may be
among the 30, and is left out.

Source: tensorflow-datasets 4.9.10, datasets/caltech101.
"""

import numpy as np

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from scaling.data.prepare.entries import Entry
from scaling.data.prepare.item import Item
from scaling.data.prepare.layout import say_left_out
from scaling.data.prepare.published.downloads import INNER, Downloads, Listed, item

NAME = "caltech101"
FOLDER = "101_ObjectCategories"
FILES = ("caltech-101.zip", INNER)
SIGNS = (*FILES, FOLDER)
SEED, TRAINED = 1234, 30


def listed(found: Downloads, classes: list[str]) -> Listed:
    folders = _folders(found)
    if not folders:
        raise UserError([f"{found.called} has no {FILES[0]}, nor what it holds, {INNER}."])
    wrong = [
        f"{found.called}: {FOLDER}/{name} is none of the {len(classes)} classes. "
        f"{did_you_mean(name, classes)}".rstrip()
        for name in folders
        if name.lower() not in classes
    ]
    wrong += [
        f"{found.called}: {FOLDER}/{name} has {len(files)} files, and {TRAINED} are drawn to train "
        "on; get the archive again."
        for name, files in folders.items()
        if len(files) < TRAINED
    ]
    if wrong:
        raise UserError(wrong)
    number = {name: i for i, name in enumerate(classes)}
    random = np.random.RandomState(SEED)  # the stream of np.random.seed, which TFDS draws from
    splits: dict[str, list[Item]] = {"train": [], "test": []}
    for name, files in folders.items():
        drawn = set(random.choice(sorted(files), TRAINED, replace=False))
        for file in sorted(files):
            if file.endswith(".jpg"):
                split = "train" if file in drawn else "test"
                splits[split].append(item(number[name.lower()], files[file]))
    others = [e for files in folders.values() for f, e in files.items() if not f.endswith(".jpg")]
    say_left_out(found.called, others)
    return classes, splits


def _folders(found: Downloads) -> dict[str, dict[str, Entry]]:
    """The files of each class, classes in order."""
    folders: dict[str, dict[str, Entry]] = {}
    for entry in found.packed or found.loose:
        if len(entry.parts) >= 3 and entry.parts[-3] == FOLDER and not entry.hidden:
            folders.setdefault(entry.parts[-2], {})[entry.parts[-1]] = entry
    return dict(sorted(folders.items()))
