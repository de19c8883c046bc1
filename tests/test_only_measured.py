"""Sources that have images to measure on alone, as ImageNet-V2, ImageNet-A and ObjectNet."""

import io
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image
from study_texts import GOOD

from fits.base.errors import UserError
from scaling.data.around.hierarchy import Hierarchy
from scaling.data.around.subset import Selection, Subset
from scaling.data.arrays import Arrays
from scaling.data.folder import Folder
from scaling.data.parquet.source import Parquet
from scaling.data.webdataset.source import WebDataset
from scaling.data_check import check_all_images
from scaling.data_meant import meant
from scaling.evaluate import Classification
from scaling.study.parse import read_study
from scaling.study.tasks import Subject, read_tasks

SIDE = 4
CLASSES = ("ant", "bee")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def png(i):
    stream = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), (20 * i, 0, 0)).save(stream, "png")
    return stream.getvalue()


def folder(root, classes=CLASSES, split="test", resolution=SIDE):
    for name in classes:
        (root / split / name).mkdir(parents=True)
        for i in range(2):
            (root / split / name / f"{i}.png").write_bytes(png(i))
    return Folder(path=root, resolution=resolution)


def parquet(root):
    images = pa.array([{"bytes": png(i), "path": None} for i in range(4)])
    root.mkdir()
    pyarrow.parquet.write_table(
        pa.table({"image": images, "label": pa.array([0, 0, 1, 1])}),
        root / "test-00000-of-00001.parquet",
    )
    return Parquet(path=root, resolution=SIDE)


def webdataset(root):
    root.mkdir()
    with tarfile.open(root / "test.tar", "w") as archive:
        for i in range(4):
            for ending, content in (("png", png(i)), ("cls", str(i // 2).encode())):
                member = tarfile.TarInfo(f"{i}.{ending}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return WebDataset(heldout_shards=str(root / "test.tar"), classes=2, resolution=SIDE)


def arrays(root):
    root.mkdir()
    images = np.zeros((4, SIDE, SIDE), np.uint8)
    np.savez(root / "a.npz", heldout_images=images, heldout_labels=np.array([0, 0, 1, 1]))
    return Arrays(path=root / "a.npz", resolution=SIDE)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (folder, "has no folder 'train' (train_split); its folders: test."),
        (parquet, "has no Parquet files of a split 'train'; it has test."),
        (webdataset, "train_shards is left out"),
        (arrays, "has no train_images, train_labels; it holds heldout_images, heldout_labels."),
    ],
)
def test_held_out_images_are_opened_where_there_are_none_to_learn_from(tmp_path, make, said):
    source = make(tmp_path / "set")
    assert said in source.problem()
    assert source.problem(to_train=False) is None
    assert source.heldout_only
    assert (source.classes, source.sizes()) == (2, (0, 4))
    images = source.heldout()
    assert images.batch(np.arange(4))[1].tolist() == [0, 0, 1, 1]
    assert source.labels(heldout=True).tolist() == [0, 0, 1, 1]
    source.check(print)
    known = source.provenance()
    assert known["heldout_size"] == 4
    assert not any(key.startswith("train") for key in known)
    assert [each.images for each in check_all_images([source], print)] == [4]
    with pytest.raises(ValueError, match="train"):
        source.train()


def test_with_a_training_set_the_classes_are_still_its_own(tmp_path):
    source = folder(tmp_path)
    folder(tmp_path, ("ant", "bee", "cat"), "train")
    assert source.class_names == ["ant", "bee", "cat"]
    assert not source.heldout_only


def test_a_folder_without_either_set_is_still_told_of_the_first(tmp_path):
    source = folder(tmp_path, split="photographs")
    for to_train in (True, False):
        assert source.fault(to_train=to_train).key == "train_split"


def test_parts_of_such_a_source_are_measured_on_too(tmp_path):
    source = folder(tmp_path / "set", ("ant", "bee", "cat"))
    (tmp_path / "parents").write_text("0 3\n1 3\n")
    above = Hierarchy(of=source, parents=tmp_path / "parents", all_classes=4)
    some = Subset(of=source, select=Selection(classes=2))
    for each, count in ((above, 6), (some, 4)):
        assert each.problem(to_train=False) is None
        assert "has no folder 'train'" in each.problem()
        assert each.sizes() == (0, count)
        assert each.heldout().size == count
        each.check(print)


def study(tmp_path, evaluation):
    path = tmp_path / "study.toml"
    own = f'{{ kind = "folder", path = "{tmp_path / "set"}", resolution = 16 }}'
    path.write_text(f"{GOOD}\n[[evaluate]]\n{evaluation}\ndata = {own}\n")
    return path


@pytest.mark.parametrize(
    "evaluation",
    [
        'kind = "classify"\nname = "own"\nclass_map = "MAP"',
        'kind = "corruptions"\nname = "own"\nseverities = [1]',
    ],
)
def test_a_study_measures_a_classifier_on_images_without_a_training_set(tmp_path, evaluation):
    names = [f"glyph {i} of seed 0" for i in range(4)]
    folder(tmp_path / "set", names, resolution=16)
    (tmp_path / "map.toml").write_text(f'[classes]\n"{names[0]}" = 0\n')
    file = study(tmp_path, evaluation.replace("MAP", str(tmp_path / "map.toml")))
    four = 'kind = "procedural"\nclasses = 4'
    file.write_text(file.read_text().replace('kind = "procedural"', four, 1))
    found = read_study(file)
    assert found.evaluate[-1].data.heldout_only


@pytest.mark.parametrize(
    "evaluation", ['kind = "fewshot"\nname = "own"', 'kind = "knn"\nname = "own"']
)
def test_what_learns_from_images_still_needs_some(tmp_path, evaluation):
    folder(tmp_path / "set", resolution=16)
    with pytest.raises(UserError, match=r"data.train_split: .*has no folder 'train'"):
        read_study(study(tmp_path, evaluation))


def test_a_study_trains_on_no_source_without_a_training_set(tmp_path):
    folder(tmp_path / "set", resolution=16)
    own = f'kind = "folder"\npath = "{tmp_path / "set"}"'
    (tmp_path / "study.toml").write_text(GOOD.replace('kind = "procedural"', own, 1))
    with pytest.raises(UserError, match=r"data.train_split: .*has no folder 'train'"):
        read_study(tmp_path / "study.toml")


def test_checkpoints_are_measured_on_images_without_a_training_set(tmp_path):
    source = folder(tmp_path / "set", resolution=16)
    table = f'kind = "folder"\npath = "{source.path}"\nresolution = 16\n'
    file = tmp_path / "tasks.toml"
    file.write_text(f'[data]\n{table}[[evaluate]]\nkind = "upstream"\n')
    tasks = read_tasks(file, [Subject("a.npz", 16, 2, None)])
    assert tasks.data == source
    trained_there = Subject("runs/a", 16, 2, source)
    file.write_text('[[evaluate]]\nkind = "classify"\nname = "own"\n')
    assert read_tasks(file, [trained_there]).evaluate == (Classification(name="own"),)


def test_data_named_to_be_shown_or_checked_may_have_held_out_images_alone(tmp_path):
    folder(tmp_path / "set")
    (source,) = meant(str(tmp_path / "set"), None, SIDE).sources
    assert source.heldout_only
    assert source.heldout().size == 4
