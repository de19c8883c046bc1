"""Every image of a source decoded once, and every bad one named, as is every bad file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from fits.base.counted import counted
from fits.base.errors import UserError
from scaling.base.console import Say
from scaling.data.around.source import innermost
from scaling.data.files.encoded import EncodedSource
from scaling.data.files.readable import unreadable, verdict
from scaling.data.pixels.decode import UnreadableImages
from scaling.data.source import SourceConfig


class Checked(NamedTuple):
    """One set of images after it was looked at."""

    name: str
    images: int | None
    """How many there are; None: no end, or not known."""
    bad: dict[str, str]
    """Why an image, or a file of many, cannot be read, by what it is called."""


def check_all_images(sources: Iterable[SourceConfig], say: Say) -> Iterator[Checked]:
    """Each set of the sources, once."""
    seen: set[str] = set()
    for source in sources:
        for found in _checked(source, say):
            if found.name not in seen:
                seen.add(found.name)
                yield found


def _checked(source: SourceConfig, say: Say) -> Iterator[Checked]:
    source = innermost(source)  # one that stands on another has images of that
    if not isinstance(source, EncodedSource):
        yield from _by_opening(source, say)
        return
    if fault := source.fault_of_opening(to_train=False):
        raise UserError([fault.words])
    for part in source.sets():
        records, wrong = source.salvaged(part == "heldout")
        if wrong:
            name = records.name if records else f"{Path(next(iter(wrong))).parent} {part}"
            yield Checked(f"{name}, its files", None, wrong)
        if records is None:
            continue
        if not records.size and not wrong:
            raise UserError([f"{records.name} holds no images."])
        if verdict(records) is None:
            there = counted(records.size, "image is", "images are", form="_")
            say(f"{records.name}: {there} read and decoded, this once.")
        bad = unreadable(records)
        called = {records.called(number): why for number, why in bad.items()}
        yield Checked(records.name, records.size, called)


def _by_opening(source: SourceConfig, say: Say) -> Iterator[Checked]:
    """Sources that decode all their images when they are opened, or that decode none."""
    name = str(getattr(source, "path", source.kind))  # type: ignore[attr-defined]
    for part, opens in source.sets().items():
        called = f"{name}, {getattr(source, f'{part}_split', part)}"
        try:
            images = opens()
            if look := getattr(images, "check", None):
                look(say)
            skipped = getattr(images, "skipped", {})
            size = None if images.size is None else images.size + len(skipped)
            yield Checked(called, size, skipped)
        except UnreadableImages as error:
            yield Checked(called, None, error.why)
        except ValueError as error:
            raise error if isinstance(error, UserError) else UserError([str(error)]) from error
