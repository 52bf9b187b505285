"""A history far larger than memory should be: the analysis holds one chunk of it at a time."""

import tracemalloc

import numpy as np

from trivmap.observables import binning


class Endless:
    """Entries computed on demand, as a file's are read."""

    chains, n, warmup = 2, 50_000, 1000
    names = ("magnetization", "two_point")
    attrs = {"history": "proposals", "lattice": [32, 32]}  # noqa: RUF012

    def read(self, name, chain, start, stop):
        step = np.arange(start, stop, dtype=np.float64)
        if name == "accepted":
            return step % 3 == 0
        if name == "two_point":
            return np.sin(step[:, None] * np.arange(153)).astype(np.float32)
        return np.cos(step)


def test_memory_does_not_grow_with_the_history(monkeypatch):
    history, chunk = Endless(), 2**21
    monkeypatch.setattr(binning, "_CHUNK_BYTES", chunk)
    tracemalloc.start()
    binned = binning.bin_history(history)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert binned.configurations == 2 * 49_000
    whole = history.chains * history.n * 153 * 8
    # A handful of chunks, and the two tables of bins.
    assert peak < 8 * chunk + 3 * binned.chain.nbytes < whole / 5
