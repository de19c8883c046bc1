"""A study as a picture of characters: a line a model and data size, a mark a run.

Fits a screen of 60 columns: where the marks of a line do not fit, it counts the runs that are done.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from fits.base.printable import printable
from scaling.launch.progress.status import RunStatus
from scaling.runs.run_folder import RunState

MARKS: dict[RunState, str] = {"done": "●", "running": "▶", "failed": "✗", "waiting": "·"}
WORDS = {"running": "at work", "waiting": "waits"}
LEGEND = "  ".join(f"{mark} {WORDS.get(state, state)}" for state, mark in MARKS.items())
NARROWEST = 60  # columns
NAME = 20  # columns of a model's name, at most


def picture(found: Sequence[RunStatus], width: int) -> list[str]:
    """Lines of at most `width` characters, or of `NARROWEST` where that is less.

    A line's marks stand in the order of images seen, those of other seeds side by side.
    """
    rows: defaultdict[tuple[str, str], list[RunStatus]] = defaultdict(list)
    for each in found:
        size = "all" if each.run.data_size is None else short(each.run.data_size)
        rows[printable(each.run.model_name)[:NAME], size].append(each)
    heads = [("model", "data", "images"), *((*row, _span(runs)) for row, runs in rows.items())]
    widths = [max(map(len, column)) for column in zip(*heads, strict=True)]
    room = max(width, NARROWEST) - sum(widths) - 2 * len(widths)
    marks = ["", *(_marks(runs, room) for runs in rows.values())]
    lines = []
    for words, line in zip(heads, marks, strict=True):
        name, size, images = (w.ljust(n) for w, n in zip(words, widths, strict=True))
        lines.append(f"{name}  {size}  {images}  {line}".rstrip())
    return [*lines, LEGEND]


def _span(runs: Sequence[RunStatus]) -> str:
    seen = [each.run.images_seen for each in runs]
    if min(seen) == max(seen):
        return short(seen[0])
    return f"{short(min(seen))}-{short(max(seen))}"


def _marks(runs: Sequence[RunStatus], room: int) -> str:
    """A mark a run; in groups, without gaps, or counted, whatever there is room for."""
    groups: defaultdict[int, str] = defaultdict(str)
    for each in sorted(runs, key=lambda each: (each.run.images_seen, each.run.seed)):
        groups[each.run.images_seen] += MARKS[each.state]
    for gap in " ", "":
        if len(line := gap.join(groups.values())) <= room:
            return line
    states = [each.state for each in runs]
    counts = [f"{MARKS[s]} {states.count(s)}" for s in MARKS if s in states]
    return " ".join(counts)


def short(number: int) -> str:
    """A count in at most five characters: 512, 1.28k, 30M, 3.9B."""
    for power, unit in ((9, "B"), (6, "M"), (3, "k")):
        if number >= 10**power:
            return f"{number / 10**power:.3g}{unit}"
    return str(number)
