"""ILSVRC 2012 as it was given out: an archive of a thousand archives, and one of validation images.

Classes, and the labels of the validation images, come with tensorflow-datasets.
"""

from pathlib import Path

from fits.base.counted import counted
from fits.base.errors import UserError
from scaling.data.prepare.item import Item
from scaling.data.tar_members import TarMember, tar_members

TRAIN, VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
SUFFIX = ".JPEG"


def is_there(root: Path) -> bool:
    """Whether either archive lies in this folder."""
    return (root / TRAIN).is_file() or (root / VALIDATION).is_file()


def listed(root: Path) -> tuple[list[str], dict[str, list[Item]]]:
    """Classes (WordNet ids, in order) and the images of `train` and `validation`.

    Raises:
      UserError: an archive is missing, cut off, or has other members.
    """
    absent = [
        f"{root} has no {name}." for name in (TRAIN, VALIDATION) if not (root / name).is_file()
    ]
    if absent:
        raise UserError(absent)
    classes, answers = _words("labels.txt"), _words("validation_labels.txt")
    number = {name: i for i, name in enumerate(classes)}
    try:
        return classes, {
            "train": _train(root / TRAIN, number),
            "validation": _validation(root / VALIDATION, [number[name] for name in answers]),
        }
    except UserError:
        raise
    except ValueError as error:
        raise UserError([f"{error}."]) from error


def _train(archive: Path, number: dict[str, int]) -> list[Item]:
    found, modified = [], archive.stat().st_mtime_ns
    for inner in tar_members(archive):
        name = Path(inner.name).name
        label = number.get(name.removesuffix(".tar"))
        if label is None or not name.endswith(".tar"):
            raise UserError([f"{archive}: {inner.name} is the archive of none of its classes."])
        for member in tar_members(archive, within=inner):
            if member.name.endswith(SUFFIX):
                found.append(_item(archive, modified, label, member))
    return found


def _validation(archive: Path, labels: list[int]) -> list[Item]:
    members = sorted(m for m in tar_members(archive) if m.name.endswith(SUFFIX))
    if len(members) != len(labels):
        raise UserError(
            [f"{archive} has {counted(len(members), 'image', form='_')}, of {len(labels):_}."]
        )
    modified = archive.stat().st_mtime_ns
    return [
        _item(archive, modified, label, member)
        for label, member in zip(labels, members, strict=True)
    ]


def _item(archive: Path, modified: int, label: int, member: TarMember) -> Item:
    place = [archive.name, member.offset, modified]
    return Item(label, Path(member.name).name, member.size, place)


def _words(name: str) -> list[str]:
    import tensorflow_datasets as tfds

    file = Path(tfds.core.tfds_path(f"datasets/imagenet2012/{name}"))
    return file.read_text(encoding="utf-8").split()
