"""Images by their paths, <split>/<class>/<image>: each has its place, or is counted and named."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from fits.base.counted import counted
from fits.base.errors import UserError
from fits.base.names import did_you_mean
from scaling.base.console import complain
from scaling.data.prepare.entries import IMAGES, Entry
from scaling.data.prepare.item import Item

LAYOUT = "<split>/<class>/<image>"
EXAMPLE = "train/<class>/<image> and test/<class>/<image>"
NAMES = ", ".join(IMAGES)
PICTURES = (".avif", ".bmp", ".gif", ".heic", ".ppm", ".tif", ".tiff", ".webp")  # not read

Found = dict[str, dict[str, dict[str, Item]]]
"""Images by split, class and name."""


class Sorted(NamedTuple):
    """All files, by what becomes of them."""

    root: list[str]
    """The parts of the folder that holds the splits."""
    placed: list[Entry]
    beside: list[Entry]
    """Images in that folder or above it, as a picture of a data set's page."""
    wrong: list[Entry]
    """Images that have no place."""
    outside: list[Entry]
    """Images whose names lead out of their archive."""
    others: list[Entry]
    """Files that are no images by their names."""
    traces: list[Entry]
    """Folders, and hidden files in them."""


def by_layout(where: str, entries: Iterable[Entry]) -> tuple[list[str], dict[str, list[Item]]]:
    """Classes, in alphabetical order, and the images of each split, class by class.

    One folder holds all splits; it lies at any depth.

    Raises:
      UserError: images that are not laid out so: how many, where, and what they look like.
    """
    files = _sorted_out(where, entries)
    if files.wrong:
        raise _refused(where, files)
    found = _found(where, files.placed)
    if _one_class(files.placed):
        raise _no_splits(where, files, found)
    _say_left_out(where, found, files)
    return _numbered(where, found)


def _sorted_out(where: str, entries: Iterable[Entry]) -> Sorted:
    images, outside, others, traces = [], [], [], []
    for entry in entries:
        if entry.is_trace:
            traces.append(entry)
        elif entry.hidden:
            outside += [entry] if entry.is_image and ".." in entry.parts else []
        elif entry.is_image:
            images.append(entry)
        elif len(entry.parts) >= 3 or entry.name.lower().endswith(PICTURES):
            others.append(entry)
    by_root: dict[tuple[str, ...], list[Entry]] = {}
    for entry in images:
        if len(parts := entry.parts) >= 3:
            by_root.setdefault(tuple(parts[:-3]), []).append(entry)
    if not by_root:
        words = f"{where} holds no images ({NAMES}) laid out as {EXAMPLE}, and is no binary CIFAR"
        raise UserError([f"{words} archive."], _lines(images, [], _hint_without_splits))
    root = _root(by_root)
    placed = set(map(id, by_root[root]))
    beside: list[Entry] = []
    wrong: list[Entry] = []
    for entry in images:
        if id(entry) not in placed:
            above = tuple(entry.parts[:-1]) == root[: len(entry.parts) - 1]
            (beside if above else wrong).append(entry)
    return Sorted(list(root), by_root[root], beside, wrong, outside, others, traces)


def _root(by_root: dict[tuple[str, ...], list[Entry]]) -> tuple[str, ...]:
    """The folder that is read as that of the splits: the one of most classes."""
    real = {root: some for root, some in by_root.items() if not _one_class(some)}
    if not real:
        return min(by_root, key=lambda each: (len(each), each))
    return max(sorted(real), key=lambda each: (len(_kinds(real[each])), len(real[each])))


def _kinds(images: Iterable[Entry]) -> set[tuple[str, ...]]:
    """Split and class of each."""
    return {tuple(entry.parts[-3:-1]) for entry in images}


def _one_class(images: Iterable[Entry]) -> bool:
    """Whether folders that should be splits, none to train on, have one class, always the same:
    <class>/images/<image>."""
    kinds = _kinds(images)
    splits = {split for split, _ in kinds}
    trained = any(split.lower().startswith("train") for split in splits)
    return len({label for _, label in kinds}) == 1 and len(splits) > 1 and not trained


def _found(where: str, images: Iterable[Entry]) -> Found:
    found: Found = {}
    for entry in images:
        split, label, file = entry.parts[-3:]
        of_class = found.setdefault(split, {}).setdefault(label, {})
        if file in of_class:
            raise UserError([f"{where} has {split}/{label}/{file} twice."])
        of_class[file] = Item(0, file, entry.size, entry.place)
    return found


def _refused(where: str, files: Sorted) -> UserError:
    count = counted(len(files.wrong), "image is", "images are", form="_")
    root = "/".join(files.root)
    within = f" within {root}" if root else ""
    return UserError(
        [f"{where}: {count} not laid out as {LAYOUT}{within}; move or remove them:"],
        _lines(files.wrong, files.root, _hint),
        [f"{line}, laid out so" for line in _lines(files.placed, files.root)],
    )


def _no_splits(where: str, files: Sorted, found: Found) -> UserError:
    (label,) = {label for labels in found.values() for label in labels}
    splits = counted(len(found), "split", form="_")
    return UserError(
        [
            f"{where}: read as {LAYOUT}, all images are of one class, {label!r}, in {splits}, none "
            f"of them called train: {', '.join(sorted(found)[:3])}, ... These look like classes; "
            f"lay the images out as {EXAMPLE}:"
        ],
        _lines(files.placed, files.root[:-1], _hint),
    )


def _lines(
    images: Sequence[Entry], root: Sequence[str], hint: Callable[..., str] | None = None
) -> list[str]:
    """What images look like that are alike: a pattern, how many, the first."""
    alike: dict[tuple[int, tuple[str, ...]], list[Entry]] = {}
    for entry in images:
        parts = entry.parts
        folder = tuple(parts[: len(root) + 1]) if len(parts) > len(root) + 1 else ()
        alike.setdefault((len(parts), folder), []).append(entry)
    lines = []
    for _, some in sorted(alike.items()):
        pattern = _pattern(some)
        line = f"  {'/'.join(pattern)}: {counted(len(some), 'image', form='_')}"
        how = hint(pattern, len(root)) if hint else ""
        lines.append(f"{line}, the first {some[0].name}{how}")
    return lines


def _pattern(entries: Sequence[Entry]) -> list[str]:
    """The parts that all names have in common, * for the others and for the image."""
    columns = list(zip(*(entry.parts for entry in entries), strict=True))
    return [parts[0] if len(set(parts)) == 1 else "*" for parts in columns[:-1]] + ["*"]


def _hint(pattern: Sequence[str], root: int) -> str:
    below = len(pattern) - root
    if below == 1:
        return "; there is no folder of their split, nor of their class"
    if below == 2:
        return f"; there is no folder of their class within {pattern[root]!r}"
    if below == 4 and pattern[-2] != "*":
        return (
            f"; these are {LAYOUT} but lie below `{pattern[-2]}` within their class: move them up"
        )
    return ""


def _hint_without_splits(pattern: Sequence[str], root: int) -> str:
    if len(pattern) == 2:
        return "; if these folders are classes, put them into a folder train"
    return _hint(pattern, root)


def _say_left_out(where: str, found: Found, files: Sorted) -> None:
    """What is left out is counted; a class that has files but no image is refused."""
    empty: dict[tuple[str, str], str] = {}
    for entry in files.others:
        if len(entry.parts) >= 3 and entry.parts[:-3] == files.root:
            split, label, file = entry.parts[-3:]
            if split in found and label not in found[split]:
                empty.setdefault((split, label), file)
    bare = _bare(found, files) - set(empty)
    if empty or bare:
        raise UserError(
            [
                f"{where}: {split}/{label} holds no image ({NAMES}), but {file}; convert its "
                "files, or remove it."
                for (split, label), file in sorted(empty.items())
            ],
            [
                f"{where}: {split}/{label} holds no image ({NAMES}); fill it, or remove it."
                for split, label in sorted(bare)
            ],
        )
    say_left_out(where, files.others)
    _say(
        where,
        files.beside,
        "image that lies beside the splits",
        "images that lie beside the splits",
    )
    _say(where, files.outside, "image whose name leads out", "images whose names lead out")


def _bare(found: Found, files: Sorted) -> set[tuple[str, str]]:
    """Split and class of folders that hold nothing, of splits or of classes that are there."""
    classes = {label for labels in found.values() for label in labels}
    depth = len(files.root)
    other = {e.parts[depth] for e in files.others if e.parts[:depth] == files.root}
    bare = set()
    for entry in files.traces:
        if len(entry.parts) >= 3 and entry.parts[:-3] == files.root:
            split, label = entry.parts[-3:-1]
            meant = split in found or (label in classes and split not in other)
            if meant and label not in found.get(split, {}):
                bare.add((split, label))
    return bare


def say_left_out(where: str, others: Sequence[Entry]) -> None:
    """That these files are no images by their names."""
    _say(where, others, f"file that is no {NAMES}", f"files that are no {NAMES}")


def _say(where: str, entries: Sequence[Entry], one: str, many: str) -> None:
    if entries:
        complain(
            f"{where}: {counted(len(entries), one, many, form='_')} "
            f"{'is' if len(entries) == 1 else 'are'} left out, the first of them {entries[0].name}."
        )


def _numbered(where: str, found: Found) -> tuple[list[str], dict[str, list[Item]]]:
    first = "train" if "train" in found else sorted(found)[0]
    classes = sorted(found[first])
    wrong = [
        f"{where}: class {label!r} of {split!r} is not among the {len(classes)} of {first!r}. "
        f"{did_you_mean(label, classes)}".rstrip()
        for split, labels in found.items()
        for label in sorted(labels)
        if label not in found[first]
    ]
    if wrong:
        raise UserError(wrong)
    number = {label: i for i, label in enumerate(classes)}
    return classes, {
        split: [
            item._replace(label=number[label])
            for label in sorted(labels)
            for _, item in sorted(labels[label].items())
        ]
        for split, labels in sorted(found.items(), key=lambda each: (each[0] != first, each[0]))
    }
