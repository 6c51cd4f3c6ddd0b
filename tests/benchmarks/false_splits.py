"""How often --k auto splits single clouds of other shapes than the Gaussian ones of its null.

Usage: python tests/benchmarks/false_splits.py [--runs 60]
"""

import argparse

import numpy as np

from pure_cli.core.meanings import meanings

N, D, NULLS = 100, 64, 100


def gaussian(generator: np.random.Generator) -> np.ndarray:
    return generator.normal(size=(N, D)) / np.arange(1, D + 1)


def one_long_axis(generator: np.random.Generator) -> np.ndarray:
    return generator.normal(size=(N, D)) * np.array([20.0, *np.ones(D - 1)])


def uniform_line(generator: np.random.Generator) -> np.ndarray:
    return generator.uniform(size=(N, 1))


def heavy_tails(generator: np.random.Generator) -> np.ndarray:
    """Student's t with 3 degrees of freedom, by row."""
    return generator.normal(size=(N, D)) / np.sqrt(generator.chisquare(3, size=(N, 1)) / 3)


def gains(generator: np.random.Generator) -> np.ndarray:
    """One circuit, as strong as each image makes it: what is not normalised looks so."""
    return np.abs(generator.normal(size=(1, D)) + 0.3 * generator.normal(size=(N, D))) * generator.lognormal(
        size=(N, 1)
    )


def shares(generator: np.random.Generator) -> np.ndarray:
    """Square roots of shares of relevance, which add up to one."""
    parts = generator.gamma(2 / np.sqrt(np.arange(1, D + 1)), size=(N, D))
    return np.sqrt(parts / parts.sum(axis=1, keepdims=True))


SHAPES = (gaussian, one_long_axis, uniform_line, heavy_tails, gains, shares)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60)
    runs = parser.parse_args().runs
    for shape in SHAPES:
        clouds = [shape(np.random.default_rng(seed)) for seed in range(runs)]
        found = list(meanings(clouds, [np.ones(N, bool)] * runs, 0, NULLS, ["gap"]))
        split = np.mean([one.k["gap"] > 1 for one in found])
        print(
            f"{shape.__name__}: split in {split:.0%}, p ≤ 0.05 in {np.mean([one.p <= 0.05 for one in found]):.0%}",
            flush=True,
        )
