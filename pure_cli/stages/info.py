"""info: what a workspace holds, and what of it is stale and why. Loads no model."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pure_cli.artifacts import (
    Choice,
    Clustering,
    Collected,
    CollectedLayer,
    clustering_path,
    read_assignments,
    read_audits,
    read_clusterings,
    read_collected,
    read_evaluations,
    read_labels,
)
from pure_cli.errors import PureError
from pure_cli.provenance import UP_TO_DATE, Provenance, Status
from pure_cli.settings.shared import FLOAT32
from pure_cli.stages.controls.network import Control, controls_of
from pure_cli.stages.embeddings.judges import weights_of
from pure_cli.stages.evaluation.result_files import ALL, PLANTED
from pure_cli.stages.inputs.choice import chosen, how_chosen, there_are
from pure_cli.stages.inputs.features import GONE, Sources
from pure_cli.stages.inputs.freshness import Inputs, inputs_now
from pure_cli.stages.inputs.lower_channels import ChannelReader
from pure_cli.stages.labelling.names import names_of
from pure_cli.stages.neuron_figures.index import CIRCUITS, FIGURES, FigureIndex
from pure_cli.stages.resume.parts import told as parts_told
from pure_cli.words import counted
from pure_cli.workspace import PARTIAL, STAGE_FILES, Store

NAMED = 3  # classes of an audit
CHECKED = 1 << 26  # bytes of a file that is read as a whole each time
WRITTEN_TO = {"calibrate": "evaluate", "label": "labels"}  # files that have another name than their stage


@dataclass(frozen=True)
class Result:
    """One thing that a stage made.

    Attributes
    ----------
    what : in words
    """

    stage: str
    layer: str
    what: str
    status: Status

    def as_dict(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "layer": self.layer,
            "what": self.what,
            "stale": self.status.reason or None,
            "status": str(self.status),
        }


def info(store: Store, verify: bool = False, channels: bool = False) -> dict[str, Any]:
    """Contents of a workspace, JSON-like.

    Parameters
    ----------
    verify : compare the content of all images with what was collected, and read all files of the workspace as a whole
    channels : add "channels": for each layer, the lower channels that set the virtual neurons apart which addresses
        mean, by their names ("201.2"); of `pure_cli.stages.inputs.lower_channels.LowerChannel`, none without relevances

    Returns
    -------
    dict with "workspace", "files" (name, bytes), "origin", "results": a list of dicts with "stage", "layer", "what",
    "status"; "addresses": for each layer "features", "k" and "how" of the clustering that addresses mean, "damaged"
    images, "notes" on what was left out or guessed, "unfinished" work, "parts" of work that are not put together (of
    `pure_cli.stages.resume.parts.told`), "problems" with files that cannot be read, and
    "unchecked" files, which are too large to be read as a whole each time

    Raises
    ------
    PureError
        No such workspace.
    """
    store.require_folder()
    problems = _damaged_files(store, verify)
    files = {name: store.path(name).stat().st_size for name in STAGE_FILES if store.has(name)}
    unfinished, (parts, damaged_parts) = store.root / PARTIAL, parts_told(store)
    found: dict[str, Any] = {
        "workspace": store.place,
        "files": files,
        "origin": {},
        "results": [],
        "addresses": {},
        "damaged": [],
        "notes": [],
        "problems": [*problems.values(), *damaged_parts],
        "parts": parts,
        "unfinished": sorted(path.name for path in unfinished.glob("*")) if unfinished.is_dir() else [],
        "unchecked": [] if verify else [name for name, size in files.items() if size > CHECKED],
    }
    if not store.has("collect"):
        return found
    try:
        collected = read_collected(store)
    except PureError as error:
        found["problems"] = list(dict.fromkeys([*found["problems"], str(error)]))
        return found
    inventory = _Inventory(store, collected, verify)
    for result in inventory.results():
        file = WRITTEN_TO.get(result.stage, result.stage)
        if file in problems:
            result = replace(result, status=Status(f"{store.path(file).name} is damaged"))
        found["results"].append(result.as_dict())
    found |= {"origin": collected.origin, "damaged": collected.damaged, "notes": inventory.notes}
    found["addresses"] = {
        layer: {"features": one.features, "k": one.k, "how": how_chosen(store, layer, one)}
        for layer, one in inventory.meant.items()
    }
    if channels:
        found["channels"] = inventory.channels()
    found["problems"] = list(dict.fromkeys([*found["problems"], *inventory.problems]))
    return found


def _damaged_files(store: Store, verify: bool) -> dict[str, str]:
    """What is wrong with files of the workspace: small ones are read as a whole, large ones opened."""
    problems = {}
    for name in STAGE_FILES:
        if store.has(name):
            try:
                if verify or store.path(name).stat().st_size <= CHECKED:
                    store.check(name)
                else:
                    with store.read(name):
                        pass
            except PureError as error:
                problems[name] = str(error)
    return problems


class _Inventory:
    """What the files of a workspace hold, stage by stage: whatever a stale result leads to is stale, too.

    Attributes
    ----------
    problems, notes : sentences, once all results were seen
    """

    def __init__(self, store: Store, collected: Collected, verify: bool):
        self._store, self._collected, self._verify = store, collected, verify
        self._sources = Sources(store)
        self.problems: list[str] = []
        self.notes: list[str] = []
        self._references: dict[str, Status] = {}  # by layer
        self._features: dict[tuple[str, str], Status] = {}  # by layer, and kind of embedding or "" for relevances
        self._clusterings: dict[str, Status] = {}  # by path

    def results(self) -> Iterator[Result]:
        yield from self._of_collect()
        try:
            attributed = self._sources.attributed if self._store.has("attribute") else {}
            embedded = self._sources.embedded
        except PureError as error:
            self.problems.append(str(error))
            return
        for layer in attributed:
            yield self._of_attribute(layer)
        for layer, kind in embedded:
            yield self._of_embed(layer, kind)
        yield from self._of_cluster()
        yield from self._of_assign()
        yield from self._of_label()
        yield from self._of_audit()
        yield from self._of_evaluate()
        yield from self._of_render()
        yield from self._of_controls()

    @cached_property
    def _clustered(self) -> dict[str, Clustering]:
        try:
            return read_clusterings(self._store)
        except PureError as error:
            self.problems.append(str(error))
            return {}

    def _of_collect(self) -> Iterator[Result]:
        now: Inputs | None = None
        try:
            now = inputs_now(self._store, self._collected, self._verify)
            self.problems += _of_images(now)
            self.notes += now.listing.notes
        except PureError as error:
            self.problems.append(f"It cannot be told whether the references are up to date: {error}")
        for name, layer in self._collected.layers.items():
            status = now.status(layer) if now else Status("what they were made from cannot be read")
            self._references[name] = status
            yield Result("collect", name, _references(layer), status)

    def _of_attribute(self, name: str) -> Result:
        layer = self._sources.attributed[name]
        status = _first_stale(self._references.get(name, GONE), self._sources.status_of_relevances(name))
        self._features[name, ""] = status
        what = f"{len(layer.neuron)} neurons × {layer.image.shape[1]} references at {', '.join(layer.lower_layers)}"
        what = f"{what}, {layer.provenance.settings['rule']}{_rough(layer.provenance)}"
        return Result("attribute", name, what, status)

    def _of_embed(self, name: str, kind: str) -> Result:
        rows = self._sources.embedded[name, kind]
        status = _first_stale(self._references.get(name, GONE), self._sources.status_of_embeddings(name, kind))
        self._features[name, kind] = status
        what = f"{len(rows.neuron)} neurons × {rows.shape[0]} references, {kind}"
        parts = [what, f"crop {rows.provenance.settings['crop']}", weights_of(rows.recipe)]
        return Result("embed", name, ", ".join(filter(None, parts)) + _rough(rows.provenance), status)

    def _of_cluster(self) -> Iterator[Result]:
        alike: dict[tuple[str, str, Status], list[int | str]] = defaultdict(list)
        for path, clustering in self._clustered.items():
            own = clustering.provenance.settings
            layer, features, k = own["layer"], own["features"], own["k"]
            where = (layer, features) if (layer, features) in self._features else (layer, "")
            status = self._features.get(where, Status("its features are gone"))
            if status.up_to_date:
                source = self._sources.features_of(layer, features, check=False)
                status = clustering.provenance.status(source.clustering_provenance(k, own["seed"]))
            self._clusterings[path] = status
            alike[layer, f"{counted(len(clustering.neuron), 'neuron')}, {features} features, k = ", status].append(k)
        for (layer, what, status), ks in alike.items():
            yield Result("cluster", layer, what + ", ".join(map(str, sorted(ks, key=str))), status)

    @cached_property
    def meant(self) -> dict[str, Choice]:
        """The clustering that addresses mean, by layer; none where what was chosen is gone."""
        found = {}
        for layer in there_are(self._clustered.values()):
            try:
                found[layer] = chosen(self._store, layer, self._clustered)
            except PureError as error:
                self.problems.append(str(error))
        return found

    def channels(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """What sets virtual neurons apart, of the clusterings that addresses mean and that are up to date."""
        found: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for layer, choice in self.meant.items():
            path = clustering_path(layer, choice.features, choice.k)
            if path not in self._clusterings or not self._clusterings[path].up_to_date:
                continue
            reader = ChannelReader(self._sources, layer, self._clustered[path])
            for neuron in self._clustered[path].neuron.tolist():
                for number, apart in enumerate(reader.setting_apart(neuron) or (), 1):
                    found.setdefault(layer, {})[f"{neuron}.{number}"] = [one.as_dict() for one in apart]
        return found

    def _of_assign(self) -> Iterator[Result]:
        try:
            assignments = read_assignments(self._store)
        except PureError as error:
            self.problems.append(str(error))
            return
        for layer, assignment in assignments.items():
            path = assignment.clustering_path(self._clustered)
            status = self._clusterings[path] if path else Status("its virtual neurons changed")
            count = counted(len(assignment.neuron), "neuron")
            what = f"{count} on {len(assignment.path):,} images of {assignment.provenance.settings['data']}"
            what += (f", {_features(path)}" if path else "") + _rough(assignment.provenance)
            yield Result("assign", layer, what + (self._meant_now(path) if path else ""), status)

    def _of_label(self) -> Iterator[Result]:
        try:
            labels = read_labels(self._store)
        except PureError as error:
            self.problems.append(str(error))
            return
        for layer, own in labels.items():
            how, made = own.provenance.settings, own.provenance.made_from
            prints = {one.provenance.fingerprint: path for path, one in self._clustered.items()}
            status = self._features.get((layer, how["embedder"]), Status("its embeddings are gone"))
            rows = self._sources.embedded.get((layer, how["embedder"]))
            if rows and not rows.provenance.passed_on("embed").items() <= made.items():
                status = _first_stale(status, Status("its embeddings changed"))
            meant = ""
            if made["cluster"]:
                path = prints.get(made["cluster"])
                meant = self._meant_now(path) if path else ""
                own_status = self._clusterings[path] if path else Status("its virtual neurons changed")
                status = _first_stale(status, own_status)
            what = f"{counted(len(own.unit), 'unit')} by {how['by']}, {how['embedder']}, {', '.join(how['concepts'])}"
            yield Result("label", layer, what + _rough(own.provenance) + meant, status)

    def _of_audit(self) -> Iterator[Result]:
        """Classes, those together that were audited in the same layers and on the same images."""
        try:
            audits = read_audits(self._store)
        except PureError as error:
            self.problems.append(str(error))
            return
        prints = {one.provenance.fingerprint: path for path, one in self._clustered.items()}
        alike: dict[tuple[str, str, Status], list[str]] = defaultdict(list)
        for one in audits.values():
            paths = [prints.get(print) for print in one.provenance.made_from["cluster"].values()]
            gone = Status("its virtual neurons changed")
            status = _first_stale(*(self._clusterings[path] if path else gone for path in paths))
            what = f"on {one.provenance.settings['data']}{_rough(one.provenance)}"
            meant = dict.fromkeys(self._meant_now(path) for path in paths if path)
            alike[", ".join(one.layers), what + "".join(meant), status].append(one.name)
        for (layers, what, status), names in alike.items():
            some = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
            yield Result(
                "audit", layers, f"{len(names)} class{'' if len(names) == 1 else 'es'} ({some}) {what}", status
            )

    def _meant_now(self, path: str) -> str:
        """What addresses of the layer mean, where that is another clustering than this."""
        _, layer, *_ = path.split("/")
        now = self.meant.get(layer)
        if now is None or clustering_path(layer, now.features, now.k) == path:
            return ""
        return f"; addresses mean {now} now"

    def _of_evaluate(self) -> Iterator[Result]:
        """What was measured, and whether the virtual neurons and the judge are still what they were."""
        try:
            evaluations = read_evaluations(self._store)
        except PureError as error:
            self.problems.append(str(error))
            return
        for key, provenance in evaluations.items():
            own, (name, _, run) = provenance.settings, key.split("/")
            if own["metric"] == PLANTED:
                what = f"units with known meanings, budget {own['budget']:g}{_rough(provenance)}"
                yield Result("calibrate", own["layer"], what, self._of_units(own["layer"], provenance))
                continue
            what = f"{name}, {counted(len(own['neurons']), 'neuron')}, k = {', '.join(map(str, own['k']))}"
            what += _rough(provenance)
            what = what if run == ALL else f"{what} ({run})"
            status = _first_stale(
                self._of_values(own["layer"], own["judge"], provenance), self._beside(provenance.made_from)
            )
            yield Result("evaluate", own["layer"], what, status)

    def _beside(self, made_from: dict[str, Any]) -> Status:
        """Whether the controls that results stand beside are what they were."""
        for name, there in made_from.get("controls", {}).items():
            own = Control.of(name).store(self._store)
            now = read_evaluations(own).get(there["key"]) if own.has("evaluate") else None
            if now is None or now.fingerprint != there["fingerprint"]:
                return Status(f"the control '{name}' changed")
        return UP_TO_DATE

    def _of_units(self, layer: str, provenance: Provenance) -> Status:
        status = self._references.get(layer, GONE)
        if status.up_to_date:
            now = self._collected.layers[layer].provenance.passed_on("collect")
            status = UP_TO_DATE if now == provenance.made_from["collect"] else Status("the references changed")
        return status

    def _of_values(self, layer: str, judge: str, provenance: Provenance) -> Status:
        clusterings = provenance.made_from["cluster"]
        paths = {name: clustering_path(layer, *name.rsplit(" k", 1)) for name in clusterings}
        there = {name: path for name, path in paths.items() if path in self._clustered}
        now = {name: self._clustered[path].provenance.fingerprint for name, path in there.items()}
        if now != clusterings or not all(self._clusterings[path].up_to_date for path in there.values()):
            return Status("its virtual neurons changed")
        rows = self._sources.embeddings(layer).get(judge)
        if judge and (rows is None or rows.provenance.fingerprint != provenance.made_from["judge"]):
            return Status(f"the {judge} embeddings changed")
        return UP_TO_DATE

    def _of_controls(self) -> Iterator[Result]:
        """Controls, each a workspace of its own, and whether they are of the network that there is."""
        for folder, record in controls_of(self._store).items():
            own, name = Store(folder), folder.name.replace("-", ":")
            try:
                found = list(_Inventory(own, read_collected(own), False).results()) if own.has("collect") else []
            except PureError as error:
                self.problems.append(str(error))
                continue
            for layer in dict.fromkeys(one.layer for one in found):
                made = [one for one in found if one.layer == layer]
                metrics = dict.fromkeys(one.what.split(",")[0] for one in made if one.stage == "evaluate")
                status = next((one.status for one in made if not one.status.up_to_date), UP_TO_DATE)
                if record["of"]["state"] != self._collected.origin["state"]:
                    status = Status("it is of other weights")
                yield Result("control", layer, f"{name}: {', '.join(metrics) or 'nothing measured yet'}", status)

    def _of_render(self) -> Iterator[Result]:
        for result, _ in self._of_figures(FIGURES, "figures"):
            yield result
        for result, path in self._of_figures(CIRCUITS, "figures of circuits"):
            yield replace(result, what=result.what + self._meant_now(path))

    def _renamed(self, index: FigureIndex, path: str) -> int:
        """Figures of a clustering that were drawn with other labels than there are."""
        _, layer, *_ = path.split("/")
        try:
            names = names_of(self._store, layer, self._clustered[path]) if path in self._clustered else None
        except PureError:  # told where the labels are
            return 0
        now = names.provenance.fingerprint if names else None
        return sum(entry["clustering"] == path and entry.get("labels") != now for entry in index)

    def _of_figures(self, folder: str, what: str) -> Iterator[tuple[Result, str]]:
        """And the path of their clustering."""
        index = FigureIndex(self._store.root / folder)
        for path, count in Counter(entry["clustering"] for entry in index).items():
            status = self._clusterings.get(path, Status("its virtual neurons are gone"))
            now = self._clustered[path].provenance.fingerprint if path in self._clustered else None
            old = sum(entry["clustering"] == path and entry["fingerprint"] != now for entry in index)
            if status.up_to_date and old:
                status = Status(f"the virtual neurons of {old} changed")
            if status.up_to_date and (other := self._renamed(index, path)):
                status = Status(f"the labels of {other} changed")
            yield Result("render", path.split("/")[1], f"{count} {what}, {_features(path)}", status), path


def _first_stale(*statuses: Status) -> Status:
    return next((status for status in statuses if not status.up_to_date), UP_TO_DATE)


def _features(path: str) -> str:
    """Of a clustering, in words."""
    _, _, features, k = path.split("/")
    return f"{features} features, k = {k[1:]}"


def _rough(provenance: Provenance) -> str:
    """In what it was computed, where that is not float32."""
    return "" if provenance.precision == FLOAT32 else f", in {provenance.precision}"


def _references(layer: CollectedLayer) -> str:
    """In words, what was collected of a layer."""
    own = layer.provenance.settings
    score = own.get("score", {})
    what = f"{layer.neurons} neurons × {own['n']} references"
    if band := own.get("band"):
        what += f" between percentiles {band[0]:g} and {band[1]:g} of activation"
    what += f", by {score.get('by', 'activation')} ({score['pool']} over space)" if score else ""
    if ranked := own.get("ranked_by"):
        what += f", by what goes into {ranked['function']}"
    if tied := int((layer.tied > 0).sum()):
        what += f", {tied:,} with equal scores"
    return what + _rough(layer.provenance)


def _of_images(now: Inputs) -> Iterator[str]:
    """Which images changed, and what cannot be told of them."""
    found, count = now.image_changes, counted(len(now.image_changes.changed), "image")
    if len(found.changed):
        yield f"{count} changed on disk since the references were collected: {found.names(now.listing)}."
    if found.compared < found.touched:
        yield (
            f"{counted(found.touched, 'image')} have another time of change than when they were collected; "
            f"{found.compared:,} were compared. `pure info --verify` compares all."
        )
