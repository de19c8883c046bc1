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
from scaling.evaluate.retrieval import Retrieval
from scaling.evaluate.upstream import Upstream
from scaling.evaluate.vtab import Vtab
from scaling.evaluate.zeroshot import ZeroShot

Evaluation: TypeAlias = Annotated[
    Upstream
    | Classification
    | Corruptions
    | FewShot
    | LinearProbe
    | NearestNeighbours
    | ZeroShot
    | Retrieval
    | FineTune
    | Vtab
    | Privacy,
    Field(discriminator="kind"),
]
