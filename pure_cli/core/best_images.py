"""The best images of every neuron while a pass goes on, on the device that gives the scores."""

from __future__ import annotations

import numpy as np
import torch

from pure_cli.core.bands import sample_hash
from pure_cli.core.references import NO_IMAGE, NO_POSITION, TopImages, scrambled

_LOW = 1 << 32  # what lies below the value in a rank
_SIGN = 0x7FFFFFFF


class BestImages:
    """The n best images of every neuron so far; `pure_cli.core.merging` puts several of these together.

    On a GPU nothing here waits for the device: a batch goes into the queue behind what gives its scores, and what is
    found leaves the device when `top` asks for it.

    Parameters
    ----------
    top : what was found before
    device : where the scores come from
    may_look : whether the next step may depend on what the device has computed, which skips neurons that a batch has
        nothing for; on the CPU by default, since that is no waiting there
    """

    def __init__(self, top: TopImages, device: torch.device, may_look: bool | None = None):
        self._device = device
        self._may_look = device.type == "cpu" if may_look is None else may_look
        arrays = top.value, top.image, top.position, top.mean, self._hashed(top.image)
        value, image, position, mean, hashed = (torch.from_numpy(array).to(device, copy=True) for array in arrays)
        self._parts = [self._rank(value, mean, hashed), hashed, value, image, position, mean]

    def _hashed(self, image: np.ndarray) -> np.ndarray:
        """By what images with equal ranks are ordered: int64 of the shape of `image`."""
        return _hashed(image)

    def _rank(self, value: torch.Tensor, mean: torch.Tensor, hashed: torch.Tensor) -> torch.Tensor:
        """What images compete with: int64, `NOTHING` where there is none."""
        return _rank(value, mean)

    def add(self, values: torch.Tensor, positions: torch.Tensor, images: torch.Tensor, means: torch.Tensor) -> None:
        """Let a batch of images compete.

        Parameters
        ----------
        values : (B, C) scores, on the device; NaN never wins a place
        positions : (B, C) int
        images : (2, B) int64, from `with_hashes`; none of them added before
        means : (B, C), means over space
        """
        value = values.T.float()
        none = ~(value > -torch.inf)
        value = value.masked_fill(none, -torch.inf)
        mean = means.T.float().nan_to_num(nan=0.0).masked_fill(none, 0.0)
        image, hashed = (one.expand(value.shape) for one in images)
        image, position = image.masked_fill(none, NO_IMAGE), positions.T.int().masked_fill(none, NO_POSITION)
        self._compete([_rank(value, mean), hashed, value, image, position, mean])

    def top(self) -> TopImages:
        """What was found so far; waits for the device."""
        return TopImages(*(part.to("cpu", copy=True).numpy() for part in self._parts[2:]))

    def _compete(self, new: list[torch.Tensor]) -> None:
        """Parts of what is new, (C, b) each, in the order of `_parts`."""
        channels, n = None, self._parts[0].shape[1]
        own = self._parts
        if self._may_look:
            # only the neurons for which some image reaches the last place so far, and as many images as do so, compete
            reaches = (new[0] >= own[0][:, -1:]) & (new[0] > NOTHING)
            count = reaches.sum(dim=1)
            most = int(count.max()) if count.numel() else 0
            if not most:
                return
            if not count.all():
                channels = count.nonzero()[:, 0]
                own, new = ([part[channels] for part in parts] for parts in (own, new))
            if most < new[0].shape[1]:
                chosen = new[0].topk(most, dim=1).indices
                new = [part.gather(1, chosen) for part in new]
        best = _best([torch.cat(both, dim=1) for both in zip(own, new, strict=True)], n, not self._may_look)
        if channels is None:
            self._parts = best
            return
        for whole, part in zip(self._parts, best, strict=True):
            whole[channels] = part


class SampledImages(BestImages):
    """A sample of the images that excite each neuron: those with the highest `sample_hash`, whatever their scores.

    It is uniform, and the same in any order of images.

    Parameters
    ----------
    top : what was found before, in the order of these
    seed : of the sample
    above : by neuron or for all, scores above it are of images that excite a neuron
    """

    def __init__(
        self, top: TopImages, device: torch.device, seed: int, above: float = 0.0, may_look: bool | None = None
    ):
        self._seed, self._above = seed, above
        self._waiting: list[list[torch.Tensor]] = []
        super().__init__(top, device, may_look)

    def _hashed(self, image: np.ndarray) -> np.ndarray:
        return sample_hash(image.clip(min=0), self._seed)

    def _rank(self, value: torch.Tensor, mean: torch.Tensor, hashed: torch.Tensor) -> torch.Tensor:
        return (hashed >> 1).masked_fill(value == -torch.inf, NOTHING)

    def add(self, values: torch.Tensor, positions: torch.Tensor, images: torch.Tensor, means: torch.Tensor) -> None:
        """As of the best images, with `with_sample_hashes`; as many as there are places for wait for each other."""
        value = values.T.float()
        none = ~(value > self._above) | ~value.isfinite()
        value = value.masked_fill(none, -torch.inf)
        image, hashed = (one.expand(value.shape) for one in images)
        image, rank = image.masked_fill(none, NO_IMAGE), self._rank(value, means, hashed)
        mean = means.T.float().nan_to_num(nan=0.0).masked_fill(none, 0.0)
        position = positions.T.int().masked_fill(none, NO_POSITION)
        self._waiting.append([rank, hashed, value, image, position, mean])
        if sum(parts[0].shape[1] for parts in self._waiting) >= self._parts[0].shape[1]:
            self._settle()

    def top(self) -> TopImages:
        self._settle()
        return super().top()

    def _settle(self) -> None:
        """Let those that wait compete."""
        if self._waiting:
            self._compete([torch.cat(parts, dim=1) for parts in zip(*self._waiting, strict=True)])
            self._waiting = []


def with_sample_hashes(images: np.ndarray, seed: int, device: torch.device) -> torch.Tensor:
    """Data-set indices (B,), and by what they are drawn: (2, B) int64 on the device."""
    return torch.from_numpy(np.stack([images, sample_hash(images, seed)])).to(device, non_blocking=True)


def with_hashes(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """Data-set indices (B,), and by what those with equal scores and means are ordered: (2, B) int64 on the device."""
    return torch.from_numpy(np.stack([images, _hashed(images)])).to(device, non_blocking=True)


def _best(parts: list[torch.Tensor], n: int, every: bool) -> list[torch.Tensor]:
    """The n best of parts (C, m) each: the highest ranks, of equal ones the lowest hashes.

    Parameters
    ----------
    every : order all by their hashes first, and not only where ranks are equal
    """
    rank, hashed = parts[:2]
    if every:
        order = _by_rank_and_hash(rank, hashed)
    else:
        order = _descending(rank)
        first = rank.gather(1, order[:, : n + 1])
        equal = (first[:, 1:] == first[:, :-1]) & (first[:, 1:] > NOTHING)
        tied = equal.any(dim=1).nonzero()[:, 0]
        if len(tied):
            order[tied] = _by_rank_and_hash(rank[tied], hashed[tied])
    return [part.gather(1, order[:, :n]) for part in parts]


def _by_rank_and_hash(rank: torch.Tensor, hashed: torch.Tensor) -> torch.Tensor:
    by_hash = hashed.argsort(dim=1)
    return by_hash.gather(1, _descending(rank.gather(1, by_hash)))


def _descending(rank: torch.Tensor) -> torch.Tensor:
    """The order of each row, a stable one; on a CPU by NumPy, which is faster where much of a row is in order."""
    if rank.device.type == "cpu":
        return torch.from_numpy(np.argsort(-rank.numpy(), axis=1, kind="stable"))
    return rank.argsort(dim=1, descending=True, stable=True)


def _rank(value: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """int64 that is in order where (value, mean) are, none of them NaN; 0 and -0 are the same."""
    return _ordered(value) * _LOW + (_ordered(mean) + _LOW // 2)


def _ordered(values: torch.Tensor) -> torch.Tensor:
    """int64 within 32 bits, in the order of float32 numbers."""
    bits = (values + 0.0).view(torch.int32)
    return (bits ^ ((bits >> 31) & _SIGN)).long()


def _hashed(images: np.ndarray) -> np.ndarray:
    """`scrambled` as int64 in the same order."""
    return (scrambled(images) ^ np.uint64(1 << 63)).view(np.int64)


NOTHING = int(_rank(torch.tensor(-torch.inf), torch.tensor(0.0)))  # the rank of a place without an image
