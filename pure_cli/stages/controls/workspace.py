"""The workspace of a control: the stages of the workspace that it lies in, with the same options, on other weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from pure_cli.config import make
from pure_cli.core.directions import module_of
from pure_cli.core.features import Kind
from pure_cli.errors import PureError
from pure_cli.models.spec import parse_model
from pure_cli.models.trust import require_trusted
from pure_cli.settings.evaluate import EvaluateSettings
from pure_cli.settings.shared import FLOAT32
from pure_cli.stages.attribute import attribute
from pure_cli.stages.collect import collect, remembered_options
from pure_cli.stages.controls.network import Control, ControlWeights, control_weights
from pure_cli.stages.embed import embed
from pure_cli.stages.evaluation.measured import Measured
from pure_cli.stages.evaluation.result_files import SEPARATION
from pure_cli.stages.evaluation.study import Study
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.outcome import Progress
from pure_cli.stages.runtime.arithmetic import arithmetic_of
from pure_cli.words import counted
from pure_cli.workspace import Store

HOW = ("rule", "position", "precision", "store")  # of relevances, in what they depend on
Measure = Callable[[Store, EvaluateSettings, Progress], tuple[list[Measured], list[str]]]


def measured_in(
    control: Control,
    done: Iterable[Measured],
    settings: EvaluateSettings,
    measure: Measure,
    progress: Progress,
    notes: list[str],
) -> tuple[ControlWeights, dict[str, Measured]]:
    """Measure the same in the workspace of a control; what is up to date there is not made again.

    Parameters
    ----------
    done : what was measured of the network
    measure : the metrics that settings ask for, in a workspace
    notes : gets what the user should know

    Returns
    -------
    weights, measured
        Of the control, the latter by the key of the results that they stand beside.

    Raises
    ------
    PureError
        The control cannot be made, or a stage refuses it.
    """
    by_study: dict[int, list[Measured]] = {}
    for one in done:
        by_study.setdefault(id(one.study), []).append(one)
    studies = [group[0].study for group in by_study.values()]
    sources, layers = studies[0].sources, list(dict.fromkeys(study.layer for study in studies))
    own = control.store(sources.store)
    found: dict[str, Measured] = {}
    with own.lock("evaluate"):
        weights = control_weights(control, sources, layers, settings.device)
        _collect(own, sources, layers, weights, settings, progress)
        for group in by_study.values():
            study = group[0].study
            _attribute(own, study, settings, progress)
            _embed(own, study, settings, progress)
            notes += _dead(own, control, study)
            names = {one.where.key: study.judge if one.metric == SEPARATION else one.name for one in group}
            there, _ = measure(own, _settings(study, list(names.values()), settings), progress)
            found |= dict(zip(names, there, strict=True))
    return weights, found


def _settings(study: Study, names: list[str], settings: EvaluateSettings) -> EvaluateSettings:
    """The same as of the study, said in full."""
    return settings.model_copy(
        update={
            "controls": [],
            "metric": names,
            "layer": [study.layer],
            "neurons": _listed(study.neurons),
            "features": study.features,
            "k": study.ks,
            "judge": study.judge or settings.judge,
            "embed": False,
            "latex": False,
        }
    )


def _listed(neurons: np.ndarray) -> str:
    return ",".join(map(str, neurons.tolist()))


def _collect(
    own: Store,
    sources: Sources,
    layers: list[str],
    weights: ControlWeights,
    settings: EvaluateSettings,
    progress: Progress,
) -> None:
    given = [layer for layer in layers if layer != module_of(layer)]
    if given:
        raise PureError(f"'{given[0]}' has directions, which were found for other weights; leave out --controls.")
    require_trusted(parse_model(sources.collected.origin["model"]))
    options = remembered_options(sources.store) | {
        "layer": layers,
        "weights": weights.weights,
        "seed": weights.seed,
        **_running(settings, sources.collected.origin.get("precision", FLOAT32)),
    }
    _do(collect, own, make("collect", options), progress)


def _attribute(own: Store, study: Study, settings: EvaluateSettings, progress: Progress) -> None:
    """At the lower layers that the features are of, the first among them: it is what is meant where none is named."""
    there = study.sources.attributed[study.layer]
    needed = {lower for kind in study.features for lower in study.source(kind).lower_layers}
    how = {name: value for name, value in there.provenance.settings.items() if name in HOW}
    options = {
        "layer": [study.layer],
        "neurons": _listed(study.neurons),
        "lower_layer": [lower for lower in there.lower_layers if lower in {there.lower_layers[0], *needed}],
        **_running(settings, FLOAT32),
        **how,
    }
    _do(attribute, own, make("attribute", options), progress)


def _embed(own: Store, study: Study, settings: EvaluateSettings, progress: Progress) -> None:
    """By the embedders that judge, and whose embeddings are compared."""
    from pure_cli.embedders.spec import parse_embedder

    kinds = [kind for kind in study.features if Kind.of(kind).is_embedding]
    for kind in dict.fromkeys([*kinds, *([study.judge] if study.judge else [])]):
        there = study.sources.embedded[study.layer, kind]
        require_trusted(parse_embedder(**there.recipe).model)
        options = {
            "embedder": [there.recipe["text"]],
            "embedder_layer": there.recipe["layer"],
            "embedder_weights": there.recipe["weights"],
            "embedder_size": there.recipe["size"],
            "crop": there.provenance.settings["crop"],
            "layer": [study.layer],
            "neurons": _listed(study.neurons),
            **_running(settings, there.provenance.precision),
        }
        known = {name: value for name, value in options.items() if value is not None}
        _do(embed, own, make("embed", known), progress)


def _running(settings: EvaluateSettings, precision: str) -> dict[str, Any]:
    """How networks are run here, in the precision that the results beside them have."""
    return {**settings.running, "precision": precision}


def _do(stage: Callable[..., Any], own: Store, settings: Any, progress: Progress) -> None:
    with arithmetic_of(settings):
        stage(own, settings, progress)


def _dead(own: Store, control: Control, study: Study) -> Iterator[str]:
    """In a sentence, how many neurons of a control fire on nothing, or on all alike."""
    there = Sources(own)
    top = there.collected.layers[study.layer].top
    dead = 0
    for neuron in study.neurons.tolist():
        values = top.value[neuron][there.excites(study.layer, neuron)]
        dead += len(values) < 2 or bool(values.min() == values.max())
    if dead == len(study.neurons):
        yield (
            f"The {control.name} network is dead in '{study.layer}': no neuron tells images apart. Its figures say "
            "nothing."
        )
    elif dead:
        yield (
            f"In the {control.name} network {dead:,} of {counted(len(study.neurons), 'neuron')} of '{study.layer}' "
            "fire on nothing, or on all alike."
        )
