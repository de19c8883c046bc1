"""The sixteen operations of RandAugment, on one image each.

An operation is (image, level, draw) -> image: uint8 [side, side, 3], level >= 0 the magnitude in
tenths, `Draw` what is random besides. They are those of the TensorFlow code that AugReg trained
with: big_vision, `pp/autoaugment.py` (commit 538b8a8), read for this file, with its quirks:
contrast does not turn about the image's mean, and levels above 1 extrapolate. Here otherwise:

- What is counted in pixels there, for images of 224 px, is a share of the side here: the same at
  224 px, and as strong in smaller images. The grey that contrast turns about is that of 224 px.
- A threshold above 255 (`solarize`, from level 1 on) leaves an image as it is. There a threshold is
  a byte; what TensorFlow makes of one that is none was not checked.
- From memory, and not read: how TensorFlow turns colours into grey (weights 0.2989, 0.587, 0.114,
  times 255.5 / 255, cut off), that it shifts a byte by 7 bits at most (`posterize` at level 0), and
  that it rotates about the middle of the image and takes the nearest pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]

SIDE = 224  # of the images for which pixels are counted
TRANSLATION, CUTOUT = 100 / SIDE, 40 / SIDE  # of the side, at level 1
DEGREES, SHEAR = 30.0, 0.3  # at level 1
FILL = 128  # what is seen where nothing is
CONTRAST_GREY = SIDE**2 / 256  # the number of pixels over 256, which the code takes for their mean
GREY = np.array([0.2989, 0.587, 0.114], np.float32)
SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


class Draw(NamedTuple):
    """What is random in an operation.

    Fields:
      sign: 1 or -1, equally likely.
      y, x: uniform on [0, 1).
    """

    sign: int
    y: float
    x: float


def autocontrast(image: Image, level: float, draw: Draw) -> Image:
    """Each channel stretched to 0 .. 255."""
    low = image.min((0, 1)).astype(np.float32)
    high = image.max((0, 1)).astype(np.float32)
    scale = np.float32(255) / np.where(high > low, high - low, 1)
    stretched = to_bytes(image * scale - low * scale)
    return np.where(high > low, stretched, image)


def equalize(image: Image, level: float, draw: Draw) -> Image:
    """Each channel's histogram made as even as a map of its levels can, as in Pillow."""
    channels = []
    for channel in np.moveaxis(image, -1, 0):
        counts = np.bincount(channel.ravel(), minlength=256)
        step = (counts.sum() - counts[counts > 0][-1]) // 255
        if step:
            table = np.concatenate([[0], ((np.cumsum(counts) + step // 2) // step)[:-1]])
            channel = np.clip(table, 0, 255).astype(np.uint8)[channel]
        channels.append(channel)
    return np.stack(channels, -1)


def invert(image: Image, level: float, draw: Draw) -> Image:
    return 255 - image


def posterize(image: Image, level: float, draw: Draw) -> Image:
    """The highest int(4 * level) bits of each byte."""
    shift = np.uint8(min(max(8 - int(4 * level), 0), 7))
    return np.left_shift(np.right_shift(image, shift), shift)


def solarize(image: Image, level: float, draw: Draw) -> Image:
    """Inverted from int(256 * level) on."""
    return np.where(image < int(256 * level), image, 255 - image)


def solarize_add(image: Image, level: float, draw: Draw) -> Image:
    """int(110 * level) added to what is below 128."""
    return np.where(image < 128, to_bytes(image.astype(np.float32) + int(110 * level)), image)


def color(image: Image, level: float, draw: Draw) -> Image:
    """Away from grey, or towards it."""
    return enhanced(grey(image), image, level)


def contrast(image: Image, level: float, draw: Draw) -> Image:
    """Away from `CONTRAST_GREY`, or towards it."""
    return enhanced(np.full_like(image, int(CONTRAST_GREY)), image, level)


def brightness(image: Image, level: float, draw: Draw) -> Image:
    """Away from black, or towards it."""
    return enhanced(np.zeros_like(image), image, level)


def sharpness(image: Image, level: float, draw: Draw) -> Image:
    """Away from a smoothed image, or towards it; its border is not smoothed."""
    if min(image.shape[:2]) < 3:
        return image
    windows = np.lib.stride_tricks.sliding_window_view(image.astype(np.float32), (3, 3), (0, 1))
    smooth = image.copy()
    smooth[1:-1, 1:-1] = to_bytes(np.einsum("yxcij,ij->yxc", windows, SMOOTH))
    return enhanced(smooth, image, level)


def rotate(image: Image, level: float, draw: Draw) -> Image:
    """By 30 degrees times the level, about the middle, either way."""
    angle = math.radians(DEGREES * level * draw.sign)
    cos, sin = math.cos(angle), math.sin(angle)
    middle = (len(image) - 1) / 2
    shift_x, shift_y = middle * (1 - cos + sin), middle * (1 - sin - cos)
    return warped(image, ((cos, -sin, shift_x), (sin, cos, shift_y)))


def shear_x(image: Image, level: float, draw: Draw) -> Image:
    """Rows moved by 0.3 times the level of their number, either way."""
    return warped(image, ((1, draw.sign * SHEAR * level, 0), (0, 1, 0)))


def shear_y(image: Image, level: float, draw: Draw) -> Image:
    """Columns moved by 0.3 times the level of their number, either way."""
    return warped(image, ((1, 0, 0), (draw.sign * SHEAR * level, 1, 0)))


def translate_x(image: Image, level: float, draw: Draw) -> Image:
    """Sideways by 100 / 224 of the side times the level, either way."""
    return warped(image, ((1, 0, draw.sign * TRANSLATION * len(image) * level), (0, 1, 0)))


def translate_y(image: Image, level: float, draw: Draw) -> Image:
    """Up or down by 100 / 224 of the side times the level."""
    return warped(image, ((1, 0, 0), (0, 1, draw.sign * TRANSLATION * len(image) * level)))


def cutout(image: Image, level: float, draw: Draw) -> Image:
    """A grey square of twice 40 / 224 of the side times the level, its middle anywhere."""
    side = len(image)
    half = int(CUTOUT * side * level + 1e-9)  # 40 / 224 * 224 is no exact 40
    y, x = int(draw.y * side), int(draw.x * side)
    cut = image.copy()
    cut[max(0, y - half) : y + half, max(0, x - half) : x + half] = FILL
    return cut


Operation: TypeAlias = Callable[[Image, float, Draw], Image]
OPERATIONS: dict[str, Operation] = {
    "AutoContrast": autocontrast,
    "Equalize": equalize,
    "Invert": invert,
    "Rotate": rotate,
    "Posterize": posterize,
    "Solarize": solarize,
    "Color": color,
    "Contrast": contrast,
    "Brightness": brightness,
    "Sharpness": sharpness,
    "ShearX": shear_x,
    "ShearY": shear_y,
    "TranslateX": translate_x,
    "TranslateY": translate_y,
    "Cutout": cutout,
    "SolarizeAdd": solarize_add,
}


def enhanced(without: Image, image: Image, level: float) -> Image:
    """`without` at a factor of 0, the image at 1, further away at more; the factor is 1.8 * level
    + 0.1."""
    start = without.astype(np.float32)
    return to_bytes(start + np.float32(1.8 * level + 0.1) * (image - start))


def grey(image: Image) -> Image:
    """All channels the luminance."""
    luminance = (image.astype(np.float32) / 255) @ GREY * np.float32(255.5)
    return np.repeat(to_bytes(luminance)[..., None], 3, axis=-1)


def to_bytes(values: NDArray[np.floating]) -> Image:
    """Clipped to 0 .. 255, and cut off."""
    return np.clip(values, 0, 255).astype(np.uint8)


def warped(image: Image, matrix: tuple[tuple[float, float, float], ...]) -> Image:
    """Pixel (x, y) from (a x + b y + c, d x + e y + f), the nearest; grey from outside.

    Args:
      matrix: (a, b, c) and (d, e, f).
    """
    side = len(image)
    y, x = np.mgrid[:side, :side]
    (a, b, c), (d, e, f) = matrix
    from_x = np.rint(a * x + b * y + c).astype(np.int64)
    from_y = np.rint(d * x + e * y + f).astype(np.int64)
    inside = (from_x >= 0) & (from_x < side) & (from_y >= 0) & (from_y < side)
    found = image[np.where(inside, from_y, 0), np.where(inside, from_x, 0)]
    return np.where(inside[..., None], found, np.uint8(FILL))
