"""Imports of the package point down, as the table of docs/architecture.md has it; and functions are short."""

import ast
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pure_cli"
BY_TYPE = ("registry",)  # what a registry holds lies above it, and only its types are named
DOORS = ("__init__", "__main__")  # lead into the house and are no rooms
LONGEST = 40  # lines of a function
FLOOR = re.compile(r"^\| (\d+) \| ([^|]+) \|", re.MULTILINE)


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


ROOMS = sorted({room_of(file) for file in PACKAGE.rglob("*.py")} - set(DOORS))


@pytest.fixture(scope="module")
def floors() -> dict[str, int]:
    """The floor of each room, from the table."""
    table = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return {
        name: int(floor) for floor, names in FLOOR.findall(table) for name in re.findall(r"`(\w+)(?:\.py|/)`", names)
    }


def imported(source: str, types: bool = True) -> set[str]:
    """The rooms that a file imports, wherever in it; without `types` not those under ``if TYPE_CHECKING``."""
    modules: set[str] = set()
    tree = ast.parse(source)
    if not types:
        tree.body = [
            node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            modules.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {module.split(".")[1] for module in modules if module.startswith("pure_cli.")} & set(ROOMS)


def test_the_table_names_every_room_and_no_other(floors):
    assert sorted(floors) == ROOMS


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_lower_floors_only(room, floors):
    for file in PACKAGE.rglob("*.py"):
        if room_of(file) == room:
            for other in imported(file.read_text(encoding="utf-8"), room not in BY_TYPE) - {room}:
                assert floors[other] > floors[room], f"{file.relative_to(ROOT)} imports {other}"


def test_arrows_of_the_picture_are_imports_and_all_folders_are_on_it():
    picture = ElementTree.parse(ROOT / "docs" / "images" / "architecture.svg").getroot()
    svg = "{http://www.w3.org/2000/svg}"
    names = [set(re.findall(r"\w+", own.text)) for own in picture.iter(f"{svg}text") if own.get("class") == "name"]
    places = [[int(own.get(key)) for key in ("x", "y", "width", "height")] for own in picture.iter(f"{svg}rect")
              if own.get("x")]  # fmt: skip
    boxes = list(zip(names, places, strict=True))
    uses = {room: set[str]() for room in ROOMS}
    for file in PACKAGE.rglob("*.py"):
        uses.get(room_of(file), set()).update(imported(file.read_text(encoding="utf-8"), room_of(file) not in BY_TYPE))
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} <= set.union(*names)
    for line in picture.iter(f"{svg}line"):
        x, begin, end = (int(line.get(key)) for key in ("x1", "y1", "y2"))
        (above,) = [
            own for own, (left, top, width, height) in boxes if left < x < left + width and top + height == begin
        ]
        (below,) = [own for own, (left, top, width, _) in boxes if left < x < left + width and top == end + 2]
        crossed = [own for own, (left, top, width, _) in boxes if left <= x <= left + width and begin < top < end]
        assert not crossed, f"the arrow from {above} goes through {crossed}"
        assert any(uses.get(room, set()) & below for room in above), f"{above} do not import {below}"


def test_imports_are_seen_wherever_they_stand():
    source = (
        "import pure_cli.data.place\ndef f():\n    from pure_cli import api\n    from pure_cli.core.crops import box\n"
    )
    assert imported(source) == {"data", "api", "core"}


def lengths(file: str, source: str) -> dict[str, int]:
    """Lines of each function without its docstring; of commands without their options, which are their parameters."""
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            begin = node.body[0].lineno if file.startswith("commands/") else node.lineno
            documented = ast.get_docstring(node, clean=False) is not None
            docstring = node.body[0].end_lineno - node.body[0].lineno + 1 if documented else 0
            found[f"{file}:{node.lineno} {node.name}"] = node.end_lineno - begin + 1 - docstring
    return found


def test_no_function_is_longer_than_forty_lines():
    found = {}
    for file in PACKAGE.rglob("*.py"):
        found |= lengths(file.relative_to(PACKAGE).as_posix(), file.read_text(encoding="utf-8"))
    assert {name: lines for name, lines in found.items() if lines > LONGEST} == {}


def test_length_leaves_out_docstrings_everywhere_and_options_of_commands():
    source = (
        'def f(\n    a,\n    b,\n):\n    """One.\n\n    Two.\n    """\n    def g():\n        return a\n\n    return g\n'
    )
    assert lengths("core/x.py", source) == {"core/x.py:1 f": 8, "core/x.py:9 g": 2}
    assert lengths("commands/x.py", source) == {"commands/x.py:1 f": 4, "commands/x.py:9 g": 1}
