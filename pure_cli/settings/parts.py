"""How several processes share a stage's work: which part of it one does, or an engine that hands parts out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from pydantic import field_validator, model_validator

from pure_cli.core.parts import Part
from pure_cli.settings.option import RUNNING, option
from pure_cli.settings.shared import AUTO, Options

NONE = "none"
PARTS = re.compile(r"(\d+)/(\d+)")
ENGINE = re.compile(r"ray(:auto|:(//)?[^/:\s]+:\d+)?")
LAUNCHERS = {
    "torchrun": ("RANK", "WORLD_SIZE"),
    "mpirun": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    "srun": ("SLURM_PROCID", "SLURM_NTASKS"),
}  # what they call a process's number, from 0 on, and how many there are
ARRAY = "SLURM_ARRAY_TASK_"  # ID, MIN, COUNT and STEP of a job array


class OnEngine(Options):
    """Who does the work, where it is not this process."""

    on: str | None = option(
        None,
        "Let workers do it: ray, those of the cluster that runs here, or else of one that is begun for it; "
        "ray://HOST:PORT or ray:HOST:PORT, those of the cluster there. Needs pure-cli[ray].",
        metavar="ENGINE",
        panel=RUNNING,
        otherwise="this process",
    )
    parts: int | None = option(
        None,
        "Of --on: how many parts the workers share.",
        metavar="N",
        panel=RUNNING,
        otherwise="four for each worker",
        ge=1,
    )

    @field_validator("on", mode="before")
    @classmethod
    def _is_engine(cls, value: Any) -> Any:
        if value is None or value == NONE:
            return None
        if not ENGINE.fullmatch(str(value).strip()):
            raise ValueError("input should be ray, ray:auto, ray:HOST:PORT or ray://HOST:PORT")
        return str(value).strip()

    @model_validator(mode="after")
    def _engine_shares(self) -> OnEngine:
        if self.parts is not None and self.on is None:
            raise ValueError("--parts is for --on; without an engine, each process has its --part")
        device = getattr(self, "device", AUTO)
        if self.on is not None and ("," in device or ":" in device):
            raise ValueError(f"--on gives each worker a device of its own: --device cuda, and not {device}")
        return self


class InParts(OnEngine):
    """Settings of a stage whose work several processes share."""

    part: str | None = option(
        None,
        "Do part I of N, as in 3/64, for `pure merge`, while other processes do the others; auto: the one that "
        "torchrun, mpirun, srun or a SLURM array says.",
        metavar="I/N",
        panel=RUNNING,
        otherwise="all of it",
    )

    @field_validator("part", mode="before")
    @classmethod
    def _is_part(cls, value: Any) -> Any:
        if value is None or value == NONE:
            return None
        if value == AUTO:
            return str(launched(os.environ))
        match = PARTS.fullmatch(str(value).strip())
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise ValueError("input should be a part and how many there are, from 1/64 to 64/64, as in 3/64")
        return f"{int(match[1])}/{int(match[2])}"

    @model_validator(mode="after")
    def _shared_once(self) -> InParts:
        if self.part is not None and self.on is not None:
            raise ValueError("--on hands out all parts: leave out --part")
        return self

    @property
    def own_part(self) -> Part | None:
        """The part; None for all of the work."""
        if self.part is None:
            return None
        number, count = map(int, self.part.split("/"))
        return Part(count, number)


def launched(environment: Mapping[str, str]) -> Part:
    """The part of a process by what its launcher says, in a job array too.

    Raises
    ------
    ValueError
        Nothing says it.
    """
    inner = next(filter(None, (_counted(environment, *names) for names in LAUNCHERS.values())), None)
    outer = _of_array(environment)
    if inner is None and outer is None:
        raise ValueError(
            "auto needs a launcher that says which of how many processes this is: RANK and WORLD_SIZE (torchrun), "
            "SLURM_PROCID and SLURM_NTASKS (srun), or SLURM_ARRAY_TASK_ID (sbatch --array); elsewhere say it: 3/64"
        )
    (number, count), (block, blocks) = inner or (0, 1), outer or (0, 1)
    return Part(count * blocks, block * count + number + 1)


def others_started(environment: Mapping[str, str]) -> str:
    """A sentence for a process that is one of several and does all of the work; "" for another."""
    for launcher, names in LAUNCHERS.items():
        found = _counted(environment, *names)
        if found and found[1] > 1 and (launcher != "srun" or "SLURM_STEP_ID" in environment):
            return (
                f"{names[0]} and {names[1]} say that this is process {found[0] + 1} of {found[1]}, and each does all "
                "of the work: --part auto gives each its own."
            )
    return ""


def _counted(environment: Mapping[str, str], rank: str, size: str) -> tuple[int, int] | None:
    """A number from 0 on, and how many there are; None where that is not said."""
    try:
        number, count = int(environment[rank]), int(environment[size])
    except (KeyError, ValueError):
        return None
    return (number, count) if 0 <= number < count else None


def _of_array(environment: Mapping[str, str]) -> tuple[int, int] | None:
    try:
        number, first, count = (int(environment[f"{ARRAY}{name}"]) for name in ("ID", "MIN", "COUNT"))
        step = int(environment.get(f"{ARRAY}STEP", "1"))
    except (KeyError, ValueError):
        return None
    place = (number - first) // max(step, 1)
    return (place, count) if 0 <= place < count else None
