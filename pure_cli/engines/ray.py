"""Ray: actors on the devices of a cluster take parts until none is left."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pure_cli import __version__
from pure_cli.core.parts import Part
from pure_cli.engines.devices import Device, devices_of
from pure_cli.engines.queue import TRIES, PartQueue
from pure_cli.engines.ray_connection import connected
from pure_cli.engines.rounds import PartWork, Told
from pure_cli.engines.worker import Done, Refused, Worker
from pure_cli.errors import PureError, PureFailure, first_line
from pure_cli.settings.parts import InParts
from pure_cli.waiting import waiting_for

PIECE = 1 << 24  # bytes of a file that are one object of the store
LOOK = 2.0  # seconds between two looks at which nodes there are
KEPT = "What was finished is kept; the same command goes on from there."
CLOSING = 3.0  # seconds that workers have to leave nothing behind


def opened(settings: InParts, stack: ExitStack) -> RayEngine:
    """The engine for ``--on ray…``, until the stack is closed.

    Raises
    ------
    PureError
        Ray is not installed, or there is no such cluster.
    """
    assert settings.on is not None
    stack.enter_context(connected(settings.on.partition(":")[2]))
    engine = RayEngine(getattr(settings, "device", "auto"))
    stack.callback(engine.close)
    return engine


class RayWorker(Worker):
    """A worker as an actor."""

    def receive(self, files: dict[str, list[Any]]) -> str:
        """Take files, in pieces of the object store; the version of pure here.

        Parameters
        ----------
        files : name to references of its pieces
        """
        import ray

        for name, pieces in files.items():
            self.write(name, (ray.get(piece) for piece in pieces))
        return self.version()


@dataclass
class Hired:
    """An actor on a device.

    Attributes
    ----------
    reply : what it is asked for now; None where it waits
    part : that it does; None while it begins
    """

    device: Device
    actor: Any
    reply: Any = None
    part: Part | None = None
    files: dict[str, Any] = field(default_factory=dict)


class RayEngine:
    """Actors of a cluster that is connected.

    Parameters
    ----------
    wanted : of `--device`
    """

    def __init__(self, wanted: str):
        self._wanted = wanted
        self._hired: dict[Device, Hired] = {}
        self._sent: dict[str, tuple[tuple[int, int], list[Any]]] = {}
        self._failed_starts: dict[Device, list[str]] = {}
        self._looked = 0.0
        self.told = Told()

    def devices(self) -> list[Device]:
        """Those that are there now."""
        import ray

        return devices_of(ray.nodes(), self._wanted)

    def run(self, work: PartWork, queue: PartQueue, done: Callable[[Part, Done], None]) -> None:
        """Do all parts of a queue; see `pure_cli.engines.rounds.Engine`.

        Raises
        ------
        PureError
            A part cannot be done, whoever does it, or nobody is there who could.
        PureFailure
            The cluster is gone, or no worker can begin.
        """
        try:
            self._run(work, queue, done)
        except ConnectionError as error:
            raise PureFailure(f"The Ray cluster does not answer any more ({first_line(error)}). {KEPT}") from error

    def _run(self, work: PartWork, queue: PartQueue, done: Callable[[Part, Done], None]) -> None:
        import ray

        self._put(work)
        for hired in self._hired.values():
            self._send_files(hired)
        self._looked = 0.0
        while not queue.is_over:
            self._hire(work, queue)
            for hired in self._hired.values():
                if hired.reply is None and (part := queue.take()) is not None:
                    self._begin(hired, part, work)
            replies = {hired.reply: hired for hired in self._hired.values() if hired.reply is not None}
            if not any(hired.part for hired in self._hired.values()):
                waiting_for("waiting for workers" if replies else "waiting for a node of the cluster")
            if not replies:
                time.sleep(LOOK)
                continue
            for reply in ray.wait(list(replies), num_returns=1, timeout=LOOK)[0]:
                self._heard(replies[reply], queue, done)

    def close(self) -> None:
        """End the actors; those that do nothing tidy up before."""
        import ray

        with suppress(Exception):
            last = [hired.actor.close.remote() for hired in self._hired.values() if hired.reply is None]
            if last:
                ray.wait(last, num_returns=len(last), timeout=CLOSING)
        for hired in self._hired.values():
            with suppress(Exception):
                ray.kill(hired.actor)
        self._hired.clear()

    def _put(self, work: PartWork) -> None:
        """Put what workers need into the object store: once for all of them, and again what has changed."""
        import ray

        for name, path in work.files.items():
            state = path.stat()
            stamp = state.st_mtime_ns, state.st_size
            if name not in self._sent or self._sent[name][0] != stamp:
                self._sent[name] = stamp, [ray.put(piece) for piece in _pieces(path)]

    def _send_files(self, hired: Hired) -> None:
        lacking = {name: own for name, own in self._sent.items() if hired.files.get(name) != own[0]}
        if hired.files and not lacking:
            return
        hired.files |= {name: stamp for name, (stamp, _) in lacking.items()}
        hired.part, hired.reply = None, hired.actor.receive.remote({name: own for name, (_, own) in lacking.items()})
        self.told.messages += 1

    def _hire(self, work: PartWork, queue: PartQueue) -> None:
        """Begin actors on devices that have none, now and then: nodes come and go."""
        if time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        devices = self.devices()
        usable = [device for device in devices if len(self._failed_starts.get(device, ())) < TRIES]
        if devices and not usable and not self._hired:
            why = self._failed_starts[devices[0]][-1]
            raise PureFailure(f"No worker of the Ray cluster could begin: {why}. Is pure-cli installed on its nodes?")
        if not devices and not self.told.workers:
            raise PureError("The Ray cluster has no device for a worker: no GPU, and no node with CPUs.")
        for device in usable:
            if device not in self._hired and len(self._hired) < queue.open:
                self._hired[device] = Hired(device, self._actor(device, work))
                self.told.workers += 1
                self._send_files(self._hired[device])

    def _actor(self, device: Device, work: PartWork) -> Any:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        where = NodeAffinitySchedulingStrategy(device.node, soft=False)
        needs = {"num_cpus": device.cpus, "num_gpus": device.gpus, "scheduling_strategy": where, "max_restarts": 0}
        return ray.remote(RayWorker).options(**needs).remote(max(1, device.cpus), work.trusted)

    def _begin(self, hired: Hired, part: Part, work: PartWork) -> None:
        cores = hired.device.cpus if hired.device.cpus > 1 else 0
        options = {"workers": cores, **work.options, "device": hired.device.kind, "part": str(part)}
        hired.part, hired.reply = part, hired.actor.do.remote(work.stage, options, work.stages)
        self.told.messages += 1

    def _heard(self, hired: Hired, queue: PartQueue, done: Callable[[Part, Done], None]) -> None:
        """An actor answered, or is no more."""
        import ray

        part, reply = hired.part, hired.reply
        try:
            answer = ray.get(reply)
        except ray.exceptions.RayError as error:
            self._lost(hired, queue, _why(error, hired.device.host))
            return
        hired.part, hired.reply = None, None
        if isinstance(answer, str):
            _require_same_version(answer, hired.device.host)
        elif isinstance(answer, Done) and part is not None:
            done(part, answer)
            queue.finish(part)
        elif isinstance(answer, Refused) and part is not None:
            if answer.lasting:
                raise PureError(_said_by(answer.message, hired.device.host))
            queue.fail(part, answer.message.rstrip("."))

    def _lost(self, hired: Hired, queue: PartQueue, why: str) -> None:
        """An actor ended, or what it did ended in an error that nobody foresaw: another takes its place."""
        import ray

        with suppress(Exception):
            ray.kill(hired.actor)
        del self._hired[hired.device]
        self._looked = 0.0
        if hired.part is not None:
            queue.fail(hired.part, why)
        else:
            self._failed_starts.setdefault(hired.device, []).append(why)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def _why(error: Exception, host: str) -> str:
    """What became of an actor, in a few words."""
    import ray

    if isinstance(error, ray.exceptions.RayTaskError):
        cause = error.cause
        return f"{type(cause).__name__} on {host}: {first_line(cause)}"
    if getattr(error, "actor_init_failed", False):
        return f"the worker on {host} ended as it began: {str(error).strip().splitlines()[-1]}"
    return f"the worker on {host} died"


def _said_by(message: str, host: str) -> str:
    """What a worker says, and where it is if that is another machine."""
    return message if host in ("", socket.gethostname()) else f"{message} (So says the worker on {host}.)"


def _require_same_version(version: str, host: str) -> None:
    """
    Raises
    ------
    PureError
        A worker has another pure.
    """
    if version != __version__:
        raise PureError(f"{host} has pure-cli {version}, and this is {__version__}: install the same one on all nodes.")
