# ruff: noqa: F811  fixtures are named as what they give
"""Records that cannot be read: counted, named, and left out only where a study allows it."""

import json

import numpy as np
import pytest
from test_tfds import SIZES, own, pixels, prepared, specks  # noqa: F401  the last two are fixtures

from fits.base.errors import UserError
from scaling.base.config import contents
from scaling.data.files.readable import unreadable
from scaling.data.pixels.decode import UnreadableImages


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vit-scaling-laws"


@pytest.fixture
def damaged(own):
    """Two records of the training split whose bytes no longer have the hash that was stored."""
    file = next((own / "specks" / "1.0.0").glob("specks-train.array_record*"))
    contents = bytearray(file.read_bytes())
    images = [at for at in range(len(contents)) if contents[at : at + 4] == b"\x89PNG"]
    for at in (images[3], images[20]):
        contents[at + 60] ^= 1
    file.write_bytes(contents)
    return own


def readable_numbers(source):
    """Which of the 30 images are left, told by their pixels."""
    written = {pixels(i).tobytes(): i for i in range(30)}
    images, _ = source.train().batch(np.arange(source.train().size))
    return [written[image.tobytes()] for image in images]


def test_a_damaged_record_stops_what_allows_none(damaged):
    with pytest.raises(UnreadableImages) as bad:
        specks(damaged).check(print)
    assert len(bad.value.why) == 2
    assert all("damaged: Corrupted" in why for why in bad.value.why.values())


def test_all_images_are_checked_once_before_training_unless_a_sample_is_asked_for(
    damaged, monkeypatch
):
    monkeypatch.setattr("scaling.data.files.encoded.SAMPLE", 0)  # the first and last of each file
    sampled = specks(damaged, check_images="sample")
    assert contents(sampled) == contents(specks(damaged)), "an id does not depend on it"
    said = []
    sampled.check(said.append)
    assert not said
    for _ in range(2):
        with pytest.raises(UnreadableImages) as bad:
            specks(damaged).check(said.append)
        assert len(bad.value.why) == 2
        assert said[0] == "specks train: 30 images are checked, once on this machine."
    assert len(said) == 2, "once for each split"
    with pytest.raises(UnreadableImages) as bad:
        sampled.check(said.append)
    assert len(bad.value.why) == 2, "what is known counts"


def test_only_the_damaged_records_of_a_batch_are_named(damaged):
    with pytest.raises(UnreadableImages) as bad:
        specks(damaged).train().batch(np.arange(30))
    assert [name.startswith("specks train, image ") for name in bad.value.why] == [True, True]


def test_allowed_records_are_left_out_and_the_set_is_smaller(damaged):
    source = specks(damaged, skip_unreadable=2)
    source.check(print)
    train = source.train()
    assert (train.size, source.heldout().size) == (28, 6)
    assert source.sizes() == (28, 6)
    left = readable_numbers(source)
    assert len(set(left)) == 28
    with pytest.raises(IndexError):
        train.batch(np.array([28]))


def test_each_image_that_is_left_keeps_its_label(damaged):
    source = specks(damaged, skip_unreadable=2)
    _, labels = source.train().batch(np.arange(28))
    np.testing.assert_array_equal(labels, np.array(readable_numbers(source)) % 3)


def test_the_same_images_are_left_on_a_machine_that_has_kept_nothing(damaged, cache):
    source = specks(damaged, skip_unreadable=2)
    first = readable_numbers(source)
    (file,) = [each for each in cache.iterdir() if "train" in each.name and ".json" in each.name]
    assert len(json.loads(file.read_text())) == 2
    file.unlink()
    assert readable_numbers(source) == first


def test_the_manifest_names_what_was_skipped(damaged):
    known = specks(damaged, skip_unreadable=5).provenance()
    assert (known["train_size"], known["heldout_size"]) == (28, 6)
    assert len(known["train_skipped"]) == 2
    assert known["heldout_skipped"] == {}
    assert (
        "train_skipped"
        not in specks(damaged, heldout_split="train[29:]", train_split="train[:1]").provenance()
    )


def test_more_than_are_allowed_stop_the_run_and_are_all_named(damaged):
    with pytest.raises(UnreadableImages, match="2 images cannot be read") as bad:
        specks(damaged, skip_unreadable=1).check(print)
    assert len(bad.value.why) == 2


def test_what_is_no_image_counts_as_what_is_no_record(prepared):
    source = specks(prepared, image_key="mask", skip_unreadable=36)
    assert len(unreadable(source.records(heldout=False))) == SIZES["train"]


def test_a_set_of_which_nothing_is_left_is_no_set(prepared):
    with pytest.raises(UnreadableImages, match="30 images cannot be read"):
        specks(prepared, image_key="mask", skip_unreadable=36).train()


def test_a_repaired_file_is_looked_at_again(damaged, prepared):
    source = specks(damaged, skip_unreadable=2)
    assert source.train().size == 28
    (good,) = (prepared / "specks" / "1.0.0").glob("specks-train.array_record*")
    (bad,) = (damaged / "specks" / "1.0.0").glob("specks-train.array_record*")
    bad.write_bytes(good.read_bytes())
    assert source.train().size == 30


def test_all_are_looked_at_once_a_machine(damaged, monkeypatch):
    source = specks(damaged, skip_unreadable=2)
    source.check(print)
    monkeypatch.setattr("scaling.data.files.readable.look_at_all", None)
    assert source.train().size == 28


def test_leaving_out_none_is_no_part_of_an_id():
    from scaling.base.config import contents

    assert "skip_unreadable" not in contents(specks(None))
    assert contents(specks(None, skip_unreadable=3))["skip_unreadable"] == 3


def a_run(source, **fields):
    from models.shapes import ViTShape
    from scaling.objectives.classify import Classify
    from scaling.training.recipe import Recipe
    from scaling.training.run import Run

    shape = ViTShape(name="a", resolution=8, patch=4, width=8, depth=1, mlp=16, heads=1)
    known = {
        "objective": Classify(),
        "recipe": Recipe(warmup_steps=1),
        "images_seen": 8,
        "batch": 4,
        "seed": 0,
    }
    return Run(model=shape, data=source, **known | fields)


def test_a_run_that_wants_more_images_than_are_left_is_stopped_in_words(damaged):
    from scaling.image_check import check_images

    source = specks(damaged, skip_unreadable=2)
    check_images(a_run(source, data_size=28), [])
    with pytest.raises(UserError, match="data_size = 29, and 28 images can be read"):
        check_images(a_run(source, data_size=29), [])


def test_processes_that_would_skip_different_images_stop(damaged, monkeypatch):
    from scaling import image_check

    source = specks(damaged, skip_unreadable=2)
    monkeypatch.setattr(image_check, "agreed_word", lambda word: "another")
    with pytest.raises(UserError, match="would skip different images"):
        image_check.check_images(a_run(source), [])


@pytest.fixture
def folder(tmp_path):
    """Ten images a class and split, three of those to learn from damaged."""
    from PIL import Image

    root = tmp_path / "photographs"
    for split in ("train", "test"):
        for label, name in enumerate(("ant", "bee")):
            (root / split / name).mkdir(parents=True)
            for i in range(10):
                Image.new("RGB", (8, 8), (label, i, 0)).save(root / split / name / f"{i}.png")
    for name in ("ant/3.png", "bee/0.png", "bee/9.png"):
        file = root / "train" / name
        file.write_bytes(file.read_bytes()[:40])
    return root


def test_a_folder_leaves_out_what_cannot_be_read_and_keeps_each_label(folder):
    from scaling.data.folder import Folder

    source = Folder(path=folder, resolution=8, skip_unreadable=3)
    source.check(print)
    assert source.sizes() == (17, 20)
    images, labels = source.train().batch(np.arange(17))
    left = [(0, i) for i in range(10) if i != 3] + [(1, i) for i in range(1, 9)]
    assert [(int(p[0, 0, 0]), int(p[0, 0, 1])) for p in images] == left
    assert labels.tolist() == [label for label, _ in left]
    known = source.provenance()
    assert known["train_size"] == 17
    assert sorted(known["train_skipped"]) == [
        str(folder / "train" / name) for name in ("ant/3.png", "bee/0.png", "bee/9.png")
    ]
    with pytest.raises(UnreadableImages, match="3 images cannot be read"):
        Folder(path=folder, resolution=8, skip_unreadable=2).check(print)
    with pytest.raises(UnreadableImages, match="3 images cannot be read"):
        Folder(path=folder, resolution=8).check(print)


def test_a_folder_that_skips_nothing_has_the_id_it_had():
    from scaling.base.config import digest
    from scaling.data.folder import Folder

    assert digest(Folder(path="x", resolution=8)) == digest(
        {"kind": "folder", "path": "x", "resolution": 8}
    )
