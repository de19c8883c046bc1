"""What is done to training images: one file an augmentation, one line here.

Each is a frozen config with a `kind` of its own. Most act on each image by itself, where it is
loaded, and have

    apply(images, *, seed, places, view) -> images      uint8 [rows, side, side, 3], new or the same

a pure function: whatever is random in it is a hash of `key(seed, PURPOSE, ...)` and of `places`,
where place p = step * batch + row is the image's place in the run's sequence. So hosts, restarts
and threads change no pixel. PURPOSE is a number that no other draw has; `data.order` lists its own.

Those of `Crop` come first and decide which part of an image is seen. They look at no pixels: the
source cuts out what they say while it decodes, so that nothing is resized twice:

    crops(sizes, *, side, seed, places, view) -> Crops  sizes: heights, widths as stored, [rows, 2]

Those of `BatchAugment` look at several images of a batch, whose rows lie on several hosts. They act
inside the step, on the device, on the whole batch, before it is split in any way:

    mix(batch, key) -> batch                            key: of the run's seed and the step

A preset stands for others, which a run has in its place.
"""

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from scaling.data.augment.augreg import AugReg
from scaling.data.augment.blur import Blur
from scaling.data.augment.chance import Probability
from scaling.data.augment.colour_jitter import ColourJitter
from scaling.data.augment.flip import Flip
from scaling.data.augment.grey import Grey
from scaling.data.augment.inception_crop import InceptionCrop
from scaling.data.augment.mixup import MixUp
from scaling.data.augment.randaugment import RandAugment
from scaling.data.augment.random_crop import RandomCrop
from scaling.data.augment.resized_crop import ResizedCrop
from scaling.data.augment.solarise import Solarise
from scaling.data.augment.views import BYOLViews, SimCLRViews

Crop: TypeAlias = InceptionCrop | ResizedCrop | RandomCrop
BatchAugment: TypeAlias = MixUp
OneAugment: TypeAlias = (
    Crop | Flip | RandAugment | ColourJitter | Grey | Blur | Solarise | BatchAugment
)
Preset: TypeAlias = AugReg | SimCLRViews | BYOLViews
Augment: TypeAlias = Annotated[OneAugment | Preset, Field(discriminator="kind")]


def spelled_out(augment: Sequence[Augment]) -> tuple[OneAugment, ...]:
    """The same with what presets stand for in their place."""
    found: list[OneAugment] = []
    for each in augment:
        found.extend(each.parts() if isinstance(each, Preset) else [each])
    return tuple(found)


def crop_of(augment: Sequence[Augment]) -> Crop | None:
    """The one that decides which part of an image is seen; None: the source does."""
    return next((each for each in augment if isinstance(each, Crop)), None)


def crop_problem(augment: Sequence[Augment], side: int) -> str | None:
    """Why images of this side, in pixels, cannot be cropped so; None when they can."""
    crop = crop_of(augment)
    return crop.problem(side) if crop else None


def views_problem(augment: Sequence[Augment], views: int) -> str | None:
    """Why so many views of an image cannot be made; None when they can."""
    for each in spelled_out(augment):
        probability: Probability = getattr(each, "probability", (1.0,))
        if 1 < len(probability) < views:
            return (
                f"{each.kind} has probability={list(probability)}, one number a view, and the "
                f"objective has {views} views; give {views} numbers, or one for all."
            )
    return None


def check_augment(augment: Sequence[Augment]) -> None:
    """Raise ValueError when one kind is listed twice, as both would draw the same random numbers,
    when a crop does not come first, or when one that acts on batches stands before one that acts on
    images."""
    listed = spelled_out(augment)
    kinds = [each.kind for each in listed]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise ValueError(f'augment has "{kind}" {kinds.count(kind)} times; list it once.')
    for each in listed[1:]:
        if isinstance(each, Crop):
            raise ValueError(
                f'augment has "{each.kind}", which is cut out as the image is decoded, after '
                f'"{kinds[0]}"; list one crop, as the first.'
            )
    batches = [isinstance(each, BatchAugment) for each in listed]
    if sorted(batches) != batches:
        last = kinds[batches.index(True)]
        raise ValueError(f'augment has "{last}", which mixes whole batches, not at its end.')


def of_batches(augment: Sequence[Augment]) -> tuple[BatchAugment, ...]:
    """Those that act on whole batches, inside the step."""
    return tuple(each for each in spelled_out(augment) if isinstance(each, BatchAugment))


def mixed(augment: Sequence[Augment], batch: dict[str, Any], key: Any) -> dict[str, Any]:
    """The whole batch after those that act on batches; the same batch where there is none.

    Args:
      key: a JAX key, of this step.
    """
    for each in of_batches(augment):
        batch = each.mix(batch, key)
    return batch
