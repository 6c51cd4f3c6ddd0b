"""Downloads that fail at once where there is no network.

huggingface_hub tries each file six times, half a minute in all, and open_clip asks for two files; behind a firewall
that drops packets, each attempt hangs for its full timeout.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

HUB = "https://huggingface.co"  # in the names of files; HF_ENDPOINT may put another host in its place
PATIENCE = 4.0  # seconds for a host to answer


@contextmanager
def impatient(url: str | None) -> Iterator[None]:
    """Within it, what is cached is found and all else fails at once, if the host of `url` does not answer.

    Parameters
    ----------
    url : from where the weights would come; None for the Hugging Face hub
    """
    from huggingface_hub import constants

    offline, timeout = constants.HF_HUB_OFFLINE, socket.getdefaulttimeout()
    url = url or HUB
    at_hub = url.startswith(HUB)
    host = urlsplit(constants.ENDPOINT if at_hub else url)
    if (offline and at_hub) or answers(f"{host.scheme}://{host.netloc}"):
        yield
        return
    constants.HF_HUB_OFFLINE = True
    socket.setdefaulttimeout(1)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        socket.setdefaulttimeout(timeout)


def answers(url: str, patience: float = PATIENCE) -> bool:
    """Whether anything at all answers at `url`, through a proxy where the environment names one."""
    from huggingface_hub import constants, get_session

    found: list[bool] = []

    def ask() -> None:
        try:
            if url.startswith(constants.ENDPOINT):
                get_session().head(url, timeout=patience)  # its own certificates and proxies
            else:
                urlopen(Request(url, method="HEAD"), timeout=patience).close()
            found.append(True)
        except HTTPError:
            found.append(True)
        except Exception:  # the client raises errors of many packages
            found.append(False)

    # In a thread, since neither the resolver nor a list of addresses to try in turn keeps to a timeout.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(patience)
    return any(found)
