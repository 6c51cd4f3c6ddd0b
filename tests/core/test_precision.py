"""torch's switches of precision and determinism: set for a time, and put back as they were, whatever they were."""

import os
import random
import warnings

import pytest
import torch

from pure_cli.core import precision
from pure_cli.core.precision import exact, same_each_time

PLACES = [(backend, "all") for backend in ("generic", "cuda", "mkldnn")]
PLACES += [(backend, kind) for backend in ("cuda", "mkldnn") for kind in ("matmul", "conv", "rnn")]
new_torch = pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="torch 2.9 has a newer way")


def put(state: dict) -> None:
    """Set torch as somebody had it: by the older switches first, since these set some of the newer ones."""
    torch.set_float32_matmul_precision(state["matmul"])
    torch.backends.cudnn.allow_tf32 = state["convolutions"]
    for place in PLACES:
        torch._C._set_fp32_precision_setter(*place, state[place])


def shown() -> dict:
    """What torch says; of the older switches that they contradict the newer ones, where they do."""
    found = {place: torch._C._get_fp32_precision_getter(*place) for place in PLACES}
    older = {
        "matmul": torch.get_float32_matmul_precision,
        "cublas": lambda: torch.backends.cuda.matmul.allow_tf32,
        "cudnn": lambda: torch.backends.cudnn.allow_tf32,
    }
    for name, read in older.items():
        try:
            found[name] = read()
        except RuntimeError:
            found[name] = "contradiction"
    return found


def behaviour() -> list[dict]:
    """What torch says as it is, and when what others inherit is set to something else."""
    found = [shown()]
    for place in PLACES[:3]:
        for value in ("ieee", "tf32"):
            torch._C._set_fp32_precision_setter(*place, value)
            found.append(shown())
    return found


def any_state(generator: random.Random) -> dict:
    found = {"matmul": generator.choice(["highest", "high", "medium"]), "convolutions": generator.random() < 0.5}
    for backend, kind in PLACES:
        some = ["none", "ieee", "tf32"] + (["bf16"] if backend != "cuda" else [])
        found[backend, kind] = generator.choice(some)
    return found


@pytest.fixture
def begun():
    """torch as it begins, afterwards."""
    yield
    usual = dict.fromkeys(PLACES, "none")
    put({"matmul": "highest", "convolutions": True, **usual, ("cuda", "conv"): "tf32", ("cuda", "rnn"): "tf32"})


@new_torch
@pytest.mark.parametrize("tf32", [False, True])
def test_whatever_was_set_is_full_inside_and_the_same_afterwards(begun, tf32):
    generator = random.Random(0)
    for _ in range(200):
        state = any_state(generator)
        put(state)
        expected = behaviour()
        put(state)
        with exact(tf32):
            inside = shown()
        assert behaviour() == expected
        assert {place: inside[place] for place in PLACES} == {
            place: "tf32" if tf32 and place[0] == "cuda" else "ieee" for place in PLACES
        }
        assert inside["matmul"] == ("high" if tf32 else "highest")
        assert inside["cublas"] is inside["cudnn"] is tf32  # the older switches say the same: torch does not complain


@pytest.mark.parametrize("tf32", [False, True])
def test_the_older_switches_alone(monkeypatch, tf32):
    monkeypatch.setattr(precision, "_precisions", dict)  # as before torch 2.9
    torch.set_float32_matmul_precision("medium")
    try:
        with exact(tf32):
            assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")
            assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is tf32
        assert torch.get_float32_matmul_precision() == "medium" and torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision("highest")
        if hasattr(torch.backends, "fp32_precision"):
            torch.backends.cuda.matmul.fp32_precision = torch.backends.mkldnn.matmul.fp32_precision = "none"


def test_sums_of_few_bits_are_kept_in_float32():
    matmul, cuda = torch.backends.cuda.matmul, torch.backends.cuda
    names = ["allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction"]
    names += [f"{name}_split_k" for name in names if hasattr(matmul, f"{name}_split_k")]
    names += ["allow_fp16_accumulation"] if hasattr(matmul, "allow_fp16_accumulation") else []

    def read() -> dict[str, bool]:
        return {name: getattr(matmul, name) for name in names} | {"sdp": cuda.fp16_bf16_reduction_math_sdp_allowed()}

    before = read()
    matmul.allow_fp16_accumulation = True
    cuda.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        rough = read()
        with exact():
            assert not any(value for name, value in read().items() if not name.endswith("split_k"))
        assert read() == rough != before
    finally:
        matmul.allow_fp16_accumulation = False
        cuda.allow_fp16_bf16_reduction_math_sdp(False)


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_the_order_of_sums_is_put_back_also_after_an_error(monkeypatch, wanted, before):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)

    def read() -> tuple:
        on, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        return on, warns, torch.backends.cudnn.benchmark, os.environ.get("CUBLAS_WORKSPACE_CONFIG"), warnings.filters[:]

    torch.use_deterministic_algorithms(before)
    torch.backends.cudnn.benchmark = before
    try:
        was = read()
        with pytest.raises(ZeroDivisionError), same_each_time(wanted):
            assert read()[:4] == (wanted, True, not wanted, ":4096:8")
            raise ZeroDivisionError
        assert read() == was
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = False
