"""What the devices say of a training while it goes on: memory, and the use made of their peak."""

from __future__ import annotations

import jax

from scaling.training.run import Run


def utilisation(
    run: Run, images_per_second: float | None, peak: float | None, devices: int
) -> float | None:
    """Model FLOPs utilisation (MFU): what training needs over what the devices could do.

    FLOPs are those of `Run.flops`, 6 a multiply-add of the forward pass; what is computed a second
    time for want of memory is not counted. Chowdhery et al. 2022, "PaLM", appendix B.

    Args:
      images_per_second: of all devices together; None: not measured.
      peak: FLOP/s of one device; None: not known.
      devices: their number.

    Returns:
      A fraction; None where either is not known.
    """
    if images_per_second is None or peak is None:
        return None
    return images_per_second * run.flops / run.images_seen / (peak * devices)


def peak_memory() -> int | None:
    """Most bytes that were in use at once on a device of this process; None where none are counted,
    as on a CPU."""
    return _most("peak_bytes_in_use")


def memory_limit() -> int | None:
    """Bytes of a device that this process may use; None where that is not known."""
    return _most("bytes_limit")


def _most(key: str) -> int | None:
    found = [device.memory_stats() or {} for device in jax.local_devices()]
    return max((stats[key] for stats in found if key in stats), default=None)
