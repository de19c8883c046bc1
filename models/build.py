"""From a shape to a model: the one place that knows which class a shape stands for."""

from flax import nnx

from models.shapes import Shape, ViTShape
from models.vit import ViT


def build(shape: Shape, *, rngs: nnx.Rngs) -> nnx.Module:
    """The backbone of that shape, initialised. A new family adds one `case`."""
    match shape:
        case ViTShape():
            return ViT(shape, rngs=rngs)
        case _:
            raise ValueError(f"No model family is built from a {type(shape).__name__}.")
