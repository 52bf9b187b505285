"""An observer that remembers, and equality to the last bit."""

import jax
import jax.numpy as jnp
import numpy as np


class Recorder:
    """Keeps what a training tells; `interrupt_at` asks it to stop after the chunk that reaches this step."""

    def __init__(self, interrupt_at=None):
        self.records, self.evaluations, self.saved, self.interrupt_at = [], [], [], interrupt_at

    def logged(self, record):
        self.records.append(record)

    def evaluated(self, step, evaluation, seconds):
        assert seconds > 0
        self.evaluations.append((step, evaluation))

    def save(self, state):
        self.saved.append(state)

    def interrupted(self):
        return self.interrupt_at is not None and self.records[-1]["step"] >= self.interrupt_at


def bits(tree) -> list[bytes]:
    return [
        np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf).tobytes()
        for leaf in jax.tree.leaves(tree)
    ]
