"""Where images come from: one file a source, one line a source in this union or in `plain`."""

from typing import Annotated, TypeAlias

from pydantic import Field

from scaling.data.hierarchy import Hierarchy
from scaling.data.plain import PlainSource
from scaling.data.subset import Subset
from scaling.data.without import Without

Source: TypeAlias = Annotated[
    PlainSource | Without | Subset | Hierarchy, Field(discriminator="kind")
]

for around in (Subset, Hierarchy):  # which hold a source of any kind
    around.model_rebuild(_types_namespace={"Source": Source})
