"""How the objects of the Python API show themselves: as text in a terminal, as HTML in a notebook."""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDTH = 100  # characters


class Displayed:
    """The base of objects that are shown as `__rich__` gives them."""

    def __rich__(self) -> "RenderableType":
        raise NotImplementedError

    def __repr__(self) -> str:
        from rich.console import Console

        console = Console(file=io.StringIO(), width=WIDTH, highlight=False, color_system=None)
        with console.capture() as shown:
            console.print(self.__rich__(), crop=False)
        return shown.get().rstrip()

    def _repr_html_(self) -> str:
        from rich.console import Console

        console = Console(file=io.StringIO(), width=WIDTH, highlight=False, record=True, force_jupyter=False)
        console.print(self.__rich__(), crop=False)
        return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")
