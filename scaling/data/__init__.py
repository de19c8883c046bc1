"""Where images come from: one file or folder a source, one line a source in this union."""

from typing import Annotated, TypeAlias

from pydantic import Field

from scaling.data.around.hierarchy import Hierarchy
from scaling.data.around.subset import Subset
from scaling.data.around.without import Without
from scaling.data.arrays import Arrays, Digits
from scaling.data.folder import Folder
from scaling.data.parquet.source import Parquet
from scaling.data.private import Private
from scaling.data.procedural.source import Procedural
from scaling.data.tfds.source import Tfds
from scaling.data.webdataset.source import WebDataset

Source: TypeAlias = Annotated[
    Procedural
    | Arrays
    | Digits
    | Folder
    | Tfds
    | Parquet
    | WebDataset
    | Private
    | Subset
    | Hierarchy
    | Without,
    Field(discriminator="kind"),
]

for around in (Subset, Hierarchy, Without):  # which hold a source of any kind
    around.model_rebuild(_types_namespace={"Source": Source})
