"""What objectives that train a classifier by a softmax have in common when it is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from scaling.objectives.classify import Classify
from scaling.objectives.config import ClassScores

if TYPE_CHECKING:
    from jax import Array
    from jaxtyping import Float, Int

    from models.noise import Noise

SOFTMAX = Classify(loss="softmax")


class SoftmaxScores(ClassScores):
    """Base of those: the loss that is measured is that of `classify` with `loss = "softmax"`."""

    @property
    def loss(self) -> Literal["softmax"]:
        """How logits become probabilities."""
        return "softmax"

    def losses(
        self,
        module: Any,
        images: Float[Array, "batch h w 3"],
        labels: Int[Array, " batch"] | Int[Array, "batch most"],
        noise: Noise | None = None,
    ) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
        """Cross-entropy in nats and top-1 error (0 or 1) of each image."""
        return SOFTMAX.losses(module, images, labels, noise)
