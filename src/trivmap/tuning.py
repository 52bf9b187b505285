"""Constants for each backend: the amount of work per call of a program. They only change numbers by rounding.

Those of `cpu` are measured (`python -m experiments.benchmarks`): a CPU is slower if the fields of a call do not fit in
its caches. Those of accelerators are estimates: an accelerator is slower if a call is too small, and has no such
caches.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import jax


@dataclass(frozen=True)
class Tuning:
    """The constants of a backend. Sites are counted over all configurations in a call.

    Args:
        map_sites: sites that a continuous map, or a path of annealing, takes at once: each has many fields.
        jacobian_sites: sites that are linearized at once, for the Jacobian of Gauss-Newton.
        proposal_sites: sites of a batch of proposals.
        proposals: the fewest and the most proposals of a batch.
        shared: proposals in a batch up to which its program also compares numbers of integration steps, and precisions:
            larger batches cost more than to compile programs that take the few configurations which are wanted.
        chain_sites: sites of the steps of all chains in a call.
        matrix_sites: sites of the largest lattice on which a product with a matrix is faster than a Fourier transform.
    """

    map_sites: int
    jacobian_sites: int
    proposal_sites: int
    proposals: tuple[int, int]
    shared: tuple[int, int]
    chain_sites: int
    matrix_sites: int

    def map_batch(self, volume: int) -> int:
        """Configurations of `volume` sites that a continuous map takes at once."""
        return max(16, self.map_sites // volume)

    def jacobian_batch(self, volume: int) -> int:
        """Configurations of `volume` sites that are linearized at once."""
        return max(16, self.jacobian_sites // max(1, volume))

    def proposal_batch(self, volume: int) -> int:
        """Proposals of `volume` sites in a batch of one device."""
        least, most = self.proposals
        return min(max(self.proposal_sites // volume, least), most)


_PROCESSOR = Tuning(
    map_sites=2**14,
    jacobian_sites=2**16,
    proposal_sites=2**18,
    proposals=(64, 4096),
    shared=(1024, 4096),
    chain_sites=2**21,
    matrix_sites=36,
)
_ACCELERATOR = Tuning(
    map_sites=2**22, jacobian_sites=2**22, proposal_sites=2**24, proposals=(1024, 65536), shared=(16384, 65536),
    chain_sites=2**24, matrix_sites=256,
)  # fmt: skip
TUNINGS: Mapping[str, Tuning] = {"cpu": _PROCESSOR, "gpu": _ACCELERATOR, "tpu": _ACCELERATOR}
"""The constants of each backend, by JAX's names."""


def backend() -> str:
    """The backend that programs are compiled for."""
    return jax.default_backend()


def tuning() -> Tuning:
    """The constants of the backend; an unknown backend has those of an accelerator."""
    return TUNINGS.get(backend(), _ACCELERATOR)
