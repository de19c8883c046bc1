"""Names of several files at once: `train-{0000..0012}.tar`, `train-*.tar`."""

import glob
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from scaling.base.files import expanded

MOST = 1_000_000  # names that one pattern may stand for
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")


def files_of(pattern: str) -> list[Path]:
    """The files that a pattern names: braces name each, whether it is there or not; *, ? and [ ]
    name those that are there, in alphabetical order.

    Raises:
      ValueError: the pattern names nothing, or no braces that make sense.
    """
    found: list[Path] = []
    for name in spelled_out(str(expanded(Path(pattern)))):
        if glob.has_magic(name):
            found.extend(Path(each) for each in sorted(glob.glob(name)))
        else:
            found.append(Path(name))
    if not found:
        raise ValueError(f"no file is named {pattern}")
    return found


def spelled_out(pattern: str) -> Iterator[str]:
    """`a{0..2}` as a0, a1, a2 (as many digits as the first has), `{x,y}` as x, y."""
    texts = BRACES.split(pattern)
    choices = [list(_choices(text)) if i % 2 else [text] for i, text in enumerate(texts)]
    count = 1
    for each in choices:
        count *= len(each)
    if count > MOST:
        raise ValueError(f"{pattern} names {count:_} files; at most {MOST:_} may be named")
    return ("".join(each) for each in itertools.product(*choices))


def _choices(text: str) -> Iterator[str]:
    if numbers := RANGE.fullmatch(text):
        first, last = numbers.groups()
        if int(last) - int(first) >= MOST or int(last) < int(first):
            raise ValueError(f"{{{text}}} does not count up to {MOST:_} files")
        yield from (f"{i:0{len(first)}d}" for i in range(int(first), int(last) + 1))
    elif "," in text:
        yield from text.split(",")
    else:
        raise ValueError(f"{{{text}}} is neither a range as 000..012 nor a list as a,b")
