"""Directions among named tensors: a plain weight, linear probes, a sparse autoencoder, or a vector for each concept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pure_cli.errors import LISTED, PureError

Part = Literal["decoder", "encoder"]
Tensors = Mapping[str, np.ndarray]

WEIGHT, BIAS = "weight", "bias"
PROBES, INTERCEPTS = ("coef_", "coef"), ("intercept_", "intercept")
NAMES = ("names", "classes_", "classes")

# How the packages call the parts of a sparse autoencoder, and whether a row is a latent (M, C) or a channel (C, M):
# SAELens, TransformerLens, Gemma Scope, EleutherAI's sae (W_dec, W_enc, b_enc, b_dec), overcomplete
# (dictionary._weights, encoder.final_block.0), dictionary_learning and OpenAI's (nn.Linear: decoder.weight (C, M),
# encoder.weight (M, C)).
ROWS, COLUMNS = "rows", "columns"
DECODERS = {"dictionary._weights": ROWS, "W_dec": ROWS, "decoder.weight": COLUMNS, "dec.weight": COLUMNS}
ENCODERS = {"encoder.final_block.0.weight": ROWS, "encoder.weight": ROWS, "enc.weight": ROWS, "W_enc": COLUMNS,
            "encoder.tied_to._weights": ROWS}  # fmt: skip
ENCODER_BIASES = ("encoder.final_block.0.bias", "b_enc", "encoder.bias", "enc.bias", "latent_bias")
SUBTRACTED = ("b_dec", "pre_bias", "bias")  # from the activation, before it is encoded; (C,)
THRESHOLDS = ("threshold", "log_threshold")  # a JumpReLU autoencoder's, which subtracts nothing (Gemma Scope)
SCALED, MULTIPLIER = "._weights", "multiplier"  # overcomplete's: to be multiplied with the exponential of the other
ARCHETYPES = ("dictionary.C", "dictionary.W", "dictionary.Relax")  # of overcomplete: W C + Relax
NOT_LINEAR = ("encoder.mlp_blocks.", "encoder.final_block.1.", "encoder.resnet_blocks.", "encoder.attention_blocks.")


@dataclass(frozen=True)
class Found:
    """Directions as a file has them.

    Attributes
    ----------
    weight : (M, C), not checked yet
    bias : (M,), or None for zeros
    names : M texts, or none at all
    """

    weight: np.ndarray
    bias: np.ndarray | None = None
    names: Sequence[str] = ()


def directions_among(tensors: Tensors, part: Part | None = None, names: Sequence[str] = ()) -> Found:
    """The directions among the tensors of a file.

    Parameters
    ----------
    tensors : by name
    part : of a sparse autoencoder; its decoder where nothing is said
    names : of the directions, where the file says them

    Raises
    ------
    PureError
        There are none, or several that could be meant. The sentence goes on after the name of the file.
    """
    probes = next((key for key in PROBES if key in tensors), None)
    if part is None and WEIGHT in tensors:
        return Found(tensors[WEIGHT], tensors.get(BIAS), names)
    if part is None and probes is not None:
        return _probes(tensors[probes], next((tensors[key] for key in INTERCEPTS if key in tensors), None), names)
    own = _autoencoder(tensors)
    found = _encoder(own) if part == "encoder" else _decoder(own)
    if found is not None:
        return Found(found.weight, found.bias, names)
    if part is not None:
        raise PureError(f"has no {part} of a sparse autoencoder; it has {_listed(tensors)}.")
    return _vectors(tensors, names)


def _probes(weight: np.ndarray, bias: np.ndarray | None, names: Sequence[str]) -> Found:
    """As of scikit-learn; two classes have one probe, which points to the second."""
    weight = np.atleast_2d(weight)
    if len(weight) == 1 and len(names) == 2:
        names = names[1:]
    return Found(weight, None if bias is None else np.ravel(bias), names)


def _autoencoder(tensors: Tensors) -> dict[str, np.ndarray]:
    """The tensors of a sparse autoencoder, without what stands before all of their names; empty where there is none."""
    wanted = [*DECODERS, *ENCODERS, ARCHETYPES[0]]
    before = {
        key[: len(key) - len(name)]: key for key in tensors for name in wanted
        if key == name or key.endswith(f".{name}")
    }  # fmt: skip
    if len(before) > 1:
        raise PureError(
            f"has several sparse autoencoders ({_listed(before.values())}). Save the one that is meant by itself."
        )
    return {
        key.removeprefix(first): value for first in before for key, value in tensors.items() if key.startswith(first)
    }


def _decoder(tensors: Tensors) -> Found | None:
    """The directions that a sparse autoencoder adds up."""
    scale = _scale(tensors, "dictionary.")
    if all(key in tensors for key in ARCHETYPES):
        points, mixture, relaxed = (tensors[key] for key in ARCHETYPES)
        return Found((mixture @ points + relaxed) * scale)
    key = _one(tensors, DECODERS)
    if key is None:
        return None
    weight = _upright(tensors, key, DECODERS[key])
    return Found(weight * scale if key.endswith(SCALED) else weight)


def _encoder(tensors: Tensors) -> Found | None:
    """What a latent of a sparse autoencoder is before its non-linearity: weight · (h - subtracted) + bias."""
    key = _one(tensors, ENCODERS)
    if key is None:
        return None
    if odd := next((key for key in tensors if key.startswith(NOT_LINEAR)), None):
        raise PureError(f"has an encoder that is not linear (it has {odd}). Use its decoder: leave out "
                        "--directions-part.")  # fmt: skip
    weight = _upright(tensors, key, ENCODERS[key])
    weight = weight * _scale(tensors, "encoder.tied_to.") if key.endswith(SCALED) else weight
    bias = np.zeros(len(weight))
    if own := _one(tensors, ENCODER_BIASES):
        bias = bias + _vector(tensors, own, len(weight))
    subtracted = _one(tensors, SUBTRACTED)
    if subtracted and not _one(tensors, THRESHOLDS):
        bias = bias - weight @ _vector(tensors, subtracted, weight.shape[1])
    return Found(weight, bias)


def _vectors(tensors: Tensors, names: Sequence[str]) -> Found:
    """The only tensor, or one vector for each concept, named by it."""
    own = {key: value for key, value in tensors.items() if key != BIAS}
    if len(own) == 1 and next(iter(own.values())).ndim != 1:
        return Found(next(iter(own.values())), tensors.get(BIAS), names)
    flat = {key: value.reshape(-1) for key, value in tensors.items() if value.size == max(value.shape, default=0) > 1}
    if tensors and len(flat) == len(tensors) and len({len(value) for value in flat.values()}) == 1:
        return Found(np.stack(list(flat.values())), None, list(flat))
    raise PureError(
        f"needs a tensor called weight; it has {_listed(tensors)}. A sparse autoencoder's decoder is found as "
        f"{', '.join(DECODERS)}, probes as coef, and concepts as one vector each, all of one length."
    )


def _one(tensors: Tensors, keys: Iterable[str]) -> str | None:
    return next((key for key in keys if key in tensors), None)


def _upright(tensors: Tensors, key: str, lies: str) -> np.ndarray:
    """A matrix with a row for each latent.

    Which way it lies is the convention of its name, unless the biases beside it fit the other way alone.
    """
    weight = tensors[key]
    if weight.ndim > 2 and weight.size == np.prod(weight.shape[:2]):  # a convolution of 1 × 1
        weight = weight.reshape(weight.shape[:2])
    if weight.ndim != 2:
        raise PureError(f"has no matrix as {key}, but {' × '.join(map(str, weight.shape))} numbers.")
    weight = weight if lies == ROWS else weight.T
    beside = [_one(tensors, ENCODER_BIASES), _one(tensors, SUBTRACTED)]
    sizes = [tensors[name].size if name else None for name in beside]

    def fits(shape: tuple[int, ...]) -> bool:
        return all(size is None or size == length for size, length in zip(sizes, shape, strict=True))

    return weight.T if not fits(weight.shape) and fits(weight.T.shape) else weight


def _vector(tensors: Tensors, key: str, length: int) -> np.ndarray:
    vector = tensors[key].reshape(-1)
    if len(vector) != length:
        raise PureError(f"has {len(vector)} numbers as {key}, and its encoder wants {length}.")
    return vector


def _scale(tensors: Tensors, prefix: str) -> float:
    logarithm = tensors.get(prefix + MULTIPLIER)
    return 1.0 if logarithm is None else float(np.exp(logarithm.reshape(-1)[0]))


def _listed(keys: Iterable[str]) -> str:
    keys = list(keys)
    shown = ", ".join(keys[:LISTED])
    return f"{shown}, … ({len(keys)} in all)" if len(keys) > LISTED else shown or "none"
