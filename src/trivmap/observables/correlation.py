"""The correlations between the errors of observables."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def correlation(observables: Sequence[Any], chain: Sequence[Any] | None = None) -> np.ndarray:
    """C_ij = sum_e rho_ij^e sigma_i^e sigma_j^e / (sigma_i sigma_j) over the ensembles e.

    sigma_i^e is the error of observable i from ensemble e, with its autocorrelation, and sigma_i its whole error.
    rho_ij^e is the correlation of the two series of deviations in that ensemble, at the same configuration. The common
    formula (pyerrors.covariance with `correlation=True`) sums the deviations of all ensembles before it divides by
    their norms, so an ensemble counts by the size of its deviations and not by its share of the error.

    Args:
        observables: pyerrors `Obs` with errors.
        chain: for each of them the observable whose correlations apply to errors that come from no samples (`cov_Obs`);
            None if such errors are independent of each other.

    Returns:
        shape (n, n); unit diagonal, positive semidefinite.

    Raises:
        ValueError: if two observables have series of different lengths in one ensemble.
    """
    errors = np.array([each.dvalue for each in observables])
    matrix = np.zeros((len(observables), len(observables)))
    for ensemble in sorted({name for each in observables for name in each.mc_names}):
        matrix += _of_samples(observables, ensemble)
    outside = np.sqrt(np.array([sum(each.covobs[name].errsq() for name in each.cov_names) for each in observables]))
    if np.any(outside):
        alike = np.eye(len(observables)) if chain is None else correlation(chain)
        matrix += alike * outside * outside[:, None]
    matrix /= errors * errors[:, None]
    np.fill_diagonal(matrix, 1.0)
    return matrix


def _of_samples(observables: Sequence[Any], ensemble: str) -> np.ndarray:
    """The covariance rho_ij sigma_i sigma_j from one ensemble of samples."""
    shares = [each.e_dvalue.get(ensemble, 0.0) if ensemble in each.mc_names else 0.0 for each in observables]
    series: list[np.ndarray | None] = []
    for each, share in zip(observables, shares, strict=True):
        deviations = np.concatenate([each.deltas[name] for name in each.e_content[ensemble]]) if share else None
        series.append(deviations)
    lengths = {each.size for each in series if each is not None}
    if len(lengths) > 1:
        raise ValueError(f"series of {sorted(lengths)} samples in the ensemble {ensemble!r} have no common correlation")
    if not lengths:
        return np.zeros((len(series), len(series)))
    nothing = np.zeros(lengths.pop())
    rows = np.stack([nothing if each is None else each / np.linalg.norm(each) for each in series])
    return rows @ rows.T * np.outer(shares, shares)
