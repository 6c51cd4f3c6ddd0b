"""What a run of evaluate has measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pure_cli.provenance import Provenance
from pure_cli.stages.evaluation.result_files import ResultKey
from pure_cli.stages.evaluation.study import Study


@dataclass(frozen=True)
class Measured:
    """One metric of one layer.

    Attributes
    ----------
    name : as it was asked for: the metric, or an embedder
    tables : as of `pure_cli.stages.evaluation.study.Table.as_dict`
    anew : not found among earlier results
    """

    name: str
    metric: str
    study: Study
    where: ResultKey
    tables: list[dict[str, Any]]
    provenance: Provenance
    anew: bool
