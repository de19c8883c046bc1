"""What is done to training images: one file an augmentation, one line here.

A further member makes this `Annotated[Flip | Other, Field(discriminator="kind")]`; pydantic takes
no discriminator for a single one.
"""

from typing import TypeAlias

from scaling.data.augment.flip import Flip

Augment: TypeAlias = Flip
