"""What is done to training images: one file an augmentation, one line here.

Each is a frozen config with a `kind` of its own and

    apply(images, *, seed, places, view) -> images      uint8 [rows, side, side, 3], new or the same

a pure function: whatever is random in it is a hash of `key(seed, PURPOSE, ...)` and of `places`,
where place p = step * batch + row is the image's place in the run's sequence. So hosts, restarts
and threads change no pixel. PURPOSE is a number that no other draw has; `data.order` lists its own.

A second member makes this `Annotated[Flip | Other, Field(discriminator="kind")]`; pydantic takes
no discriminator for a single one.
"""

from collections.abc import Sequence
from typing import TypeAlias

from scaling.data.augment.flip import Flip

Augment: TypeAlias = Flip


def check_augment(augment: Sequence[Augment]) -> None:
    """Raise ValueError when one kind is listed twice: both would draw the same random numbers."""
    kinds = [each.kind for each in augment]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise ValueError(f'augment has "{kind}" {kinds.count(kind)} times; list it once.')
