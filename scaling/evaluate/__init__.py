"""What can be measured on a trained network: one file a protocol, one line here."""

from typing import Annotated, TypeAlias

from pydantic import Field

from scaling.evaluate.fewshot import FewShot
from scaling.evaluate.knn import NearestNeighbours
from scaling.evaluate.linear_probe import LinearProbe
from scaling.evaluate.upstream import Upstream

Evaluation: TypeAlias = Annotated[
    Upstream | FewShot | LinearProbe | NearestNeighbours, Field(discriminator="kind")
]
