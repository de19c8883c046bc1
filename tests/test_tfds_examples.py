"""Plain TFRecord files, as ImageNet is often kept, made a data set that the source `tfds` opens."""

import io

import numpy as np
import pytest
from PIL import Image
from tensorboardX.record_writer import RecordWriter

from fits.base.errors import UserError
from scaling.data.files.patterns import files_of, spelled_out
from scaling.data.pixels.decode import UnreadableImages
from scaling.data.prepare.examples import convert_examples
from scaling.data.prepare.shards import array_records, write_shard
from scaling.data.tfds.source import Tfds

pb = pytest.importorskip("tensorflow_datasets").proto.tf_example_pb2
KEYS = {"image_key": "image/encoded", "label_key": "image/class/label"}


def png(i):
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(stream, "png")
    return stream.getvalue()


def example(i, label, **more):
    """As TensorFlow's scripts keep an image of ImageNet: with a size, and a file's name."""
    found = pb.Example()
    features = found.features.feature
    features["image/encoded"].bytes_list.value.append(png(i))
    features["image/filename"].bytes_list.value.append(b"n01440764_1.JPEG")
    features["image/height"].int64_list.value.append(4)
    features["image/class/label"].int64_list.value.append(label)
    for key, values in more.items():
        features[key].int64_list.value.extend(values)
    return found.SerializeToString()


def write(file, records):
    writer = RecordWriter(str(file))
    for record in records:
        writer.write(record)
    writer.close()


@pytest.fixture
def files(tmp_path):
    """Two files to train on and one to measure on; labels from 1, as ImageNet's often are."""
    for n in range(2):
        records = [example(10 * n + i, 1 + i % 3) for i in range(5)]
        write(tmp_path / f"train-0000{n}-of-00002", records)
    write(tmp_path / "validation-00000-of-00001", [example(50 + i, 2) for i in range(4)])
    return {
        "train": f"{tmp_path}/train-*",
        "validation": f"{tmp_path}/validation-0000{{0..0}}-of-*",
    }


def convert(files, tmp_path, said=None, **more):
    say = (lambda line: None) if said is None else said.append
    return convert_examples(files, "little", tmp_path / "tfds", say, **more)


def test_plain_files_become_a_data_set_with_their_own_names_of_features(files, tmp_path):
    said = []
    done = convert(files, tmp_path, said)
    assert (done.files, done.records) == (3, 14)
    assert said[-1] == (
        "image/encoded, image/class/label: 4 classes; 0 has no image, as labels begin at 1"
    )
    data = tmp_path / "tfds"
    source = Tfds(name="little", data_dir=data, heldout_split="validation", resolution=4, **KEYS)
    assert source.problem() is None
    images, labels = source.train().batch(np.arange(10))
    assert images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    assert labels.tolist() == [1, 2, 3, 1, 2] * 2
    assert source.heldout().size == 4


def test_records_are_the_same_bytes(files, tmp_path):
    folder = convert(files, tmp_path).folder
    found = list(array_records(folder / "little-train.array_record-00001-of-00002"))
    assert found == [example(10 + i, 1 + i % 3) for i in range(5)]


def test_what_was_converted_before_a_kill_is_kept(files, tmp_path):
    convert(files, tmp_path)
    folder = tmp_path / "tfds" / "little" / "1.0.0"
    (folder / "little-train.array_record-00001-of-00002").unlink()
    said = []
    assert convert(files, tmp_path, said).records == 14
    assert [line for line in said if "records" in line] == [
        "little-train.array_record-00001-of-00002: 5 records"
    ]


def test_labels_beyond_the_classes_are_named_with_their_record(files, tmp_path):
    words = r"train-00000-of-00002, record 2: image/class/label is 3; 3 classes have the labels"
    with pytest.raises(UserError, match=words):
        convert(files, tmp_path, classes=3)
    assert not list((tmp_path / "tfds").rglob("dataset_info.json"))


def test_records_whose_labels_are_all_withheld_are_no_data_set(tmp_path):
    write(tmp_path / "test-00000-of-00001", [example(i, -1) for i in range(3)])
    with pytest.raises(UserError, match="no record has a label"):
        convert({"test": f"{tmp_path}/test-*"}, tmp_path)


def test_features_that_cannot_be_told_apart_are_asked_for(files, tmp_path):
    records = [example(1, 1, label_of_another_kind=[3])]
    write(tmp_path / "train-00000-of-00002", records)
    with pytest.raises(
        UserError, match=r"image/class/label, label_of_another_kind; say --label-key"
    ):
        convert(files, tmp_path)


def test_an_unknown_feature_is_answered_with_near_ones(files, tmp_path):
    with pytest.raises(UserError, match="Did you mean 'image/encoded'"):
        convert(files, tmp_path, image_key="image/encode")


def test_a_record_without_a_label_is_named(files, tmp_path):
    write(tmp_path / "train-00001-of-00002", [example(1, 1), pb.Example().SerializeToString()])
    with pytest.raises(
        UserError, match="train-00001-of-00002, record 1, has no feature 'image/enc"
    ):
        convert(files, tmp_path)


def test_records_of_something_else_are_named(files, tmp_path):
    write(tmp_path / "train-00001-of-00002", [example(1, 1), b"\xff\xff\xff"])
    with pytest.raises(UserError, match=r"record 1: no tf\.train\.Example"):
        convert(files, tmp_path)


def test_a_file_without_records_is_named(files, tmp_path):
    (tmp_path / "train-00001-of-00002").write_bytes(b"")
    with pytest.raises(UserError, match="train-00001-of-00002 holds no record"):
        convert(files, tmp_path)


def test_splits_without_files_are_all_named(files, tmp_path):
    with pytest.raises(UserError) as wrong:
        convert({"train": "nothing-*", "test": str(tmp_path / "no{1..2}")}, tmp_path)
    assert len(wrong.value.mistakes) == 3


def test_a_file_of_two_splits_is_refused(files, tmp_path):
    with pytest.raises(UserError, match="train-00001-of-00002 is in both 'train' and 'test'"):
        convert({"train": files["train"], "test": f"{tmp_path}/train-00001-*"}, tmp_path)


def test_a_name_that_tfds_cannot_have_is_refused(files, tmp_path):
    with pytest.raises(UserError, match="small letters"):
        convert_examples(files, "../Little", tmp_path, print)


def without_label(i):
    found = pb.Example.FromString(example(i, 1))
    del found.features.feature["image/class/label"]
    return found.SerializeToString()


def test_a_record_without_its_label_is_named_with_what_it_has_and_what_to_do(files, tmp_path):
    file = tmp_path / "train-00001-of-00002"
    write(file, [example(1, 1), without_label(2)])
    with pytest.raises(UserError) as wrong:
        convert(files, tmp_path)
    assert str(wrong.value) == (
        f"{file}, record 1, has no feature 'image/class/label' (--label-key). It has "
        "image/encoded, image/filename, image/height. Leave the record out of the file, or say by "
        "--label-key a feature that every record has once."
    )


def test_a_record_without_its_label_is_named_when_a_data_set_of_tfds_is_read(files, tmp_path):
    folder = convert(files, tmp_path).folder
    shard = folder / "little-train.array_record-00001-of-00002"
    write_shard(shard, [*(example(i, 1) for i in range(4)), without_label(9)])
    source = Tfds(
        **{"name": "little", "data_dir": tmp_path / "tfds", "resolution": 4} | KEYS,
        train_split="train[2:]",
        heldout_split="validation",
    )
    with pytest.raises(UnreadableImages) as wrong:
        source.train().batch(np.arange(8))
    ((name, why),) = wrong.value.why.items()
    assert name == "little train[2:], image 7"
    assert f"{shard}, record 4, is not the example that features.json describes" in why
    assert "no feature 'image/class/label' (label_key). It has image/encoded, image/filen" in why
    assert "leave such records out by skip_unreadable" in why


def test_records_without_a_label_among_others_are_counted_and_the_first_is_named(
    files, tmp_path, capsys
):
    file = tmp_path / "train-00001-of-00002"
    write(file, [example(i, label) for i, label in enumerate((1, 2, -1, 3, -1))])
    write(tmp_path / "validation-00000-of-00001", [example(i, -1) for i in range(4)])
    for _ in range(2):  # what is kept of the first says the same
        done = convert(files, tmp_path)
        said = capsys.readouterr().err
        assert (
            f"train: 2 of 10 records have no label, the first is {file}, record 2: "
            "image/class/label is -1."
        ) in said
        assert "say skip_unreadable = 2" in said
        assert "validation: none of its 4 records has a label" in said
    source = {"name": "little", "data_dir": done.folder.parents[1], "resolution": 4} | KEYS
    source |= {"train_split": "train[:9]", "heldout_split": "train[9:]", "skip_unreadable": 2}
    assert Tfds(**source).train().size == 8


def test_braces_name_files_as_a_shell_does():
    assert list(spelled_out("a-{08..11}.{x,y}")) == [
        f"a-{n}.{end}" for n in ("08", "09", "10", "11") for end in "xy"
    ]
    assert list(spelled_out("plain")) == ["plain"]


@pytest.mark.parametrize("pattern", ["{1}", "{2..1}", "{0..99999999999}", "{0..9999}{0..9999}"])
def test_braces_that_name_nothing_or_too_much_are_refused(pattern):
    with pytest.raises(ValueError, match=r"neither|count up|at most"):
        files_of(pattern)


def test_folders_and_files_that_are_there_are_meant_as_they_are_written(tmp_path):
    folder = tmp_path / "run [1] {best}"
    folder.mkdir()
    names = ["train-000.tar", "train-001.tar", "of 2 [old].tar"]
    for name in names:
        (folder / name).touch()
    first, second, odd = (folder / name for name in names)
    assert files_of(f"{folder}/train-*.tar") == [first, second]
    assert files_of(f"{folder}/train-{{000..001}}.tar") == [first, second]
    assert files_of(str(odd)) == [odd]


@pytest.mark.parametrize("pattern", ["https://a.b/x-{0..1}.tar", "s3://a/x-*.tar", "pipe:cat x"])
def test_addresses_that_are_no_paths_are_said_to_be_none(pattern):
    with pytest.raises(ValueError, match="is no path; copy the files to a disk"):
        files_of(pattern)


def test_a_file_that_a_pattern_names_twice_is_refused(tmp_path):
    for number in range(2):
        (tmp_path / f"a-{number}").touch()
    with pytest.raises(ValueError, match=r"names .*a-0 twice; name it once"):
        files_of(f"{tmp_path}/{{a-0,a-*}}")
