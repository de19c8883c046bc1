"""Which folders and archives are split/class/image: every image has its place, or is named."""

import os
import tarfile
from pathlib import Path

import pytest

from fits.base.errors import UserError
from scaling.data.prepare.collection import opened


def tree(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"image")
    return root


def found(path, tmp_path):
    """Split/class/image of all that was found."""
    with opened(path, tmp_path / "room") as collection:
        return sorted(
            f"{split}/{collection.classes[item.label]}/{item.name}"
            for split, items in collection.splits.items()
            for item in items
        )


def refused(path, tmp_path):
    with pytest.raises(UserError) as wrong, opened(path, tmp_path / "room"):
        pass
    return str(wrong.value)


def packed(root):
    file = root.with_suffix(".tar")
    with tarfile.open(file, "w") as tar:
        tar.add(root, root.name)
    return file


TINY = (
    *(f"train/{c}/images/{c}_{i}.JPEG" for c in ("n01", "n02", "n03") for i in range(2)),
    *(f"val/images/val_{i}.JPEG" for i in range(4)),
    *(f"test/images/test_{i}.JPEG" for i in range(3)),
    "val/val_annotations.txt",
)


@pytest.mark.parametrize("pack", [Path, packed])
def test_images_of_a_split_without_folders_of_classes_are_counted_and_refused(tmp_path, pack):
    root = tree(tmp_path / "own", "train/ant/0.jpg", "train/bee/0.jpg", "val/0.jpg", "val/1.jpg")
    words = refused(pack(root), tmp_path)
    assert "2 images are not laid out as <split>/<class>/<image>" in words
    assert "val/0.jpg" in words
    assert "no folder of their class" in words


@pytest.mark.parametrize("pack", [Path, packed])
def test_tiny_imagenet_is_refused_with_what_is_between_class_and_image(tmp_path, pack):
    words = refused(pack(tree(tmp_path / "tiny", *TINY)), tmp_path)
    assert "6 images" in words
    assert "train/*/images/*" in words
    assert "below `images`" in words
    assert "val/images/*: 4 images" in words


def test_one_class_of_many_splits_is_no_layout_of_splits(tmp_path):
    root = tree(tmp_path / "tiny", *(name for name in TINY if name.startswith("train")))
    words = refused(root, tmp_path)
    assert "6 images" in words
    assert "train/*/images/*" in words


def test_images_of_one_class_are_a_data_set_where_they_have_a_training_split(tmp_path):
    root = tree(tmp_path / "own", "train/all/0.jpg", "train/all/1.jpg", "test/all/2.jpg")
    assert found(root, tmp_path) == ["test/all/2.jpg", "train/all/0.jpg", "train/all/1.jpg"]


def test_images_deeper_than_their_class_are_refused(tmp_path):
    root = tree(tmp_path / "own", "train/ant/0.jpg", "train/bee/0.jpg", "train/ant/more/1.jpg")
    words = refused(root, tmp_path)
    assert "1 image is not laid out" in words
    assert "train/ant/more/1.jpg" in words


def test_two_folders_of_splits_are_not_mixed(tmp_path):
    root = tree(tmp_path / "own", "a/train/ant/0.jpg", "a/train/bee/0.jpg", "b/train/ant/1.jpg")
    words = refused(root, tmp_path)
    assert "b/train/ant/1.jpg" in words


@pytest.mark.parametrize("pack", [Path, packed])
def test_images_beside_the_splits_are_left_out_and_counted(tmp_path, capsys, pack):
    root = tree(tmp_path / "own", "train/ant/0.jpg", "train/bee/0.jpg", "cover.png", ".x/y/z/0.jpg")
    assert found(pack(root), tmp_path) == ["train/ant/0.jpg", "train/bee/0.jpg"]
    said = capsys.readouterr().err
    assert "1 image that lies beside the splits is left out" in said
    assert "cover.png" in said


def test_folders_that_are_links_are_read_and_a_ring_of_them_ends(tmp_path):
    real = tree(tmp_path / "real", "ant/0.jpg", "bee/0.jpg")
    root = tree(tmp_path / "own", "train/ant/0.jpg", "train/bee/0.jpg")
    os.symlink(real, root / "val")
    os.symlink(root, root / "train" / "ring")
    assert found(root, tmp_path) == [
        *("train/ant/0.jpg", "train/bee/0.jpg", "val/ant/0.jpg", "val/bee/0.jpg"),
    ]


def test_images_of_an_archive_whose_names_lead_out_of_it_are_counted(tmp_path, capsys):
    root = tree(tmp_path / "own", "train/ant/0.jpg", "train/bee/0.jpg")
    file = packed(root)
    with tarfile.open(file, "a") as tar:
        tar.add(root / "train/ant/0.jpg", "own/../../ant/9.jpg")
    assert len(found(file, tmp_path)) == 2
    assert "own/../../ant/9.jpg" in capsys.readouterr().err


def test_images_that_are_links_to_nothing_are_refused(tmp_path):
    root = tree(tmp_path / "own", "train/ant/0.jpg", "train/bee/0.jpg")
    (root / "train/bee/1.jpg").symlink_to(tmp_path / "gone.jpg")
    words = refused(root, tmp_path)
    assert "train/bee/1.jpg is a link to nothing" in words


def test_a_class_that_is_a_link_to_nothing_is_refused(tmp_path):
    root = tree(tmp_path / "own", "train/ant/0.jpg", "train/bee/0.jpg")
    (root / "latest").symlink_to(tmp_path / "gone")
    assert len(found(root, tmp_path)) == 2
    (root / "train/cat").symlink_to(tmp_path / "gone")
    assert "train/cat is a link to nothing; restore the folder" in refused(root, tmp_path)


def test_images_of_an_archive_that_are_links_are_counted(tmp_path, capsys):
    root = tree(tmp_path / "own", "train/ant/0.jpg", "train/bee/0.jpg")
    os.link(root / "train/ant/0.jpg", root / "train/ant/1.jpg")
    assert len(found(packed(root), tmp_path)) == 2
    assert "1 image that is a link is left out" in capsys.readouterr().err


def test_pictures_of_other_formats_are_counted_at_any_depth(tmp_path, capsys):
    root = tree(tmp_path / "own", "train/ant/0.jpg", "train/bee/0.jpg", "val/0.webp", "val/1.webp")
    assert len(found(root, tmp_path)) == 2
    said = capsys.readouterr().err
    assert "2 files that are no .jpg, .jpeg, .png are left out" in said
    assert "val/0.webp" in said
