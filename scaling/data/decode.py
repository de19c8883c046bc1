"""From an image file to pixels, the same way for every source that reads files.

The only file of this folder that knows JPEG from PNG. Pillow is imported when it is first needed.
"""

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fits.base.errors import UserError

MOST_THREADS = 8  # each caller has its own, and a loader is several callers
SHOWN = 20  # bad images that an error names before it counts the rest
PREVIEW = 64  # pixels: a JPEG that is only checked is decoded at an eighth of its size, if larger


class UnreadableImages(UserError):
    """Images that no decoder reads, all that were met, the first ones named.

    Fields:
      why: the reason, by what each image is called.
      lasting: whether only a change of the files can help, as it could not with a disk's errors.
    """

    def __init__(self, why: Mapping[str, str], *, lasting: bool = False):
        self.why, self.lasting = dict(why), lasting
        named = [f"{name}: {reason}" for name, reason in self.why.items()]
        if len(named) == 1:
            super().__init__([f"{named[0]}; repair or remove it."])
            return
        lines = [f"{len(named):_} images cannot be read; repair or remove them:", *named[:SHOWN]]
        if len(named) > SHOWN:
            lines.append(f"... and {len(named) - SHOWN:_} more.")
        super().__init__(["\n".join(lines)])


def together(errors: Sequence[UnreadableImages]) -> UnreadableImages:
    """One error with the images of all of them."""
    return UnreadableImages(
        {name: reason for error in errors for name, reason in error.why.items()},
        lasting=all(error.lasting for error in errors),
    )


def decode(file: Path | bytes, resolution: int) -> NDArray[np.uint8]:
    """One image file (a path, or its contents) as uint8 [resolution, resolution, 3], RGB.

    An image of another size is resized bilinearly and antialiased, its aspect ratio ignored; one
    of that very size keeps its pixels. EXIF orientation is ignored, as TensorFlow's decoder does.
    Raises ValueError for what is no image, or one of more than 8 bits a channel.
    """
    from PIL import Image

    size = (resolution, resolution)
    with _words_of_pillow(), Image.open(_stream(file)) as opened:
        _refuse_deep(opened.mode)
        image = opened.convert("RGB")
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image)


def check(file: Path | bytes) -> None:
    """Raise ValueError, as `decode` does, for what it could not decode; cheaper than decoding."""
    from PIL import Image

    with _words_of_pillow(), Image.open(_stream(file)) as opened:
        _refuse_deep(opened.mode)
        opened.draft("RGB", (PREVIEW, PREVIEW))
        opened.load()


def _stream(file: Path | bytes) -> Path | io.BytesIO:
    return file if isinstance(file, Path) else io.BytesIO(file)


def _refuse_deep(mode: str) -> None:
    if mode.startswith(("I", "F")):
        raise _TooDeep("it has more than 8 bits a channel")


class _TooDeep(ValueError):
    """An image whose pixels would be clipped."""


@contextmanager
def _words_of_pillow() -> Iterator[None]:
    """Whatever Pillow raises about a file, as ValueError in words."""
    try:
        yield
    except (_TooDeep, MemoryError):
        raise
    except Exception as error:  # a parser of its own for every format, and as many exceptions
        raise ValueError(f"not a readable image: {error}") from error


def decode_all(
    files: Sequence[Path | bytes], names: Sequence[str], resolution: int
) -> NDArray[np.uint8]:
    """Files to uint8 [n, resolution, resolution, 3], several at once.

    `names` is what an error calls each file. Raises UnreadableImages that names all bad ones.
    """
    images = np.empty((len(files), resolution, resolution, 3), np.uint8)

    def into(i: int) -> None:
        images[i] = decode(files[i], resolution)

    _each(into, names)
    return images


def check_all(files: Sequence[Path | bytes], names: Sequence[str]) -> None:
    """As `decode_all`, for the error alone."""
    _each(lambda i: check(files[i]), names)


def _each(work: Callable[[int], None], names: Sequence[str]) -> None:
    """work(i) for every name, several at once; what fails is named when all are done."""

    def failure(i: int) -> ValueError | None:
        try:
            work(i)
        except ValueError as error:
            return error
        return None

    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        errors = list(pool.map(failure, range(len(names))))
    if bad := {name: error for name, error in zip(names, errors, strict=True) if error is not None}:
        raise UnreadableImages(
            {name: str(error) for name, error in bad.items()},
            lasting=not any(_of_disk(error) for error in bad.values()),
        )


def _of_disk(error: ValueError) -> bool:
    """Whether the system refused to read a file, which may go otherwise the next time."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno is not None


def decoder() -> str:
    """What turns files into pixels, with its version: another one may give other pixels."""
    return f"pillow {version('pillow')}"
