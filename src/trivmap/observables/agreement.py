"""The agreement of the chains of a history with each other."""

from collections.abc import Collection

import numpy as np

from trivmap.diagnostics.convergence import LIMIT, disagreement_reason, r_hat
from trivmap.errors import InputError
from trivmap.observables.history import History

_MOST_VALUES = 2**20
_ORDER_PARAMETERS = ("magnetization", "abs_magnetization")


def order_parameter(names: Collection[str]) -> str:
    """The measurement by which chains are compared: the magnetization, or its length if it is a vector.

    Raises `InputError` if there is neither.
    """
    for name in _ORDER_PARAMETERS:
        if name in names:
            return name
    raise InputError(f"name: none of {' and '.join(_ORDER_PARAMETERS)} was measured; name a measurement of the history")


def r_hat_of(history: History, name: str | None = None) -> float:
    """`r_hat` of one measurement after the warm-up, on every k-th step if there are more than a million.

    Args:
        history: the chains.
        name: the measurement (None: the order parameter).
    """
    name = name or order_parameter(history.names)
    stride = -(-history.chains * (history.n - history.warmup) // _MOST_VALUES)
    chains = [
        history.read(name, chain, history.warmup, history.n)[:: max(1, stride)] for chain in range(history.chains)
    ]
    return r_hat(np.stack(chains))


def disagreement(history: History, name: str | None = None, limit: float = LIMIT) -> str | None:
    """A reason to distrust the chains if their R-hat of one measurement exceeds `limit`; otherwise None.

    For chains that start in both sectors of a broken symmetry (`mixed`), the R-hat of the magnetization shows if they
    do not tunnel. The `limit` is exceeded if half a chain is worth fewer than about five independent samples.
    """
    name = name or order_parameter(history.names)
    return disagreement_reason(r_hat_of(history, name), name, limit)
