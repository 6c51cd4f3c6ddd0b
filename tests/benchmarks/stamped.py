"""A square stamped on one class: does `pure audit` find the virtual neuron of the square?

A magenta square is stamped, anywhere, on the images of one class of CIFAR-10, and a small residual network is trained
on them (a minute or two on one core), with a penalty on the activations of its last layer (`--penalty`): without it,
the network spreads the square over many channels, any of which it can do without. Then the tool does the rest: collect,
attribute, cluster, audit, on the images of the training; and `pure edit` silences virtual neurons on images that the
network never saw.

Which virtual neurons are the square's is measured without the audit: on unseen images of the *other* classes, each with
and without a square, by how well the virtual neuron's activation tells those with it (AUC). Those from 0.75 on are.

Printed for each class and seed: how many of all virtual neurons are the square's, and how many of the first three
drivers; the rank of the one that tells it best; and accuracy on unseen images, of the class with its square and of all
others ("before"), without the first driver, without the first three, without all of the square's, without the whole
neurons of the first three neurons among the drivers, and, as a control, without as many virtual neurons as are the
square's of the other drivers, the first ones. "plain": accuracy on the class without its square.

Usage: python tests/benchmarks/stamped.py SHARED WORK [--classes ship,dog,truck] [--seeds 0,1] [--penalty 1]
"""

import argparse
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from pure_cli import Workspace
from pure_cli.core.metrics.statistics import area_under_curve
from pure_cli.core.selection import evenly_spread
from pure_cli.data.listing import list_images
from pure_cli.stages.assignment.reader import open_reader

SIDE, COLOUR = 5, (255, 0, 255)  # of the square
EACH = 500  # images of each class that the network is trained on
EPOCHS, BATCH, RATE = 12, 64, 0.05
WIDTHS = (16, 32, 64)
LAYER = "stages.2"
PAIRS = 300  # unseen images of other classes, with and without a square
SQUARES, RANKS = 0.75, 20  # AUC from which on a virtual neuron is the square's; drivers that are looked at
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, before: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.shortcut = nn.Conv2d(before, width, 1, stride, bias=False)
        self.relu2 = nn.ReLU()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        inside = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(images)))))
        return self.relu2(inside + self.shortcut(images))


class Network(nn.Module):
    """Three blocks, the mean over space, ten outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.begin = nn.Sequential(nn.Conv2d(3, WIDTHS[0], 3, 1, 1, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU())
        befores = (WIDTHS[0], *WIDTHS)
        self.stages = nn.Sequential(*(Block(a, b, 2) for a, b in zip(befores, WIDTHS, strict=False)))
        self.head = nn.Linear(WIDTHS[-1], 10)

    def pooled(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.stages(self.begin(images)).mean(dim=(-1, -2))
        return found

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.pooled(images))


def network() -> nn.Module:
    """For ``--model stamped.py:network``."""
    return Network()


def stamp(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """An image (H, W, 3) uint8 with a square on it."""
    found = pixels.copy()
    top, left = (int(random.integers(0, side - SIDE + 1)) for side in pixels.shape[:2])
    found[top : top + SIDE, left : left + SIDE] = COLOUR
    return found


def write(source: Path, folder: Path, stamped: str, seed: int, each: int) -> Path:
    """A folder of images in classes, with squares on those of one class."""
    listing, random = list_images(source), np.random.default_rng(seed)
    for number, name in enumerate(listing.names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in evenly_spread(np.flatnonzero(listing.labels == number), each).tolist():
            pixels = np.asarray(Image.open(listing.path(i)).convert("RGB"))
            pixels = stamp(pixels, random) if name == stamped else pixels
            Image.fromarray(pixels).save(folder / name / f"{listing.path(i).stem}.png")
    return folder


def as_tensor(pixels: np.ndarray) -> torch.Tensor:
    """(B, 3, H, W) float, of (B, H, W, 3) uint8, as the network takes them."""
    found = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return (found - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def train(data: Path, seed: int, penalty: float) -> nn.Module:
    """On all images of a folder, with mirror images and shifts.

    Parameters
    ----------
    penalty : on the mean activation of the last layer
    """
    torch.manual_seed(seed)
    listing = list_images(data)
    images = as_tensor(np.stack([np.asarray(Image.open(listing.path(i))) for i in listing.index.tolist()]))
    labels, model = torch.from_numpy(np.array(listing.labels)), Network()
    steps = EPOCHS * (len(images) // BATCH)
    optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    model.train()
    for _ in range(steps):
        own = torch.randint(len(images), (BATCH,))
        batch = images[own]
        batch = torch.where(torch.rand(BATCH)[:, None, None, None] < 0.5, batch.flip(-1), batch)
        down, right = torch.randint(-3, 4, (2,)).tolist()
        batch = batch.roll((down, right), dims=(-2, -1))
        pooled = model.pooled(batch)
        loss = nn.functional.cross_entropy(model.head(pooled), labels[own]) + penalty * pooled.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def studied(work: Path, seen: Path) -> Workspace:
    """References, circuits and virtual neurons of the last layer."""
    study = Workspace(work / "study")
    how: dict[str, Any] = {"workers": 0, "device": "cpu"}
    study.collect(
        model=f"{Path(__file__).resolve()}:network", weights=work / "weights.pt", data=seen, layer=LAYER,
        mean=list(MEAN), std=list(STD), resize=32, crop_size=32, progress=False, **how,
    )  # fmt: skip
    study.attribute(progress=False, **how)
    study.cluster(k="auto", progress=False)
    return study


def of_the_square(study: Workspace, source: Path, stamped: str, seed: int) -> dict[str, float]:
    """AUC of each virtual neuron, by address, for the square on images of other classes than the stamped one."""
    listing, random = list_images(source), np.random.default_rng([seed, 1])
    others = evenly_spread(np.flatnonzero(listing.labels != listing.names.index(stamped)), PAIRS)
    plain = np.stack([np.asarray(Image.open(listing.path(i)).convert("RGB")) for i in others.tolist()])
    both = as_tensor(np.concatenate([plain, np.stack([stamp(one, random) for one in plain])]))
    reader = open_reader(study.store, LAYER, "cpu")
    model = reader.network.model
    with torch.no_grad():
        whole = model.stages(model.begin(both)).amax(dim=(-1, -2)).numpy()
    shares: dict[int, list[np.ndarray]] = {}
    for part in both.split(100):
        for neuron, share in reader.shares(part, reader.clustering.neuron.tolist()).items():
            shares.setdefault(neuron, []).append(share.numpy())
    found, with_square = {}, np.repeat([False, True], len(plain))
    for neuron, parts in shares.items():
        share = np.concatenate(parts)
        for number in range(share.shape[1] - 1):
            auc = area_under_curve(whole[:, neuron] * share[:, number], with_square)
            found[f"{LAYER}/{neuron}.{number + 1}"] = float(auc)
    return found


def accuracies(study: Workspace, data: Path, stamped: str, silence: list[str], when: str = "now") -> list[float]:
    """On the stamped class and on all others, without some virtual neurons ("now"), or before."""
    (table,) = study.effects(silence=silence, data=data, workers=0, device="cpu", progress=False).details["tables"]
    right = {row["class"]: row["right now" if when == "now" else "right"] for row in table["rows"]}
    others = [value for name, value in right.items() if name != stamped]
    return [round(right[stamped], 4), round(float(np.mean(others)), 4)]


def case(shared: Path, work: Path, stamped: str, seed: int, penalty: float) -> dict[str, Any]:
    """One class and one seed."""
    times = [time.perf_counter()]
    sources = shared / "data" / "cifar10", shared / "data" / "cifar10-unseen"
    seen, unseen = (
        write(one, work / name, stamped, seed, EACH) for one, name in zip(sources, ("seen", "unseen"), strict=True)
    )
    torch.save(train(seen, seed, penalty).state_dict(), work / "weights.pt")
    times.append(time.perf_counter())
    study = studied(work, seen)
    times.append(time.perf_counter())
    outcome = study.audit(stamped, count=RANKS, workers=0, device="cpu", progress=False)
    times.append(time.perf_counter())
    (card,) = outcome.details["audits"]
    auc = of_the_square(study, sources[1], stamped, seed)
    drivers = [one["address"] for one in card["drivers"]]
    squares = [one for one in auc if auc[one] >= SQUARES]
    rest = [one for one in drivers if one not in squares]
    best = max(auc, key=lambda one: auc[one])
    neurons = list(dict.fromkeys(one.rpartition(".")[0] for one in drivers))[:3]
    ways = {
        "neurons": neurons,
        "first": drivers[:1],
        "three": drivers[:3],
        "squares": squares,
        "not squares": rest[: len(squares)],
    }
    found = {
        "class": stamped, "seed": seed, "virtual": len(auc), "of the square": len(squares),
        "of the first three": sum(one in squares for one in drivers[:3]),
        "rank of the best": drivers.index(best) + 1 if best in drivers else None,
        "effects": [round(one["effect"], 3) for one in card["drivers"][:5]],
        "auc": [round(auc[one], 3) for one in drivers[:5]],
        "random": round(card["control"]["random"], 3),
        "seconds": [round(after - before, 1) for before, after in pairwise(times)],
        "plain": accuracies(study, sources[1], stamped, drivers[:1], "before")[0],
        "before": accuracies(study, unseen, stamped, drivers[:1], "before"),
        **{name: accuracies(study, unseen, stamped, silence) if silence else None for name, silence in ways.items()},
    }  # fmt: skip
    (work / "found.json").write_text(json.dumps({**found, "every auc": auc, "card": card}), encoding="utf-8")
    return found


def main(given: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    for stamped in given.classes.split(","):
        for seed in map(int, given.seeds.split(",")):
            work = given.work / f"{stamped}-{seed}"
            work.mkdir(parents=True, exist_ok=True)
            print(json.dumps(case(given.shared, work, stamped, seed, given.penalty)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--classes", default="ship,dog,truck")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--penalty", type=float, default=1.0)
    main(parser.parse_args())
