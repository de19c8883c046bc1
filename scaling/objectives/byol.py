"""BYOL: a network predicts what a moving average of itself makes of another view of an image.

Knows a backbone only as something that turns images into vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from models.cost import forward_macs
from scaling.objectives.config import Norm, ObjectiveConfig, Pass, Setting, mlp

if TYPE_CHECKING:
    from models.precision import Precision
    from models.shapes import Shape
    from scaling.objectives.built.byol import BYOLObjective


class BYOL(ObjectiveConfig):
    """Each of two views predicts the other's projection by a moving average of the network.

    The online network is backbone, projector and predictor; the target network, backbone and
    projector, is an exponential moving average of it and gets no gradient. The loss of an image is
    2 - 2 cos(prediction of one view, target's projection of the other), the mean of both
    directions: it lies in 0 .. 4. The paper's code adds the directions, so that its loss and its
    gradient are twice ours.

    Grill et al. 2020, "Bootstrap your own latent"; numbers and order are those of
    `byol/byol_experiment.py`, `configs/byol.py` and `utils/schedules.py` in
    google-deepmind/deepmind-research. The target begins as a copy of the online network; there it
    is drawn anew, which made no difference, as a comment says.
    """

    kind: Literal["byol"] = "byol"
    momentum: float = Field(default=0.996, ge=0, lt=1)
    """Share of the moving average that a step keeps, at the beginning. The paper's code has 0.996
    for 1,000 epochs of ImageNet, 0.99 for 300 and 100, 0.97 for 40: the shorter, the lower."""
    rises_over: int | None = Field(default=None, gt=0, le=10**12)
    """Steps over which the momentum rises to 1 by half a cosine; left out: it stays. The paper has
    the run's whole duration. It is a number of its own here, so that runs of different durations
    share a trunk."""
    hidden: int | None = Field(default=None, gt=0, le=10**6)
    """Features inside projector and predictor; left out: twice the backbone's, as the paper's 4096
    are of a ResNet-50's 2048."""
    projection: int = Field(default=256, gt=0, le=10**6)
    """Outputs of projector and predictor."""
    norm: Norm = "batch"
    """What normalises hidden features of projector and predictor, before the ReLU. `batch`, as in
    the paper: over all images of the batch, whatever devices these are on, of each view by itself.
    An image's loss then depends on the others of its batch, as it does not with `layer` or
    `none`."""

    @property
    def views(self) -> int:
        return 2

    @property
    def couples_examples(self) -> bool:
        return self.norm == "batch"

    @property
    def keeps_state(self) -> bool:
        """The target network."""
        return True

    @property
    def one_pass(self) -> bool:
        """The target's average needs all parameters at once."""
        return False

    def problems(self, setting: Setting) -> Iterator[str]:
        if self.norm == "batch" and setting.batch < 2:
            yield (
                "byol normalises over the images of a batch, and a batch of 1 has no variance; "
                'use 2, or norm = "layer".'
            )
        if "mixup" in setting.augment:
            yield "byol has no labels to mix; leave mixup out of augment."

    def build(self, model: Shape, classes: int, precision: Precision) -> BYOLObjective:
        from scaling.objectives.built.byol import BYOLObjective

        del classes
        return BYOLObjective(self, model, precision)

    def passes(self, model: Shape, classes: int) -> tuple[Pass, ...]:
        """Both views through the online network, and forward alone through the target."""
        del classes
        hidden = self.hidden_of(model)
        projector = hidden * (model.features + self.projection)
        predictor = 2 * hidden * self.projection
        following = mlp(model.features, hidden, self.projection, self.norm)  # the target's too
        online = following + mlp(self.projection, hidden, self.projection, self.norm)
        macs = forward_macs(model) + projector
        return (
            Pass(macs + predictor, examples=2, shape=model, layers=online),
            Pass(macs, examples=2, trained=False, shape=model, layers=following),
        )

    def hidden_of(self, model: Shape) -> int:
        """Features inside projector and predictor on this backbone."""
        return self.hidden or 2 * model.features
