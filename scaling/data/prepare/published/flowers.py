"""Oxford Flowers 102: 102flowers.tgz, imagelabels.mat and setid.mat, as TFDS reads them.

Source: tensorflow-datasets 4.9.10, datasets/oxford_flowers102.
"""

import io
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fits.base.errors import UserError, all_of
from scaling.data.prepare.published.downloads import Downloads, Listed, item

NAME = "oxford_flowers102"
IMAGES, LABELS, SPLITS = "102flowers.tgz", "imagelabels.mat", "setid.mat"
FILES = (IMAGES, LABELS, SPLITS)
SIGNS = (*FILES, "jpg")
IDS = {"train": "trnid", "test": "tstid", "validation": "valid"}


def listed(found: Downloads, classes: list[str]) -> Listed:
    labels, ids, _ = all_of(
        lambda: _numbers(found, LABELS, ["labels"], len(classes))["labels"],
        lambda: _numbers(found, SPLITS, IDS.values(), None),
        lambda: found.refuse_without(IMAGES, "jpg"),
    )
    wrong = [
        f"{found.called}: {SPLITS} has an image {id_:_} in {key}; {LABELS} has {labels.size:_}."
        for key in IDS.values()
        for id_ in ids[key][ids[key] > labels.size]
    ]
    if wrong:
        raise UserError(wrong)
    names = {key: [f"image_{id_:05d}.jpg" for id_ in ids[key]] for key in IDS.values()}
    images = found.images(IMAGES, "jpg", (name for each in names.values() for name in each))
    return classes, {
        split: [
            item(int(labels[id_ - 1]) - 1, images[name])
            for id_, name in zip(ids[key], names[key], strict=True)
        ]
        for split, key in IDS.items()
    }


def _numbers(
    found: Downloads, file: str, keys: Iterable[str], most: int | None
) -> dict[str, NDArray[np.int64]]:
    """Rows of whole numbers from 1 of a MATLAB file; SciPy reads arrays, and runs nothing."""
    from scipy.io import loadmat

    contents, where = found.contents(file), f"{found.called}: {file}"
    keys = list(keys)
    try:
        read = loadmat(io.BytesIO(contents), variable_names=keys)
    except Exception as error:  # of SciPy and zlib, many kinds
        raise UserError([f"{where} is no MATLAB file: {error}; get it again."]) from error
    rows = {key: np.ravel(read.get(key, ())) for key in keys}
    for key, row in rows.items():
        right = row.size and np.issubdtype(row.dtype, np.number) and np.isrealobj(row)
        if not right or row.min() < 1 or (row != np.floor(row)).any():
            raise UserError([f"{where}: {key!r} is no row of numbers from 1; get it again."])
        if most is not None and row.max() > most:
            raise UserError([f"{where}: {key!r} has {row.max():_}, of {most} classes."])
    return {key: row.astype(np.int64) for key, row in rows.items()}
