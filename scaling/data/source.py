"""What a source of images promises: a frozen config that opens into `Images`.

A source is two labelled sets, one to train on and one held out. This file knows neither files nor
pixels, nor which image comes at which step: that is `order.py`'s business.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from scaling.base.config import Clash, Config
from scaling.base.console import Say
from scaling.data.captions import Caption, texts_of
from scaling.data.file_ranges import FileRange, own_identity
from scaling.data.labels import Labels, check_labels
from scaling.data.order import subset
from scaling.data.pixels.crops import Cropper
from scaling.data.pixels.decode import UnreadableImages, together

SAMPLE = 256  # images that are looked at where not all are
MOST_PIXELS = 8192  # along the side of an image: a network sees no more of any photograph

Labelled: TypeAlias = tuple[NDArray[np.uint8], Labels]
"""Images [n, resolution, resolution, 3], and their labels in 0 .. classes - 1: [n], one each, or
[n, most], a few each, -1 where there is no further one."""


class Images(Protocol):
    """Labelled square colour images that can be asked for by number, in any order."""

    @property
    def resolution(self) -> int:
        """Side of every image, pixels."""

    @property
    def classes(self) -> int:
        """Labels are 0 .. classes - 1."""

    @property
    def size(self) -> int | None:
        """Number of images; None when there is no end to them."""

    @property
    def shuffled(self) -> bool:
        """Whether images come in random order, so that the first ones speak for all."""

    def batch(self, indices: NDArray[np.int64], crop: Cropper | None = None) -> Labelled:
        """The images of these numbers, each in 0 .. size - 1; the same number, the same image.

        Args:
          crop: what of each image is seen, from the sizes of these images as they are stored; None:
            what the source itself shows of it.
        """

    def labels_of(self, indices: NDArray[np.int64]) -> Labels:
        """As those of `batch`, and without decoding an image where that can be."""


@runtime_checkable
class Captioned(Images, Protocol):
    """Images of which something is said in words."""

    def captions_of(self, indices: NDArray[np.int64]) -> Sequence[Caption]:
        """The caption of each image of these numbers; no image is decoded where that can be."""


def captions(images: Images, numbers: NDArray[np.int64]) -> Sequence[Caption]:
    """What is said of each of these images. Raises UserError where nothing is."""
    if not isinstance(images, Captioned):
        raise UserError(["the images of [data] have no captions, which this objective reads."])
    return images.captions_of(numbers)


Opened = TypeVar("Opened", bound=Images)


class Fault(NamedTuple):
    """Why a source cannot be opened: the key that is to blame, and what is wrong, in words."""

    key: str
    words: str


class SourceConfig(Config, ABC):
    """Base of all sources. A subclass adds `kind: Literal["its-name"]` and what it needs.

    Every source also has `classes` and `resolution`, as fields or as properties, and knows them
    without decoding an image.
    """

    @property
    def private(self) -> bool:
        """Whether nobody here can get the images; a plan needs none."""
        return False

    @property
    def labels_each(self) -> int | None:
        """Most labels of an image, the second axis of its sets' labels; None: there is no such
        axis, every image has one. Decodes nothing."""
        return None

    @property
    def labelled(self) -> bool:
        """Whether images to learn from have labels; those to measure on always do."""
        return True

    @property
    def captioned(self) -> bool:
        """Whether its sets are `Captioned`."""
        return False

    @property
    def class_names(self) -> Sequence[str] | None:
        """Names of the classes in the order of their numbers; None: they have none."""
        return None

    @property
    def classes_told_apart(self) -> Sequence[str] | None:
        """`class_names`, and what they are of where other data use the same names."""
        return self.class_names

    def heldout_names(self, shown: bool = True) -> Sequence[str] | None:
        """File names of the held-out images, in their order; None: they have none.

        Args:
          shown: whether of those alone that `heldout` shows; else of those too that are left out,
            as they cannot be read or are of no class of a subset.
        """
        del shown
        return None

    @property
    def names_at_hand(self) -> bool:
        """Whether `heldout_names(shown=False)` is quick: no image is read or decoded for it."""
        return True

    @property
    def heldout_only(self) -> bool:
        """Whether there are no images to learn from, and only some to measure on."""
        return False

    @abstractmethod
    def train(self) -> Images:
        """The images to learn from. Raises ValueError where there are none."""

    @abstractmethod
    def heldout(self) -> Images:
        """The images to measure on: finite, and none of them among `train()`."""

    def sets(self) -> dict[str, Callable[[], Images]]:
        """How each of its sets is opened, those alone that are there: `train`, then `heldout`."""
        heldout: dict[str, Callable[[], Images]] = {"heldout": self.heldout}
        return heldout if self.heldout_only else {"train": self.train, **heldout}

    def sizes(self) -> tuple[int | None, int | None]:
        """Numbers of images, to train on and held out; None: no end. Decodes nothing.

        A source that decodes when it is opened counts in another way.
        """
        return 0 if self.heldout_only else self.train().size, self.heldout().size

    @property
    def subset(self) -> str:
        """Which part of its images it has, in words; "all" of a source that is no `Subset`."""
        return "all"

    def labels(self, heldout: bool = False) -> Labels:
        """All labels of one of the sets, which is finite. Reads what it must: a source that can
        tell them without opening the set does that here.

        Args:
          heldout: whether of the images to measure on, not of those to learn from.
        """
        images = self.heldout() if heldout else self.train()
        assert images.size is not None
        return images.labels_of(np.arange(images.size))

    @property
    def labels_at_hand(self) -> bool:
        """Whether `labels` is quick: no image is read, decoded or copied for it."""
        return False

    def captions(self, count: int, heldout: bool = False) -> Sequence[Caption]:
        """What is said of so many images that speak for all of one of the sets, always the same,
        or of all there are: those of the first members of the fixed permutation. Reads what it
        must: a source that can tell it without opening the set does that here.

        Args:
          heldout: whether of the images to measure on, not of those to learn from.

        Raises:
          UserError: there are none.
        """
        images = self.heldout() if heldout else self.train()
        if not isinstance(images, Captioned):
            raise UserError(["the images of [data] have no captions."])
        return images.captions_of(spread_over(count, images.size))

    def file_ranges(self, heldout: bool = False) -> Sequence[FileRange]:
        """Where the images of one of the sets lie, unreadable ones too, in the order of their
        numbers; asked of a source without a fault. Decodes nothing and reads no image.

        One range without a folder where no file decides the images: the configuration does then.
        """
        named = json.dumps([own_identity(self), heldout])
        return [FileRange("", named, "", 0, self.sizes()[heldout] or 0)]

    def unreadable(self, heldout: bool = False) -> Sequence[int]:
        """Numbers among all that `file_ranges` counts, rising, of the images that `train()` or
        `heldout()` leaves out because they cannot be read. Looks at all, unless that was done."""
        del heldout
        return ()

    def fault(self, to_train: bool = True) -> Fault | None:
        """Why this source cannot be opened here; None when it can. Decodes nothing.

        Args:
          to_train: whether images to learn from are needed; else they may be absent, as of a set
            that is only measured on. Where they are there, nothing may be wrong with them.
        """
        del to_train
        return None

    def problem(self, to_train: bool = True) -> str | None:
        """The same, in words alone."""
        fault = self.fault(to_train)
        return fault.words if fault else None

    def check(self, say: Say) -> None:
        """Look at images of its sets before anything is trained or measured on them.

        Here a sample of each. A source of files looks at more: at all of them, or at some of every
        file, as its documentation says.

        Args:
          say: is told what takes long.

        Raises:
          ValueError: what is wrong, of both sets together; `UnreadableImages` names each image.
        """
        del say
        check_each(check_sample, self.sets().values())

    def area(self) -> int | None:
        """Height times width of an image as it is stored, pixels; None: nobody knows it without
        looking at all of them."""
        return None

    def irreducible_error(self) -> float | None:
        """Error of the best possible classifier on held-out images, where theory gives it."""
        return None

    def provenance(self) -> dict[str, Any]:
        """What decided the pixels, for a run's manifest. A source with a decoder adds it here."""
        sets = {name: opened() for name, opened in self.sets().items()}
        captions = {
            f"{name}_captions": captions_fingerprint(images)
            for name, images in sets.items()
            if isinstance(images, Captioned)
        }
        return captions | {
            "numpy": np.__version__,
            **{f"{name}_size": images.size for name, images in sets.items()},
            **{f"{name}_fingerprint": fingerprint(images) for name, images in sets.items()},
        }


def sample(images: Images, count: int) -> NDArray[np.int64]:
    """Numbers of `count` images that speak for all, always the same; all of them, if fewer.

    The first ones where images come in random order. Elsewhere, as in a folder that comes class by
    class, those that a data set of this size has (`order.subset`).
    """
    if images.size is None or images.shuffled:
        return np.arange(count if images.size is None else min(count, images.size))
    if count >= images.size:
        return np.arange(images.size)
    return subset(np.arange(count), images.size)


def spread_over(count: int, size: int | None) -> NDArray[np.int64]:
    """The first members of the fixed permutation of `size` images; None: there is no end."""
    if size is None:
        return np.arange(count)
    return subset(np.arange(min(count, size)), size)


def check_sample(images: Images) -> None:
    """Decode a sample of the images, and look at its labels."""
    numbers = sample(images, SAMPLE)
    check_labels(images.batch(numbers)[1], images.classes, numbers)


def check_each(look: Callable[[Opened], object], opens: Iterable[Callable[[], Opened]]) -> None:
    """Open each set and look at it; the unreadable images of all of them are named together."""
    found: list[UnreadableImages] = []
    for each in opens:
        try:
            look(each())
        except UnreadableImages as error:
            found.append(error)
    if found:
        raise together(found)


def fingerprint(images: Images, count: int = SAMPLE) -> str:
    """A short hash of a sample of images and labels as decoded: other pixels, another hash."""
    pixels, labels = images.batch(sample(images, count))
    whole = hashlib.sha256(np.ascontiguousarray(pixels).tobytes())
    whole.update(labels.astype("<i4").tobytes())
    return whole.hexdigest()[:16]


def captions_fingerprint(images: Captioned, count: int = SAMPLE) -> str:
    """The same of a sample of captions."""
    whole = hashlib.sha256()
    for caption in images.captions_of(sample(images, count)):
        for text in texts_of(caption):
            whole.update(text.encode() + b"\0")
    return whole.hexdigest()[:16]


def same_sets(keys: tuple[str, str], train: str, heldout: str) -> Iterator[Clash]:
    """What a source's two keys, for the images to learn from and to measure on, say against each
    other: nothing, unless both name the same images."""
    if train == heldout:
        yield Clash(keys, f"{keys[0]} and {keys[1]} are both {train!r}.")


class Splits(Protocol):
    """A source of two named splits, of which that to learn from may be absent."""

    @property
    def train_split(self) -> str:
        """Name of that to learn from."""

    @property
    def heldout_split(self) -> str:
        """Name of that to measure on."""

    @property
    def heldout_only(self) -> bool:
        """Whether only the second is there."""


def splits_of(source: Splits, to_train: bool = False) -> dict[str, str]:
    """The two splits, by the key that says each; where nothing need be learnt from, those that are
    there."""
    heldout = {"heldout_split": source.heldout_split}
    if not to_train and source.heldout_only:
        return heldout
    return {"train_split": source.train_split, **heldout}


def missing(path: Path) -> str | None:
    """Says that `path` is not there, and the nearest name that is; None when it exists."""
    if path.exists():
        return None
    there = path.parent
    if not there.is_dir():
        return f"there is no {path}: the folder {there} does not exist."
    near = did_you_mean(path.name, [entry.name for entry in there.iterdir()])
    return f"there is no {path}. {near}".rstrip()
