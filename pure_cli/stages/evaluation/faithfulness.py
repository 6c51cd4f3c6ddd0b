"""How far relevances, by each rule, tell what is lost without single lower channels."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.core.directions import module_of
from pure_cli.core.metrics.causal import weighted_drop
from pure_cli.core.metrics.correlation import pearson
from pure_cli.core.metrics.statistics import mean_and_error, paired_difference
from pure_cli.core.selection import evenly_spread
from pure_cli.errors import PureError
from pure_cli.registry import RULES
from pure_cli.stages.evaluation.metric import Metric
from pure_cli.stages.evaluation.noise import UNMEASURED, Scores, bold
from pure_cli.stages.evaluation.study import Result, Study, Table, finite, highest, number, spread
from pure_cli.stages.evaluation.surgery import Surgery, open_surgery
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.images import first_image, images_at_once
from pure_cli.stages.runtime.network import Network
from pure_cli.waiting import waiting_for
from pure_cli.words import counted, listed

if TYPE_CHECKING:
    import torch

    from pure_cli.core.circuits import Firing

NEURONS, REFERENCES = 64, 4  # looked at, at most; references of each
ACTIVATION, RANDOM = "activation", "at random"
SHUFFLED = "weights shuffled"
SHARE = 4  # of memory: some rules take as much for an image


@dataclass(frozen=True)
class _Cases:
    """Neurons and references that are looked at.

    Attributes
    ----------
    row : (M,) of the neuron among those looked at
    neuron, image : (M,)
    """

    row: np.ndarray
    neuron: np.ndarray
    image: np.ndarray


def compute(study: Study) -> Result:
    """Correlation over lower channels of what is lost without each with its relevance, by rules and by controls."""
    surgery = open_surgery(study)
    cases = _cases(study, surgery)
    rules, left_out = _rules(surgery)
    total, done = len(cases.image) + len(rules) + 1, 0
    effects = np.full((len(cases.image), sum(surgery.widths)), np.nan)
    for place, (neuron, image) in enumerate(zip(cases.neuron, cases.image, strict=True)):
        effects[place] = _effects(surgery, int(neuron), int(image))
        study.progress(done := done + 1, total)
    predicted: dict[str, np.ndarray] = {}
    for rule in rules:
        predicted[rule], activations = _relevances(surgery, surgery.plain, rule, cases)
        study.progress(done := done + 1, total)
    predicted[f"{rules[0]}, {SHUFFLED}"], _ = _relevances(surgery, _shuffled(surgery), rules[0], cases)
    predicted[ACTIVATION] = activations
    predicted[RANDOM] = np.random.default_rng(study.seed).standard_normal(effects.shape)
    study.progress(total, total)
    return _result(study, surgery, cases, effects, predicted, left_out)


def _result(
    study: Study,
    surgery: Surgery,
    cases: _Cases,
    effects: np.ndarray,
    predicted: dict[str, np.ndarray],
    left_out: list[str],
) -> Result:
    looked_at = study.neurons[np.unique(cases.row)] if len(cases.row) else study.neurons[:0]
    result, rows = Result(arrays={"neuron": looked_at, "effect": effects, "image": cases.image}), []
    of_rows = []
    result.arrays["case-neuron"] = cases.neuron
    for name, values in predicted.items():
        each = np.array([pearson(a, b) for a, b in zip(values, effects, strict=True)])
        found = np.array([_mean(each[cases.row == row]) for row in np.unique(cases.row)])
        estimate = paired_difference(found, np.zeros_like(found), study.seed)
        result.arrays[f"{name}/r"] = found
        of_rows.append(found)
        low, high = number(estimate.low), number(estimate.high)
        rows.append({"relevance by": name, "r": finite(mean_and_error(found)), "r low": low, "r high": high})
    title = (
        f"{study.layer}: relevance of single channels at {', '.join(surgery.lower_layers)} and what is lost without "
        f"them, {counted(len(looked_at), 'neuron')}"
    )
    columns, best = ["relevance by", *spread("r")], highest(rows, "r")
    note, verdict = f"{_note(surgery, left_out)} {UNMEASURED}", _verdict(study, rows)
    marked = bold({"r": Scores(of_rows)}, rows, study.seed)
    table = Table("faithfulness", title, columns, rows, note, verdict, best, bold=marked)
    result.tables.append(table)
    return result


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan


def _cases(study: Study, surgery: Surgery) -> _Cases:
    """References spread over the range of activation, of neurons spread over the study's."""
    excites, row, image = study.excites(), [], []
    chosen = evenly_spread(np.arange(len(study.neurons)), NEURONS)
    for place in chosen.tolist():
        slots = evenly_spread(np.flatnonzero(excites[place]), REFERENCES)
        image += surgery.references(int(study.neurons[place]))[slots].tolist()
        row += [place] * len(slots)
    rows = np.array(row, np.int64)
    return _Cases(rows, study.neurons[rows], np.array(image, np.int64))


def _effects(surgery: Surgery, neuron: int, image: int) -> np.ndarray:
    """(D,) what of the neuron's activation on an image is lost without each of the lower channels."""

    def fired(firing: Firing) -> torch.Tensor:
        from pure_cli.core.layout import channels_first

        return channels_first(firing.firing)[:, neuron]

    width = sum(surgery.widths)
    whole = surgery.read([image], fired)[0]
    after = surgery.read([image] * width, fired, np.eye(width, dtype=bool))
    if surgery.attributed.at_maximum:
        where = int(whole.argmax())
        whole, after = whole[where : where + 1], after[:, where : where + 1]
    return weighted_drop(whole, after)


def _rules(surgery: Surgery) -> tuple[list[str], list[str]]:
    """The rules that fit the network, that of the workspace first; and the others."""
    from pure_cli.models.layers import check_rules, list_layers
    from pure_cli.models.rules import missing_canonizer

    waiting_for("trying the rules on the network")
    plain = surgery.plain
    image, module = plain.inputs(first_image(surgery.listing, plain)), module_of(surgery.layer)
    layers, fit = list_layers(plain.model, image), []
    for rule in RULES.working():
        with suppress(PureError):
            if RULES[rule].hooks:
                check_rules(plain.model, layers, module)
            if rule == surgery.attributed.rule or missing_canonizer(rule, plain.model, image, module) is None:
                fit.append(rule)
    fit.sort(key=lambda rule: rule != surgery.attributed.rule)
    return fit, [rule for rule in RULES if rule not in fit]


def _shuffled(surgery: Surgery) -> Network:
    from pure_cli.core.controls import shuffle_weights
    from pure_cli.core.structure import same_channels
    from pure_cli.models.plain import copied

    model = copied(surgery.plain.model)
    same_channels(model, surgery.plain.model)
    shuffle_weights(model, surgery.seed)
    return replace(surgery.plain, model=model)


def _relevances(surgery: Surgery, network: Network, rule: str, cases: _Cases) -> tuple[np.ndarray, np.ndarray]:
    """(M, D) relevances by a rule, summed over space, and mean activations of the lower channels."""
    import torch

    from pure_cli.models.rules import circuits_for, in_force

    layer = surgery.layer
    size = images_at_once(surgery.listing, network, surgery.how.batch_size, SHARE)
    adaptive_batches, parts = AdaptiveBatches(surgery.notes), list[tuple[np.ndarray, np.ndarray]]()

    def compute(begin: int, end: int) -> None:
        inputs = network.inputs(surgery.images(cases.image[begin:end].tolist()))
        circuits = circuits_for(
            rule, network.model, inputs, module_of(layer), surgery.lower_layers, network.neurons(layer),
            network.bounds[module_of(layer)],
        )  # fmt: skip
        which = torch.from_numpy(cases.neuron[begin:end]).to(network.device)
        where = None
        if surgery.attributed.at_maximum:
            where = circuits.maxima(which)
        relevance = circuits.summed(which, last=True, positions=where)
        parts.append((_joined(relevance, surgery.lower_layers), _joined(circuits.lower_mean(), surgery.lower_layers)))

    with in_force(rule, network.model):
        adaptive_batches.each_of(len(cases.image), size, compute)
    relevances, activations = zip(*parts, strict=True)
    return np.concatenate(relevances), np.concatenate(activations)


def _joined(values: dict[str, torch.Tensor], layers: list[str]) -> np.ndarray:
    return np.concatenate([values[lower].float().cpu().numpy() for lower in layers], axis=1)


def _note(surgery: Surgery, left_out: list[str]) -> str:
    said = (
        f"r: Pearson correlation over all channels of {', '.join(surgery.lower_layers)} between relevance and the part "
        f"of the activation that is lost when single channels {surgery.how_in_words()}; mean over {REFERENCES} "
        f"references of each of at most {NEURONS} neurons, with its 95 % interval over neurons. {SHUFFLED}: relevances "
        f"of a copy of the network whose weights were shuffled within layers; {ACTIVATION}: the channels' mean "
        f"activations; {RANDOM}: numbers drawn at random."
    )
    return said + (f" Left out, since they do not fit this network: {listed(left_out)}." if left_out else "")


def _verdict(study: Study, rows: list[dict[str, Any]]) -> str:
    first, *others = rows
    (mean, _), low, high = first["r"], first["r low"], first["r high"]
    if mean is None:
        return f"Relevances of '{study.layer}' are the same for all channels, or nothing is lost without them."
    between = "" if low is None else f" ({low:.2f} … {high:.2f})"
    rest = [f"{row['relevance by']} by {row['r'][0]:.2f}" for row in others if row["r"][0] is not None]
    return (
        f"Relevance by {first['relevance by']} correlates with what is lost without single channels by "
        f"{mean:.2f}{between}; {listed(rest)}."
    )


METRIC = Metric(compute, options=("ablation", "precision"))
