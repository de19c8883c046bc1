"""What can be minimised: one file an objective, one member of the union `Objective` here.

A second member makes this `Annotated[Classify | Other, Field(discriminator="kind")]`; pydantic
takes no discriminator for a single one. `DEFAULT` is what a study that names no objective has.
"""

from typing import TypeAlias

from scaling.objectives.classify import Classify

Objective: TypeAlias = Classify
DEFAULT = Classify()
