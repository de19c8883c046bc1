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
from scaling.objectives.exemplar import Exemplar
from scaling.objectives.jigsaw import Jigsaw
from scaling.objectives.lit import Lit
from scaling.objectives.relative_patch import RelativePatch
from scaling.objectives.rotation import Rotation
from scaling.objectives.s4l import S4L
from scaling.objectives.siglip import SigLip
from scaling.objectives.simclr import SimCLR

Objective: TypeAlias = Annotated[
    Classify
    | BYOL
    | Clip
    | Distill
    | Exemplar
    | Jigsaw
    | Lit
    | RelativePatch
    | Rotation
    | S4L
    | SigLip
    | SimCLR,
    Field(discriminator="kind"),
]
DEFAULT = Classify()
