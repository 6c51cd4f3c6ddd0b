"""How long an atlas of a wide layer takes, and how large it is: python tests/benchmarks/atlas.py [IMAGES] [--keep DIR].

A cheap network with 2,048 channels, seeded, over photos (a folder of class folders), or over patterns that are made
here; 100 references and four virtual neurons of each channel. Boxes are found before, as `pure embed` would.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from pure_cli import Workspace

CHANNELS, K = 2048, 4
CLASSES, EACH = 20, 100  # of made images


class Wide(nn.Module):
    """Patches of 32 pixels, a hidden layer, and as many channels as the last stage of a ResNet-50."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 8, 8), nn.ReLU())
        self.lower = nn.Sequential(nn.Conv2d(24, 128, 4, 4), nn.ReLU())
        self.top = nn.Sequential(nn.Conv2d(128, CHANNELS, 1), nn.ReLU())
        self.head = nn.Linear(CHANNELS, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.top(self.lower(self.stem(images))).mean(dim=(2, 3)))


def wide() -> nn.Module:
    """For ``--model``."""
    return Wide()


def make_images(folder: Path) -> None:
    """Patterns with the size of photos: noise at several scales, tinted by class."""
    random = np.random.default_rng(0)
    for number in range(CLASSES):
        (folder / f"class{number:02}").mkdir(parents=True)
        tint = random.random(3)
        for image in range(EACH):
            layers = [
                random.random((192 // step, 256 // step, 3)).repeat(step, 0).repeat(step, 1) for step in (4, 16, 64)
            ]
            pixels = (sum(layers) / 3 * (0.5 + tint) * 170).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"class{number:02}" / f"{image:03}.jpg", quality=90)


def prepared(folder: Path, images: Path | None) -> Workspace:
    """The workspace with all that an atlas shows but the atlas."""
    study = Workspace(folder / "w")
    if images is None:
        images = folder / "images"
        if not images.exists():
            make_images(images)
    study.collect(model=f"{__file__}:wide", weights="none", data=images, layer="top", resize=256, crop_size=224)
    study.attribute(lower_layer="lower")
    study.cluster(features="pure", k=K)
    study.choose(layer="top", features="pure", k=K)
    study.atlas(crop="activation", neurons="0-1", out=folder / "first")  # compiles UMAP
    study.atlas(crop="activation", out=folder / "boxes")
    shutil.rmtree(folder / "boxes")
    return study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="?", type=Path)
    parser.add_argument("--keep", type=Path, help="folder whose workspace is used again where it is there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        study = prepared(folder, given.images)
        for name, options in {"normal": {}, "again": {}, "small": {"size": "small"}}.items():
            out = folder / ("normal" if name == "again" else name)
            if name != "again":
                shutil.rmtree(out, ignore_errors=True)
            for kept in (study.path / "data-index").glob("map-*.npz") if name == "normal" else ():
                kept.unlink()
            begin = time.perf_counter()
            outcome = study.atlas(crop="activation", out=out, progress=False, **options)
            seconds = time.perf_counter() - begin
            print(
                f"{name:<7} {outcome.computed:,} neurons, {seconds:6.1f} s, {outcome.details['bytes'] / 1e6:5.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
