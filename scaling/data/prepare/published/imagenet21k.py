"""ImageNet-21k: an archive a class, nXXXXXXXX.tar, in a folder or within one tar archive.

TFDS has no such data set: its classes are the WordNet ids in alphabetical order, in one split.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from fits.base.errors import UserError
from scaling.base.console import complain
from scaling.data.files.tar_members import TarMember
from scaling.data.prepare.entries import IMAGES, files_below, members
from scaling.data.prepare.item import Item

NAME = "imagenet21k"
SYNSET = re.compile(r"(?P<name>n\d{8})\.tar")


def listed(source: Path, plain: Path) -> tuple[list[str], dict[str, list[Item]]] | None:
    """Classes and images; None where there is no archive of a class.

    Args:
      source: what the person has given.
      plain: where it lies, decompressed where it is an archive.
    """
    archives = dict(sorted(_archives(source, plain)))
    if not archives:
        return None
    classes, others, empty = list(archives), [], []
    images: list[Item] = []
    for label, (name, (file, within, modified)) in enumerate(archives.items()):
        before = len(images)
        path, called = (plain, str(source)) if within else (source / file, str(source / file))
        for member in members(path, called, within):
            if member.name.lower().endswith(IMAGES):
                place = [file, member.offset, modified]
                images.append(Item(label, Path(member.name).name, member.size, place))
            else:
                others.append(f"{name}.tar: {member.name}")
        if len(images) == before:
            empty.append(f"{source}: {name}.tar holds no image; remove it.")
    if empty:
        raise UserError(empty)
    if others:
        complain(f"{source}: {len(others):_} other files are left out, the first {others[0]}.")
    return classes, {"train": images}


Archive = tuple[str, TarMember | None, int]
"""A file below the source, the member of it that is the archive, and when it was changed."""


def _archives(source: Path, plain: Path) -> Iterator[tuple[str, Archive]]:
    seen: set[str] = set()
    for name, archive in _all_archives(source, plain):
        if name in seen:
            raise UserError([f"{source} has {name}.tar twice."])
        seen.add(name)
        yield name, archive


def _all_archives(source: Path, plain: Path) -> Iterator[tuple[str, Archive]]:
    if source.is_dir():
        for file, state in files_below(source):
            if found := SYNSET.fullmatch(Path(file).name):
                yield found["name"], (file, None, state.st_mtime_ns)
        return
    modified = source.stat().st_mtime_ns
    for member in members(plain, str(source)):
        if found := SYNSET.fullmatch(Path(member.name).name):
            yield found["name"], ("", member, modified)
