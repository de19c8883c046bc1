"""The sources that hold images themselves; others stand on one of these."""

from typing import Annotated, TypeAlias

from pydantic import Field

from scaling.data.arrays import Arrays, Digits
from scaling.data.folder import Folder
from scaling.data.parquet import Parquet
from scaling.data.private import Private
from scaling.data.procedural import Procedural
from scaling.data.tfds import Tfds
from scaling.data.webdataset import WebDataset

PlainSource: TypeAlias = Annotated[
    Procedural | Arrays | Digits | Folder | Tfds | Parquet | WebDataset | Private,
    Field(discriminator="kind"),
]
