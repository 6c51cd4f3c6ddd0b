"""How exactly torch multiplies and adds up, and whether in one order: its switches, set for a time."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

FULL, INHERITED, TF32 = "ieee", "none", "tf32"  # torch's words
REDUCTIONS = ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction")
CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def exact(tf32: bool = False) -> Iterator[None]:
    """Let torch multiply float32 numbers as they are, whatever its defaults and the caller's settings.

    All switches are put back in the end, to the ones that the caller had set, and those that inherit to inheriting.

    Parameters
    ----------
    tf32 : GPUs that have TF32 use it for matrices and convolutions; sums, and the CPU, are in float32 all the same
    """
    with ExitStack() as stack:
        for switches in (_reductions, _multiplications):
            stack.callback(_quietly, switches(tf32))
        yield


@contextmanager
def same_each_time(wanted: bool) -> Iterator[None]:
    """Let a GPU compute in the same order each time; or let it choose algorithms by trial, and add up in any order.

    All settings are put back in the end.
    """
    import torch

    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark, workspace = torch.backends.cudnn.benchmark, os.environ.get(CUBLAS)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation")
        try:
            os.environ.setdefault(CUBLAS, ":4096:8")  # which torch asks for
            torch.use_deterministic_algorithms(wanted, warn_only=True)
            torch.backends.cudnn.benchmark = not wanted
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
            torch.backends.cudnn.benchmark = benchmark
            if workspace is None:
                os.environ.pop(CUBLAS, None)


def _quietly(act: Callable[[], None]) -> None:
    """Without torch's advice to use one of its two ways of setting a precision and not the other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        act()


def _reductions(tf32: bool) -> Callable[[], None]:
    """Have sums of numbers of few bits kept in float32; returns what puts the switches back."""
    import torch

    matmul, cuda = torch.backends.cuda.matmul, torch.backends.cuda
    before: dict[str, Any] = {}
    for name in REDUCTIONS:
        own = getattr(matmul, name)
        splits = getattr(matmul, f"{name}_split_k", None)  # of torch 2.10 and later
        before[name] = own if splits is None else (own, splits)
        setattr(matmul, name, False if splits is None else (False, splits))
    if hasattr(matmul, "allow_fp16_accumulation"):  # torch 2.7
        before["allow_fp16_accumulation"] = matmul.allow_fp16_accumulation
        matmul.allow_fp16_accumulation = False
    attention: Callable[[bool], None] | None = getattr(cuda, "allow_fp16_bf16_reduction_math_sdp", None)  # torch 2.5
    allowed = cuda.fp16_bf16_reduction_math_sdp_allowed() if attention else False
    if attention:
        attention(False)

    def restore() -> None:
        for name, value in before.items():
            setattr(matmul, name, value)
        if attention:
            attention(allowed)

    return restore


def _multiplications(tf32: bool) -> Callable[[], None]:
    """Have float32 numbers multiplied as they are, or as TF32; returns what puts the switches back.

    Torch 2.9 and later has a precision for each backend and kind of operation, beside the switches that it had before,
    and raises an error where code reads one of these and they say two things: both are set alike.
    """
    import torch

    precisions = _precisions()
    raw = {}
    for name, (read, write) in precisions.items():  # from the top: what is below shows what it inherits
        raw[name] = read()
        write(FULL if name.count(".") > 1 else INHERITED)
    matmul, convolutions = torch.get_float32_matmul_precision(), _allows_tf32_in_cudnn()

    def older(matmul: str, convolutions: bool) -> None:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = convolutions

    def restore() -> None:
        older(matmul, convolutions)
        for name, (_, write) in precisions.items():
            write(raw[name])

    _quietly(lambda: older("high" if tf32 else "highest", tf32))
    for name, (_, write) in precisions.items():
        write(TF32 if tf32 and "cuda" in name else FULL)
    return restore


def _precisions() -> dict[str, tuple[Callable[[], str], Callable[[str], None]]]:
    """What reads and what writes each of the precisions, those that others inherit first; none before torch 2.9."""
    import torch

    backends: Any = torch.backends
    if not hasattr(backends, "fp32_precision"):
        return {}

    def switch(place: Any) -> tuple[Callable[[], str], Callable[[str], None]]:
        return lambda: place.fp32_precision, lambda value: setattr(place, "fp32_precision", value)

    mkldnn = backends.mkldnn  # whose own attribute writes the one of all backends
    return {
        "all": switch(backends),
        "all.cuda": switch(backends.cudnn),
        "all.mkldnn": (lambda: mkldnn.fp32_precision, lambda value: mkldnn.set_flags(_fp32_precision=value)),
        "all.cuda.matmul": switch(backends.cuda.matmul),
        "all.cuda.conv": switch(backends.cudnn.conv),
        "all.cuda.rnn": switch(backends.cudnn.rnn),
        "all.mkldnn.matmul": switch(mkldnn.matmul),
        "all.mkldnn.conv": switch(mkldnn.conv),
        "all.mkldnn.rnn": switch(mkldnn.rnn),
    }


def _allows_tf32_in_cudnn() -> bool:
    """The older switch of convolutions, while the newer ones say that there is none: torch minds if they differ."""
    import torch

    try:
        return bool(torch.backends.cudnn.allow_tf32)
    except RuntimeError:
        return True
