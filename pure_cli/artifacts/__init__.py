"""What is in the files of a workspace: names and shapes of the data sets, read and written as whole things.

One file for each file of the workspace; all names can be imported from here.
"""

from pure_cli.artifacts.assignments import Assignment, read_assignments, write_assignments
from pure_cli.artifacts.audits import Audit, read_audits, write_audits
from pure_cli.artifacts.calibrations import (
    Calibration,
    need_calibration,
    read_calibrations,
    write_calibration,
)
from pure_cli.artifacts.choices import Choice, read_choices, write_choices
from pure_cli.artifacts.circuits import (
    ChannelImage,
    Circuit,
    CircuitEdge,
    CircuitLayer,
    CircuitNode,
    Explained,
    NeuronCircuits,
    read_circuits,
    write_circuits,
)
from pure_cli.artifacts.clusterings import (
    Clustering,
    clustering_path,
    need_clusterings,
    read_clusterings,
    write_clusterings,
)
from pure_cli.artifacts.comparisons import (
    Apart,
    Block,
    Comparison,
    Similarities,
    block_order,
    read_comparison,
    read_comparisons,
    write_comparison,
)
from pure_cli.artifacts.evaluations import read_evaluation_values, read_evaluations, write_evaluation
from pure_cli.artifacts.labels import Labels, read_labels, write_labels
from pure_cli.artifacts.references import (
    Collected,
    CollectedLayer,
    Seen,
    need_layers,
    read_collected,
    read_seen,
    write_collected,
)
from pure_cli.artifacts.relevances import (
    AttributedLayer,
    NewRelevances,
    add_relevances,
    lower_width,
    read_activations,
    read_attributed,
    read_norms,
    read_relevances,
)
from pure_cli.artifacts.rows import NeuronRows, NewRows, add_rows, read_rows, read_rows_index
from pure_cli.artifacts.tracks import Track, read_track, write_track

__all__ = [
    "Apart",
    "Assignment",
    "AttributedLayer",
    "Audit",
    "Block",
    "Calibration",
    "ChannelImage",
    "Choice",
    "Circuit",
    "CircuitEdge",
    "CircuitLayer",
    "CircuitNode",
    "Clustering",
    "Collected",
    "CollectedLayer",
    "Comparison",
    "Explained",
    "Labels",
    "NeuronCircuits",
    "NeuronRows",
    "NewRelevances",
    "NewRows",
    "Seen",
    "Similarities",
    "Track",
    "add_relevances",
    "add_rows",
    "block_order",
    "clustering_path",
    "lower_width",
    "need_calibration",
    "need_clusterings",
    "need_layers",
    "read_activations",
    "read_assignments",
    "read_attributed",
    "read_audits",
    "read_calibrations",
    "read_choices",
    "read_circuits",
    "read_clusterings",
    "read_collected",
    "read_comparison",
    "read_comparisons",
    "read_evaluation_values",
    "read_evaluations",
    "read_labels",
    "read_norms",
    "read_relevances",
    "read_rows",
    "read_rows_index",
    "read_seen",
    "read_track",
    "write_assignments",
    "write_audits",
    "write_calibration",
    "write_choices",
    "write_circuits",
    "write_clusterings",
    "write_collected",
    "write_comparison",
    "write_evaluation",
    "write_labels",
    "write_track",
]
