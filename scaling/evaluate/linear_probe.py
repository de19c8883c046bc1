"""The linear evaluation protocol: logistic regression on frozen features of all training images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling.base.console import note
from scaling.data.hashing import key
from scaling.data.order import permute
from scaling.evaluate.frozen.tasks import FrozenTask, wrong_labels
from scaling.evaluate.measured import Measured

if TYPE_CHECKING:
    from scaling.evaluate.frozen.passes import Passes

PATHS = {"kornblith": (1e-6, 1e5, 45), "clip": (1e-6, 1e6, 96)}
"""Smallest penalty, largest, and how many."""
ALL_ALONE = (
    "no class has two training images: none is left to choose a penalty by; take more images."
)
VALIDATION = 31  # a key: which images are held out to choose the penalty


class LinearProbe(FrozenTask):
    """Multinomial logistic regression on frozen features; its penalty is chosen on a part of the
    training images, then all of them are fitted with it. Top-1 error
    `<name>_probe_error`, and `<name>_probe_l2`, the penalty chosen.

    The penalty l2 stands in sum of cross-entropies + l2 / 2 * ||weights||^2, as scikit-learn's
    1 / C does. From the largest to the smallest, each begins at the last one's solution; of those
    with the smallest error on the part that was held out, the largest is chosen.

    Source: Kornblith et al. 2019, "Do better ImageNet models transfer better?": L-BFGS, 45 values
    from 1e-6 to 1e5, warm-started. `clip`: 96 values from 1e-6 to 1e6, as Radford et al. 2021 is
    remembered to do; not checked against the paper.
    """

    kind: Literal["linear_probe"] = "linear_probe"
    path: Literal["kornblith", "clip"] = "kornblith"
    """The penalties tried."""
    validation: float = Field(0.1, gt=0, le=0.5)
    """Share of each class's training images by which the penalty is chosen; a class of few images
    gives at least one, and keeps at least one."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the numbers measured."""
        return f"{self.name}_probe_error", f"{self.name}_probe_l2"

    @property
    def errors(self) -> tuple[str, ...]:
        """Those of `metrics` that are error rates."""
        return (f"{self.name}_probe_error",)

    def unsuited(self) -> str | None:
        labels = np.asarray(self.data.labels(), np.int32)
        classes, names = self.data.classes, self.data.class_names
        if said := wrong_labels(labels, classes, all_of_them=True, names=names):
            return said
        return None if np.bincount(labels).max() > 1 else ALL_ALONE

    def of_features(self, passes: Passes) -> list[Measured]:
        import jax

        from scaling.evaluate.frozen.logistic import Regression

        known, labels = self.train_features(passes, all_classes=True)
        unseen, truth = passes.features(self.data, "heldout")
        l2 = self._chosen(known, labels)
        dtype: Literal["float32", "float64"] = (
            "float64" if jax.default_backend() == "cpu" else "float32"
        )
        (best,) = Regression(known, labels, self.data.classes, dtype).path([l2])
        if not best.converged:
            note(f"{self.name}: the fit with l2 = {l2:g} did not converge in {best.steps} steps.")
        error = float(np.mean(best.predict(unseen) != truth))
        return [
            Measured(f"{self.name}_probe_error", error, len(truth)),
            Measured(f"{self.name}_probe_l2", l2, len(labels)),
        ]

    def _chosen(self, known: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
        """The penalty with the smallest error on the part held out."""
        from scaling.evaluate.frozen.logistic import Regression

        heldout = held_out(labels, self.validation)
        regression = Regression(known[~heldout], labels[~heldout], self.data.classes)
        low, high, count = PATHS[self.path]
        best, least = high, np.inf
        for solution in regression.path(np.geomspace(high, low, count).tolist()):
            error = np.mean(solution.predict(known[heldout]) != labels[heldout])
            if error < least:
                best, least = solution.l2, error
        return best


def held_out(labels: NDArray[np.int32], share: float) -> NDArray[np.bool_]:
    """Which images choose the penalty, [n]: of each class, those that come first in one fixed
    permutation. A class with a single image keeps it.

    Raises:
      ValueError: no class has two images.
    """
    order = permute(np.arange(len(labels)), len(labels), key(VALIDATION))
    found = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(members))), len(members) - 1)
        found[members[np.argsort(order[members])[:count]]] = True
    if not found.any():
        raise ValueError(ALL_ALONE)
    return found
