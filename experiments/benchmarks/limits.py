"""What this machine can do at most, per core: arithmetic, memory, caches, tanh. Rates are per processor second."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.clock import in_turn, medians

_WORKSET = 2**15
"""Numbers in an array of the cached cases: three of them are 384 kB, what a core's own caches hold."""
_LARGE = 2**23
"""Numbers in an array that no cache holds."""
_MATRIX = 768
_FEW, _SWEEPS = 5, 50


def limits(rounds: int) -> dict[str, float]:
    """GFLOP/s of a matrix product, GB/s of a triad in memory and in cache, 10^9 tanh per second."""
    rng = np.random.default_rng(0)
    matrix = jnp.asarray(rng.normal(size=(_MATRIX, _MATRIX)).astype(np.float32))
    large = [jnp.asarray(rng.normal(size=_LARGE).astype(np.float32)) for _ in range(2)]
    small = [jnp.asarray(rng.normal(size=_WORKSET).astype(np.float32)) for _ in range(2)]

    product = jax.jit(lambda a: jnp.matmul(a, a, precision=jax.lax.Precision.HIGHEST))

    def triad(sweeps):
        # Each sweep reads two arrays and writes one, which is carried: nothing is allocated, nothing left out.
        return jax.jit(lambda a, c: jax.lax.fori_loop(0, sweeps, lambda _, a: a + np.float32(1e-3) * c, a))

    tanh = jax.jit(lambda a: jax.lax.fori_loop(0, _SWEEPS, lambda _, a: jnp.tanh(a), a))
    in_memory, in_cache = triad(_FEW), triad(_SWEEPS)

    turns = in_turn(
        {
            "matmul": lambda: product(matrix),
            "triad": lambda: in_memory(*large),
            "cached": lambda: in_cache(*small),
            "tanh": lambda: tanh(small[0]),
        },
        rounds=rounds,
    )
    seconds = {name: medians(values).processor for name, values in turns.items()}
    return {
        "matmul_gflops": 2 * _MATRIX**3 / seconds["matmul"] / 1e9,
        "memory_gbs": 12 * _LARGE * _FEW / seconds["triad"] / 1e9,
        "cache_gbs": 12 * _WORKSET * _SWEEPS / seconds["cached"] / 1e9,
        "gtanh": _WORKSET * _SWEEPS / seconds["tanh"] / 1e9,
    }
