"""Folders of image files: what is read, what is kept, and what is said of a bad one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scaling.data.around.subset import Selection, Subset
from scaling.data.files import decoded
from scaling.data.folder import Folder
from scaling.data.pixels.crops import Crops
from scaling.data.pixels.decode import UnreadableImages, decode_all

CLASSES = ["bee", "ant", "cat"]  # written in this order, read in the alphabet's


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vit-scaling-laws"


def pixels(seed, size=(8, 8)):
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)


def save(array, file):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(file)


@pytest.fixture
def root(tmp_path):
    """Three classes of four PNGs to train on, two to measure on, each of its own pixels."""
    root = tmp_path / "photographs"
    for split, count in (("train", 4), ("test", 2)):
        for label, name in enumerate(CLASSES):
            for i in reversed(range(count)):
                seed = 100 * (split == "test") + 10 * label + i
                save(pixels(seed), root / split / name / f"{i}.png")
    return root


def opened(root, **fields):
    return Folder(path=root, **{"resolution": 8, **fields})


@pytest.mark.parametrize("limit", [decoded.CACHE_LIMIT, 0])
def test_images_come_class_by_class_in_alphabetical_order(root, monkeypatch, limit):
    monkeypatch.setattr(decoded, "CACHE_LIMIT", limit)
    source = opened(root)
    train = source.train()
    assert (train.size, train.resolution, train.classes, source.classes) == (12, 8, 3, 3)
    images, labels = train.batch(np.arange(12))
    np.testing.assert_array_equal(labels, np.repeat([0, 1, 2], 4))
    expected = [pixels(10 * CLASSES.index(name) + i) for name in sorted(CLASSES) for i in range(4)]
    np.testing.assert_array_equal(images, expected)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int32)


@pytest.mark.parametrize("limit", [decoded.CACHE_LIMIT, 0])
def test_any_images_may_be_asked_for_in_any_order(root, monkeypatch, limit):
    monkeypatch.setattr(decoded, "CACHE_LIMIT", limit)
    heldout = opened(root).heldout()
    everything, all_labels = heldout.batch(np.arange(6))
    images, labels = heldout.batch(np.array([5, 0, 5]))
    np.testing.assert_array_equal(images, everything[[5, 0, 5]])
    np.testing.assert_array_equal(labels, all_labels[[5, 0, 5]])


def test_a_class_keeps_its_number_when_the_heldout_split_lacks_another(root):
    for file in (root / "test" / "ant").iterdir():
        file.unlink()
    (root / "test" / "ant").rmdir()
    _, labels = opened(root).heldout().batch(np.arange(4))
    np.testing.assert_array_equal(labels, [1, 1, 2, 2])


def test_sizes_are_known_without_decoding(root, cache):
    (root / "test" / "bee" / "0.png").unlink()
    assert opened(root).sizes() == (12, 5)
    assert not cache.exists()


def test_other_sizes_are_resized_whatever_their_aspect(root):
    wide = np.zeros((16, 32, 3), np.uint8)
    wide[:, 16:] = 200
    save(wide, root / "train" / "ant" / "0.png")
    images, _ = opened(root).train().batch(np.array([0]))
    assert images.shape == (1, 8, 8, 3)
    np.testing.assert_array_equal(images[0, :, :3], 0)
    np.testing.assert_array_equal(images[0, :, 5:], 200)


@pytest.mark.parametrize(
    ("mode", "expected"), [("L", [90, 90, 90]), ("RGBA", [10, 20, 30]), ("P", [10, 20, 30])]
)
def test_grey_transparent_and_palette_images_become_rgb(root, mode, expected):
    image = Image.new(mode, (8, 8), 90 if mode == "L" else (10, 20, 30))
    image.save(root / "train" / "ant" / "0.png")
    images, _ = opened(root).train().batch(np.array([0]))
    np.testing.assert_array_equal(images[0, 3, 3], expected)


def test_jpegs_are_read_and_other_files_ignored(root):
    save(np.full((8, 8, 3), 77, np.uint8), root / "train" / "ant" / "9.JPEG")
    (root / "train" / "ant" / "notes.txt").write_text("not an image")
    (root / "train" / "ant" / ".hidden.png").write_text("not an image")
    (root / "train" / ".trash").mkdir()
    train = opened(root).train()
    assert train.size == 13
    images, _ = train.batch(np.array([4]))
    assert np.abs(images[0].astype(int) - 77).max() <= 1


# The cache


def count_decodings(monkeypatch):
    """A list that grows by the number of files decoded at each call."""
    calls: list[int] = []
    honest = decoded.decode_all
    monkeypatch.setattr(
        decoded,
        "decode_all",
        lambda files, *more: calls.append(len(files)) or honest(files, *more),
    )
    return calls


def test_images_are_decoded_once_and_then_read_from_the_cache(root, monkeypatch, cache):
    calls = count_decodings(monkeypatch)
    first = opened(root).train().batch(np.arange(12))
    again = opened(root).train().batch(np.arange(12))
    assert calls == [12]
    np.testing.assert_array_equal(first[0], again[0])
    assert len(list(cache.glob("photographs-train-*.npy"))) == 1
    assert not list(cache.glob("*.part"))


def test_a_cache_is_written_in_chunks_that_leave_no_seam(root, monkeypatch):
    whole = opened(root).train().batch(np.arange(12))[0]
    monkeypatch.setattr(decoded, "CHUNK", 5)
    calls = count_decodings(monkeypatch)
    os.utime(root / "train" / "ant" / "0.png", ns=(0, 0))
    np.testing.assert_array_equal(opened(root).train().batch(np.arange(12))[0], whole)
    assert calls == [5, 5, 2]


def test_what_is_handed_out_is_no_window_into_the_cache(root):
    train = opened(root).train()
    images, _ = train.batch(np.arange(2))
    images[:] = 0
    assert train.batch(np.arange(2))[0].any()


@pytest.mark.parametrize("change", ["pixels", "time", "name", "resolution"])
def test_whatever_changes_the_images_renews_the_cache(root, monkeypatch, change):
    opened(root).train()
    calls = count_decodings(monkeypatch)
    file = root / "train" / "bee" / "2.png"
    resolution = 8
    match change:
        case "pixels":
            save(np.zeros((8, 8, 3), np.uint8), file)
        case "time":
            os.utime(file, ns=(1, 1))
        case "name":
            file.rename(file.with_name("5.png"))
        case "resolution":
            resolution = 4
    opened(root, resolution=resolution).train()
    assert calls == [12]


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"not a cache at all"])
def test_a_damaged_cache_is_made_again(root, cache, damage):
    before = opened(root).train().batch(np.arange(12))[0]
    (file,) = cache.glob("*.npy")
    file.write_bytes(damage)
    np.testing.assert_array_equal(opened(root).train().batch(np.arange(12))[0], before)


def test_a_truncated_cache_is_made_again(root, cache):
    before = opened(root).train().batch(np.arange(12))[0]
    (file,) = cache.glob("*.npy")
    file.write_bytes(file.read_bytes()[:-1])
    np.testing.assert_array_equal(opened(root).train().batch(np.arange(12))[0], before)


def test_an_interrupted_decoding_leaves_nothing_that_looks_whole(root, cache, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(decoded, "decode_all", interrupted)
        with pytest.raises(KeyboardInterrupt):
            opened(root).train()
    assert not list(cache.glob("*.npy"))
    assert opened(root).train().batch(np.arange(12))[0].any()


def test_two_machines_that_decode_one_folder_do_not_write_to_one_file(root, cache, monkeypatch):
    """The second starts and ends while the first decodes: locks do not reach across machines."""
    alone = opened(root).train().batch(np.arange(12))[0]
    (file,) = cache.glob("*.npy")
    file.unlink()
    decode = decoded.decode_all
    meanwhile = []

    def slowly(*arguments):
        if not meanwhile:
            meanwhile.append("the second machine")
            meanwhile.append(opened(root).train().batch(np.arange(12))[0])
        return decode(*arguments)

    monkeypatch.setattr(decoded.fcntl, "flock", lambda file, how: None)
    monkeypatch.setattr(decoded, "decode_all", slowly)
    np.testing.assert_array_equal(opened(root).train().batch(np.arange(12))[0], alone)
    np.testing.assert_array_equal(meanwhile[1], alone)
    assert [path.name for path in cache.glob("*.part")] == []


def test_what_a_killed_process_left_behind_is_removed_a_day_later(root, cache):
    opened(root).train()
    (file,) = cache.glob("*.npy")
    file.unlink()
    killed, writing = (file.with_name(f".{file.name}.{each}.part") for each in ("1", "2"))
    for path in (killed, writing):
        path.write_bytes(b"half")
    os.utime(killed, (0, 0))
    opened(root).train()
    assert not killed.exists()
    assert writing.exists()


def test_processes_that_start_together_decode_once(root, cache):
    program = (
        "import sys; from pathlib import Path; import scaling.data.files.decoded as f\n"
        "honest = f.decode_all\n"
        "def told(*args): print('decoded'); return honest(*args)\n"
        "f.decode_all = told\n"
        "from scaling.data.folder import Folder\n"
        "images = Folder(path=Path(sys.argv[1]), resolution=8).train()\n"
        "print(images.batch(f.np.arange(12))[0].sum())"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(root)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    said = [process.communicate(timeout=60)[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert sum(words.count("decoded") for words in said) == 1
    assert len({words[-1] for words in said}) == 1


def test_a_cache_that_cannot_be_written_says_where_and_what_to_do(root, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "train" / "ant" / "0.png"))
    with pytest.raises(ValueError, match=r"0\.png.*Point XDG_CACHE_HOME to a folder with room"):
        opened(root).train()


def test_crops_of_images_of_the_resolution_are_cut_out_of_the_cache(root, monkeypatch, cache):
    """Half of each is cut out and enlarged; the photograph of another size is decoded for it."""
    save(pixels(5, (20, 30)), root / "train" / "bee" / "5.png")

    def left(sizes):
        box = np.pad(sizes // [1, 2], ((0, 0), (2, 0)))
        return Crops(box, np.full_like(sizes, 8), np.zeros_like(sizes))

    calls = count_decodings(monkeypatch)
    train = opened(root).train()
    assert calls == [13]
    cut, labels = train.batch(np.arange(13), left)
    assert calls == [13, 1]
    files = [root / "train" / name for name in train.names]
    np.testing.assert_array_equal(cut, decode_all(files, train.names, 8, crop=left))
    np.testing.assert_array_equal(labels, train.labels)
    assert len(list(cache.glob("*.sizes.npy"))) == 1
    np.testing.assert_array_equal(opened(root).train().batch(np.arange(13), left)[0], cut)


# Bad input


def test_a_good_folder_has_no_problem(root):
    assert opened(root).problem() is None


def test_a_missing_folder_is_named_with_the_nearest_there_is(root):
    problem = opened(root.with_name("photograph")).problem()
    assert "there is no" in problem
    assert "Did you mean 'photographs'?" in problem


def test_a_missing_split_is_named_with_the_splits_there_are(root):
    problem = opened(root, heldout_split="tests").problem()
    assert "no folder 'tests' (heldout_split); its folders: test, train." in problem
    assert "Did you mean 'test'?" in problem


def test_a_file_in_place_of_the_folder_is_said(root):
    assert "has no folder 'train'" in opened(root / "train" / "ant" / "0.png").problem()


def test_a_split_without_classes_is_said(tmp_path):
    save(pixels(0), tmp_path / "train" / "0.png")
    save(pixels(0), tmp_path / "test" / "0.png")
    assert "has no folders; each class needs one" in opened(tmp_path).problem()


def test_labels_are_those_of_the_images_that_are_left(root):
    (root / "train" / sorted(CLASSES)[0] / "1.png").write_bytes(b"")
    source = opened(root, skip_unreadable=1)
    assert len(source.labels()) == source.sizes()[0] == 12, "not known before it was looked at"
    train = source.train()
    np.testing.assert_array_equal(source.labels(), [0] * 3 + [1] * 4 + [2] * 4)
    np.testing.assert_array_equal(source.labels(), train.labels_of(np.arange(11)))
    part = Subset(of=source, select=Selection(classes=2))
    images, labels = part.train().batch(np.arange(part.train().size))
    of_whole, whole = train.batch(np.arange(11))
    there = [np.flatnonzero((of_whole == image).all((1, 2, 3))).item() for image in images]
    names = [sorted(CLASSES)[i] for i in whole[there]]
    assert names == [part.class_names[i] for i in labels]


def test_a_split_to_measure_on_without_classes_is_named(root):
    for folder in (root / "test").iterdir():
        shutil.rmtree(folder)
    fault = opened(root).fault()
    assert fault.key == "heldout_split"
    assert fault.words == (
        f"{root / 'test'} has no folders; at least one class needs images to measure on."
    )


def test_a_heldout_class_that_was_never_trained_on_is_named(root):
    save(pixels(0), root / "test" / "caat" / "0.png")
    problem = opened(root).problem()
    assert "class 'caat'" in problem
    assert "Did you mean 'cat'?" in problem


def test_an_empty_class_is_named(root):
    (root / "train" / "dog").mkdir()
    (root / "train" / "dog" / "readme.txt").write_text("soon")
    assert f"{root / 'train' / 'dog'} holds no image" in opened(root).problem()


def test_a_problem_stops_the_opening(root):
    with pytest.raises(ValueError, match="no folder 'tests'"):
        opened(root, heldout_split="tests").train()


def test_training_and_heldout_split_must_differ(root):
    with pytest.raises(ValueError, match="both 'train'"):
        opened(root, heldout_split="train")


@pytest.mark.parametrize("limit", [decoded.CACHE_LIMIT, 0])
@pytest.mark.parametrize("content", ["text", "truncated"])
def test_a_file_that_is_no_image_is_named_by_its_path(root, monkeypatch, limit, content):
    monkeypatch.setattr(decoded, "CACHE_LIMIT", limit)
    file = root / "train" / "bee" / "1.png"
    file.write_bytes(file.read_bytes()[:60] if content == "truncated" else b"hello")
    with pytest.raises(ValueError, match=r"train/bee/1\.png: not a readable image"):
        opened(root).train().batch(np.arange(12))


def spoil(root, *names):
    for name in names:
        (root / name).write_bytes(b"hello")


THREE = ("train/ant/0.png", "train/cat/3.png", "test/bee/1.png")


@pytest.mark.parametrize("limit", [decoded.CACHE_LIMIT, 0])
def test_a_check_names_the_bad_images_of_both_splits_at_once(root, monkeypatch, limit):
    monkeypatch.setattr(decoded, "CACHE_LIMIT", limit)
    monkeypatch.setattr(decoded, "CHUNK", 5)
    opened(root).check(print)
    spoil(root, *THREE)
    with pytest.raises(UnreadableImages) as bad:
        opened(root).check(print)
    assert list(bad.value.why) == [str(root / name) for name in THREE]
    assert str(bad.value).startswith("3 images cannot be read; repair or remove them:\n")
    for name in THREE:
        assert f"{root / name}: not a readable image: " in str(bad.value)


def test_twenty_bad_images_are_named_and_the_rest_counted(root):
    for i in range(25):
        (root / "test" / "ant" / f"bad{i:02}.png").write_bytes(b"hello")
    with pytest.raises(UnreadableImages) as bad:
        opened(root).check(print)
    first, *named, last = str(bad.value).splitlines()
    assert (first[:9], len(named), last) == (
        "25 images",
        20,
        "... and 5 more; `scaling data check` names all.",
    )


@pytest.mark.parametrize("limit", [decoded.CACHE_LIMIT, 0])
def test_images_are_checked_once_on_a_machine_whatever_was_found(root, monkeypatch, limit):
    monkeypatch.setattr(decoded, "CACHE_LIMIT", limit)
    opened(root).check(print)
    spoil(root, "test/bee/1.png")
    with pytest.raises(UnreadableImages) as first:
        opened(root).check(print)
    for each in ("decode_all", "check_all"):
        monkeypatch.setattr(decoded, each, lambda *_: pytest.fail("looked at again"))
    with pytest.raises(UnreadableImages) as again:
        opened(root).check(print)
    assert str(again.value) == str(first.value)


def test_a_repaired_image_is_looked_at_again(root):
    spoil(root, "test/bee/1.png")
    with pytest.raises(UnreadableImages):
        opened(root).check(print)
    save(pixels(3), root / "test" / "bee" / "1.png")
    opened(root).check(print)


def test_an_image_that_the_system_will_not_read_now_is_not_remembered_as_bad(root, monkeypatch):
    honest = Image.open

    def refused(file):
        if str(file).endswith("test/bee/1.png"):
            raise OSError(5, "Input/output error")
        return honest(file)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Image, "open", refused)
        with pytest.raises(UnreadableImages, match="Input/output error"):
            opened(root).check(print)
    opened(root).check(print)


def test_a_truncated_jpeg_is_found_by_a_check_that_does_not_keep_its_pixels(root, monkeypatch):
    monkeypatch.setattr(decoded, "CACHE_LIMIT", 0)
    file = root / "test" / "bee" / "big.jpg"
    save(pixels(0, (600, 600)), file)
    opened(root).check(print)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UnreadableImages, match=r"big\.jpg: not a readable image"):
        opened(root).check(print)


def test_a_check_needs_no_cache_folder_where_nothing_is_to_be_kept(root, monkeypatch):
    monkeypatch.setattr(decoded, "CACHE_LIMIT", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "train" / "ant" / "0.png"))
    opened(root).check(print)
    spoil(root, "test/bee/1.png")
    with pytest.raises(UnreadableImages, match=r"bee/1\.png"):
        opened(root).check(print)


def test_sixteen_bits_a_channel_are_refused_rather_than_clipped(root):
    deep = Image.fromarray(np.full((8, 8), 40_000, np.uint16))
    deep.save(root / "train" / "bee" / "1.png")
    with pytest.raises(ValueError, match=r"bee/1\.png: it has more than 8 bits a channel"):
        opened(root).train()


# What a run remembers of it


def test_provenance_names_the_decoder_and_sees_changed_pixels(root):
    before = opened(root).provenance()
    assert before["decoder"].startswith("pillow ")
    assert (before["train_size"], before["heldout_size"]) == (12, 6)
    save(np.zeros((8, 8, 3), np.uint8), root / "train" / "bee" / "1.png")
    after = opened(root).provenance()
    assert after["train_fingerprint"] != before["train_fingerprint"]
    assert after["heldout_fingerprint"] == before["heldout_fingerprint"]


def test_a_folder_under_ones_home_may_be_written_with_a_tilde(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert opened(Path("~/photographs")).train().size == 12


def test_loading_the_module_leaves_pillow_alone():
    program = "import sys, scaling.data.folder; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_link_that_leads_nowhere_is_named_or_left_out(root):
    (root / "train" / "ant" / "9.png").symlink_to(root / "gone.png")
    with pytest.raises(UnreadableImages, match=r"train/ant/9.png: not a readable image: .*No such"):
        opened(root).check(print)
    some = opened(root, skip_unreadable=1)
    some.check(print)
    assert (some.train().size, some.sizes()) == (12, (12, 6))
    assert [*some.train().skipped] == [str(root / "train" / "ant" / "9.png")]
    save(pixels(7), root / "gone.png")
    assert opened(root).train().size == some.train().size == 13


def test_images_in_a_folder_within_their_class_are_pointed_at(root):
    inner = root / "train" / "bee" / "images"
    inner.mkdir()
    for file in (root / "train" / "bee").glob("*.png"):
        file.rename(inner / file.name)
    words = "train/bee holds no image (.jpg, .jpeg, .png), but its folder 'images' does; move"
    assert words in opened(root).problem()


def test_a_class_that_is_a_link_to_nothing_is_named(root):
    (root / "test" / ".left").symlink_to(root / "gone")
    assert opened(root).problem() is None
    (root / "train" / "dog").symlink_to(root / "gone")
    assert f"{root}/train/dog is a link to nothing; restore the folder" in opened(root).problem()
