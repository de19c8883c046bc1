"""Where images come from: one file a source, one line a source in this union."""

from typing import Annotated, TypeAlias

from pydantic import Field

from scaling.data.arrays import Arrays, Digits
from scaling.data.folder import Folder
from scaling.data.hierarchy import Hierarchy
from scaling.data.private import Private
from scaling.data.procedural import Procedural
from scaling.data.subset import Subset
from scaling.data.tfds import Tfds

Source: TypeAlias = Annotated[
    Procedural | Arrays | Digits | Folder | Tfds | Private | Subset | Hierarchy,
    Field(discriminator="kind"),
]

for around in (Subset, Hierarchy):  # which hold a source of any kind
    around.model_rebuild(_types_namespace={"Source": Source})
