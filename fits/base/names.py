"""The one finder of near names, for a name that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 40  # characters of a value in a message


def near_names(name: str, known: Iterable[str], most: int = 2) -> list[str]:
    """Up to `most` of `known` that `name` may be a slip for, the nearest first, case ignored."""
    folded = {each.lower(): each for each in known}
    return [folded[each] for each in get_close_matches(name.lower(), folded, n=most)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """'Did you mean ...? ' for a name that is not known, or nothing where none is near."""
    found = [f"'{each}'" for each in near_names(name, known)]
    return f"Did you mean {' or '.join(found)}? " if found else ""


def short(text: str) -> str:
    """As much of a value as a message has room for, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."
