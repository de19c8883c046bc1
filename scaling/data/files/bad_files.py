"""What is wrong with many files, in words that fit on a screen."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fits.base.counted import counted

SHOWN = 5  # mistakes of a file that are spelled out
FILES = 20  # whose mistakes are


def listed(wrong: Mapping[Path, Sequence[str]], sets: Sequence[str], kind: str) -> str:
    """A line a mistake, of file after file; of many the first, and how many more.

    Args:
      wrong: whole sentences without a full stop, each of which names its file.
      sets: the same of whole sets, which come last.
      kind: what a file is called, "archive".
    """
    return "\n".join([*_lines(wrong, kind), *(f"{each}." for each in sets)])


def _lines(wrong: Mapping[Path, Sequence[str]], kind: str) -> Iterator[str]:
    for file, mistakes in itertools.islice(wrong.items(), FILES):
        yield from (f"{mistake.rstrip('.')}." for mistake in mistakes[:SHOWN])
        if len(mistakes) > SHOWN:
            yield f"{file}: ... and {len(mistakes) - SHOWN:_} more."
    if len(wrong) > FILES:
        yield f"... and {counted(len(wrong) - FILES, f'more {kind}', form='_')}."


def without_name(words: str, file: Path) -> str:
    """What is wrong with a file, for who has named it: "no tar archive" of "x.tar is no ..."."""
    return words.removeprefix(str(file)).strip(" :").removeprefix("is ")


def not_allowed(bad: int, records: int, allowed: int) -> str | None:
    """Why so many unusable records of one set cannot be left out; None: they can.

    Args:
      records: of the set, bad ones too.
      allowed: `skip_unreadable`.
    """
    if not bad or (bad <= allowed and bad < records):
        return None
    if not allowed:
        return "correct or remove them, or leave so many out by skip_unreadable"
    return f"skip_unreadable = {allowed:_} leaves out {allowed:_} of each set at most, never all"
