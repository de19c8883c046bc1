"""Images that fit in memory: a NumPy archive of one's own, and scikit-learn's digits."""

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fits.base.counted import counted
from scaling.base.config import Clash, HomePath
from scaling.data.file_ranges import FileRange
from scaling.data.hashing import key
from scaling.data.labels import MOST_CLASSES, NONE, Labels, padded
from scaling.data.order import permute
from scaling.data.pixels.crops import Cropper, crop_of
from scaling.data.pixels.decode import UnreadableImages
from scaling.data.pixels.resize import DEFAULT, Decode, cut, cut_all
from scaling.data.source import MOST_PIXELS, Fault, Labelled, SourceConfig, missing

SETS = ("train", "heldout")
DAMAGE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
TOTAL = 1797  # handwritten digits
TRAIN_EACH = 100  # of each digit, to train on
SPLIT = 21


class InMemory:
    """Labelled images [n, resolution, resolution, 3] that lie in memory."""

    shuffled = False

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: Labels,
        classes: int,
        *,
        originals: NDArray[np.uint8] | None = None,
        how: Decode = DEFAULT,
    ):
        """
        Args:
          originals: what crops are cut out of, [n, h, w] or [n, h, w, 3]; None: the images.
          how: filter and library of crops.
        """
        self.images, self.labels, self.classes = images, labels, classes
        self.size, self.resolution = images.shape[:2]
        self._originals, self._how = images if originals is None else originals, how

    def batch(self, indices: NDArray[np.int64], crop: Cropper | None = None) -> Labelled:
        if crop is None:
            return self.images[indices], self.labels[indices]
        originals = in_colour(self._originals[indices])
        return cut_all(originals, crop, self.resolution, self._how), self.labels[indices]

    def labels_of(self, indices: NDArray[np.int64]) -> Labels:
        return self.labels[indices]


class Arrays(SourceConfig):
    """An .npz with `train_images`, `train_labels`, `heldout_images`, `heldout_labels`.

    The first two may be absent where nothing is learnt from the images.

    Images are uint8 [n, height, width] or [n, height, width, 3], labels whole numbers [n] from 0,
    or [n, most] where images have several, with -1 where there is no further one.
    Images of another size are resized, bilinearly and antialiased, when the source is opened.
    """

    kind: Literal["arrays"] = "arrays"
    path: HomePath = Field(description="the .npz file")
    resolution: int = Field(ge=1, le=MOST_PIXELS, description="side of an image, pixels")
    decode: Decode = DEFAULT
    """How images are resized, and by which library."""

    def clashes(self) -> Iterator[Clash]:
        yield from self.decode.clash_with(self.resolution)

    @property
    def classes(self) -> int:
        """One more than the largest label of either set; 0: the file is not here."""
        if not self.path.exists():
            return 0
        with np.load(self.path, allow_pickle=False) as archive:
            return 1 + max(0, *(int(archive[f"{name}_labels"].max()) for name in self.sets()))

    @property
    def labels_each(self) -> int | None:
        if not self.path.exists():
            return None
        headers = _headers(self.path)
        shapes = [headers[f"{name}_labels"][0] for name in self.sets()]
        if all(len(shape) == 1 for shape in shapes):
            return None
        return max(shape[1] if len(shape) == 2 else 1 for shape in shapes)

    @property
    def heldout_only(self) -> bool:
        return not any(name.startswith("train_") for name in _headers(self.path))

    def train(self) -> InMemory:
        return self._open("train")

    def heldout(self) -> InMemory:
        return self._open("heldout")

    def sizes(self) -> tuple[int, int]:
        headers = _headers(self.path)
        found = {name: headers[f"{name}_labels"][0][0] for name in self.sets()}
        return found.get("train", 0), found["heldout"]

    def file_ranges(self, heldout: bool = False) -> list[FileRange]:
        """Told by the checksum that the archive keeps of its images."""
        name = f"{SETS[heldout]}_images.npy"
        with zipfile.ZipFile(self.path) as archive:
            checksum = f"{archive.getinfo(name).CRC:08x}"
        member = f"{self.path.name}/{name}"
        where = str(self.path.absolute().parent)
        return [FileRange(where, member, checksum, 0, self.sizes()[heldout])]

    def area(self) -> int:
        height, width = self.stored
        return height * width

    @property
    def stored(self) -> tuple[int, int]:
        """Height and width of its images in the file, pixels."""
        _, height, width, *_ = _headers(self.path)[f"{next(iter(self.sets()))}_images"][0]
        return height, width

    def _open(self, name: str) -> InMemory:
        if problem := self.problem(to_train=name == "train"):
            raise ValueError(problem)
        images, labels = (self._array(f"{name}_{part}") for part in ("images", "labels"))
        labels = padded(labels.astype(np.int32), self.labels_each)
        return _in_memory(images, labels, self.classes, self.resolution, self.decode)

    def _array(self, name: str) -> NDArray[Any]:
        """Raises UnreadableImages where its bytes are not those that were written."""
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                return archive[name]
        except DAMAGE as error:
            raise UnreadableImages({f"{self.path}, {name}": f"damaged: {error}"}) from error

    @property
    def labels_at_hand(self) -> bool:
        return True

    def labels(self, heldout: bool = False) -> Labels:
        found = self._array(f"{SETS[heldout]}_labels").astype(np.int32)
        return padded(found, self.labels_each)

    def fault(self, to_train: bool = True) -> Fault | None:
        if problem := self.decode.problem():
            return Fault("decode", problem)
        try:
            words = missing(self.path) or self._problem_inside(to_train)
        except DAMAGE as error:
            words = f"{self.path} is not a NumPy archive of plain arrays (.npz): {error}"
        return Fault("path", words) if words else None

    def _problem_inside(self, to_train: bool) -> str | None:
        headers, sets = _headers(self.path), SETS if to_train else tuple(self.sets())
        wanted = [f"{name}_{part}" for name in sets for part in ("images", "labels")]
        if absent := [array for array in wanted if array not in headers]:
            held = ", ".join(headers) or "nothing"
            return f"{self.path} has no {', '.join(absent)}; it holds {held}."
        problems = (self._problem_of(name, headers) for name in sets)
        return next((f"{self.path}: {problem}" for problem in problems if problem), None)

    def _problem_of(
        self, name: str, headers: dict[str, tuple[tuple[int, ...], np.dtype]]
    ) -> str | None:
        shape, dtype = headers[f"{name}_images"]
        if dtype != np.uint8:
            return f"{name}_images are {dtype}; give uint8, 0 .. 255."
        if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3) or 0 in shape:
            return (
                f"{name}_images have shape {list(shape)}; "
                "give [n, height, width] or [n, height, width, 3], n > 0."
            )
        shape_of_labels, dtype = headers[f"{name}_labels"]
        if not np.issubdtype(dtype, np.integer):
            return f"{name}_labels are {dtype}; give whole numbers 0, 1, 2 .."
        if shape_of_labels[:1] != shape[:1] or len(shape_of_labels) > 2 or 0 in shape_of_labels:
            return (
                f"{name}_labels have shape {list(shape_of_labels)} for "
                f"{counted(shape[0], 'image')}; "
                f"give [{shape[0]}], or [{shape[0]}, most] where images have several."
            )
        with np.load(self.path, allow_pickle=False) as archive:
            labels = archive[f"{name}_labels"]
        lowest = 0 if labels.ndim == 1 else NONE
        if labels.min() < lowest:
            at = np.unravel_index(labels.argmin(), labels.shape)
            place = ", ".join(str(i) for i in at)
            none = "" if lowest == 0 else ", and -1 is for none"
            return f"{name}_labels[{place}] is {labels[at]}; labels start at 0{none}."
        if labels.max() >= MOST_CLASSES:
            at = np.unravel_index(labels.argmax(), labels.shape)
            place = ", ".join(str(i) for i in at)
            return (
                f"{name}_labels[{place}] is {labels[at]}; labels are classes, 0 .. "
                f"{MOST_CLASSES - 1:_}: give them numbers from 0 on."
            )
        return None

    def provenance(self) -> dict[str, Any]:
        return super().provenance() | {
            **self.decode.provenance(self.resolution),
            "sha256": hashlib.sha256(self.path.read_bytes()).hexdigest(),
        }


class Digits(SourceConfig):
    """The 1,797 handwritten digits that come with scikit-learn: 8 x 8 grey levels, resized.

    The split is fixed: 100 images of each digit to train on, the other 797 held out.
    """

    kind: Literal["digits"] = "digits"
    resolution: int = Field(16, ge=1, le=MOST_PIXELS, description="side of an image, pixels")

    @property
    def classes(self) -> int:
        return 10

    def train(self) -> InMemory:
        images, labels, chosen = _digits()
        return _in_memory(images[chosen], labels[chosen], self.classes, self.resolution)

    def heldout(self) -> InMemory:
        images, labels, chosen = _digits()
        return _in_memory(images[~chosen], labels[~chosen], self.classes, self.resolution)

    @property
    def labels_at_hand(self) -> bool:
        return True

    def sizes(self) -> tuple[int, int]:
        train = TRAIN_EACH * self.classes
        return train, TOTAL - train

    def area(self) -> int:
        return 8 * 8

    def provenance(self) -> dict[str, Any]:
        return super().provenance() | {
            "scikit-learn": version("scikit-learn"),
            **DEFAULT.provenance(self.resolution),
        }


def _in_memory(
    images: NDArray[np.uint8],
    labels: NDArray[np.int32],
    classes: int,
    resolution: int,
    how: Decode = DEFAULT,
) -> InMemory:
    squares = resized(images, resolution, how)
    return InMemory(squares, labels, classes, originals=images, how=how)


def resized(images: NDArray[np.uint8], resolution: int, how: Decode = DEFAULT) -> NDArray[np.uint8]:
    """Grey or colour images [n, h, w] or [n, h, w, 3] as [n, resolution, resolution, 3]."""
    crops = how.crops(np.array([images.shape[1:3]]), resolution)
    if crops.resized[0].tolist() == [resolution, resolution] == list(images.shape[1:3]):
        return in_colour(images)
    crop = crop_of(crops, 0)
    found = np.empty((len(images), resolution, resolution, 3), np.uint8)
    for square, image in zip(found, images, strict=True):
        square[...] = cut(in_colour(image[None])[0], crop, resolution, how)
    return found


def in_colour(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey images [n, h, w] with three equal channels; others as they are."""
    return images if images.ndim == 4 else np.repeat(images[..., None], 3, axis=3)


@cache
def _digits() -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.bool_]]:
    """All images [n, 8, 8], their labels [n], and which of them are for training [n]."""
    from sklearn.datasets import load_digits  # half a second, spared to those without digits

    digits = load_digits()
    images = (digits.images * 15).astype(np.uint8)  # grey levels 0 .. 16 become 0 .. 240
    labels = digits.target.astype(np.int32)
    shuffled = permute(np.arange(len(labels)), len(labels), key(SPLIT))
    chosen = np.zeros(len(labels), bool)
    for digit in range(10):
        chosen[shuffled[labels[shuffled] == digit][:TRAIN_EACH]] = True
    return images, labels, chosen


def _headers(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and dtype of every array in an archive, without reading the arrays."""
    headers = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.namelist():
            with archive.open(entry) as stream:
                major, _ = np.lib.format.read_magic(stream)
                read = (
                    np.lib.format.read_array_header_1_0
                    if major == 1
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read(stream)
            headers[entry.removesuffix(".npy")] = (shape, dtype)
    return headers
