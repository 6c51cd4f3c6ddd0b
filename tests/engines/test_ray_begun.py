"""Where no Ray cluster runs, one is begun for the process; a module of its own, since it has a token from then on."""

import re

import pytest
import torch
from ray_start import skipped_where_too_busy

from pure_cli import Workspace
from pure_cli.engines import ray_connection

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'pure-cli[ray]'")
pytestmark = pytest.mark.slow


def test_a_cluster_that_is_begun_stays_for_the_next_stage(tmp_path, model_file, images, monkeypatch, capfd):
    monkeypatch.setattr(ray_connection, "_runs_here", lambda: False)
    few = {"model": f"{model_file}:tiny", "data": images, "layer": "layer3", "references": 8, "batch_size": 4}
    capfd.readouterr()
    with skipped_where_too_busy():
        outcome = Workspace(tmp_path / "r").collect(on="ray", parts=2, workers=0, progress=False, **few)
    told = capfd.readouterr()
    assert not re.findall(r".*(?: I \d+ \d+\] |\bINFO\b).*", told.err + told.out), "Ray says what it does"
    assert (outcome.details["parts"], outcome.details["messages"]) == (2, 2 + outcome.details["workers"])
    assert ray.is_initialized()
    cores = int(ray.cluster_resources()["CPU"])
    ray.shutdown()
    threads = torch.get_num_threads()
    torch.set_num_threads(cores)  # as the worker has
    Workspace(tmp_path / "w").collect(workers=0, progress=False, **few)
    torch.set_num_threads(threads)
    ours, theirs = ((tmp_path / name / "collect.h5").read_bytes() for name in ("r", "w"))
    assert ours == theirs
