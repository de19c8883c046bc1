"""What a person means who names data: a study, a data set of TFDS, or a folder of images."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from fits.base.errors import UserError
from scaling.base.files import expanded
from scaling.base.json_file import read_json
from scaling.data.folder import Folder
from scaling.data.source import SourceConfig
from scaling.data.tfds import Tfds
from scaling.data.tfds_names import KNOWN
from scaling.data.tfds_records import VERSION, prepared, versions_below
from scaling.study.parse import read_study
from scaling.study.sources import sources_of
from scaling.training.run import Run

HELDOUT = ("test", "validation", "val", "valid", "heldout")
INFO = "dataset_info.json"
SHOWN = 10  # versions that a hint names before it counts the rest


class Meant(NamedTuple):
    """Data that somebody has named."""

    name: str
    sources: tuple[SourceConfig, ...]
    runs: tuple[Run, ...] = ()
    """Those of the study, where one was named."""


def meant(what: str, data_dir: Path | None, resolution: int) -> Meant:
    """The data that `what` names.

    Args:
      what: a study; a folder that holds train/<class>/ and another split; the folder of a data set
        that TFDS has described; or such a data set's name.
      data_dir: where data sets of TFDS are kept; where it is given, `what` names one of those.
      resolution: side of the images, pixels, where no study says it.

    Raises:
      UserError: there is no such thing, or it cannot be opened.
    """
    path = expanded(Path(what))
    if path.is_dir() and data_dir is None:
        if (path / INFO).is_file():
            return _of_tfds(*_named(path), resolution)
        if not (path / "train").is_dir() and (hint := _which(path)):
            raise UserError([f"{what} says no version. {hint}"])
        return _of_folder(path, resolution)
    studies = {file.name for file in files("scaling").joinpath("studies").iterdir()}
    study = what.endswith(".toml") or path.is_file() or f"{what}.toml" in studies
    if study and data_dir is None:
        return _of_study(what)
    root = Tfds(name=what, data_dir=data_dir, resolution=resolution).root
    if what not in prepared(root):
        fault = Tfds(name=what, data_dir=data_dir, resolution=resolution).problem()
        kinds = "study, no folder, and no data set" if data_dir is None else f"data set in {root}"
        words = f"{what} is no {kinds}: {fault}"
        name, _, version = path.name.partition(":")
        folder = path.with_name(name) if version else path.parent
        if data_dir is None and "/" in what and VERSION.fullmatch(version or name):
            words = f"{words} {_which(folder) or ''}".rstrip()
        raise UserError([words])
    return _of_tfds(what, root, resolution)


def _of_study(what: str) -> Meant:
    study = read_study(what)
    found = [source for run in study.runs for source in sources_of(run, study.evaluate)]
    return Meant(study.name, tuple(dict.fromkeys(found)), study.runs)


def _of_folder(path: Path, resolution: int) -> Meant:
    there = [name for name in HELDOUT if (path / name).is_dir()]
    source = Folder(
        path=path, train_split="train", heldout_split=(there or ["test"])[0], resolution=resolution
    )
    return _opened(path.absolute().name, [source])


def _named(folder: Path) -> tuple[str, Path]:
    """Name with version, and root, of the data set that a folder root/name[/config]/version is."""
    folder = folder.absolute()
    for root in (folder.parents[1], folder.parents[2]):
        for name, found in prepared(root).items():
            if found == folder and ":" in name:
                return name, root
    raise UserError([f"{folder} is not at root/name/version, a version as 1.0.0."])


def _of_tfds(name: str, root: Path, resolution: int) -> Meant:
    """All splits, those without labels left out where that is known."""
    splits = _splits(prepared(root)[name] / INFO)
    bare = name.partition(":")[0].partition("/")[0]
    labelled = next((set(each.splits) for each in KNOWN if each.name == bare), set(splits))
    splits = [split for split in splits if split in labelled] or splits
    first = "train" if "train" in splits else splits[0]
    others = [split for split in splits if split != first]
    pairs = [(first, other) for other in others] or [(f"{first}[:90%]", f"{first}[90%:]")]
    sources = [
        Tfds(
            name=name,
            data_dir=root,
            resolution=resolution,
            train_split=train,
            heldout_split=heldout,
        )
        for train, heldout in pairs
    ]
    try:
        keys = sources[0].likely_keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        keys = {}  # what is wrong with the description is said where it is opened
    sources = [source.model_copy(update=keys) for source in sources]
    return _opened(name.replace("/", "-").replace(":", "-"), sources)


def _splits(info: Path) -> list[str]:
    try:
        found = [str(split["name"]) for split in read_json(info)["splits"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError([f"{info} is not as TFDS >= 4 writes it: {error!r}."]) from error
    if not found:
        raise UserError([f"{info} names no split."])
    return found


def _which(folder: Path) -> str | None:
    """How to name the data sets of TFDS below a folder, with their versions; None: it has none."""
    found = [str(each) for each in versions_below(folder)]
    if not found:
        return None
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"Prepared below {folder}: {', '.join(found[-SHOWN:])}{more}; name one of these folders."


def _opened(name: str, sources: list[Tfds] | list[Folder]) -> Meant:
    wrong = [problem for source in sources if (problem := source.problem())]
    if wrong:
        raise UserError(list(dict.fromkeys(wrong)))
    return Meant(name, tuple(sources))
