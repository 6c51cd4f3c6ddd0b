"""The Python API: what every command does is one call here, with the names of the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli import config
from pure_cli.core.features import PURE
from pure_cli.errors import PureError
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.workspace import Store

if TYPE_CHECKING:
    from torch import nn

    from pure_cli.artifacts import Clustering


class Workspace:
    """A folder of results about one model and one set of images.

    Parameters
    ----------
    path : the folder; made when something is written
    model : a `torch.nn.Module` to work with, in place of a model's name; it stays as it is
    transform : for that model, from a PIL image to its input (3, H, W): a torchvision Compose that ends with Normalize,
        what torchvision's weights come with, or any function that gives pixels in 0..1
    waiting : called with a sentence when another process is at work in the folder

    Examples
    --------
    >>> from pure_cli import Workspace
    >>> workspace = Workspace("pure-workspace")
    >>> workspace.collect(model="resnet50", data="images", n=100)  # doctest: +SKIP
    >>> workspace.attribute(neurons=[201])  # doctest: +SKIP
    >>> workspace.cluster(k=[2, 3])  # doctest: +SKIP
    """

    def __init__(
        self,
        path: Path | str = "pure-workspace",
        model: nn.Module | None = None,
        transform: Callable[[Any], Any] | None = None,
        waiting: Callable[[str], None] = lambda _: None,
    ):
        self.store = Store(path)
        self._waiting = waiting
        self._model, self._transform = model, transform
        if model is None and transform is not None:
            raise PureError("A transform belongs to a model: Workspace(DIR, model=…, transform=…).")
        self._give()

    @property
    def path(self) -> Path:
        return self.store.root

    def collect(self, progress: Progress = silent, **options: Any) -> Outcome:
        """Find every neuron's reference images; options as of ``pure collect``: model, data, weights, layer, n, …

        Without a model, that of the workspace and its other options are meant.
        """
        from pure_cli.stages.collect import collect

        settings = config.make("collect", config.with_preset(self._with_remembered(options)))
        return self._run("collect", collect, settings, progress)

    def directions(self, how: str | None = None, progress: Progress = silent, **options: Any) -> Outcome:
        """Take a layer's activations apart into directions; options as of ``pure directions``: m, layer, out, …

        Parameters
        ----------
        how : "pca" or "nmf"

        Returns
        -------
        Outcome
            ``details["files"]`` has the file of each layer, for `collect` to take as its ``directions``.
        """
        from pure_cli.stages.directions import directions

        given = {"how": how} if how is not None else {}
        return self._run("directions", directions, config.make("directions", {**given, **options}), progress)

    def list_layers(self, **options: Any) -> dict[str, Any]:
        """The layers of a model, with the options of ``pure collect``; needs neither images nor weights.

        Returns
        -------
        dict with "layers", a list of name, kind, shape (without the batch; None for no single tensor), channels and
        calls, in the order in which they finish, and with "default" and "default_lower", the layers that stand in when
        none is named
        """
        from pure_cli.stages.layers import list_layers

        options = {"data": ".", **self._with_remembered(options)}
        return list_layers(config.make("collect", config.with_preset(options)))

    def attribute(self, progress: Progress = silent, **options: Any) -> Outcome:
        """Compute relevances; options as of ``pure attribute``: neurons, layer, lower_layer, rule, …"""
        from pure_cli.stages.attribute import attribute

        return self._run("attribute", attribute, config.make("attribute", options), progress)

    def embed(self, progress: Progress = silent, **options: Any) -> Outcome:
        """Embed references; options as of ``pure embed``: embedder, neurons, layer, crop, embedder_weights, …"""
        from pure_cli.stages.embed import embed

        return self._run("embed", embed, config.make("embed", options), progress)

    def cluster(self, progress: Progress = silent, **options: Any) -> Outcome:
        """Find virtual neurons; options as of ``pure cluster``: neurons, layer, features, k, seed."""
        from pure_cli.stages.cluster import cluster

        return self._run("cluster", cluster, config.make("cluster", options), progress)

    def calibrate(self, progress: Progress = silent, **options: Any) -> Outcome:
        """Find the best recipe on units with known meanings; options as of ``pure calibrate``: layer, budget, …"""
        from pure_cli.stages.calibrate import calibrate

        return self._run("calibrate", calibrate, config.make("calibrate", options), progress)

    def evaluate(self, progress: Progress = silent, **options: Any) -> Outcome:
        """Measure virtual neurons; options as of ``pure evaluate``: metric, features, k, judge, neurons, layer, …"""
        from pure_cli.stages.evaluate import evaluate

        return self._run("evaluate", evaluate, config.make("evaluate", options), progress)

    def render(self, progress: Progress = silent, **options: Any) -> Outcome:
        """Draw figures; options as of ``pure render``: neurons, layer, features, k, crop, format, out, …"""
        from pure_cli.stages.render import render

        return self._run("render", render, config.make("render", options), progress)

    def info(self, verify: bool = False) -> dict[str, Any]:
        """What the workspace holds and what is stale; see `pure_cli.stages.info.info`."""
        from pure_cli.stages.info import info

        return info(self.store, verify)

    def references(self, layer: str) -> dict[str, np.ndarray]:
        """The reference images of a layer: image (C, n) int64, value (C, n) float32, position (C, n) int32."""
        from pure_cli.artifacts import read_collected

        top = read_collected(self.store).layer(layer).top
        return {"image": top.image, "value": top.value, "position": top.position}

    def virtual_neurons(self, layer: str, features: str = PURE, k: int = 2) -> Clustering:
        """The virtual neurons of a layer.

        Raises
        ------
        PureError
            There is no such clustering.
        """
        from pure_cli.artifacts import clustering_path, read_clusterings

        found = read_clusterings(self.store).get(clustering_path(layer, features, k))
        if found is None:
            raise PureError(
                f"There is no clustering of '{layer}' by {features} with k = {k}. Run `pure cluster` first."
            )
        return found

    def virtual_neuron_tables(self, members: bool = False, **options: Any) -> list[dict[str, Any]]:
        """A table for each clustering that ``pure cluster`` with these options makes, the most clearly split neurons
        first, with `members` with images and lower channels; see `pure_cli.stages.cluster.tables`."""
        from pure_cli.stages.cluster import tables

        return tables(self.store, config.make("cluster", options), members)

    def members(self, **options: Any) -> dict[str, list[Any]]:
        """The images of each virtual neuron, by column: ``pandas.DataFrame(study.members(k=["2"]))``; options as of
        ``pure export``: neurons, layer, features, k. See `pure_cli.stages.export.members`."""
        from pure_cli.stages.export import members

        return members(self.store, **options)

    def _give(self) -> str:
        """The name of the model that was handed over, as it is now; "" where none was."""
        from pure_cli.models.handed_over import give

        return "" if self._model is None else give(self._model, self._transform)

    def _require_same_model(self) -> None:
        """Make sure that a model that was handed over is the one that the references were collected with."""
        from pure_cli.artifacts import read_collected

        if (given := self._give()) and given != read_collected(self.store).origin["model"]:
            raise PureError(
                "The references were collected with another model than the one handed over, or with other weights, "
                "another transform or other code. Hand over that one, or collect() again."
            )

    def _with_remembered(self, options: dict[str, Any]) -> dict[str, Any]:
        from pure_cli.models.spec import parse_model
        from pure_cli.models.trust import require_trusted
        from pure_cli.stages.collect import remembered_options

        given = self._give()
        if given and "model" in options:
            raise PureError("The workspace has a model that was handed over in Python; leave out the other one.")
        if given and not self.store.has("collect"):
            return {"model": given, **options}
        if "model" in options or not self.store.has("collect"):
            return options
        remembered = remembered_options(self.store)
        if "directions" in options:  # they lie in one layer
            del remembered["layer"]
        if "by" in options:  # another score has other options
            remembered = {name: value for name, value in remembered.items() if name not in config.SCORE_OPTIONS}
        if given:
            remembered["model"] = given
        require_trusted(parse_model(remembered["model"]))
        return {**remembered, **options}

    def _run(
        self, stage: str, function: Callable[..., Outcome], settings: config.Settings, progress: Progress
    ) -> Outcome:
        from pure_cli.artifacts import read_collected
        from pure_cli.stages.inputs.freshness import require_unchanged

        if stage != "collect":
            self.store.require("collect")  # rather than to make a folder by mistake
            self._require_same_model()
        with self.store.lock(stage, self._waiting):
            if settings.verify and stage != "collect":
                collected = read_collected(self.store)
                require_unchanged(self.store, collected, list(collected.layers), verify=True)
            return function(self.store, settings, progress)

    def run(self, content: Mapping[str, Any]) -> list[Outcome]:
        """All stages in order, each with what a config file says of it; what is up to date is skipped.

        Parameters
        ----------
        content : as `pure_cli.config.read_config` gives it
        """
        return [getattr(self, stage)(**config.options_of(content, stage)) for stage in config.stages_of(content)]
