"""How fast images come: decoded and cropped on one core, and how long a step waits for them.

    python benchmarks/input.py [--images 400] [--repeats 5] [--write]

First table: a 500 x 375 JPEG, in memory, to a 224 x 224 Inception crop, by `decode` as every
source calls it, for each decoder and filter; below them other libraries, decoding and resizing as
their users would, where they are installed. Images a second of CPU time, all threads counted; best
of the repeats, which take turns. The images are the two photographs that come with scikit-learn.

Second table: the share of a small study's training that a step waits for its batch, on this
machine's CPU, after the first look. Steps are queued: the loop that trains asks for the next batch
while the last step is still computed. So two shares are given, both measured around `next` of the
loader: how long the loop stands there, and, counted whole, only those of its waits at whose end the
last step had ended too: an upper bound on the time in which nothing was computed for want of data.
The last row is the case of a real network: the photographs of the first table to a 224 px Inception
crop and flip, Ti/16 at batch 32, for at most 20 steps.

`--write` puts both into benchmarks/results/input.md; nothing else is written but temporary files.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from models.shapes import ViTShape
from models.zoo import vit
from scaling.base.console import print_table
from scaling.base.machine import processor
from scaling.data import Arrays, Folder, Procedural, Source
from scaling.data.augment import Augment, Flip, InceptionCrop, RandomCrop
from scaling.data.pixels.crops import Crop, crop_of
from scaling.data.pixels.decode import decode
from scaling.data.pixels.resize import Decode
from scaling.training import trainer as training
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run

WIDTH, HEIGHT, SIDE, QUALITY = 500, 375, 224, 92
STEPS_OF_TI = 20  # seconds each, on a CPU
RESULTS = Path(__file__).parent / "results" / "input.md"
WAY = Callable[[bytes, Crop], object]
DECODED = ("library", "filter", "images/s a core", "times Pillow with this filter", "times default")
WAITED = ("data", "augment", "steps/s", "loop waits", "step waits, at most")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=400, help="a repeat (default 400)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300, help="of each training (default 300)")
    parser.add_argument("--write", action="store_true", help=f"also into {RESULTS.name}")
    options = parser.parse_args()
    files = photographs()
    head = (
        f"{processor()}, Python {platform.python_version()}, pillow {version('pillow')}; "
        f"JPEGs of {WIDTH} x {HEIGHT}, quality {QUALITY}, {[len(file) for file in files]} bytes."
    )
    print(head + "\n")
    decoded = list(decoding(files, options.images, options.repeats))
    print_table(DECODED, decoded, left=("library", "filter"))
    print()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        waited = list(waiting(files, Path(folder), options.steps))
    print_table(WAITED, waited, left=("data", "augment"))
    if options.write:
        page = "\n\n".join(["# Input", head, markdown(DECODED, decoded), markdown(WAITED, waited)])
        RESULTS.write_text(page + "\n", encoding="utf-8")


def photographs() -> list[bytes]:
    found = []
    for pixels in load_sample_images().images:
        file = io.BytesIO()
        image = Image.fromarray(pixels).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        image.save(file, "JPEG", quality=QUALITY)
        found.append(file.getvalue())
    return found


def decoding(files: list[bytes], count: int, repeats: int) -> Iterator[tuple[str, ...]]:
    """The rows of the first table."""
    sizes = np.tile([HEIGHT, WIDTH], (count, 1))
    crops = InceptionCrop().crops(sizes, side=SIDE, seed=0, places=np.arange(count))
    drawn = [crop_of(crops, i) for i in range(count)]
    ways = {**ours(), **peers()}
    rates: dict[tuple[str, str], list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            began = time.process_time()
            for i, crop in enumerate(drawn):
                way(files[i % len(files)], crop)
            rates[name].append(count / (time.process_time() - began))
    best = {name: max(each) for name, each in rates.items()}
    default = best["pillow", "bilinear, antialiased"]
    for (library, words), rate in best.items():
        pillow = best.get(("pillow", words))
        ratio = "" if pillow is None else f"{rate / pillow:.2f}"
        yield library, words, f"{rate:.0f}", ratio, f"{rate / default:.2f}"


def ours() -> dict[tuple[str, str], WAY]:
    """`decode`, by each decoder with each filter."""
    filters = {
        "bilinear, antialiased": Decode(),
        "bilinear": Decode(antialias=False),
        "area": Decode(filter="area"),
        "bicubic, antialiased": Decode(filter="bicubic"),
    }
    decoders = ["pillow", *(["opencv"] if importlib.util.find_spec("cv2") else [])]
    return {
        (decoder, words): _way(how.model_copy(update={"decoder": decoder}))
        for decoder in decoders
        for words, how in filters.items()
    }


def _way(how: Decode) -> WAY:
    return lambda file, crop: decode(file, SIDE, how, crop)


def peers() -> dict[tuple[str, str], WAY]:
    """Other libraries, where they are installed: what they decode, resized by Pillow or OpenCV."""
    found: dict[tuple[str, str], WAY] = {}
    decoders: dict[str, Callable[[bytes], np.ndarray]] = {}
    if importlib.util.find_spec("simplejpeg"):
        import simplejpeg

        decoders[f"simplejpeg {version('simplejpeg')}"] = simplejpeg.decode_jpeg
    if importlib.util.find_spec("turbojpeg"):
        import turbojpeg

        try:
            jpeg = turbojpeg.TurboJPEG()
            decoders[f"PyTurboJPEG {version('PyTurboJPEG')}"] = lambda file: jpeg.decode(
                file, pixel_format=turbojpeg.TJPF_RGB
            )
        except RuntimeError as error:
            print(f"PyTurboJPEG is left out: {str(error).splitlines()[0]}\n")
    for name, to_pixels in decoders.items():
        found[name, "none: all decoded, not resized"] = _decoded(to_pixels)
        found[f"{name}, resized by pillow", "bilinear, antialiased"] = _by_pillow(to_pixels)
        if importlib.util.find_spec("cv2"):
            found[f"{name}, resized by opencv", "bilinear"] = _by_opencv(to_pixels)
    return found


def _decoded(to_pixels: Callable[[bytes], np.ndarray]) -> WAY:
    return lambda file, crop: to_pixels(file)


def _by_pillow(to_pixels: Callable[[bytes], np.ndarray]) -> WAY:
    def way(file: bytes, crop: Crop) -> object:
        top, left, height, width = crop.box
        box = np.ascontiguousarray(to_pixels(file)[top : top + height, left : left + width])
        return np.asarray(Image.fromarray(box).resize((SIDE, SIDE), Image.Resampling.BILINEAR))

    return way


def _by_opencv(to_pixels: Callable[[bytes], np.ndarray]) -> WAY:
    import cv2

    def way(file: bytes, crop: Crop) -> object:
        top, left, height, width = crop.box
        box = to_pixels(file)[top : top + height, left : left + width]
        return cv2.resize(box, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)

    return way


def waiting(files: list[bytes], folder: Path, steps: int) -> Iterator[tuple[str, ...]]:
    """The rows of the second table: the demo's images, images like CIFAR's, and photographs, for
    small networks and for a real one."""
    decoder = "opencv" if importlib.util.find_spec("cv2") else "pillow"
    how = Decode(antialias=False, decoder=decoder)
    photos = Folder(path=_photo_folder(files, folder), resolution=64, decode=how)
    large = Folder(path=photos.path, resolution=SIDE, decode=how)
    cifar = Arrays(path=_like_cifar(folder), resolution=32)
    crop_and_flip, inception = (RandomCrop(padding=4), Flip()), (InceptionCrop(), Flip())
    few = min(steps, STEPS_OF_TI)
    for name, data, augment, batch, shape, count in (
        ("procedural, 16 px, as the demo", Procedural(), (), 64, small(16, 32), steps),
        ("arrays, 32 px, as CIFAR", cifar, crop_and_flip, 64, small(32, 64), steps),
        (f"folder of JPEGs, 64 px, {decoder}", photos, inception, 64, small(64, 64), steps),
        (f"the same, {SIDE} px, Ti/16, batch 32", large, inception, 32, vit("Ti/16", SIDE), few),
    ):
        rate, *shares = waited(data, augment, batch, shape, count)
        kinds = ", ".join(each.kind for each in augment)
        yield name, kinds or "none", f"{rate:.4g}", *(f"{100 * each:.2f} %" for each in shares)


def small(resolution: int, width: int) -> ViTShape:
    """Two blocks, and about as many tokens at each resolution."""
    return ViTShape(
        name="small",
        patch=4 if resolution <= 32 else 8,
        resolution=resolution,
        width=width,
        depth=2,
        mlp=4 * width,
        heads=4,
    )


def waited(
    data: Source, augment: tuple[Augment, ...], batch: int, shape: ViTShape, steps: int
) -> tuple[float, float, float]:
    """Steps a second, and the shares of their time that the loop waited for a batch, and that a
    step did, at most."""
    run = Run(
        model=shape,
        data=data,
        augment=augment,
        recipe=Recipe(warmup_steps=1),
        images_seen=batch * steps,
        batch=batch,
    )
    trainer = training.Trainer(run)
    begun: list[Any] = []  # the last step's loss
    waits: list[float] = []
    starved: list[float] = []
    ends: list[float] = []
    honest, compiled = training.batches, trainer._step

    def timed(*arguments: object, **options: object) -> Iterator[object]:
        stream = honest(*arguments, **options)  # type: ignore[arg-type]
        while True:
            began = time.perf_counter()
            try:
                found = next(stream)
            except StopIteration:
                return
            ends.append(time.perf_counter())
            waits.append(ends[-1] - began)
            starved.append(waits[-1] if all(loss.is_ready() for loss in begun) else 0.0)
            yield found

    def step(*arguments: object) -> Any:
        state, metrics = compiled(*arguments)
        begun[:] = [metrics["loss"]]
        return state, metrics

    training.batches = timed  # type: ignore[assignment]
    trainer._step = step
    try:
        trainer.advance(
            trainer.start(),
            steps,
            total_steps=steps,
            keep=lambda checkpoint: None,
            spec=CheckpointSpec(),
            tell=lambda progress: None,
        )
    finally:
        training.batches = honest
    first = min(20, steps // 3)  # the step is compiled, and the loader ahead, by then
    seconds = ends[-1] - ends[first - 1]
    rate = (steps - first) / seconds
    return rate, sum(waits[first:]) / seconds, sum(starved[first:]) / seconds


def _photo_folder(files: list[bytes], folder: Path) -> Path:
    """A thousand files in two classes."""
    for split, count in (("train", 500), ("test", 1)):
        for label, file in enumerate(files):
            (folder / "photos" / split / str(label)).mkdir(parents=True)
            for i in range(count):
                (folder / "photos" / split / str(label) / f"{i}.jpg").write_bytes(file)
    return folder / "photos"


def _like_cifar(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    arrays = {
        f"{name}_images": rng.integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)
        for name, count in (("train", 50_000), ("heldout", 100))
    }
    labels = {
        name.replace("images", "labels"): np.arange(len(images)) % 10
        for name, images in arrays.items()
    }
    np.savez(folder / "cifar.npz", **arrays, **labels)
    return folder / "cifar.npz"


def markdown(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [headings, ("---",) * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
