"""Parquet files as Hugging Face lays them out, read in any order; what is otherwise is named."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fits.base.errors import UserError
from scaling.data.around.subset import Selection, Subset
from scaling.data.parquet.files import split_of
from scaling.data.parquet.source import Parquet, ParquetRecords
from scaling.data.pixels.decode import UnreadableImages
from scaling.data.source import Captioned, SourceConfig
from scaling.evaluate.zeroshot import ZeroShot

TEXT = pa.string()
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vit-scaling-laws"


def pixels(i):
    return np.random.default_rng(i).integers(0, 256, (6, 6, 3)).astype(np.uint8)


def png(i):
    stream = io.BytesIO()
    Image.fromarray(pixels(i)).save(stream, "png")
    return stream.getvalue()


def write(file, numbers, labels=None, names=("ant", "bee", "cat"), images=None):
    """What `datasets` writes: images with their bytes, and the names of classes in the metadata."""
    labels = [i % 3 for i in numbers] if labels is None else labels
    images = [{"bytes": png(i), "path": f"{i}.png"} for i in numbers] if images is None else images
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(names or ()), "_type": "ClassLabel"},
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})} if names else None
    schema = pa.schema([("image", IMAGE), ("label", pa.int64())], metadata)
    table = pa.table({"image": pa.array(images, IMAGE), "label": labels}, schema)
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file, row_group_size=4)


@pytest.fixture
def root(tmp_path):
    """20 images to learn from in two files, 5 to measure on."""
    folder = tmp_path / "repository" / "data"
    for n in range(2):
        write(folder / f"train-0000{n}-of-00002.parquet", range(10 * n, 10 * n + 10))
    write(folder / "test-00000-of-00001.parquet", range(100, 105))
    return folder.parent


def source(root, **fields):
    return Parquet(**{"path": root, "resolution": 6} | fields)


def test_training_and_heldout_split_must_differ(root):
    with pytest.raises(ValueError, match="train_split and heldout_split are both 'train'"):
        source(root, heldout_split="train")


def test_every_image_comes_back_with_its_label(root):
    found = source(root)
    assert found.problem() is None
    assert (found.classes, found.sizes()) == (3, (20, 5))
    images, labels = found.train().batch(np.arange(20))
    assert all((images[i] == pixels(i)).all() for i in range(20))
    assert labels.tolist() == [i % 3 for i in range(20)]
    assert labels.dtype == np.int32
    images, _ = found.heldout().batch(np.arange(5))
    assert (images[4] == pixels(104)).all()


def test_any_images_may_be_asked_for_in_any_order(root):
    images, labels = source(root).train().batch(np.array([17, 3, 17]))
    for image, label, i in zip(images, labels, (17, 3, 17), strict=True):
        assert (image == pixels(i)).all()
        assert label == i % 3


def test_encoded_bytes_are_those_of_the_file(root):
    assert [e.image for e in source(root).train().encoded(np.array([0, 12]))] == [png(0), png(12)]


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("data/train-00000-of-00042.parquet", "train"),
        ("data/train-00000-of-00042-a09b74b3ef9c3b56.parquet", "train"),
        ("default/validation/0000.parquet", "validation"),
        ("train.parquet", "train"),
        ("test/part-0.parquet", "test"),
        ("pre-train.parquet", "pre-train"),
    ],
)
def test_files_say_their_split_in_the_ways_that_are_in_use(tmp_path, file, split):
    assert split_of(tmp_path / file) == split


def test_copies_are_made_once_and_again_where_they_are_damaged(root, cache, monkeypatch):
    source(root).train()
    copies = {file: file.stat().st_mtime_ns for file in cache.glob("*.arrow")}
    assert len(copies) == 2
    source(root).train()
    assert {file: file.stat().st_mtime_ns for file in cache.glob("*.arrow")} == copies
    for file in copies:
        file.write_bytes(file.read_bytes()[:200])
    images, _ = source(root).train().batch(np.arange(20))
    assert (images[19] == pixels(19)).all()


def test_a_changed_file_is_read_anew(root):
    source(root).train()
    write(root / "data" / "train-00001-of-00002.parquet", range(50, 57))
    images = source(root).train()
    assert images.size == 17
    assert (images.batch(np.array([16]))[0][0] == pixels(56)).all()


def test_without_names_there_are_as_many_classes_as_the_largest_label_says(tmp_path):
    write(tmp_path / "train.parquet", range(3), [0, 4, 1], names=None)
    write(tmp_path / "test.parquet", range(3), [0, 6, 1], names=None)
    assert source(tmp_path).classes == 7
    assert source(tmp_path).problem() is None


def test_other_columns_and_names_of_columns_are_fine(tmp_path):
    for split in ("train", "test"):
        table = {
            "img": [{"bytes": png(1), "path": None}],
            "fine": pa.array([2], pa.uint8()),
            "x": ["?"],
        }
        pq.write_table(pa.table(table), tmp_path / f"{split}.parquet")
    found = source(tmp_path, image_key="img", label_key="fine")
    assert found.problem() is None
    assert found.train().batch(np.array([0]))[1].tolist() == [2]


def test_labels_are_read_without_the_images(root, cache, monkeypatch):
    found = source(root)
    wanted = [i % 3 for i in range(20)]
    assert found.labels().tolist() == wanted
    assert found.labels(heldout=True).tolist() == [i % 3 for i in range(100, 105)]
    some = Subset(of=found, select=Selection(classes=2))
    assert some.problem() is None
    assert sum(some.sizes()) in (16, 17)
    assert not list(cache.glob("*.arrow")), "no image was copied"
    images = found.train()
    monkeypatch.setattr(ParquetRecords, "read", None)
    assert images.labels_of(np.array([17, 3])).tolist() == [17 % 3, 0]
    assert images.labels_of(np.array([17, 3])).dtype == np.int32


def test_labels_are_those_of_the_images_that_are_left_where_some_are_skipped(root):
    images = [{"bytes": b"x" if i == 4 else png(i), "path": ""} for i in range(10)]
    write(root / "data" / "train-00000-of-00002.parquet", range(10), images=images)
    found = source(root, skip_unreadable=1)
    assert found.labels().tolist() == [i % 3 for i in range(20) if i != 4]
    assert found.sizes() == (19, 5)


# Bad input


def test_a_row_without_bytes_is_named_and_may_be_skipped(root):
    images = [
        {"bytes": png(1), "path": "a"},
        {"bytes": None, "path": "b"},
        {"bytes": b"x", "path": ""},
    ]
    file = root / "data" / "train-00000-of-00002.parquet"
    write(file, range(3), images=images)
    with pytest.raises(UnreadableImages) as bad:
        source(root).check(print)
    assert list(bad.value.why) == [f"{file}, row 1", f"{file}, row 2"]
    with pytest.raises(UnreadableImages, match="2 images cannot be read"):
        source(root, skip_unreadable=1).train()
    skipping = source(root, skip_unreadable=2)
    assert skipping.train().size == 11
    assert list(skipping.provenance()["train_skipped"]) == [f"{file}, row 1", f"{file}, row 2"]


def test_a_file_that_is_cut_off_is_named(root):
    file = root / "data" / "test-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    assert f"{file} is no Parquet file that can be read" in source(root).problem()


def test_a_damaged_page_is_named_and_nothing_is_kept_of_it(root, cache):
    file = root / "data" / "test-00000-of-00001.parquet"
    table = pq.read_table(file)
    pq.write_table(table, file, write_page_checksum=True, compression="none")
    contents = bytearray(file.read_bytes())
    contents[contents.index(b"IHDR") + 40] ^= 1
    file.write_bytes(contents)
    with pytest.raises(UserError, match="is no Parquet file that can be read"):
        source(root).heldout()
    assert not list(cache.glob("*test*.arrow"))


def test_labels_beyond_the_classes_are_named_with_their_rows(root):
    file = root / "data" / "test-00000-of-00001.parquet"
    write(file, range(5), [0, 3, 1, 99, 2])
    fault = source(root).fault()
    assert fault.key == "heldout_split"
    assert (
        f"{file}: 2 labels are none of the 3 classes, 0 .. 2 (row 1: 3, row 3: 99)" in fault.words
    )


def test_withheld_labels_are_said(root):
    write(root / "data" / "test-00000-of-00001.parquet", range(2), [-1, -1])
    assert "2 rows have no label, the first is row 0; use another split" in source(root).problem()


@pytest.mark.parametrize(
    ("label", "said"),
    [(-1, ": 1 row has no label, the first"), (3, ": 1 label is none of the 3 classes")],
)
def test_a_single_wrong_label_is_said_in_the_singular(root, label, said):
    write(root / "data" / "test-00000-of-00001.parquet", range(2), [1, label])
    assert said in source(root).problem()


def test_a_missing_label_is_said(root):
    write(root / "data" / "test-00000-of-00001.parquet", range(2), [1, None])
    assert "1 row has no label, the first is row 1" in source(root).problem()


def test_an_unknown_split_is_answered_with_those_there_are(root):
    problem = source(root, heldout_split="tests").problem()
    assert (
        "no Parquet files of a split 'tests'; it has test, train. Did you mean 'test'?" in problem
    )


def test_missing_files_of_a_split_are_counted(root):
    (root / "data" / "train-00000-of-00002.parquet").unlink()
    assert "has 1 file as train-00001-of-00002.parquet, of 2" in source(root).problem()


def test_an_empty_split_is_said(root):
    write(root / "data" / "test-00000-of-00001.parquet", [])
    assert "split 'test' holds no rows" in source(root).problem()


def test_files_that_disagree_about_the_classes_are_named(root):
    write(root / "data" / "test-00000-of-00001.parquet", range(2), names=("ant", "bee"))
    assert "3 classes and test-00000-of-00001.parquet has 2" in source(root).problem()


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"image": [b"x"], "label": [1]}, "'image' is binary; a struct with the encoded image"),
        ({"image": [{"path": "x"}], "label": [1]}, "a struct with the encoded image"),
        ({"image": [{"bytes": b"x"}], "label": ["cat"]}, "'label' is string; a whole number"),
        ({"image": [{"bytes": b"x"}], "label": [["a"]]}, "a whole number is needed, or a list of"),
        ({"imagee": [{"bytes": b"x"}], "label": [1]}, "Did you mean 'imagee'"),
    ],
)
def test_another_layout_is_said(tmp_path, columns, words):
    for split in ("train", "test"):
        pq.write_table(pa.table(columns), tmp_path / f"{split}.parquet")
    assert words in source(tmp_path).problem()


def test_a_missing_folder_is_said(tmp_path):
    assert "there is no" in source(tmp_path / "nowhere").problem()


def test_a_cache_that_cannot_be_written_is_said(root, cache):
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file where the folder should be")
    with pytest.raises(UserError, match="point XDG_CACHE_HOME elsewhere"):
        source(root).train()


def pairs(folder, captions, kind=TEXT):
    """Images with captions and without labels, one file a split."""
    for split, said in captions.items():
        images = pa.array([{"bytes": png(i), "path": ""} for i in range(len(said))], IMAGE)
        table = pa.table({"image": images, "text": pa.array(said, kind)})
        pq.write_table(table, folder / f"{split}.parquet", row_group_size=2)
    return source(folder, label_key=None, caption_key="text")


def test_pairs_of_image_and_caption_need_no_labels(tmp_path):
    found = pairs(tmp_path, {"train": ["one", "zwei, grün", "three"], "test": ["four"]})
    assert found.problem() is None
    assert found.captioned
    assert (found.classes, found.sizes()) == (1, (3, 1))
    images, labels = found.train().batch(np.arange(3))
    assert (images[1] == pixels(1)).all()
    assert not labels.any()
    assert not found.labels().any()
    assert found.train().captions_of(np.array([1, 0])) == ["zwei, grün", "one"]
    assert found.heldout().captions_of(np.array([0])) == ["four"]


def test_without_the_key_there_are_no_captions(root):
    assert not source(root).captioned
    assert not isinstance(source(root).train(), Captioned)


def test_captions_are_told_without_copying_images_and_are_those_of_the_set(tmp_path, cache):
    folder = tmp_path / "data"
    said = [f"number {i}" for i in range(23)]
    for n, part in enumerate((said[:10], said[10:])):
        (folder / "train").mkdir(parents=True, exist_ok=True)
        pairs(tmp_path, {"train": part, "test": ["x"]})
        (tmp_path / "train.parquet").rename(folder / "train" / f"000{n}.parquet")
    (tmp_path / "test.parquet").rename(folder / "test.parquet")
    found = source(folder, label_key=None, caption_key="text")
    told = {count: found.captions(count) for count in (5, 23, 100)}
    assert not list(cache.glob("*.arrow")), "no image was copied"
    for count, captions in told.items():
        assert captions == SourceConfig.captions(found, count)
    assert sorted(told[100]) == sorted(said)
    assert found.captions(9, heldout=True) == ["x"]


def test_a_row_without_a_caption_is_named(tmp_path):
    with pytest.raises(UserError, match=r"train.parquet: row 2 has no 'text'"):
        pairs(tmp_path, {"train": ["one", "two", None], "test": ["four"]}).train()
    with pytest.raises(UserError, match=r"train.parquet: row 2 has no 'text'"):
        source(tmp_path, label_key=None, caption_key="text").captions(9)


SEVERAL = {
    "train": [["one", "uno"], ["two"], ["three", "drei", "tre"]],
    "test": [["four", "vier"]],
}


def test_a_column_of_lists_gives_every_image_several_captions(tmp_path):
    found = pairs(tmp_path, SEVERAL, pa.list_(pa.string()))
    assert found.problem() is None
    assert found.train().captions_of(np.array([2, 1])) == [("three", "drei", "tre"), ("two",)]
    assert sorted(found.captions(9)) == sorted(map(tuple, SEVERAL["train"]))
    assert found.captions(9) == SourceConfig.captions(found, 9)
    before = found.provenance()["heldout_captions"]
    other = pairs(tmp_path, SEVERAL | {"test": [["four", "four"]]}, pa.list_(pa.string()))
    assert other.provenance()["heldout_captions"] != before


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ([], "row 2 of 'text': its list has no text"),
        (["a", None], "row 2 of 'text': one text of its list is missing"),
        (None, "row 2 has no 'text'"),
    ],
)
def test_a_row_whose_list_has_no_text_is_named(tmp_path, last, said):
    texts = {"train": [["one"], ["two"], last], "test": [["a"]]}
    bad = pairs(tmp_path, texts, pa.list_(pa.string()))
    for looks in (bad.train, lambda: bad.captions(9)):
        with pytest.raises(UserError, match=f"train.parquet: {said}"):
            looks()


def test_a_text_in_one_file_and_a_list_in_another_is_named(tmp_path):
    pairs(tmp_path, {"train": ["one"]})
    found = pairs(tmp_path, {"test": [["four"]]}, pa.list_(pa.string()))
    words = found.problem()
    assert "'text' is a list of texts in test.parquet, and a text in train.parquet" in words


def test_classes_are_called_as_the_metadata_calls_them(root, tmp_path):
    assert source(root).class_names == ["ant", "bee", "cat"]
    few = Subset(of=source(root), select=Selection(classes=2, seed=1))
    assert len(few.class_names) == 2
    assert set(few.class_names) < {"ant", "bee", "cat"}
    write(tmp_path / "plain" / "train.parquet", range(3), names=None)
    write(tmp_path / "plain" / "test.parquet", range(3), names=None)
    assert source(tmp_path / "plain").class_names is None
    assert source(root, label_key=None).class_names is None
    write(root / "data" / "test-00000-of-00001.parquet", range(3), names=("ant", "cat", "bee"))
    words = source(root).problem()
    assert "class 1 is 'bee' in train-00000-of-00002.parquet and 'cat' in test-00000" in words


def test_a_network_is_measured_by_the_names_in_the_metadata(root):
    zeroshot = ZeroShot(name="z", data=source(root))
    assert not list(zeroshot.faults(source(root), 3))
    (fault,) = zeroshot.faults(source(root, label_key=None), 3)
    assert "the 1 classes of these images have no names" in fault.words


def test_a_column_of_captions_that_is_missing_or_no_text_is_named(tmp_path):
    found = pairs(tmp_path, {"train": ["one"], "test": ["four"]})
    words = found.model_copy(update={"caption_key": "txt"}).problem()
    assert "has no column 'txt' (caption_key). Did you mean 'text'?" in words
    words = found.model_copy(update={"caption_key": "image"}).problem()
    assert "a text is needed, one an image" in words


def test_a_label_larger_than_any_number_of_classes_is_named(tmp_path):
    write(tmp_path / "train.parquet", range(3), labels=[0, 2**40, 1], names=None)
    write(tmp_path / "test.parquet", range(3, 6), names=None)
    words = source(tmp_path).problem()
    assert "1 label is none of the 10_000_000 classes" in words
    assert f"(row 1: {2**40})" in words
    assert source(tmp_path, skip_unreadable=1).train().size == 2


def test_hidden_files_and_folders_are_no_part_of_a_data_set(root):
    before = source(root).sizes()
    write(root / ".old" / "train" / "0000.parquet", range(4))
    (root / "data" / "._test-00000-of-00001.parquet").write_bytes(b"of a desktop")
    assert (source(root).problem(), source(root).sizes()) == (None, before)
    assert "it has test, train." in source(root, train_split="valid").problem()
