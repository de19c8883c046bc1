"""Images that others have and nobody can get: their studies can be planned, and not trained."""

from __future__ import annotations

from typing import Literal, NoReturn

from pydantic import Field

from fits.base.errors import UserError
from scaling.data.source import Fault, Images, SourceConfig


class Private(SourceConfig):
    """A data set that is not published, such as JFT-3B: `scaling plan` needs its numbers alone."""

    kind: Literal["private"] = "private"
    name: str = Field(min_length=1)
    """What it is called."""
    resolution: int = Field(224, gt=0, le=8192)
    """Side of the images, pixels."""
    classes: int = Field(gt=1, le=10**9)
    """Number of labels."""
    images: int = Field(gt=0, le=10**15)
    """Number of images to train on."""
    heldout_images: int = Field(gt=0, le=10**15)
    """Number of images to measure on."""

    @property
    def private(self) -> bool:
        return True

    def train(self) -> Images:
        self._refuse()

    def heldout(self) -> Images:
        self._refuse()

    def sizes(self) -> tuple[int | None, int | None]:
        return self.images, self.heldout_images

    def fault(self, to_train: bool = True) -> Fault | None:
        del to_train
        return Fault("kind", self._words)

    @property
    def _words(self) -> str:
        return (
            f"{self.name} is not published: this study can be planned, and not trained. Name "
            "another source to train it."
        )

    def _refuse(self) -> NoReturn:
        raise UserError([self._words])
