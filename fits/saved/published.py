"""Laws that papers print, to lay beside one's own: one file a law in `papers`, its source in it."""

from __future__ import annotations

from pathlib import Path

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from fits.saved.law_file import read_law
from fits.saved.saved_law import SavedLaw

FOLDER = Path(__file__).with_name("papers")


def zhai_2022(task: str) -> SavedLaw:
    """A law of "Scaling Vision Transformers", say of "imagenet-10-shot": the name of its file.

    Raises:
      UserError: there is none of that task; names the near ones.
    """
    path = FOLDER / f"zhai2022-{task}.json"
    if not path.is_file():
        known = sorted(each.stem.removeprefix("zhai2022-") for each in FOLDER.iterdir())
        near = did_you_mean(task, known)
        raise UserError([f"no law of '{task}'. {near}There are {', '.join(known)}."])
    return read_law(path)
