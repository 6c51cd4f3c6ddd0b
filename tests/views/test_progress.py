"""What a command says while it works."""

import io
import time
from itertools import pairwise

import pytest
from rich.console import Console

from pure_cli.views import progress
from pure_cli.views.progress import Bar, Lines, Pace, about
from pure_cli.waiting import waiting_for


def console(terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100)


def test_time_left_is_that_of_a_steady_work_and_nothing_is_said_before_it_is_known():
    pace = Pace()
    pace.update(0, 100, 0.0)
    pace.update(1, 100, 1.0)
    assert pace.words("images") == ("", "")
    for second in range(2, 51):
        pace.update(second, 100, float(second))
    assert pace.words("images") == ("1.0 a second", "50 s left")


def test_time_left_does_not_jump_where_the_pace_does():
    pace, left = Pace(), []
    for second in range(200):
        pace.update(second if second < 50 else 50 + (second - 50) // 10, 100, float(second))
        left.append(pace.left)
    known = [one for one in left if one is not None]
    assert max(abs(after - before) for before, after in pairwise(known)) < 5  # seconds in a second


def test_a_slow_work_says_how_long_each_thing_takes():
    pace = Pace()
    for done in range(4):
        pace.update(done, 6, 30.0 * done)
    assert pace.words("figures") == ("30 s each", "1 min 30 s left")
    assert pace.words("steps")[0] == ""


def test_another_work_begins_anew():
    pace = Pace()
    for done in range(10):
        pace.update(done, 10, float(done))
    pace.update(0, 3, 11.0)
    assert pace.words("steps") == ("", "")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (3.2, "4 s"), (37, "35 s"), (61, "1 min"), (131, "2 min 10 s"), (1512, "25 min")],
)
def test_guessed_times_are_round(seconds, words):
    assert about(seconds) == words


def test_lines_say_what_is_waited_for_where_it_lasts(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.2)
    out = console()
    with Lines(out, "collect", "images") as update:
        waiting_for("listing the images")  # for no time
        waiting_for("loading the network")
        while not out.file.getvalue():
            time.sleep(0.01)
        waiting_for("checking the network")  # for no time
        update(0, 10)
        time.sleep(0.4)
    assert out.file.getvalue().splitlines() == ["collect: loading the network"]
    waiting_for("nobody listens any more")


def test_what_is_waited_for_again_has_one_line(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.02)
    out = console()
    with Lines(out, "calibrate", "steps") as update:
        for layer in range(3):
            for what in ("listing the images", "looking at the layers"):
                waiting_for(what)
                time.sleep(0.1)
            update(layer, 3)
    assert out.file.getvalue().splitlines() == ["calibrate: listing the images", "calibrate: looking at the layers"]


def test_a_bar_says_what_is_waited_for_at_once():
    out = console(terminal=True)
    with Bar(out, "collect", "images") as update:
        waiting_for("loading the network")
        time.sleep(0.3)
        update(3, 10)
        time.sleep(0.3)
    assert "collect: loading the network" in out.file.getvalue()
    assert "3/10 images" in out.file.getvalue()
