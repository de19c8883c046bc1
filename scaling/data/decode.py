"""From an image file to pixels, the same way for every source that reads files.

The only file of this folder that knows JPEG from PNG. Pillow is imported when it is first needed.
"""

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MOST_THREADS = 8  # each caller has its own, and a loader is several callers


def decode(file: Path | bytes, resolution: int) -> NDArray[np.uint8]:
    """One image file (a path, or its contents) as uint8 [resolution, resolution, 3], RGB.

    An image of another size is resized bilinearly and antialiased, its aspect ratio ignored; one
    of that very size keeps its pixels. EXIF orientation is ignored, as TensorFlow's decoder does.
    Raises ValueError for what is no image, or one of more than 8 bits a channel.
    """
    from PIL import Image

    size = (resolution, resolution)
    try:
        with Image.open(file if isinstance(file, Path) else io.BytesIO(file)) as opened:
            if opened.mode.startswith(("I", "F")):
                raise ValueError("it has more than 8 bits a channel")
            image = opened.convert("RGB")
    except (OSError, SyntaxError) as error:  # Pillow's word for a broken PNG is SyntaxError
        raise ValueError(f"not a readable image: {error}") from error
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image)


def decode_all(
    files: Sequence[Path | bytes], names: Sequence[str], resolution: int
) -> NDArray[np.uint8]:
    """Files to uint8 [n, resolution, resolution, 3], several at once.

    `names` is what an error calls each file.
    """
    images = np.empty((len(files), resolution, resolution, 3), np.uint8)

    def into(i: int) -> None:
        try:
            images[i] = decode(files[i], resolution)
        except ValueError as error:
            raise ValueError(f"{names[i]}: {error}; repair or remove it.") from error

    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        list(pool.map(into, range(len(files))))
    return images


def decoder() -> str:
    """What turns files into pixels, with its version: another one may give other pixels."""
    return f"pillow {version('pillow')}"
