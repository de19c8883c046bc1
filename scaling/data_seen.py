"""What a run's network is shown, step by step: images after all augmentation, mixing included."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.data.augment import mixed, of_batches
from scaling.data.loader import batches
from scaling.data.pixels.crops import Cropper
from scaling.data.source import Labelled
from scaling.training.run import Run


class Seen:
    """The images of a run's first steps, as `Images`: in the order in which they are trained on.

    Several views of an image follow each other.
    """

    shuffled = True  # any of the first speak for all

    def __init__(self, run: Run, most: int):
        """`most`: images that are asked for, at most."""
        self._run, self._images = run, run.data.train()
        self.resolution, self.classes = self._images.resolution, self._images.classes
        self.views = run.views
        steps = min(run.steps, -(-most // (run.batch * self.views)))
        self.size = steps * run.batch * self.views

    def batch(self, indices: NDArray[np.int64], crop: Cropper | None = None) -> Labelled:
        """Of consecutive numbers; cropped by the run's own augmentation alone."""
        assert crop is None
        run, numbers = self._run, np.asarray(indices)
        each = run.batch * self.views
        first, last = int(numbers[0]) // each, int(numbers[-1]) // each + 1
        made = batches(
            self._images,
            seed=run.seed,
            batch=run.batch,
            data_size=run.data_size,
            first_step=first,
            last_step=last,
            augment=run.augment,
            views=self.views,
            resample=run.resample,
            plain_views=run.plain_views,
            labelled=run.objective.labelled(
                self._images.size if run.data_size is None else run.data_size
            ),
            drawn=run.images_drawn,
        )
        shown = [self._shown(batch, step) for step, batch in enumerate(made, start=first)]
        images = np.concatenate([pixels for pixels, _ in shown])
        labels = np.concatenate([labels for _, labels in shown])
        return images[numbers - first * each], labels[numbers - first * each]

    def labels_of(self, indices: NDArray[np.int64]) -> NDArray[np.int32]:
        """As those of `batch`, which makes the images too."""
        return self.batch(indices)[1]

    def _shown(self, batch: dict[str, Any], step: int) -> Labelled:
        if of_batches(self._run.augment):
            import jax

            from scaling.training.step import MIXING, seed_word, step_key

            key = jax.random.fold_in(step_key(seed_word(self._run), step), MIXING)
            batch = mixed(self._run.augment, batch, key)
        images = np.clip(np.rint(np.asarray(batch["image"])), 0, 255).astype(np.uint8)
        labels = np.asarray(batch["label"], np.int32)
        if self.views > 1:  # [views, batch, ...]: an image's views beside each other
            images = np.swapaxes(images, 0, 1).reshape(-1, *images.shape[2:])
            labels = np.repeat(labels, self.views, axis=0)
        return images, labels
