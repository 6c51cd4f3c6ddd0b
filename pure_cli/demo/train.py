"""Train the demo's network from a seed: ``python -m pure_cli.demo.train [--out FILE]``; half a minute on two cores."""

import argparse
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

from pure_cli.demo.images import read_digits
from pure_cli.demo.network import MEAN, STD, WEIGHTS, digits

SEED = 0
EPOCHS = 40
BATCH = 64
PEAK_RATE = 0.1
WEIGHT_DECAY = 5e-4
SHIFT = 3 / 32  # of the image's side, at most
TURN = math.radians(10)  # at most
ZOOM = 0.1  # larger or smaller by at most this part
NOISE = 0.05  # standard deviation, of pixels in 0..1


def normalised(pixels: Tensor) -> Tensor:
    """Grey pixels (N, 32, 32) in 0..1 to the network's input (N, 3, 32, 32)."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (pixels.unsqueeze(1) - mean) / std


def load_split(split: str) -> tuple[Tensor, Tensor]:
    """Pixels (N, 32, 32) float in 0..1 and labels (N,) int64 of one split."""
    data = read_digits(split)
    return torch.from_numpy(data.pixels).float() / 255, torch.from_numpy(data.labels)


def augmented(pixels: Tensor, random: torch.Generator) -> Tensor:
    """Each image (of N, 32, 32) a little shifted, turned, resized and noisy; pixels stay in 0..1."""
    count = len(pixels)

    def uniform(most: float) -> Tensor:
        return (2 * torch.rand(count, generator=random) - 1) * most

    turn, zoom = uniform(TURN), 1 + uniform(ZOOM)
    cos, sin = zoom * turn.cos(), zoom * turn.sin()
    # A shift by the whole side is 2 in the coordinates of affine_grid.
    rows = [cos, -sin, uniform(2 * SHIFT), sin, cos, uniform(2 * SHIFT)]
    grid = affine_grid(torch.stack(rows, dim=1).view(count, 2, 3), [count, 1, *pixels.shape[1:]], align_corners=False)
    moved = grid_sample(pixels.unsqueeze(1), grid, align_corners=False).squeeze(1)
    return (moved + NOISE * torch.randn(moved.shape, generator=random)).clamp(0, 1)


def train(pixels: Tensor, labels: Tensor, *, seed: int = SEED, epochs: int = EPOCHS) -> nn.Module:
    """Train a fresh network.

    Parameters
    ----------
    pixels : (N, 32, 32) float in 0..1
    labels : (N,) int64
    seed : of the initial weights, the order and the augmentation
    epochs : passes over the images

    Returns
    -------
    nn.Module
        In eval mode. The same for the same seed, torch version and machine.
    """
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = digits()
    steps = epochs * (len(pixels) // BATCH)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=PEAK_RATE, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=PEAK_RATE, total_steps=steps)

    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(pixels), generator=random)
        for chosen in order.split(BATCH):
            if len(chosen) < BATCH:  # the rest gets its turn in another epoch
                continue
            logits = model(normalised(augmented(pixels[chosen], random)))
            optimizer.zero_grad()
            cross_entropy(logits, labels[chosen]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, pixels: Tensor, labels: Tensor) -> float:
    """Part of the images (N, 32, 32; float in 0..1) that the network, in eval mode, gets right."""
    return (model(normalised(pixels)).argmax(dim=1) == labels).double().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pure_cli.demo.train", description="Train the demo's network.")
    parser.add_argument(
        "--out", type=Path, default=WEIGHTS, help="weights to write, safetensors (default: %(default)s)"
    )
    arguments = parser.parse_args()

    model = train(*load_split("train"))
    measured = accuracy(model, *load_split("held-out"))
    metadata = {
        "held_out_accuracy": str(measured),
        "seed": str(SEED),
        "epochs": str(EPOCHS),
        "torch_version": str(torch.__version__),
    }
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, arguments.out, metadata)
    print(f"Held-out accuracy {measured:.1%}; weights in {arguments.out}")


if __name__ == "__main__":
    main()
