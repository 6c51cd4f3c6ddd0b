"""Where no Ray cluster runs, one is begun for the process; a module of its own, since it has a token from then on."""

import pytest
import torch

from pure_cli import Workspace
from pure_cli.engines import ray_connection

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'pure-cli[ray]'")
pytestmark = pytest.mark.slow


def test_a_cluster_that_is_begun_stays_for_the_next_stage(tmp_path, model_file, images, monkeypatch):
    monkeypatch.setattr(ray_connection, "_runs_here", lambda: False)
    few = {"model": f"{model_file}:tiny", "data": images, "layer": "layer3", "references": 8, "batch_size": 4}
    outcome = Workspace(tmp_path / "r").collect(on="ray", parts=2, workers=0, progress=False, **few)
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
