"""Find what drives a class: its virtual neurons, which of them fire on other classes, and odd references of theirs."""

from __future__ import annotations

from pydantic import field_validator

from pure_cli.settings.label import as_texts
from pure_cli.settings.option import option
from pure_cli.settings.shared import (
    LayerName,
    OfVirtualNeurons,
    Place,
    Running,
    data_option,
    layer_option,
    limit_option,
    neurons_option,
    seed_option,
)
from pure_cli.settings.stage import Stage

ALL = "all"  # in place of a class


class AuditSettings(Running, OfVirtualNeurons):
    """Find the virtual neurons that drive a class, those of them that fire on other classes, and odd references."""

    classes: list[str] | None = option(
        None,
        "Classes of the data, by name (by number where they have none), or all.",
        argument=True,
        metavar="CLASS",
        python="str | Sequence[str]",
    )
    neurons: str | None = neurons_option(
        "Among which neurons: 201,2,341 or 0-63 or all, or virtual neurons, 201.2; with their layer, layer4/201.2."
    )
    layer: list[LayerName] | None = layer_option("all that have virtual neurons of channels")
    count: int = option(
        20, "Virtual neurons that are silenced, and as many at random.", "--count", "-n", metavar="N", ge=1
    )
    sample: int = option(
        400,
        "Images of the class, spread evenly, one half of which chooses what is silenced while the other measures it.",
        metavar="N",
        ge=2,
    )
    data: Place | None = data_option()
    limit: int | None = limit_option()
    seed: int = seed_option()

    _texts = field_validator("classes", mode="before")(as_texts)


RETURNS = (
    '``details["tables"]`` has what drives each class and odd references, ``details["audits"]`` the same as data '
    "(`pure_cli.stages.auditing.cards.audits`)."
)
STAGE = Stage(AuditSettings, order=84, unit="images", on_demand=True, returns=RETURNS)
