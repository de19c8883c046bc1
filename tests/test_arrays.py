"""Sources in memory: NumPy archives and handwritten digits."""

import numpy as np
import pytest
from pydantic import TypeAdapter

from scaling.data import Source
from scaling.data.arrays import Arrays, Digits
from scaling.data.procedural.source import Procedural
from scaling.data.source import fingerprint


@pytest.fixture
def arrays():
    random = np.random.default_rng(0)
    return {
        "train_images": random.integers(0, 256, (7, 6, 6, 3), np.uint8),
        "train_labels": np.array([0, 1, 2, 0, 1, 2, 0]),
        "heldout_images": random.integers(0, 256, (3, 6, 6, 3), np.uint8),
        "heldout_labels": np.array([3, 0, 1], np.uint8),
    }


@pytest.fixture
def saved(tmp_path):
    def save(arrays, resolution=6):
        np.savez(tmp_path / "images.npz", **arrays)
        return Arrays(path=tmp_path / "images.npz", resolution=resolution)

    return save


def test_an_archive_gives_its_images_back_in_the_order_asked(arrays, saved):
    source = saved(arrays)
    assert source.problem() is None
    train = source.train()
    pixels, labels = train.batch(np.array([4, 0, 4]))
    np.testing.assert_array_equal(pixels, arrays["train_images"][[4, 0, 4]])
    assert labels.tolist() == [1, 0, 1]
    assert (pixels.dtype, labels.dtype) == (np.uint8, np.int32)
    assert (train.size, train.resolution, train.classes) == (7, 6, 4)
    assert (source.heldout().size, source.classes) == (3, 4)


def test_grey_images_of_another_size_become_coloured_squares(arrays, saved):
    arrays["train_images"] = np.full((7, 10, 14), 77, np.uint8)
    train = saved(arrays, resolution=5).train()
    assert train.images.shape == (7, 5, 5, 3)
    assert (train.images == 77).all()


def test_halving_averages_over_the_whole_image(arrays, saved):
    arrays["heldout_images"] = np.zeros((3, 4, 4, 3), np.uint8)
    arrays["heldout_images"][:, :, 2:, 0] = 200  # right half red
    pixels = saved(arrays, resolution=2).heldout().images
    assert (pixels[:, :, 0, 0] < 40).all()
    assert (pixels[:, :, 1, 0] > 160).all()
    assert (pixels[..., 1:] == 0).all()


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("train_labels", None, "has no train_labels; it holds train_images"),
        ("train_images", np.zeros((7, 6, 6, 3)), "train_images are float64; give uint8"),
        ("heldout_images", np.zeros((3, 6, 6, 4), np.uint8), r"have shape \[3, 6, 6, 4\]"),
        ("heldout_images", np.zeros((0, 6, 6), np.uint8), r"have shape \[0, 6, 6\]"),
        ("train_labels", np.zeros(7), "train_labels are float64; give whole numbers"),
        ("train_labels", np.zeros(6, int), r"shape \[6\] for 7 images; give \[7\]"),
        ("heldout_labels", np.array([0, -1, 2]), r"heldout_labels\[1\] is -1; labels start at 0"),
        ("train_labels", np.array([None] * 7), "train_labels are object"),
    ],
)
def test_an_archive_that_cannot_be_used_says_why(arrays, saved, name, array, said):
    if array is None:
        del arrays[name]
    else:
        arrays[name] = array
    source = saved(arrays)
    assert said.replace("\\", "") in source.problem()
    with pytest.raises(ValueError, match=said):
        source.train()


def test_an_archive_that_is_not_there_names_the_nearest(arrays, saved, tmp_path):
    saved(arrays)
    assert Arrays(path=tmp_path / "image.npz", resolution=6).problem() == (
        f"there is no {tmp_path / 'image.npz'}. Did you mean 'images.npz'?"
    )
    nowhere = tmp_path / "nowhere" / "images.npz"
    assert "does not exist" in Arrays(path=nowhere, resolution=6).problem()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"\x93NUMPY", b"text"])
def test_a_file_that_is_no_archive_is_a_problem_and_no_traceback(tmp_path, content):
    path = tmp_path / "images.npz"
    path.write_bytes(content)
    assert "is not a NumPy archive" in Arrays(path=path, resolution=6).problem()


def test_labels_that_were_damaged_on_disk_are_a_problem_and_no_traceback(arrays, saved):
    arrays["train_labels"] = np.arange(7) + 0x5A5A5A00
    source = saved(arrays)
    content = source.path.read_bytes()
    assert content.count(b"\x03ZZZ") == 1
    source.path.write_bytes(content.replace(b"\x03ZZZ", b"\x04ZZZ"))
    assert "Bad CRC-32" in source.problem()


def test_provenance_changes_with_the_pixels(arrays, saved):
    before = saved(arrays).provenance()
    arrays["train_images"][0, 0, 0, 0] ^= 1
    after = saved(arrays).provenance()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"sha256", "train_fingerprint"}


def test_a_fingerprint_sees_images_of_every_class(arrays, saved):
    """Sources come class by class, and a change in the last class is a change."""
    arrays["train_labels"] = np.repeat(np.arange(10), 200)
    arrays["train_images"] = np.zeros((2000, 2, 2, 3), np.uint8)
    before = fingerprint(saved(arrays, resolution=2).train())
    arrays["train_images"][-200:] = 1
    assert fingerprint(saved(arrays, resolution=2).train()) != before


def test_digits_split_into_a_hundred_of_each_and_the_rest():
    train, heldout = Digits().train(), Digits().heldout()
    assert np.bincount(train.labels).tolist() == [100] * 10
    assert (train.size, heldout.size) == (1000, 797)
    assert train.images.shape[1:] == heldout.images.shape[1:] == (16, 16, 3)
    shown = {image.tobytes() for image in train.images}
    assert not shown & {image.tobytes() for image in heldout.images}


def test_sizes_are_known_without_opening_the_images(arrays, saved):
    for source in (saved(arrays), Digits(), Procedural()):
        assert source.sizes() == (source.train().size, source.heldout().size)


def test_digits_are_bright_on_black_in_three_equal_channels():
    images = Digits(resolution=8).train().images
    assert (images == images[..., :1]).all()
    assert images.max() == 240
    assert np.median(images[:, :, 0]) == 0


def test_digits_of_one_label_resemble_each_other():
    train, heldout = Digits().train(), Digits().heldout()
    flat = train.images.reshape(1000, -1).astype(float)
    means = np.stack([flat[train.labels == digit].mean(0) for digit in range(10)])
    distance = ((heldout.images.reshape(797, 1, -1) - means) ** 2).sum(-1)
    assert (distance.argmin(1) == heldout.labels).mean() > 0.85


def test_the_kind_chooses_the_source():
    read = TypeAdapter(Source).validate_python
    assert read({"kind": "digits", "resolution": 8}) == Digits(resolution=8)
    assert isinstance(read({"kind": "arrays", "path": "x.npz", "resolution": 8}), Arrays)
    assert read({"kind": "procedural"}).classes == 64


@pytest.mark.parametrize("label", [10_000_000, 3 * 10**9, 2**40])
def test_a_label_larger_than_any_number_of_classes_is_named(arrays, saved, label):
    arrays["train_labels"][2] = label
    words = saved(arrays).problem()
    assert f"train_labels[2] is {label}; labels are classes, 0 .. 9_999_999" in words


def test_where_no_image_has_a_label_there_is_one_class(arrays, saved):
    arrays["train_labels"] = np.full((7, 2), -1)
    arrays["heldout_labels"] = np.full((3, 2), -1)
    source = saved(arrays)
    assert (source.problem(), source.classes, source.labels_each) == (None, 1, 2)
