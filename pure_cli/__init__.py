"""pure: find out what a neuron of a vision model really responds to (PURE, arXiv 2404.06453)."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["PureError", "PureFailure", "References", "Workspace", "__version__", "benchmark"]

if TYPE_CHECKING:
    from pure_cli.api import Workspace, benchmark
    from pure_cli.errors import PureError, PureFailure
    from pure_cli.stages.benchmarking.references import References


def __getattr__(name: str) -> Any:
    """Import the API on first use, so that ``import pure_cli`` (and ``pure --help``) stays light."""
    if name in ("Workspace", "benchmark"):
        from pure_cli import api

        return getattr(api, name)
    if name == "References":
        from pure_cli.stages.benchmarking.references import References

        return References
    if name in ("PureError", "PureFailure"):
        from pure_cli import errors

        return getattr(errors, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
