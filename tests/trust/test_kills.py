"""Kills and requests to stop at random moments; more of them with the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("options", [["--kills", "25", "--seed", "7"], ["--kills", "12", "--seed", "8", "--term"]])
def test_stages_killed_anywhere_keep_whole_results_and_come_to_the_same_bytes(options):
    script = Path(__file__).with_name("kills.py")
    found = subprocess.run([sys.executable, script, *options], capture_output=True, text=True, timeout=300, check=False)
    assert found.stdout, found.stderr
    told = json.loads(found.stdout)
    assert told["faults"] == []
    assert told["kills"] >= int(options[1])
    assert set(told["by_job"]) == {"collect", "collect-more", "attribute", "embed", "cluster", "evaluate", "directions"}
    assert told["slowest_stop"] < 5
