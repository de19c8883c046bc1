"""Near-duplicates of what is measured on: found whatever was done to them, and left out."""

import io
import json
import shutil
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from scaling.cli.duplicates import duplicates
from scaling.data.around.without import Without, read_left_out
from scaling.data.perceptual import dct_hashes, near_by_bits, near_by_cosine, unit
from scaling.duplicates import Alike, find, report
from scaling.study.parse import read_study

SIDE, TRAIN, HELDOUT = 32, 60, 20
COPIES = {3: 7, 11: 40, 19: 41}  # held-out image -> training image it is a copy of
STUDY = """
name = "copies"
question = "What was seen before?"

[data]
kind = "arrays"
path = "images.npz"
resolution = 32

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


def pictures(count, seed):
    """Blurred coloured noise: smooth, and no two alike."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, 6, 6, 3)).astype(np.uint8)
    grown = [Image.fromarray(each).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for each in small]
    return np.stack([np.asarray(each) for each in grown])


def through_jpeg(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=85)
    return np.asarray(Image.open(file))


CHANGES = {
    "as it was": lambda image: image,
    "compressed": through_jpeg,
    "mirrored": lambda image: image[:, ::-1],
    "darker": lambda image: (image * 0.6).astype(np.uint8),
    "smaller": lambda image: np.asarray(
        Image.fromarray(image).resize((20, 20)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_done_to_a_copy_hardly_changes_its_hash(change):
    images = pictures(TRAIN, 0)
    changed = np.stack([change(image) for image in images])
    hashes, _ = dct_hashes(images)
    copies, mirrored = dct_hashes(changed)
    either = np.minimum(np.bitwise_count(hashes ^ copies), np.bitwise_count(hashes ^ mirrored))
    assert np.mean(either <= 4) > 0.95


def test_other_images_have_other_hashes():
    hashes, mirrored = dct_hashes(pictures(200, 1))
    for others in (hashes, mirrored):
        apart = np.bitwise_count(hashes[:, None] ^ others)[~np.eye(200, dtype=bool)]
        assert apart.min() > 4
        assert apart.mean() == pytest.approx(32, abs=2)


def test_the_hash_of_a_mirrored_image_is_the_mirrored_hash_of_the_image():
    images = pictures(50, 2)
    hashes, mirrored = dct_hashes(images)
    assert (dct_hashes(images[:, :, ::-1])[0] == mirrored).all()
    assert (dct_hashes(images[:, :, ::-1])[1] == hashes).all()


def test_an_image_of_one_colour_hashes_to_zero():
    flat = np.stack([np.full((SIDE, SIDE, 3), level, np.uint8) for level in (0, 7, 255)])
    assert all((hashes == 0).all() for hashes in dct_hashes(flat))


def test_near_hashes_are_found_on_both_sides():
    here = np.array([0b1111, 0, 1 << 63], np.uint64)
    there = np.array([0b1100, 0xFF00], np.uint64)
    mine, others = near_by_bits(here, there, 2)
    assert mine.tolist() == [True, True, False]
    assert others.tolist() == [True, False]


def test_features_are_compared_by_their_cosine():
    here = unit(np.array([[3, 0], [0, 0], [1, 1]], np.float32))
    there = unit(np.array([[2, 0], [0, -5]], np.float32))
    mine, others = near_by_cosine(here, there, 0.99)
    assert mine.tolist() == [True, False, False]
    assert others.tolist() == [True, False]


@pytest.fixture
def study(tmp_path):
    train, heldout = pictures(TRAIN, 3), pictures(HELDOUT, 4)
    for number, (copy, of) in enumerate(COPIES.items()):
        change = list(CHANGES.values())[number]
        heldout[copy] = change(train[of])
    labels = {"train": np.arange(TRAIN) % 4, "heldout": np.arange(HELDOUT) % 4}
    np.savez(
        tmp_path / "images.npz",
        train_images=train,
        heldout_images=heldout,
        **{f"{name}_labels": label for name, label in labels.items()},
    )
    path = tmp_path / "copies.toml"
    path.write_text(STUDY.replace("images.npz", str(tmp_path / "images.npz")))
    return path


def test_copies_among_the_training_images_are_counted_and_no_others(study):
    left_out, (row,) = find(read_study(str(study)), Alike(), lambda line: None)
    assert left_out.images == tuple(sorted(COPIES.values()))
    assert row == ("held-out images of [data]", HELDOUT, len(COPIES), len(COPIES))


@pytest.mark.slow
def test_images_in_memory_are_resized_some_at_a_time(study, tmp_path):
    """All of them at the size of a hash would take four times their own bytes."""
    count = 12_288
    images = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    sets = {"train": images, "heldout": images[: count // 8, :, ::-1]}
    labels = {f"{name}_labels": np.arange(len(each)) % 4 for name, each in sets.items()}
    np.savez(
        tmp_path / "images.npz", **labels, **{f"{name}_images": each for name, each in sets.items()}
    )
    known = read_study(str(study))
    tracemalloc.start()
    _, (row,) = find(known, Alike(), lambda line: None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert row.seen == count // 8
    assert peak < 4 * images.nbytes  # the file, the images, and CHUNK of them as numbers


def test_a_task_that_networks_are_fine_tuned_on_is_compared_too(study, tmp_path):
    """In a file of its own: of the study's file its training images would not be compared."""
    shutil.copy(tmp_path / "images.npz", tmp_path / "task.npz")
    task = f'data = {{ kind = "arrays", path = "{tmp_path}/task.npz", resolution = 32 }}'
    protocol = 'protocol = { kind = "vit", resolution = 32, steps = 10, warmup_steps = 1 }'
    tuned = f'[[evaluate]]\nkind = "finetune"\nname = "again"\n{task}\n{protocol}\n'
    study.write_text(study.read_text() + tuned)
    _, rows = find(read_study(str(study)), Alike(), lambda line: None)
    assert [row.name for row in rows] == [
        "held-out images of [data]",
        "again, train",
        "again, held out",
    ]
    assert rows[1].images == rows[1].seen == TRAIN


def test_by_features_more_are_found(study):
    """Of a network that sees the mean colour alone."""

    def colour(images, numbers):
        mean = images.batch(numbers)[0].mean((1, 2)) - 128
        return unit(mean.astype(np.float32))

    wanted = Alike(features=colour, cosine=0.999, network="colour")
    left_out, (row,) = find(read_study(str(study)), wanted, lambda line: None)
    assert set(COPIES.values()) < set(left_out.images)
    assert row.training == len(left_out.images)
    assert left_out.why["network"] == "colour"


@pytest.fixture
def without(study, tmp_path):
    found = read_study(str(study))
    left_out, _ = find(found, Alike(), lambda line: None)
    path = left_out.write(tmp_path, "copies")
    return Without(file=path, of=found.runs[0].data)


def test_a_source_without_them_keeps_the_others_in_their_order(without):
    whole, rest = without.of.train(), without.train()
    kept = [i for i in range(TRAIN) if i not in COPIES.values()]
    assert without.problem() is None
    assert without.sizes() == (len(kept), HELDOUT)
    assert (rest.size, rest.classes, rest.resolution) == (len(kept), 4, SIDE)
    numbers = np.array([0, 10, len(kept) - 1])
    chosen = np.array(kept)[numbers]
    for mine, its in zip(rest.batch(numbers), whole.batch(chosen), strict=True):
        np.testing.assert_array_equal(mine, its)
    np.testing.assert_array_equal(rest.labels_of(numbers), whole.labels_of(chosen))
    assert without.heldout().size == HELDOUT
    np.testing.assert_array_equal(without.labels(), rest.labels_of(np.arange(len(kept))))
    np.testing.assert_array_equal(without.labels(heldout=True), without.of.labels(heldout=True))


def test_after_they_are_left_out_none_is_found_again(without, study):
    hashes, _ = dct_hashes(without.train().batch(np.arange(without.sizes()[0]))[0])
    heldout = dct_hashes(without.heldout().batch(np.arange(HELDOUT))[0])
    for others in heldout:
        assert not near_by_bits(hashes, others, 4)[0].any()


def test_a_file_that_was_edited_renamed_or_made_for_others_is_refused(without, tmp_path):
    edited = json.loads(without.file.read_text())
    edited["images"] = edited["images"][1:]
    path = tmp_path / without.file.name.replace("copies", "edited")
    path.write_text(json.dumps(edited))
    assert "was edited or renamed" in without.model_copy(update={"file": path}).problem()
    path.write_text("{")
    read_left_out.cache_clear()
    said = without.model_copy(update={"file": path}).problem()
    assert "is no file of `scaling duplicates`" in said
    gone = without.model_copy(update={"file": tmp_path / "gone.json"})
    assert "there is no" in gone.problem()
    larger = without.of.model_copy(update={"resolution": 64})
    assert without.model_copy(update={"of": larger}).problem() is None
    other = without.of.model_copy(update={"path": tmp_path / "images.npz.npz"})
    (tmp_path / "images.npz.npz").write_bytes((tmp_path / "images.npz").read_bytes())
    assert "made for another source" in without.model_copy(update={"of": other}).problem()


def scaling(*words, cwd):
    command = [sys.executable, "-m", "scaling", *map(str, words)]
    return subprocess.run(command, cwd=cwd, text=True, capture_output=True, check=False)


@pytest.mark.slow
def test_from_the_command_to_a_study_that_trains_without_them(study, tmp_path):
    said = scaling("duplicates", "copies.toml", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "3 of 60 training images are near-duplicates." in said.stdout
    (file,) = (tmp_path / "results").glob("copies.duplicates-*.json")
    old = study.read_text()
    begin, end = old.index("[data]"), old.index("[models.nano]")
    table = old[begin:end].replace("[data]", "[data.of]")
    new = f'{old[:begin]}[data]\nkind = "without"\nfile = "results/{file.name}"\n\n{table}'
    (tmp_path / "clean.toml").write_text(new + old[end:])
    launched = scaling("launch", "clean.toml", cwd=tmp_path)
    assert launched.returncode == 0, launched.stdout + launched.stderr
    (manifest,) = (tmp_path / "runs").glob("*/manifest.json")
    assert json.loads(manifest.read_text())["data"][0]["train_size"] == TRAIN - len(COPIES)
    again = scaling("duplicates", "clean.toml", cwd=tmp_path)
    assert "3 of 60" in again.stdout  # the whole source is looked at


def test_a_source_without_an_end_is_refused_in_a_sentence(tmp_path):
    said = scaling("duplicates", "demo", cwd=tmp_path)
    assert said.returncode == 2
    assert "there is no end to its training images" in said.stderr
    assert "Traceback" not in said.stderr


def test_where_nothing_is_found_nothing_is_to_be_changed(study, tmp_path, capsys):
    images = dict(np.load(tmp_path / "images.npz"))
    images["heldout_images"] = pictures(HELDOUT, 5)
    np.savez(tmp_path / "images.npz", **images)
    found = read_study(str(study))
    left_out, rows = find(found, Alike(), lambda line: None)
    report(found, rows, left_out, left_out.write(tmp_path, "copies"))
    said = capsys.readouterr().out
    assert "0 of 60 training images are near-duplicates." in said
    assert said.endswith("there is nothing to leave out: [data] may stay as it is.\n")


def test_a_folder_that_cannot_be_written_is_found_out_before_the_work(study, tmp_path, monkeypatch):
    monkeypatch.setattr("scaling.duplicates.find", lambda *_: pytest.fail("images were looked at"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotADirectoryError):
        duplicates(str(study), out=tmp_path / "images.npz" / "results")
