"""How every test runs: strict dtypes and ranks, 64-bit floats, shapes checked at run time, one thread per worker.

Compiled programs are kept between runs in the user's cache directory; the environment variable TRIVMAP_TEST_CACHE names
another place for them.
"""

import os
import time
from pathlib import Path

USER_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
CACHE = Path(os.environ.get("TRIVMAP_TEST_CACHE") or USER_CACHE / "trivmap" / "tests")
CACHE_LIFETIME = 7 * 24 * 3600.0  # seconds

# Read by JAX, BLAS and matplotlib when they are imported, here and in every process that a test starts.
os.environ |= {
    # One directory per worker: JAX writes an entry in place, where another process might read half of it.
    "JAX_COMPILATION_CACHE_DIR": str(CACHE / os.environ.get("PYTEST_XDIST_WORKER", "alone")),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    "NPROC": "1",  # the size of XLA's thread pool
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MPLBACKEND": "agg",
}

import jax  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
install_import_hook("trivmap", "beartype.beartype")


def pytest_configure(config):
    """Forget programs that have not been compiled again for a week."""
    if not hasattr(config, "workerinput"):
        oldest = time.time() - CACHE_LIFETIME
        for entry in CACHE.glob("*/*"):
            if entry.stat().st_mtime < oldest:
                entry.unlink(missing_ok=True)
