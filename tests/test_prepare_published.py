"""Data sets as their authors publish them: splits, classes and labels are those of TFDS's code."""

import io
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from fits.base.errors import UserError
from scaling.data.prepare.collection import opened
from scaling.data.prepare.prepare import prepare, unpack
from scaling.data.prepare.published.downloads import label_names
from scaling.data.prepare.published.table import PUBLISHED
from scaling.data.tfds.source import Tfds

tfds = pytest.importorskip("tensorflow_datasets")
TEXT = Path(__file__).parents[1] / "docs" / "data" / "sources.md"


def quiet(line):
    del line


def jpeg(i):
    stream = io.BytesIO()
    Image.new("RGB", (6, 6), (i % 256, 7 * i % 256, 90)).save(stream, "jpeg", quality=80)
    return stream.getvalue() + bytes([i % 256, i // 256])  # so that no two are alike


def tree(root, *names, **texts):
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg(i))
    for name, text in texts.items():
        (root / f"{name}.txt").parent.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.txt").write_text(text)
    return root


def tar(file, *folders, mode="w:gz"):
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, mode) as packed:
        for folder in folders:
            packed.add(folder, folder.name)
    return file


# What is published, small. Each takes an empty folder, which it fills with unpacked files, and
# the folder of the downloads.


def flowers(raw, to):
    tree(raw, *(f"jpg/image_{i:05d}.jpg" for i in range(1, 13)))
    tar(to / "102flowers.tgz", raw / "jpg")
    labels = np.array([[77, 1, 102, 3, 3, 5, 77, 8, 9, 60, 11, 1]], np.uint8)
    ids = {"trnid": [3, 5, 7, 12], "valid": [1, 2], "tstid": [4, 6, 8, 9, 10, 11]}
    for folder in (raw, to):
        savemat(folder / "imagelabels.mat", {"labels": labels})
        savemat(folder / "setid.mat", {k: np.array([v], np.uint16) for k, v in ids.items()})


def pets(raw, to):
    names = ["Abyssinian_1", "Abyssinian_2", "yorkshire_terrier_9", "Bengal_3", "unlisted_1"]
    tree(raw, *(f"images/{name}.jpg" for name in names))
    (raw / "images" / "Abyssinian_100.mat").write_bytes(b"x")
    tree(raw / "annotations", "trimaps/Abyssinian_1.png")
    (raw / "annotations/trainval.txt").write_text(
        "Abyssinian_1 1 1 1\nyorkshire_terrier_9 37 2 25\n"
    )
    (raw / "annotations/test.txt").write_text("Bengal_3 6 1 2\nAbyssinian_2 1 1 1\n")
    tar(to / "images.tar.gz", raw / "images")
    tar(to / "annotations.tar.gz", raw / "annotations")


BIRDS = [f"{i:03d}.{name}" for i, name in enumerate(["Black_footed_Albatross", "Wren"], 1)]
BIRDS += [f"{i:03d}.Bird_{i}" for i in range(3, 201)]


def birds(raw, to):
    root = raw / "CUB_200_2011"
    files = [f"{BIRDS[i]}/{BIRDS[i][4:]}_{j:04d}.jpg" for i in (0, 1, 199) for j in range(2)]
    tree(
        root,
        *(f"images/{file}" for file in files),
        images="".join(f"{i} {file}\n" for i, file in enumerate(files, 1)),
        image_class_labels="".join(f"{i} {int(f[:3])}\n" for i, f in enumerate(files, 1)),
        train_test_split="".join(f"{i} {i % 2}\n" for i in range(1, 7)),
        classes="".join(f"{i} {name}\n" for i, name in enumerate(BIRDS, 1)),
    )
    tree(raw, attributes="1 has_bill_shape::curved\n")
    tar(to / "CUB_200_2011.tgz", root, raw / "attributes.txt")


def caltech(raw, to):
    root = raw / "caltech-101" / "101_ObjectCategories"
    for name, count in (("BACKGROUND_Google", 33), ("Faces", 31), ("yin_yang", 40)):
        tree(root, *(f"{name}/image_{i:04d}.jpg" for i in range(1, count)))
    (root / "BACKGROUND_Google" / "tmp").write_bytes(b"no image")
    inner = tar(raw / "inner.tar.gz", root)
    with zipfile.ZipFile(to / "caltech-101.zip", "w") as zipped:
        zipped.write(inner, "caltech-101/101_ObjectCategories.tar.gz")
        zipped.writestr("__MACOSX/caltech-101/._101_ObjectCategories", b"x")
    inner.unlink()


def imagenet(folder, archive, names, mode):
    def publish(raw, to):
        tree(raw / folder, *(f"{name}/{i}.jpg" for name in names for i in range(2)))
        tree(raw / folder, README="no image")
        tar(to / archive, raw / folder, mode=mode)

    return publish


WORDNET = ("n01498041", "n12057211", "n01531178")
MADE = {
    "oxford_flowers102": flowers,
    "oxford_iiit_pet": pets,
    "caltech_birds2011": birds,
    "caltech101": caltech,
    "imagenet_v2": imagenet(
        "imagenetv2-matched-frequency-format-val",
        "imagenetv2-matched-frequency.tar.gz",
        ("0", "10", "999"),
        "w:gz",
    ),
    "imagenet_a": imagenet("imagenet-a", "imagenet-a.tar", WORDNET, "w"),
    "imagenet_r": imagenet("imagenet-r", "imagenet-r.tar", WORDNET, "w"),
}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes a data set; returns its unpacked files and its downloads."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def make(name):
        raw, to = tmp_path / "raw", tmp_path / "downloads"
        raw.mkdir()
        to.mkdir()
        MADE[name](raw, to)
        return raw, to

    return make


def read(path, name, room):
    """Label, name and bytes of the images of each split."""
    with opened(path, room, name) as found:
        return found.classes, {
            split: sorted((item.label, item.name, found.read(item)) for item in items)
            for split, items in found.splits.items()
        }


# What TFDS's own code makes of the unpacked files, with folders listed in alphabetical order


class Listing:
    """As much of `tf.io.gfile` as the builders need."""

    GFile = staticmethod(open)
    isdir = staticmethod(lambda path: Path(path).is_dir())

    @staticmethod
    def listdir(path):
        return sorted(each.name for each in Path(path).iterdir() if each.name != "README.txt")

    @classmethod
    def walk(cls, path):
        yield str(path), [], cls.listdir(path)


def by_tfds(name, raw, monkeypatch):
    """Label and name of the images of each split."""
    cls = tfds.builder_cls(name)
    module = __import__(cls.__module__, fromlist=["tf"])
    monkeypatch.setattr(module, "tf", SimpleNamespace(io=SimpleNamespace(gfile=Listing)))
    calls = {
        "oxford_flowers102": lambda: {
            split: [raw / "jpg", raw / "imagelabels.mat", raw / "setid.mat", key]
            for split, key in (("train", "trnid"), ("test", "tstid"), ("validation", "valid"))
        },
        "oxford_iiit_pet": lambda: {
            split: [raw / "images", raw / "annotations", raw / "annotations" / file]
            for split, file in (("train", "trainval.txt"), ("test", "test.txt"))
        },
        "caltech101": lambda: {
            split: [raw / "caltech-101", split == "train"] for split in ("train", "test")
        },
    }
    (folder,) = [*raw.glob("imagenet*"), *([raw] if name in calls else [])]
    splits = calls.get(name, lambda: {"test": [folder]})()
    number = {label: i for i, label in enumerate(label_names(name))}
    return {
        split: sorted(
            (
                number.get(record["label"], record["label"]),
                record.get("file_name") or record["image/file_name"],
            )
            for _, record in cls._generate_examples(None, *arguments)
        )
        for split, arguments in splits.items()
    }


@pytest.mark.parametrize("name", sorted(set(MADE) - {"caltech_birds2011"}))
def test_splits_and_labels_are_those_of_the_code_of_tfds(made, tmp_path, monkeypatch, name):
    raw, downloads = made(name)
    classes, splits = read(downloads, name, tmp_path / "room")
    assert classes == label_names(name)
    expected = by_tfds(name, raw, monkeypatch)
    assert list(splits) == list(expected)
    assert {s: [each[:2] for each in found] for s, found in splits.items()} == expected


def test_birds_have_the_labels_and_names_that_tfds_takes_from_their_folders(made, tmp_path):
    from tensorflow_datasets.image_classification.caltech_birds import _NAME_RE

    raw, downloads = made("caltech_birds2011")
    classes, splits = read(downloads, "caltech_birds2011", tmp_path / "room")
    lines = (raw / "CUB_200_2011" / "images.txt").read_text().split()
    for i, path in enumerate(lines[1::2], 1):
        number, name, file = _NAME_RE.match(path).groups()[-3:]
        split = "train" if i % 2 else "test"
        assert (int(number) - 1, file) in [each[:2] for each in splits[split]]
        assert classes[int(number) - 1] == name.lower()
    assert (len(classes), sum(map(len, splits.values()))) == (200, 6)


@pytest.mark.parametrize("name", MADE)
def test_what_is_unpacked_is_read_as_what_is_packed(made, tmp_path, name):
    raw, downloads = made(name)
    packed = read(downloads, name, tmp_path / "room")
    assert read(raw, name, tmp_path / "room") == packed
    (archive, *more) = sorted(each for each in downloads.iterdir() if each.suffix != ".mat")
    if not more and name != "oxford_flowers102":
        assert read(archive, name, tmp_path / "room") == packed
    assert not (tmp_path / "room").exists(), "what was decompressed is gone"
    originals = {file.read_bytes() for file in raw.rglob("*.jpg")}
    assert {each[2] for found in packed[1].values() for each in found} <= originals


@pytest.mark.parametrize("name", ["oxford_flowers102", "imagenet_v2/matched-frequency"])
def test_a_published_data_set_is_opened_by_its_name(made, tmp_path, name):
    _, downloads = made(name.partition("/")[0])
    done = prepare(downloads, name, tmp_path / "tfds", quiet)
    _, splits = read(downloads, name, tmp_path / "room")
    train = "train" if "train" in splits else "test[:50%]"
    held = "test" if "train" in splits else "test[50%:]"
    source = Tfds(
        name=name, data_dir=tmp_path / "tfds", train_split=train, heldout_split=held, resolution=8
    )
    assert source.problem() is None
    assert source.classes == len(label_names(name))
    sizes = {s: len(found) for s, found in splits.items()}
    assert done.records == sum(sizes.values())
    halves = [source.train(), source.heldout()]
    got = sorted(
        (int(label), each.image)
        for half in halves
        for label, each in zip(
            half.labels_of(np.arange(half.size)), half.encoded(np.arange(half.size)), strict=True
        )
    )
    wanted = [each for s in ("train", "test") for each in splits.get(s, ())]
    assert got == sorted((label, image) for label, _, image in wanted)
    assert set(source.heldout_names()) <= {each[1] for each in splits["test"]}


@pytest.mark.parametrize("name", MADE)
def test_every_missing_file_is_named_as_it_is_published(made, tmp_path, name):
    _, downloads = made(name)
    for file in list(downloads.iterdir()):
        aside = file.rename(tmp_path / file.name)
        with pytest.raises(UserError) as wrong:
            read(downloads, name, tmp_path / "room")
        assert file.name in str(wrong.value)
        aside.rename(file)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError) as wrong:
        read(empty, name, tmp_path / "room")
    for file in PUBLISHED[name].files:
        assert file in str(wrong.value)


def test_of_a_folder_with_two_of_three_files_both_gaps_are_named(made, tmp_path):
    _, downloads = made("oxford_flowers102")
    (downloads / "setid.mat").unlink()
    (downloads / "102flowers.tgz").unlink()
    with pytest.raises(UserError, match=r"(?s)no setid\.mat.*no 102flowers\.tgz"):
        read(downloads, "oxford_flowers102", tmp_path / "room")


class Trap:
    def __reduce__(self):
        return (print, ("a pickle was opened",))


@pytest.mark.parametrize("bad", [pickle.dumps(Trap()), b"", b"MATLAB 5.0 MAT-file" + b"\xff" * 200])
def test_a_damaged_matlab_file_is_named_and_runs_nothing(made, tmp_path, bad, capsys):
    _, downloads = made("oxford_flowers102")
    (downloads / "setid.mat").write_bytes(bad)
    with pytest.raises(UserError, match=r"setid\.mat"):
        read(downloads, "oxford_flowers102", tmp_path / "room")
    assert "a pickle was opened" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "arrays", "words"),
    [
        ("imagelabels.mat", {"labels": [[1, 103]]}, r"'labels' has 103, of 102 classes"),
        ("imagelabels.mat", {"label": [[1]]}, r"'labels' is no row of numbers from 1"),
        ("setid.mat", {"trnid": [[13]], "valid": [[1]], "tstid": [[2]]}, r"an image 13 in trnid"),
        ("setid.mat", {"trnid": [[1.5]], "valid": [[1]], "tstid": [[2]]}, r"'trnid' is no row"),
    ],
)
def test_numbers_of_flowers_that_cannot_be_are_named(made, tmp_path, file, arrays, words):
    _, downloads = made("oxford_flowers102")
    savemat(downloads / file, {k: np.array(v) for k, v in arrays.items()})
    with pytest.raises(UserError, match=words):
        read(downloads, "oxford_flowers102", tmp_path / "room")


def test_images_that_the_lists_name_and_the_archive_lacks_are_counted(made, tmp_path):
    raw, downloads = made("oxford_iiit_pet")
    (raw / "images" / "Bengal_3.jpg").unlink()
    tar(downloads / "images.tar.gz", raw / "images")
    with pytest.raises(UserError, match=r"lacks 1 of its 4 images, the first images/Bengal_3\.jpg"):
        read(downloads, "oxford_iiit_pet", tmp_path / "room")
    lists = raw / "annotations" / "test.txt"
    for text, words in (("Bengal_3 6 1", "line 1 has 3 fields, of 4"), ("x 38 1 1", "'38' is no")):
        lists.write_text(text)
        tar(downloads / "annotations.tar.gz", raw / "annotations")
        with pytest.raises(UserError, match=words):
            read(downloads, "oxford_iiit_pet", tmp_path / "room")


def test_a_published_archive_that_is_cut_off_is_named(made, tmp_path):
    for name in ("oxford_flowers102", "caltech101"):
        for folder in ("raw", "downloads"):
            shutil.rmtree(tmp_path / folder, ignore_errors=True)
        _, downloads = made(name)
        (archive,) = [each for each in downloads.iterdir() if each.suffix != ".mat"]
        archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
        with pytest.raises(UserError, match=rf"{archive}.* is cut off or damaged"):
            read(downloads, name, tmp_path / "room")


def test_a_class_that_is_none_of_imagenet_is_refused(made, tmp_path):
    raw, _ = made("imagenet_a")
    tree(raw / "imagenet-a", "n99999999/0.jpg")
    with pytest.raises(UserError, match=r"1 image .*none of the classes.*n99999999"):
        read(raw, "imagenet_a", tmp_path / "room")


def test_two_variants_of_imagenet_v2_are_not_mixed(made, tmp_path):
    raw, downloads = made("imagenet_v2")
    tree(raw / "imagenetv2-top-images-format-val", "5/0.jpg")
    with pytest.raises(UserError, match="several sets"):
        read(raw, "imagenet_v2", tmp_path / "room")
    other = tar(
        downloads / "imagenetv2-top-images.tar.gz", raw / "imagenetv2-top-images-format-val"
    )
    _, splits = read(downloads, "imagenet_v2/topimages", tmp_path / "room")
    assert [each[:2] for each in splits["test"]] == [(5, "5/0.jpg")]
    assert len(read(downloads, "imagenet_v2", tmp_path / "room")[1]["test"]) == 6
    for path in (other, raw / "imagenetv2-top-images-format-val"):
        with pytest.raises(UserError, match="give --name imagenet_v2/topimages"):
            read(path, "imagenet_v2", tmp_path / "room")


def test_one_s_own_folder_of_a_published_name_is_read_as_before(tmp_path):
    own = tree(tmp_path / "own", "train/rose/0.jpg", "train/lily/0.jpg", "test/rose/1.jpg")
    classes, splits = read(own, "oxford_flowers102", tmp_path / "room")
    assert (classes, list(splits)) == (["lily", "rose"], ["train", "test"])


def test_published_archives_without_their_name_are_answered_with_it(made, tmp_path):
    _, downloads = made("oxford_flowers102")
    with pytest.raises(UserError, match="give --name oxford_flowers102"):
        read(downloads, "flowers", tmp_path / "room")
    with pytest.raises(UserError, match="give --name oxford_flowers102"):
        unpack(downloads, tmp_path / "out", quiet)


def test_the_page_says_what_to_download_for_every_published_data_set():
    rows = [line for line in TEXT.read_text().splitlines() if line.startswith("| `")]
    for name, each in PUBLISHED.items():
        row = next(line for line in rows if line.startswith(f"| `{name}` |"))
        assert all(f"`{file}`" in row for file in each.files) or name.endswith("frequency"), name


# ImageNet-21k


def synsets(tmp_path, *names):
    """Archives of these classes in a folder, the last class first."""
    folder = tmp_path / "synsets"
    folder.mkdir()
    for name in reversed(names):
        root = tree(tmp_path / name, *(f"{name}_{i}.JPEG" for i in range(3)))
        with tarfile.open(folder / f"{name}.tar", "w") as packed:
            for file in root.iterdir():
                packed.add(file, file.name)
    return folder


@pytest.mark.parametrize("kind", ["folder", "tar", "tar.gz"])
def test_imagenet_21k_is_an_archive_a_class_in_one_split(tmp_path, kind, capsys):
    source = synsets(tmp_path, "n00004475", "n00005787")
    if kind != "folder":
        source = tar(tmp_path / f"winter.{kind}", source, mode="w:gz" if kind == "tar.gz" else "w")
    classes, splits = read(source, "imagenet21k", tmp_path / "room")
    assert classes == ["n00004475", "n00005787"]
    assert {s: [each[:2] for each in found] for s, found in splits.items()} == {
        "train": [(i, f"{name}_{j}.JPEG") for i, name in enumerate(classes) for j in range(3)]
    }
    assert all(image == jpeg_of(tmp_path, name) for _, name, image in splits["train"])


def jpeg_of(tmp_path, name):
    return (tmp_path / name.partition("_")[0] / name).read_bytes()


def test_a_slice_of_imagenet_21k_is_held_out(tmp_path):
    said: list[str] = []
    prepare(synsets(tmp_path, "n00004475", "n00005787"), "imagenet21k", tmp_path / "d", said.append)
    assert "holds a slice of it out" in said[0]


def test_an_archive_of_imagenet_21k_without_images_is_named(tmp_path):
    folder = synsets(tmp_path, "n00004475", "n00005787")
    tar(folder / "n00000001.tar", mode="w")
    with pytest.raises(UserError, match=r"n00000001\.tar holds no image"):
        read(folder, "imagenet21k", tmp_path / "room")
    (folder / "n00000001.tar").write_bytes((folder / "n00004475.tar").read_bytes()[:1600])
    with pytest.raises(UserError, match=r"n00000001\.tar is cut off or damaged"):
        read(folder, "imagenet21k", tmp_path / "room")


def test_imagenet_21k_in_folders_is_read_as_any_folder(tmp_path):
    own = tree(tmp_path / "own", "train/n00004475/0.jpg", "train/n00005787/0.jpg")
    assert read(own, "imagenet21k", tmp_path / "room")[0] == ["n00004475", "n00005787"]
