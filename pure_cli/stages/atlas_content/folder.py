"""The folder of an atlas: which of its files were made from what."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pure_cli.config import fingerprint
from pure_cli.errors import PureError
from pure_cli.files import crc_or_none, disk_errors, write_whole
from pure_cli.words import in_file_names

DATA, INDEX, PAGE, AUDITS = "data", "index.json", "index.html", "audit"
FORMAT = 2


class AtlasFolder:
    """Files of an atlas, and an index that says what each was made from.

    Parameters
    ----------
    root : the folder, which need not be there
    model : what identifies the network; an atlas is of one
    anew : what is there is made again

    Attributes
    ----------
    crop : what its images are cut to; "" where there are none yet
    """

    def __init__(self, root: Path, model: str, anew: bool):
        self.root, self._model = root, model
        self._entries: dict[str, dict[str, Any]] = {}
        self._layers: dict[str, dict[str, Any]] = {}
        self.crop = ""
        self._open(anew)

    def _open(self, anew: bool) -> None:
        """
        Raises
        ------
        PureError
            There is something else than an atlas of this network.
        """
        if self.root.exists() and not self.root.is_dir():
            raise PureError(f"{self.root} is a file. Choose a folder for the atlas with --out.")
        content = self._read()
        if content is None:
            if self.root.is_dir() and any(self.root.iterdir()) and not (self.root / DATA / INDEX).is_file():
                raise PureError(f"{self.root} is no atlas, and not empty. Choose another folder with --out.")
            return
        if content["model"] != self._model and not anew:
            raise PureError(
                f"{self.root} is an atlas of other weights or another network. Choose another folder with --out, or "
                "replace it with --force."
            )
        if content["model"] == self._model:
            self._entries, self._layers, self.crop = content["neurons"], content["layers"], content["crop"]
        else:
            shutil.rmtree(self.root / DATA, ignore_errors=True)

    def _read(self) -> dict[str, Any] | None:
        """What the index says; None where there is none, or a damaged one."""
        with suppress(OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            content: dict[str, Any] = json.loads((self.root / DATA / INDEX).read_text(encoding="utf-8"))
            if content.pop("checksum") == fingerprint(content) and content["format"] == FORMAT:
                return content
        return None

    @property
    def layers(self) -> dict[str, dict[str, Any]]:
        """What the site says of each layer, by name."""
        return {layer: own["site"] for layer, own in self._layers.items()}

    def slug(self, layer: str) -> str:
        """The folder of a layer: its name, where a file may be called so, and a checksum else."""
        plain = in_file_names(layer).strip(".")
        return plain if plain == layer else f"{plain}-{zlib.crc32(layer.encode(errors='surrogateescape')):08x}"

    def neuron_file(self, layer: str, neuron: int) -> str:
        """Below the folder."""
        return f"{DATA}/{self.slug(layer)}/n/{neuron:06d}.js"

    def layer_file(self, layer: str) -> str:
        return f"{DATA}/{self.slug(layer)}/layer.js"

    def icons_file(self, layer: str, sheet: int) -> str:
        return f"{DATA}/{self.slug(layer)}/icons-{sheet}.js"

    def neurons(self, layer: str) -> list[int]:
        """Those that the atlas has, ascending."""
        return sorted(own["neuron"] for own in self._entries.values() if own["layer"] == layer)

    def entry(self, layer: str, neuron: int) -> dict[str, Any]:
        """What the file of a neuron was made from; nothing where it is not as it was written."""
        file = self.neuron_file(layer, neuron)
        own = self._entries.get(file)
        return own if own and crc_or_none(self.root / file) == own["crc"] else {}

    def layer_is(self, layer: str, made: str) -> bool:
        """The layer's own files are there, and made from these things."""
        own = self._layers.get(layer)
        return bool(
            own
            and own["made"] == made
            and all(crc_or_none(self.root / file) == crc for file, crc in own["files"].items())
        )

    def add_neuron(self, layer: str, neuron: int, text: str, **made: str) -> None:
        file = self.neuron_file(layer, neuron)
        crc = self.write(file, text)
        self._entries[file] = {"layer": layer, "neuron": neuron, "crc": crc, **made}

    def add_layer(self, layer: str, files: Mapping[str, str], made: str, site: Mapping[str, Any]) -> None:
        """Write the layer's own files, by name; those that it had before and has no more go."""
        before = self._layers.get(layer, {}).get("files", {})
        sums = {file: self.write(file, text) for file, text in files.items()}
        for file in set(before) - set(sums):
            (self.root / file).unlink(missing_ok=True)
        self._layers[layer] = {"files": sums, "made": made, "site": dict(site)}

    def drop(self, layer: str, neurons: list[int]) -> None:
        """Remove neurons that are not split any more."""
        for neuron in neurons:
            file = self.neuron_file(layer, neuron)
            self._entries.pop(file, None)
            (self.root / file).unlink(missing_ok=True)

    def write(self, file: str, text: str) -> int:
        """Write a file below the folder; its CRC-32."""
        path, content = self.root / file, _encoded(text)
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content, sync=False)
        return zlib.crc32(content)

    def renew(self, file: str, text: str) -> None:
        """Write a file below the folder where it is another."""
        if crc_or_none(self.root / file) != zlib.crc32(_encoded(text)):
            self.write(file, text)

    def save(self) -> None:
        """Write the index: what was written before it counts."""
        content = {
            "format": FORMAT,
            "model": self._model,
            "crop": self.crop,
            "neurons": self._entries,
            "layers": self._layers,
        }
        self.write(f"{DATA}/{INDEX}", json.dumps({**content, "checksum": fingerprint(content)}))

    def keep(self, audits: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
        """Write the cards of classes, where they changed, and remove those of others; what the site says of them."""
        from pure_cli.views.atlas.page import chunk

        found = [{"class": one["class"], "slug": f"{one['number']:03}-{self.slug(one['class'])}"} for one in audits]
        folder = self.root / DATA / AUDITS
        for card, entry in zip(audits, found, strict=True):
            self.renew(f"{DATA}/{AUDITS}/{entry['slug']}.js", chunk(f"audit:{card['class']}", card))
        for file in folder.glob("*.js"):
            if file.stem not in {entry["slug"] for entry in found}:
                file.unlink(missing_ok=True)
        return found

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.stat().st_size for file in self.root.rglob("*") if file.is_file())


def _encoded(text: str) -> bytes:
    """A name that is no UTF-8 is spelled out."""
    return text.encode(errors="backslashreplace")
