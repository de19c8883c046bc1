"""What is on this machine: installed versions, and where things that can be made again are kept."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ONE_THREAD_XLA = "--xla_cpu_multi_thread_eigen=false"  # in XLA_FLAGS: a worker has one core


def installed_version(package: str) -> str | None:
    """None where the package is not there, as grain and libtpu need not be."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cache_folder() -> Path:
    """~/.cache/vit-scaling-laws, or below $XDG_CACHE_HOME where that is set; it may not exist."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vit-scaling-laws"


def processor() -> str:
    """The processor's model, whose instructions decide the last digits on a CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor())
