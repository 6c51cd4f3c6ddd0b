"""What the paper found (Dreyer et al. 2024, arXiv 2404.06453), and whether a study is of the same setting."""

from pure_cli.config import presets, read_config
from pure_cli.models.spec import NO_WEIGHTS
from pure_cli.stages.attribute import GRADIENT_X_INPUT
from pure_cli.stages.embeddings.judges import DEFAULT_CROP
from pure_cli.stages.evaluation.study import Study

K = 2
N = 100
SEPARATION = {"dinov2": (5.79, 6.48), "pure": (5.85, 6.40), "activation-mean": (5.95, 6.26)}  # intra, inter
RANDOM = 6.08
POLYSEMANTIC = 1.5  # inter − intra of CLIP's own clusters above which a neuron counts as polysemantic
CORRELATION = {"dinov2": 0.57, "pure": 0.38, "activation-mean": 0.17}
NOTE = " Published: ResNet101, 1000 neurons, CLIP, ImageNet (arXiv 2404.06453)."

PRESET = "resnet101"
JUDGES = ("clip", "clip:ViT-B-32/openai")


def same_setting(study: Study) -> bool:
    """Whether network, layers, rule, n, crop and judge are the paper's, as far as a workspace can tell.

    It cannot tell whether a weights file is the paper's, nor whether the images are ImageNet's.
    """
    collected, attributed = study.sources.collected, study.sources.attributed[study.layer]
    paper = read_config(presets()[PRESET])
    return (
        by_clip(study)
        and collected.origin["model"] == paper["model"]
        and collected.origin["weights"] != NO_WEIGHTS
        and collected.layers[study.layer].n == N
        and "score" not in collected.layers[study.layer].provenance.settings
        and study.layer == paper["layer"]
        and attributed.lower_layers[0] == paper["lower_layer"]
        and attributed.provenance.settings["rule"] == GRADIENT_X_INPUT
        and "position" not in attributed.provenance.settings
    )


def by_clip(study: Study) -> bool:
    """Whether the judge is the paper's."""
    rows = study.sources.embedded.get((study.layer, study.judge))
    return (
        rows is not None
        and rows.recipe["text"] in JUDGES
        and rows.recipe["weights"] != NO_WEIGHTS
        and rows.recipe["size"] is None
        and rows.provenance.settings["crop"] == DEFAULT_CROP
    )
