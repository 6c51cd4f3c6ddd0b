"""The images of a class folder, written in the form of every other source."""

import csv
import gzip
import io
import json
import pickle
import struct
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Made:
    """A class folder, and what is in it, in the order of its listing."""

    folder: Path

    @cached_property
    def files(self) -> list[Path]:
        return sorted(self.folder.rglob("*.png"))

    @cached_property
    def names(self) -> list[str]:
        return sorted({file.parent.name for file in self.files})

    @cached_property
    def labels(self) -> np.ndarray:
        return np.array([self.names.index(file.parent.name) for file in self.files])

    @cached_property
    def pixels(self) -> np.ndarray:
        """(N, H, W, 3) uint8"""
        return np.stack([np.asarray(Image.open(file).convert("RGB")) for file in self.files])


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def tar_shards(made: Made, folder: Path, label: str = "cls", shards: int = 3) -> Path:
    """``part-000.tar`` and so on: the images in order, with the label in a member of that ending, or in folders.

    Parameters
    ----------
    label : "cls", "json"; "": class folders; "txt": class folders in one folder, and captions that repeat
    """
    folder.mkdir(parents=True, exist_ok=True)
    if label == "cls":
        (folder / "classnames.txt").write_text("\n".join(made.names) + "\n")
    for shard, indices in enumerate(np.array_split(np.arange(len(made.files)), shards)):
        with tarfile.open(folder / f"part-{shard:03d}.tar", "w") as tar:
            for i in indices.tolist():
                name = made.names[made.labels[i]]
                text = {
                    "cls": str(made.labels[i]),
                    "txt": "a digit",
                    "json": json.dumps({"id": i, "label": name}),
                    "": "",
                }
                key = {"": f"./{name}/", "txt": f"digits/{name}/"}.get(label, "") + f"{i:05d}"
                if text[label] and i % 2:  # the order of the members of a key is not fixed
                    add(tar, f"{key}.{label}", text[label].encode())
                add(tar, f"{key}.png", made.files[i].read_bytes())
                if text[label] and not i % 2:
                    add(tar, f"{key}.{label}", text[label].encode())
    return folder


def pattern(made: Made, folder: Path) -> Path:
    return tar_shards(made, folder) / "part-{000..002}.tar"


def csv_list(made: Made, folder: Path) -> Path:
    folder.mkdir(parents=True)
    with (folder / "list.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        writer.writerows([path, path.parent.name] for path in made.files)
    return folder / "list.csv"


def table(made: Made, content: bool = True):
    """The images as Hugging Face would keep them in Arrow."""
    import pyarrow as pa

    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": made.names}}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [
        {"bytes": f.read_bytes(), "path": f.name} if content else {"bytes": None, "path": str(f)} for f in made.files
    ]
    columns = {"image": pa.array(cells, kind), "label": pa.array(made.labels.tolist(), pa.int64())}
    return pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def parquet(made: Made, folder: Path) -> Path:
    """Two files, of several row groups each."""
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    whole, half = table(made), len(made.files) // 2
    pq.write_table(whole.slice(0, half), folder / "train-00000-of-00002.parquet", row_group_size=7)
    pq.write_table(whole.slice(half), folder / "train-00001-of-00002.parquet", row_group_size=7)
    return folder


def saved(made: Made, folder: Path) -> Path:
    """A `Dataset` saved on disk, as the package `datasets` writes it."""
    import pyarrow as pa

    folder.mkdir(parents=True)
    whole = table(made)
    names = ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    half = len(made.files) // 2
    for name, part in zip(names, (whole.slice(0, half), whole.slice(half)), strict=True):
        with pa.OSFile(str(folder / name), "wb") as out, pa.ipc.new_stream(out, part.schema) as writer:
            writer.write_table(part, max_chunksize=5)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0123456789abcdef", "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": made.names}}
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    return folder


def npz(made: Made, folder: Path) -> Path:
    folder.mkdir(parents=True)
    np.savez(folder / "images.npz", images=made.pixels, labels=made.labels, names=np.array(made.names))
    return folder / "images.npz"


def npz_compressed(made: Made, folder: Path) -> Path:
    """Channels first, floats, in splits."""
    folder.mkdir(parents=True)
    pixels = (made.pixels / 255).astype(np.float32).transpose(0, 3, 1, 2)
    np.savez_compressed(
        folder / "images.npz",
        x_train=pixels[:1], y_train=made.labels[:1], x_test=pixels, y_test=made.labels[:, None],
        class_names=np.array(made.names),
    )  # fmt: skip
    return folder / "images.npz#test"


def cifar(made: Made, folder: Path) -> Path:
    """Ten classes in the layout of CIFAR-10."""
    where = folder / "cifar-10-batches-py"
    where.mkdir(parents=True)
    data = made.pixels.transpose(0, 3, 1, 2).reshape(len(made.pixels), -1)
    parts = [(f"data_batch_{i + 1}", part) for i, part in enumerate(np.array_split(np.arange(len(data)), 5))]
    for name, index in [*parts, ("test_batch", np.array([0, 1]))]:
        batch = {"data": data[index], "labels": made.labels[index].tolist(), "batch_label": name}
        (where / name).write_bytes(pickle.dumps(batch, protocol=2))
    (where / "batches.meta").write_bytes(pickle.dumps({"label_names": made.names}, protocol=2))
    return folder / "#train"


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def mnist(made: Made, folder: Path, compressed: bool = False) -> Path:
    """Grey images in the layout of MNIST."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    grey = made.pixels[..., 0]
    for start, index in (("train", slice(0, 3)), ("t10k", slice(None))):
        contents = {"images-idx3": idx(grey[index]), "labels-idx1": idx(made.labels[index])}
        for name, content in contents.items():
            file = raw / f"{start}-{name}-ubyte{'.gz' if compressed else ''}"
            file.write_bytes(gzip.compress(content) if compressed else content)
    return folder / "MNIST#test"


MAKERS: dict[str, Callable[[Made, Path], Path]] = {
    "list": csv_list,
    "tar-pattern": pattern,
    "tar-json": lambda made, folder: tar_shards(made, folder, "json"),
    "tar-captions": lambda made, folder: tar_shards(made, folder, "txt", 1) / "part-000.tar",
    "tar-folders": lambda made, folder: tar_shards(made, folder, ""),
    "parquet": parquet,
    "saved": saved,
    "npz": npz,
    "npz-compressed": npz_compressed,
    "cifar": cifar,
    "mnist": mnist,
    "mnist-gz": lambda made, folder: mnist(made, folder, compressed=True),
}
NEED_PYARROW = ("parquet", "saved")
