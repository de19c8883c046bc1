"""What a private training spends: epsilon, by the library dp-accounting.

The event is what the steps do: each image drawn with one probability, what overflows the batch left
out at random, and Gaussian noise on the sum (`data.order.sampled_rows`). Neighbours are training
sets of which one has an image more. Privacy loss distributions are composed, rounded up where they
are rounded: an upper bound. Knows no JAX.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

from fits.base.errors import UserError
from scaling.base.machine import installed_version
from scaling.training.privacy import LEAST_NOISE, Privacy, mean_images
from scaling.training.run import Run

MOST_NOISE = 1e4
DIGITS = 4  # of a noise multiplier that was looked for
LIBRARY = "dp-accounting"


class Spent(NamedTuple):
    """What a run spends.

    Fields:
      epsilon: infinite without noise.
      delta: as the run says.
      images: of the training set.
      steps: in which each image was drawn.
      probability: with which, in each.
    """

    epsilon: float
    delta: float
    images: int
    steps: int
    probability: float

    def as_json(self) -> dict[str, Any]:
        """For a manifest; no epsilon where none holds."""
        found = self._asdict()
        return found | {
            "epsilon": self.epsilon if math.isfinite(self.epsilon) else None,
            "sampling": "Poisson, truncated at the batch",
            "accountant": f"privacy loss distributions, {LIBRARY} {installed_version(LIBRARY)}",
            "neighbours": "one image more or less",
        }


def spent(run: Run) -> Spent | None:
    """What a run spends by its end; None: it is not private.

    Raises:
      UserError: more than it may; there is no end to its images; there is no accountant.
    """
    privacy = run.recipe.privacy
    if privacy is None:
        return None
    images = run.data_size or run.data.sizes()[0]
    if images is None:
        raise UserError(["privacy: there is no end to the training images; give a data_size."])
    epsilon = epsilon_of(privacy.noise_multiplier, privacy.delta, run.batch, images, run.steps)
    if privacy.epsilon is not None and epsilon > privacy.epsilon:
        raise UserError([_too_much(privacy, run, images, epsilon)])
    return Spent(epsilon, privacy.delta, images, run.steps, mean_images(run.batch) / images)


def _too_much(privacy: Privacy, run: Run, images: int, epsilon: float) -> str:
    assert privacy.epsilon is not None
    said = (
        f"privacy: {run.steps:_} steps at noise_multiplier={privacy.noise_multiplier:g} spend "
        f"epsilon = {epsilon:.4g}, and the run may spend {privacy.epsilon:g}"
    )
    try:
        need = noise_for(privacy.epsilon, privacy.delta, run.batch, images, run.steps)
    except UserError:
        return f"{said}, which no noise reaches: train for fewer steps, or allow more."
    return f"{said}; use noise_multiplier = {need:g}, or fewer steps."


@lru_cache(maxsize=1024)
def epsilon_of(noise_multiplier: float, delta: float, batch: int, images: int, steps: int) -> float:
    """Epsilon of so many steps; infinite without noise.

    Args:
      batch: the most images of a step; the mean is `mean_images(batch)`.
      images: of the training set, at least that mean.

    Raises:
      UserError: there is no accountant.
    """
    if not noise_multiplier:
        return math.inf
    accounting = _library()
    event = accounting.TruncatedSubsampledGaussianDpEvent(
        dataset_size=images,
        sampling_probability=mean_images(batch) / images,
        truncated_batch_size=batch,
        noise_multiplier=noise_multiplier,
    )
    interval = 1e-4 if noise_multiplier >= 2 else 1e-3  # of privacy loss: finer takes longer
    accountant = accounting.pld.PLDAccountant(value_discretization_interval=interval)
    accountant.compose(accounting.SelfComposedDpEvent(event, steps))
    return float(accountant.get_epsilon(delta))


def noise_for(epsilon: float, delta: float, batch: int, images: int, steps: int) -> float:
    """The least noise multiplier that spends no more than `epsilon`, rounded up to four digits.

    Args:
      batch, images, steps: as of `epsilon_of`.

    Raises:
      UserError: none does, or there is no accountant.
    """

    def reached(noise: float) -> bool:
        return epsilon_of(noise, delta, batch, images, steps) <= epsilon

    low = high = 1.0  # less takes an accountant longer
    while low > LEAST_NOISE and reached(low):
        low, high = max(LEAST_NOISE, low / 2), low
    if reached(low):
        return low
    while not reached(high):
        low, high = high, 2 * high
        if high > MOST_NOISE:
            raise UserError(
                [
                    f"epsilon = {epsilon:g} at delta = {delta:g} is not reached in {steps:_} "
                    f"steps by a noise multiplier of {MOST_NOISE:_.0f}: use fewer steps, more "
                    "images or a larger epsilon."
                ]
            )
    while high - low > high * 10.0**-DIGITS:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    unit = 10.0 ** (math.floor(math.log10(high)) + 1 - DIGITS)
    return float(f"{math.ceil(high / unit) * unit:.{DIGITS}g}")


def check_installed() -> None:
    """
    Raises:
      UserError: there is no accountant.
    """
    _library()


def _library() -> Any:
    try:
        import dp_accounting
        from dp_accounting import pld  # noqa: F401
    except ImportError:
        raise UserError(
            [f"privacy needs {LIBRARY}: pip install 'vit-scaling-laws[privacy]'."]
        ) from None
    return dp_accounting
