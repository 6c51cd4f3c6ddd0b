"""The Python API: what every command does is one call here, with the names of the command line."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar

import numpy as np

from pure_cli import config
from pure_cli.errors import PureError, unknown
from pure_cli.methods import PROGRESS, StageMethods, parameters_of  # type: ignore[attr-defined]  # not in the stub
from pure_cli.registry import STAGES
from pure_cli.remote.faults import fault_notes
from pure_cli.remote.mirror import NO_LOCKS, Mirror
from pure_cli.remote.urls import is_url
from pure_cli.settings.benchmark import BenchmarkSettings
from pure_cli.settings.collect import SCORE_OPTIONS
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.views.notebook import Displayed
from pure_cli.workspace import Store

if TYPE_CHECKING:
    from rich.console import RenderableType
    from torch import nn

    from pure_cli.artifacts import Circuit
    from pure_cli.stages.benchmarking.references import References
    from pure_cli.stages.virtual_module import EditedNetwork, RewiredMaps, VirtualMaps
    from pure_cli.stages.virtual_neurons import VirtualNeuron, VirtualNeurons

MODEL_MARK = "/"  # in addresses that name a layer, and a model perhaps

Given = ParamSpec("Given")
Found = TypeVar("Found")


def _speaks_of_the_place(
    method: Callable[Concatenate[Workspace, Given], Found],
) -> Callable[Concatenate[Workspace, Given], Found]:
    """A method whose errors call the workspace what its user does."""

    @functools.wraps(method)
    def call(self: Workspace, /, *args: Given.args, **options: Given.kwargs) -> Found:
        with self._mirror.errors_told() if self._mirror else nullcontext():
            return method(self, *args, **options)

    return call


class Workspace(Displayed, StageMethods):
    """A folder of results about one model and one set of images.

    Parameters
    ----------
    path : the folder; made when something is written. A URL (``s3://bucket/study``) is worked on in a copy on this
        machine.
    model : a `torch.nn.Module` to work with, in place of a model's name; it stays as it is
    transform : for that model, from a PIL image to its input (3, H, W): a torchvision Compose that ends with Normalize,
        what torchvision's weights come with, or any function that gives pixels in 0..1
    waiting : called with a sentence when another process is at work in the folder

    Examples
    --------
    >>> from pure_cli import Workspace
    >>> workspace = Workspace("pure-workspace")
    >>> workspace.collect(model="resnet50", data="images", references=100)  # doctest: +SKIP
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
        self._mirror = Mirror(os.fspath(path)) if is_url(os.fspath(path)) else None
        if self._mirror:
            self._mirror.pull()
        self.store = Store(self._mirror.root, self._mirror.url) if self._mirror else Store(path)
        self._waiting = lambda sentence: waiting(self._told(sentence))
        self._model, self._transform = model, transform
        if model is None and transform is not None:
            raise PureError("A transform belongs to a model: Workspace(DIR, model=…, transform=…).")
        self._give()

    @property
    def path(self) -> Path:
        """The folder on this machine."""
        return self.store.root

    @property
    def place(self) -> str:
        """What its user calls it: the folder, or the URL."""
        return self.store.place

    def local(self, place: str) -> Path:
        """The file of this machine behind what a result calls it, which is a URL where the workspace is one."""
        return self._mirror.local(place) if self._mirror else Path(place)

    def _told(self, found: Any) -> Any:
        """What is told of files of the workspace, with what its user calls them."""
        return self._mirror.told(found) if self._mirror else found

    def __fspath__(self) -> str:
        return str(self.path)

    @_speaks_of_the_place
    def list_layers(self, **options: Any) -> dict[str, Any]:
        """The layers of a model, with the options of ``pure collect``; needs neither images nor weights.

        Returns
        -------
        dict with "layers", a list of name, kind, shape (without the batch; None for no single tensor), channels and
        calls, in the order in which they finish, and with "default" and "default_lower", the layers that stand in when
        none is named
        """
        from pure_cli.stages.layers import list_layers

        given = {"data": ".", **self._with_remembered(config.by_setting(options, "list_layers"))}
        return list_layers(config.make("collect", config.with_preset(given)))

    @_speaks_of_the_place
    def info(self, verify: bool = False, channels: bool = False) -> dict[str, Any]:
        """What the workspace holds and what is stale; see `pure_cli.stages.info.info`."""
        from pure_cli.stages.info import info

        if self._mirror is not None:
            self._mirror.pull(with_parts=True)
        return self._told(info(self.store, verify, channels))

    def __rich__(self) -> RenderableType:
        """What the workspace is about, and what it holds."""
        from rich.console import Group
        from rich.text import Text

        from pure_cli.views import inventory
        from pure_cli.views.tables import as_rich

        if not self.store.root.is_dir():
            what = "it is a file" if self.store.root.exists() else "nothing is there yet; collect() comes first"
            return Group(Text(f"Workspace {self.place}: {what}.", no_wrap=True, overflow="ignore"))
        found = self.info()
        lines = [f"Workspace {self.place}{inventory.verdict(found['results'])}", *inventory.heading(found)]
        notes = [Text(f"Note: {sentence}", style="yellow") for sentence in [*found["notes"], *found["problems"]]]
        table, styles = inventory.as_table(found["results"])
        shown = [as_rich(table, styles=styles)] if found["results"] else []
        return Group(*(Text(line, no_wrap=True, overflow="ignore") for line in lines), *shown, *notes)

    @_speaks_of_the_place
    def references(self, layer: str) -> dict[str, np.ndarray]:
        """The reference images of a layer: image (C, n) int64, value (C, n) float32, position (C, n) int32."""
        from pure_cli.artifacts import read_collected

        top = read_collected(self.store).layer(layer).top
        return {"image": top.image, "value": top.value, "position": top.position}

    @_speaks_of_the_place
    def virtual_neurons(self, layer: str, features: str | None = None, k: int | str | None = None) -> VirtualNeurons:
        """The virtual neurons of a layer: each with its address, its images and its share.

        Parameters
        ----------
        features, k : of the clustering; where neither is said, those that addresses mean (`choose`)

        Raises
        ------
        PureError
            There is no such clustering, or it is stale.
        """
        from pure_cli.stages.virtual_neurons import VirtualNeurons

        return VirtualNeurons(self.store, layer, features, k)

    @_speaks_of_the_place
    def __getitem__(self, address: str | int | tuple[str, int | str]) -> VirtualNeuron | list[VirtualNeuron]:
        """A virtual neuron by its address, ``study["layer4/201.2"]`` or ``study["layer4", "201.2"]``, or all of a
        neuron, ``study["layer4", 201]``.

        Raises
        ------
        PureError
            There is none with that address.
        """
        from pure_cli.artifacts import read_collected
        from pure_cli.stages.inputs.choice import named_neurons

        parts = [str(part) for part in (address if isinstance(address, tuple | list) else [address])]
        whole = len(parts) == 2 and parts[1].startswith(f"{parts[0]}/")  # the layer is said twice
        text = parts[1] if whole else "/".join(parts)
        found = list(named_neurons(read_collected(self.store), text))
        if len(found) != 1 or len(found[0][2]) > 1:
            raise PureError(f"'{text}' is no address of a virtual neuron. Write it as in layer4/201.2.")
        ((layer, neuron, numbers),) = found
        virtual = self.virtual_neurons(layer)
        return virtual[f"{neuron}.{min(numbers)}"] if numbers else virtual[neuron]

    @_speaks_of_the_place
    def virtual(
        self,
        layer: str,
        neuron: int | str,
        device: str = "auto",
        by: Literal["circuits", "weights"] = "circuits",
        at: str = "",
    ) -> VirtualMaps | RewiredMaps:
        """A neuron as a `torch.nn.Module`: from images to the maps of its virtual neurons, (B, V + 1, H, W).

        They add up to the neuron's own map; the last is what belongs to none of them. Whose they are, `choose` says.

        Parameters
        ----------
        neuron : its number
        device : auto, cpu, cuda or mps; it computes there with torch's settings as you have them
        by : circuits: each image's circuit says whose its activation is; weights: fixed shares of the incoming channels
            do, as in rewired channels (Hesse et al. 2025), and the last map has biases too
        at : a lower layer, or another module or function: the module takes what that gives, in place of images

        Raises
        ------
        PureError
            It has no virtual neurons, or they are stale or of features that need crops, or by several lower layers; or
            something goes around `at`.
        """
        from pure_cli.artifacts import read_collected
        from pure_cli.core.neurons import parse_neurons
        from pure_cli.stages.assignment.reader import open_reader
        from pure_cli.stages.virtual_module import RewiredMaps, VirtualMaps

        if by not in ("circuits", "weights"):
            raise unknown("way to split a neuron", str(by), ["circuits", "weights"])

        reader = open_reader(self.store, layer, device)
        (number,) = parse_neurons(str(neuron), read_collected(self.store).layers[layer].neurons, layer)
        return (VirtualMaps if by == "circuits" else RewiredMaps)(reader, int(number), at)

    @_speaks_of_the_place
    def edit(
        self, silence: Sequence[str] = (), scale: Mapping[str, float] | None = None, device: str = "auto"
    ) -> AbstractContextManager[EditedNetwork]:
        """A context with the network in which virtual neurons are silenced or scaled.

        ``with study.edit(silence=["layer4/201.2"]) as model: logits = model(images)``: neuron 201 goes on with its
        other parts. Without edits, what it gives is equal to the bit.

        Parameters
        ----------
        silence : addresses of virtual neurons, of what belongs to none of them (``201.none``), or of whole neurons
        scale : address to factor
        device : auto, cpu, cuda or mps; it computes there with torch's settings as you have them

        Raises
        ------
        PureError
            There is no such virtual neuron, it is named twice, or it is a direction.
        """
        from pure_cli.stages.virtual_module import edited

        return edited(self.store, [silence] if isinstance(silence, str) else silence, scale, device)

    @_speaks_of_the_place
    def circuit(
        self,
        address: str,
        depth: int | None = None,
        through: Sequence[str] | None = None,
        *,
        device: str = "auto",
        force: bool = False,
        progress: bool | Progress = True,
    ) -> Circuit | list[Circuit]:
        """The circuit of a virtual neuron over several lower layers, as a graph: ``study.circuit("layer4/201.2", 3)``.

        It is kept as JSON, and computed where it is not there or was made from other things; ``render(circuit=…)``
        draws it.

        Parameters
        ----------
        address : of a virtual neuron; of a neuron for those of all of its virtual neurons
        depth, through, device, force : as of ``render``
        progress : as of ``render``

        Raises
        ------
        PureError
            There is no such virtual neuron, or its relevances cannot be followed through these layers.
        """
        from pure_cli.stages.circuit_graph.compute import circuits_of

        given = {"circuit": str(address), "depth": depth, "through": through, "device": device, "force": force}
        options = config.by_setting({name: value for name, value in given.items() if value is not None}, "circuit()")
        settings = config.make("render", options)
        if not isinstance(progress, bool):
            return self._run("render", settings, progress, circuits_of)
        with self._shown("render", options) if progress else nullcontext(silent) as update:
            return self._run("render", settings, update, circuits_of)

    @_speaks_of_the_place
    def virtual_neuron_tables(self, members: bool = False, **options: Any) -> list[dict[str, Any]]:
        """A table for each clustering that ``pure cluster`` with these options makes, the most clearly split neurons
        first, with `members` with images and lower channels; see `pure_cli.stages.cluster.tables`."""
        from pure_cli.stages.cluster import tables

        return tables(self.store, config.make("cluster", options), members)

    @_speaks_of_the_place
    def members(
        self,
        *,
        neurons: int | str | Sequence[int | str] | None = None,
        layer: str | Sequence[str] | None = None,
        features: str | Sequence[str] | None = None,
        k: int | str | Sequence[int | str] | None = None,
    ) -> dict[str, list[Any]]:
        """The images of each virtual neuron, by column: ``pandas.DataFrame(study.members(k=2))``.

        Parameters
        ----------
        neurons : as of ``pure export --neurons``; all that have virtual neurons where nothing is said
        layer, features, k : of the clusterings; all that are there where nothing is said

        Returns
        -------
        dict of columns
            see `pure_cli.stages.export.members`
        """
        from pure_cli.settings.export import MembersSettings
        from pure_cli.stages.export import members

        given = {"neurons": neurons, "layer": layer, "features": features, "k": k}
        said = {name: value for name, value in given.items() if value is not None}
        return members(self.store, config.make("export", said, MembersSettings))

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
            remembered = {name: value for name, value in remembered.items() if name not in SCORE_OPTIONS}
        if given:
            remembered["model"] = given
        require_trusted(parse_model(remembered["model"]))
        return {**remembered, **options}

    @_speaks_of_the_place
    def do(self, stage: str, options: dict[str, Any], progress: bool | Progress = True) -> Outcome:
        """A stage with options, of which those that are None say nothing."""
        given = config.by_setting({name: value for name, value in options.items() if value is not None}, f"{stage}()")
        if stage == "collect":
            given = config.with_preset(self._with_remembered(given))
        settings = config.make(stage, given)
        if not isinstance(progress, bool):
            return self._run(stage, settings, progress)
        with self._shown(stage, given) if progress else nullcontext(silent) as update:
            return self._run(stage, settings, update)

    def _shown(self, stage: str, options: Mapping[str, Any]) -> AbstractContextManager[Progress]:
        """Progress, where somebody looks on."""
        return _bar(stage, STAGES[stage].unit_with(options))

    def _run(self, stage: str, settings: Any, progress: Progress, function: Callable[..., Any] | None = None) -> Any:
        """A stage, or another function of its settings."""
        if getattr(settings, "on", None):
            function = self._shared_out(stage)
        function = function or STAGES[stage].function(stage)
        with self._mirrored(stage, settings):
            return self._run_here(stage, settings, progress, function)

    def _mirrored(self, stage: str, settings: Any) -> AbstractContextManager[None]:
        """A context that brings down what is newer in a storage, and gives it what was changed."""
        if self._mirror is None:
            return nullcontext()
        if not STAGES[stage].reads_only:
            self._waiting(NO_LOCKS.format(self._mirror.url))
        alone = getattr(settings, "part", None) is not None and stage != "assign"  # whose circuits need all scores
        return self._mirror.renewed(with_parts=not alone)

    def _run_here(self, stage: str, settings: Any, progress: Progress, function: Callable[..., Any]) -> Any:
        from pure_cli.artifacts import read_collected
        from pure_cli.stages.inputs.choice import require_model
        from pure_cli.stages.inputs.freshness import require_unchanged
        from pure_cli.stages.runtime.arithmetic import arithmetic_of

        if not STAGES[stage].begins:
            self.store.require("collect")  # rather than to make a folder by mistake
            self._require_same_model()
            if MODEL_MARK in (text := getattr(settings, "neurons", None) or ""):
                require_model(read_collected(self.store), text)
        with self._alone(stage, settings), arithmetic_of(settings) as arithmetic:
            if not STAGES[stage].begins and getattr(settings, "verify", False):
                collected = read_collected(self.store)
                require_unchanged(self.store, collected, list(collected.layers), verify=True)
            found = function(self.store, settings, progress)
        if isinstance(found, Outcome):
            arithmetic.end(computed=not found.up_to_date)
            found.notes = self._told([*found.notes, *arithmetic.notes, *fault_notes()])
            found.details = self._told(found.details)
        return found

    def _shared_out(self, stage: str) -> Callable[..., Outcome]:
        """A stage that workers do.

        Raises
        ------
        PureError
            They cannot get the network.
        """
        from pure_cli.engines.ray import opened
        from pure_cli.engines.rounds import by_engine

        if self._model is not None:
            raise PureError(
                "A model that was handed over in Python cannot go to other processes. Put a function that makes it "
                'into a file, and name that: collect(model="FILE.py:FUNCTION", on="ray").'
            )
        return by_engine(stage, opened)

    def _alone(self, stage: str, settings: Any) -> AbstractContextManager[None]:
        """A context in which no other process does the same; parts go on side by side."""
        from pure_cli.stages.resume.parts import alone_with_part

        if STAGES[stage].reads_only:
            return nullcontext()
        part = getattr(settings, "own_part", None)
        if part is not None:
            return alone_with_part(self.store, stage, part, self._waiting)
        return self.store.lock(stage, self._waiting)

    def run(self, content: Mapping[str, Any]) -> list[Outcome]:
        """All stages in order, each with what a config file says of it; what is up to date is skipped.

        Parameters
        ----------
        content : as `pure_cli.config.read_config` gives it
        """
        return [self.do(stage, config.stage_options(content, stage)) for stage in config.stages_of(content)]


def benchmark(
    method: str | Callable[[References], Any] | Sequence[str | Callable[[References], Any]] | None = None,
    *,
    progress: bool | Progress = True,
    **options: Any,
) -> Outcome:
    """Hold methods that split neurons against frozen units whose meanings are known.

    Parameters
    ----------
    method : functions from `References` to (n,) ints, ``FILE.py:FUNCTION``, or names of methods that come with pure
    progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done, total)
    options : those of ``pure benchmark``: builtin, track, model, weights, data, name, link, row, device, …

    Returns
    -------
    Outcome
        ``details["tables"]`` has a table for each kind of units, ``details["rows"]`` what the leaderboard has.

    Raises
    ------
    PureError
        No such track or method, other weights or images than the track's, or a method fails.

    Examples
    --------
    >>> import pure_cli
    >>> def mine(references):
    ...     return references.split(references.features("activation-mean"))
    >>> pure_cli.benchmark(mine)  # doctest: +SKIP
    """
    asked: Any = [] if method is None else method
    is_one = isinstance(asked, str) or callable(asked) or not isinstance(asked, Iterable)
    several = [asked] if is_one else list(asked)
    functions = [one for one in several if callable(one)]
    named = {"method": [one for one in several if not callable(one)] or None}
    given = {name: value for name, value in {**options, **named}.items() if value is not None}
    settings = config.make("benchmark", given, BenchmarkSettings)
    if not isinstance(progress, bool):
        return measured(settings, functions, progress)
    with _bar("benchmark", "steps") if progress else nullcontext(silent) as update:
        return measured(settings, functions, update)


def _signature() -> inspect.Signature:
    """Of `benchmark`: the options of the command, the methods first."""
    method, *options = sorted(parameters_of(BenchmarkSettings), key=lambda one: one.name != "method")
    first = method.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
    shown = inspect.Parameter("progress", inspect.Parameter.KEYWORD_ONLY, default=True, annotation=PROGRESS)
    return inspect.Signature([first, *options, shown], return_annotation="Outcome")


benchmark.__signature__ = _signature()  # type: ignore[attr-defined]


def measured(
    settings: BenchmarkSettings, functions: Sequence[Callable[[References], Any]], progress: Progress
) -> Outcome:
    """What `benchmark` does, with its settings."""
    from pure_cli.stages.benchmark import benchmark as run
    from pure_cli.stages.runtime.arithmetic import arithmetic_of

    with arithmetic_of(settings) as arithmetic:
        outcome = run(settings, functions, progress)
    outcome.notes += [*arithmetic.notes, *fault_notes()]
    return outcome


def _bar(stage: str, unit: str) -> AbstractContextManager[Progress]:
    """Progress, where somebody looks on."""
    from rich.console import Console

    from pure_cli.views.progress import shown

    return shown(stage, unit, Console(stderr=True, highlight=False), elsewhere=False)
