"""A sparse autoencoder of a layer's activations, trained as they stream by."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from pure_cli.core.components import Moments, Sample, principal
from pure_cli.errors import PureError

if TYPE_CHECKING:
    import torch

Sparsity = Literal["topk", "batch-topk"]
PARTS = ("W_enc", "b_enc", "W_dec", "b_dec")

BUFFER = 2**24, 2**15  # numbers, and positions, at most: 64 MiB
BATCH = 512  # positions a step
LOOKS = 2  # how often a position is drawn for a step, on average
STEPS = 1500  # at least; where there are few positions they are drawn more often
LAST_STEPS = 500  # in which the rate falls to zero
RATE = 2e-3  # of Adam
UNUSED = 100  # steps without a place among the active, after which a latent is helped
HELP = 1 / 32  # weight of what unused latents make of the rest (Gao et al. 2024, arXiv 2406.04093)
HELD_OUT = 0.1, 512  # of the images; at most
HELD_POSITIONS = 32  # of each, at most
SLOWNESS = 0.99  # of the running mean of the batch's threshold
TINY = float(np.finfo(np.float32).tiny)  # where there is nothing to divide by


@dataclass(frozen=True)
class Dictionary:
    """A sparse autoencoder: what a latent reads, and what it adds.

    Attributes
    ----------
    encoder, decoder : (M, C) float32; a latent is encoder · (h - decoder_bias) + encoder_bias where it is active, and h
        is about all latents · decoder + decoder_bias. Rows of the decoder, the atoms, have norm 1
    encoder_bias : (M,) float32
    decoder_bias : (C,) float32
    share : (M,) float64 in [0, 1], descending: of the sum of all latents
    explained : of the variance, at most 1; below 0 where the mean is better
    quality : more figures by name

    Notes
    -----
    All figures are of positions in images that were not trained on.
    """

    encoder: np.ndarray
    decoder: np.ndarray
    encoder_bias: np.ndarray
    decoder_bias: np.ndarray
    share: np.ndarray
    explained: float
    quality: Mapping[str, float]

    def tensors(self) -> dict[str, np.ndarray]:
        """By the names that SAELens has for them."""
        return dict(zip(PARTS, (self.encoder.T, self.encoder_bias, self.decoder, self.decoder_bias), strict=True))


class Training:
    """A sparse autoencoder that is trained on vectors that are seen once, through a buffer that mixes them.

    Parameters
    ----------
    channels : C
    latents : M
    active : K, latents that are active at one position (topk) or at one position on average (batch-topk)
    sparsity : which ones: the highest at each position, or the highest of all positions of a step
    held_out : numbers of the images that are not trained on
    seed : of all choices

    Notes
    -----
    Gao et al. 2024 (arXiv 2406.04093) without their scaling laws; Bussmann et al. 2024 (arXiv 2412.06410). Every choice
    follows from the seed and the number of the step, and images are taken in one by one: how they are dealt into
    batches does not matter.
    """

    negative = 0.0  # no matter here

    def __init__(
        self, channels: int, latents: int, active: int, sparsity: Sparsity, held_out: Collection[int], seed: int
    ):
        self.channels, self.latents, self.active, self.sparsity, self.seed = channels, latents, active, sparsity, seed
        self.held_out = frozenset(held_out)
        self.rows = max(2 * BATCH, min(BUFFER[0] // channels, BUFFER[1]))
        self.steps, self.filled, self.scale, self.threshold = 0, 0, 0.0, 0.0
        self.moments, self.held = Moments(channels), Sample(HELD_POSITIONS, seed)
        self._tensors: dict[str, torch.Tensor] = {}

    def add(self, activation: torch.Tensor, index: np.ndarray) -> None:
        """Take in the vectors at all positions of (B, C, S) finite activations, of the images numbered `index`."""
        import torch

        apart = np.array([number in self.held_out for number in index.tolist()], bool)
        self.held.add(activation[torch.from_numpy(apart)], index[apart])
        trained = activation[torch.from_numpy(~apart)]
        self.moments.add(trained)
        vectors = trained.transpose(1, 2).flatten(0, 1).float()
        with torch.inference_mode(False), torch.no_grad():
            self._place(vectors.device)
            while len(vectors):
                part = vectors[: self.rows - self.filled]
                self._tensors["buffer"][self.filled : self.filled + len(part)] = part
                self.filled, vectors = self.filled + len(part), vectors[len(part) :]
                if self.filled == self.rows:
                    self._train(LOOKS * (self.rows - self.rows // 2) // BATCH)
                    self._halve()

    def components(self, m: int) -> Dictionary:
        """The autoencoder, after its last steps. `m` is the number of latents that it has.

        Raises
        ------
        PureError
            The vectors do not vary, or there are none of images held out.
        """
        if not np.trace(self.moments.scatter) > 0:
            raise PureError("its activations are the same everywhere, and have no components")
        held = self.held.vectors
        if not len(held):
            raise PureError("none of the images kept apart to judge by can be read; take more images")
        self._train(max(0, STEPS - LAST_STEPS - self.steps))
        self._train(LAST_STEPS, last=True)
        return self._judged(held)

    def state(self) -> dict[str, np.ndarray]:
        """All there is so far, for `restore`."""
        arrays = {name: tensor.cpu().numpy() for name, tensor in self._tensors.items()}
        if "buffer" in arrays:
            arrays["buffer"] = arrays["buffer"][: self.filled]
        more = {f"moments.{name}": array for name, array in self.moments.state().items()}
        numbers = np.array([self.steps, self.scale, self.threshold])
        return {**arrays, **more, "numbers": numbers, "held": self.held.vectors}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        import torch

        arrays = dict(state)
        steps, self.scale, self.threshold = arrays.pop("numbers").tolist()
        self.steps = int(steps)
        self.held.restore({"vectors": arrays.pop("held")})
        self.moments.restore({name: arrays.pop(f"moments.{name}") for name in self.moments.state()})
        with torch.inference_mode(False):
            self._tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
            if "buffer" in arrays:
                self.filled = len(arrays["buffer"])
                rest = torch.zeros(self.rows - self.filled, self.channels)
                self._tensors["buffer"] = torch.cat([self._tensors["buffer"], rest])

    def _place(self, device: torch.device) -> None:
        """Have the buffer, and all else that there is, where activations are."""
        import torch

        if "buffer" not in self._tensors:
            self._tensors["buffer"] = torch.zeros(self.rows, self.channels)
        if self._tensors["buffer"].device != device:
            self._tensors = {name: tensor.to(device) for name, tensor in self._tensors.items()}

    def _halve(self) -> None:
        """Make room for other vectors: half of them, drawn at random, stay."""
        import torch

        kept = np.random.default_rng([self.seed, self.steps, 1]).permutation(self.rows)[: self.rows // 2]
        buffer = self._tensors["buffer"]
        buffer[: len(kept)] = buffer[torch.from_numpy(kept).to(buffer.device)]
        self.filled = len(kept)

    def _begin(self) -> None:
        """Atoms that point anywhere, an encoder that reads them, and the mean of what there is."""
        import torch

        buffer = self._tensors["buffer"][: self.filled]
        mean = buffer.mean(dim=0)
        self.scale = float((buffer - mean).square().sum(dim=1).mean().sqrt())
        atoms = np.random.default_rng([self.seed, 0, 2]).standard_normal((self.latents, self.channels), np.float32)
        atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
        decoder = torch.from_numpy(atoms).to(mean.device)
        zeros = torch.zeros(self.latents, device=mean.device)
        self._tensors |= {
            "W_enc": decoder.clone(),
            "b_enc": zeros,
            "W_dec": decoder,
            "b_dec": mean / max(self.scale, TINY),
        }
        for name in PARTS:
            self._tensors |= {f"{name}.{kind}": torch.zeros_like(self._tensors[name]) for kind in ("mean", "square")}
        self._tensors["unused"] = zeros.clone()

    def _train(self, steps: int, last: bool = False) -> None:
        """Some steps on vectors drawn from the buffer; in the last ones the rate falls to zero."""
        import torch

        with torch.inference_mode(False):
            if "W_enc" not in self._tensors:
                self._begin()
            for done in range(steps):
                self._step(RATE * (1 - done / steps if last else 1))

    def _step(self, rate: float) -> None:
        import torch

        buffer = self._tensors["buffer"]
        rows = np.random.default_rng([self.seed, self.steps, 0]).integers(self.filled, size=BATCH)
        vectors = buffer[torch.from_numpy(rows).to(buffer.device)] / max(self.scale, TINY)
        with torch.enable_grad():
            parts = {name: self._tensors[name].detach().requires_grad_() for name in PARTS}
            gradients = torch.autograd.grad(self._loss(vectors, parts), list(parts.values()))
        self.steps += 1
        self._adam(dict(zip(PARTS, gradients, strict=True)), rate)
        self._tensors["W_dec"] /= self._tensors["W_dec"].norm(dim=1, keepdim=True).clamp(min=TINY)

    def _loss(self, vectors: torch.Tensor, parts: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Mean squared distance of (B, C) vectors from what is put together, and help for latents without use."""
        before = (vectors - parts["b_dec"]) @ parts["W_enc"].T + parts["b_enc"]
        latents = before.relu()
        active = self._active(latents.detach())
        rest = vectors - (latents * active) @ parts["W_dec"] - parts["b_dec"]
        unused = self._tensors["unused"]
        unused += 1
        unused[(active & (latents > 0)).any(dim=0)] = 0
        loss = rest.square().sum(dim=1).mean()
        dead = (unused > UNUSED).nonzero()[:, 0]
        if len(dead):
            own = before[:, dead]
            most = own.detach().topk(min(len(dead), max(1, self.channels // 2)), dim=1).indices
            helped = (own * own.new_zeros(own.shape).scatter(1, most, 1.0)) @ parts["W_dec"][dead]
            loss = loss + HELP * (rest.detach() - helped).square().sum(dim=1).mean()
        return loss

    def _active(self, latents: torch.Tensor) -> torch.Tensor:
        """(B, M) bool, which of (B, M) latents are active in a step; the threshold of batch-topk follows them."""
        import torch

        if self.sparsity == "topk":
            return torch.zeros_like(latents).scatter(1, latents.topk(self.active, dim=1).indices, 1.0) > 0
        lowest = latents.flatten().topk(self.active * len(latents)).values[-1]
        slowness = SLOWNESS if self.steps else 0.0
        self.threshold = slowness * self.threshold + (1 - slowness) * float(lowest)
        return (latents >= lowest) & (latents > 0)

    def _adam(self, gradients: Mapping[str, torch.Tensor], rate: float) -> None:
        """One step of Adam (Kingma, Ba 2015) with its usual constants, in place."""
        for name, gradient in gradients.items():
            mean, square = self._tensors[f"{name}.mean"], self._tensors[f"{name}.square"]
            mean.lerp_(gradient, 0.1)
            square.lerp_(gradient.square(), 0.001)
            size = (square / (1 - 0.999**self.steps)).sqrt_().add_(1e-8)
            self._tensors[name] = self._tensors[name] - rate / (1 - 0.9**self.steps) * mean / size

    def _judged(self, held: np.ndarray) -> Dictionary:
        """The autoencoder in the unit of the activations, and what it is worth on (P, C) vectors held out."""
        variance = float(((held - held.mean(axis=0, dtype=np.float64)) ** 2).sum())
        if not variance > 0:
            raise PureError("its activations are the same in all images kept apart to judge by; take more images")
        encoder, encoder_bias, decoder, decoder_bias = (self._tensors[name].cpu().double().numpy() for name in PARTS)
        encoder_bias, decoder_bias = encoder_bias * self.scale, decoder_bias * self.scale
        sums, count, places, error = np.zeros(self.latents), np.zeros(self.latents, int), 0, 0.0
        for part in np.array_split(held.astype(np.float64), -(-len(held) // BATCH)):
            latents = ((part - decoder_bias) @ encoder.T + encoder_bias).clip(min=0)
            if self.sparsity == "topk":
                order = np.argsort(-latents, axis=1, kind="stable")
                np.put_along_axis(latents, order[:, self.active :], 0, axis=1)
            else:
                latents[latents < self.threshold * self.scale] = 0
            sums, count, places = sums + latents.sum(axis=0), count + (latents > 0).sum(axis=0), places + len(part)
            error += float(((part - latents @ decoder - decoder_bias) ** 2).sum())
        order = np.argsort(-sums, kind="stable")
        nearest = nearest_cosine(decoder)
        quality = {
            "explained_by_pca": self._by_pca(held, variance),
            "active": float(count.sum() / places),
            "dead": float((count == 0).mean()),
            "nearest_cosine": float(nearest.mean()),
            "highest_cosine": float(nearest.max()),
            "steps": float(self.steps),
        }
        share = sums[order] / max(sums.sum(), TINY)
        return Dictionary(
            encoder[order].astype(np.float32),
            decoder[order].astype(np.float32),
            encoder_bias[order].astype(np.float32),
            decoder_bias.astype(np.float32),
            share,
            1 - error / variance,
            quality,
        )

    def _by_pca(self, held: np.ndarray, variance: float) -> float:
        """What as many principal components as latents are active explain of the same vectors."""
        components = principal(self.moments, min(self.active, self.channels)).component
        rest = held - self.moments.mean
        rest = rest - rest @ components.T @ components
        return 1 - float((rest**2).sum()) / variance


def held_out(images: np.ndarray) -> np.ndarray:
    """The first of (N,) images in the order in which they come: those that are not trained on.

    Raises
    ------
    PureError
        There is one image.
    """
    share, most = HELD_OUT
    if len(images) < 2:
        raise PureError("A sparse autoencoder needs two images at least, one of them to judge it by.")
    return images[: min(most, math.ceil(share * len(images)))]


def nearest_cosine(atoms: np.ndarray) -> np.ndarray:
    """(M,) for (M, C) vectors of norm 1, the cosine of each with the one most like it; zero for a single one."""
    nearest = np.zeros(len(atoms))
    for begin in range(0, len(atoms) if len(atoms) > 1 else 0, BATCH):
        cosines = atoms[begin : begin + BATCH] @ atoms.T
        rows = np.arange(len(cosines))
        cosines[rows, begin + rows] = -1
        nearest[begin : begin + BATCH] = cosines.max(axis=1)
    return nearest
