"""Where images come from: one file a source, one line a source in this union."""

from typing import Annotated, TypeAlias

from pydantic import Field

from scaling.data.arrays import Arrays, Digits
from scaling.data.procedural import Procedural

Source: TypeAlias = Annotated[Procedural | Arrays | Digits, Field(discriminator="kind")]
