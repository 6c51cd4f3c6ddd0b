"""The map of a neuron's references: from many dimensions to the two of a figure."""

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

NEIGHBORS = 6  # of each point in the UMAP graph; PURE's setting
MIN_DIST = 0.3  # between points of the UMAP embedding; PURE's setting
ORDINARY = (1e-10, 1e10)  # largest magnitudes whose squares UMAP, which works in single precision, can hold
SLOW_TO_COMPILE = (
    ("umap.utils", "fast_knn_indices"),
    ("umap.umap_", "smooth_knn_dist"),
    ("umap.umap_", "compute_membership_strengths"),
    ("umap.layouts", "_nb_optimize_layout_euclidean_single_epoch"),
)  # functions of UMAP, most of the time that the first map of a process takes
GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))  # radian, between neighbours on a sunflower
FAN = 0.1  # radius of a fan of equal points, in parts of the map's extent


def project(features: np.ndarray, seed: int, neighbors: int = NEIGHBORS) -> np.ndarray:
    """Two coordinates for each point: UMAP, or principal axes where there are too few points for it.

    Parameters
    ----------
    features : (n, D) float; values that are not finite count as zero
    seed : of UMAP's random start and sampling
    neighbors : of each point in UMAP's graph

    Returns
    -------
    (n, 2) float64
        Without unit, always finite. The same features and seed give the same map. For hardly more points than
        neighbours, and where UMAP fails, the first two principal components, equal points fanned out like the seeds of
        a sunflower; where all points are equal, that fan alone.

    Notes
    -----
    McInnes et al. 2018 (arXiv 1802.03426), with 6 neighbours and a minimum distance of 0.3 as in Dreyer et al. 2024.
    """
    features = _ordinary(features)
    if len(features) > neighbors + 1 and (features != features[0]).any():
        points = _umap(features, seed, neighbors)
        if points is not None and np.isfinite(points).all():
            return points
    return _fanned_out(_principal_axes(features), features)


def centroid_axes(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Two coordinates for each point in which distances are not exaggerated: a plain projection.

    Parameters
    ----------
    features : (n, D) float; values that are not finite count as zero
    labels : (n,) int, the cluster of each, -1 for none

    Returns
    -------
    (n, 2) float64
        On the first two principal axes of the centroids; where these give fewer, what is left is filled with the
        principal axes of the points at right angles to them. The unit is that of the features, unless they are beyond
        what can be squared; equal points are fanned out as of `project`.
    """
    features = _ordinary(features)
    if not features.size:
        return np.zeros((len(features), 2))
    kinds = np.unique(labels[labels >= 0])
    points = features - features.mean(axis=0)
    axes = np.zeros((0, features.shape[1]))
    if len(kinds) > 1:
        centroids = np.stack([points[labels == kind].mean(axis=0) for kind in kinds])
        _, singular, rows = np.linalg.svd(centroids - centroids.mean(axis=0), full_matrices=False)
        axes = rows[: min(2, len(kinds) - 1)][singular[: min(2, len(kinds) - 1)] > 1e-9 * max(singular[0], 1e-300)]
    found = points @ axes.T
    rest = _principal_axes(points - found @ axes)
    return _fanned_out(np.concatenate([found, rest], axis=1)[:, :2], features)


def _ordinary(features: np.ndarray) -> np.ndarray:
    """The features (n, D) as finite numbers; rescaled only where their magnitude is beyond what UMAP can square."""
    features = np.nan_to_num(np.asarray(features, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    peak = np.abs(features).max(initial=0.0)
    if peak > 0 and not ORDINARY[0] < peak < ORDINARY[1]:
        return features / peak
    return features


def _umap(features: np.ndarray, seed: int, neighbors: int) -> np.ndarray | None:
    """The UMAP embedding (n, 2), or None where its spectral start finds nothing to hold on to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap import UMAP  # takes seconds to import

        _keep_compiled()
        mapper = UMAP(n_neighbors=neighbors, min_dist=MIN_DIST, random_state=seed, n_jobs=1)
        for _ in range(len(SLOW_TO_COMPILE) + 1):
            try:
                with _seeded_eigenvectors(seed):
                    return np.asarray(mapper.fit_transform(features), dtype=np.float64)
            except OSError:  # one of them cannot be kept; it is compiled now all the same
                continue
            except (ValueError, TypeError, ArithmeticError, RuntimeError, np.linalg.LinAlgError):
                # Whichever of numpy, scipy and scikit-learn meets the odd graph first says so in its own way.
                return None
        return None


def _keep_compiled() -> None:
    """Have numba keep on the disk what takes it long to compile, as UMAP has it do with other functions."""
    for module, name in SLOW_TO_COMPILE:
        function: Any = getattr(import_module(module), name, None)  # another version of UMAP may have others
        if hasattr(function, "enable_caching") and not function.signatures:
            with suppress(RuntimeError):  # there is no place for it
                function.enable_caching()


@contextmanager
def _seeded_eigenvectors(seed: int) -> Iterator[None]:
    """A context in which scipy's solver, which UMAP gives no seed, starts again with the same numbers each time.

    It starts again where many points are equal: their graph has few different eigenvalues.
    """
    from scipy.sparse import linalg

    own = linalg.eigsh
    if "rng" in inspect.signature(own).parameters:  # from scipy 1.17 on
        linalg.eigsh = partial(own, rng=seed)
    try:
        yield
    finally:
        linalg.eigsh = own


def _principal_axes(features: np.ndarray) -> np.ndarray:
    """Coordinates (n, 2) on the first two principal axes, the longest excursion on each of them positive."""
    n, dimensions = features.shape
    points = np.zeros((n, 2))
    axes = min(n, dimensions, 2)
    if axes:
        left, singular, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
        scores = left[:, :axes] * singular[:axes]
        extremes = scores[np.abs(scores).argmax(axis=0), np.arange(axes)]
        points[:, :axes] = scores * np.where(extremes < 0, -1.0, 1.0)
    return points


def _fanned_out(points: np.ndarray, features: np.ndarray) -> np.ndarray:
    """The points (n, 2), those with equal features set around their common place so that each can be seen."""
    groups: dict[bytes, list[int]] = {}
    for index, row in enumerate(features + 0.0):  # + 0.0: a negative zero equals a positive one
        groups.setdefault(row.tobytes(), []).append(index)

    if len(groups) <= 1:
        return _sunflower(len(points))
    extent = np.ptp(points, axis=0).max(initial=0.0)
    points = points.copy()
    for members in groups.values():
        if len(members) > 1:
            points[members] += FAN * extent * _sunflower(len(members))
    return points


def _sunflower(n: int) -> np.ndarray:
    """Points (n, 2) spread evenly over the unit disc (Vogel 1979); a single one in its centre."""
    index = np.arange(n)
    radius = np.sqrt(index / max(n - 1, 1))
    return radius[:, None] * np.stack([np.cos(index * GOLDEN_ANGLE), np.sin(index * GOLDEN_ANGLE)], axis=1)
