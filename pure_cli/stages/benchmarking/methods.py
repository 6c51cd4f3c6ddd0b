"""The methods that come with pure, controls among them, and those of files; and how one is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any, cast

import numpy as np

from pure_cli.artifacts import Track
from pure_cli.core.features import HIDDEN_KIND, LOWER_ACTIVATION, PURE
from pure_cli.errors import PureError, first_line, unknown
from pure_cli.stages.benchmarking.dictionaries import by_centroids, by_latents
from pure_cli.stages.benchmarking.references import References

Function = Callable[[References], Any]
HIDDEN, PAPER = "hidden", "paper"
CLASSES = "classes"
LATENTS, CENTROIDS = "sae", "centroids"


@dataclass(frozen=True)
class Method:
    """A function from references to labels.

    Attributes
    ----------
    name : in tables
    about : what it does
    function : called with `References`; gives (n,) ints, or None where it cannot choose k
    untrained : it sees the untrained network
    is_users : it is none of those that come with pure
    on_demand : it takes its time, and is measured where it is named
    by_class : in place of it, called with `References` and the classes (n,) of the images, which no other method gets
    """

    name: str
    about: str
    function: Function | None = None
    untrained: bool = False
    is_users: bool = False
    on_demand: bool = False
    by_class: Callable[[References, np.ndarray], Any] | None = None

    def labels(self, references: References, classes: np.ndarray, unit: str) -> np.ndarray | None:
        """(n,) int from 0 on, the cluster of each reference; None where the method does not choose k.

        Parameters
        ----------
        unit : in words, whose references they are

        Raises
        ------
        PureError
            It fails, or what it gives is no label for each reference.
        """
        where = f"The method '{self.name}' on {unit}"
        try:
            found = self.by_class(references, classes) if self.by_class else self._function(references)
        except Exception as error:
            what = f"{error}" if isinstance(error, PureError) else f"{type(error).__name__}: {first_line(error)}."
            raise PureError(f"{where} failed: {what} See where with --debug.") from error
        if found is None and references.k is None:
            return None
        try:
            labels = np.asarray(found)
        except Exception as error:
            raise PureError(f"{where} gave no array: {first_line(error)}.") from error
        n = len(references)
        if labels.shape != (n,) or labels.dtype.kind not in "iub":
            got = "None" if found is None else f"{labels.dtype} of shape {labels.shape}"
            raise PureError(f"{where} gave {got}; a whole number for each of the {n} references is needed, ({n},) int.")
        return np.unique(labels, return_inverse=True)[1]  # whatever it calls them, no reference is left out

    def _function(self, references: References) -> Any:
        assert self.function is not None
        return self.function(references)


def shipped(track: Track) -> dict[str, Method]:
    """The methods that come with pure, by name: the paper's first, controls last."""
    found = [Method(PAPER, f"k-means of {PURE}@{track.paper}, the paper's recipe", _split(f"{PURE}@{track.paper}"))]
    hidden = f"{HIDDEN_KIND}@{track.hidden}"
    if track.hidden:
        lower = f"{LOWER_ACTIVATION}@{track.hidden}"
        found += [
            Method(HIDDEN, f"k-means of {hidden}, circuits through the hidden layer", _split(hidden)),
            Method("hidden-activations", f"k-means of {lower}, that layer's activations", _split(lower)),
        ]
    for kind in ("activation-max", "activation-mean"):
        found.append(Method(kind, f"k-means of {kind}, the layer's own activations", _split(kind)))
    found.append(Method("pixels", "control: k-means of the images' pixels", _by_pixels))
    if track.hidden:
        found.append(Method("untrained-hidden", f"control: {HIDDEN} on the untrained network", _split(hidden), True))
    kind = "activation-mean"
    found.append(Method(f"untrained-{kind}", f"control: {kind} on the untrained network", _split(kind), True))
    found += _dictionaries()
    found.append(Method(CLASSES, "control: clusters of the images' classes alone, no network", by_class=_by_classes))
    found.append(Method("random", "control: labels at random", _at_random))
    return {method.name: method for method in found}


def _dictionaries() -> list[Method]:
    """Methods that learn a dictionary of the layer, and the same on the untrained network."""
    of = {
        LATENTS: ("k-means of the latents of a sparse autoencoder of the layer", by_latents),
        CENTROIDS: ("k-means of coordinates to the centroids of the layer's activations", by_centroids),
    }
    return [Method(name, about, function, on_demand=True) for name, (about, function) in of.items()] + [
        Method(f"untrained-{name}", f"control: {name} on the untrained network", function, True, on_demand=True)
        for name, (_, function) in of.items()
    ]


def _split(kind: str) -> Function:
    return lambda references: references.split(references.features(kind))


def _by_pixels(references: References) -> np.ndarray:
    return references.split(references.pixels.reshape(len(references), -1) / 255)


def _by_classes(references: References, classes: np.ndarray) -> np.ndarray | None:
    names, label = np.unique(classes, return_inverse=True)
    return None if references.k is None else references.split(np.eye(len(names))[label])


def _at_random(references: References) -> np.ndarray | None:
    if references.k is None:
        return None
    number = int(references.unit.split()[-1])
    return np.random.default_rng([references.seed, number]).integers(0, references.k, len(references))


def chosen(
    track: Track, names: Sequence[str], functions: Sequence[Function], own_name: str | None, with_shipped: bool
) -> list[Method]:
    """The methods to be measured: those of the user's first.

    Parameters
    ----------
    names : FILE.py:FUNCTION, or of methods that come with pure
    functions : of the user's, in Python
    own_name : of the user's method in tables, where there is one

    Raises
    ------
    PureError
        There is no such method, it cannot be called with the references alone, or two of them have one name.
    """
    there = shipped(track)
    own = [
        Method(name.rpartition(":")[2], name, function_of(name, list(there)), is_users=True)
        for name in names
        if name not in there
    ]
    own += [Method(getattr(one, "__name__", "method"), "a function in Python", one, is_users=True) for one in functions]
    for method in own:
        _require_one_argument(method)
    if own_name is not None:
        if len(own) != 1:
            raise PureError(f"--name is for one method of yours, and {len(own)} are named.")
        own = [replace(own[0], name=own_name)]
    found = own + [there[name] for name in names if name in there]
    found += [method for method in there.values() if with_shipped and not method.on_demand and method not in found]
    names = [method.name for method in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise PureError(f"Two methods are called '{twice}'. Give yours another name with --name.")
    if not found:
        raise PureError("No method is named. Give --method FILE.py:FUNCTION, or leave out --no-builtin.")
    return found


def _require_one_argument(method: Method) -> None:
    """Refuse a function that cannot be called with the references alone, before anything is loaded."""
    assert method.function is not None
    try:
        taken = signature(method.function)
    except (TypeError, ValueError):  # one that does not say what it takes
        return
    try:
        taken.bind(None)
    except TypeError as error:
        raise PureError(f"The method '{method.name}' has to take the references and nothing else: {error}.") from None


def function_of(text: str, known: Sequence[str]) -> Function:
    """The function that FILE.py:FUNCTION names.

    Raises
    ------
    PureError
        There is none.
    """
    from pure_cli.models.files import function_in, import_file, neighbours
    from pure_cli.models.spec import ModelSpec

    path, _, name = text.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        raise unknown("method", text, known, "Give one of your own as FILE.py:FUNCTION.")
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise PureError(f"The file {path} of the method does not exist.")
    spec = ModelSpec("file", name, file)
    with neighbours(spec):
        return cast(Function, function_in(import_file(spec), spec))
