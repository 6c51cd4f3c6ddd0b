"""Draw a figure for each neuron."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import field_validator, model_validator

from pure_cli.errors import PureError
from pure_cli.settings.option import option
from pure_cli.settings.shared import (
    K_IN_PYTHON,
    K,
    LayerName,
    OfFeatures,
    OfVirtualNeurons,
    OnDevice,
    as_list,
    k_as_list,
    seed_option,
    sorted_k,
)
from pure_cli.settings.stage import Stage

FIGURES = "The figures"
CIRCUIT = "The graph of a circuit"


class RenderSettings(OnDevice, OfFeatures, OfVirtualNeurons):
    """Draw a figure for each neuron: its references on a map, and rows of what each virtual neuron responds to."""

    features: list[str] | None = option(  # type: ignore[assignment]
        None,
        "Whose clusters to show; repeat for several.",
        metavar="KIND",
        otherwise="those that addresses mean, see `pure choose`",
    )
    k: list[K] | None = option(
        None,
        "Which clusterings to show, as in 2 or 2,3.",
        metavar="LIST",
        otherwise="that of the addresses; with --features, the smallest that splits",
        python=K_IN_PYTHON,
    )
    top: int | None = option(
        None, "The N most clearly split neurons of a layer only, of those of --neurons.", metavar="N", ge=1
    )
    crop: Literal["crp", "activation", "none"] = option(
        "crp", "crp: cut and darken to what the neuron saw; activation: by its map; none.", metavar="HOW"
    )
    images: int = option(8, "Images in a row, 8 at most.", metavar="N", panel=FIGURES, ge=1, le=8)
    format: Literal["png", "pdf", "svg"] = option("png", "png, pdf or svg.", metavar="TYPE", panel=FIGURES)
    out: Path | None = option(
        None,
        "Folder of the figures.",
        metavar="DIR",
        panel=FIGURES,
        otherwise="figures in the workspace, of circuits circuits there",
    )
    seed: int = seed_option()
    circuit: list[str] | None = option(
        None,
        "Draw the circuit of virtual neurons, as in layer4/201.2, as a graph over several lower layers, beside those "
        "of their siblings, and write it as JSON; repeat for several.",
        metavar="ADDRESS",
        panel=CIRCUIT,
    )
    depth: int | None = option(
        None,
        "Lower layers of the graph.",
        metavar="N",
        panel=CIRCUIT,
        otherwise="3, or as many as there are",
        ge=1,
    )
    through: list[LayerName] | None = option(
        None,
        "The lower layers of the graph, the highest first; repeat for several.",
        metavar="LAYER",
        panel=CIRCUIT,
        otherwise="each found as `pure attribute` finds one",
    )

    @model_validator(mode="after")
    def _of_circuits(self) -> RenderSettings:
        """Options of graphs have a graph.

        Raises
        ------
        PureError
            They have none, or say two things.
        """
        if (self.depth or self.through) and not self.circuit:
            raise PureError("--depth and --through are of the graph of a circuit. Name one, as in --circuit 201.2.")
        if self.depth and self.through:
            raise PureError("--depth says how many layers to find, and --through names them. Give one of them.")
        return self

    @property
    def circuit_text(self) -> str:
        """The addresses whose circuits are drawn, as one list; those without a layer are of the one that is named.

        Raises
        ------
        PureError
            Other options say something else.
        """
        for name in ("neurons", "features", "k", "top"):
            if getattr(self, name) is not None:
                raise PureError(
                    "--circuit names virtual neurons by their addresses, and `pure choose` says which these are: "
                    f"leave out --{name}."
                )
        one = self.layer[0] if self.layer and len(self.layer) == 1 else ""
        return ",".join(f"{one}/{text}" if one and "/" not in text else text for text in self.circuit or ())

    _lists = field_validator("circuit", "through", mode="before")(as_list)
    _ks = field_validator("k", mode="before")(k_as_list)
    _k = field_validator("k")(sorted_k)


RETURNS = '``details["files"]`` has the figures, ``details["circuits"]`` the JSON files of graphs.'
STAGE = Stage(RenderSettings, order=70, unit="figures", returns=RETURNS, units={"circuit": "passes"})
