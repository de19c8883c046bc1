"""Which copies `scaling duplicates` finds, and what a million training images cost it.

    python benchmarks/duplicates.py [--images 1000000] [--cifar ../shared/data/cifar10]

First, on CIFAR-10's images where they are, else on blurred noise: 500 images are changed in several
ways, and the share is printed whose hashes are near their originals'; enlarged ones are decoded as
the command decodes files. The last line counts pairs of different images that are as near, copies
in CIFAR-10 itself included. Then the search itself, on so many made-up
training images, as large as files are hashed, against 50,000: seconds, CPU time and the most memory
in use. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import io
import resource
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from scaling.data.perceptual import dct_hashes
from scaling.data.pixels.decode import decode
from scaling.data.procedural.source import Procedural
from scaling.duplicates import HASHED, HASHED_BY, Alike, find
from scaling.evaluate import Upstream

SIDE, COUNT, CHANGED = 32, 2_000, 500
DISTANCES = 2, 4, 6, 8, 10


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=quality)
    return np.asarray(Image.open(file))


def resized(image: np.ndarray, side: int) -> np.ndarray:
    small = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def enlarged(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """As a photograph of this width and height is hashed: decoded at a part of its size."""
    file = io.BytesIO()
    Image.fromarray(image).resize(size, Image.Resampling.BICUBIC).save(file, "jpeg", quality=85)
    return decode(file.getvalue(), HASHED, HASHED_BY)


CHANGES = {
    "mirrored": lambda image: image[:, ::-1],
    "JPEG, quality 85": lambda image: jpeg(image, 85),
    "JPEG, quality 50": lambda image: jpeg(image, 50),
    "brightness 0.6": lambda image: (image * 0.6).astype(np.uint8),
    "resized to 20 px and back": lambda image: resized(image, 20),
    "enlarged to 96 x 64 px, JPEG": lambda image: enlarged(image, (96, 64)),
    "enlarged to 500 x 375 px, JPEG": lambda image: enlarged(image, (500, 375)),
    "central 28 px": lambda image: resized(np.pad(image[2:-2, 2:-2], ((0,), (0,), (0,))), SIDE),
}


def photographs(folder: Path) -> Iterator[np.ndarray]:
    """Test images of CIFAR-10, in the archive's order."""
    with tarfile.open(next(folder.glob("*.tar.xz"))) as archive:
        for member in archive:
            if member.isfile() and "test" in member.name and member.name.endswith(".jpg"):
                file = archive.extractfile(member)
                assert file is not None
                yield np.asarray(Image.open(file).convert("RGB"))


def blurred(seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    while True:
        small = rng.integers(0, 256, (6, 6, 3)).astype(np.uint8)
        yield np.asarray(Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def found_at(images: np.ndarray) -> None:
    hashes, _ = dct_hashes(images)
    print("| change | " + " | ".join(f"{d} bits" for d in DISTANCES) + " |")
    print("|---|" + "---|" * len(DISTANCES))
    for name, change in CHANGES.items():
        copies, mirrored = dct_hashes(np.stack([change(image) for image in images[:CHANGED]]))
        mine = hashes[:CHANGED]
        apart = np.minimum(np.bitwise_count(mine ^ copies), np.bitwise_count(mine ^ mirrored))
        shares = " | ".join(f"{np.mean(apart <= d):.3f}" for d in DISTANCES)
        print(f"| {name} | {shares} |")
    apart = np.bitwise_count(hashes[:, None] ^ hashes)[np.triu_indices(len(hashes), 1)]
    counts = " | ".join(f"{(apart <= d).sum():,} of {len(apart):.1e}" for d in DISTANCES)
    print(f"| pairs of different images | {counts} |")


class MadeUp:
    """Noise in the place of images."""

    resolution, classes, shuffled = HASHED, 1, True

    def __init__(self, size: int, seed: int):
        self.size, self.seed = size, seed

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self.seed, int(indices[0])))
        shape = len(indices), HASHED, HASHED, 3
        return rng.integers(0, 256, shape, np.uint8), np.zeros(len(indices), np.int32)


def cost(images: int) -> None:
    source = Procedural.model_construct(kind="procedural")
    object.__setattr__(source, "train", lambda: MadeUp(images, 1))
    object.__setattr__(source, "heldout", lambda: MadeUp(50_000, 2))
    study = SimpleNamespace(
        name="made-up", runs=(SimpleNamespace(data=source),), evaluate=(Upstream(),)
    )
    began, busy = time.monotonic(), time.process_time()
    find(study, Alike(), lambda line: None)  # type: ignore[arg-type]
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"\n{images:,} training images against 50,000: {time.monotonic() - began:.0f} s, "
        f"{time.process_time() - busy:.0f} s of CPU time, {most:.2f} GiB at most."
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--cifar", type=Path, default=Path("../shared/data/cifar10"))
    asked = parser.parse_args()
    pictures = photographs(asked.cifar) if asked.cifar.is_dir() else blurred(0)
    found_at(np.stack([image for image, _ in zip(pictures, range(COUNT), strict=False)]))
    cost(asked.images)


if __name__ == "__main__":
    main()
