"""Other ways to split neurons by the same circuits, each against the usual one, judged by the images' labels.

python tests/benchmarks/other_recipes.py WORKSPACE LAYER LOWER [NEURONS]

WORKSPACE holds the relevances of LAYER at LOWER. The usual way is k-means of their signed roots with L2 norm; the table
has the adjusted Rand index by k = 2, 3 and 5, and what each way is ahead by, ± its standard error over neurons.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.cluster import AgglomerativeClustering, KMeans, MiniBatchKMeans, SpectralClustering
from sklearn.decomposition import NMF, PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from pure_cli.stages.evaluation.labels import classes_of
from pure_cli.stages.inputs.features import Sources
from pure_cli.workspace import Store

KS = (2, 3, 5)


@dataclass
class Circuits:
    """References of neurons, one after the other: whose each is, its image, class and relevances (R, D)."""

    neuron: np.ndarray
    image: np.ndarray
    label: np.ndarray
    relevance: np.ndarray
    lower: np.ndarray
    mean: np.ndarray


def read(workspace: str, layer: str, lower: str, most: int) -> Circuits:
    """The references that excite the first neurons."""
    sources = Sources(Store(Path(workspace)))
    kinds = [f"pure@{lower}", f"lower-activation@{lower}", "activation-mean"]
    given = [sources.features_of(layer, kind) for kind in kinds]
    neurons = given[0].neuron[:most]
    excites = np.stack([sources.excites(layer, int(c)) for c in neurons])
    image = sources.collected.layers[layer].top.image[neurons]
    points = [np.stack(list(source.rows(neurons)))[excites] for source in given]
    labels = classes_of(sources, layer, neurons)[excites]
    return Circuits(np.nonzero(excites)[0], image[excites], labels, *points)


def power(values: np.ndarray, exponent: float = 0.5) -> np.ndarray:
    """Signed powers of rows, by their L2 norm."""
    return unit(np.sign(values) * np.abs(values) ** exponent)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-10)


def features(given: Circuits) -> Iterator[tuple[str, np.ndarray]]:
    """Rows (R, F) by the name of the way that makes them."""
    usual = power(given.relevance)
    yield "usual", usual
    for exponent in (0.25, 0.35, 0.7, 1.0):
        yield f"power {exponent:g} in place of a half", power(given.relevance, exponent)
    yield "positive relevance alone", power(given.relevance.clip(0))
    yield "the hidden layer's activations", power(given.lower)
    yield "the layer's activations", power(given.mean)
    yield "joined with the hidden layer's activations", np.concatenate([usual, power(given.lower)], axis=1)
    yield "joined with the layer's activations", np.concatenate([usual, power(given.mean)], axis=1)
    centred = (
        usual - np.stack([usual[given.neuron == c].mean(axis=0) for c in range(given.neuron.max() + 1)])[given.neuron]
    )
    yield "channels by their spread within neurons", centred / (centred.std(axis=0) + 1e-4)
    yield from shared(given, usual)
    images, place = np.unique(given.image, return_inverse=True)
    total = np.zeros((len(images), usual.shape[1]))
    np.add.at(total, place, usual)
    yield "mean circuit of the image over neurons", unit(total[place])
    yield "joined with that", np.concatenate([usual, unit(total[place])], axis=1)


def shared(given: Circuits, usual: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """By meanings that all neurons of the layer share."""
    for count in (50, 150):
        if count < min(usual.shape):
            pca = PCA(count, random_state=0).fit(usual)
            yield f"{count} components of all neurons", pca.transform(usual)
            yield f"{count} components of all neurons, whitened", pca.transform(usual) / pca.singular_values_
    for count in (100, 300):
        apart = MiniBatchKMeans(count, n_init=3, random_state=0, batch_size=2048).fit(usual).transform(usual) ** 2
        near = np.exp((apart.min(axis=1, keepdims=True) - apart) / 0.1)
        yield f"nearness to {count} clusters of all neurons", np.sqrt(near / near.sum(axis=1, keepdims=True))
    if usual.shape[1] > 50:
        parts = NMF(50, init="nndsvda", max_iter=60, random_state=0).fit_transform(power(given.relevance.clip(0)))
        yield "50 non-negative parts of all neurons", unit(parts)


def kmeans(points: np.ndarray, k: int) -> np.ndarray:
    return KMeans(k, n_init=10, random_state=0).fit_predict(points)


OTHERS = {
    "spectral clustering, by cosines": lambda x, k: SpectralClustering(
        k, affinity="precomputed", random_state=0
    ).fit_predict((x @ x.T).clip(0)),
    "spectral clustering, by 10 neighbours": lambda x, k: SpectralClustering(
        k, affinity="nearest_neighbors", random_state=0
    ).fit_predict(x),
    "Ward's linkage": lambda x, k: AgglomerativeClustering(k).fit_predict(x),
    "mean linkage of cosines": lambda x, k: AgglomerativeClustering(k, metric="cosine", linkage="average").fit_predict(
        x
    ),
    "Gaussian mixture in 10 components": lambda x, k: GaussianMixture(
        k, covariance_type="diag", n_init=3, random_state=0, reg_covar=1e-4
    ).fit_predict(PCA(10).fit_transform(x)),
}


def scores(given: Circuits, points: np.ndarray, split=kmeans) -> np.ndarray:
    """(N, len(KS)) adjusted Rand indices."""
    rows = [given.neuron == c for c in np.unique(given.neuron)]
    return np.array([[adjusted_rand_score(given.label[own], split(points[own], k)) for k in KS] for own in rows])


def main(workspace: str, layer: str, lower: str, neurons: str = "64") -> None:
    given = read(workspace, layer, lower, int(neurons))
    usual = None
    for name, points in features(given):
        found = scores(given, points)
        usual = found if usual is None else usual
        say(name, found, usual)
    for name, split in OTHERS.items():
        say(name, scores(given, power(given.relevance), split), usual)


def say(name: str, found: np.ndarray, usual: np.ndarray) -> None:
    ahead = found - usual
    errors = ahead.std(axis=0, ddof=1) / np.sqrt(len(ahead))
    told = "  ".join(f"{mean:+.3f} ± {error:.3f}" for mean, error in zip(ahead.mean(axis=0), errors, strict=True))
    print(f"{name:<46}{' '.join(f'{mean:.3f}' for mean in found.mean(axis=0))}   {told}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
