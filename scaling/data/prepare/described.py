"""What TFDS keeps beside files of records: which features they hold, which splits there are.

With these two files in a folder root/name/version the source `tfds` opens it. Written last, so that
a data set is there when all of it is.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fits.base.errors import UserError
from scaling.data.prepare.convert import ARRAY_RECORD, TEMPLATE
from scaling.data.prepare.shards import Shard
from scaling.data.tfds.example import FILE_NAME

NAME = re.compile(r"[a-z][a-z0-9_]*")
VERSION = "1.0.0"


def check_name(name: str) -> None:
    """Raise UserError unless TFDS would take `name` for a data set."""
    if not NAME.fullmatch(name):
        raise UserError(
            [f"--name {name!r}: TFDS takes small letters, digits and _, a letter first."]
        )


def check_split(split: str) -> None:
    if not re.fullmatch(r"\w+", split, re.ASCII):
        raise UserError([f"split {split!r}: TFDS takes letters, digits and _."])


def check_classes(names: Sequence[str]) -> None:
    """Raise UserError unless TFDS would read back these names of classes, which it keeps as lines
    and without blanks around them."""
    stripped = [name.strip() for name in names]
    count = Counter(stripped)
    wrong = [
        f"class {name!r}: TFDS keeps names of classes as different lines of UTF-8; rename its "
        "folder."
        for name, bare in zip(names, stripped, strict=True)
        if not bare
        or "\n" in bare
        or count[bare] > 1
        or any("\ud800" <= letter <= "\udfff" for letter in bare)  # bytes that are no UTF-8
    ]
    if wrong:
        raise UserError(wrong)


def shard_name(name: str, split: str, i: int, count: int) -> str:
    """As TFDS calls file i of `count` of the data set name[/config]."""
    return f"{name.partition('/')[0]}-{split}.{ARRAY_RECORD}-{i:05d}-of-{count:05d}"


def write_description(
    folder: Path,
    name: str,
    image_key: str,
    label_key: str,
    classes: int | Sequence[str],
    splits: Mapping[str, Sequence[Shard]],
    *,
    file_names: bool = False,
) -> None:
    """dataset_info.json and features.json for ArrayRecord files that `shard_name` names.

    Args:
      folder: root/name[/config]/version.
      name: of the data set, name[/config].
      classes: how many, or their names.
      splits: the files of each.
      file_names: whether records say which file each image was, as the feature `file_name`.
    """
    import tensorflow_datasets as tfds

    named: dict[str, Any] = (
        {"num_classes": classes} if isinstance(classes, int) else {"names": list(classes)}
    )
    features = tfds.features.FeaturesDict(
        {
            image_key: tfds.features.Image(shape=(None, None, 3)),
            label_key: tfds.features.ClassLabel(**named),
            **({FILE_NAME: tfds.features.Text()} if file_names else {}),
        }
    )
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder,
        template=TEMPLATE,
        dataset_name=name.partition("/")[0],
        filetype_suffix=ARRAY_RECORD,
    )
    infos = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[shard.records for shard in shards],
            num_bytes=sum(shard.bytes for shard in shards),
            filename_template=template.replace(split=split),
        )
        for split, shards in splits.items()
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features,
        split_infos=infos,
        version=folder.name,
        filename_template=template,
        check_data=False,
    )
