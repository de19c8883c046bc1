"""A source without some images leaves out the same ones everywhere, or says why it cannot."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from scaling.data.around.hierarchy import Hierarchy
from scaling.data.around.without import LeftOut, Without, identity
from scaling.data.arrays import Arrays
from scaling.data.folder import Folder
from scaling.data.webdataset.source import WebDataset
from scaling.duplicates import Alike, find
from scaling.study.parse import read_study

TRAIN, HELDOUT, BROKEN = 12, 4, 3
LEFT = (2, 5)  # record 3 cannot be read, so that record 5 is the fifth image where it is left out


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def png(level):
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 10 * level, np.uint8)).save(file, "png")
    return file.getvalue()


def files(broken):
    """Contents of image files of either split, of which image i is of brightness 10 i."""
    for split, count in (("train", TRAIN), ("test", HELDOUT)):
        for i in range(count):
            yield split, i, b"\x89PNG" if broken and (split, i) == ("train", BROKEN) else png(i)


def folder(root, broken=False, **fields):
    for split, i, content in files(broken):
        (root / split / "a").mkdir(parents=True, exist_ok=True)
        (root / split / "a" / f"{i:02}.png").write_bytes(content)
    return Folder(path=root, resolution=8, **fields)


def archives(root, broken=False, **fields):
    root.mkdir()
    for split, i, content in files(broken):
        with tarfile.open(root / f"{split}.tar", "a") as tar:
            for suffix, data in (("png", content), ("cls", b"0")):
                member = tarfile.TarInfo(f"{i:02}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    shards = {f"{key}_shards": f"{root}/{split}.tar" for key, split in SPLITS.items()}
    return WebDataset(**shards, classes=1, resolution=8, **fields)


SPLITS = {"train": "train", "heldout": "test"}


def arrays(root, level=1):
    root.mkdir(exist_ok=True)
    sets = {}
    for key, count in (("train", TRAIN), ("heldout", HELDOUT)):
        sets[f"{key}_images"] = np.full((count, 8, 8, 3), level, np.uint8)
        sets[f"{key}_labels"] = np.zeros(count, np.int32)
    np.savez(root / "images.npz", **sets)
    return Arrays(path=root / "images.npz", resolution=8)


def parquet(root, changed=False):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    from scaling.data.parquet.source import Parquet

    root.mkdir(exist_ok=True)
    for split, count in (("train", TRAIN), ("test", HELDOUT)):
        order = range(count)[:: -1 if changed else 1]
        images = [{"bytes": png(i) + b"x" * i * changed, "path": ""} for i in order]
        table = pa.table({"image": images, "label": [0] * count})
        pq.write_table(table, root / f"{split}.parquet")
    return Parquet(path=root, resolution=8)


def without(source, folder, images=LEFT):
    left_out = LeftOut.of(source, images, why={})
    return Without(file=left_out.write(folder, "x"), of=source)


def exchange(root):
    (root / "train" / "a" / "00.png").unlink()
    (root / "train" / "a" / "99.png").write_bytes(png(0))


def repack(root):
    with tarfile.open(root / "train.tar") as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]
    with tarfile.open(root / "train.tar", "w") as tar:
        for member, content in reversed(members):
            tar.addfile(member, io.BytesIO(content))


CHANGED = {
    "a folder with an image exchanged": (folder, exchange),
    "a folder with a file replaced": (
        folder,
        lambda root: (root / "train/a/00.png").write_bytes(png(0) + b"x"),
    ),
    "an archive in another order": (archives, repack),
    "an array of other pixels": (arrays, lambda root: arrays(root, 2)),
    "a Parquet file of other rows": (parquet, lambda root: parquet(root, changed=True)),
}


@pytest.mark.parametrize(("make", "change"), CHANGED.values(), ids=CHANGED)
def test_a_set_that_changed_under_the_same_number_of_images_is_refused(tmp_path, make, change):
    made = without(make(tmp_path / "set"), tmp_path)
    assert made.problem() is None
    change(tmp_path / "set")
    assert "their files have changed since" in made.problem()
    with pytest.raises(ValueError, match="scaling duplicates"):
        made.train()


def test_a_copy_of_the_set_in_another_place_is_the_same_set(tmp_path, monkeypatch):
    for machine in ("one", "other"):
        (tmp_path / machine).mkdir()
        monkeypatch.chdir(tmp_path / machine)
        source = folder(tmp_path / machine / "set").model_copy(update={"path": "set"})
        if machine == "one":
            made = without(source, tmp_path)
    assert made.problem() is None


@pytest.mark.parametrize("make", [folder, archives])
def test_the_same_images_stay_whatever_is_known_of_unreadable_ones(tmp_path, monkeypatch, make):
    made = without(make(tmp_path / "set", broken=True, skip_unreadable=2), tmp_path)
    stay = [i for i in range(TRAIN) if i not in (*LEFT, BROKEN)]

    def levels():
        images = made.train()
        return (images.batch(np.arange(images.size))[0][:, 0, 0, 0] // 10).tolist()

    for cache in ("one", "other"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
        assert made.problem() is None
        assert made.sizes() == (len(stay) + 1, HELDOUT)  # nobody has looked yet
        assert levels() == stay
        assert made.problem() is None
        assert made.sizes() == (len(stay), HELDOUT)
        assert len(made.labels()) == len(stay)
    more = made.of.model_copy(update={"skip_unreadable": 5})
    assert made.model_copy(update={"of": more}).problem() is None


def test_an_image_that_cannot_be_read_may_be_left_out_too(tmp_path):
    source = folder(tmp_path / "set", broken=True, skip_unreadable=1)
    made = without(source, tmp_path, (BROKEN, 5))
    assert made.train().size == made.sizes()[0] == TRAIN - 2


def test_where_nothing_stays_it_is_said(tmp_path):
    source = folder(tmp_path / "set", broken=True, skip_unreadable=1)
    made = without(source, tmp_path, tuple(i for i in range(TRAIN) if i != BROKEN))
    with pytest.raises(ValueError, match="no training image is left"):
        made.train()


def test_completed_labels_do_not_change_which_image_is_left_out(tmp_path):
    source = folder(tmp_path / "set")
    made = without(source, tmp_path)
    (tmp_path / "parents.txt").write_text("0 1\n")
    above = Hierarchy(of=source, parents=tmp_path / "parents.txt", all_classes=2)
    assert identity(above) == identity(source)
    assert made.model_copy(update={"of": above}).problem() is None


STUDY = """
name = "skips"
question = "Are unreadable images counted?"

[data]
kind = "folder"
path = "{path}"
resolution = 32
skip_unreadable = 1

[models.nano]
patch = 8
width = 8
depth = 1
mlp = 16
heads = 1

[recipe]
warmup_steps = 1

[[evaluate]]
kind = "upstream"

[[grid]]
model = "nano"
images_seen = 160
batch = 16
"""


def test_what_is_found_is_named_by_its_number_among_all_images(tmp_path):
    rng = np.random.default_rng(0)
    folder(tmp_path / "set", broken=True)
    for split, count in (("train", TRAIN), ("test", HELDOUT)):
        for i in range(count):
            path = tmp_path / "set" / split / "a" / f"{i:02}.png"
            small = Image.fromarray(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8))
            if (split, i) != ("train", BROKEN):
                small.resize((32, 32), Image.Resampling.BICUBIC).save(path)
    copy = (tmp_path / "set/test/a/00.png").read_bytes()
    (tmp_path / "set/train/a/07.png").write_bytes(copy)
    study = tmp_path / "skips.toml"
    study.write_text(STUDY.format(path=tmp_path / "set"))
    left_out, _ = find(read_study(str(study)), Alike(), lambda line: None)
    assert (left_out.images, left_out.size) == ((7,), TRAIN)
    assert json.loads(left_out.model_dump_json())["numbering"]
