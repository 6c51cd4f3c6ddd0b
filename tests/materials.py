"""A small network, as the text of its file, images of patterns, and what is asked of a printed table."""

import csv
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

TINY_MODEL = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, wide_in, wide, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(wide_in, wide, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(wide, wide, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)
        self.shortcut = nn.Conv2d(wide_in, wide, 1, stride)
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(out)) + self.shortcut(x))


ODD = 4  # neuron of layer3 that the shortcut alone leads to: no hidden layer has all, and the paper's recipe is usual


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(Block(8, 8, 1))
        self.layer2 = nn.Sequential(Block(8, 10, 2))
        self.layer3 = nn.Sequential(Block(10, 12, 2))
        self.side = nn.Sequential(nn.Conv2d(8, 12, 1), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.side_pool = nn.AdaptiveAvgPool2d(1)
        self.hidden = nn.Linear(12, 9)
        self.act = nn.ReLU()
        self.fc = nn.Linear(9, 3)

    def forward(self, x):
        x = self.layer1(self.relu(self.bn1(self.conv1(x))))
        side = self.side(x)
        x = self.layer3(self.layer2(x))
        x = self.pool(x).flatten(1) + self.side_pool(side).flatten(1)
        return self.fc(self.act(self.hidden(x)))


def tiny():
    model = Tiny()
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, 0, 0.3, generator=generator)
    nn.init.zeros_(model.layer3[0].conv2.weight[ODD])
    return model


def reused():
    model = Tiny()
    model.layer2[0].relu2 = model.relu
    model.side_pool = model.pool
    return model
"""


def make_images(folder: Path, count: int = 60, classes: int = 3, size: int = 32, seed: int = 0) -> Path:
    """Class folders of coloured blobs and stripes, each class with its own pattern, as PNG."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    for i in range(count):
        label = i % classes
        wave = np.sin(2 * np.pi * ((label + 1) * x + generator.random()) + label * y * 5)
        blob = np.exp(-((x - generator.random()) ** 2 + (y - generator.random()) ** 2) * 12)
        image = np.stack([wave, blob, wave * blob]) * 90 + 128 + generator.normal(0, 12, (3, size, size))
        path = folder / f"class{label}" / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)).save(path)
    return folder


def terminal_lines(table: dict, width: int, compact: bool = True) -> list[str]:
    """What a terminal of some width shows of a table."""
    from rich.console import Console

    from pure_cli.views.tables import as_rich

    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(as_rich(table, compact))
    return console.file.getvalue().splitlines()


def require_fit(table: dict, width: int) -> None:
    """Make sure that a table can be read at some width: no long line, no name or number broken, the verdict first."""
    for compact in (True, False):
        lines = terminal_lines(table, width, compact)
        assert max(map(len, lines)) <= width
        text = " ".join(" ".join(lines).split())
        assert text.startswith(" ".join(table.get("verdict", "").split()))
        for row in table["rows"]:
            shown = table["columns"][:1] if compact else table["columns"]  # the others stand there if there is room
            names = [row[column] for column in shown if isinstance(row.get(column), str)]
            assert all(any(word in line for line in lines) for name in names for word in name.split()), names
        lines = terminal_lines({**table, "note": ""}, width, compact)
        body = lines[next(i for i, line in enumerate(lines) if table["title"].startswith(line.strip())) :]
        assert not any(re.search(r"\d\.$|^ *\d*[)]$", line) for line in body[1:])
        marks = [line for line in body if " *" in line]
        assert len(marks) == (table.get("best") is not None)


def require_numbers(table: dict) -> None:
    """Make sure that the CSV of a table gives all its numbers back, under names with an ASCII minus."""
    from pure_cli.views.tables import as_csv

    read = list(csv.DictReader(io.StringIO(as_csv(table), newline="")))
    assert not any("−" in name for name in read[0])
    for cells, row in zip(read, table["rows"], strict=True):
        for name in table["columns"]:
            value, plain = row.get(name), name.replace("−", "-")
            for part, column in zip(value, (plain, f"{plain} error"), strict=True) if isinstance(value, list) else ():
                assert cells[column] == "" if part is None else float(cells[column]) == part
            if isinstance(value, int | float) and not isinstance(value, bool):
                assert float(cells[plain]) == value
            if value is None:
                assert cells[plain] == ""
        assert not any(re.search(r"\d (…|±)", cell) for cell in cells.values())
