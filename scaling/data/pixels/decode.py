"""From an image file to pixels, the same way for every source that reads files.

The only file of this folder that knows JPEG from PNG. Pillow is imported when it is first needed.
"""

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fits.base.errors import UserError
from scaling.data.pixels.crops import Crop, Cropper, crop_of
from scaling.data.pixels.resize import DEFAULT, Decode, cut, cut_image, opencv

MOST_THREADS = 8  # each caller has its own, and a loader is several callers
SHOWN = 20  # bad images that an error names before it counts the rest
ADDRESS = re.compile(r" ?<_?io\.\w+ object at 0x[0-9a-f]+>")  # of a stream, in words of Pillow
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
            lines.append(f"... and {len(named) - SHOWN:_} more; `scaling data check` names all.")
        super().__init__(["\n".join(lines)])


def together(errors: Sequence[UnreadableImages]) -> UnreadableImages:
    """One error with the images of all of them."""
    return UnreadableImages(
        {name: reason for error in errors for name, reason in error.why.items()},
        lasting=all(error.lasting for error in errors),
    )


def decode(
    file: Path | bytes, resolution: int, how: Decode = DEFAULT, crop: Crop | None = None
) -> NDArray[np.uint8]:
    """One image file (a path, or its contents) as uint8 [resolution, resolution, 3], RGB.

    By default an image of another size is resized bilinearly and antialiased, its aspect ratio
    ignored; one of that very size keeps its pixels. EXIF orientation is ignored, as TensorFlow's
    decoder does; of an animation the first frame is taken; of colours of 16 bits the upper half
    counts. Raises ValueError for what is no image, or is grey of more than 8 bits, which Pillow
    would clip.

    Args:
      how: the filter and the decoder, and what of the image is seen where there is no crop.
      crop: what of the image is seen.
    """
    found = None
    with _opened(file) as opened:
        width, height = opened.size
        if crop is None:
            crop = crop_of(how.crops(np.array([[height, width]]), resolution), 0)
        scale = _scale(opened, crop) if how.scaled_decoding else 1
        if how.decoder == "opencv" and opened.format == "JPEG" and opened.mode in ("RGB", "L"):
            found = _by_opencv(file, scale)
        if found is None:  # where OpenCV reads nothing, Pillow says why
            if scale > 1:
                opened.draft("RGB", (width // scale, height // scale))
            opened.load()
            opened.info.pop(
                "transparency", None
            )  # RGB has none, and Pillow would warn of a palette's
            image = opened.convert("RGB")
    if found is not None:
        blue_first = cut(found, scaled_down(crop, scale, found.shape), resolution, how)
        return blue_first[:, :, ::-1]
    return cut_image(image, scaled_down(crop, scale, image.size[::-1]), resolution, how)


def size_of(file: Path | bytes) -> tuple[int, int]:
    """Height and width in pixels, from the file's header; ValueError as `decode` raises."""
    with _opened(file) as opened:
        return opened.height, opened.width


def _by_opencv(file: Path | bytes, scale: int) -> NDArray[np.uint8] | None:
    """A JPEG at one over `scale` of its size, [h, w, 3], blue first; None where it cannot."""
    cv2 = opencv()
    content = file.read_bytes() if isinstance(file, Path) else file
    size = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }
    flags = size[scale] | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.imdecode(np.frombuffer(content, np.uint8), flags)


def _scale(opened: Any, crop: Crop) -> int:
    """By how much a JPEG may be decoded smaller: both sides of the box stay as long as wanted."""
    if opened.format != "JPEG":
        return 1
    spare = min(have / want for have, want in zip(crop.box[2:], crop.resized, strict=True))
    return next((scale for scale in (8, 4, 2) if scale <= spare), 1)


def scaled_down(crop: Crop, scale: int, size: tuple[int, ...]) -> Crop:
    """The same crop of an image decoded at one over `scale` of its size, [height, width]."""
    if scale == 1:
        return crop
    box = np.array(crop.box)
    begin, end = box[:2] / scale, (box[:2] + box[2:]) / scale
    first = np.minimum(np.rint(begin).astype(int), np.array(size[:2]) - 1)
    last = np.clip(np.rint(end).astype(int), first + 1, size[:2])
    return crop._replace(box=(*first.tolist(), *(last - first).tolist()))


def check(file: Path | bytes) -> None:
    """Raise ValueError, as `decode` does, for what it could not decode; cheaper than decoding."""
    with _opened(file) as opened:
        opened.draft("RGB", (PREVIEW, PREVIEW))
        opened.load()


@contextmanager
def _opened(file: Path | bytes) -> Iterator[Any]:
    """An image whose header alone is read; whatever Pillow raises, as ValueError in words."""
    from PIL import Image

    stream = file if isinstance(file, Path) else io.BytesIO(file)
    with _words_of_pillow(), Image.open(stream) as opened:
        if opened.mode.startswith(("I", "F")):
            raise _TooDeep("it has more than 8 bits a channel")
        yield opened


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
        words = ADDRESS.sub("", str(error)).strip()  # the same on every process
        raise ValueError(f"not a readable image: {words}") from error


def decode_all(
    files: Sequence[Path | bytes],
    names: Sequence[str],
    resolution: int,
    how: Decode = DEFAULT,
    crop: Cropper | None = None,
) -> NDArray[np.uint8]:
    """Files to uint8 [n, resolution, resolution, 3], several at once.

    Args:
      names: what an error calls each file.
      how: the filter and the decoder, and what is seen of an image where there is no crop.
      crop: from the sizes of all these images, which are read first, what is seen of each.

    Raises:
      UnreadableImages: names all bad ones.
    """
    images = np.empty((len(files), resolution, resolution, 3), np.uint8)
    crops = None if crop is None else crop(sizes_of(files))

    def into(i: int) -> None:
        seen = None if crops is None else crop_of(crops, i)
        images[i] = decode(files[i], resolution, how, seen)

    _each(into, names)
    return images


def sizes_of(files: Sequence[Path | bytes]) -> NDArray[np.int64]:
    """Heights and widths [n, 2]; 1 of a file that has none, which decoding it then says."""
    sizes = np.ones((len(files), 2), np.int64)

    def into(i: int) -> None:
        with suppress(ValueError):
            sizes[i] = size_of(files[i])

    with _threads() as pool:
        list(pool.map(into, range(len(files))))
    return sizes


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

    with _threads() as pool:
        errors = list(pool.map(failure, range(len(names))))
    if bad := {name: error for name, error in zip(names, errors, strict=True) if error is not None}:
        raise UnreadableImages(
            {name: str(error) for name, error in bad.items()},
            lasting=not any(_of_disk(error) for error in bad.values()),
        )


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1))


def _of_disk(error: ValueError) -> bool:
    """Whether the system refused to read a file, which may go otherwise the next time."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno is not None


def decoder() -> str:
    """What turns files into pixels by default, with its version."""
    return DEFAULT.libraries()
