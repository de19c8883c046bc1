"""What can be measured on a trained network: one file a protocol, one line here."""

from typing import Annotated

from pydantic import Field

from scaling.evaluate.fewshot import FewShot
from scaling.evaluate.upstream import Upstream

Evaluation = Annotated[Upstream | FewShot, Field(discriminator="kind")]
