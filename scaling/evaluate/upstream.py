"""Loss and error on held-out images of the training source."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from scaling.config import Config


class Upstream(Config):
    """Mean loss (nats) and top-1 error on the first held-out images of the training source."""

    kind: Literal["upstream"] = "upstream"
    images: int | None = Field(None, gt=0)
    """How many held-out images; None: all of them (an endless source needs a number)."""

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("upstream_loss", "upstream_error")
