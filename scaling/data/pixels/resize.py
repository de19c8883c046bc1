"""How pixels become a square of the size that is wanted: by which rule, filter and library.

`Decode` is what a study file says of it; `cut` does it to an array of pixels.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling.base.config import Clash, Config
from scaling.data.pixels.crops import (
    Crop,
    Cropper,
    Crops,
    central,
    crop_of,
    less_elongated,
    short_side,
    whole,
)

if TYPE_CHECKING:
    from PIL.Image import Image

OPENCV = "opencv-python-headless"


class Decode(Config):
    """From an image file to a square of pixels: filter, resize rule and decoder.

    By default width and height are both resized to the resolution, whatever the aspect ratio.
    Where a run's `augment` has a crop, the crop decides instead which part of an image is resized,
    and to what; filter and decoder hold for both.

    | protocol | is |
    |---|---|
    | Scaling ViT, upstream (App. B) | `keep_aspect = true, resize_to = 256` at resolution 224 |
    | few-shot of big_vision | `resize_to = 256, antialias = false` at resolution 224 |
    | big_vision's `resize_small` | `keep_aspect = true, filter = "area"` |
    """

    filter: Literal["bilinear", "bicubic", "area"] = "bilinear"
    """What an output pixel is made of. area: the mean of what it covers."""
    antialias: bool = True
    """Whether the filter widens where an image shrinks, so that every pixel counts; false, only
    with bilinear: four pixels an output pixel, as in big_vision and TensorFlow by default."""
    keep_aspect: bool = False
    """Whether the shorter side is resized to `resize_to`, and not both sides."""
    resize_to: int | None = Field(None, ge=1, le=8192)
    """Pixels, of which the central square of the resolution is taken; left out: the resolution."""
    decoder: Literal["pillow", "opencv"] = "pillow"
    """What decodes JPEGs and resizes. opencv is faster (benchmarks/input.py), with other last bits,
    and needs the package opencv-python-headless; it leaves other formats, CMYK and the antialiased
    filters to Pillow."""
    scaled_decoding: bool = False
    """Whether a JPEG is decoded at a half, a quarter or an eighth of its size where that is no
    fewer pixels than are wanted; boxes are then rounded to whole pixels of that size."""

    def clashes(self) -> Iterator[Clash]:
        if not self.antialias and self.filter != "bilinear":
            yield Clash(
                ("antialias", "filter"),
                f"antialias=false is for filter='bilinear'; {self.filter} is computed with all "
                f"pixels: leave antialias out.",
            )

    def crops(self, sizes: NDArray[np.int64], side: int) -> Crops:
        """What is seen of images of these heights and widths [n, 2] that nothing else crops."""
        to = self.resize_to or side
        box = whole(sizes)
        if not self.keep_aspect:
            resized = np.full_like(sizes, to)
        else:
            box = less_elongated(box)
            resized = short_side(box[:, 2:], to)
        return Crops(box, resized, central(resized, side))

    def clash_with(self, resolution: int) -> Iterator[Clash]:
        """Of a source that has this in its key `decode`."""
        if self.resize_to is not None and self.resize_to < resolution:
            yield Clash(
                ("decode", "resolution"),
                f"decode.resize_to={self.resize_to} is less than resolution={resolution}, which is "
                f"cut out of it; use {resolution} or more, or leave it out.",
            )

    def problem(self) -> str | None:
        """Why this cannot be done here; None when it can."""
        if self.decoder == "opencv" and importlib.util.find_spec("cv2") is None:
            return f"decoder='opencv' needs the package {OPENCV}: pip install {OPENCV}."
        return None

    def provenance(self, resolution: int) -> dict[str, Any]:
        """For a run's manifest."""
        sides = "the shorter side" if self.keep_aspect else "both sides"
        cut = f", the central {resolution}" if self.resize_to or self.keep_aspect else ""
        return {
            "decoder": self.libraries(),
            "resize": f"{sides} to {self.resize_to or resolution}{cut}",
            "filter": self.filter + ("" if self.antialias else ", not antialiased"),
            "scaled_decoding": self.scaled_decoding,
            "exif_orientation": "ignored",
        }

    def libraries(self) -> str:
        """What turns files into pixels, with versions: another one may give other pixels."""
        pillow = f"pillow {version('pillow')}"
        return f"{OPENCV} {version(OPENCV)}, {pillow}" if self.decoder == "opencv" else pillow


DEFAULT = Decode()


def cut_all(
    images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
    crop: Cropper,
    side: int,
    how: Decode = DEFAULT,
) -> NDArray[np.uint8]:
    """The squares of colour images [h, w, 3] that `crop` says, uint8 [n, side, side, 3]."""
    crops = crop(np.array([image.shape[:2] for image in images], np.int64).reshape(-1, 2))
    squares = np.empty((len(images), side, side, 3), np.uint8)
    for i, image in enumerate(images):
        squares[i] = cut(image, crop_of(crops, i), side, how)
    return squares


def cut(
    pixels: NDArray[np.uint8], crop: Crop, side: int, how: Decode = DEFAULT
) -> NDArray[np.uint8]:
    """The square of a colour image [h, w, 3] that `crop` says, uint8 [side, side, 3]."""
    top, left, height, width = crop.box
    inside = np.ascontiguousarray(pixels[top : top + height, left : left + width])
    return _square(_resized(inside, crop.resized, how), crop.corner, side)


def cut_image(image: Image, crop: Crop, side: int, how: Decode = DEFAULT) -> NDArray[np.uint8]:
    """The same of a Pillow image in RGB."""
    top, left, height, width = crop.box
    if (top, left, width, height) != (0, 0, *image.size):
        image = image.crop((left, top, left + width, top + height))
    if crop.resized == (height, width) or how.filter == "area":
        return _square(_resized(np.asarray(image), crop.resized, how), crop.corner, side)
    return _square(_by_pillow(image, crop.resized, how), crop.corner, side)


def _resized(pixels: NDArray[np.uint8], size: tuple[int, ...], how: Decode) -> NDArray[np.uint8]:
    """All of an image at another size (height, width)."""
    if pixels.shape[:2] == size:
        return pixels
    if how.decoder == "opencv" and _of_opencv(pixels.shape, size, how):
        return _by_opencv(pixels, size, how)
    if how.filter == "area":
        return area_means(pixels, size)
    from PIL import Image

    return _by_pillow(Image.fromarray(pixels), size, how)


def _by_pillow(image: Image, size: tuple[int, ...], how: Decode) -> NDArray[np.uint8]:
    from PIL import Image as Pillow

    height, width = size
    if how.antialias:
        filters = Pillow.Resampling
        chosen = filters.BICUBIC if how.filter == "bicubic" else filters.BILINEAR
        return np.asarray(image.resize((width, height), chosen))
    map_back = (image.width / width, 0, 0, 0, image.height / height, 0)
    warp, bilinear = Pillow.Transform.AFFINE, Pillow.Resampling.BILINEAR
    return np.asarray(image.transform((width, height), warp, map_back, bilinear))


def _of_opencv(shape: tuple[int, ...], size: tuple[int, ...], how: Decode) -> bool:
    """Whether OpenCV has the filter: bilinear without antialiasing, area to shrink."""
    if how.filter == "area":
        return shape[0] >= size[0] and shape[1] >= size[1]
    return how.filter == "bilinear" and not how.antialias


@cache
def opencv() -> Any:
    """The module, with one thread a call: callers have threads of their own."""
    import cv2

    cv2.setNumThreads(1)
    return cv2


def _by_opencv(pixels: NDArray[np.uint8], resized: tuple[int, ...], how: Decode) -> Any:
    cv2 = opencv()
    height, width = resized
    chosen = cv2.INTER_AREA if how.filter == "area" else cv2.INTER_LINEAR
    return cv2.resize(pixels, (width, height), interpolation=chosen)


def _square(pixels: NDArray[np.uint8], corner: tuple[int, ...], side: int) -> NDArray[np.uint8]:
    """The square at `corner`, black where there are no pixels."""
    y, x = corner
    height, width = pixels.shape[:2]
    if y >= 0 and x >= 0 and y + side <= height and x + side <= width:
        return pixels[y : y + side, x : x + side]
    square = np.zeros((side, side, 3), np.uint8)
    seen = pixels[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)]
    square[max(-y, 0) :, max(-x, 0) :][: seen.shape[0], : seen.shape[1]] = seen
    return square


def area_means(pixels: NDArray[np.uint8], resized: tuple[int, ...]) -> NDArray[np.uint8]:
    """The mean of what each output pixel covers, pixels in part counted in part."""
    means = pixels.astype(np.float64)
    for axis, size in enumerate(resized):
        means = np.moveaxis(_means(np.moveaxis(means, axis, 0), size), 0, axis)
    return np.rint(means).astype(np.uint8)


def _means(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """[n, ...] to [size, ...]: differences of the integral, which is linear within a pixel."""
    integral = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, 0)])
    edges = np.arange(size + 1) * (len(values) / size)
    below = np.minimum(edges.astype(np.int64), len(values) - 1)
    part = (edges - below).reshape(-1, *[1] * (values.ndim - 1))
    at_edges = integral[below] + part * values[below]
    return np.diff(at_edges, axis=0) * (size / len(values))
