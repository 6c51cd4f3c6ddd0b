"""Train a tiny CLIP on captions made from class names: ``python -m pure_cli.demo.train_clip`` for the demo's digits
(half a minute on one core); for class folders of small images with ``--images`` and what follows it.

The network is open_clip's, of a configuration in open_clip's form, with a tokenizer that spells (open_clip's own,
without merges: 514 tokens in the place of 49,408). It is for tests and for a first look offline: it knows these classes
and nothing else.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate, one_hot, pad

from pure_cli.concepts import Concepts, read_concepts
from pure_cli.demo.images import read_digits
from pure_cli.demo.train import augmented
from pure_cli.errors import PureError

CONFIG = Path(__file__).with_name("demo-digits.json")  # weights stand beside it, as demo-digits.safetensors
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CAPTIONS = (
    *("{}", "a {}", "the {}", "a photo of a {}.", "a photo of the {}.", "a drawing of a {}.", "an image of the {}."),
    *("a blurry photo of a {}.", "a low resolution photo of the {}.", "a bright photo of the {}."),
)
ASKED = ("a photo of a {}.", "a photo of the {}.")  # for the accuracy
SEED = 0
BATCH = 64
PEAK_RATE = 4e-3
WEIGHT_DECAY = 0.05
WARM_UP = 0.2  # part of the steps
TOKEN_SCALE = 20  # times open_clip's first token embeddings, all but equal for texts of the same few letters
LARGEST_SCALE = 100  # of cosines, as CLIP's
SHIFT = 4  # pixels that a colour image is shifted by, at most


class Pictures(NamedTuple):
    """Images with labels."""

    pixels: Tensor  # (N, 3, H, W) float in 0..1
    labels: Tensor  # (N,) int64


class TinyClip(NamedTuple):
    """A network with its tokenizer."""

    model: open_clip.CLIP
    tokenizer: Callable[[Sequence[str]], Tensor]  # (T, L) int64

    def images(self, pixels: Tensor) -> Tensor:
        """Image vectors (B, E) of length one, of pixels (B, 3, H, W) in 0..1."""
        size = self.model.visual.image_size
        side = size if isinstance(size, int) else size[0]
        if pixels.shape[-1] != side:
            pixels = interpolate(pixels, size=(side, side), mode="bicubic", antialias=True).clamp(0, 1)
        described = (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in described)
        return self.model.encode_image((pixels - mean) / std, normalize=True)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Text vectors (T, E) of length one."""
        return self.model.encode_text(self.tokenizer(texts), normalize=True)


def digits(split: str) -> tuple[Pictures, Concepts]:
    """The demo's images of one split, and what a digit is called."""
    data = read_digits(split)
    pixels = torch.from_numpy(data.pixels).float().div(255).unsqueeze(1).expand(-1, 3, -1, -1)
    called = [
        (word, f"{number}", f"digit {word}", f"digit {number}", f"handwritten {word}", f"number {word}")
        for number, word in enumerate(DIGITS)
    ]
    return Pictures(pixels, torch.from_numpy(data.labels)), Concepts(DIGITS, tuple(called))


def class_folders(folder: Path) -> tuple[Pictures, Concepts]:
    """Images of one size from ``folder/CLASS/``, and the names of the classes."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    files = [(file, label) for label, name in enumerate(names) for file in sorted((folder / name).iterdir())]
    arrays = []
    for file, _ in files:
        with Image.open(file) as image:
            arrays.append(np.asarray(image.convert("RGB")))
    pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 255
    labels = torch.tensor([label for _, label in files])
    return Pictures(pixels, labels), Concepts(tuple(names), tuple((name,) for name in names))


def in_words(concepts: Concepts, file: Path) -> Concepts:
    """Classes with the texts that a list of concepts has for them.

    Raises
    ------
    PureError
        No such list, or it lacks a class.
    """
    listed, _ = read_concepts(file)
    texts = dict(zip(listed.names, listed.texts, strict=True))
    lacking = [name for name in concepts.names if name not in texts]
    if lacking:
        raise PureError(f"{file} has no texts for {', '.join(lacking)}. Give each class folder's name a row.")
    return Concepts(concepts.names, tuple(texts[name] for name in concepts.names))


def fresh(config: Path, seed: int = SEED) -> TinyClip:
    """An untrained network of a configuration."""
    described = json.loads(config.read_text(encoding="utf-8"))
    text = described["text_cfg"]
    spelling = config.parent / text["tokenizer_kwargs"]["bpe_path"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.CLIP(**described)
    model.token_embedding.weight.data *= TOKEN_SCALE
    return TinyClip(model, SimpleTokenizer(bpe_path=str(spelling), context_length=text["context_length"]))


def moved(pixels: Tensor, random: torch.Generator) -> Tensor:
    """Each image a little shifted; colour images mirrored half of the time, grey ones (writing) turned and resized."""
    if (pixels[:, 0] == pixels[:, 1]).all():
        return augmented(pixels[:, 0], random).unsqueeze(1).expand(-1, 3, -1, -1)
    height, width = pixels.shape[-2:]
    padded = pad(pixels, (SHIFT,) * 4, mode="reflect")
    places = torch.randint(2 * SHIFT + 1, (len(pixels), 2), generator=random).tolist()
    mirrored = (torch.rand(len(pixels), generator=random) < 0.5).tolist()
    parts = [
        image[:, top : top + height, left : left + width] for image, (top, left) in zip(padded, places, strict=True)
    ]
    return torch.stack([part.flip(-1) if turn else part for part, turn in zip(parts, mirrored, strict=True)])


def contrast(clip: TinyClip, pixels: Tensor, labels: Tensor, captions: Sequence[str]) -> Tensor:
    """CLIP's loss where images of one class share a caption: each image has to find it, and each caption its images.

    Parameters
    ----------
    pixels : (B, 3, H, W) float in 0..1
    labels : (B,) int64
    captions : of the classes, one each
    """
    scale = clip.model.logit_scale.exp().clamp(max=LARGEST_SCALE)
    likeness = scale * clip.images(pixels) @ clip.texts(captions).T
    shares = one_hot(labels, len(captions)).float().T
    there = shares.sum(dim=1) > 0
    shares = shares[there] / shares[there].sum(dim=1, keepdim=True)
    return (cross_entropy(likeness, labels) + cross_entropy(likeness.T[there], shares)) / 2


def train(clip: TinyClip, pictures: Pictures, concepts: Concepts, *, epochs: int, seed: int = SEED) -> None:
    """Train a network in place; in eval mode afterwards. The same for the same seed, torch version and machine.

    Parameters
    ----------
    concepts : the classes, by label; a caption takes one of a class's texts at random
    epochs : passes over the images
    """
    random = torch.Generator().manual_seed(seed)

    def any_of(choices: Sequence[str]) -> str:
        return choices[int(torch.randint(len(choices), (1,), generator=random))]

    steps = epochs * (len(pictures.labels) // BATCH)
    optimizer = torch.optim.AdamW(clip.model.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps, pct_start=WARM_UP)
    clip.model.visual.to(memory_format=torch.channels_last)  # half the time on a CPU
    clip.model.train()
    for _ in range(epochs):
        order = torch.randperm(len(pictures.labels), generator=random)
        for chosen in order[: len(order) // BATCH * BATCH].split(BATCH):
            captions = [any_of(CAPTIONS).replace("{}", any_of(texts)) for texts in concepts.texts]
            pixels = moved(pictures.pixels[chosen], random)
            loss = contrast(clip, pixels, pictures.labels[chosen], captions)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    clip.model.eval()


@torch.no_grad()
def accuracy(clip: TinyClip, pictures: Pictures, concepts: Concepts) -> float:
    """Part of the images whose nearest class name, in the sentences of `ASKED`, is their own (zero-shot)."""
    names = open_clip.build_zero_shot_classifier(clip.model, clip.tokenizer, concepts.names, ASKED)
    nearest = torch.cat([(clip.images(part) @ names).argmax(dim=1) for part in pictures.pixels.split(500)])
    return (nearest == pictures.labels).double().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pure_cli.demo.train_clip", description="Train a tiny CLIP.")
    parser.add_argument("--images", type=Path, help="class folders to train on (default: the demo's digits)")
    parser.add_argument("--held-out", type=Path, help="class folders for the accuracy")
    parser.add_argument("--concepts", type=Path, help="list with texts for each class (default: its name alone)")
    parser.add_argument("--config", type=Path, default=CONFIG, help="open_clip's description (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=24, help="passes over the images (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="weights to write, safetensors (default: beside the configuration)")
    arguments = parser.parse_args()
    if bool(arguments.images) != bool(arguments.held_out):
        parser.error("--images and --held-out go together: accuracy on images that were trained on says nothing")
    out = arguments.out or arguments.config.with_suffix(".safetensors")

    pictures, concepts = class_folders(arguments.images) if arguments.images else digits("train")
    if arguments.concepts:
        try:
            concepts = in_words(concepts, arguments.concepts)
        except PureError as error:
            parser.error(str(error))
    held_out, _ = class_folders(arguments.held_out) if arguments.held_out else digits("held-out")
    clip = fresh(arguments.config)
    train(clip, pictures, concepts, epochs=arguments.epochs)
    clip.model.half().float()  # as it is written
    measured, chance = accuracy(clip, held_out, concepts), 1 / len(concepts)
    state = {name: value.contiguous() for name, value in clip.model.half().state_dict().items()}
    made = {"zero_shot_accuracy": str(measured), "seed": str(SEED), "epochs": str(arguments.epochs)}
    save_file(state, out, {**made, "torch_version": str(torch.__version__)})
    print(
        f"Zero-shot accuracy {measured:.1%} on {len(held_out.labels):,} images (chance {chance:.0%}); weights in {out}"
    )


if __name__ == "__main__":
    main()
