"""A classifier that learns from a frozen one."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from fits.base.errors import UserError
from models.noise import Noise
from models.precision import Precision
from models.shapes import Shape
from scaling.data.loader import Batch
from scaling.data.pixels.floats import to_floats
from scaling.objectives.built.classifier import Classifier, classifier
from scaling.objectives.built.on_backbone import LossAndMore, OnBackbone
from scaling.objectives.distill import Distill, other_classes

TEACHER = 2**31  # sets the key of a teacher that is drawn, as for a plan, apart from the student's


class DistillObjective(OnBackbone):
    """`Distill` for one shape of student: the teacher is frozen, there is no state."""

    classifiers = ("head",)

    def __init__(self, config: Distill, model: Shape, classes: int, precision: Precision):
        self._config, self._classes = config, classes
        self._new = lambda rngs: classifier(model, classes, precision, rngs)
        super().__init__(precision)

    def network(self, rngs: nnx.Rngs) -> Classifier:
        """The student."""
        return self._new(rngs)

    def beside(self, key: jax.Array, params: Any) -> tuple[Any, Any]:
        """A drawn teacher, of which a plan needs the shapes."""
        del params
        rngs = nnx.Rngs(jax.random.fold_in(key, TEACHER))
        return nnx.to_pure_dict(nnx.split(self._teacher.new(rngs))[1]), {}

    def images(self, batch: Batch, noise: Noise) -> Float[Array, "n h w 3"]:
        """The student's view."""
        del noise
        return to_floats(self._view(batch, 0))

    def of_features(
        self, module: Any, features: Any, frozen: Any, state: Any, batch: Batch, noise: Noise
    ) -> LossAndMore:
        """The mean divergence from the teacher's answers."""
        del noise
        loss = divergence(
            module.head(features), self.answers(frozen, batch), self._config.temperature
        ).mean()
        return loss, (state, {"loss": loss})

    def answers(self, frozen: Any, batch: Batch) -> Float[Array, "batch classes"]:
        """The teacher's logits for its view, resized to its resolution; no gradient passes."""
        images = to_floats(self._view(batch, self._config.views - 1))
        seen = resized(images, self._teacher.side)
        return jax.lax.stop_gradient(self._teacher.around(frozen)(seen))

    def _view(self, batch: Batch, number: int) -> Any:
        return batch["image"][number] if self._config.views > 1 else batch["image"]

    @cached_property
    def _teacher(self) -> _Frozen:
        """Looked at by training and plans alone: a student is measured without its teacher."""
        config = self._config
        known = config.known()
        if found := list(other_classes(config.teacher, known, self._classes)):
            raise UserError(found)
        return _Frozen(known.shape, known.classes, self._precision)


class _Frozen:
    """A classifier's structure, to be filled with parameters."""

    def __init__(self, shape: Shape, classes: int, precision: Precision):
        self.side = shape.resolution
        self.new = lambda rngs: classifier(shape, classes, precision, rngs)
        self._graph, self._shapes = nnx.split(
            nnx.eval_shape(lambda: self.new(nnx.Rngs(jax.random.key(0))))
        )

    def around(self, params: Any) -> Any:
        """The network around parameters."""
        shapes = jax.tree.map(lambda x: x, self._shapes)  # replaced in place below
        nnx.replace_by_pure_dict(shapes, params)
        return nnx.merge(self._graph, shapes)


def resized(images: Float[Array, "n h w 3"], side: int) -> Float[Array, "n side side 3"]:
    """Square images of another side: bilinear, and where it is smaller with a triangle filter as
    wide as the reduction ("antialiased"), as Pillow and `jax.image.resize` do."""
    if images.shape[1] == side:
        return images
    return jax.image.resize(images, (len(images), side, side, 3), "bilinear", antialias=True)


def divergence(
    student: Float[Array, "batch classes"],
    teacher: Float[Array, "batch classes"],
    temperature: float,
) -> Float[Array, " batch"]:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)) of each image, nats."""
    taught, said = (jax.nn.log_softmax(each / temperature) for each in (teacher, student))
    return temperature**2 * (jnp.exp(taught) * (taught - said)).sum(-1)
