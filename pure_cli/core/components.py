"""Components of a layer's activations: principal ones and random ones from moments that need no memory of the data,
non-negative ones and centroids from a sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.errors import PureError

if TYPE_CHECKING:
    import torch

POSITIONS_AT_ONCE = 16_384  # in double precision
NMF_STEPS = 300  # passes at most over the sample; it is enough for any tolerance that matters
RIDGE = 0.1  # of components of norm 1; steadies the reading where components are many and alike


@dataclass(frozen=True)
class Components:
    """Directions that the activations themselves have, the greatest share first (random ones as they were drawn).

    Attributes
    ----------
    weight : (M, C) float64; a component's activation is weight · h + bias
    bias : (M,) float64
    share : (M,) float64 in [0, 1]: of the variance (PCA, random), of the sum of what all of them put together (NMF), or
        of the sample (k-means)
    component : (M, C) float64, of norm 1: what a unit of the component adds to h
    explained : in [0, 1], by all of them: of the variance (PCA, random; k-means: in the sample) or of the sum of
        squares in the sample (NMF)
    """

    weight: np.ndarray
    bias: np.ndarray
    share: np.ndarray
    component: np.ndarray
    explained: float

    @property
    def quality(self) -> dict[str, float]:
        """More figures by name: none."""
        return {}

    def tensors(self) -> dict[str, np.ndarray]:
        """By the names that the file has for them."""
        return {"weight": self.weight, "bias": self.bias, "component": self.component}


class Moments:
    """Count, mean and covariance of vectors that are seen once, in double precision.

    Parameters
    ----------
    channels : C

    Notes
    -----
    Chan, Golub, LeVeque 1979: exact up to rounding, however the vectors are dealt into parts.
    """

    negative = 0.0  # no matter here

    def __init__(self, channels: int):
        self.count = 0
        self.mean = np.zeros(channels)
        self.scatter = np.zeros((channels, channels))  # sum of (h - mean)(h - mean)^T

    def add(self, activation: torch.Tensor, index: np.ndarray | None = None) -> None:
        """Take in the vectors at all positions of (B, C, S) finite activations."""
        if not activation.numel():  # no image of a batch is fit
            return
        for part in activation.transpose(1, 2).flatten(0, 1).split(POSITIONS_AT_ONCE):
            part = (part.cpu() if part.device.type == "mps" else part).double()  # mps has no double precision
            mean = part.mean(dim=0)
            part = part - mean
            self._merge(len(part), mean.cpu().numpy(), (part.T @ part).cpu().numpy())

    def state(self) -> dict[str, np.ndarray]:
        """All there is so far, for `restore`."""
        return {"count": np.array(self.count), "mean": self.mean, "scatter": self.scatter}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.count, self.mean, self.scatter = int(state["count"]), state["mean"], state["scatter"]

    def components(self, m: int) -> Components:
        return principal(self, m)

    def _merge(self, count: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        total, apart = self.count + count, mean - self.mean
        self.scatter += scatter + np.outer(apart, apart) * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.count = total


class RandomMoments(Moments):
    """Moments that random directions are put into.

    Parameters
    ----------
    channels : C
    seed : of the directions
    """

    def __init__(self, channels: int, seed: int):
        super().__init__(channels)
        self.seed = seed

    def components(self, m: int) -> Components:
        return random_directions(self, m, self.seed)


class Sample:
    """Vectors at a few positions of each image; which, the image's number and the seed say.

    Parameters
    ----------
    positions : of each image, at most
    seed : of all choices
    """

    def __init__(self, positions: int, seed: int):
        self.positions, self.seed = positions, seed
        self._drawn: list[np.ndarray] = []

    def add(self, activation: torch.Tensor, index: np.ndarray) -> None:
        """Take in some of (B, C, S) finite activations, of the images numbered `index`."""
        there = activation.shape[2]
        for image, number in zip(activation, index.tolist(), strict=True):
            chosen = np.sort(np.random.default_rng([self.seed, number]).permutation(there)[: self.positions])
            self._drawn.append(image[:, chosen].float().cpu().numpy().T)

    @property
    def vectors(self) -> np.ndarray:
        """(P, C) float32"""
        return np.concatenate(self._drawn) if self._drawn else np.zeros((0, 1), np.float32)

    @property
    def negative(self) -> float:
        """How many of all numbers are negative, in [0, 1]."""
        return float((self.vectors < 0).mean()) if self._drawn else 0.0

    def state(self) -> dict[str, np.ndarray]:
        """All there is so far, for `restore`."""
        return {"vectors": self.vectors}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._drawn = [state["vectors"]] if len(state["vectors"]) else []

    def components(self, m: int) -> Components:
        return nonnegative(self.vectors, m, self.seed)


class CentroidSample(Sample):
    """A sample that centroids are found in."""

    @property
    def negative(self) -> float:
        """No matter here."""
        return 0.0

    def components(self, m: int) -> Components:
        return centroids(self.vectors, m, self.seed)


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
    variance = _variance(moments)
    values, vectors = np.linalg.eigh(moments.scatter)
    components = vectors.T[::-1][:m]
    peak = np.abs(components).argmax(axis=1)
    components = components * np.sign(components[np.arange(len(components)), peak])[:, None]
    share = values[::-1][:m].clip(min=0) / variance
    return Components(components, -components @ moments.mean, share, components, float(share.sum()))


def nonnegative(sample: np.ndarray, m: int, seed: int) -> Components:
    """`m` non-negative components of a sample, by scikit-learn's ``NMF``.

    Parameters
    ----------
    sample : (P, C) float; negative values count as zero
    m : at most C
    seed : of the factorisation

    Returns
    -------
    Components
        `weight` reads how much of each component, together with the others, comes closest to h (least squares, with a
        ridge). Amounts are not held above zero, as NMF holds them.

    Raises
    ------
    PureError
        Fewer than m vectors of the sample have anything positive.
    """
    import warnings

    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    sample = sample.clip(min=0)
    sample = sample[sample.any(axis=1)]  # zeros say nothing of the components
    if len(sample) < m:
        raise PureError(f"{len(sample)} of the positions drawn have positive activations, too few for -m {m}")
    model = NMF(m, init="nndsvda", max_iter=NMF_STEPS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        amounts = model.fit_transform(sample).astype(np.float64)
    sums = amounts.sum(axis=0) * model.components_.sum(axis=1, dtype=np.float64)
    order = np.argsort(-sums, kind="stable")
    found = model.components_.astype(np.float64)[order]
    component = found / np.linalg.norm(found, axis=1, keepdims=True).clip(min=np.finfo(float).tiny)
    weight = np.linalg.solve(component @ component.T + RIDGE * np.eye(m), component)
    explained = 1 - (model.reconstruction_err_ / np.linalg.norm(sample)) ** 2
    return Components(weight, np.zeros(m), sums[order] / sums.sum(), component, float(explained))


def centroids(sample: np.ndarray, m: int, seed: int) -> Components:
    """Directions from the mean of a sample to the `m` centroids of scikit-learn's ``MiniBatchKMeans``.

    Parameters
    ----------
    sample : (P, C) float
    m : 2 or more
    seed : of the clustering

    Returns
    -------
    Components
        Of norm 1; the activation is the coordinate from the mean. The largest cluster is first.

    Raises
    ------
    PureError
        Fewer than m vectors of the sample differ, or m is 1.
    """
    from sklearn.cluster import MiniBatchKMeans

    if m < 2:
        raise PureError("a single centroid is the mean, and no direction; ask for two or more (-m 2)")
    if (there := len(np.unique(sample, axis=0))) < m:
        raise PureError(f"{there} of the positions drawn differ, too few for -m {m}")
    sample = sample.astype(np.float64)
    mean = sample.mean(axis=0)
    model = MiniBatchKMeans(m, batch_size=max(1024, 4 * m), n_init=3, random_state=seed)
    label = model.fit_predict(sample)
    share = np.bincount(label, minlength=m) / len(sample)
    order = np.argsort(-share, kind="stable")
    apart = model.cluster_centers_[order] - mean
    component = apart / np.linalg.norm(apart, axis=1, keepdims=True).clip(min=np.finfo(float).tiny)
    rest = ((sample - model.cluster_centers_[label]) ** 2).sum() / ((sample - mean) ** 2).sum()
    return Components(component, -component @ mean, share[order], component, float(1 - rest))


def random_directions(moments: Moments, m: int, seed: int) -> Components:
    """`m` directions drawn evenly from all there are: a control for the others.

    Parameters
    ----------
    moments : of two vectors or more
    m : any number; those drawn first are the same whatever it is
    seed : of the directions

    Returns
    -------
    Components
        Of norm 1; the activation is the coordinate from the mean. `explained` is that of the space they span.

    Raises
    ------
    PureError
        The vectors do not vary.
    """
    variance = _variance(moments)
    component = np.random.default_rng(seed).standard_normal((m, len(moments.mean)))
    component /= np.linalg.norm(component, axis=1, keepdims=True)
    share = np.einsum("mc,cd,md->m", component, moments.scatter, component) / variance
    space = np.linalg.qr(component.T)[0]
    explained = float(np.trace(space.T @ moments.scatter @ space) / variance)
    return Components(component, -component @ moments.mean, share, component, explained)


def _variance(moments: Moments) -> float:
    """Of all channels together, times the count."""
    variance = float(np.trace(moments.scatter))
    if moments.count < 2 or not variance > 0:
        raise PureError("its activations are the same everywhere, and have no components")
    return variance
