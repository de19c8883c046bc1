"""Folders and archives of images made into what sources open; nothing of TensorFlow, no pickle."""

import io
import lzma
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fits.base.errors import UserError
from scaling.data.folder import Folder
from scaling.data.prepare import prepare as preparing
from scaling.data.prepare.collection import opened
from scaling.data.prepare.entries import plain_archive
from scaling.data.prepare.prepare import prepare, unpack
from scaling.data.tfds.source import Tfds

pytest.importorskip("tensorflow_datasets")
NAMES = ("ant", "bee", "cat")
CIFAR10 = Path(__file__).resolve().parents[1].parent / "shared/data/cifar10/cifar10_jpeg.tar.xz"
SIZES = {"train": 4, "test": 2}  # images a class


def quiet(line):
    del line


def colour(split, label, i):
    return (80 * label + i, 7 * i, 200 if split == "train" else 0)


def encoded(split, label, i):
    """JPEG, which no two programs encode alike: bytes that were kept can be told."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), colour(split, label, i)).save(stream, "jpeg", quality=90 + i)
    return stream.getvalue()


ALL = {
    (split, label, i): encoded(split, label, i)
    for split, count in SIZES.items()
    for label in range(len(NAMES))
    for i in range(count)
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    for (split, label, i), contents in ALL.items():
        file = root / split / NAMES[label] / f"{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(contents)
    (root / "README.txt").write_text("no image")
    return root


def archive(folder, file, below="", mode="w"):
    with tarfile.open(file, mode) as tar:
        tar.add(folder, below or ".")
    return file


def cifar(root, labels_before=1, names=NAMES):
    """The binary layout: label, then 1,024 red, green and blue values, row by row."""
    root.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3)).astype(np.uint8)
    records = [
        bytes([9] * (labels_before - 1) + [i % 3]) + image.transpose(2, 0, 1).tobytes()
        for i, image in enumerate(pixels)
    ]
    if labels_before == 1:
        files = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
        meta = "batches.meta.txt"
    else:
        files, meta = ["train.bin", "test.bin"], "fine_label_names.txt"
    for file, some in zip(
        files, np.array_split(np.array(records, object), len(files)), strict=True
    ):
        (root / file).write_bytes(b"".join(some))
    (root / meta).write_text("\n".join(names) + "\n\n")
    return pixels


def bytes_by_label(images):
    numbers = np.arange(images.size)
    labels = images.labels_of(numbers).tolist()
    return sorted(zip(labels, (e.image for e in images.encoded(numbers)), strict=True))


def expected(split):
    return sorted((label, ALL[s, label, i]) for s, label, i in ALL if s == split)


def source_of(tmp_path, resolution=8):
    return Tfds(name="insects", data_dir=tmp_path / "tfds", resolution=resolution)


@pytest.mark.parametrize("kind", ["folder", "tar", "tar.xz", "tar.gz", "nested.tar"])
def test_encoded_bytes_and_labels_are_kept_whatever_they_come_in(folder, tmp_path, kind):
    source = folder
    if kind != "folder":
        mode = f"w:{kind.rpartition('.')[2]}".replace(":tar", "")
        below = "download/images" if kind.startswith("nested") else ""
        source = archive(folder, tmp_path / f"x.{kind}", below, mode)
    done = prepare(source, "insects", tmp_path / "tfds", quiet)
    assert (done.records, done.files) == (18, 2)
    images = source_of(tmp_path)
    assert images.problem() is None
    assert images.classes == 3
    for split, half in (("train", images.train()), ("test", images.heldout())):
        assert bytes_by_label(half) == expected(split)
    assert not list((tmp_path / "tfds").glob(".*")), "what was decompressed is gone"


def test_classes_have_the_numbers_that_the_folder_source_gives(folder, tmp_path):
    prepare(folder, "insects", tmp_path / "tfds", quiet)
    same = Folder(path=folder, resolution=8).train()
    ours, theirs = source_of(tmp_path).train(), same
    pairs = [
        sorted(
            (int(label), image.tobytes())
            for image, label in zip(*x.batch(np.arange(12)), strict=True)
        )
        for x in (ours, theirs)
    ]
    assert pairs[0] == pairs[1]


def test_a_slice_of_a_split_has_images_of_all_classes(folder, tmp_path):
    prepare(folder, "insects", tmp_path / "tfds", quiet)
    _, labels = source_of(tmp_path).train().batch(np.arange(8))
    assert set(labels.tolist()) == {0, 1, 2}
    assert labels.tolist() != sorted(labels.tolist())


@pytest.mark.parametrize("labels_before", [1, 2])
@pytest.mark.parametrize("as_archive", [False, True])
def test_binary_cifar_becomes_png_of_the_very_pixels(tmp_path, labels_before, as_archive):
    pixels = cifar(tmp_path / "c" / "cifar-batches-bin", labels_before)
    source = tmp_path / "c"
    if as_archive:
        source = archive(source, tmp_path / "c.tar.gz", mode="w:gz")
    prepare(source, "insects", tmp_path / "tfds", quiet)
    images = source_of(tmp_path, resolution=32)
    written = {image.tobytes(): i for i, image in enumerate(pixels)}
    numbers = []
    for half in (images.train(), images.heldout()):
        found, labels = half.batch(np.arange(half.size))
        here = [written[image.tobytes()] for image in found]
        assert labels.tolist() == [i % 3 for i in here]
        numbers.append(sorted(here))
    assert sorted(numbers[0] + numbers[1]) == list(range(12))
    assert numbers[1] == ([10, 11] if labels_before == 1 else list(range(6, 12)))


@pytest.mark.parametrize(("name", "labels_before"), [("cifar10", 1), ("cifar100", 2)])
def test_the_archive_of_cifar_is_read_in_the_folder_that_it_was_downloaded_into(
    tmp_path, name, labels_before
):
    cifar(tmp_path / "c" / "cifar-batches-bin", labels_before)
    file = f"{name.replace('cifar', 'cifar-')}-binary.tar.gz"
    archive(tmp_path / "c", tmp_path / file, mode="w:gz")
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    (tmp_path / file).rename(downloads / file)
    assert prepare(downloads, name, tmp_path / "tfds", quiet).records == 12
    with pytest.raises(UserError, match=f"{file} is of {name}; give --name {name}"):
        prepare(downloads, "another", tmp_path / "tfds", quiet)


def test_a_published_data_set_does_not_become_another_of_that_name(tmp_path, ilsvrc):
    cifar(tmp_path / "c")
    for source, own, other in (
        (tmp_path / "c", "cifar10", "cifar100"),
        (ilsvrc, "imagenet2012", "cifar10"),
        (tmp_path / "c", "cifar10", "imagenet2012"),
    ):
        with pytest.raises(UserError, match=f"is of {own}: give --name {own}"):
            prepare(source, other, tmp_path / "tfds", quiet)
    with pytest.raises(UserError, match=r"give the folder that holds .* and ILSVRC2012_img_train"):
        prepare(ilsvrc / "ILSVRC2012_img_val.tar", "imagenet2012", tmp_path / "tfds", quiet)
    assert not (tmp_path / "tfds").exists()
    assert prepare(tmp_path / "c", "my_cifar", tmp_path / "tfds", quiet).records == 12


def test_what_a_killed_preparation_has_decompressed_is_removed_by_the_next(folder, tmp_path):
    source = archive(folder, tmp_path / "x.tar.gz", mode="w:gz")
    script = (
        "import os, sys; from pathlib import Path\n"
        "from scaling.data.prepare.entries import plain_archive\n"
        "with plain_archive(Path(sys.argv[1]), Path(sys.argv[2])): os._exit(9)"
    )
    room = tmp_path / "tfds"
    subprocess.run([sys.executable, "-c", script, source, room], check=False)
    (left,) = room.iterdir()
    with plain_archive(source, room) as held:  # of a process that is at work
        assert not left.exists()
        prepare(source, "insects", room, quiet)
        assert held.exists()


def test_a_folder_of_files_is_what_the_folder_source_opens(folder, tmp_path):
    source = archive(folder, tmp_path / "x.tar.xz", mode="w:xz")
    assert unpack(source, tmp_path / "out", quiet) == 18
    files = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.jpg")}
    assert {
        p.relative_to(tmp_path / "out"): p.read_bytes() for p in (tmp_path / "out").rglob("*.jpg")
    } == files
    assert Folder(path=tmp_path / "out", resolution=8).problem() is None


def test_binary_cifar_unpacks_as_files_of_each_class(tmp_path):
    cifar(tmp_path / "c")
    assert unpack(tmp_path / "c", tmp_path / "out", quiet) == 12
    source = Folder(path=tmp_path / "out", heldout_split="test", resolution=32)
    assert (source.problem(), source.classes) == (None, 3)


def test_a_killed_preparation_goes_on(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "SHARD", 1500)
    whole = prepare(folder, "insects", tmp_path / "whole", quiet)
    assert whole.files > 3
    write, made = preparing.write_shard, []

    def killed_at_the_third(target, records):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(target.name)
        return write(target, records)

    monkeypatch.setattr(preparing, "write_shard", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        prepare(folder, "insects", tmp_path / "tfds", quiet)
    monkeypatch.setattr(preparing, "write_shard", write)
    said = []
    prepare(folder, "insects", tmp_path / "tfds", said.append)
    assert len(said) == whole.files - 2
    for file in whole.folder.iterdir():
        again = tmp_path / "tfds" / "insects" / "1.0.0" / file.name
        assert again.read_bytes() == file.read_bytes()


def test_two_preparations_of_one_name_do_not_meet(folder, tmp_path, monkeypatch):
    write, words = preparing.write_shard, []

    def meanwhile(target, records):
        with pytest.raises(UserError) as refused:
            prepare(folder, "insects", tmp_path / "tfds", quiet)
        words.append(str(refused.value))
        return write(target, records)

    monkeypatch.setattr(preparing, "write_shard", meanwhile)
    assert prepare(folder, "insects", tmp_path / "tfds", quiet).records == 18
    assert all("another process writes into" in each for each in words)
    assert len(words) == 2


def test_another_data_set_of_that_name_is_not_overwritten(folder, tmp_path):
    prepare(folder, "insects", tmp_path / "tfds", quiet)
    assert prepare(folder, "insects", tmp_path / "tfds", quiet).records == 18
    (folder / "train" / "ant" / "0.jpg").write_bytes(ALL["test", 1, 1])
    with pytest.raises(UserError, match="holds a data set that was made of something else"):
        prepare(folder, "insects", tmp_path / "tfds", quiet)
    assert bytes_by_label(source_of(tmp_path).train()) == expected("train")


def test_tensorflow_is_never_imported(folder, tmp_path):
    program = (
        "import sys; from pathlib import Path; from scaling.data.prepare.prepare import prepare\n"
        "prepare(Path(sys.argv[1]), 'insects', Path(sys.argv[2]), print)\n"
        "assert 'tensorflow' not in sys.modules and 'pickle5' not in sys.modules\n"
    )
    command = [sys.executable, "-c", program, str(folder), str(tmp_path / "tfds")]
    subprocess.run(command, check=True, capture_output=True)


# Bad input


def test_a_folder_of_another_layout_is_said(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "a" / "1.png")
    with pytest.raises(UserError, match=r"holds no images .* laid out as train/<class>"):
        prepare(tmp_path, "insects", tmp_path / "tfds", quiet)


def test_a_class_that_is_not_trained_on_is_answered_with_near_ones(folder, tmp_path):
    (folder / "test" / "bee").rename(folder / "test" / "bees")
    with pytest.raises(UserError, match=r"class 'bees' of 'test' .* Did you mean 'bee'"):
        prepare(folder, "insects", tmp_path / "tfds", quiet)


@pytest.mark.parametrize("mode", ["w", "w:xz", "w:gz", "w:bz2"])
def test_an_archive_that_is_cut_off_is_named(folder, tmp_path, mode):
    source = archive(folder, tmp_path / "x.tar", mode=mode)
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    with pytest.raises(UserError, match=rf"{source} is cut off or damaged"):
        prepare(source, "insects", tmp_path / "tfds", quiet)
    assert not list((tmp_path / "tfds").rglob("dataset_info.json"))


def test_what_is_no_archive_is_said(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"hello" * 1000)
    with pytest.raises(UserError, match=r"x\.tar is no tar archive"):
        prepare(tmp_path / "x.tar", "insects", tmp_path / "tfds", quiet)
    with pytest.raises(UserError, match="there is no"):
        prepare(tmp_path / "y.tar", "insects", tmp_path / "tfds", quiet)


def test_an_archive_of_something_else_that_is_compressed_is_called_by_its_own_name(tmp_path):
    (tmp_path / "x.xz").write_bytes(lzma.compress(b"hello" * 1000))
    with pytest.raises(UserError, match=r"x\.xz is no tar archive"):
        prepare(tmp_path / "x.xz", "insects", tmp_path / "tfds", quiet)


def test_names_that_lead_out_of_an_archive_are_passed_over(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in (
            "train/ant/0.jpg",
            "../../train/ant/1.jpg",
            "train/../ant/2.jpg",
            "/train/bee/3.jpg",
        ):
            member = tarfile.TarInfo(name)
            member.size = len(ALL["train", 0, 0])
            tar.addfile(member, io.BytesIO(ALL["train", 0, 0]))
        link = tarfile.TarInfo("train/ant/link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert unpack(tmp_path / "x.tar", tmp_path / "out", quiet) == 2
    files = sorted(
        p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.jpg")
    )
    assert files == ["train/ant/0.jpg", "train/bee/3.jpg"]


def test_a_cut_cifar_file_and_labels_beyond_its_classes_are_named(tmp_path):
    cifar(tmp_path / "c")
    batch = tmp_path / "c" / "data_batch_3.bin"
    whole = batch.read_bytes()
    batch.write_bytes(whole[:-1])
    with pytest.raises(UserError, match=r"data_batch_3\.bin is cut off: 6_145 bytes are no whole"):
        prepare(tmp_path / "c", "insects", tmp_path / "tfds", quiet)
    batch.write_bytes(whole[:3073] + b"\x07" + whole[3074:])
    with pytest.raises(
        UserError, match=r"data_batch_3\.bin, record 1: its label is 7, and there are 3"
    ):
        prepare(tmp_path / "c", "insects", tmp_path / "tfds", quiet)
    batch.unlink()
    with pytest.raises(UserError, match=r"has no data_batch_3\.bin"):
        prepare(tmp_path / "c", "insects", tmp_path / "tfds", quiet)


def test_classes_of_an_archive_cannot_name_other_folders(tmp_path):
    cifar(tmp_path / "c", names=("../a", "b", "c"))
    with pytest.raises(UserError, match="no plain, different names"):
        unpack(tmp_path / "c", tmp_path / "out", quiet)


def test_files_that_are_there_are_not_overwritten(folder, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="is there already"):
        unpack(folder, tmp_path / "out", quiet)


def as_data_set(source, tmp_path):
    prepare(source, "insects", tmp_path / "tfds", quiet)


def as_files(source, tmp_path):
    unpack(source, tmp_path / "new" / "files", quiet)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("make", [as_data_set, as_files])
def test_all_empty_files_are_named_and_nothing_is_left_behind(folder, tmp_path, packed, make):
    (folder / "test" / "bee" / "1.jpg").write_bytes(b"")
    for i in range(11):
        (folder / "train" / "ant" / f"{i:02d}.jpg").write_bytes(b"")
    source = archive(folder, tmp_path / "x.tar.gz", mode="w:gz") if packed else folder
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as wrong:
        make(source, tmp_path)
    assert len(wrong.value.mistakes) == 12
    assert f"{source}: test/bee/1.jpg is empty; remove it." in wrong.value.mistakes
    assert str(wrong.value).endswith("... and 2 more of this kind.")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("make", [as_data_set, as_files])
def test_a_preparation_that_fails_at_an_image_leaves_nothing_behind(
    folder, tmp_path, monkeypatch, make
):
    before = sorted(tmp_path.rglob("*"))

    def vanished(collection, item):
        raise UserError([f"{item.name} is gone"])

    monkeypatch.setattr(preparing, "_read", vanished)
    with pytest.raises(UserError, match="is gone"):
        make(folder, tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def tar_of(contents):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


@pytest.fixture
def ilsvrc(tmp_path, monkeypatch):
    """Three classes of WordNet as ILSVRC 2012 was given out: archives in an archive."""
    from scaling.data.prepare import imagenet

    words = {
        "labels.txt": ["n01", "n02", "n03"],
        "validation_labels.txt": ["n03", "n01", "n02", "n03"],
    }
    monkeypatch.setattr(imagenet, "_words", words.__getitem__)
    root = tmp_path / "ilsvrc"
    root.mkdir()
    inner = {
        f"n0{label + 1}.tar": tar_of(
            {f"n0{label + 1}_{i}.JPEG": ALL["train", label, i] for i in range(4)}
        )
        for label in (2, 0, 1)
    }
    (root / "ILSVRC2012_img_train.tar").write_bytes(tar_of(inner))
    held = {f"ILSVRC2012_val_0000000{i + 1}.JPEG": ALL["test", i % 3, i // 3] for i in (2, 0, 3, 1)}
    (root / "ILSVRC2012_img_val.tar").write_bytes(tar_of(held))
    return root


def test_imagenet_is_read_as_it_was_given_out(ilsvrc, tmp_path):
    prepare(ilsvrc, "imagenet2012", tmp_path / "tfds", quiet)
    source = Tfds(
        name="imagenet2012",
        data_dir=tmp_path / "tfds",
        heldout_split="validation",
        resolution=8,
    )
    assert source.problem() is None
    assert bytes_by_label(source.train()) == expected("train")
    labels = [2, 0, 1, 2]
    wanted = sorted((labels[i], ALL["test", i % 3, i // 3]) for i in range(4))
    assert bytes_by_label(source.heldout()) == wanted
    names = sorted(f"ILSVRC2012_val_0000000{i + 1}.JPEG" for i in range(4))
    assert sorted(source.heldout_names()) == names


def test_files_of_imagenet_that_are_no_images_are_counted(ilsvrc, tmp_path, capsys):
    inner = tar_of({"n01_1.JPEG": b"x", "n01_2.png": b"x"})
    (ilsvrc / "ILSVRC2012_img_train.tar").write_bytes(tar_of({"n01.tar": inner}))
    with opened(ilsvrc, tmp_path) as found:
        assert len(found.splits["train"]) == 1
    said = capsys.readouterr().err
    assert "1 file that is no .JPEG is left out, the first n01.tar: n01_2.png" in said


def test_the_classes_of_imagenet_are_those_of_tensorflow_datasets():
    from scaling.data.prepare.imagenet import _words

    classes, answers = _words("labels.txt"), _words("validation_labels.txt")
    assert (len(classes), len(answers)) == (1000, 50_000)
    assert classes == sorted(set(classes))
    assert {answers.count(name) for name in classes[:20]} == {50}


def test_an_archive_of_imagenet_that_is_missing_cut_off_or_another_is_named(ilsvrc, tmp_path):
    train, held = ilsvrc / "ILSVRC2012_img_train.tar", ilsvrc / "ILSVRC2012_img_val.tar"
    whole = train.read_bytes()
    train.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"ILSVRC2012_img_train\.tar is cut off or damaged"):
        prepare(ilsvrc, "imagenet2012", tmp_path / "tfds", quiet)
    train.write_bytes(tar_of({"n09.tar": b""}))
    with pytest.raises(UserError, match=r"n09\.tar is the archive of none of its classes"):
        prepare(ilsvrc, "imagenet2012", tmp_path / "tfds", quiet)
    train.write_bytes(tar_of({"n01.tar": tar_of({"n01_1.JPEG": b"x" * 2000})[:1024]}))
    with pytest.raises(UserError, match="is cut off or damaged"):
        prepare(ilsvrc, "imagenet2012", tmp_path / "tfds", quiet)
    train.write_bytes(whole)
    held.write_bytes(tar_of({"ILSVRC2012_val_00000001.JPEG": b"x"}))
    with pytest.raises(UserError, match="has 1 image, of 4"):
        prepare(ilsvrc, "imagenet2012", tmp_path / "tfds", quiet)
    held.unlink()
    with pytest.raises(UserError, match=r"has no ILSVRC2012_img_val\.tar"):
        prepare(ilsvrc, "imagenet2012", tmp_path / "tfds", quiet)
    assert not list((tmp_path / "tfds").rglob("dataset_info.json"))


@pytest.mark.slow
@pytest.mark.skipif(not CIFAR10.exists(), reason="needs CIFAR-10 in ../shared")
def test_cifar10_comes_out_of_its_archive_whole(tmp_path):
    done = prepare(CIFAR10, "cifar10", tmp_path / "tfds", quiet)
    assert (done.records, done.files) == (60_000, 2)
    source = Tfds(name="cifar10", data_dir=tmp_path / "tfds", resolution=32)
    assert source.sizes() == (50_000, 10_000)
    labels = source.heldout().labels_of(np.arange(10_000))
    assert np.bincount(labels).tolist() == [1000] * 10
    hashes = set()
    with tarfile.open(CIFAR10) as tar:
        for member in tar:
            if member.name.startswith("test/cat/") and member.isfile():
                hashes.add(tar.extractfile(member).read())
    cats = [e.image for e in source.heldout().encoded(np.flatnonzero(labels == 3))]
    assert set(cats) == hashes


def test_files_that_are_no_images_are_counted_and_a_class_of_nothing_else_is_refused(
    folder, tmp_path, capsys
):
    (folder / "train" / "ant" / "9.webp").write_bytes(b"x")
    prepare(folder, "insects", tmp_path / "tfds", quiet)
    assert "1 file that is no .jpg" in capsys.readouterr().err
    (folder / "train" / "dog").mkdir()
    (folder / "train" / "dog" / "0.tif").write_bytes(b"x")
    with pytest.raises(UserError, match=r"train/dog holds no image .* but 0\.tif"):
        prepare(folder, "others", tmp_path / "tfds", quiet)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("left", [None, ".DS_Store"])
@pytest.mark.parametrize("empty", [["train/bee", "test/bee"], ["test/ant", "test/bee", "test/cat"]])
def test_a_folder_of_a_class_without_images_is_refused_and_no_class_gets_another_number(
    folder, tmp_path, packed, left, empty
):
    for name in empty:
        shutil.rmtree(folder / name)
        (folder / name).mkdir()
        if left:
            (folder / name / left).write_bytes(b"")
    source = archive(folder, tmp_path / "x.tar") if packed else folder
    with pytest.raises(UserError) as raised:
        prepare(source, "insects", tmp_path / "tfds", quiet)
    assert [str(line) for line in raised.value.args[0].splitlines()] == [
        f"{source}: {name} holds no image (.jpg, .jpeg, .png); fill it, or remove it."
        for name in sorted(empty)
    ]


def test_folders_of_something_else_that_are_called_as_classes_are_left_out(folder, tmp_path):
    for name in ("ant", "bee"):
        (folder / "notes" / name).mkdir(parents=True)
        (folder / "notes" / name / "0.xml").write_text("<a/>")
    assert prepare(folder, "insects", tmp_path / "tfds", quiet).records == 18


def test_a_folder_may_lie_deeper(folder, tmp_path):
    deep = tmp_path / "deep"
    deep.mkdir()
    folder.rename(deep / "images")
    prepare(deep, "insects", tmp_path / "tfds", quiet)
    assert Tfds(name="insects", data_dir=tmp_path / "tfds", resolution=8).sizes() == (12, 6)


@pytest.mark.parametrize(
    "name", ["caf\udce9", "a\nb", " ", "ant "], ids=["no UTF-8", "two lines", "blank", "as another"]
)
def test_a_class_whose_name_tfds_cannot_keep_is_refused_before_anything_is_written(
    folder, tmp_path, name
):
    for split in SIZES:
        (folder / split / "bee").rename(folder / split / name)
    with pytest.raises(UserError, match="TFDS keeps names of classes as different lines of UTF-8"):
        prepare(folder, "insects", tmp_path / "data", quiet)
    assert not (tmp_path / "data").exists()
