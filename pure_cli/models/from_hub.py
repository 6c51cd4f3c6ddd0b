"""Networks of Hugging Face transformers: from a repo of the hub, or the folder of a ``save_pretrained``.

transformers sees a folder on the disk and never the network: what is not there was fetched before (`models.repos`).
Code that comes with a repo is not run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pure_cli.errors import PureError, first_line
from pure_cli.hub.failures import no_package
from pure_cli.models.repos import RepoFiles, repo_files
from pure_cli.models.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn

PACKAGE, LEAST = "transformers", 5  # and its oldest version
IMAGES = "pixel_values"  # what transformers calls the images that a network is given
CLASSIFIER = "ForImageClassification"  # in the name of an architecture with outputs for classes
POOLER = "pooler."  # in names of weights behind all layers, which many checkpoints leave out
OWN_CODE = (
    "comes with code of its own, which would have to be run, and pure runs none from a repo. Download it, look at "
    "it, and hand the network over as FILE.py:FUNCTION."
)
SHOWN = 3  # names of weights


def build(spec: ModelSpec, pretrained: bool, notes: list[str]) -> nn.Module:
    """The network of a repo or a folder.

    Of one with several towers (CLIP, SigLIP), the one that sees images; with the head for classes where it was trained
    with one.

    Parameters
    ----------
    pretrained : with its weights; else with new ones
    notes : sentences that the user should read are added to it

    Raises
    ------
    PureError
        It is no network of images, one that its own code makes, or its weights do not make it whole.
    """
    require_package(spec)
    found = repo_files(spec)
    config = found.config()
    _require_no_code(spec, config)
    with quiet():
        kind, described = _kind_of(spec, found, config)
        try:
            if not pretrained:
                return _of_images(spec, kind.from_config(described, trust_remote_code=False))
            found.weights()
            model, loaded = kind.from_pretrained(
                found.folder,
                config=described,
                local_files_only=True,
                trust_remote_code=False,
                weights_only=True,
                output_loading_info=True,
            )
        except PureError:
            raise
        except Exception as error:  # of whatever a network's code or a damaged file raises
            raise PureError(
                f"transformers cannot load {spec} ({type(error).__name__}: {first_line(error)})."
            ) from error
    notes += _require_whole(spec, sorted(loaded["missing_keys"]))
    return _of_images(spec, model)


def require_package(spec: ModelSpec) -> None:
    """Make sure that transformers is there, and no old one.

    Raises
    ------
    PureError
        It is not; how to install it.
    """
    if find_spec(PACKAGE) is None or int(version(PACKAGE).partition(".")[0]) < LEAST:
        raise no_package(str(spec), f"{PACKAGE} {LEAST} or newer")


def _require_no_code(spec: ModelSpec, config: dict[str, Any]) -> None:
    """Make sure that transformers has the network's code itself."""
    from transformers import CONFIG_MAPPING

    if "pretrained_cfg" in config and "model_type" not in config:
        name = spec.short.rpartition("/")[2]
        raise PureError(f"{spec} is a network of timm: pass --model timm:{name}.")
    if config.get("model_type") in CONFIG_MAPPING:
        return
    if "auto_map" in config:
        raise PureError(f"{spec} {OWN_CODE}")
    raise PureError(
        f"{spec} is of the type '{config.get('model_type', '')}', which this transformers does not know. Install a "
        "newer one, or hand the network over as FILE.py:FUNCTION."
    )


def _kind_of(spec: ModelSpec, found: RepoFiles, config: dict[str, Any]) -> tuple[Any, Any]:
    """The class that makes the network, and its description."""
    import transformers
    from transformers import AutoBackbone, AutoConfig, AutoModel, AutoModelForImageClassification

    described = AutoConfig.from_pretrained(found.folder, local_files_only=True, trust_remote_code=False)
    described._attn_implementation = None  # the usual: the file may name a kernel on the hub, which is code
    names = config.get("architectures") or [""]
    if CLASSIFIER in names[0] and type(described) in transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        return AutoModelForImageClassification, described
    described = getattr(described, "vision_config", described)
    if type(described) in transformers.MODEL_MAPPING:
        return AutoModel, described
    if type(described) in transformers.MODEL_FOR_BACKBONE_MAPPING:
        return AutoBackbone, described
    raise PureError(f"transformers makes no network of images alone from {spec} ({described.model_type}).")


def _of_images(spec: ModelSpec, model: nn.Module) -> nn.Module:
    if getattr(model, "main_input_name", IMAGES) != IMAGES:
        raise PureError(
            f"{spec} is no network of images: it takes {model.main_input_name} ({type(model).__name__}). Wrap its part "
            "for images in FILE.py:FUNCTION."
        )
    return model


def _require_whole(spec: ModelSpec, missing: list[str]) -> list[str]:
    """Make sure that the weights are all there but those of a pooler, of which a sentence is said."""
    if vital := [name for name in missing if POOLER not in name]:
        more = ", …" if len(vital) > SHOWN else ""
        raise PureError(
            f"The weights of {spec} lack {len(vital)} of the network's parameters ({', '.join(vital[:SHOWN])}{more}). "
            "Pass whole ones with --weights FILE."
        )
    if not missing:
        return []
    return [f"The weights of {spec} have no {', '.join(missing)}: these are random, and come behind all layers."]


@contextmanager
def quiet() -> Iterator[None]:
    """A context in which transformers says nothing and draws no bars: what matters is said in sentences of pure's."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
