"""Components of a layer's activations: principal ones from moments that need no memory of the data, and non-negative
ones from a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.errors import PureError

if TYPE_CHECKING:
    import torch

POSITIONS_AT_ONCE = 16_384  # in double precision
NMF_STEPS, NMF_TOLERANCE, NMF_BATCH = 500, 1e-5, 1024  # passes at most over the sample; positions to a step


@dataclass(frozen=True)
class Components:
    """Directions that the activations themselves have, the greatest share first.

    Attributes
    ----------
    weight : (M, C) float64; a component's activation is weight · h + bias
    bias : (M,) float64
    share : (M,) float64 in [0, 1]: of the variance (PCA) or of the sum of what is put together (NMF)
    component : (M, C) float64, of norm 1: what a unit of the component adds to h
    """

    weight: np.ndarray
    bias: np.ndarray
    share: np.ndarray
    component: np.ndarray


class Moments:
    """Count, mean and covariance of vectors that are seen once, in double precision.

    Parameters
    ----------
    channels : C

    Notes
    -----
    Chan, Golub, LeVeque 1979: exact up to rounding, however the vectors are dealt into parts.
    """

    def __init__(self, channels: int):
        self.count = 0
        self.mean = np.zeros(channels)
        self.scatter = np.zeros((channels, channels))  # sum of (h - mean)(h - mean)^T

    def add(self, vectors: torch.Tensor) -> None:
        """Take in (P, C) finite vectors."""
        for part in vectors.split(POSITIONS_AT_ONCE):
            part = (part.cpu() if part.device.type == "mps" else part).double()  # mps has no double precision
            mean = part.mean(dim=0)
            part = part - mean
            self._merge(len(part), mean.cpu().numpy(), (part.T @ part).cpu().numpy())

    def _merge(self, count: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        total, apart = self.count + count, mean - self.mean
        self.scatter += scatter + np.outer(apart, apart) * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.count = total


def principal(moments: Moments, m: int) -> Components:
    """The first `m` principal components.

    Parameters
    ----------
    moments : of two vectors or more
    m : at most C

    Returns
    -------
    Components
        The entry of each that is largest by absolute value is positive, as scikit-learn has it.

    Raises
    ------
    PureError
        The vectors do not vary.
    """
    variance = np.trace(moments.scatter)
    if moments.count < 2 or not variance > 0:
        raise PureError("its activations are the same everywhere, and have no components")
    values, vectors = np.linalg.eigh(moments.scatter)
    components = vectors.T[::-1][:m]
    peak = np.abs(components).argmax(axis=1)
    components = components * np.sign(components[np.arange(len(components)), peak])[:, None]
    share = values[::-1][:m].clip(min=0) / variance
    return Components(components, -components @ moments.mean, share, components)


def nonnegative(sample: np.ndarray, m: int, seed: int) -> Components:
    """`m` non-negative components of a sample, by scikit-learn's ``MiniBatchNMF``.

    Parameters
    ----------
    sample : (P, C) float; negative values count as zero
    m : 1 or more
    seed : of the factorisation

    Returns
    -------
    Components
        A component is read by its row of the pseudo-inverse: the amount of it that, with amounts of all the others,
        comes closest to h, where amounts may be negative.

    Raises
    ------
    PureError
        Nothing in the sample is positive, or fewer than m positions are.
    """
    import warnings

    from sklearn.decomposition import MiniBatchNMF
    from sklearn.exceptions import ConvergenceWarning

    sample = sample.clip(min=0)
    sample = sample[sample.any(axis=1)]  # zeros say nothing of the components
    if len(sample) < m:
        raise PureError(f"only {len(sample)} of the positions drawn have positive activations, too few for {m} "
                        "components")  # fmt: skip
    init = "nndsvda" if m <= min(sample.shape) else "random"
    model = MiniBatchNMF(m, init=init, batch_size=NMF_BATCH, max_iter=NMF_STEPS, tol=NMF_TOLERANCE, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        amounts = model.fit_transform(sample).astype(np.float64)
    found = model.components_.astype(np.float64)
    sums = amounts.sum(axis=0) * found.sum(axis=1)
    order = np.argsort(-sums, kind="stable")
    norms = np.linalg.norm(found, axis=1)
    component = (found / np.where(norms > 0, norms, 1)[:, None])[order]
    weight = np.linalg.pinv(component).T
    return Components(weight, np.zeros(m), sums[order] / sums.sum(), component)
