"""The few-shot linear protocol of big_vision.

Frozen features, a handful of labelled images a class, ridge regression in closed form, as there.
One deviation: images are seen whole, resized to the resolution of the source, where big_vision
resizes to 256 pixels and cuts out the central 224.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling.base.config import Config
from scaling.data import Source
from scaling.evaluate.measured import Measured

if TYPE_CHECKING:
    from flax import nnx

    from scaling.data.source import SourceConfig
    from scaling.training.placement import Placement

CONSTANT = 100.0  # the extra feature: so large that the ridge hardly holds the bias back
SMALLEST_STD = 1e-5  # added to a feature's standard deviation before dividing by it


class FewShot(Config):
    """Ridge regression on frozen features of a few labelled images a class, top-1 error.

    Source: big_vision, `evaluators/fewshot_lsr.py` (commit 0127fb6).
    """

    kind: Literal["fewshot"] = "fewshot"
    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$",
        json_schema_extra={"in_words": "a name of small letters, digits and _"},
    )
    """Names the metrics: `<name>_<shots>shot_error`, the mean over subsets, and
    `<name>_<shots>shot_error_subset<i>`."""
    data: Source
    """The transfer task; shots are drawn from its training images."""
    shots: tuple[Annotated[int, Field(gt=0, le=10**6)], ...] = Field((1, 5, 10), min_length=1)
    """Labelled images a class; smaller sets lie inside larger ones."""
    subsets: int = Field(3, gt=0, le=1000)
    """How many times the shots are drawn."""
    ridge: float = Field(1024.0, gt=0, allow_inf_nan=False)
    """Weight of the squared norm, on a sum (not a mean) over images."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the numbers that say how good the features are: means over subsets."""
        return tuple(f"{self.name}_{k}shot_error" for k in self.shots)

    @property
    def errors(self) -> tuple[str, ...]:
        """Those of `metrics` that are error rates."""
        return self.metrics

    def measure(
        self,
        module: nnx.Module,
        *,
        objective: Any,
        source: SourceConfig,
        placement: Placement | None = None,
    ) -> list[Measured]:
        """Each metric over all test images, n = their number; objective and source are not used."""
        from scaling.evaluate.forward import features

        pool, test = self.data.train(), self.data.heldout()
        assert pool.size is not None  # shots come from a set, not a stream
        assert test.size is not None
        known, known_labels = features(module, pool, np.arange(pool.size), placement)
        unseen, unseen_labels = features(module, test, np.arange(test.size), placement)
        found = []
        for shots in self.shots:
            errors = []
            for subset in range(self.subsets):
                chosen = draw(known_labels, shots, self.data.classes, subset)
                guess = predict(
                    known[chosen], known_labels[chosen], unseen, self.data.classes, self.ridge
                )
                errors.append(float(np.mean(guess != unseen_labels)))
            name = f"{self.name}_{shots}shot_error"
            found.append(Measured(name, float(np.mean(errors)), test.size))
            found += [
                Measured(f"{name}_subset{i}", error, test.size) for i, error in enumerate(errors)
            ]
        return found


def draw(labels: NDArray[np.int32], shots: int, classes: int, subset: int) -> NDArray[np.int64]:
    """Numbers of the first `shots` images of each class, in the order that `subset` decides.

    One generator permutes the classes one after another, so that fewer shots are the beginning of
    more shots. A class with too few images gives all it has.
    """
    generator = np.random.default_rng(subset)
    chosen = [
        generator.permutation(np.flatnonzero(labels == label))[:shots] for label in range(classes)
    ]
    return np.concatenate(chosen)


def predict(
    known: NDArray[np.float32],
    labels: NDArray[np.int32],
    unseen: NDArray[np.float32],
    classes: int,
    ridge: float,
) -> NDArray[np.int64]:
    """Classes of `unseen` [m, width], by ridge regression on `known` [n, width] to targets +-1.

    Features are whitened one by one with mean and (population) standard deviation of `known`; a
    constant 100 is appended; the normal equations are solved on the smaller side, in float64.
    """
    mean = known.mean(0, dtype=np.float64)
    std = known.std(0, dtype=np.float64) + SMALLEST_STD
    x = np.pad((known - mean) / std, ((0, 0), (0, 1)), constant_values=CONSTANT)
    z = np.pad((unseen - mean) / std, ((0, 0), (0, 1)), constant_values=CONSTANT)
    targets = np.where(labels[:, None] == np.arange(classes), 1.0, -1.0)
    n, d = x.shape
    if n < d:
        weights = x.T @ np.linalg.solve(x @ x.T + ridge * np.eye(n), targets)
    else:
        weights = np.linalg.solve(x.T @ x + ridge * np.eye(d), x.T @ targets)
    return np.argmax(z @ weights, 1)
