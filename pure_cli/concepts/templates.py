"""Sentences that concepts are put into, as CLIP was trained on captions and not on single words."""

from collections.abc import Callable, Sequence

from pure_cli.errors import PureError

GAP = "{}"  # where the concept goes


def _openai() -> tuple[str, ...]:
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    return tuple(sentence(GAP) for sentence in OPENAI_IMAGENET_TEMPLATES)


def _simple() -> tuple[str, ...]:
    from open_clip import SIMPLE_IMAGENET_TEMPLATES

    return tuple(sentence(GAP) for sentence in SIMPLE_IMAGENET_TEMPLATES)


TEMPLATES: dict[str, Callable[[], tuple[str, ...]]] = {
    "plain": lambda: (GAP,),  # the text alone
    "photo": lambda: (f"a photo of a {GAP}.",),
    "simple": _simple,  # 7 sentences, a choice of OpenAI's out of the 80
    "openai": _openai,  # 80 sentences that OpenAI made for ImageNet
}


def read_templates(chosen: Sequence[str] = ("photo",)) -> tuple[str, ...]:
    """Sentences with a gap ``{}`` for the concept, each once.

    Parameters
    ----------
    chosen : names of `TEMPLATES`, or sentences with a gap

    Raises
    ------
    PureError
        Neither a name nor a sentence with a gap.
    """
    found: dict[str, None] = {}
    for text in chosen:
        if text not in TEMPLATES and GAP not in text:
            raise PureError(
                f"The template '{text}' has no {GAP} for the concept. Give one like 'a photo of a {GAP}.', or one of: "
                f"{', '.join(TEMPLATES)}."
            )
        found.update(dict.fromkeys(TEMPLATES[text]() if text in TEMPLATES else (text,)))
    if not found:
        raise PureError(
            f"No template was given. Give one like 'a photo of a {GAP}.', or one of: {', '.join(TEMPLATES)}."
        )
    return tuple(found)


def filled(template: str, text: str) -> str:
    """A sentence with a text in its gap."""
    return template.replace(GAP, text)
