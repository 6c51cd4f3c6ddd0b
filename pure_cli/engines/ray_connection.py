"""The connection to a Ray cluster: one that is there, or one that is begun for want of it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pure_cli.errors import PureError, PureFailure, first_line
from pure_cli.waiting import waiting_for

HERE = "auto"
ANSWER = 5.0  # seconds in which a cluster takes a connection
_begun_here: list[bool] = []  # whether this process began a cluster of its own
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}  # unless the user says otherwise


@contextmanager
def connected(address: str) -> Iterator[None]:
    """A context with a cluster.

    One that was begun here for want of another stays for the stages that follow, and ends with the process. From one
    that was there before, the process parts: it could not outlive it.

    Parameters
    ----------
    address : of the cluster; "" for the one that runs here
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise PureError(
            "--on ray needs Ray, which is not installed here: pip install 'pure-cli[ray]', on all nodes."
        ) from error
    if _begun_here and (address or not ray.is_initialized()):
        ray.shutdown()
        _begun_here.clear()
    if ray.is_initialized():  # that one, or somebody's in Python
        yield
        return
    waiting_for("connecting to Ray")
    with _own_signals(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _say_nothing(True)
        _connect(address)
    try:
        yield
    finally:
        if not _begun_here:
            ray.shutdown()
            _say_nothing(False)


def _say_nothing(quiet: bool) -> None:
    """Let Ray keep errors of the cluster to itself, which go to standard output, where results are."""
    import ray

    with suppress(AttributeError):
        ray._private.worker._worker_logs_enabled = not quiet


def _connect(address: str) -> None:
    """Connect to a cluster, or begin one where there is none and none is named."""
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    name = f"--on ray:{address}" if address else "--on ray"
    try:
        if address not in ("", HERE):
            _require_answer(address)
            ray.init(f"ray:{address}" if address.startswith("//") else address, **quiet)
        elif address == HERE or _runs_here():
            ray.init(HERE, **quiet)
        else:
            ray.init("local", include_dashboard=False, **quiet)
            _begun_here.append(True)
    except ImportError as error:
        raise PureError(f"{name} needs Ray's client: pip install 'ray[client]'.") from error
    except Exception as error:  # of Ray's, some are no more than that
        raise PureFailure(
            f"There is no Ray cluster to be had with {name} ({first_line(error)}). One that was begun with a token is "
            "for those who have it, and RAY_AUTH_MODE=token."
        ) from error


def _require_answer(address: str) -> None:
    """Make sure that somebody listens there: Ray itself asks for minutes.

    Raises
    ------
    OSError
        Nobody does.
    """
    host, _, port = address.removeprefix("//").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=ANSWER):
        pass


def _runs_here() -> bool:
    """Whether a cluster runs on this machine; what Ray noted down of the last one may be long gone."""
    if os.environ.get("RAY_ADDRESS"):
        return True
    try:
        from ray._private.services import find_gcs_addresses
    except ImportError:
        return False
    for address in find_gcs_addresses():
        with suppress(OSError, ValueError):
            _require_answer(address)
            return True
    return False


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM mean in the end what they meant before; Ray has a handler of its own."""
    numbers = [signal.SIGINT, signal.SIGTERM] if threading.current_thread() is threading.main_thread() else []
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
