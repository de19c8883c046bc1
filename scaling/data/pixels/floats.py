"""What a network sees of an image. The only file of this folder that knows an accelerator."""

from typing import Any

import jax.numpy as jnp


def to_floats(images: Any) -> Any:
    """Bytes 0 .. 255 to float32 -1 .. 1, the same shape."""
    return jnp.asarray(images).astype(jnp.float32) * (2 / 255) - 1
