"""Which embedder a name means in a workspace: one that made embeddings there, or a new one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pure_cli.artifacts import NeuronRows
from pure_cli.embedders.kind import WEIGHTS, EmbedderKind
from pure_cli.errors import PureError
from pure_cli.models.spec import NO_WEIGHTS, weights_place
from pure_cli.models.trust import require_trusted, trust
from pure_cli.registry import EMBEDDERS
from pure_cli.settings.embed import EmbedSettings
from pure_cli.stages.embeddings.crops import WHOLE
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.runtime.images import first_image, place_of
from pure_cli.stages.runtime.network import Network

if TYPE_CHECKING:
    import torch

    from pure_cli.embedders.load import Embedder
    from pure_cli.embedders.spec import EmbedderSpec
    from pure_cli.embedders.texts import TextTower

DEFAULT_CROP = "crp"
CROPS = ("activation", WHOLE)  # those that are said in the name of embeddings
UNTRAINED = "untrained weights"
BESIDE = "the weights beside its configuration"
UNUSED_SIZE = 224  # pixels: networks with a text tower say their own
OF_THE_FUNCTION = "the weights that its function makes"


@dataclass(frozen=True)
class Chosen:
    """An embedder, and how the images are cut for it.

    Attributes
    ----------
    kind : the name of such embeddings in ``embed.h5``, in tables, and as a kind of features
    recipe : what `parse_embedder` needs to build the embedder again, wherever that runs
    remembered : it is what the embeddings that are there were made with, no more was said of it
    """

    spec: EmbedderSpec
    kind: str
    crop: str
    recipe: dict[str, Any]
    remembered: bool = False


def choose(text: str, settings: EmbedSettings, sources: Sources, layer: str) -> Chosen:
    """The embedder that a name means: of the embeddings that are there where they have this name, else a new one.

    Without ``--embedder-weights``, the weights are those of the embeddings that are there.

    Parameters
    ----------
    text : as of ``--embedder``, or the name of embeddings in the workspace

    Raises
    ------
    PureError
        No such embedder, or a file of it that is gone.
    """
    from pure_cli.embedders.spec import named_file, parse_embedder

    text, suffix = _split_crop(text)
    crop = suffix or settings.crop
    known = _known(sources, layer, crop)
    before, file, behind = named_file(text)
    names_file = bool(file) and Path(file).expanduser().is_file()
    weights, remembered = settings.embedder_weights, False
    label = before + Path(file).name + behind if file else text
    if label in known and not settings.embedder_layer and not settings.embedder_size:
        recipe, remembered = dict(known[label]), weights is None
        if names_file:
            recipe["text"] = before + _absolute(file) + named_file(recipe["text"]).behind
            remembered = False
    else:
        recipe = _recipe(_found_again(text, known), settings)
        label = parse_embedder(**recipe).label
        if label in known:
            recipe["weights"] = known[label]["weights"]
        else:  # the same network, seen at another layer or size
            others = (other["weights"] for other in known.values() if other["text"] == recipe["text"])
            recipe["weights"] = next(others, None)
    if weights is not None:
        recipe["weights"] = place_of(weights)
    spec = parse_embedder(**recipe)
    if spec.file and names_file:
        trust(spec.model)
    return Chosen(spec, _kind(spec.label, crop), crop, recipe, remembered)


def kind_of(text: str, sources: Sources, layer: str) -> str:
    """The name of embeddings: as it stands where there are such, else that which an embedder of this name gives them.

    Raises
    ------
    PureError
        No such embedder.
    """
    from pure_cli.embedders.spec import parse_embedder

    if text in sources.embeddings(layer):
        return text
    name, crop = _split_crop(text)
    return _kind(parse_embedder(name).label, crop)


def is_embedder_name(text: str) -> bool:
    """Whether a name is one that an embedder could have."""
    return ":" in text or _split_crop(text)[0] in EMBEDDERS


def require_weights(chosen: Chosen) -> None:
    """Make sure that the file with the weights is where it was.

    Raises
    ------
    PureError
        It is gone.
    """
    weights = chosen.recipe["weights"]
    if weights not in (None, NO_WEIGHTS) and not weights_place(weights)[0].exists():
        raise PureError(
            f"The weights of {chosen.kind} should be in {weights}, which is not there. "
            "Say where they are with --embedder-weights FILE."
        )


def require_same(layer: str, chosen: Chosen, there: NeuronRows) -> None:
    """Make sure that embeddings of this name are by this embedder.

    Raises
    ------
    PureError
        They are by other weights, or another version of it.
    """
    before, now = there.provenance.settings["embedder"], chosen.spec.identity()
    if before == now:
        return
    if before["weights"] != now["weights"]:
        then, then_now = weights_of(there.recipe), weights_of(chosen.recipe)
        why = f"are by other weights ({then}{', which changed since' if then == then_now else f', not {then_now}'})"
    elif before["source"] != now["source"]:
        why = f"are by another version of {chosen.spec.file or chosen.spec.config}"
    else:
        why = "were made in another way"
    weights = chosen.recipe["weights"]
    option = f" --embedder-weights {shlex.quote(weights)}" if weights else ""
    raise PureError(
        f"The {chosen.kind} embeddings of '{layer}' {why}. Embed in another --workspace, or replace them all with "
        f"`pure embed --embedder {shlex.quote(chosen.kind)}{option} --force`."
    )


def open_judge(sources: Sources, layer: str, kind: str, network: Network) -> Embedder:
    """The embedder of embeddings that are there, for more images.

    Raises
    ------
    PureError
        It is not what it was when it made them.
    """
    from pure_cli.embedders.load import load_embedder

    return load_embedder(_spec_of(sources, layer, kind), network.device, short_side(sources, layer, network))


def open_texts(sources: Sources, layer: str, kind: str, device: torch.device) -> TextTower:
    """The text tower of the network that made the embeddings that are there, with the same weights.

    Raises
    ------
    PureError
        It has none, or is not what it was when it made them.
    """
    spec = _spec_of(sources, layer, kind)
    return _text_tower(spec, device, json.dumps(spec.identity()))


@lru_cache(maxsize=1)  # who searches searches again
def _text_tower(spec: EmbedderSpec, device: torch.device, identity: str) -> TextTower:
    from pure_cli.embedders.texts import load_text_tower

    return load_text_tower(spec, device)


def open_images(sources: Sources, layer: str, kind: str, device: torch.device) -> Embedder:
    """The image tower of a network with a text tower, as of `open_texts`; without the network that is looked at."""
    from pure_cli.embedders.load import load_embedder

    return load_embedder(_spec_of(sources, layer, kind), device, UNUSED_SIZE)


def of_same_embedder(rows: NeuronRows, others: NeuronRows) -> bool:
    """Embeddings by one network with the same weights, of the same part of images, whatever their layers."""
    mine, theirs = ({**one.provenance.settings, "layer": ""} for one in (rows, others))
    return mine == theirs


def require_embedder(sources: Sources, layer: str, kind: str) -> None:
    """Make sure that the embedder of embeddings that are there is still what it was when it made them.

    Raises
    ------
    PureError
        It is not.
    """
    _spec_of(sources, layer, kind)


def _spec_of(sources: Sources, layer: str, kind: str) -> EmbedderSpec:
    """The embedder of embeddings that are there, if it is still what it was."""
    from pure_cli.embedders.spec import parse_embedder

    require_embeddings(sources, layer, kind)
    there = sources.embedded[layer, kind]
    spec = parse_embedder(**there.recipe)
    require_trusted(spec.model)
    require_same(layer, Chosen(spec, kind, there.provenance.settings["crop"], there.recipe), there)
    return spec


def short_side(sources: Sources, layer: str, network: Network) -> int:
    """Pixels of the shorter side of the images that the network sees."""
    return min(first_image(sources.listing([layer]), network).shape[-2:])


def require_embeddings(sources: Sources, layer: str, kind: str) -> None:
    """Make sure that a layer has embeddings of some kind.

    Raises
    ------
    PureError
        With the command that makes them.
    """
    if kind not in sources.embeddings(layer):
        raise PureError(
            f"The workspace has no {kind} embeddings of '{layer}'. Run `pure embed --embedder {kind}` first, "
            "or add --embed to make them on the way."
        )


def weights_of(recipe: Mapping[str, Any]) -> str:
    """In words, where an embedder has its weights from; "" where it has none."""
    weights, text = recipe["weights"], recipe["text"]
    kind = _kind_named(text)
    if kind and WEIGHTS not in kind.takes:
        return ""
    if weights == NO_WEIGHTS:
        return UNTRAINED
    if weights is not None:
        return f"weights {Path(weights).name}"
    if text.endswith(".json"):
        return BESIDE
    return OF_THE_FUNCTION if ".py:" in text else "pretrained weights"


def warnings(kind: str, recipe: Mapping[str, Any], origin: Mapping[str, Any]) -> Iterator[str]:
    """What the reader has to know before trusting such embeddings as a judge.

    Parameters
    ----------
    origin : of the references
    """
    own = _kind_named(recipe["text"])
    if own and (reason := own.no_judge or own.no_judges.get(recipe["text"].partition(":")[2])):
        yield f"{kind} {reason}."
    elif weights_of(recipe) == UNTRAINED:
        yield f"{kind} has untrained weights: what it says of a split means nothing."
    elif weights_of(recipe) == OF_THE_FUNCTION:
        yield f"{kind} has the weights that its function makes; --embedder-weights FILE gives it trained ones."
    if recipe["text"] == origin["model"] and recipe["weights"] == origin["weights"]:
        yield f"{kind} is the model's own view: it is no independent judge."


def _kind_named(text: str) -> EmbedderKind | None:
    """The kind of embedders that made what is there; None where that came from a package that is gone or broken."""
    from pure_cli.embedders.spec import kind_of_name

    with suppress(PureError):
        name = kind_of_name(text)
        return EMBEDDERS[name] if name else None
    return None


def _split_crop(text: str) -> tuple[str, str]:
    """A name without its crop, and the crop that it names, "" where it names none."""
    name, plus, crop = text.rpartition("+")
    return (name, crop) if plus and crop in CROPS else (text, "")


def _kind(label: str, crop: str) -> str:
    return f"{label}+{crop}" if crop in CROPS else label


def _known(sources: Sources, layer: str, crop: str) -> dict[str, dict[str, Any]]:
    """Recipes of the embeddings of the workspace by name without crop; those of this layer and crop win."""

    def likeness(item: tuple[tuple[str, str], NeuronRows]) -> tuple[bool, bool]:
        (where, _), rows = item
        return where == layer, rows.provenance.settings["crop"] == crop

    return {_split_crop(kind)[0]: rows.recipe for (_, kind), rows in sorted(sources.embedded.items(), key=likeness)}


def _found_again(text: str, known: Mapping[str, Mapping[str, Any]]) -> str:
    """``FILE.py:FUNCTION`` or ``clip:FILE.json`` with the place that the workspace knows, where the file is not where
    the name says."""
    from pure_cli.embedders.spec import named_file

    before, file, behind = named_file(text)
    if not file or Path(file).expanduser().is_file():
        return text
    ours = before, Path(file).name, behind.split(":")[:2]
    for recipe in known.values():
        other_before, other, other_behind = named_file(recipe["text"])
        if (other_before, Path(other).name, other_behind.split(":")) == ours:
            return recipe["text"]
    return text


def _absolute(text: str) -> str:
    return str(Path(text).expanduser().absolute())


def _recipe(text: str, settings: EmbedSettings) -> dict[str, Any]:
    from pure_cli.embedders.spec import with_whole_path

    own = {"layer": settings.embedder_layer, "weights": None, "size": settings.embedder_size}
    return {"text": with_whole_path(text), **own}
