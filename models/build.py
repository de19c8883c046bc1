"""From a shape to a model: the one place that knows which class a shape stands for."""

from flax import nnx

from models.bit import BiT
from models.mixer import Mixer
from models.shapes import BiTShape, MixerShape, Shape, ViTShape
from models.vit import ViT


def build(shape: Shape, *, rngs: nnx.Rngs) -> nnx.Module:
    """The backbone of that shape, initialised. A new family adds one `case`."""
    match shape:
        case ViTShape():
            return ViT(shape, rngs=rngs)
        case BiTShape():
            return BiT(shape, rngs=rngs)
        case MixerShape():
            return Mixer(shape, rngs=rngs)
        case _:
            raise ValueError(f"No model family is built from a {type(shape).__name__}.")
