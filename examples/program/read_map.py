"""Draw from a map that `trivmap export RUN --program map.npz` wrote: needs NumPy, JAX and flatbuffers, not trivmap."""

import json
import sys

import jax
import numpy as np
from jax import export

with np.load(sys.argv[1], allow_pickle=False) as file:
    facts = json.loads(str(file["metadata"]))
    programs = {name: bytearray(file[name].tobytes()) for name in ("sample", "density")}
jax.config.update("jax_enable_x64", facts["dtype"] == "float64")
sample, density = (export.deserialize(program).call for program in programs.values())

rng, n = np.random.default_rng(1), 4096  # any generator will do
inputs = [rng.normal(size=(n, *facts["noise"]["shape"])).astype(facts["dtype"])]
if facts["words"] is not None:
    inputs.append(rng.integers(2**32, size=(n, 2), dtype=np.uint32))
field, log_q, log_w = map(np.asarray, sample(*inputs))

w = np.exp(log_w - log_w.max())
print(f"log Z = {np.log(w.mean()) + log_w.max():.4f}, ESS = {w.sum() ** 2 / (n * (w**2).sum()):.3f}")
print(f"mean of phi^2 = {w @ (field.reshape(n, -1) ** 2).mean(axis=1) / w.sum():.4f}")
again, _ = density(field)  # log q and log w of whole fields from anywhere
print(f"log q backward differs by up to {np.abs(again - log_q).max():.1e}")
