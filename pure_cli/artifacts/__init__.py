"""What is in the files of a workspace: names and shapes of the data sets, read and written as whole things.

One file for each file of the workspace; all names can be imported from here.
"""

from pure_cli.artifacts.clusterings import (
    Clustering,
    clustering_path,
    read_clusterings,
    write_clusterings,
)
from pure_cli.artifacts.features import feature_rows, split_features
from pure_cli.artifacts.references import Collected, CollectedLayer, need_layers, read_collected, write_collected
from pure_cli.artifacts.relevances import AttributedLayer, NewRelevances, add_relevances, read_attributed

__all__ = [
    "AttributedLayer",
    "Clustering",
    "Collected",
    "CollectedLayer",
    "NewRelevances",
    "add_relevances",
    "clustering_path",
    "feature_rows",
    "need_layers",
    "read_attributed",
    "read_clusterings",
    "read_collected",
    "split_features",
    "write_clusterings",
    "write_collected",
]
