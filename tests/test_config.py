"""YAML files: what stands in them is taken as it is written."""

import pytest

from pure_cli import config
from pure_cli.errors import PureError


@pytest.mark.parametrize(
    ("stage", "text", "name", "value"),
    [
        ("attribute", "lower_layer: 0.10", "lower_layer", ["0.10"]),
        ("attribute", "layer: [on, 1:30, 08, 1_0, 2024-01-01, 'null']", "layer",
         ["on", "1:30", "08", "1_0", "2024-01-01", "null"]),
        ("attribute", "neurons: 08", "neurons", "08"),
        ("attribute", "neurons: [1, 2]", "neurons", "1,2"),
        ("attribute", "neurons: 010", "neurons", "010"),
        ("attribute", "batch-size: 7", "batch_size", 7),
        ("attribute", "attribute: {lower-layer: a}", "lower_layer", ["a"]),
        ("collect", "model: x\ndata: x\nreferences: 8", "references", 8),
        ("collect", "model: x\ndata: x\ncollect: {n: 8}", "references", 8),
        ("attribute", "force: yes", "force", True),
        ("attribute", "deterministic: off", "deterministic", False),
        ("attribute", "batch_size: 1_000", "batch_size", 1000),
        ("attribute", "batch_size: ~", "batch_size", None),
        ("calibrate", "budget: 0.30", "budget", 0.3),
        ("cluster", "k: [3, auto, 2]", "k", [2, 3, "auto"]),
        ("collect", "model: 1e3\ndata: 2024-01-01", "data", "2024-01-01"),
        ("collect", "model: 1e3\ndata: no", "model", "1e3"),
        ("collect", "model: x\ndata: x\nmean: [0.5, .25, 1e-1]", "mean", (0.5, 0.25, 0.1)),
    ],
)  # fmt: skip
def test_values_of_a_config_file_are_as_written_and_get_the_type_of_their_setting(tmp_path, stage, text, name, value):
    (tmp_path / "study.yaml").write_text(text)
    options = config.stage_options(config.read_config(tmp_path / "study.yaml"), stage)
    assert getattr(config.make(stage, options), name) == value


def test_a_number_with_zeros_in_front_is_that_neuron():
    from pure_cli.core.neurons import parse_neurons

    assert list(parse_neurons("010", 20, "a")) == [10]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("quiet: true", "'quiet' in .* is an option of the command line alone: leave it out, and pass --quiet"),
        ("collect: {list-layers: yes}", "pass --list-layers"),
        ("n: 3\nreferences: 4", "says 'n' twice, the second time as 'references'"),
        ("zebra: true", "Unknown key in .* 'zebra'. There is: "),
        ("modle: x", "Did you mean 'model'"),
    ],
)
def test_keys_that_a_file_cannot_have(tmp_path, text, says):
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(PureError, match=says):
        config.read_config(tmp_path / "study.yaml")


@pytest.mark.parametrize(
    ("stage", "options", "says"),
    [
        ("collect", {"quantiles": "0"}, "as in 50,90, not 0."),
        ("collect", {"quantiles": [90, 50]}, ", not 90,50."),
        ("collect", {"channels_axis": ["third"]}, ", not 'third'."),
        ("evaluate", {"controls": "nonsense"}, ", not 'nonsense'."),
        ("evaluate", {"controls": ["untrained", "non sense"]}, ", not 'untrained,non sense'."),
        ("evaluate", {"k": "0"}, "every k must be 1 or more, not 0."),
        ("freeze", {"out": "track.csv"}, ", not 'track.csv'."),
        ("attribute", {"device": ["cpu", "cuda:0"]}, ", and not cpu,cuda:0: "),
    ],
)
def test_a_refused_value_stands_in_the_message_as_it_was_written(stage, options, says):
    options = {"metric": "labels", **options} if stage == "evaluate" else options
    options = {"model": "x", "data": "x", **options} if stage == "collect" else options
    with pytest.raises(PureError) as error:
        config.make(stage, options)
    assert says in str(error.value) and "[" not in str(error.value)


@pytest.mark.parametrize("stage", config.stage_names())
def test_no_refusal_of_an_option_shows_a_list_of_python(stage):
    needed = {"model": "x", "data": "x", "metric": "labels", "with_": "x"}
    for name in config.known_options(stage):
        for wrong in (["0"], ["\N{SNOWMAN}"], [-1, "a b"]):
            try:
                config.make(
                    stage, {**{k: v for k, v in needed.items() if k in config.known_options(stage)}, name: wrong}
                )
            except PureError as error:
                assert "['" not in str(error) and "[-1" not in str(error), error
