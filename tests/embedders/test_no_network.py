"""Weights that cannot be downloaded: said at once, with the file to get; what is cached is found."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import huggingface_hub.constants
import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file

from pure_cli.embedders.load import load_embedder
from pure_cli.embedders.spec import parse_embedder
from pure_cli.errors import PureFailure
from pure_cli.hub import patience as hub

CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the Hugging Face hub, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "answers", lambda url: False)
    return tmp_path


def put(cache, repository, file, state):
    """Lay a file into the cache as the hub's client does."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0123abcd")
    snapshot = folder / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    save_file({key: value.contiguous() for key, value in state.items()}, snapshot / file)


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize(
    ("text", "file"),
    [
        (
            "clip",
            "https://huggingface.co/timm/vit_base_patch32_clip_224.openai/resolve/main/open_clip_model.safetensors",
        ),
        (
            "clip:ViT-L-14/laion2b_s32b_b82k",
            "https://huggingface.co/laion/CLIP-ViT-L-14-laion2B-s32B-b82K/resolve/main/open_clip_model.safetensors",
        ),
        (
            "clip-image:ViT-B-16/datacomp_l_s1b_b8k",
            "https://huggingface.co/laion/CLIP-ViT-B-16-DataComp.L-s1B-b8K/resolve/main/open_clip_model.safetensors",
        ),
        ("timm:test_vit", "https://huggingface.co/timm/test_vit.r160_in1k/resolve/main/model.safetensors"),
        ("dinov2", "https://huggingface.co/timm/vit_base_patch14_dinov2.lvd142m/resolve/main/model.safetensors"),
    ],
)
def test_without_a_network_the_error_names_model_file_and_option_at_once(cache, monkeypatch, text, file, offline):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    begin = time.perf_counter()
    with pytest.raises(PureFailure) as caught:
        load_embedder(parse_embedder(text), CPU, 32)
    message = str(caught.value)
    assert f"The weights of {text} are not on this machine" in message
    assert f"get {file}," in message
    assert "--embedder-weights FILE" in message
    assert caught.value.exit_code == 1
    assert time.perf_counter() - begin < 30  # the hub alone takes 47 and more
    assert huggingface_hub.constants.HF_HUB_OFFLINE is offline
    assert socket.getdefaulttimeout() is None


def test_weights_of_timm_in_the_cache_are_found_without_a_network(cache):
    torch.manual_seed(3)
    model = timm.create_model("test_vit").eval()
    put(cache, "timm/test_vit.r160_in1k", "model.safetensors", model.state_dict())
    batch = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(batch), pre_logits=True)
    found = load_embedder(parse_embedder("timm:test_vit"), CPU, 32).embed(batch)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_weights_of_open_clip_in_the_cache_are_found_without_a_network(cache, monkeypatch):
    tag = {"hf_hub": "somebody/small/", "quick_gelu": False}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "ViT-S-32-alt", {"seeded": tag})
    torch.manual_seed(3)
    model = open_clip.create_model("ViT-S-32-alt", pretrained_hf=False).eval()
    put(cache, "somebody/small", "open_clip_model.safetensors", model.state_dict())
    batch = torch.randn(2, 3, 224, 224)
    found = load_embedder(parse_embedder("clip-image:ViT-S-32-alt/seeded"), CPU, 32).embed(batch)
    with torch.no_grad():
        torch.testing.assert_close(found, model.encode_image(batch), rtol=0, atol=0)


class Refuses(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_error(404)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = HTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def closed():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def silent():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture(params=["plain", "hub"])
def through(request, monkeypatch):
    """With Python's own client, or with that of the hub when its host is asked."""

    def choose(url):
        if request.param == "hub":
            monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
        return url

    return choose


def test_a_host_that_refuses_has_answered(server, through):
    assert hub.answers(through(server))


def test_a_closed_port_does_not_answer(closed, through):
    assert not hub.answers(through(closed))


def test_a_host_that_says_nothing_is_not_waited_for(silent, through):
    begin = time.perf_counter()
    assert not hub.answers(through(silent), patience=0.3)
    assert time.perf_counter() - begin < 10


def test_a_host_that_speaks_no_tls_does_not_answer(server, through):
    assert not hub.answers(through(server.replace("http:", "https:")), patience=2)


@pytest.mark.parametrize("text", ["clip", "timm:test_vit", "dinov2"])
def test_a_hub_that_says_nothing_is_not_waited_for(tmp_path, monkeypatch, silent, text):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", silent)
    monkeypatch.setattr(hub.answers, "__defaults__", (0.3,))
    begin = time.perf_counter()
    with pytest.raises(PureFailure, match="--embedder-weights FILE"):
        load_embedder(parse_embedder(text), CPU, 32)
    assert time.perf_counter() - begin < 30  # the hub alone takes 47 and more


def test_where_the_hub_answers_nothing_is_changed(monkeypatch, server):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with hub.impatient(None):
        assert not huggingface_hub.constants.HF_HUB_OFFLINE
        assert socket.getdefaulttimeout() is None
