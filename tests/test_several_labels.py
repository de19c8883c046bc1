"""Files whose images have several labels: read as they were written, wherever labels are used."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from study_texts import GOOD
from test_parquet import IMAGE, pixels, png
from test_webdataset import write as write_tar

from fits.base.errors import UserError
from scaling.data.around.hierarchy import Hierarchy
from scaling.data.around.subset import Selection, Subset
from scaling.data.labels import check_labels
from scaling.data.order import resampled
from scaling.data.parquet.source import Parquet
from scaling.data.pixels.decode import UnreadableImages
from scaling.data.tfds.source import Tfds
from scaling.data.webdataset.source import WebDataset
from scaling.data_check import check_all_images
from scaling.data_meant import meant
from scaling.data_seen import Seen
from scaling.image_check import check_images
from scaling.study.parse import read_study

TRAIN = [[0], [4, 1], [], [2, 3, 0], [1], [4]]
PADDED = [[0, -1, -1], [4, 1, -1], [-1, -1, -1], [2, 3, 0], [1, -1, -1], [4, -1, -1]]
HELDOUT = [[3, 2], [1]]
NAMES = ["ant", "bee", "cat", "dog", "emu"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write_parquet(file, labels, kind=None, feature=None, images=None):
    """As `datasets` writes a Sequence(ClassLabel), or plain lists where `feature` is None."""
    kind = pa.list_(pa.int64()) if kind is None else kind
    images = images or [{"bytes": png(i), "path": ""} for i in range(len(labels))]
    features = {"image": {"_type": "Image"}, "label": feature}
    told = {"huggingface": json.dumps({"info": {"features": features}})} if feature else None
    table = pa.table({"image": pa.array(images, IMAGE), "label": pa.array(labels, kind)})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(told), file, row_group_size=2)


def parquet(root, train=TRAIN, heldout=HELDOUT, *, kind=None, feature=None, **fields):
    write_parquet(root / "train.parquet", train, kind, feature)
    write_parquet(root / "test.parquet", heldout, kind, feature)
    return Parquet(path=root, resolution=6, **fields)


def webdataset(root, train=TRAIN, heldout=HELDOUT, form=" ".join, **fields):
    for split, labels in (("train", train), ("test", heldout)):
        members = []
        for i, row in enumerate(labels):
            text = row if isinstance(row, str) else form(map(str, row))
            members += [(f"{i}.png", png(i)), (f"{i}.cls", text.encode())]
        write_tar(root / f"{split}.tar", members)
    fields = {"classes": 5, "most_labels": 3, "resolution": 6} | fields
    shards = {"train_shards": f"{root}/train.tar", "heldout_shards": f"{root}/test.tar"}
    return WebDataset(**shards, **fields)


@pytest.mark.parametrize("make", [parquet, webdataset])
def test_labels_come_back_as_they_were_written(tmp_path, make):
    source = make(tmp_path)
    assert source.problem() is None
    assert (source.classes, source.labels_each, source.sizes()) == (5, 3, (6, 2))
    images, labels = source.train().batch(np.array([3, 1, 2]))
    assert (images[0] == pixels(3)).all()
    assert labels.tolist() == [PADDED[3], PADDED[1], PADDED[2]]
    assert labels.dtype == source.labels().dtype == np.int32
    assert source.labels().tolist() == PADDED
    assert source.train().labels_of(np.arange(6)).tolist() == PADDED
    assert source.labels(heldout=True).tolist() == [[3, 2, -1], [1, -1, -1]]
    assert source.heldout().batch(np.arange(2))[1].tolist() == [[3, 2, -1], [1, -1, -1]]
    source.check(print)
    check_labels(source.labels(), 5, np.arange(6))


@pytest.mark.parametrize(
    "feature",
    [
        {"feature": {"names": NAMES, "_type": "ClassLabel"}, "_type": "Sequence"},
        {"feature": {"names": NAMES, "_type": "ClassLabel"}, "_type": "List"},
        [{"names": NAMES, "_type": "ClassLabel"}],
    ],
)
def test_classes_of_a_sequence_are_called_as_the_metadata_call_them(tmp_path, feature):
    source = parquet(tmp_path, [[0, 2], []], [[1]], feature=feature)
    assert source.problem() is None
    assert (source.classes, source.class_names) == (5, NAMES)
    assert (
        "all_classes says 9; leave" in parquet(tmp_path, feature=feature, all_classes=9).problem()
    )


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.uint8()), pa.large_list(pa.int16()), pa.list_(pa.int32(), 3)],
    ids=["uint8", "large", "fixed"],
)
def test_every_kind_of_list_is_read_and_minus_one_fills_up(tmp_path, kind):
    several = PADDED if pa.types.is_signed_integer(kind.value_type) else TRAIN
    source = parquet(tmp_path, several, [[1, 2, 3]], kind=kind, all_classes=7)
    assert source.problem() is None
    assert (source.classes, source.labels().tolist()) == (7, PADDED)


@pytest.mark.parametrize("between", [" ", ",", "\n", ", "])
@pytest.mark.parametrize("brackets", ["{}", "[{}]", " [ {} ]\n"])
def test_a_member_says_its_labels_in_any_of_the_ways_that_are_in_use(tmp_path, between, brackets):
    source = webdataset(tmp_path, form=lambda row: brackets.format(between.join(row)))
    assert source.problem() is None
    assert source.labels().tolist() == PADDED


def test_a_hierarchy_a_subset_and_resampling_see_every_label(tmp_path):
    (tmp_path / "parents").write_text("0 3\n4 3\n")
    for make in (parquet, webdataset):
        source = make(tmp_path)
        above = Hierarchy(of=source, parents=tmp_path / "parents")
        assert above.problem() is None
        assert above.labels_each == 6
        rows = [{x for x in row if x >= 0} for row in above.train().batch(np.arange(6))[1].tolist()]
        assert rows == [{0, 3}, {4, 1, 3}, set(), {0, 2, 3}, {1}, {4, 3}]
        some = Subset(of=source, select=Selection(classes=2, seed=1))
        kept = {label for row in some.train().batch(np.arange(some.sizes()[0]))[1] for label in row}
        assert kept <= {-1, 0, 1}
        assert some.labels_each == 3
        shares = np.diff(resampled(source.labels(), "square-root"), prepend=0)
        assert shares[3] > shares[0], "2 and 3 are rarer than 0"


def test_a_sigmoid_study_on_a_folder_of_several_labels_is_planned(tmp_path):
    source = parquet(tmp_path / "data")
    own = f'kind = "parquet"\npath = "{source.path}"'
    text = GOOD.replace('kind = "procedural"', own, 1).replace("images = 1000\n", "")
    for loss in ("sigmoid", "softmax"):
        objective = f'objective = {{ kind = "classify", loss = "{loss}" }}'
        (tmp_path / "study.toml").write_text(text.replace("[[grid]]", f"[[grid]]\n{objective}"))
        found = read_study(tmp_path / "study.toml")
        assert {run.data.labels_each for run in found.runs} == {3}
        assert {run.objective.needs_labels for run in found.runs} == {loss == "softmax"}
        if loss == "sigmoid":
            check_images(found.runs[0], ())
            continue
        with pytest.raises(UserError, match="image 2 has no label, and this loss needs one"):
            check_images(found.runs[0], ())


def test_every_view_of_an_image_is_shown_with_all_its_labels(tmp_path):
    own = f'kind = "parquet"\npath = "{parquet(tmp_path / "data").path}"'
    text = GOOD.replace('kind = "procedural"', own, 1)
    text = text.replace('[[evaluate]]\nkind = "upstream"\nimages = 1000\n', "")
    views = 'objective = { kind = "simclr" }\naugment = [{ kind = "flip" }]'
    (tmp_path / "study.toml").write_text(text.replace("[[grid]]", f"[[grid]]\n{views}"))
    seen = Seen(read_study(tmp_path / "study.toml").runs[0], 8)
    images, labels = seen.batch(np.arange(8))
    assert (len(images), labels.shape) == (8, (8, 3))
    assert (labels[::2] == labels[1::2]).all()


@pytest.mark.parametrize("make", [parquet, webdataset])
def test_labels_that_cannot_be_used_are_unreadable_records_where_some_may_be(tmp_path, make):
    if make is parquet:
        train = [[0], None, [1, 9], [], [2, None], [3]]
        said = ["it has no label", "its label is 9", "it has no label"]
        allowed = {"all_classes": 5}
    else:
        train = [[0], "dog", [1, 9], [], [0, 1, 2, 3], [3]]
        said = ["its .cls holds no class", "its label is 9", "it has 4 labels, and most_labels is"]
        allowed = {}
    problem = make(tmp_path, train, **allowed).problem()
    assert f"3 {'rows' if make is parquet else 'keys'} of 6: correct or remove them" in problem
    assert "skip_unreadable = 2" in make(tmp_path, train, **allowed, skip_unreadable=2).problem()
    source = make(tmp_path, train, **allowed, skip_unreadable=3)
    assert source.problem() is None
    source.check(print)
    rest = [[0, -1, -1], [-1, -1, -1], [3, -1, -1]]
    images = source.train()
    assert [row[:2] for row in images.batch(np.arange(3))[1].tolist()] == [r[:2] for r in rest]
    assert images.labels_of(np.arange(3)).max(1).tolist() == [0, -1, 3]
    skipped = source.provenance()["train_skipped"]
    assert len(skipped) == 3
    assert all(words in why for words, why in zip(said, skipped.values(), strict=True))


def test_one_label_each_may_be_missing_where_some_may_be_unreadable(tmp_path):
    number = pa.int64()
    found = parquet(tmp_path, [0, None, -1, 7, 2], [1, 0], kind=number, all_classes=3)
    assert found.labels_each is None
    words = found.problem()
    assert "2 rows have no label, the first is row 1" in words
    assert "1 label is none of the 3 classes, 0 .. 2 (row 3: 7)" in words
    assert "split 'train', 3 rows of 5: correct or remove them" in words
    allowed = found.model_copy(update={"skip_unreadable": 3})
    assert allowed.problem() is None
    assert allowed.train().batch(np.arange(2))[1].tolist() == [0, 2]
    assert allowed.labels().tolist() == [0, 2]
    assert allowed.sizes() == (2, 2)
    none = parquet(tmp_path, [None, -1], [1], kind=number, all_classes=3, skip_unreadable=5)
    assert "never all" in none.problem()


def test_keys_without_a_label_or_an_image_may_be_left_out(tmp_path):
    shards = webdataset(tmp_path, most_labels=None, train=[[0], [1], [2]], heldout=[[1]])
    members = [("0.png", png(0)), ("0.cls", b"2"), ("1.png", png(1)), ("2.cls", b"1")]
    write_tar(tmp_path / "train.tar", members)
    assert "2 keys of 3" in shards.problem()
    allowed = shards.model_copy(update={"skip_unreadable": 2})
    assert allowed.problem() is None
    allowed.check(print)
    assert allowed.train().batch(np.arange(1))[1].tolist() == [2]
    assert sorted(allowed.provenance()["train_skipped"].values()) == [
        "it has no .cls",
        "it has no image",
    ]


def test_several_labels_where_each_image_has_one_are_named(tmp_path):
    found = webdataset(tmp_path, most_labels=None).problem()
    assert "1.png: it has 2 labels, and each image has one; say most_labels" in found
    assert "2.png: it has no label" in found


def test_a_file_without_images_among_others_changes_nothing(tmp_path):
    for kind, row in ((None, [1]), (pa.int64(), 1)):
        write_parquet(tmp_path / "data" / "train" / "0000.parquet", [row, row], kind)
        write_parquet(tmp_path / "data" / "train" / "0001.parquet", [], kind)
        write_parquet(tmp_path / "data" / "test.parquet", [row], kind)
        found = Parquet(path=tmp_path / "data", resolution=6)
        assert (found.problem(), found.train().labels_of(np.arange(2)).ravel().tolist()) == (
            None,
            [1, 1],
        )
    tars = webdataset(tmp_path, most_labels=None, train=[[1], [2]], heldout=[[1]])
    write_tar(tmp_path / "train2.tar", [("README", b"x")])
    tars = tars.model_copy(update={"train_shards": f"{tmp_path}/train*.tar"})
    assert (tars.problem(), tars.train().labels_of(np.arange(2)).tolist()) == (None, [1, 2])


def test_lists_in_one_file_and_numbers_in_another_are_named(tmp_path):
    parquet(tmp_path)
    write_parquet(tmp_path / "test.parquet", [1, 2], pa.int64())
    words = Parquet(path=tmp_path, resolution=6).problem()
    assert "'label' is a list of labels in train.parquet, and a label in test.parquet" in words


def test_a_damaged_column_of_labels_is_named(tmp_path):
    found = parquet(tmp_path, [[1000, 1001]] * 4, [[0]])
    file = tmp_path / "train.parquet"
    table = pq.read_table(file)
    plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    pq.write_table(table, file, write_page_checksum=True, **plain)
    content = bytearray(file.read_bytes())
    content[content.index((1001).to_bytes(8, "little"))] ^= 1
    file.write_bytes(content)
    assert f"{file} is no Parquet file that can be read" in found.problem()


def test_unreadable_images_and_labels_are_counted_together(tmp_path):
    found = parquet(tmp_path, [[0], None, [1]], all_classes=5, skip_unreadable=1)
    images = [{"bytes": b"x", "path": ""}, *({"bytes": png(i), "path": ""} for i in (1, 2))]
    write_parquet(tmp_path / "train.parquet", [[0], None, [1]], images=images)
    assert found.problem() is None
    with pytest.raises(UnreadableImages, match="2 images cannot be read"):
        found.check(print)


@pytest.fixture(scope="module")
def of_tfds(tmp_path_factory):
    """A data_dir that holds many:1.0.0."""
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("array_record")

    class Many(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "labels": tfds.features.Sequence(tfds.features.ClassLabel(names=NAMES)),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            del dl_manager
            return {
                "train": self._generate_examples(TRAIN),
                "test": self._generate_examples(HELDOUT),
            }

        def _generate_examples(self, labels):
            for i, row in enumerate(labels):
                yield i, {"image": png(i), "labels": row}

    root = tmp_path_factory.mktemp("tensorflow_datasets")
    Many(data_dir=root, file_format="array_record").download_and_prepare()
    return root


def test_a_sequence_of_classes_of_tfds_is_read_as_it_was_written(of_tfds):
    fields = {"name": "many", "data_dir": of_tfds, "resolution": 6}
    said = "label_key='labels' of many holds several labels an image; say most_labels"
    assert said in Tfds(**fields, label_key="labels").problem()
    source = Tfds(**fields, label_key="labels", most_labels=3)
    assert source.problem() is None
    assert (source.classes, source.labels_each) == (5, 3)
    images, labels = source.train().batch(np.arange(6))
    written = {pixels(i).tobytes(): i for i in range(6)}
    found = [written[image.tobytes()] for image in images]  # TFDS shuffles as it writes
    assert sorted(found) == list(range(6))
    assert labels.tolist() == source.labels().tolist() == [PADDED[i] for i in found]
    source.check(print)
    with pytest.raises(UnreadableImages, match="it has 3 labels, and most_labels is 2"):
        source.model_copy(update={"most_labels": 2}).check(print)
    train, heldout = check_all_images(meant("many", of_tfds, 6).sources, print)
    assert (train.images, train.bad, heldout.images, heldout.bad) == (6, {}, 2, {})
