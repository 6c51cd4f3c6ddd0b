"""From texts to vectors in the space of an embedder's images."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from pure_cli.concepts.templates import GAP, filled
from pure_cli.embedders.spec import EmbedderSpec
from pure_cli.errors import PureError
from pure_cli.files import NO_ARCHIVE, keep_archive, read_archive
from pure_cli.registry import EMBEDDERS
from pure_cli.words import counted

BATCH = 256  # texts at once
VERSION = 2  # of what the cache keeps
VECTORS = "vectors"

Progress = Callable[[int, int], None]


def _silent(done: int, total: int) -> None:
    """As of `pure_cli.stages.outcome`."""


@dataclass(frozen=True)
class TextTower:
    """Texts in, vectors out.

    Attributes
    ----------
    spec : the embedder whose images the texts can be compared with
    tokenize : of texts and a number of tokens L to (T, L) int64; longer texts are cut
    encode : of tokens (B, L) on `device` to (B, E)
    context : tokens of a text that are read, with those for its begin and end
    causal : the tokens behind a text's end may be left out
    device : where it computes
    scale : by which cosines with images are multiplied before a softmax over texts
    """

    spec: EmbedderSpec
    tokenize: Callable[[list[str], int], torch.Tensor]
    encode: Callable[[torch.Tensor], torch.Tensor]
    context: int
    causal: bool
    device: torch.device
    scale: float

    def embed(self, texts: Sequence[str], batch_size: int = BATCH, progress: Progress = _silent) -> np.ndarray:
        """Vectors of texts as they are.

        Parameters
        ----------
        texts : T
        batch_size : texts at once

        Returns
        -------
        (T, E) float32, of their own length as open_clip's ``encode_text`` gives them; a text that is longer than
        `context` is cut (`cut` finds those)
        """
        tokens = self.tokenize(list(texts), self.context)
        ends = _ends(tokens)
        order = torch.argsort(ends, stable=True) if self.causal else torch.arange(len(tokens))
        parts = []
        for chosen in order.split(batch_size):
            length = int(ends[chosen].max()) if self.causal else tokens.shape[1]
            with torch.no_grad():
                parts.append(self.encode(tokens[chosen, :length].to(self.device)).float().cpu())
            progress(sum(map(len, parts)), len(tokens))
        return torch.cat(parts)[torch.argsort(order)].numpy()

    def cut(self, texts: Sequence[str]) -> list[str]:
        """The texts that are longer than what is read of them."""
        wide = self.tokenize(["", *texts], self.context + 2)[:, -2:]  # where shorter texts have what fills the rest
        longer = (wide[1:] != wide[0]).any(dim=1).tolist()
        return [text for text, is_longer in zip(texts, longer, strict=True) if is_longer]


def load_text_tower(spec: EmbedderSpec, device: torch.device) -> TextTower:
    """The text tower of the network that gives an embedder's image vectors, with the same weights.

    Parameters
    ----------
    spec : from `parse_embedder`; of embeddings in a workspace: ``parse_embedder(**rows.recipe)``

    Raises
    ------
    PureError
        The embedder has no text tower, or cannot be built.
    PureFailure
        Something would have to be downloaded and cannot be.
    """
    load = EMBEDDERS[spec.kind].load_texts
    if load is None:
        able = [name for name in EMBEDDERS.working() if EMBEDDERS[name].load_texts]
        raise PureError(
            f"Embeddings of {spec} cannot be compared with texts. Embed with one that has a text tower: "
            f"{', '.join(able)}."
        )
    model, vectors, tokenize, context, causal, scale = load(spec)
    return TextTower(spec, tokenize, partial(vectors, model.to(device)), context, causal, device, scale)


def concept_vectors(
    tower: TextTower,
    texts: Sequence[Sequence[str]],
    templates: Sequence[str] = (GAP,),
    *,
    less_template: bool = False,
    cache: Path | None = None,
    batch_size: int = BATCH,
    progress: Progress = _silent,
) -> np.ndarray:
    """A vector for each concept: the mean over its texts in all templates.

    Parameters
    ----------
    texts : C, what says each concept, one text or more (``Concepts.texts``)
    templates : sentences with ``{}`` for the text (`read_templates`)
    less_template : what a template says by itself is taken away: semanticlens' way
    cache : folder that keeps the result, by everything that it depends on; made where it is missing
    batch_size : sentences at once
    progress : told how many sentences of how many are done

    Returns
    -------
    (C, E) float32, of length one: the dot product with an image vector of length one is their cosine

    Notes
    -----
    Every sentence's vector is divided by its length, then the mean over them by its own, as in CLIP's zero-shot
    classifiers (Radford et al. 2021, arXiv 2103.00020, section 3.1.4; open_clip's ``build_zero_shot_classifier``).
    With `less_template`: the mean over sentences of their vector minus that of the template without a text, of their
    own lengths (Dreyer et al. 2025, arXiv 2501.05398).
    """
    both = both_vectors(tower, texts, templates, cache=cache, batch_size=batch_size, progress=progress)
    return both[int(less_template)]


def both_vectors(
    tower: TextTower,
    texts: Sequence[Sequence[str]],
    templates: Sequence[str] = (GAP,),
    *,
    cache: Path | None = None,
    batch_size: int = BATCH,
    progress: Progress = _silent,
) -> np.ndarray:
    """(2, C, E) float32, `concept_vectors` without and with `less_template`; parameters as there."""
    kept = _cache_file(cache, tower.spec, texts, templates) if cache else None
    if kept:
        with suppress(*NO_ARCHIVE):
            found = read_archive(kept)[VECTORS]
            if found.shape[:2] == (2, len(texts)):
                return found
    both = _vectors(tower, texts, templates, batch_size, progress)
    if kept:
        keep_archive(kept, **{VECTORS: both})
    return both


def _vectors(
    tower: TextTower, texts: Sequence[Sequence[str]], templates: Sequence[str], batch_size: int, progress: Progress
) -> np.ndarray:
    """(2, C, E) float32, of length one: without and with `less_template`."""
    sentences = [(filled(template, text), template) for own in texts for text in own for template in templates]
    alone = [filled(template, "") for template in templates]
    distinct = {sentence: i for i, sentence in enumerate(dict.fromkeys([*alone, *(one for one, _ in sentences)]))}
    vectors = tower.embed(list(distinct), batch_size, progress)
    units = _unit(vectors)
    place = np.array([distinct[sentence] for sentence, _ in sentences])
    empty = np.array([distinct[filled(template, "")] for _, template in sentences])
    ends = np.cumsum([len(own) * len(templates) for own in texts])[:-1]
    means = [units[rows].mean(axis=0) for rows in np.split(place, ends)]
    apart = [rows.mean(axis=0) for rows in np.split(vectors[place] - vectors[empty], ends)]
    return _unit(np.stack([means, apart]))


def cut_texts(tower: TextTower, texts: Sequence[Sequence[str]], templates: Sequence[str] = (GAP,)) -> str | None:
    """A sentence for the user where some concepts are too long for the network; None where none is."""
    longest = max(templates, key=len)
    cut = tower.cut([filled(longest, text) for own in texts for text in own])
    if not cut:
        return None
    return (
        f"{counted(len(cut), 'text')} longer than the {tower.context} tokens that {tower.spec} reads "
        f"{'is' if len(cut) == 1 else 'are'} cut at the end: '{cut[0][:60]}…'."
    )


def _ends(tokens: torch.Tensor) -> torch.Tensor:
    """(T,) how many tokens each row (T, L) has up to the last that fills nothing; zeros fill."""
    places = torch.arange(1, tokens.shape[1] + 1)
    return ((tokens != 0) * places).amax(dim=1).clamp(min=1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(min=np.finfo(np.float32).tiny)


def _cache_file(folder: Path, spec: EmbedderSpec, texts: Sequence[Sequence[str]], templates: Sequence[str]) -> Path:
    key = json.dumps([VERSION, spec.identity(), [list(own) for own in texts], list(templates)])
    return folder / f"texts-{sha256(key.encode()).hexdigest()[:20]}.npz"
