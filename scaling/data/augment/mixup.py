"""MixUp: every image is blended with another of its batch, and so is its label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from scaling.base.config import Config

if TYPE_CHECKING:
    from jax import Array


class MixUp(Config):
    """Every image is blended with the one before it in the batch, and so are their labels.

    image <- a * image + (1 - a) * image before, a = max(b, 1 - b), b ~ Beta(alpha, alpha). The
    first image's partner is the last of the whole batch, whatever the hosts.

    Source: Zhang et al. 2018, "mixup", as big_vision computes it; that draws a coefficient for the
    rows of each device, and here there is one for the whole batch.
    """

    kind: Literal["mixup"] = "mixup"
    alpha: float = Field(default=0.2, gt=0, le=100)
    """Of the Beta distribution; the larger, the more even the blends. 1: uniform."""
    coefficients: Literal["batch", "image"] = "batch"
    """Whether a batch has one coefficient, or each of its images one of its own."""

    def mix(self, batch: dict[str, Any], key: Array) -> dict[str, Any]:
        """The batch with images mixed, as float32 in 0 .. 255, and two more entries: `partner`
        int32, the labels of the image mixed in, of the shape of `label`, and `share` float32
        [batch], the coefficient a of the image itself.

        Runs on the device, on the whole batch, so that no host needs another's rows.

        Args:
          batch: `image` [batch, h, w, 3] or [views, batch, h, w, 3], whose views are mixed alike;
            `label` [batch] or [batch, most].
          key: a JAX key, of this step.
        """
        import jax
        import jax.numpy as jnp

        image, label = batch["image"], batch["label"]
        rows = label.shape[:1]
        shape = () if self.coefficients == "batch" else rows
        drawn = jax.random.beta(key, self.alpha, self.alpha, shape)
        share = jnp.broadcast_to(jnp.maximum(drawn, 1 - drawn), rows)
        weight = share[:, None, None, None]
        partner = jnp.roll(image, 1, axis=image.ndim - 4)
        mixed = weight * image.astype(jnp.float32) + (1 - weight) * partner.astype(jnp.float32)
        return {**batch, "image": mixed, "partner": jnp.roll(label, 1, axis=0), "share": share}
