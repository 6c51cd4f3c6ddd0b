"""Networks and images that the tests make for themselves, and the command line in the same process."""

import json
import os
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# One thread for each process of the tests, the ones that it starts too: several processes that share the cores are many
# times slower with more. numba, once UMAP has run, gives all others in the process as many threads as it has itself.
os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}

import hypothesis
import pytest
import torch
from materials import TINY_MODEL, make_images

os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="pure-tests-")  # and not the notes of who runs the tests
if (
    signal.getsignal(signal.SIGINT) == signal.SIG_IGN
):  # begun behind an &: the processes of the tests would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("pure", deadline=None)  # how long an example takes says how busy the machine is
hypothesis.settings.load_profile("pure")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def model_file(tmp_path_factory) -> Path:
    """A file with functions tiny() and reused(): a residual network of 12 neurons in layer3, in-place ReLUs inside."""
    path = tmp_path_factory.mktemp("model") / "tiny_model.py"
    path.write_text(TINY_MODEL)
    return path


@pytest.fixture(scope="session")
def tiny_weights(model_file) -> Path:
    """Seeded weights of tiny()."""
    from pure_cli.models.load import load_model
    from pure_cli.models.spec import parse_model

    path = model_file.parent / "tiny.pth"
    torch.save(load_model(parse_model(f"{model_file}:tiny"), None, 1).state_dict(), path)
    return path


@pytest.fixture
def tiny(model_file, tiny_weights) -> torch.nn.Module:
    from pure_cli.models.load import load_model
    from pure_cli.models.spec import parse_model

    return load_model(parse_model(f"{model_file}:tiny"), tiny_weights)


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """60 images of 32 × 32 pixels in three class folders; do not change them."""
    return make_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images and trained networks; tests that need it are skipped where it is not."""
    if not (SHARED / "yardstick" / "reference.py").exists():
        pytest.skip(f"the real images and networks are not here ({SHARED})")
    return SHARED


@dataclass
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        return json.loads(self.out)


@pytest.fixture
def cli(monkeypatch) -> Callable[..., Answer]:
    """Run a command line in this process: ``cli("collect", "--model", …)``."""
    from typer.testing import CliRunner

    from pure_cli.app import app

    monkeypatch.delenv("PURE_WORKSPACE", raising=False)
    monkeypatch.delenv("PURE_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("pure_cli.views.progress.PATIENCE", 600)  # however slow the machine is

    def run(*arguments: object) -> Answer:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert "Traceback" not in result.output
        return Answer(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture(scope="module")
def few_nulls():
    """Clouds of one meaning in calibrate: the fewest that can tell two from one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pure_cli.stages.planted.scores.NULLS", 20)
        yield


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty cache of the Hugging Face hub, and no token."""
    constants = pytest.importorskip("huggingface_hub.constants")
    folder = tmp_path / "hub-cache"
    folder.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return folder


@pytest.fixture
def hub(hub_cache, monkeypatch):
    """A hub on this machine, in the place of the one in the network."""
    from fake_hub import FakeHub
    from huggingface_hub import constants, hf_api

    fake = FakeHub()
    monkeypatch.setattr(constants, "ENDPOINT", fake.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", fake.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(hf_api.api, "endpoint", fake.url)
    yield fake
    fake.close()


@pytest.fixture
def no_hub(hub_cache, monkeypatch):
    """The same cache, and no network."""
    from pure_cli.hub import patience

    monkeypatch.setattr(patience, "answers", lambda url: False)
    return hub_cache
