"""What can be minimised: one file an objective, one line here.

A second member makes this `Annotated[Classify | Other, Field(discriminator="kind")]`; pydantic
takes no discriminator for a single one.
"""

from typing import TypeAlias

from scaling.objectives.classify import Classify

Objective: TypeAlias = Classify
