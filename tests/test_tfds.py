"""TFDS data sets on ArrayRecord, written and read back without TensorFlow."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fits.base.errors import UserError
from scaling.data.file_ranges import in_common, numbering
from scaling.data.folder import Folder
from scaling.data.pixels.decode import UnreadableImages
from scaling.data.prepare.prepare import prepare
from scaling.data.tfds.names import KNOWN
from scaling.data.tfds.records import TfdsRecords
from scaling.data.tfds.source import Tfds
from scaling.data_check import check_all_images
from scaling.data_meant import meant
from scaling.evaluate import Classification
from scaling.evaluate.class_map import read_class_map

tfds = pytest.importorskip("tensorflow_datasets", reason="tensorflow-datasets is not installed")
pytest.importorskip("array_record", reason="array-record is not installed")

SIZES = {"train": 30, "test": 6}


def pixels(i):
    """Image i: 8 x 8 noise of its own."""
    return np.random.default_rng(i).integers(0, 256, (8, 8, 3)).astype(np.uint8)


def png(array):
    """An encoded image: TFDS needs TensorFlow to encode one itself, not to store one."""
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "png")
    return stream.getvalue()


class Specks(tfds.core.GeneratorBasedBuilder):
    """Noise with the label i % 3, a rotated copy to trip over, and a caption."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "mask": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=["ant", "bee", "cat"]),
            "caption": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        del dl_manager
        return {split: self._generate_examples(split) for split in SIZES}

    def _generate_examples(self, split):
        for n in range(SIZES[split]):
            i = n + 1000 * (split == "test")
            yield n, {"image": png(pixels(i)), "mask": b"broken", "label": i % 3, "caption": str(i)}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A data_dir that holds specks:1.0.0."""
    root = tmp_path_factory.mktemp("tensorflow_datasets")
    Specks(data_dir=root, file_format="array_record").download_and_prepare()
    return root


@pytest.fixture
def own(prepared, tmp_path):
    """A copy of it to damage."""
    return shutil.copytree(prepared, tmp_path / "own")


def specks(data_dir, **fields):
    return Tfds(**{"name": "specks", "data_dir": data_dir, "resolution": 8, **fields})


def describe(data_dir, file, change):
    """Change one of the JSON files that describe the data set."""
    path = data_dir / "specks" / "1.0.0" / file
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(described))


def test_every_image_comes_back_with_its_own_label(prepared):
    source = specks(prepared)
    assert source.problem() is None
    train = source.train()
    assert (train.size, train.resolution, train.classes, source.classes) == (30, 8, 3, 3)
    images, labels = train.batch(np.arange(30))
    assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
    written = {pixels(i).tobytes(): i for i in range(30)}
    found = [written[image.tobytes()] for image in images]  # TFDS shuffles as it writes
    assert sorted(found) == list(range(30))
    np.testing.assert_array_equal(labels, np.array(found) % 3)


def test_heldout_images_are_those_of_the_other_split(prepared):
    images, _ = specks(prepared).heldout().batch(np.arange(6))
    assert {image.tobytes() for image in images} == {pixels(1000 + i).tobytes() for i in range(6)}


def test_any_images_may_be_asked_for_in_any_order(prepared):
    train = specks(prepared).train()
    everything, all_labels = train.batch(np.arange(30))
    images, labels = train.batch(np.array([17, 3, 17]))
    np.testing.assert_array_equal(images, everything[[17, 3, 17]])
    np.testing.assert_array_equal(labels, all_labels[[17, 3, 17]])


def test_slices_of_one_split_are_disjoint(prepared):
    source = specks(prepared, train_split="train[:80%]", heldout_split="train[80%:]")
    first, rest = source.train(), source.heldout()
    assert (first.size, rest.size) == (24, 6)
    seen = {
        image.tobytes() for part in (first, rest) for image in part.batch(np.arange(part.size))[0]
    }
    assert len(seen) == 30


def test_sizes_are_known_and_agree_with_what_is_opened(prepared):
    source = specks(prepared, train_split="train[5:]", heldout_split="test[:50%]")
    assert source.sizes() == (source.train().size, source.heldout().size) == (25, 3)


def test_images_are_resized_to_the_resolution(prepared):
    assert specks(prepared, resolution=5).train().batch(np.arange(2))[0].shape == (2, 5, 5, 3)


def test_the_newest_version_answers_to_the_bare_name(own):
    for newer in ("1.2.0", "1.10.0"):
        shutil.copytree(own / "specks" / "1.0.0", own / "specks" / newer)
    assert specks(own).folder.name == "1.10.0"
    assert specks(own, name="specks:1.2.0").folder.name == "1.2.0"


def test_a_config_is_part_of_the_name(own):
    shutil.copytree(own / "specks" / "1.0.0", own / "specks" / "large" / "2.0.0")
    assert specks(own, name="specks/large").folder.parent.name == "large"
    assert specks(own, name="specks").folder.name == "1.0.0"


def test_the_data_folder_is_the_environments_unless_told(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    assert specks(None).train().size == 30


def test_provenance_names_version_and_decoder(prepared):
    known = specks(prepared).provenance()
    assert known["tfds"] == "specks:1.0.0"
    assert known["decoder"].startswith("pillow ")
    assert known["train_size"] == 30


def test_tensorflow_is_never_imported(prepared):
    program = (
        "import sys; from pathlib import Path; from scaling.data.tfds.source import Tfds\n"
        "assert not {'tensorflow_datasets', 'PIL', 'array_record'} & set(sys.modules)\n"
        "source = Tfds(name='specks', data_dir=Path(sys.argv[1]), resolution=8)\n"
        "assert source.problem() is None and source.classes == 3\n"
        "source.train().batch([0, 1])\n"
        "assert 'tensorflow_datasets' in sys.modules and 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program, str(prepared)], check=True)


# Bad input


@pytest.mark.parametrize("module", ["tensorflow_datasets", "array_record"])
def test_a_missing_package_is_named(prepared, monkeypatch, module):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == module else 1)
    package = module.replace("_", "-")
    assert f"needs the package {package}: pip install {package}" in specks(prepared).problem()


def test_a_missing_data_folder_is_said(prepared):
    assert "there is no" in specks(prepared / "nowhere").problem()


def test_an_unknown_data_set_is_answered_with_those_that_are_prepared(prepared):
    problem = specks(prepared, name="speks").problem()
    assert "holds no data set 'speks'; prepared there: specks:1.0.0." in problem
    assert "Did you mean 'specks" in problem


def test_an_empty_data_folder_says_so(tmp_path):
    assert "prepared there: none." in specks(tmp_path).problem()


def test_a_data_set_prepared_as_tfrecord_says_how_to_convert_it(own):
    describe(own, "dataset_info.json", lambda info: info.update(fileFormat="tfrecord"))
    problem = specks(own).problem()
    assert "is prepared as tfrecord" in problem
    assert problem.endswith(f"scaling data convert {own / 'specks' / '1.0.0'}")


def test_array_records_beside_tfrecords_are_found(own):
    formats = {"fileFormat": "tfrecord", "alternativeFileFormats": ["array_record"]}
    describe(own, "dataset_info.json", lambda info: info.update(formats))
    assert specks(own).problem() is None
    assert specks(own).train().batch(np.arange(3))[0].any()


def test_an_unknown_split_is_answered_with_the_splits_there_are(prepared):
    problem = specks(prepared, heldout_split="validation[:10%]").problem()
    assert problem == "specks has no split 'validation' (heldout_split); it has train, test."


@pytest.mark.parametrize("split", ["train[:x]", "train[10%]", "train+test", ""])
def test_what_is_no_split_is_refused(prepared, split):
    problem = specks(prepared, train_split=split).problem()
    assert f"train_split={split!r} is neither a split nor a slice" in problem


def test_an_empty_slice_is_refused(prepared):
    problem = specks(prepared, train_split="train[:0%]").problem()
    assert problem == "specks: train[:0%] holds no images."


@pytest.mark.parametrize("split", ["train[:1000]", "train[:200%]", "train[-31:]"])
def test_a_slice_beyond_its_split_is_refused(prepared, split):
    problem = specks(prepared, train_split=split).problem()
    assert problem == f"specks: {split} goes beyond the 30 images there are."


@pytest.mark.parametrize("split", ["train[40%:20%]", "train[30:]", "train[:-30]", "train[5:5]"])
def test_a_slice_that_ends_before_it_begins_is_refused(prepared, split):
    problem = specks(prepared, train_split=split).problem()
    assert problem == f"specks: {split} holds no images."


@pytest.mark.parametrize(
    ("train", "heldout", "common"),
    [
        ("train[:80%]", "train[70%:]", "3 images in common (train[21:24])"),
        ("train", "train[-5:]", "5 images in common (train[25:30])"),
        ("train[10:20]", "train[:11]", "1 image in common (train[10:11])"),
    ],
)
def test_what_is_measured_on_is_not_learnt_from(prepared, train, heldout, common):
    source = specks(prepared, train_split=train, heldout_split=heldout)
    assert common in source.problem()
    assert source.fault().key == "heldout_split"


def test_training_and_heldout_split_must_differ(prepared):
    with pytest.raises(ValueError, match="both 'train'"):
        specks(prepared, heldout_split="train")


def test_unknown_features_are_answered_with_those_there_are(prepared):
    problem = specks(prepared, image_key="picture").problem()
    assert "no feature 'picture' (image_key)" in problem
    assert "caption, image, label, mask" in problem


def test_a_feature_of_the_wrong_kind_is_answered_with_those_that_fit(prepared):
    problem = specks(prepared, label_key="caption").problem()
    assert "label_key='caption' of specks is a Text; a feature of kind ClassLabel" in problem
    assert problem.endswith(": label.")


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("content", ["", "{}", None])
def test_a_damaged_description_is_said(own, file, content):
    path = own / "specks" / "1.0.0" / file
    if content is None and file == "features.json":
        path.unlink()
    else:
        path.write_text(content or "[")
    assert "1.0.0 is not described as TFDS" in specks(own).problem()


def test_a_missing_file_of_records_is_named(own):
    (own / "specks" / "1.0.0" / "specks-test.array_record-00000-of-00001").unlink()
    assert "specks-test.array_record-00000-of-00001 is gone" in specks(own).problem()


def test_a_problem_stops_the_opening(prepared):
    with pytest.raises(ValueError, match="holds no data set 'speks'"):
        specks(prepared, name="speks").train()


def test_withheld_labels_are_refused(own, monkeypatch):
    heldout = specks(own).heldout()
    monkeypatch.setattr(heldout.records, "features", WithheldLabels())
    with pytest.raises(ValueError, match="specks test, image 4: it has no label; use another"):
        heldout.batch(np.array([4]))


class WithheldLabels:
    """What TFDS reads of a competition's test split."""

    def deserialize_example_np(self, record, decoders):
        del record, decoders
        return {"image": png(pixels(0)), "label": -1}


def test_an_image_that_cannot_be_decoded_is_named_by_its_number(prepared):
    with pytest.raises(ValueError, match="specks train, image 2: not a readable image"):
        specks(prepared, image_key="mask").train().batch(np.array([2]))


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("imagenet", "'imagenet2012', with labels in train, validation; its labels of the split"),
        ("pets", "'oxford_iiit_pet', with labels in train, test."),
        ("oxford_flowers", "'oxford_flowers102'"),
        ("cub200", "'caltech_birds2011'"),
        ("cifar-100", "'cifar100'"),
    ],
)
def test_a_usual_word_is_answered_with_the_name_that_tfds_has(prepared, asked, name):
    assert f"TFDS has {name}" in specks(prepared, name=asked).problem()


def test_imagenet_21k_is_said_not_to_be_in_tfds(prepared):
    assert "TFDS has no 'imagenet21k'" in specks(prepared, name="imagenet21k").problem()


def test_the_table_of_names_says_what_tensorflow_datasets_itself_says():
    sources = {
        "caltech_birds2011": "image_classification/caltech_birds.py",
        "caltech_birds2010": "image_classification/caltech_birds.py",
        "cifar10": "image_classification/cifar.py",
        "cifar100": "image_classification/cifar.py",
    }
    root = Path(tfds.__file__).parent
    for each in KNOWN:
        folder = f"datasets/{each.name}/{each.name}_dataset_builder.py"
        text = (root / sources.get(each.name, folder)).read_text()
        for split in each.splits:
            said = (f"Split.{split.upper()}", f'"{split}"', f"'{split}'")
            assert any(words in text for words in said), (each.name, split)
        assert '"label"' in text or "'label'" in text
        assert '"image"' in text or "'image'" in text
        counted = f"ClassLabel(num_classes={each.classes})" in text
        named = "label_names_file" in text or "ClassLabel(names" in text
        assert counted or named, each.name


def without_training_set(data_dir):
    describe(data_dir, "dataset_info.json", lambda info: info["splits"].pop(0))
    for file in (data_dir / "specks" / "1.0.0").glob("specks-train*"):
        file.unlink()


def test_a_data_set_with_one_split_is_measured_on(own, monkeypatch, tmp_path):
    """As imagenet_v2, imagenet_a and imagenet_r have `test` alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    without_training_set(own)
    source = specks(own)
    assert source.problem() == "specks has no split 'train' (train_split); it has test."
    assert source.problem(to_train=False) is None
    assert (source.heldout_only, source.classes, source.sizes()) == (True, 3, (0, 6))
    assert source.heldout().batch(np.arange(6))[0].shape == (6, 8, 8, 3)
    source.check(print)
    assert not any(key.startswith("train") for key in source.provenance())
    with pytest.raises(ValueError, match="no split 'train'"):
        source.train()
    wrong = specks(own, heldout_split="validation")
    assert "no split 'train'" in wrong.problem(to_train=False)


def test_a_data_set_with_one_split_is_shown_and_checked_whole(own, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    without_training_set(own)
    (source,) = meant("specks", own, 8).sources
    assert source.heldout_only
    assert [(each.name, each.images) for each in check_all_images([source], print)] == [
        ("specks test", 6)
    ]


class Named(Specks):
    """The same with the names of files, as TFDS has them of ImageNet."""

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(num_classes=3),
            "file_name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _generate_examples(self, split):
        for n in range(SIZES[split]):
            i = n + 1000 * (split == "test")
            name = f"ILSVRC2012_val_{n + 1:08d}.JPEG"
            yield n, {"image": png(pixels(i)), "label": i % 3, "file_name": name}


def test_held_out_images_are_known_by_the_names_of_their_files(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Named(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    source = specks(tmp_path, name="named")
    names = source.heldout_names()
    images, _ = source.heldout().batch(np.arange(6))
    written = {pixels(1000 + n).tobytes(): f"ILSVRC2012_val_{n + 1:08d}.JPEG" for n in range(6)}
    assert names == [written[image.tobytes()] for image in images]
    assert names != sorted(names)  # TFDS shuffles as it writes
    monkeypatch.setattr(TfdsRecords, "raw", None)  # read once on a machine
    assert source.heldout_names() == names
    assert not source.names_at_hand


def test_real_s_list_fits_a_data_set_that_is_shuffled(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Named(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    source = specks(tmp_path, name="named")
    (tmp_path / "real.json").write_text(json.dumps([[(1000 + n) % 3, 3 + n] for n in range(6)]))
    each = Classification(name="x", labels=tmp_path / "real.json", data=source)
    assert list(each.faults(source, 9)) == []
    found = each._labels(source, source.heldout(), 9)
    np.testing.assert_array_equal(found[:, 0], source.labels(heldout=True))
    assert sorted(found[:, 1]) == list(range(3, 9))


def test_a_prepared_data_set_knows_the_names_that_the_folder_had(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for split in SIZES:
        for i in range(4):
            file = tmp_path / "set" / split / f"n{i % 2}" / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(pixels(i)))
    prepare(tmp_path / "set", "specks", tmp_path, lambda line: None)
    source, files = specks(tmp_path), Folder(path=tmp_path / "set", resolution=8)
    names = source.heldout_names()
    assert (
        sorted(names) == files.heldout_names() == ["n0/0.png", "n0/2.png", "n1/1.png", "n1/3.png"]
    )
    for i, image in enumerate(source.heldout().batch(np.arange(4))[0]):
        assert image.tobytes() == pixels(int(names[i][3])).tobytes()


def test_the_page_s_list_of_wordnet_ids_is_a_class_map():
    page = Path(__file__).parents[1] / "docs/evaluation/metrics.md"
    name = "datasets/imagenet2012/labels.txt"
    assert f"`{name}` in the package" in page.read_text()
    found = read_class_map(Path(tfds.core.tfds_path(name)), 2, 1000, ["n01443537", "n12267677"])
    assert found.right.tolist() == [[1], [988]]  # goldfish, acorn


def test_records_without_a_name_have_none(prepared):
    assert specks(prepared).heldout_names() is None
    assert specks(prepared).names_at_hand


def test_a_good_data_set_passes_the_check_before_training(prepared):
    specks(prepared).check(print)


def test_damaged_files_of_both_splits_are_named_together(own):
    for split, content in (("train", b"hello" * 1000), ("test", b"")):
        next((own / "specks" / "1.0.0").glob(f"specks-{split}.array_record*")).write_bytes(content)
    with pytest.raises(UserError) as wrong:
        specks(own).check(print)
    train, test = str(wrong.value).splitlines()
    assert "specks-train.array_record-00000-of-00001: not readable" in train
    assert "specks-test.array_record-00000-of-00001: not readable" in test


def test_a_file_of_records_that_has_fewer_than_its_description_says_is_named(own):
    folder = own / "specks" / "1.0.0"
    train, test = (next(folder.glob(f"specks-{split}.array_record*")) for split in SIZES)
    shutil.copyfile(test, train)
    with pytest.raises(UserError, match=r"specks-train.*6 records where 30 were"):
        specks(own).check(print)


def test_images_of_both_splits_that_cannot_be_decoded_are_named_together(prepared):
    with pytest.raises(UnreadableImages) as bad:
        specks(prepared, image_key="mask").check(print)
    assert len(bad.value.why) == 36


def test_slices_of_a_split_share_the_records_that_lie_in_both(prepared):
    def ranges(split):
        return specks(prepared, train_split=split, resolution=16).file_ranges()

    assert in_common(ranges("train[:20]"), ranges("train")) == 20
    assert in_common(ranges("train[:20]"), ranges("train[15:]")) == 5
    assert in_common(ranges("train[:20]"), ranges("train[20:]")) == 0
    assert numbering(ranges("train[:20]")) != numbering(ranges("train[1:21]"))
    assert in_common(specks(prepared).file_ranges(heldout=True), ranges("train")) == 0
