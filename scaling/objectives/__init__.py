"""What can be minimised: one file an objective, one member of the union `Objective` here.

Configs alone, without JAX; what they build stands in `built`. `DEFAULT` is what a study that names
no objective has.
"""

from typing import Annotated, TypeAlias

from pydantic import Field

from scaling.objectives.classify import Classify
from scaling.objectives.distill import Distill
from scaling.objectives.exemplar import Exemplar
from scaling.objectives.jigsaw import Jigsaw
from scaling.objectives.relative_patch import RelativePatch
from scaling.objectives.rotation import Rotation
from scaling.objectives.simclr import SimCLR

Objective: TypeAlias = Annotated[
    Classify | Distill | Exemplar | Jigsaw | RelativePatch | Rotation | SimCLR,
    Field(discriminator="kind"),
]
DEFAULT = Classify()
