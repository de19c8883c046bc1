"""Which classes of a classifier are right for a class of images, as files say it.

    [classes]                    TOML: a class of the images = classes of the classifier
    "n01440764" = 0
    "banana" = [954]
    "chair" = [423, 559, 765]

    class,training_class         the same as CSV, a line a pair
    n01440764,0

    n01440764 tench, Tinca       .txt: of each class of the classifier, in the order of their
    n01443537 goldfish           numbers, the name of a class of the images, and what one likes

and the folder `mappings` that ObjectNet comes with. Where the source has names of classes, as a
folder of folders, they are meant; elsewhere numbers. Images of a class that is not there are left
out. What was published says more than a set's images need; what a user wrote does not.
"""

from __future__ import annotations

import csv
import json
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

Pairs = dict[str, list[int]]
"""Class of the images -> classes of the classifier."""
HEADER = ["class", "training_class"]
FOLDERS, LABELS = "folder_to_objectnet_label.json", "objectnet_to_imagenet_1k.json"
NUMBERS, NAMES = "pytorch_to_imagenet_2012_id.json", "imagenet_to_label_2012_v2"
OBJECTNET = FOLDERS, LABELS, NUMBERS, NAMES


class Stated(NamedTuple):
    """What a file says.

    Fields:
      pairs: of images that there may be.
      whole: how many classes the classifier has, where these were published for all images of a
        set, of which there may be fewer here; None: a user wrote them, for these images.
    """

    pairs: Pairs
    whole: int | None = None


def stated(path: Path) -> Stated:
    """What a file, or ObjectNet's folder, says.

    Raises:
      ValueError: what is wrong with it, in words.
    """
    if path.is_dir():
        return _of_objectnet(path)
    text, kind = _text(path), path.suffix.lower()
    if kind == ".txt":
        return _of_list(path, text)
    return Stated(_of_csv(path, text) if kind == ".csv" else _of_toml(path, text))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is no text in UTF-8.") from None


@lru_cache(maxsize=4)
def json_in(path: Path) -> Any:
    """A JSON file, which must not be changed; ValueError in words where it is none."""
    text = _text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is no JSON ({str(error).splitlines()[0]}).") from None


def _of_objectnet(folder: Path) -> Stated:
    """ObjectNet's own four files (Barbu et al. 2019), as objectnet-1.0/mappings holds them: a label
    of each folder of images; of 113 labels the names of classes of ImageNet, between semicolons;
    the names of all of these, a line each; and the line of each number of a classifier, from 0.
    """
    if missing := [name for name in OBJECTNET if not (folder / name).exists()]:
        raise ValueError(
            f"{folder}: has no {', '.join(missing)}. A folder is read as ObjectNet's mappings; "
            "else name a .toml, .csv or .txt."
        )
    folders, labels = _texts(folder / FOLDERS), _texts(folder / LABELS)
    of_line = _lines(folder / NUMBERS)
    numbers: Pairs = {}
    for line, name in enumerate(_text(folder / NAMES).splitlines()):
        numbers.setdefault(name.strip(), []).append(of_line.get(line, -1))
    found: Pairs = {}
    for name, label in folders.items():
        for each in labels[label].split(";") if label in labels else ():
            meant = numbers.get(each.strip(), [])
            if len(meant) != 1 or meant[0] < 0:
                raise ValueError(
                    f"{folder / LABELS}: {label!r} is {each.strip()!r}, which {NAMES} and "
                    f"{NUMBERS} do not have once; unpack the folder again."
                )
            found.setdefault(name, []).extend(meant)
    return Stated(found, len(of_line))


def _texts(path: Path) -> dict[str, str]:
    given = json_in(path)
    if not isinstance(given, dict) or not all(isinstance(each, str) for each in given.values()):
        raise ValueError(f"{path}: is no object of texts, as ObjectNet's is.")
    return given


def _lines(path: Path) -> dict[int, int]:
    """Number of a class by its line."""
    given = json_in(path)
    if not isinstance(given, dict) or not all(
        number.isdecimal() and type(line) is int for number, line in given.items()
    ):
        raise ValueError(f"{path}: is no object of numbers, as ObjectNet's is.")
    return {line: int(number) for number, line in given.items()}


def _of_list(path: Path, text: str) -> Stated:
    found: Pairs = {}
    for number, line in enumerate(text.splitlines()):
        if not line.strip():
            raise ValueError(
                f"{path}, line {number + 1}: is empty; a list has a line for every class of the "
                "classifier."
            )
        found.setdefault(line.split()[0], []).append(number)
    if several := [name for name, numbers in found.items() if len(numbers) > 1]:
        first, second, *_ = (number + 1 for number in found[several[0]])
        raise ValueError(
            f"{path}: lines {first} and {second} both begin with {several[0]!r}; a class has one "
            "number."
        )
    return Stated(found, len(found))


def _of_toml(path: Path, text: str) -> Pairs:
    try:
        given = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is no TOML: {error}.") from None
    table = given.get("classes")
    if set(given) != {"classes"} or not isinstance(table, dict):
        raise ValueError(f"{path}: needs one table, [classes], a line a class of the images.")
    found = {}
    for name, value in table.items():
        targets = value if isinstance(value, list) else [value]
        if not targets or not all(type(each) is int for each in targets):
            raise ValueError(
                f"{path}: {name!r} is {str(value)[:40]}; give a class number or a list of some."
            )
        found[name] = targets
    return found


def _of_csv(path: Path, text: str) -> Pairs:
    try:
        header, *lines = list(csv.reader(text.splitlines())) or [[]]
    except csv.Error as error:
        raise ValueError(f"{path}: is no CSV ({error}).") from None
    if header != HEADER:
        raise ValueError(f"{path}, line 1: is {','.join(header)}; write {','.join(HEADER)}.")
    found: Pairs = {}
    for number, cells in enumerate(lines, start=2):
        if not cells:
            continue
        if len(cells) != 2 or not cells[1].strip().isdecimal() or len(cells[1]) > 10:
            raise ValueError(
                f"{path}, line {number}: is {','.join(cells)[:40]}; write a class of the images, a "
                "comma, and the number of one of the classifier."
            )
        found.setdefault(cells[0].strip(), []).append(int(cells[1]))
    return found
