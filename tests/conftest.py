"""Compiled programs are shared by all tests of a run and by the workers they start.

A train step takes JAX seconds to compile and milliseconds to load; many tests train the same few
networks. The cache is keyed by the program, the flags and the version of JAX. Quick tests have
their programs compiled without XLA's optimisations, which takes three quarters of the time; slow
ones, the demo and the notebooks have them as a user has.
"""

import os
from pathlib import Path


def pytest_configure(config):
    cache = Path(config.rootpath) / ".pytest_cache" / "jax"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")  # 1 by default
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")  # no lower limit
    if config.getoption("markexpr") == "not slow":
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
