"""Where images come from: one file a source, one line a source in this union or in `plain`."""

from typing import Annotated, TypeAlias

from pydantic import Field

from scaling.data.plain import PlainSource
from scaling.data.without import Without

Source: TypeAlias = Annotated[PlainSource | Without, Field(discriminator="kind")]
