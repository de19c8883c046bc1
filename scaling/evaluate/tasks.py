"""What evaluations on a labelled task of their own have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

NAME: Any = Field(
    pattern=r"^[a-z][a-z0-9_]*$",
    json_schema_extra={"in_words": "a name of small letters, digits and _"},
)


def checked_labels(
    what: str, labels: NDArray[np.int32], classes: int, *, all_of_them: bool = False
) -> None:
    """Raise ValueError where images have several labels, there is no image, a label is none of the
    classes, or, if all of them are needed, a class has no image."""
    if labels.ndim > 1:
        raise ValueError(
            f"{what}: its images have several labels each, and this evaluation needs one."
        )
    if not len(labels):
        raise ValueError(f"{what}: there are no images.")
    if labels.min() < 0 or labels.max() >= classes:
        wrong = int(np.flatnonzero((labels < 0) | (labels >= classes))[0])
        raise ValueError(
            f"{what}: image {wrong} has the label {labels[wrong]}, and there are {classes} "
            f"classes, 0 to {classes - 1}."
        )
    absent = np.flatnonzero(np.bincount(labels, minlength=classes) == 0)
    if all_of_them and len(absent):
        shown = ", ".join(map(str, absent[:5])) + (", .." if len(absent) > 5 else "")
        raise ValueError(
            f"{what}: {len(absent)} of {classes} classes have no image ({shown}); take a set that "
            "has some of each."
        )
