"""Where images come from: one file a source, one line a source in this union."""

from typing import Annotated, TypeAlias

from pydantic import Field

from scaling.data.arrays import Arrays, Digits
from scaling.data.folder import Folder
from scaling.data.hierarchy import Hierarchy
from scaling.data.parquet import Parquet
from scaling.data.private import Private
from scaling.data.procedural import Procedural
from scaling.data.subset import Subset
from scaling.data.tfds import Tfds
from scaling.data.webdataset import WebDataset
from scaling.data.without import Without

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
