"""From a shape to a model: the one place that knows which class a shape stands for."""

from flax import nnx

from models.bit import BiT
from models.mixer import Mixer
from models.precision import PLAIN, Precision
from models.shapes import BiTShape, MixerShape, Shape, ViTShape
from models.vit import ViT


def build(shape: Shape, precision: Precision = PLAIN, *, rngs: nnx.Rngs) -> nnx.Module:
    """The backbone of that shape, initialised. A new family adds one `case`.

    Args:
      shape: decides what is computed.
      precision: decides how.
      rngs: of the initial parameters.
    """
    match shape:
        case ViTShape():
            return ViT(shape, precision, rngs=rngs)
        case BiTShape():
            return BiT(shape, precision, rngs=rngs)
        case MixerShape():
            return Mixer(shape, precision, rngs=rngs)
        case _:
            raise ValueError(f"No model family is built from a {type(shape).__name__}.")
