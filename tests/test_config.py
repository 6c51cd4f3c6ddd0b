"""YAML files: what stands in them is taken as it is written."""

from pathlib import Path

import pytest

from pure_cli import config


@pytest.mark.parametrize(
    ("stage", "text", "name", "value"),
    [
        ("attribute", "lower_layer: 0.10", "lower_layer", ["0.10"]),
        ("attribute", "layer: [on, 1:30, 08, 1_0, 2024-01-01, 'null']", "layer",
         ["on", "1:30", "08", "1_0", "2024-01-01", "null"]),
        ("attribute", "neurons: 08", "neurons", "08"),
        ("attribute", "neurons: [1, 2]", "neurons", "1,2"),
        ("attribute", "force: yes", "force", True),
        ("attribute", "deterministic: off", "deterministic", False),
        ("attribute", "batch_size: 1_000", "batch_size", 1000),
        ("attribute", "batch_size: ~", "batch_size", None),
        ("calibrate", "budget: 0.30", "budget", 0.3),
        ("cluster", "k: [3, auto, 2]", "k", [2, 3, "auto"]),
        ("collect", "model: 1e3\ndata: 2024-01-01", "data", Path("2024-01-01")),
        ("collect", "model: 1e3\ndata: no", "model", "1e3"),
        ("collect", "model: x\ndata: x\nmean: [0.5, .25, 1e-1]", "mean", (0.5, 0.25, 0.1)),
    ],
)  # fmt: skip
def test_values_of_a_config_file_are_as_written_and_get_the_type_of_their_setting(tmp_path, stage, text, name, value):
    (tmp_path / "study.yaml").write_text(text)
    options = config.options_of(config.read_config(tmp_path / "study.yaml"), stage)
    assert getattr(config.make(stage, options), name) == value
