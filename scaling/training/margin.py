"""What a network does not see of its images, where its patch does not divide the resolution."""

from __future__ import annotations

from models.shapes import MixerShape, Shape, ViTShape


def unseen_margin(model: Shape) -> str | None:
    """The margin at the right and the bottom, in words; None: there is none."""
    if not isinstance(model, ViTShape | MixerShape) or model.resolution % model.patch == 0:
        return None
    patches, margin = divmod(model.resolution, model.patch)
    lost = 1 - (patches * model.patch / model.resolution) ** 2
    return (
        f"{model.name}: {model.resolution} px are {patches} patches of {model.patch} px and a "
        f"margin of {margin} px that is not seen, {100 * lost:.2g} % of each image."
    )
