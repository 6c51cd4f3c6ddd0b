"""A whole atlas of a network that there is not: every kind of content, and names that attack the page."""

import base64
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from pure_cli.views.atlas.page import chunk, page

HOSTILE_CLASS = "<img src=x onerror=alert(1)>"
HOSTILE_LABEL = "</script><script>alert(1)</script>"
HOSTILE_LAYER = "layer4#top"
HOSTILE_PATH = "a\"b'c\n<b>.png"
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck", HOSTILE_CLASS]
TILE, COLUMNS, ICON = 48, 10, 32
Content = dict[str, Any]


def fake_atlas(folder: Path, neurons: int = 12, references: int = 30, files: int | None = None) -> Content:
    """Write an atlas of two layers, layer3 and layer4#top, and two audits; only `files` neurons get a file each.

    Returns
    -------
    dict
        What is in the shell: the site.
    """
    rng = np.random.default_rng(0)
    layers = {"layer3": "layer3", HOSTILE_LAYER: "layer4-top"}
    site = _site(layers)
    for entry, (name, slug) in zip(site["layers"], layers.items(), strict=True):
        parts = rng.integers(1, 6, neurons) if neurons > 100 else np.array([2, 3, 1, 5] * neurons)[:neurons]
        layer = _layer(name, parts, rng, references)
        entry |= {"neurons": neurons, "virtual": int(parts.sum()), "labelled": int(parts.sum()), "collected": neurons}
        write(folder / f"data/{slug}/layer.js", f"layer:{name}", layer)
        for sheet in range(-(-int(parts.sum()) // 1024)):
            classes = layer["units"]["class"][sheet * 1024 : (sheet + 1) * 1024]
            write(folder / f"data/{slug}/icons-{sheet}.js", f"icons:{name}:{sheet}", {"src": _sheet(classes, ICON, 32)})
        for neuron in range(neurons if files is None else files):
            content = _neuron(name, neuron, layer, rng, references)
            write(folder / f"data/{slug}/n/{neuron:06}.js", f"neuron:{name}/{neuron}", content)
    for audit in site["audits"]:
        write(folder / f"data/audit/{audit['slug']}.js", f"audit:{audit['class']}", _audit(audit["class"]))
    (folder / "index.html").write_text(page(site), encoding="utf-8")
    return site


def write(path: Path, key: str, content: Content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(chunk(key, content), encoding="utf-8")


def _site(layers: dict[str, str]) -> Content:
    return {
        "format": 1,
        "model": "resnet20",
        "data": "cifar10",
        "images": 10000,
        "classes": CLASSES,
        "pure": "1.4.0",
        "layers": [{"name": name, "slug": slug} for name, slug in layers.items()],
        "audits": [{"class": "ship", "slug": "000-ship"}, {"class": HOSTILE_CLASS, "slug": "001-img"}],
        "about": [
            ["Model", "cifar_resnet.py:resnet20"],
            ["Weights", "sha256 5f2c81"],
            ["Data", "cifar10, 10,000 images"],
        ],
        "notes": ["Nothing in this atlas is real."],
        "bibtex": "@software{pure,\n  title = {pure},\n}",
        "start": "layer3",
    }


def _layer(name: str, parts: np.ndarray, rng: np.random.Generator, references: int) -> Content:
    neuron = np.repeat(np.arange(len(parts)), parts)
    part = np.concatenate([np.arange(count) for count in parts])
    classes = (neuron * 3 + part * 4 + rng.integers(0, 2, len(neuron))) % len(CLASSES)
    labels = [
        CLASSES[index] if draw > 0.15 else "no label"
        for index, draw in zip(classes, rng.random(len(neuron)), strict=True)
    ]
    labels[1] = HOSTILE_LABEL
    if len(labels) > 2:
        labels[2] = "=1+1"
    split = parts > 1
    size = np.array([references // parts[n] for n in neuron])
    return {
        "name": name,
        "features": f"pure@{name}.2.bn1:sqrt-l2",
        "k": "auto",
        "lower": "layer3",
        "n": references,
        "crop": "crp",
        "sentences": [
            f"{len(neuron)} virtual neurons of {len(parts)} neurons.",
            "Circuits: pure render --circuit adds more.",
        ],
        "settings": {"collect": {"n": references, "layer": name}, "cluster": {"features": "pure", "k": "auto"}},
        "fingerprint": "0123456789abcdef",
        "neurons": {
            "neuron": list(range(len(parts))),
            "name": ["" if n != 1 else "curve detector" for n in range(len(parts))],
            "label": ["" for _ in parts],
            "k": parts.tolist(),
            "silhouette": _numbers(rng.random(len(parts)) * 0.6, split),
            "polysemanticity": _numbers(rng.random(len(parts)), split),
            "p": _numbers(rng.random(len(parts)) ** 3, split),
            "tied": [0] * len(parts),
            "references": [references] * len(parts),
        },
        "units": {
            "neuron": neuron.tolist(),
            "part": part.tolist(),
            "size": size.tolist(),
            "label": labels,
            "judged": [True] * len(neuron),
            "auprc": _numbers(0.1 + 0.8 * rng.random(len(neuron)), rng.random(len(neuron)) > 0.1),
            "chance": [0.1] * len(neuron),
            "class": classes.tolist(),
            "classCount": np.maximum(1, (size * rng.uniform(0.3, 0.95, len(neuron))).astype(int)).tolist(),
            "lift": _numbers(rng.uniform(1, 9, len(neuron)), np.full(len(neuron), True)),
        },
        "extra": [_specificity(rng.random(len(neuron)))],
        "drives": [
            [CLASSES[int(index)], round(float(value), 2)]
            for index, value in zip(classes, 2 * rng.random(len(neuron)), strict=True)
        ],
        "maps": [_map("clip", "UMAP of CLIP", classes, rng), _map("circuits", "UMAP of circuits", neuron % 7, rng)],
        "icons": {"size": ICON, "columns": 32, "perSheet": 1024},
        "nearestBy": "clip",
    }


def _specificity(values: np.ndarray) -> Content:
    values = [round(float(value), 3) for value in values]
    return {
        "key": "specificity",
        "title": "specificity",
        "help": "Own images before others",
        "of": "unit",
        "values": values,
    }


def _numbers(values: np.ndarray, known: Iterable[bool]) -> list[float | None]:
    return [round(float(value), 4) if there else None for value, there in zip(values, known, strict=True)]


def _map(key: str, title: str, groups: np.ndarray, rng: np.random.Generator) -> Content:
    centres = rng.uniform(0.12, 0.88, (len(CLASSES), 2))
    places = np.clip(centres[groups] + rng.normal(0, 0.05, (len(groups), 2)), 0, 1)
    return {"key": key, "title": title, "x": places[:, 0].round(4).tolist(), "y": places[:, 1].round(4).tolist()}


def _picture(index: int, seed: int, size: int) -> Image.Image:
    """A shape for each class on a ground of its own colour."""
    rng = np.random.default_rng(seed)
    hue = int(255 * index / len(CLASSES))
    image = Image.new("HSV", (size, size), (hue, 70, int(rng.integers(120, 220))))
    draw = ImageDraw.Draw(image)
    x, y, r = *rng.uniform(0.35, 0.65, 2) * size, rng.uniform(0.18, 0.32) * size
    fill = ((hue + 110) % 256, 190, int(rng.integers(150, 250)))
    if index % 3 == 0:
        draw.ellipse((x - r, y - r, x + r, y + r), fill)
    elif index % 3 == 1:
        draw.regular_polygon((x, y, r), 3 + index % 4, int(rng.integers(90)), fill)
    else:
        draw.rectangle((x - r, y - r / 2, x + r, y + r / 2), fill)
    return image.convert("RGB")


def _sheet(classes: list[int], tile: int, columns: int, grey: bool = False) -> str:
    sheet = Image.new("RGB", (columns * tile, -(-len(classes) // columns) * tile), "#888888")
    kinds: dict[tuple[int, int], Image.Image] = {}
    for at, index in enumerate(classes):
        kind = (index, at % 8)
        if kind not in kinds:
            kinds[kind] = _picture(index, 100 * index + at % 8, tile)
        picture = kinds[kind]
        if grey:
            picture = picture.crop((tile // 4, tile // 4, 3 * tile // 4, 3 * tile // 4)).resize((tile, tile))
        sheet.paste(picture, (at % columns * tile, at // columns * tile))
    content = io.BytesIO()
    sheet.save(content, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def _neuron(name: str, neuron: int, layer: Content, rng: np.random.Generator, references: int) -> Content:
    units = [unit for unit, of in enumerate(layer["units"]["neuron"]) if of == neuron]
    parts = np.sort(rng.integers(0, len(units), references))
    rng.shuffle(parts)
    own = [layer["units"]["class"][unit] for unit in units]
    classes = [
        own[part] if draw > 0.25 else int(draw * 40) for part, draw in zip(parts, rng.random(references), strict=True)
    ]
    split = len(units) > 1
    path = [f"{CLASSES[index] if index < 10 else 'img'}/{slot:05}.png" for slot, index in enumerate(classes)]
    path[0] = HOSTILE_PATH
    return {
        "neuron": neuron,
        "name": layer["neurons"]["name"][neuron],
        "label": layer["units"]["label"][units[0]],
        "verdict": "split clearly: its virtual neurons lie apart" if split else "not split: its images are alike",
        "facts": [["silhouette", "0.31"], ["p", "0.01"], ["polysemanticity", "0.62"], ["images", str(references)]],
        "sentences": [],
        "references": {
            "index": list(range(references)),
            "path": path,
            "class": classes,
            "score": np.linspace(9, 3, references).round(3).tolist(),
            "part": parts.tolist(),
            "box": [[0.25, 0.75, 0.25, 0.75]] * references,
        },
        "sheets": {
            "seen": _tiles(classes, True),
            "whole": _tiles(classes, False),
        },
        "shown": list(range(references)),
        "aspect": None,
        "parts": [_part(name, neuron, part, unit, layer, parts, rng) for part, unit in enumerate(units)],
        "histogram": _histogram(len(units), rng) if neuron % 2 == 0 else None,
        "commands": [f"pure render --neurons {name}/{neuron}", f"pure edit --silence {name}/{neuron}.1"],
    }


def _tiles(classes: list[int], grey: bool) -> Content:
    sizes = [[TILE, TILE]] * len(classes)
    return {"src": _sheet(classes, TILE, COLUMNS, grey), "tile": TILE, "columns": COLUMNS, "sizes": sizes}


def _part(
    name: str, neuron: int, part: int, unit: int, layer: Content, parts: np.ndarray, rng: np.random.Generator
) -> Content:
    units = layer["units"]
    other = [(unit + step) % len(units["neuron"]) for step in (6, 8, 13, 21)]  # of other neurons
    size = int((parts == part).sum())
    top = CLASSES[units["class"][unit]]
    lower = layer["lower"] if name != "layer3" else "layer3.2.bn1"
    return {
        "part": part,
        "size": size,
        "label": units["label"][unit],
        "judged": True,
        "concepts": [
            {"name": units["label"][unit], "score": 0.31, "auprc": units["auprc"][unit], "chance": 0.1},
            {"name": "an animal", "score": 0.27, "auprc": None, "chance": None},
        ],
        "classes": [[top, size * 2 // 3, 6.1], ["deer" if top != "deer" else "frog", size // 3, 1.2]],
        "channels": [
            {"layer": lower, "channel": int(channel), "share": round(0.21 / (at + 1), 3)}
            for at, channel in enumerate(rng.permutation(12)[:5])
        ],
        "nearest": [
            {
                "address": f"{name}/{units['neuron'][one]}.{units['part'][one] + 1}",
                "score": round(0.93 - 0.04 * at, 2),
                "label": units["label"][one],
            }
            for at, one in enumerate(other)
        ],
        "drives": [[top, 1.2], ["truck" if top != "truck" else "ship", 0.6]],
        "holds": [["dog" if top != "dog" else "cat", -0.4]],
        "facts": [["specificity", "0.31"], ["stability", "0.88"]],
        "outliers": np.flatnonzero(parts == part)[-2:].tolist(),
        "circuit": _circuit(lower, part) if part < 2 else None,
    }


def _circuit(lower: str, part: int) -> Content:
    nodes = [
        {"layer": lower, "channel": 3 + 2 * at + part, "share": 0.3 / (at + 1), "shared": at == 1} for at in range(4)
    ]
    nodes += [{"layer": "layer2", "channel": 5 + at, "share": 0.2 / (at + 1), "shared": at == 0} for at in range(3)]
    edges = [[-1, at, 0.3 / (at + 1), 1] for at in range(4)]
    edges += [[at, 4 + below, 0.1 / (at + below + 1), -1 if below == 2 else 1] for at in range(4) for below in range(3)]
    return {"layers": [lower, "layer2"], "nodes": nodes, "edges": edges, "kept": 12, "explained": [0.81, 0.12, 0.03]}


def _histogram(parts: int, rng: np.random.Generator) -> Content:
    shares = rng.dirichlet(np.ones(parts + 1), 10).round(3).tolist()
    shares[2] = None
    return {
        "data": "cifar10",
        "edges": np.linspace(0, 9, 11).round(2).tolist(),
        "count": (4000 * 0.5 ** np.arange(10)).astype(int).tolist(),
        "drawn": [20] * 10,
        "shares": shares,
    }


def _audit(name: str) -> Content:
    silenced = {"own": [0.91, 0.72], "others": [0.9, 0.9]}
    drivers = [
        {
            "address": f"layer3/{neuron}.1",
            "effect": round(1.31 / (neuron + 1), 2),
            "error": 0.1,
            "share": 0.12,
            "own": 0.97 - 0.2 * neuron,
            "label": HOSTILE_LABEL if neuron == 1 else "boat",
            "classes": [["ship", 40, 6.1], ["airplane", 8, 1.1]],
            "silenced": silenced if neuron < 3 else None,
        }
        for neuron in range(5)
    ]
    return {
        "class": name,
        "number": CLASSES.index(name),
        "sentences": ["Effect: mean fall of the class's output without the virtual neuron, on its 1,000 images."],
        "accuracy": 0.91,
        "images": 1000,
        "drivers": drivers,
        "elsewhere": [{"address": "layer3/4.1", "effect": 0.26, "own": 0.17, "classes": [["airplane", 30, 4.0]]}],
        "outliers": [
            {"address": "layer3/1.2", "slot": 17, "path": HOSTILE_PATH, "class": "cat", "why": "far from the rest"}
        ],
        "together": [{"count": 2, "own": 0.413, "others": 0.9, "random": [0.912, 0.899]}],
        "control": {"random": 0.04, "text": "Virtual neurons drawn at random: 0.04."},
    }
