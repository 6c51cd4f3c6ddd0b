"""Write the images of each virtual neuron as a table."""

from __future__ import annotations

from pathlib import Path

from pydantic import field_validator

from pure_cli.settings.option import option
from pure_cli.settings.shared import ALL_THERE, K_IN_PYTHON, K, OfVirtualNeurons, as_list, ends_in, k_as_list, sorted_k
from pure_cli.settings.stage import Stage

TABLES = (".csv", ".parquet")


class MembersSettings(OfVirtualNeurons):
    """The images of each virtual neuron."""

    features: list[str] | None = option(
        None, "Whose clusters; repeat for several.", metavar="KIND", otherwise=ALL_THERE
    )
    k: list[K] | None = option(
        None, "Of which k, as in 2 or 2,3,auto.", metavar="LIST", otherwise=ALL_THERE, python=K_IN_PYTHON
    )

    _lists = field_validator("features", mode="before")(as_list)
    _ks = field_validator("k", mode="before")(k_as_list)
    _k = field_validator("k")(sorted_k)


class ExportSettings(MembersSettings):
    """Write the images of each virtual neuron as a table, a row for each reference: CSV or Parquet."""

    out: Path | None = option(
        None, "A .csv or .parquet file.", "--out", "-o", metavar="FILE", otherwise="virtual-neurons.csv there"
    )

    _table = field_validator("out")(ends_in(*TABLES))


RETURNS = '``details["file"]`` has the file, ``details["columns"]`` its columns.'
STAGE = Stage(ExportSettings, order=90, unit="rows", on_demand=True, returns=RETURNS, reads_only=True)
