"""How fast is each source in random order, and how fast are records copied?

    python benchmarks/data_sources.py [--images 4000] [--side 500]

Makes JPEGs of smooth noise, side x 3/4 side pixels, and lays them out as files, as ArrayRecord, as
Parquet and as WebDataset, in a folder that is removed again. Prints images a second: nothing
decoded, decoded to 224 pixels, and checked as before a first step; and MiB a second of `scaling
data prepare` and of `scaling data convert`, whose time holds the reading back. Records are read by
one thread and decoded by one a core, at most eight. The page cache is warm: a disk or a network is
not measured.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from scaling.data.files.encoded import EncodedSource
from scaling.data.files.readable import look_at_all
from scaling.data.parquet.source import Parquet
from scaling.data.prepare.convert import convert_prepared
from scaling.data.prepare.prepare import prepare
from scaling.data.prepare.shards import array_records
from scaling.data.prepare.tfrecord import masked_crc
from scaling.data.tfds.source import Tfds
from scaling.data.webdataset.source import WebDataset

BATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--side", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sources-") as temporary:
        place = Path(temporary)
        os.environ["XDG_CACHE_HOME"] = str(place / "cache")
        files = made(place / "files", options.images, options.side)
        size = sum(file.stat().st_size for file in files) / 2**20
        print(f"{options.images:_} JPEGs, {size:.0f} MiB")
        seconds, _ = timed(lambda: prepare(place / "files", "a", place / "tfds", quiet))
        print(f"prepare: {size / seconds:.0f} MiB/s")
        as_tfrecord(place / "tfds/a/1.0.0", place / "old/a/1.0.0")
        old = place / "old/a/1.0.0"
        seconds, _ = timed(lambda: convert_prepared(old, place / "new", quiet))
        print(f"convert: {size / seconds:.0f} MiB/s")
        as_parquet(files, place / "parquet")
        as_tar(files, place / "tars")
        sources: list[EncodedSource] = [
            Tfds(name="a", data_dir=place / "tfds", resolution=224),
            Parquet(path=place / "parquet", resolution=224),
            WebDataset(
                train_shards=f"{place}/tars/train.tar",
                heldout_shards=f"{place}/tars/test.tar",
                classes=2,
                resolution=224,
            ),
        ]
        for source in sources:
            measure(source)


def measure(source: EncodedSource) -> None:
    opening, images = timed(source.train)
    order = np.random.default_rng(0).permutation(images.size)
    batches = [order[i : i + BATCH] for i in range(0, images.size, BATCH)]
    reading, _ = timed(lambda: [images.encoded(batch) for batch in batches])
    decoding, _ = timed(lambda: [images.batch(batch) for batch in batches])
    checking, bad = timed(lambda: look_at_all(images.records))
    assert not bad
    kind: Any = source
    print(
        f"{kind.kind}: opened in {opening:.2f} s, {images.size / reading:_.0f} images/s encoded, "
        f"{images.size / decoding:_.0f} images/s decoded, "
        f"{images.size / checking:_.0f} images/s checked"
    )


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def quiet(line: str) -> None:
    del line


def made(root: Path, count: int, side: int) -> list[Path]:
    """Files train/<class>/<n>.jpg and a few of test/."""
    random, found = np.random.default_rng(0), []
    for split, images in (("train", count), ("test", 8)):
        for i in range(images):
            coarse = random.integers(0, 256, (side // 10, side * 3 // 40, 3)).astype(np.uint8)
            picture = Image.fromarray(coarse).resize((side, side * 3 // 4))
            file = root / split / "ab"[i % 2] / f"{i:06d}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture.save(file, quality=90)
            found.append(file)
    return found


def as_tfrecord(folder: Path, out: Path) -> None:
    """The same data set as TFDS prepares TFRecords."""
    out.mkdir(parents=True)
    for file in folder.iterdir():
        if "array_record" not in file.name:
            text = file.read_text().replace("array_record", "tfrecord")
            (out / file.name).write_text(text)
            continue
        with (out / file.name.replace("array_record", "tfrecord")).open("wb") as stream:
            for record in array_records(file):
                length = len(record).to_bytes(8, "little")
                stream.write(length + masked_crc(length).to_bytes(4, "little"))
                stream.write(record + masked_crc(record).to_bytes(4, "little"))


def as_parquet(files: list[Path], out: Path) -> None:
    out.mkdir()
    names = {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["a", "b"]}}}}
    for split in ("train", "test"):
        chosen = [file for file in files if file.parts[-3] == split]
        images = [{"bytes": file.read_bytes(), "path": file.name} for file in chosen]
        table = pa.table({"image": images, "label": ["ab".index(f.parts[-2]) for f in chosen]})
        table = table.replace_schema_metadata({"huggingface": json.dumps(names)})
        pq.write_table(table, out / f"{split}.parquet", row_group_size=100)


def as_tar(files: list[Path], out: Path) -> None:
    out.mkdir()
    for split in ("train", "test"):
        with tarfile.open(out / f"{split}.tar", "w") as tar:
            for file in files:
                if file.parts[-3] == split:
                    label = str("ab".index(file.parts[-2])).encode()
                    for name, data in (("jpg", file.read_bytes()), ("cls", label)):
                        member = tarfile.TarInfo(f"{file.stem}.{name}")
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    main()
