"""ILSVRC 2012 as it was given out: an archive of a thousand archives, and one of validation images.

Classes, and the labels of the validation images, come with tensorflow-datasets.
"""

from pathlib import Path

from fits.base.counted import counted
from fits.base.errors import UserError
from scaling.base.console import complain
from scaling.data.files.tar_members import TarMember, tar_members
from scaling.data.prepare.item import Item

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
    found, others, modified = [], [], archive.stat().st_mtime_ns
    for inner in tar_members(archive):
        name = Path(inner.name).name
        label = number.get(name.removesuffix(".tar"))
        if label is None or not name.endswith(".tar"):
            raise UserError([f"{archive}: {inner.name} is the archive of none of its classes."])
        for member in tar_members(archive, within=inner):
            if member.name.endswith(SUFFIX):
                found.append(_item(archive, modified, label, member))
            else:
                others.append(f"{name}: {member.name}")
    _say_left_out(archive, others)
    return found


def _validation(archive: Path, labels: list[int]) -> list[Item]:
    everything = sorted(tar_members(archive))
    members = [member for member in everything if member.name.endswith(SUFFIX)]
    _say_left_out(archive, [m.name for m in everything if not m.name.endswith(SUFFIX)])
    if len(members) != len(labels):
        raise UserError(
            [f"{archive} has {counted(len(members), 'image', form='_')}, of {len(labels):_}."]
        )
    modified = archive.stat().st_mtime_ns
    return [
        _item(archive, modified, label, member)
        for label, member in zip(labels, members, strict=True)
    ]


def _say_left_out(archive: Path, others: list[str]) -> None:
    if others:
        count = counted(len(others), "file that is", "files that are", form="_")
        verb = "is" if len(others) == 1 else "are"
        complain(f"{archive}: {count} no {SUFFIX} {verb} left out, the first {others[0]}.")


def _item(archive: Path, modified: int, label: int, member: TarMember) -> Item:
    place = [archive.name, member.offset, modified]
    return Item(label, Path(member.name).name, member.size, place)


def _words(name: str) -> list[str]:
    import tensorflow_datasets as tfds

    file = Path(tfds.core.tfds_path(f"datasets/imagenet2012/{name}"))
    return file.read_text(encoding="utf-8").split()
