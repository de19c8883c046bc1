"""Where images come from: one file a source, one line a source in this union."""

from typing import Annotated, TypeAlias

from pydantic import Field

from scaling.data.arrays import Arrays, Digits
from scaling.data.folder import Folder
from scaling.data.private import Private
from scaling.data.procedural import Procedural
from scaling.data.tfds import Tfds

Source: TypeAlias = Annotated[
    Procedural | Arrays | Digits | Folder | Tfds | Private, Field(discriminator="kind")
]
