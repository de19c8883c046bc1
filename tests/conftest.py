"""Compiled programs are shared by all tests of a run and by the workers they start.

A train step takes JAX seconds to compile and milliseconds to load; many tests train the same few
networks. The cache is keyed by the program, the flags and the version of JAX.
"""

import os
from pathlib import Path


def pytest_configure(config):
    cache = Path(config.rootpath) / ".pytest_cache" / "jax"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")  # 1 by default
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")  # no lower limit
