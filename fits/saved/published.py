"""Laws that papers print, to lay beside one's own: one file a law in `papers`, its source in it."""

from __future__ import annotations

from pathlib import Path

from fits.saved.law_file import read_law
from fits.saved.saved_law import SavedLaw

FOLDER = Path(__file__).with_name("papers")


def zhai_2022(task: str) -> SavedLaw:
    """A law of "Scaling Vision Transformers", say of "imagenet-10-shot": the name of its file.

    Raises:
      KeyError: there is none of that task; says which there are.
    """
    path = FOLDER / f"zhai2022-{task}.json"
    if not path.is_file():
        known = ", ".join(sorted(each.stem.removeprefix("zhai2022-") for each in FOLDER.iterdir()))
        raise KeyError(f"no law of '{task}'; there are {known}.")
    return read_law(path)
