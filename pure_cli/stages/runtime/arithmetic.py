"""How torch computes while a stage runs: as its options say once the network is opened, and in the end as before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pure_cli.core.precision import exact, same_each_time
from pure_cli.settings.shared import BFLOAT16, FLOAT32, TF32, Computing

if TYPE_CHECKING:
    import torch

AMPERE = 8  # the first of NVIDIA's architectures with TF32, as CUDA counts them


@dataclass
class Arithmetic:
    """What a stage asks of torch.

    Attributes
    ----------
    how : its options; None of a stage that runs no network
    notes : sentences that the user should read
    device : of its network, once that is opened
    """

    how: Computing | None
    notes: list[str] = field(default_factory=list)
    device: torch.device | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def begin(self, device: torch.device) -> None:
        """From now on torch computes as the options say."""
        if self.how is None or self.device is not None:
            return
        self.device = device
        self._stack.enter_context(exact(self.how.precision == TF32))
        if device.type == "cuda":  # a CPU does so in any case
            self._stack.enter_context(same_each_time(self.how.deterministic))
        if self.how.precision == TF32 and not _has_tf32(device):
            self._note(
                "TF32 is a mode of NVIDIA's GPUs from Ampere on: --precision tf32 computes in float32 on this "
                f"{device.type}."
            )
        if self.how.precision == BFLOAT16 and device.type == "cpu" and not _multiplies_bfloat16():
            self._note(
                "This processor has no instructions for bfloat16: --precision bfloat16 is slower there than float32."
            )

    def compare(self, collected_on: Mapping[str, str]) -> None:
        """Tell of references that were collected on another device.

        Parameters
        ----------
        collected_on : layer to kind of device; "" where that is not known
        """
        if self.device is None:
            return
        others = {name: kind for name, kind in collected_on.items() if kind not in ("", self.device.type)}
        for kind in dict.fromkeys(others.values()):
            names = ", ".join(f"'{name}'" for name, its in others.items() if its == kind)
            self._note(
                f"The references of {names} were collected on {kind}; this runs on {self.device.type}, which rounds "
                "in another way."
            )

    def end(self, computed: bool) -> None:
        """Tell of a precision that was asked for where nothing had need of it.

        Parameters
        ----------
        computed : something was not up to date
        """
        if self.how is not None and self.how.precision != FLOAT32 and self.device is None and computed:
            self._note(f"No network was run, so --precision {self.how.precision} changed nothing.")

    def close(self) -> None:
        self._stack.close()

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)


_RUNNING: ContextVar[Arithmetic | None] = ContextVar("the stage that runs", default=None)


@contextmanager
def arithmetic_of(settings: Any) -> Iterator[Arithmetic]:
    """A stage. Nothing is set, nor torch imported, before it opens its network; in the end all is as it was.

    Parameters
    ----------
    settings : of the stage
    """
    arithmetic = Arithmetic(settings if isinstance(settings, Computing) else None)
    before = _RUNNING.set(arithmetic)
    try:
        yield arithmetic
    finally:
        _RUNNING.reset(before)
        arithmetic.close()


def open_devices(names: str, collected_on: Mapping[str, str] | None = None) -> list[torch.device]:
    """The devices for names, of one kind; in a stage, torch computes on them as the options say.

    Where no stage runs (a module or an edited network that somebody has in Python), the caller's settings hold.

    Parameters
    ----------
    collected_on : as of `Arithmetic.compare`

    Raises
    ------
    PureError
        One of them is not there.
    """
    from pure_cli.models.load import find_devices

    devices, stage = find_devices(names), _RUNNING.get()
    if stage is not None:
        stage.begin(devices[0])
        own = getattr(stage.how, "layer", None)
        stage.compare({name: kind for name, kind in (collected_on or {}).items() if not own or name in own})
    return devices


def compare_device(collected_on: Mapping[str, str]) -> None:
    """As `Arithmetic.compare`, of the stage that runs."""
    if stage := _RUNNING.get():
        stage.compare(collected_on)


def _has_tf32(device: torch.device) -> bool:
    """Whether numbers differ with it."""
    import torch

    if device.type != "cuda" or torch.version.hip:
        return device.type == "cuda"
    return torch.cuda.get_device_capability(device)[0] >= AMPERE


def _multiplies_bfloat16() -> bool:
    """Whether a processor says that it does; of ARM's, torch cannot tell."""
    import platform

    import torch

    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    checks = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return not all(checks) or any(check() for check in checks if check)
