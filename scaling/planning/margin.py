"""What patches that do not divide an image leave unseen of it, at its right and bottom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from models.shapes import BiTShape, Shape
from scaling.training.run import Run


def unseen(shape: Shape) -> float:
    """The share of an image's pixels that lies in no patch; 0 for a network without patches."""
    if isinstance(shape, BiTShape):
        return 0.0
    return 1 - (shape.grid * shape.patch / shape.resolution) ** 2


def remarks(runs: Iterable[Run]) -> Iterator[str]:
    """A sentence for each model that does not see all of an image."""
    for name, shape in {run.model_name: run.model for run in runs}.items():
        if isinstance(shape, BiTShape) or not unseen(shape):
            continue
        seen, whole = shape.grid * shape.patch, shape.resolution
        lost = f"{100 * unseen(shape):.2g} % of an image is lost"
        yield (
            f"{name} sees {seen} x {seen} of {whole} x {whole} pixels, and {lost}: patches of "
            f"{shape.patch} do not divide {whole}. A resolution of {seen} or {seen + shape.patch} "
            f"is seen whole."
        )
