"""Files that are damaged as a whole: all named together, and the images of the others looked at."""

import errno
import fcntl
import io
import random
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import test_parquet
import test_webdataset
from PIL import Image
from study_texts import GOOD
from test_tfds import own, prepared, specks  # noqa: F401  the first two are fixtures

from fits.base.errors import UserError
from scaling.cli.main import main
from scaling.data.arrays import Arrays
from scaling.data.files.readable import alone
from scaling.data.parquet.source import Parquet
from scaling.data.pixels.decode import UnreadableImages, check, decode
from scaling.data.pixels.resize import Decode
from scaling.data_check import check_all_images
from scaling.image_check import check_images
from scaling.study.parse import read_study


@pytest.fixture
def scaling(tmp_path, monkeypatch, capsys):
    """Runs `scaling data ..` in an empty folder; returns status, output, errors."""
    monkeypatch.chdir(tmp_path)

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["scaling", "data", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capsys.readouterr())

    return command


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def study(data, path="study.toml"):
    text = GOOD.replace('kind = "procedural"', data, 1).replace("images = 1000\n", "")
    Path(path).write_text(text)
    return path


def cut(file):
    file.write_bytes(file.read_bytes()[:-20])


def flip_image(file):
    """A bit of the first image, of a file whose pages have checksums."""
    pq.write_table(pq.read_table(file), file, write_page_checksum=True, compression="none")
    content = bytearray(file.read_bytes())
    content[content.index(b"IHDR") + 40] ^= 1
    file.write_bytes(content)


def damaged_parquet(root):
    """Of four files to learn from one is cut off, one has a damaged page and one a wrong label; the
    one to measure on has an image that is none."""
    files = [root / f"train-{n:05d}-of-00004.parquet" for n in range(4)]
    for n, file in enumerate(files):
        test_parquet.write(file, range(10 * n, 10 * n + 3))
    test_parquet.write(files[2], range(3), [0, 7, 1])
    broken = [{"bytes": b"broken", "path": ""}, {"bytes": test_parquet.png(1), "path": ""}]
    test_parquet.write(root / "test.parquet", range(2), images=broken)
    cut(files[0])
    flip_image(files[1])
    return Parquet(path=root, resolution=6)


def test_all_bad_parquet_files_are_named_at_once_and_the_images_of_the_others(tmp_path, scaling):
    source = damaged_parquet(tmp_path / "data")
    problem = source.problem()
    assert "train-00000-of-00004.parquet is no Parquet file that can be read" in problem
    assert "train-00002-of-00004.parquet: 1 label is none of the 3 classes" in problem
    train_files, train, heldout = check_all_images([source], print)
    assert [Path(name).name[:11] for name in train_files.bad] == ["train-00000", "train-00001"]
    assert (train.images, list(train.bad.values())) == (
        6,
        ["its label is 7, and there are 3 classes, 0 .. 2"],
    )
    assert (heldout.images, len(heldout.bad)) == (2, 1)
    for what in ("data", study('kind = "parquet"\npath = "data"')):
        status, out, errors = scaling("check", what)
        assert status == 1, errors
        assert "data train, its files: 2 cannot be read" in out
        assert "data train: 6 images, 1 cannot be read" in out
        assert "data test: 2 images, 1 cannot be read" in out
    assert scaling("show", "data")[0] == 2


def test_damaged_pages_of_several_parquet_files_are_named_together(tmp_path):
    for n in range(3):
        test_parquet.write(tmp_path / f"train-{n:05d}-of-00003.parquet", range(3))
    test_parquet.write(tmp_path / "test.parquet", range(3))
    for n in (0, 2):
        flip_image(tmp_path / f"train-{n:05d}-of-00003.parquet")
    with pytest.raises(UserError) as bad:
        Parquet(path=tmp_path, resolution=6).train()
    assert [n for n in range(3) if f"train-0000{n}" in str(bad.value)] == [0, 2]


def test_a_folder_of_damaged_files_alone_is_named_too(tmp_path, scaling):
    for split in ("train", "test"):
        test_parquet.write(tmp_path / "data" / f"{split}.parquet", range(3))
        cut(tmp_path / "data" / f"{split}.parquet")
    status, out, _ = scaling("check", "data")
    assert (status, out.count("train.parquet: "), out.count("test.parquet: ")) == (1, 1, 1)


def test_files_that_do_not_belong_together_are_still_refused_by_a_check(tmp_path, scaling):
    test_parquet.write(tmp_path / "data" / "train.parquet", range(3))
    test_parquet.write(tmp_path / "data" / "test.parquet", range(3), names=("ant", "bee"))
    status, _, errors = scaling("check", study('kind = "parquet"\npath = "data"'))
    assert (status, "3 classes and test.parquet has 2" in errors) == (2, True)
    test_webdataset.write(tmp_path / "x-0.tar", [("README", b"x")])
    status, _, errors = scaling("check", "x-0.tar")
    assert (status, "x-0.tar holds no images" in errors) == (2, True)


def test_a_missing_folder_is_still_said_with_its_line(scaling):
    status, _, errors = scaling("check", study('kind = "parquet"\npath = "nowhere"'))
    assert status == 2
    assert "study.toml, line 6: data.path: there is no" in errors


def test_archives_are_checked_by_folder_and_by_pattern(tmp_path, scaling):
    for n in range(2):
        members = test_webdataset.members(range(10 * n, 10 * n + 4))
        test_webdataset.write(tmp_path / f"train-{n:04d}.tar", members)
    test_webdataset.write(tmp_path / "val-0.tar", [("0.png", b"broken"), ("0.cls", b"1 2")])
    (tmp_path / "train-0001.tar").write_bytes(b"hello" * 400)
    status, out, errors = scaling("check", "train-{0000..0001}.tar")
    assert status == 1, errors
    assert "train-0001.tar: no tar archive" in out
    assert "train-{0000..0001}.tar: 4 images, 0 cannot be read" in out
    status, out, errors = scaling("check", ".")
    assert status == 1, errors
    assert "val*.tar: 1 image, 1 cannot be read" in out
    assert "train*.tar: 4 images, 0 cannot be read" in out
    (tmp_path / "train-0001.tar").unlink()
    assert scaling("show", "train-*.tar")[0] == 0
    assert "there is no" in scaling("check", "no-{0..1}.tar")[2]


def test_images_in_whole_files_of_tfds_are_looked_at_where_another_is_damaged(own):  # noqa: F811
    folder = own / "specks" / "1.0.0"
    for file in folder.glob("specks-test.array_record*"):
        file.write_bytes(b"")
    file = next(folder.glob("specks-train.array_record*"))
    content = bytearray(file.read_bytes())
    content[content.index(b"\x89PNG") + 60] ^= 1
    file.write_bytes(content)
    train, files = check_all_images([specks(own)], print)
    assert (train.images, len(train.bad)) == (30, 1)
    assert len(files.bad) == len(list(folder.glob("specks-test.array_record*")))


def test_damaged_pixels_of_an_archive_are_named_by_every_command(tmp_path, scaling):
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3)).astype(np.uint8)
    labels = np.arange(40) % 4
    for save in (np.savez, np.savez_compressed):
        save("images.npz", train_images=images, train_labels=labels, heldout_images=images[:8],
             heldout_labels=labels[:8])  # fmt: skip
        content = bytearray(Path("images.npz").read_bytes())
        with zipfile.ZipFile("images.npz") as archive:
            at = archive.getinfo("train_images.npy").header_offset
        content[at + 5000] ^= 1
        Path("images.npz").write_bytes(content)
        path = study('kind = "arrays"\npath = "images.npz"')
        named = "images.npz, train_images: damaged: "
        status, out, errors = scaling("check", path)
        assert (status, named in out) == (1, True), errors
        assert "images.npz, heldout: 8 images, 0 cannot be read" in out
        status, _, errors = scaling("show", path)
        assert (status, named in errors) == (2, True)
        found = read_study(path)
        with pytest.raises(UnreadableImages, match=named):
            check_images(found.runs[0], ())
        with pytest.raises(UnreadableImages, match=named):
            Arrays(path=Path("images.npz"), resolution=16).train()


def test_every_changed_byte_of_an_archive_is_answered_in_words(tmp_path):
    images, chance = np.zeros((4, 4, 4), np.uint8), random.Random(0)
    labels = np.arange(4)
    file = tmp_path / "images.npz"
    np.savez(file, train_images=images, train_labels=labels, heldout_images=images,
             heldout_labels=labels)  # fmt: skip
    good, refused = file.read_bytes(), 0
    for _ in range(150):
        content = bytearray(good)
        for _ in range(8):
            content[chance.randrange(len(content))] = chance.randrange(256)
        file.write_bytes(content)
        try:
            Arrays(path=file, resolution=4).train()
        except ValueError as error:
            refused += str(file) in str(error)
    assert refused > 140


def photograph(progressive):
    y, x = np.mgrid[0:90, 0:90]
    shown = np.stack([np.sin(x / 7), np.sin((x + y) / 11), np.cos(x / 5 - y / 6)], -1)
    stream = io.BytesIO()
    image = Image.fromarray((127 * shown + 128).astype(np.uint8))
    image.save(stream, "jpeg", progressive=progressive)
    return stream.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("scaled_decoding", [False, True])
@pytest.mark.parametrize("decoder", ["pillow", "opencv"])
def test_a_jpeg_that_is_cut_off_anywhere_is_named_by_every_decoder(
    decoder, scaled_decoding, progressive
):
    if decoder == "opencv":
        pytest.importorskip("cv2")
    how = Decode(decoder=decoder, scaled_decoding=scaled_decoding)
    whole = photograph(progressive)
    decode(whole, 16, how)
    for left in [*range(0, len(whole), 97), len(whole) - 2, len(whole) - 1]:
        for read in (check, lambda content: decode(content, 16, how)):
            with pytest.raises(ValueError, match="not a readable image"):
                read(whole[:left])


def test_a_check_names_every_flipped_bit_that_pillow_names_whatever_the_decoder():
    whole, named = photograph(True), 0
    for at in range(20, len(whole), 41):
        content = whole[:at] + bytes([whole[at] ^ 64]) + whole[at + 1 :]
        try:
            decode(content, 16)
        except ValueError:
            named += 1
            with pytest.raises(ValueError, match="not a readable image"):
                check(content)
    assert named


def test_a_disk_without_locks_keeps_nobody_waiting(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    with alone(tmp_path / "kept.json") as keeps:
        assert keeps
    test_parquet.write(tmp_path / "train.parquet", range(3))
    test_parquet.write(tmp_path / "test.parquet", range(3))
    assert Parquet(path=tmp_path, resolution=6).train().size == 3
