"""Names of several files at once: `train-{0000..0012}.tar`, `train-*.tar`."""

import glob
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from scaling.base.files import expanded

MOST = 1_000_000  # names that one pattern may stand for
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*://|pipe:", re.IGNORECASE)  # how other addresses begin


def files_of(pattern: str) -> list[Path]:
    """The files that a pattern names: braces name each, whether it is there or not; *, ? and [ ]
    name those that are there, in alphabetical order. Folders, and a file, that are there under the
    very name that is given are meant as they are, whatever characters it has.

    Raises:
      ValueError: the pattern names nothing, a file twice, no braces that make sense, or no path.
    """
    if ELSEWHERE.match(pattern):
        raise ValueError(f"{pattern} is no path; copy the files to a disk and name them there")
    found: list[Path] = []
    folder, rest = _as_written(expanded(Path(pattern)))
    for name in spelled_out(rest):
        if glob.has_magic(name):
            there = glob.glob(os.path.join(glob.escape(str(folder)), name))
            found.extend(Path(each) for each in sorted(there))
        else:
            found.append(folder / name)
    if not found:
        raise ValueError(f"no file is named {pattern}")
    if (named := Counter(found).most_common(1)[0])[1] > 1:
        raise ValueError(f"{pattern} names {named[0]} twice; name it once")
    return found


def _as_written(path: Path) -> tuple[Path, str]:
    """As much of a path as is there under these very names, and the rest."""
    for count in range(len(path.parts), 0, -1):
        there = Path(*path.parts[:count])
        if os.path.exists(there):  # False of a name that is too long
            return there, "/".join(path.parts[count:])
    return Path(), str(path)


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
