"""`scaling data`: what is printed, with which exit status, and what is left behind."""

import io
import json
import shutil
import signal
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tensorboardX.record_writer import RecordWriter

from scaling.cli.main import main
from scaling.data.augment import mixed
from scaling.data.contact_sheet import MARGIN
from scaling.data.loader import batches
from scaling.data.prepare.shards import array_records
from scaling.data.tfds.source import Tfds
from scaling.data_seen import Seen
from scaling.study.parse import read_study
from scaling.study.schema import EXAMPLE

pytest.importorskip("tensorflow_datasets")
STUDY = EXAMPLE.replace("batch = 128", "batch = 128\naugment = {augment}", 1)


@pytest.fixture
def scaling(tmp_path, monkeypatch, capsys):
    """Runs a command in an empty folder; returns status, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["scaling", "data", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capsys.readouterr())

    return command


@pytest.fixture
def photographs(scaling):
    """Six images of two classes to learn from, four to measure on."""
    root = Path("photographs")
    for split, count in (("train", 3), ("test", 2)):
        for label, name in enumerate(("ant", "bee")):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                image = Image.new("RGB", (16, 16), (100 * label, 20 * i, 0))
                image.save(root / split / name / f"{i}.png")
    return root


def test_a_folder_becomes_a_data_set_that_can_be_shown_and_checked(scaling, photographs):
    status, out, errors = scaling("prepare", "photographs", "--name", "insects")
    assert (status, errors) == (0, "")
    assert "insects/1.0.0: 10 records, 0.0 MiB, in 2 files; compared\n\n[data]\n" in out
    assert scaling("show", "insects", "--resolution", "16") == (
        *(0, "results/insects.seen.png\n", ""),
    )
    with Image.open("results/insects.seen.png") as sheet:
        assert sheet.width > 100
    status, out, errors = scaling("check", "insects")
    assert (status, out.splitlines()) == (
        0,
        [
            "insects train: 6 images, 0 cannot be read",
            "insects test: 4 images, 0 cannot be read",
        ],
    )


@pytest.mark.parametrize("splits", [["train", "test"], ["training", "validation"], ["photos"]])
def test_the_table_that_prepare_prints_is_one_of_a_study_to_the_letter(
    scaling, photographs, splits
):
    for was, split in zip(["train", "test"], splits, strict=False):
        (photographs / was).rename(photographs / split)
    if len(splits) == 1:
        shutil.rmtree(photographs / "test")
    out = scaling("prepare", "photographs", "--name", "insects", "--data-dir", 'a "b')[1]
    source = Tfds.model_validate(tomllib.loads(out[out.index("[data]") :])["data"])
    assert source.problem() is None
    assert source.resolution == 224
    total = source.train().size + source.heldout().size
    assert total == (6 if len(splits) == 1 else 10)


def test_of_a_set_that_is_only_measured_on_prepare_prints_the_data_of_an_evaluation(
    scaling, photographs
):
    shutil.rmtree(photographs / "train")
    out = scaling("prepare", "photographs", "--name", "insects")[1]
    source = Tfds.model_validate(tomllib.loads(out[out.index("data = {") :])["data"])
    assert source.problem(to_train=False) is None


def test_a_folder_of_files_comes_out_as_it_went_in(scaling, photographs):
    assert scaling("prepare", "photographs", "--folder", "again")[0] == 0
    names = sorted(p.relative_to("again") for p in Path("again").rglob("*.png"))
    assert len(names) == 10
    assert all((Path("again") / n).read_bytes() == (photographs / n).read_bytes() for n in names)


@pytest.mark.parametrize("what", ["photographs", "insects"])
def test_check_names_every_bad_image_of_every_set_and_has_status_1(scaling, photographs, what):
    for name in ("train/bee/1.png", "test/ant/0.png"):
        (photographs / name).write_bytes((photographs / name).read_bytes()[:50])
    scaling("prepare", "photographs", "--name", "insects")
    status, out, _ = scaling("check", what)
    assert status == 1
    bad = [line for line in out.splitlines() if "not a readable image" in line]
    assert len(bad) == 2
    if what == "photographs":
        assert "train/bee/1.png: not" in bad[0]
        assert "test/ant/0.png: not" in bad[1]
    else:
        assert bad[0].startswith("insects train, image ")
        assert "insects test: 4 images, 1 cannot be read" in out
    assert scaling("check", what)[:2] == (status, out), "what is kept says the same"


def test_what_check_has_found_stops_a_training_that_may_skip_nothing(scaling, photographs):
    from scaling.data.pixels.decode import UnreadableImages
    from scaling.data.tfds.source import Tfds

    (photographs / "train/bee/1.png").write_bytes(b"broken")
    scaling("prepare", "photographs", "--name", "insects")
    scaling("check", "insects")
    with pytest.raises(UnreadableImages, match="insects train, image"):
        Tfds(name="insects", resolution=16).check(print)


def test_check_of_a_study_looks_at_its_evaluations_too(scaling):
    Path("study.toml").write_text(EXAMPLE)
    status, out, _ = scaling("check", "study.toml")
    assert status == 0
    assert [line.partition(":")[0] for line in out.splitlines()] == [
        *("procedural, train", "procedural, heldout", "digits, train", "digits, heldout"),
    ]


def test_damaged_files_of_records_are_named(scaling, photographs):
    scaling("prepare", "photographs", "--name", "insects")
    (file,) = Path("tfds/insects/1.0.0").glob("insects-test*")
    file.write_bytes(b"")
    status, out, _ = scaling("check", "insects")
    assert status == 1
    assert f"{file.name}: not readable" in out


def test_tfrecords_of_tfds_are_converted_beside_and_elsewhere(scaling, photographs):
    scaling("prepare", "photographs", "--name", "insects")
    folder = Path("tfds/insects/1.0.0")
    for file in folder.glob("insects-*"):
        records = list(array_records(file))
        writer = RecordWriter(str(file).replace("array_record", "tfrecord"))
        for record in records:
            writer.write(record)
        writer.close()
        file.unlink()
    (folder / "conversion.json").unlink()
    info = json.loads((folder / "dataset_info.json").read_text()) | {"fileFormat": "tfrecord"}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    status, _, errors = scaling("check", "insects")
    assert status == 2
    assert f"scaling data convert {folder.absolute()}" in errors
    status, out, errors = scaling("convert", str(folder), "--data-dir", "new")
    assert (status, errors) == (0, "")
    assert out.splitlines()[-1].startswith("new/insects/1.0.0: 10 records")
    assert scaling("check", "insects", "--data-dir", "new")[0] == 0
    assert scaling("convert", str(folder))[0] == 0
    assert scaling("check", "insects")[0] == 0
    assert scaling("check", "new/insects/1.0.0")[0] == 0


def test_plain_tfrecords_are_converted_by_their_splits(scaling):
    from tensorflow_datasets.proto import tf_example_pb2

    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "png")
    for split in ("train", "validation"):
        writer = RecordWriter(f"{split}-00000-of-00001")
        for label in range(3):
            example = tf_example_pb2.Example()
            example.features.feature["image"].bytes_list.value.append(stream.getvalue())
            example.features.feature["label"].int64_list.value.append(label)
            writer.write(example.SerializeToString())
        writer.close()
    splits = ("--split", "train=train-*", "--split", "validation=validation-*")
    status, out, _ = scaling("convert", *splits, "--name", "plain")
    assert status == 0
    assert "image, label: 3 classes" in out
    assert scaling("check", "plain")[0] == 0
    assert "give NAME=FILES" in scaling("convert", "--split", "train", "--name", "x")[2]
    assert "give FOLDER, or --split" in scaling("convert")[2]
    assert "for plain files, without FOLDER" in scaling("convert", "x", "--name", "y")[2]


@pytest.mark.parametrize("augment", ["[]", '[{ kind = "flip" }, { kind = "mixup" }]'])
def test_what_is_shown_are_the_pixels_of_the_run_s_first_steps(scaling, augment):
    import jax

    from scaling.training.step import MIXING, seed_word, step_key

    Path("study.toml").write_text(STUDY.replace("{augment}", augment))
    run = read_study("study.toml").runs[0]
    seen = Seen(run, 300)
    assert seen.size == 384
    images, labels = seen.batch(np.arange(130, 150))
    source = run.data.train()
    known = {"seed": run.seed, "batch": run.batch, "data_size": run.data_size}
    (batch,) = batches(source, **known, first_step=1, last_step=2, augment=run.augment)
    key = jax.random.fold_in(step_key(seed_word(run), 1), MIXING)
    expected = np.asarray(mixed(run.augment, batch, key)["image"])[2:22]
    assert np.abs(images - expected.astype(float)).max() <= 0.5
    np.testing.assert_array_equal(labels, batch["label"][2:22])


def test_show_draws_what_a_study_s_run_sees(scaling):
    Path("study.toml").write_text(STUDY.replace("{augment}", '[{ kind = "mixup" }]'))
    name = read_study("study.toml").name
    assert scaling("show", "study.toml") == (0, f"results/{name}.seen.png\n", "")
    run = read_study("study.toml").runs[-1].id
    assert scaling("show", "study.toml", "--run", run[:6])[0] == 0
    on_a_gpu = read_study("study.toml").computed_in("bfloat16").runs[-1].id
    assert scaling("show", "study.toml", "--run", on_a_gpu[:6])[0] == 0
    assert "has no such run" in scaling("show", "study.toml", "--run", "zzz")[2]


TAILED = """\
name = "tailed"
question = "Which images are shown?"

[data]
kind = "arrays"
path = "tailed.npz"
resolution = 16

[models.nano]
patch = 4
width = 32
depth = 2
mlp = 128
heads = 2

[recipe]
warmup_steps = 1

[[evaluate]]
kind = "upstream"

[[grid]]
model = "nano"
images_seen = 20
batch = 10
resample = RULE
"""


@pytest.mark.parametrize(
    ("rule", "of_rare"), [("none", {2}), ("square-root", {4, 5, 6}), ("class-balanced", {10})]
)
def test_the_sheet_of_a_run_that_resamples_shows_classes_as_often_as_the_run_does(
    scaling, rule, of_rare
):
    """Nine dark images and a bright one, two epochs: 18 and 2, or 3 to 1, or as many of both."""
    labels = np.array([0] * 9 + [1])
    images = np.where(labels, 200, 100).astype(np.uint8)[:, None, None, None]
    images = np.broadcast_to(images, (10, 16, 16, 3))
    arrays = {"images": images, "labels": labels}
    np.savez(
        "tailed.npz",
        **{f"{part}_{k}": v for part in ("train", "heldout") for k, v in arrays.items()},
    )
    Path("study.toml").write_text(TAILED.replace("RULE", f'"{rule}"'))
    assert scaling("show", "study.toml") == (0, "results/tailed.seen.png\n", "")
    with Image.open("results/tailed.seen.png") as opened:
        sheet = np.asarray(opened)
    tile, gap = 64, 5
    tiles = sheet[gap + tile // 2 :: tile + gap, MARGIN + tile // 2 :: tile + gap, 0]
    rare = int((tiles == 200).sum())
    assert rare in of_rare
    assert (tiles == 100).sum() == min(16, 20 - rare)


def test_arrays_are_checked_and_shown_by_their_file_and_one_parquet_file_by_its_folder(scaling):
    images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.arange(4) % 2
    np.savez(
        "a.npz",
        train_images=images,
        train_labels=labels,
        heldout_images=images,
        heldout_labels=labels,
    )
    status, out, errors = scaling("check", "a.npz")
    assert (status, errors) == (0, "")
    assert out.splitlines() == [
        f"a.npz, {half}: 4 images, 0 cannot be read" for half in ("train", "heldout")
    ]
    assert scaling("show", "a.npz") == (0, "results/a.seen.png\n", "")
    Path("train.parquet").write_bytes(b"PAR1")
    status, _, errors = scaling("check", "train.parquet")
    assert (status, errors) == (2, "train.parquet is one file; give the folder that it lies in.\n")


def test_what_nobody_knows_is_answered_with_what_could_be_meant(scaling, photographs):
    scaling("prepare", "photographs", "--name", "insects")
    status, out, errors = scaling("check", "insect")
    assert (status, out) == (2, "")
    assert "insect is no study, no folder, and no data set" in errors
    assert "Did you mean 'insects'" in errors
    errors = scaling("check", "photographs", "--data-dir", "nowhere")[2]
    assert errors.startswith("photographs is no data set in nowhere: there is no nowhere.")
    assert "TFDS has 'oxford_flowers102'" in scaling("check", "flowers")[2]


def test_a_data_set_of_tfds_without_its_version_is_answered_with_those_that_are_there(
    scaling, photographs
):
    scaling("prepare", "photographs", "--name", "insects")
    shutil.copytree("tfds/insects/1.0.0", "tfds/insects/1.10.0")
    shutil.copytree("tfds/insects/1.0.0", "tfds/insects/1.2.0")
    there = "tfds/insects/1.0.0, tfds/insects/1.2.0, tfds/insects/1.10.0; name one of these"
    for what, where in (("tfds/insects", "tfds/insects"), ("tfds", "tfds")):
        status, out, errors = scaling("check", what)
        assert (status, out) == (2, "")
        assert f"{what} says no version. Prepared below {where}: {there}" in errors
    for what in ("tfds/insects:1.10.0", "tfds/insects/2.0.0"):
        status, _, errors = scaling("check", what)
        assert status == 2
        assert f"{what} is no study" in errors
        assert f"Prepared below tfds/insects: {there}" in errors
    assert scaling("check", "tfds/insects/1.10.0")[0] == 0


def test_one_of_name_and_folder_is_needed(scaling, photographs):
    assert "give --name for a data set" in scaling("prepare", "photographs")[2]


def test_a_data_set_of_one_split_is_checked_as_a_whole(scaling, photographs):
    shutil.rmtree(photographs / "test")
    assert "has one split" in scaling("prepare", "photographs", "--name", "insects")[1]
    status, out, _ = scaling("check", "insects")
    assert status == 0
    found = [int(line.split(": ")[1].split()[0]) for line in out.splitlines()]
    assert (len(found), sum(found)) == (2, 6)


def test_all_splits_of_a_data_set_are_checked(scaling, photographs):
    shutil.copytree(photographs / "test", photographs / "validation")
    (photographs / "validation/bee/0.png").write_bytes(b"x")
    scaling("prepare", "photographs", "--name", "insects")
    status, out, _ = scaling("check", "insects")
    assert status == 1
    assert [line for line in out.splitlines() if line.endswith("read")] == [
        "insects train: 6 images, 0 cannot be read",
        "insects test: 4 images, 0 cannot be read",
        "insects validation: 4 images, 1 cannot be read",
    ]


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_check_of_a_study_names_bad_images_of_every_kind_of_file(scaling, kind):
    import test_parquet
    import test_webdataset

    if kind == "parquet":
        broken = [{"bytes": b"broken", "path": "a"}]
        test_parquet.write(Path("data/train.parquet"), range(8))
        test_parquet.write(Path("data/test.parquet"), [0], images=broken)
        data = 'kind = "parquet"\npath = "data"\nresolution = 16'
    else:
        test_webdataset.write(Path("train-0.tar"), test_webdataset.members(range(8)))
        test_webdataset.write(Path("test-0.tar"), [("0.png", b"broken"), ("0.cls", b"1")])
        shards = 'train_shards = "train-{0..0}.tar"\nheldout_shards = "test-*.tar"'
        data = f'kind = "webdataset"\n{shards}\nclasses = 3\nresolution = 16'
    text = EXAMPLE.replace('kind = "procedural"\nlabel_noise = 0.1', data)
    Path("study.toml").write_text(
        text.replace("images = 8192", "").replace('[10_000, "all"]', '"all"')
    )
    status, out, errors = scaling("check", "study.toml")
    assert status == 1, errors
    bad = [line for line in out.splitlines() if "not a readable image" in line]
    assert len(bad) == 1
    assert "test" in bad[0]
    assert scaling("show", "study.toml")[0] == 0


KILLED = """
import os, signal, sys
from pathlib import Path
from scaling.data.prepare import prepare as preparing

preparing.SHARD = 400
left = int(sys.argv[1])
read = preparing._read


def killed_at(collection, item):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(collection, item)


preparing._read = killed_at
preparing.prepare(Path("photographs"), "insects", Path(sys.argv[2]), print)
"""


@pytest.mark.slow
def test_a_preparation_that_is_killed_at_any_image_ends_with_the_same_files(scaling, photographs):
    for images in (4, 3, 1):
        command = [sys.executable, "-c", KILLED, str(images), "tfds"]
        assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
        assert not Path("tfds/insects/1.0.0/dataset_info.json").exists()
    assert list(Path("tfds/insects/1.0.0").glob("insects-*")), "what was done is kept"
    for images, folder in ((9, "tfds"), (10, "whole")):  # one image less: some were kept
        subprocess.run([sys.executable, "-c", KILLED, str(images), folder], check=True)
    assert not list(Path("tfds/insects/1.0.0").glob(".*.part")), "nothing is left half written"
    whole = list(Path("whole/insects/1.0.0").glob("insects-*"))
    assert len(whole) > 2
    for file in whole:
        assert (Path("tfds/insects/1.0.0") / file.name).read_bytes() == file.read_bytes()
    assert scaling("check", "insects")[0] == 0


def test_a_split_that_is_given_twice_is_refused(scaling):
    words = "--split", "train=a-*", "--split", "train=b-*", "--name", "insects"
    status, _, errors = scaling("convert", *words)
    assert status == 2
    assert "--split train: is given 2 times" in errors


def test_archives_in_folders_and_of_names_with_any_characters_are_checked_and_shown(scaling):
    folder = Path("wds [1] {2}")
    folder.mkdir()
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "png")
    (folder / "._train-0.tar").write_bytes(b"of a desktop")
    (folder / ".x.parquet").write_bytes(b"hidden")
    for name in ("train-0", "train-1", "a,b-0", "a,b-1", "old [2]"):
        with tarfile.open(folder / f"{name}.tar", "w") as tar:
            for end, data in (("png", stream.getvalue()), ("cls", b"0")):
                member = tarfile.TarInfo(f"0.{end}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    status, out, _ = scaling("check", str(folder))
    assert (status, [line.partition(":")[2] for line in out.splitlines()]) == (
        0,
        [
            " 2 images, 0 cannot be read",  # train-*
            *[" 1 image, 0 cannot be read"] * 3,
        ],
    )
    assert scaling("show", str(folder))[0] == 0


def test_a_label_of_an_archive_larger_than_any_number_of_classes_is_named(scaling):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "png")
    with tarfile.open("train-0.tar", "w") as tar:
        for name, data in (("0.png", stream.getvalue()), ("0.cls", b"999999999")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    status, out, errors = scaling("check", "train-0.tar")
    assert (status, "its label is 999999999" in out) == (1, True), errors


def test_a_folder_without_images_is_answered_with_what_it_could_hold(scaling):
    Path("records").mkdir()
    Path("records/a-00000-of-00002").touch()
    status, _, errors = scaling("check", "records")
    assert status == 2
    assert "no folder train/<class>/ (or test, validation, val, valid, heldout)" in errors
    assert "It holds a-00000-of-00002. Copy TFRecords with `scaling data convert" in errors
    Path("packed").mkdir()
    Path("packed/train-0.tar.gz").touch()
    assert "Decompress the archives" in scaling("show", "packed")[2]
    assert "is a compressed archive; decompress it" in scaling("check", "packed/train-0.tar.gz")[2]


def test_a_run_is_of_a_study_alone(scaling, photographs):
    status, _, errors = scaling("show", "photographs", "--run", "0123")
    assert (status, Path("results").exists()) == (2, False)
    assert "--run 0123: photographs is no study, and has no runs" in errors


def test_a_sheet_of_parquet_files_without_usable_labels_says_so(scaling):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "png")
    rows = [{"bytes": stream.getvalue(), "path": None}] * 2
    Path("words").mkdir()
    table = pa.table({"image": rows, "label": ["ant", "bee"]})
    for split in ("train", "test"):
        pq.write_table(table, f"words/{split}.parquet")
    status, _, errors = scaling("show", "words")
    assert status == 0
    assert "words/test.parquet has no column of labels" in errors
    assert "all images are taken as of one class. Other columns: label (string)." in errors
