"""What results depend on, and what says that they are stale."""

import pytest

from pure_cli.provenance import Provenance, Status

MADE_FROM = {"model": "m", "weights": "w", "data": "d", "content": "c", "collect": "1"}


def test_the_fingerprint_depends_on_values_and_not_on_the_order_of_keys():
    first = Provenance({"layer": "a", "n": 5}, {"x": 1, "y": [1, 2]})
    assert Provenance({"n": 5, "layer": "a"}, {"y": (1, 2), "x": 1}) == first
    assert Provenance({"n": 6, "layer": "a"}, {"y": [1, 2], "x": 1}) != first
    assert Provenance({"n": 5, "layer": "a"}, {"y": [2, 1], "x": 1}) != first
    assert first.fingerprint == "b9006690adb1cef844c5e587df2cfee3"  # that of files that are there


def test_what_is_made_from_a_result_names_it_beside_all_that_it_was_made_from():
    one = Provenance({"n": 5}, {"model": "m"})
    assert one.passed_on("collect", n=5) == {"model": "m", "n": 5, "collect": one.fingerprint}


@pytest.mark.parametrize(
    ("settings", "changed", "reason"),
    [
        ({}, {}, ""),
        ({}, {"collect": "2"}, "the references changed"),
        ({}, {"collect": "2", "weights": "v"}, "the weights changed"),
        ({}, {"data": "e", "content": "f"}, "the images changed"),
        ({}, {"model": "n", "weights": "v"}, "the model and the weights changed"),
        ({"threshold": 0.5}, {}, "the settings changed"),
    ],
)
def test_a_status_says_what_changed_and_of_what_follows_from_it_nothing(settings, changed, reason):
    then, now = Provenance({}, MADE_FROM), Provenance(settings, {**MADE_FROM, **changed})
    assert then.status(now) == Status(reason)
    assert str(then.status(now)) == (f"stale: {reason}" if reason else "up to date")
