"""Save seeded weights of a timm model with the batch-norm statistics of some real images, for machines without a
network: the real architecture and format, without the training.

Usage: python tests/benchmarks/seeded_weights.py resnet50.a1_in1k IMAGES OUT.safetensors
"""

import sys
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data.listing import list_images
from pure_cli.data.loader import batches

IMAGES, BATCH, SEED = 96, 32, 0


def seeded(name: str, images: Path) -> dict[str, torch.Tensor]:
    """The state of a model whose batch norms have seen a few batches."""
    torch.manual_seed(SEED)
    model = timm.create_model(name, pretrained=False).train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches
            torch.nn.init.ones_(module.weight)  # timm starts the last of a block at zero, which switches the block off
    preprocessing = Preprocessing(resize=256, crop_size=224)
    listing = list_images(images, IMAGES)
    with torch.no_grad():
        for batch in batches(listing, listing.index, preprocessing, BATCH, 0):
            model(preprocessing.normalize(batch.images))
    return model.state_dict()


if __name__ == "__main__":
    save_file(seeded(sys.argv[1], Path(sys.argv[2])), sys.argv[3])
