"""WebDataset: tar archives whose members KEY.jpg and KEY.cls are one image and its label.

Where members lie is found out once, from the headers alone, and kept below the user's cache folder;
after that any image is read by itself. Archives are plain, not compressed.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fits.base.errors import UserError
from fits.base.files import written_aside
from scaling.base.config import Clash, NoneAs
from scaling.base.machine import cache_folder
from scaling.data.captions import Caption
from scaling.data.encoded import EncodedSource
from scaling.data.patterns import files_of
from scaling.data.readable import Encoded, alone
from scaling.data.source import Fault, same_sets
from scaling.data.tar_members import TarMember, read_member, tar_members

IMAGES = ("jpg", "jpeg", "png")
LONGEST_LABEL = 20  # bytes of a .cls member
SHOWN = 5  # mistakes of an archive that are spelled out
ARCHIVES = 20  # whose mistakes are


class WebDataset(EncodedSource):
    """Tar archives as WebDataset reads them: members `KEY.jpg` (or .jpeg, .png) and `KEY.cls`.

    A `.cls` member holds the class as a whole number from 0. Other members are passed over. Before
    anything else the headers of all archives are read, once on each machine (kept in
    `~/.cache/vit-scaling-laws`), and archives that are cut off, images without a label and labels
    beyond the classes are named. Before the first step the first and last image of each archive and
    256 of each set are decoded.
    """

    kind: Literal["webdataset"] = "webdataset"
    train_shards: str = Field(min_length=1)
    """Archives to learn from: `data/train-{0000..1023}.tar`, `data/train-*.tar`."""
    heldout_shards: str = Field(min_length=1)
    """Archives to measure on; none of those to learn from."""
    classes: int = Field(ge=1, le=10_000_000)
    """Labels are 0 .. classes - 1."""
    label_key: Annotated[str | None, NoneAs("none")] = "cls"
    """What the name of a label's member ends in; "none": images have no labels, and all are of the
    one class 0."""
    caption_key: str | None = None
    """What the name of a caption's member ends in, such as "txt" or "caption": UTF-8 text, one an
    image. Left out, images have no captions."""
    caption_lines: bool = False
    """Whether every line of a caption's member is a caption of its own, of which each showing of
    the image draws one; else the whole text is one."""

    @property
    def captioned(self) -> bool:
        return self.caption_key is not None

    def clashes(self) -> Iterator[Clash]:
        if self.label_key is None and self.classes != 1:
            yield Clash(
                ("label_key", "classes"),
                f'label_key = "none" makes all images one class; say classes = 1, not '
                f"{self.classes:_}.",
            )
        if self.caption_lines and self.caption_key is None:
            yield Clash(
                ("caption_lines", "caption_key"),
                "caption_lines says how captions are read, and there are none; give caption_key.",
            )
        yield from same_sets(
            ("train_shards", "heldout_shards"), self.train_shards, self.heldout_shards
        )
        yield from super().clashes()

    def records(self, heldout: bool) -> "WebDatasetRecords":
        pattern = self.heldout_shards if heldout else self.train_shards
        shards = [Shard.of(file) for file in files_of(pattern)]
        return WebDatasetRecords(
            pattern,
            shards,
            self.classes,
            self.label_key,
            self.caption_key,
            caption_lines=self.caption_lines,
        )

    def fault_of_files(self) -> Fault | None:
        fields = {"train_shards": self.train_shards, "heldout_shards": self.heldout_shards}
        seen: dict[Path, str] = {}
        for field, pattern in fields.items():
            try:
                files = files_of(pattern)
            except ValueError as error:
                return Fault(field, f"{error}.")
            if absent := [str(file) for file in files if not file.is_file()]:
                more = f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else ""
                return Fault(field, f"there is no {', '.join(absent[:SHOWN])}{more}.")
            for file in files:
                if (other := seen.setdefault(file.absolute(), field)) != field:
                    return Fault(field, f"{file} is one of {other} too.")
        return self._fault_of_members(fields)

    def _fault_of_members(self, fields: dict[str, str]) -> Fault | None:
        """What is wrong with the members of all archives of both sets."""
        wrong: dict[Path | str, list[str]] = {}
        blamed = None
        for field, pattern in fields.items():
            count, before = 0, len(wrong)
            for file in files_of(pattern):
                try:
                    index = index_of(Shard.of(file), self.label_key, self.caption_key)
                except ValueError as error:
                    wrong[file] = error.mistakes if isinstance(error, UserError) else [str(error)]
                    continue
                count += len(index.labels)
                if labels := _words_of_labels(file, index, self.classes):
                    wrong[file] = labels
            if not count and len(wrong) == before:
                wrong[pattern] = [f"{pattern} holds no images ({', '.join(IMAGES)})"]
            if blamed is None and wrong:
                blamed = field
        return None if blamed is None else Fault(blamed, "\n".join(_listed(wrong)))


def _listed(wrong: Mapping[Path | str, Sequence[str]]) -> Iterator[str]:
    """A line a mistake, of archive after archive; of many the first, and how many more."""
    for archive, mistakes in itertools.islice(wrong.items(), ARCHIVES):
        yield from (f"{mistake}." for mistake in mistakes[:SHOWN])
        if len(mistakes) > SHOWN:
            yield f"{archive}: ... and {len(mistakes) - SHOWN:_} more."
    if len(wrong) > ARCHIVES:
        yield f"... and {len(wrong) - ARCHIVES:_} more archives."


class Shard(NamedTuple):
    """One archive, and what tells it from its changed self."""

    file: Path
    bytes: int
    modified: int
    """Nanoseconds since 1970."""

    @classmethod
    def of(cls, file: Path) -> "Shard":
        stat = file.stat()
        return cls(file.absolute(), stat.st_size, stat.st_mtime_ns)


class Index(NamedTuple):
    """The images of one archive, in its order."""

    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]
    names: NDArray[np.bytes_]
    """UTF-8."""
    caption_offsets: NDArray[np.int64]
    caption_sizes: NDArray[np.int64]
    """Both 0 where there are no captions."""


class WebDatasetRecords:
    """The images of several archives, one after another."""

    def __init__(
        self,
        name: str,
        shards: Sequence[Shard],
        classes: int,
        label_key: str | None,
        caption_key: str | None = None,
        *,
        caption_lines: bool = False,
    ):
        self.name, self.shards, self.classes = name, shards, classes
        self.keys, self._lines = (label_key, caption_key), caption_lines
        self.indices = [index_of(shard, label_key, caption_key) for shard in shards]
        self._ends = np.cumsum([len(index.labels) for index in self.indices])
        self._labels = np.concatenate([index.labels for index in self.indices])
        self.size = int(self._ends[-1])

    def _place(self, number: int) -> tuple[Shard, Index, int]:
        if not 0 <= number < self.size:
            raise IndexError(f"{self.name} has no image {number}")
        i = int(np.searchsorted(self._ends, number, side="right"))
        index = self.indices[i]
        return self.shards[i], index, number - (int(self._ends[i]) - len(index.labels))

    def read(self, numbers: Sequence[int]) -> list[Encoded]:
        found = []
        for number in numbers:
            shard, index, i = self._place(number)
            image = read_member(shard.file, int(index.offsets[i]), int(index.sizes[i]))
            found.append(Encoded(image, int(index.labels[i])))
        return found

    def labels_of(self, numbers: Sequence[int]) -> NDArray[np.int64]:
        return self._labels[np.asarray(numbers, np.int64)]

    def captions_of(self, numbers: Sequence[int]) -> list[Caption]:
        return [self._caption(number) for number in numbers]

    def _caption(self, number: int) -> Caption:
        shard, index, i = self._place(number)
        size = int(index.caption_sizes[i])
        text = read_member(shard.file, int(index.caption_offsets[i]), size)
        try:
            whole = text.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise UserError([f"{self.called(number)}: its caption is not UTF-8 text."]) from None
        if not self._lines:
            return whole
        if not whole:
            raise UserError([f"{self.called(number)}: its captions have no line with a text."])
        return tuple(line.strip() for line in whole.splitlines() if line.strip())

    def called(self, number: int) -> str:
        shard, index, i = self._place(number)
        return f"{shard.file}: {index.names[i].decode('utf-8', 'replace')}"

    def ends(self) -> NDArray[np.int64]:
        lengths = np.array([len(index.labels) for index in self.indices])
        filled = lengths > 0
        return np.unique(np.concatenate([(self._ends - lengths)[filled], self._ends[filled] - 1]))

    def identity(self) -> list[Any]:
        shards = [[str(s.file), s.bytes, s.modified] for s in self.shards]
        label_key, caption_key = self.keys
        told = [] if caption_key is None else [f"caption {caption_key}"]
        return ["webdataset", label_key, *told, *shards]


@cache
def index_of(shard: Shard, label_key: str | None, caption_key: str | None = None) -> Index:
    """Where the images of an archive lie; read from its headers, unless that was done.

    Raises:
      ValueError: it is cut off.
      UserError: members are missing, or labels are none: all of them.
    """
    decides = json.dumps([str(shard.file), *shard[1:], label_key, caption_key, IMAGES])
    digest = hashlib.sha256(decides.encode()).hexdigest()[:16]
    file = cache_folder() / f"{shard.file.stem[-40:]}-{digest}.index.npz"
    with alone(file) as keeps:
        found = _kept(file) if keeps else None
        if found is None:
            found = _read_headers(shard.file, label_key, caption_key)
            if keeps:
                with written_aside(file) as aside, aside.open("wb") as stream:
                    np.savez(stream, **found._asdict())
    return found


def _kept(file: Path) -> Index | None:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            found = Index(**{name: arrays[name] for name in Index._fields})
    except Exception:  # of zipfile, zlib and NumPy, whatever a damaged file makes of them
        return None
    kinds = [array.dtype.kind for array in found]
    same = len({array.shape for array in found}) == 1 and found.labels.ndim == 1
    return found if same and kinds == ["i", "i", "i", "S", "i", "i"] else None


def _read_headers(archive: Path, label_key: str | None, caption_key: str | None) -> Index:
    images: dict[str, TarMember] = {}
    labels: dict[str, int | None] = {}
    captions: dict[str, TarMember] = {}
    wrong = []
    for member in tar_members(archive):
        folder, slash, file = member.name.rpartition("/")
        stem, _, ends = file.partition(".")
        key, ends = f"{folder}{slash}{stem}", ends.lower()
        if ends in IMAGES:
            if key in images:
                wrong.append(f"{archive} has two images of {key!r}: {member.name} is one")
            images[key] = member
        elif caption_key is not None and ends == caption_key.lower():
            captions[key] = member
        elif label_key is not None and ends == label_key.lower():
            labels[key] = _label(archive, member)
            if labels[key] is None:
                wrong.append(f"{archive}: {member.name} holds no class, a whole number from 0")
    kinds: list[tuple[Mapping[str, Any], Mapping[str, Any], str]] = []
    if label_key is not None:
        kinds += [(images, labels, f"no .{label_key}"), (labels, images, "no image")]
    if caption_key is not None:
        kinds.append((images, captions, f"no .{caption_key}"))
    for there, other, words in kinds:
        if lone := [key for key in there if key not in other]:
            named = ", ".join(lone[:SHOWN]) + (" .." if len(lone) > SHOWN else "")
            wrong.append(f"{archive} has {words} for {len(lone):_} of its keys: {named}")
    if wrong:
        raise UserError(wrong)
    names = [member.name.encode("utf-8", "replace") for member in images.values()]
    return Index(
        np.array([member.offset for member in images.values()], np.int64),
        np.array([member.size for member in images.values()], np.int64),
        np.array([labels[key] if label_key else 0 for key in images], np.int64),
        np.array(names or [b""], "S")[: len(images)],
        *(
            np.array([getattr(captions[key], at) if caption_key else 0 for key in images], np.int64)
            for at in ("offset", "size")
        ),
    )


def _label(archive: Path, member: TarMember) -> int | None:
    """The number that a member holds; None: it holds none."""
    if member.size > LONGEST_LABEL:
        return None
    text = read_member(archive, member.offset, member.size)
    return int(text) if re.fullmatch(rb"\s*-?[0-9]{1,9}\s*", text) else None


def _words_of_labels(archive: Path, index: Index, classes: int) -> list[str]:
    wrong = np.flatnonzero((index.labels < 0) | (index.labels >= classes))
    return [
        f"{archive}: {index.names[i].decode('utf-8', 'replace')} has the label {index.labels[i]}, "
        f"and there are {classes:_} classes, 0 .. {classes - 1:_}"
        for i in wrong
    ]
