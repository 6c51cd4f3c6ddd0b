"""From a path to images by index; the names here are those that a source of one's own needs."""

from pure_cli.data.cache import Cache
from pure_cli.data.handles import Handles
from pure_cli.data.place import Place
from pure_cli.data.registry import register_source
from pure_cli.data.source import DamagedImage, Items, Source

__all__ = ["Cache", "DamagedImage", "Handles", "Items", "Place", "Source", "register_source"]
