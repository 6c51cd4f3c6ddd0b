"""Kinds of features of references, by name, and how relevances become features.

``pure`` is relevance divided by its L1 norm, as the paper has it; ``pure-TRANSFORM`` is relevance by another one of
`pure_cli.core.transforms`, such as ``pure-sqrt-l2``; ``lower-activation`` is the mean activation of a lower layer.
``@LAYER`` names that layer, ``@A+B`` joins two. ``activation-max`` and ``activation-mean`` are those of the layer
itself. Any other name is that of embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pure_cli.registry import TRANSFORMS

PURE = "pure"
LOWER_ACTIVATION = "lower-activation"
ACTIVATION_FEATURES = ("activation-max", "activation-mean")
AT, JOINED = "@", "+"  # before the lower layer, and between several
L1, SQRT_L2 = "l1", "sqrt-l2"  # the transform of the paper, and of circuits through a hidden layer
PURE_KINDS = {PURE if transform == L1 else f"{PURE}-{transform}": transform for transform in TRANSFORMS}
HIDDEN_KIND = f"{PURE}-{SQRT_L2}"
KINDS = (*PURE_KINDS, *ACTIVATION_FEATURES, LOWER_ACTIVATION)


@dataclass(frozen=True)
class Kind:
    """A kind of features, taken apart.

    Attributes
    ----------
    base : the name without lower layers
    lower_layers : that it names; none for the first one there is, and for kinds without
    """

    base: str
    lower_layers: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str) -> Kind:
        base, _, lower = name.partition(AT)
        return cls(base, tuple(part for part in lower.split(JOINED) if part)) if base in KINDS else cls(name)

    @property
    def where(self) -> str:
        """The part of a name that names the lower layers, each of them once."""
        return AT + JOINED.join(dict.fromkeys(self.lower_layers)) if self.lower_layers else ""

    @property
    def transform(self) -> str:
        """Of relevances; "" for features that are none."""
        return PURE_KINDS.get(self.base, "")

    @property
    def is_embedding(self) -> bool:
        return self.base not in KINDS

    @property
    def has_lower_layer(self) -> bool:
        return bool(self.transform) or self.base == LOWER_ACTIVATION


def with_transform(name: str, transform: str) -> str:
    """The same kind of features by another transform; other features than ``pure`` stay what they are.

    Parameters
    ----------
    transform : of `TRANSFORMS`
    """
    base, at, lower = name.partition(AT)
    other = next(kind for kind, own in PURE_KINDS.items() if own == transform)
    return f"{other}{at}{lower}" if base == PURE else name


def transformed(relevance: np.ndarray, norm: np.ndarray, transform: str) -> np.ndarray:
    """Features of references from their relevances.

    Parameters
    ----------
    relevance : (n, D) float, signed, L1 norm 1 or 0
    norm : (n,) float, L1 norms before they were divided by them
    transform : of `TRANSFORMS`

    Returns
    -------
    (n, D) float32
    """
    return TRANSFORMS[transform].of(relevance, norm)


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Features (n, D) of several lower layers side by side."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
