"""What can be minimised: one file an objective, one member of the union `Objective` here.

Configs alone, without JAX; what they build stands in `built`. `DEFAULT` is what a study that names
no objective has.
"""

from typing import Annotated, TypeAlias

from pydantic import Field

from scaling.objectives.byol import BYOL
from scaling.objectives.classify import Classify
from scaling.objectives.clip import Clip
from scaling.objectives.distill import Distill
from scaling.objectives.lit import Lit
from scaling.objectives.siglip import SigLip
from scaling.objectives.simclr import SimCLR

Objective: TypeAlias = Annotated[
    Classify | BYOL | Clip | Distill | Lit | SigLip | SimCLR,
    Field(discriminator="kind"),
]
DEFAULT = Classify()
