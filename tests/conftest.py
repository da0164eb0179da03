"""What every test may ask for; and the whole suite runs with rank promotion forbidden."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator

# Compiling is what the suite does most of its time. Programs that run for milliseconds need not be
# optimized, and none that takes 0.2 s is compiled twice, by whatever worker: all inherit these.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _compiled = tempfile.mkdtemp(prefix="dsrl_jax_tests_")
    atexit.register(shutil.rmtree, _compiled, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import jax
import numpy as np
import pytest

# Broadcasting between ranks hides wrong shapes: one draw of noise for a whole batch, for instance.
jax.config.update("jax_numpy_rank_promotion", "raise")

Layer = tuple[np.ndarray, np.ndarray]  # (kernel, mask)


@pytest.fixture(scope="module", autouse=True)
def forget_programs() -> Iterator[None]:
    """No file's programs outlive it.

    Each holds three mappings of memory and more, and where a process has as many as Linux allows,
    65,530, XLA does not raise when it compiles but crashes.
    """
    yield
    jax.clear_caches()


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def random_layer() -> Callable[..., Layer]:
    """The maker of a float32 kernel `[n_in, n_out]`, exactly 0 off its mask, and the mask."""

    def make(rng: np.random.Generator, n_in: int, n_out: int, density: float) -> Layer:
        mask = rng.random((n_in, n_out)) < density
        kernel = rng.normal(size=(n_in, n_out)).astype(np.float32)
        return np.where(mask, kernel, np.float32(0)), mask

    return make
