"""What ``pure run`` takes: how to run, for all stages."""

from __future__ import annotations

from pure_cli.settings.parts import OnEngine
from pure_cli.settings.shared import Running, seed_option


class RunSettings(Running, OnEngine):
    """Run all stages of a config file in order."""

    seed: int = seed_option()
