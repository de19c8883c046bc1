"""What a person means who names data: a study, a data set of TFDS, or files of images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from fits.base.errors import UserError
from scaling.base.config import Config
from scaling.base.files import expanded
from scaling.base.json_file import read_json
from scaling.data.around.source import innermost
from scaling.data.arrays import Arrays
from scaling.data.files.encoded import EncodedSource
from scaling.data.folder import Folder
from scaling.data.source import Fault, SourceConfig
from scaling.data.tfds.names import KNOWN
from scaling.data.tfds.records import VERSION, prepared, versions_below
from scaling.data.tfds.source import Tfds
from scaling.data_found import (
    has_parquet,
    source_of_shards,
    sources_of_archives,
    sources_of_parquet,
)
from scaling.study.parse import find, read_study
from scaling.study.reading import Reading
from scaling.study.sources import sources_of
from scaling.training.run import Run

HELDOUT = ("test", "validation", "val", "valid", "heldout")
INFO = "dataset_info.json"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
MOST_LABELS = 10_000  # of an image that nobody has said more of
SHOWN = 10  # versions that a hint names before it counts the rest


class Meant(NamedTuple):
    """Data that somebody has named."""

    name: str
    sources: tuple[SourceConfig, ...]
    runs: tuple[Run, ...] = ()
    """Those of the study, where one was named; in each dtype that devices may choose."""


def meant(
    what: str, data_dir: Path | None, resolution: int, *, contents_needed: bool = True
) -> Meant:
    """The data that `what` names.

    Args:
      what: a study; a folder that holds train/<class>/, another split, or both; one of Parquet
        files or of archives of WebDataset; a pattern of such archives; an .npz; the folder of a
        data set that TFDS has described; or such a data set's name.
      data_dir: where data sets of TFDS are kept; where it is given, `what` names one of those.
      resolution: side of the images, pixels, where no study says it.
      contents_needed: whether all files must be readable, which who checks them does not know yet.

    Raises:
      UserError: there is no such thing, or it cannot be opened.
    """
    path, whole = expanded(Path(what)), contents_needed
    if what.endswith(COMPRESSED) and data_dir is None:
        raise UserError([f"{what} is a compressed archive; decompress it, and name the .tar."])
    if what.endswith(".tar") and data_dir is None:
        return _opened(path.stem, [source_of_shards(what, resolution)], whole)
    if path.suffix == ".npz" and path.is_file() and data_dir is None:
        return _opened(path.stem, [Arrays(path=path, resolution=resolution)], whole)
    if path.suffix == ".parquet" and path.is_file():
        raise UserError([f"{what} is one file; give the folder that it lies in."])
    if path.is_dir() and data_dir is None:
        if (path / INFO).is_file():
            return _of_tfds(*_named(path), resolution, whole)
        if has_parquet(path):
            return _opened(path.absolute().name, sources_of_parquet(path, resolution), whole)
        if found := sources_of_archives(path, resolution):
            return _opened(path.absolute().name, found, whole)
        if not (path / "train").is_dir() and (hint := _which(path)):
            raise UserError([f"{what} says no version. {hint}"])
        return _of_folder(path, resolution)
    studies = {file.name for file in files("scaling").joinpath("studies").iterdir()}
    study = what.endswith(".toml") or path.is_file() or f"{what}.toml" in studies
    if study and data_dir is None:
        return _of_study(what, whole)
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
    return _of_tfds(what, root, resolution, whole)


def _of_study(what: str, whole: bool) -> Meant:
    try:
        study = read_study(what)
    except UserError:
        if whole or not (damaged := _damaged_sources(what)):
            raise
        return Meant(Path(what).stem, damaged)
    found = [source for run in study.runs for source in sources_of(run, study.evaluate)]
    half = study.computed_in("bfloat16").runs if study.compute_open else ()  # as GPUs begin them
    return Meant(study.name, tuple(dict.fromkeys(found)), (*study.runs, *half))


def _damaged_sources(what: str) -> tuple[SourceConfig, ...]:
    """The sources that a study's file names and that can be opened; none of them where not one has
    files that are damaged, or labels that are wrong."""
    file = Reading(*find(what))
    file.check_keys()
    if file.mistakes:
        return ()
    opened = [source for source in _sources_in(file.parse()) if _fault(source, False) is None]
    return tuple(opened) if any(source.fault(to_train=False) for source in opened) else ()


def _sources_in(value: object) -> Iterator[SourceConfig]:
    """Sources that stand anywhere in a config; not those that others stand on."""
    if isinstance(value, SourceConfig):
        yield value
    elif isinstance(value, Config):
        for name in type(value).model_fields:
            yield from _sources_in(getattr(value, name))
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _sources_in(each)


def _fault(source: SourceConfig, whole: bool) -> Fault | None:
    inner = innermost(source)
    if not whole and isinstance(inner, EncodedSource):
        return inner.fault_of_opening(to_train=False)
    return source.fault(to_train=False)


def _of_folder(path: Path, resolution: int) -> Meant:
    there = [name for name in HELDOUT if (path / name).is_dir()]
    if not there and not (path / "train").is_dir():
        raise UserError([_no_images(path)])
    source = Folder(
        path=path, train_split="train", heldout_split=(there or ["test"])[0], resolution=resolution
    )
    return _opened(path.absolute().name, [source])


def _no_images(folder: Path) -> str:
    """What a folder would hold, were there images in it that can be read as they are."""
    names = sorted(file.name for file in folder.iterdir() if not file.name.startswith("."))
    more = f" and {len(names) - SHOWN:_} more" if len(names) > SHOWN else ""
    words = (
        f"{folder} holds no images that can be read as they are: no folder train/<class>/ "
        f"(or {', '.join(HELDOUT)}), no Parquet files, no archives of WebDataset (.tar), no data "
        f"set of TFDS. It holds {', '.join(names[:SHOWN]) or 'nothing'}{more}."
    )
    if any(name.endswith(COMPRESSED) for name in names):
        return f"{words} Decompress the archives, or `scaling data prepare` a data set of one."
    if any("tfrecord" in name or re.search(r"-\d{5}-of-\d{5}$", name) for name in names):
        return f"{words} Copy TFRecords with `scaling data convert --split`."
    return words


def _named(folder: Path) -> tuple[str, Path]:
    """Name with version, and root, of the data set that a folder root/name[/config]/version is."""
    folder = folder.absolute()
    for root in (folder.parents[1], folder.parents[2]):
        for name, found in prepared(root).items():
            if found == folder and ":" in name:
                return name, root
    raise UserError([f"{folder} is not at root/name/version, a version as 1.0.0."])


def _of_tfds(name: str, root: Path, resolution: int, whole: bool) -> Meant:
    """All splits, those without labels left out where that is known."""
    splits = _splits(prepared(root)[name] / INFO)
    bare = name.partition(":")[0].partition("/")[0]
    labelled = next((set(each.splits) for each in KNOWN if each.name == bare), set(splits))
    splits = [split for split in splits if split in labelled] or splits
    first = "train" if "train" in splits else splits[0]
    others = [split for split in splits if split != first]
    pairs = [(first, other) for other in others]
    if not others:  # a split of another name is one that is only measured on
        pairs = [("train[:90%]", "train[90%:]") if first == "train" else ("train", first)]
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
        keys = _likely(sources[0])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        keys = {}  # what is wrong with the description is said where it is opened
    sources = [source.model_copy(update=keys) for source in sources]
    return _opened(name.replace("/", "-").replace(":", "-"), sources, whole)


def _likely(source: Tfds) -> dict[str, object]:
    """The keys of its features, and where only a sequence of classes can be meant that as well."""
    keys: dict[str, object] = {**source.likely_keys()}
    several = source.model_copy(update={"most_labels": 1})
    several = several.model_copy(update=several.likely_keys())
    one = source.model_copy(update=keys)
    if one.fault(to_train=False) is None or several.fault(to_train=False) is not None:
        return keys
    found = {"image_key": several.image_key, "label_key": several.label_key}
    return {**found, "most_labels": min(several.classes, MOST_LABELS)}


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


def _opened(name: str, sources: Sequence[SourceConfig], whole: bool = True) -> Meant:
    wrong = [fault.words for source in sources if (fault := _fault(source, whole))]
    if wrong:
        raise UserError(list(dict.fromkeys(wrong)))
    return Meant(name, tuple(sources))
