"""What can be minimised: one file an objective, one member of the union `Objective` here.

Configs alone, without JAX; what they build stands in `built`. `DEFAULT` is what a study that names
no objective has.
"""

from typing import Annotated, TypeAlias

from pydantic import Field

from scaling.objectives.classify import Classify
from scaling.objectives.distill import Distill
from scaling.objectives.simclr import SimCLR

Objective: TypeAlias = Annotated[Classify | Distill | SimCLR, Field(discriminator="kind")]
DEFAULT = Classify()
