"""Requests, bytes and seconds of a pass over shards in a bucket, against the same shards on the disk.

``python tests/benchmarks/storage.py``: an S3 server on this machine, each of whose answers takes 30 ms.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from pathlib import Path

import boto3
import numpy as np
from PIL import Image

from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data.listing import list_images
from pure_cli.data.loader import batches

SERVER = Path(__file__).parents[1] / "remote" / "s3_server.py"


def make_shards(folder: Path, shards: int, images: int, side: int) -> None:
    """Tars of JPEG images, a label beside each."""
    random = np.random.default_rng(0)
    for shard in range(shards):
        with tarfile.open(folder / f"part-{shard:03d}.tar", "w") as tar:
            for i in range(images):
                out = io.BytesIO()
                Image.fromarray(random.integers(0, 255, (side, side, 3), np.uint8)).save(out, "JPEG", quality=80)
                for ending, content in (("jpg", out.getvalue()), ("cls", b"1")):
                    member = tarfile.TarInfo(f"{shard:03d}{i:05d}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, usual in (("shards", 6), ("images", 300), ("side", 300), ("workers", 2)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as server,
    ):
        measure(Path(folder), json.loads(server.stdout.readline()), options)
        server.stdin.close()


def measure(folder: Path, ports: dict, options: argparse.Namespace) -> None:
    (shards := folder / "shards").mkdir()
    make_shards(shards, options.shards, options.images, options.side)
    whole = sum(file.stat().st_size for file in shards.iterdir())
    url = f"http://127.0.0.1:{ports['proxy']}"
    os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ |= {"AWS_ENDPOINT_URL": url, "AWS_EC2_METADATA_DISABLED": "true"}
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{ports['moto']}")
    client.create_bucket(Bucket="bench")
    for file in shards.iterdir():
        client.upload_file(str(file), "bench", f"d/{file.name}")
    print(f"{options.shards * options.images:,} images, {whole / 1e6:.0f} MB on the disk")
    few = np.linspace(0, options.shards * options.images - 1, 100).astype(int)
    for place, name, size in (
        (str(shards), "disk", "0"),
        ("s3://bench/d", "bucket", "20GB"),
        ("s3://bench/d", "bucket, no cache", "0"),
    ):
        os.environ |= {"PURE_CACHE": str(folder / f"cache of {name}"), "PURE_CACHE_SIZE": size}
        for what in ("first listing", "next listing", "pass", "100 images"):
            control(url, {"ills": [], "always": "far"})
            begin = time.perf_counter()
            listing = list_images(place, cache=folder / name)
            if "listing" not in what:
                chosen = few if what == "100 images" else listing.index
                for _ in batches(listing, chosen, Preprocessing(224, 224), 64, options.workers):
                    pass
            seconds, state = time.perf_counter() - begin, control(url)
            megabytes = state["sent"] / 1e6
            print(f"| {name} | {what} | {len(state['asked'])} | {megabytes:.1f} MB | {seconds:.2f} s |")


def control(url: str, content: dict | None = None) -> dict:
    """Tell the proxy what to do, or ask it what was asked for."""
    body = None if content is None else json.dumps(content).encode()
    with urllib.request.urlopen(f"{url}/--control", body) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
