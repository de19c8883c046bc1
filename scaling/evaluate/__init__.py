"""What can be measured on a trained network: one file a protocol, one line here."""

from typing import Annotated, TypeAlias

from pydantic import Field

from scaling.evaluate.classification import Classification
from scaling.evaluate.corruptions import Corruptions
from scaling.evaluate.fewshot import FewShot
from scaling.evaluate.finetune import FineTune
from scaling.evaluate.knn import NearestNeighbours
from scaling.evaluate.linear_probe import LinearProbe
from scaling.evaluate.privacy import Privacy
from scaling.evaluate.upstream import Upstream
from scaling.evaluate.vtab import Vtab

Evaluation: TypeAlias = Annotated[
    Upstream
    | Classification
    | Corruptions
    | FewShot
    | LinearProbe
    | NearestNeighbours
    | FineTune
    | Vtab
    | Privacy,
    Field(discriminator="kind"),
]
