"""Virtual neurons as objects: each with its address, its images and what sets it apart."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from pure_cli.artifacts import clustering_path, need_clusterings
from pure_cli.config import make
from pure_cli.errors import PureError
from pure_cli.settings.export import MembersSettings
from pure_cli.stages.cluster import tables
from pure_cli.stages.export import members
from pure_cli.stages.inputs.choice import K, chosen
from pure_cli.stages.inputs.features import Sources
from pure_cli.views.notebook import Displayed
from pure_cli.words import counted
from pure_cli.workspace import Store

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType


@dataclass(frozen=True, eq=False)
class VirtualNeuron:
    """One meaning of a neuron.

    Attributes
    ----------
    address : as in figures: ``layer4/201.2``, counted from 1
    layer, neuron, number : its parts
    images : indices (m,) int64 of its references in the data, the highest score first
    paths : of these, as the data set has them
    scores : of these (m,) float32
    share : of the neuron's references that belong to a virtual neuron
    classes : names with counts and lifts of the classes that stand out among the images
    lower_channels : layer, channel and value of those that its centroid is largest at
    centroid : (D,) float32
    channels : address and value of the lower channels that it has more relevance of than its siblings have, as in
        ``("layer2/14", 0.03)``, where all relevance of a reference is 1 in absolute value; none where there are no
        siblings, or no relevances
    label : what `label` calls it, "no label" where nothing fits better than chance; "" where it was not labelled
    among : all virtual neurons of the layer; None where it stands alone
    """

    address: str
    layer: str
    neuron: int
    number: int
    images: np.ndarray
    paths: tuple[str, ...]
    scores: np.ndarray
    share: float
    classes: tuple[tuple[str, int, float | None], ...]
    lower_channels: tuple[tuple[str, int, float], ...]
    centroid: np.ndarray
    channels: tuple[tuple[str, float], ...] = ()
    label: str = ""
    among: VirtualNeurons | None = None

    def _repr_html_(self) -> str | None:
        """The pane of its neuron, as in the atlas, at this virtual neuron."""
        return self.among.pane(self.neuron, self.address) if self.among else None

    def __repr__(self) -> str:
        classes = ", ".join(f"{name} ({count})" for name, count, _ in self.classes)
        label = f" “{self.label}”" if self.label else ""
        return f"<VirtualNeuron {self.address}{label}: {len(self.images)} references{': ' if classes else ''}{classes}>"


class OfNeuron(list[VirtualNeuron]):
    """All virtual neurons of a neuron, which a notebook shows as the atlas does."""

    def _repr_html_(self) -> str | None:
        """The pane of the neuron, as in the atlas."""
        one = self[0] if self else None
        return one.among.pane(one.neuron, f"{one.layer}/{one.neuron}") if one and one.among else None


class VirtualNeurons(Displayed, Collection[VirtualNeuron]):
    """The virtual neurons of a layer, for one kind of features and one k; neurons ascending.

    ``found["201.2"]`` is virtual neuron 2 of neuron 201, ``found[201]`` the list of all of that neuron.

    Attributes
    ----------
    layer, features, k : of the clustering; what addresses mean where neither features nor k are said
    clustering : its arrays
    """

    def __init__(self, store: Store, layer: str, features: str | None = None, k: int | str | None = None):
        clusterings = need_clusterings(store)
        if features is None:
            choice = chosen(store, layer, clusterings)
            features, k = choice.features, choice.k if k is None else k
        k = K if k is None else k
        clustering = clusterings.get(clustering_path(layer, features, k))
        if clustering is None:
            raise PureError(
                f"There is no clustering of '{layer}' by {features} with k = {k}. Run `pure cluster` first."
            )
        Sources(store).features_of(layer, features).require_current(clustering)
        self.layer, self.features, self.k, self.clustering = layer, features, k, clustering
        self._store = store

    @cached_property
    def _table(self) -> dict[str, Any]:
        given = {"layer": [self.layer], "features": [self.features], "k": [self.k], "sort": "neuron"}
        given["neurons"] = self.clustering.neuron.tolist()
        (found,) = tables(self._store, make("cluster", given), members=True)
        return found

    @cached_property
    def _all(self) -> dict[str, VirtualNeuron]:
        found = [one for row in self._table["neurons"] for one in _of_neuron(self, row)]
        return {one.address: one for one in found}

    def pane(self, neuron: int, start: str) -> str:
        """HTML with the pane of a neuron, as in the atlas.

        Parameters
        ----------
        start : address that it is opened at
        """
        from pure_cli.stages.atlas_content.inline import inline

        return inline(self._store, self.layer, [neuron], start, (self.features, self.k))

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, one: object) -> bool:
        return any(one is virtual for virtual in self)

    @overload
    def __getitem__(self, which: str) -> VirtualNeuron: ...

    @overload
    def __getitem__(self, which: int) -> OfNeuron: ...

    def __getitem__(self, which: str | int) -> VirtualNeuron | OfNeuron:
        """By address, with or without the layer; all of a neuron by its number, none where it never fires.

        Raises
        ------
        PureError
            No virtual neuron has that address, or the neuron was not clustered.
        """
        neurons = self.clustering.neuron.tolist()
        if isinstance(which, int | np.integer) and which in neurons:
            return OfNeuron(one for one in self if one.neuron == which)
        text = str(which)
        address = text if text in self._all else f"{self.layer}/{text}"
        if address in self._all:
            return self._all[address]
        number = text.rpartition("/")[2].partition(".")[0]
        if number.isdecimal() and int(number) in neurons:
            own = [one.address.rpartition("/")[2] for one in self if one.neuron == int(number)]
            there = f"It has {', '.join(own)}." if own else "It never fires."
            raise PureError(f"Neuron {number} of '{self.layer}' has no virtual neuron '{text}'. {there}")
        example = next(iter(self)).address
        raise PureError(
            f"'{text}' is no virtual neuron of '{self.layer}'. Write NEURON.NUMBER, as in {example}, or a "
            f"neuron's number; {counted(len(neurons), 'neuron')} were clustered."
        )

    def __iter__(self) -> Iterator[VirtualNeuron]:
        return iter(self._all.values())

    def table(self) -> dict[str, list[Any]]:
        """A row for each reference of each virtual neuron, by column; see `pure_cli.stages.export.members`."""
        return members(self._store, MembersSettings(layer=[self.layer], features=[self.features], k=[self.k]))

    def dataframe(self) -> pd.DataFrame:
        """`table` as a DataFrame of pandas.

        Raises
        ------
        PureError
            pandas is not there.
        """
        try:
            import pandas as pd
        except ImportError:
            raise PureError("A DataFrame needs pandas: pip install 'pure-cli[pandas]', or take table().") from None
        return pd.DataFrame(self.table())

    def __rich__(self) -> RenderableType:
        from pure_cli.views.tables import as_rich
        from pure_cli.views.virtual_neurons import as_table

        return as_rich(as_table(self._table), compact=True)


def _of_neuron(among: VirtualNeurons, row: dict[str, Any]) -> Iterator[VirtualNeuron]:
    """The virtual neurons of a row of `pure_cli.stages.cluster.tables`."""
    neuron, layer, clustering = row["neuron"], among.layer, among.clustering
    centroids = clustering.centroid[clustering.virtual_neuron == neuron]
    belonging = sum(one["size"] for one in row["virtual_neurons"])
    for number, one in enumerate(row["virtual_neurons"]):
        images = one["images"]
        yield VirtualNeuron(
            f"{layer}/{one['name']}",
            layer,
            neuron,
            number + 1,
            np.array([image["index"] for image in images], np.int64),
            tuple(image["path"] for image in images),
            np.array([image["score"] for image in images], np.float32),
            one["size"] / belonging,
            tuple((*named, lift) for named, lift in zip(one["classes"], one["lift"], strict=True)),
            tuple((channel["layer"], channel["channel"], channel["value"]) for channel in one["lower_channels"]),
            centroids[number],
            tuple((channel["address"], channel["value"]) for channel in one["channels"] or ()),
            one.get("label", ""),
            among,
        )
