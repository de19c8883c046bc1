"""The 15 common corruptions of Hendrycks and Dietterich 2019, made while images are looked at.

Kinds, severities and their constants are those of the authors' script for ImageNet-C
(github.com/hendrycks/robustness, make_imagenet_c.py), which is for images of 224 px: lengths in
pixels are multiplied by side / 224 here. The formulas stand with each function. Nothing is equal to
the published files bit for bit: those were made with OpenCV, scikit-image and ImageMagick, drew
other random numbers, and were saved as JPEG of quality 85. `frost` has no photographs of frost and
is a stand-in. All that is random is a function of (kind, severity, number of the image).
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scaling.data.labels import Labels
from scaling.data.pixels.crops import Cropper
from scaling.data.source import Images, Labelled

Image: TypeAlias = NDArray[np.float64]
"""[side, side, 3], in 0 .. 1."""
Generator: TypeAlias = np.random.Generator
SIDE = 224  # pixels, for which the constants are
GREY = np.array([0.299, 0.587, 0.114])


class Corrupted:
    """Images of a set, each corrupted; labels as they are."""

    def __init__(self, images: Images, kind: str, severity: int):
        """
        Args:
          kind: a key of `CORRUPTIONS`.
          severity: 1, the mildest, to 5.
        """
        self._images, self._kind, self._severity = images, kind, severity
        self.size, self.shuffled = images.size, images.shuffled
        self.resolution, self.classes = images.resolution, images.classes

    def batch(self, indices: NDArray[np.int64], crop: Cropper | None = None) -> Labelled:
        pixels, labels = self._images.batch(indices, crop)
        found = [
            corrupt(image, self._kind, self._severity, int(i))
            for image, i in zip(pixels, indices, strict=True)
        ]
        return np.stack(found), labels

    def labels_of(self, indices: NDArray[np.int64]) -> Labels:
        return self._images.labels_of(indices)


def corrupt(image: NDArray[np.uint8], kind: str, severity: int, number: int) -> NDArray[np.uint8]:
    """One image [side, side, 3], corrupted; fractions of a grey level are cut off, as there.

    Args:
      kind: a key of `CORRUPTIONS`.
      severity: 1 to 5.
      number: of the image, which decides what is random.
    """
    generator = np.random.default_rng((list(CORRUPTIONS).index(kind), severity, number))
    found = CORRUPTIONS[kind](image / 255, severity - 1, generator)
    return (np.clip(found, 0, 1) * 255 + 1e-9).astype(np.uint8)


# Noise


def gaussian_noise(x: Image, s: int, g: Generator) -> Image:
    """x + c * normal."""
    return x + g.normal(size=x.shape) * (0.08, 0.12, 0.18, 0.26, 0.38)[s]


def shot_noise(x: Image, s: int, g: Generator) -> Image:
    """poisson(c x) / c."""
    c = (60, 25, 12, 5, 3)[s]
    return g.poisson(x * c) / c


def impulse_noise(x: Image, s: int, g: Generator) -> Image:
    """A share c of all numbers, each colour on its own, becomes 0 or 1, equally likely."""
    hit = g.random(x.shape) < (0.03, 0.06, 0.09, 0.17, 0.27)[s]
    return np.where(hit, g.random(x.shape) < 0.5, x)


# Blur


def defocus_blur(x: Image, s: int, g: Generator) -> Image:
    """Convolution with a disk of radius r, whose rim is smoothed by a Gaussian of sigma a px cut to
    3 x 3; edges mirrored."""
    from scipy.signal import oaconvolve

    radius, alias = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[s]
    kernel = _disk(radius * _scale(x), alias)
    reach = len(kernel) // 2
    wide = np.pad(x, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    return oaconvolve(wide, kernel[..., None], mode="valid", axes=(0, 1))


def glass_blur(x: Image, s: int, g: Generator) -> Image:
    """A Gaussian of sigma, then every pixel from the last to the first is exchanged with one up to
    d rows and columns away, n times over, then the Gaussian again."""
    sigma, far, times = ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[s]
    side, d = len(x), max(1, round(far * _scale(x)))
    sigma *= _scale(x)
    place = list(range(side * side))
    inner = range(side - d - 1, d, -1)
    for _ in range(times):
        away = g.integers(-d, d, size=(len(inner) ** 2, 2)) @ np.array([side, 1])
        here = np.array([row * side + column for row in inner for column in inner])
        for i, j in zip(here.tolist(), (here + away).tolist(), strict=True):
            place[i], place[j] = place[j], place[i]
    blurred = _gaussian(x, sigma).reshape(-1, 3)[place].reshape(x.shape)
    return _gaussian(blurred, sigma)


def motion_blur(x: Image, s: int, g: Generator) -> Image:
    """Mean of the image shifted by i = 0 .. 2 r px along an angle in -45 .. 45 degrees, weighted
    with exp(-i^2 / (2 sigma^2)); bilinear, edges repeated."""
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[s]
    return _streaks(x, radius, sigma, g.uniform(-45, 45))


def zoom_blur(x: Image, s: int, g: Generator) -> Image:
    """Mean of the image and of itself enlarged about its centre by every factor of a list."""
    last, step = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))[s]
    factors = np.arange(1, last, step)
    return (x + sum(_zoomed(x, float(f)) for f in factors)) / (len(factors) + 1)


# Weather


def snow(x: Image, s: int, g: Generator) -> Image:
    """Normal noise, enlarged and cut off below a threshold, streaks downwards: added as it is and
    turned by 180 degrees to the image, which is paled towards 1.5 grey + 0.5."""
    mean, deviation, zoom, threshold, radius, sigma, kept = (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[s]
    layer = g.normal(mean, deviation, size=(*x.shape[:2], 1))
    layer = _zoomed(layer, max(1.0, zoom * _scale(x)))
    layer = np.clip(np.where(layer < threshold, 0, layer), 0, 1)
    layer = _streaks(layer, radius, sigma, g.uniform(-135, -45))
    pale = np.maximum(x, (x @ GREY)[..., None] * 1.5 + 0.5)
    return kept * x + (1 - kept) * pale + layer + np.rot90(layer, 2)


def frost(x: Image, s: int, g: Generator) -> Image:
    """a x + b f. There f is a cut of one of five photographs of frost; here, as a stand-in, the
    ridges of a fractal, 1 - |2 p - 1| with p of `_plasma` of roughness 1.7, bluish white."""
    a, b = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[s]
    ridges = 1 - np.abs(2 * _plasma(len(x), 1.7, g) - 1)
    return a * x + b * ridges[..., None] ** 2 * np.array([0.85, 0.93, 1.0])


def fog(x: Image, s: int, g: Generator) -> Image:
    """(x + a p) m / (m + a), p a fractal of the diamond-square algorithm in 0 .. 1 whose steps fall
    by the factor b a halving, m the largest number of x."""
    a, b = ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))[s]
    most = x.max()
    return (x + a * _plasma(len(x), b, g)[..., None]) * most / (most + a)


def brightness(x: Image, s: int, g: Generator) -> Image:
    """c is added to the value of hue, saturation and value: x (v + c, at most 1) / v."""
    value = x.max(-1, keepdims=True)
    lighter = np.minimum(value + (0.1, 0.2, 0.3, 0.4, 0.5)[s], 1)
    return np.where(value > 0, x * lighter / np.maximum(value, 1e-12), lighter)


# Digital


def contrast(x: Image, s: int, g: Generator) -> Image:
    """(x - mean) c + mean, the mean of each colour."""
    mean = x.mean((0, 1), keepdims=True)
    return (x - mean) * (0.4, 0.3, 0.2, 0.1, 0.05)[s] + mean


def elastic_transform(x: Image, s: int, g: Generator) -> Image:
    """The image seen at A(place + displacement): a random affine map, three points moved by up to
    c, and a field of uniform noise smoothed by a Gaussian of sigma, times a; bilinear and mirrored.
    There the two are done one after the other, with an interpolation each. All three constants are
    multiples of 244 px, as there."""
    from scipy.ndimage import map_coordinates

    a, sigma, most = (
        (2, 0.7, 0.1),
        (2, 0.08, 0.2),
        (0.05, 0.01, 0.02),
        (0.07, 0.01, 0.02),
        (0.12, 0.01, 0.02),
    )[s]
    side = len(x)
    unit = 244 * _scale(x)
    middle, third = side // 2, side // 3
    points = np.array(
        [
            [middle + third, middle + third],
            [middle + third, middle - third],
            [middle - third, middle - third],
        ],
        float,
    )
    moved = points + g.uniform(-most * unit, most * unit, size=points.shape)
    back = np.linalg.lstsq(np.c_[moved, np.ones(3)], points, rcond=None)[0]  # [3, 2]
    smooth = _smoothing(side, sigma * unit)
    field = a * unit * np.stack([smooth @ g.uniform(-1, 1, (side, side)) @ smooth.T for _ in "yx"])
    places = (np.mgrid[:side, :side] + field).reshape(2, -1)
    seen = back[:2].T @ places + back[2][:, None]
    colours = [map_coordinates(x[..., k], seen, order=1, mode="mirror") for k in range(3)]
    return np.stack(colours, -1).reshape(x.shape)


def pixelate(x: Image, s: int, g: Generator) -> Image:
    """Reduced to c of the side by box averages, and enlarged again."""
    from PIL import Image as Pillow

    side = len(x)
    small = max(1, int(side * (0.6, 0.5, 0.4, 0.3, 0.25)[s]))
    image = Pillow.fromarray(_bytes(x)).resize((small, small), Pillow.Resampling.BOX)
    return np.asarray(image.resize((side, side), Pillow.Resampling.BOX)) / 255


def jpeg_compression(x: Image, s: int, g: Generator) -> Image:
    """Written as JPEG of quality c by Pillow, and read again."""
    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.fromarray(_bytes(x)).save(file, "JPEG", quality=(25, 18, 15, 10, 7)[s])
    return np.asarray(Pillow.open(file)) / 255


CORRUPTIONS: dict[str, Callable[[Image, int, Generator], Image]] = {
    each.__name__: each
    for each in (
        gaussian_noise,
        shot_noise,
        impulse_noise,
        defocus_blur,
        glass_blur,
        motion_blur,
        zoom_blur,
        snow,
        frost,
        fog,
        brightness,
        contrast,
        elastic_transform,
        pixelate,
        jpeg_compression,
    )
}


def _scale(x: Image) -> float:
    return len(x) / SIDE


def _bytes(x: Image) -> NDArray[np.uint8]:
    return (x * 255 + 0.5).astype(np.uint8)


@cache
def _disk(radius: float, alias: float) -> NDArray[np.float64]:
    """The share of each pixel inside a disk, of 9 x 9 places in it, smoothed; sums to 1."""
    reach = math.ceil(radius) + 1
    fine = (np.arange(9 * (2 * reach + 1)) - 9 * reach - 4) / 9
    inside = fine[:, None] ** 2 + fine**2 <= radius**2
    disk = inside.reshape(2 * reach + 1, 9, -1, 9).mean((1, 3))
    tap = np.exp(-(np.arange(-1, 2) ** 2) / (2 * alias**2))
    tap /= tap.sum()
    smooth = np.apply_along_axis(np.convolve, 0, disk, tap, "same")
    smooth = np.apply_along_axis(np.convolve, 1, smooth, tap, "same")
    return smooth / smooth.sum()


def _gaussian(x: Image, sigma: float) -> Image:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(x, (sigma, sigma, 0), mode="nearest")


@cache
def _smoothing(side: int, sigma: float) -> NDArray[np.float64]:
    """[side, side]: a Gaussian along one axis, cut at 3 sigma, edges mirrored."""
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(np.eye(side), sigma, axis=0, mode="reflect", truncate=3)


def _streaks(x: Image, radius: float, sigma: float, degrees: float) -> Image:
    from scipy.ndimage import shift

    scale = _scale(x)
    steps = np.arange(round(2 * radius * scale) + 1)
    weights = np.exp(-(steps**2) / (2 * (sigma * scale) ** 2))
    weights /= weights.sum()
    down, right = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    found = np.zeros_like(x)
    for i, weight in zip(steps, weights, strict=True):
        if weight > 1e-4:  # else less than a tenth of a grey level in all
            found += weight * shift(x, (i * down, i * right, 0), order=1, mode="nearest")
    return found


def _zoomed(x: Image, factor: float) -> Image:
    """Enlarged about its centre by bilinear interpolation, cut to its size."""
    between = _enlarging(len(x), factor)
    return np.einsum("ir,jc,rcd->ijd", between, between, x, optimize=True)


@cache
def _enlarging(side: int, factor: float) -> NDArray[np.float64]:
    """[side, side]: how much of each row a row of the enlarged takes."""
    centre = (side - 1) / 2
    at = centre + (np.arange(side) - centre) / factor
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(side)))


def _plasma(side: int, roughness: float, g: Generator) -> NDArray[np.float64]:
    """A fractal by the diamond-square algorithm on a torus, cut to [side, side], in 0 .. 1.

    Each new place is the mean of its four neighbours plus uniform noise, whose reach, at first 1,
    is divided by `roughness` squared each time the grid is halved.
    """
    size = 1 << max(1, math.ceil(math.log2(side)))
    field, step, reach = np.zeros((size, size)), size, 1.0
    while step > 1:
        half = step // 2
        corners = field[::step, ::step]
        across = corners + np.roll(corners, -1, 0)
        squares = (across + np.roll(across, -1, 1)) / 4
        centres = squares + reach * g.uniform(-1, 1, squares.shape)
        field[half::step, half::step] = centres
        rows = (corners + np.roll(corners, -1, 1) + centres + np.roll(centres, 1, 0)) / 4
        field[::step, half::step] = rows + reach * g.uniform(-1, 1, rows.shape)
        columns = (corners + np.roll(corners, -1, 0) + centres + np.roll(centres, 1, 1)) / 4
        field[half::step, ::step] = columns + reach * g.uniform(-1, 1, columns.shape)
        step, reach = half, reach / roughness**2
    field -= field.min()
    return (field / max(field.max(), 1e-12))[:side, :side]
