"""Parts are handed out once, failed ones again, and those that always fail are given up."""

import random

import pytest

from pure_cli.core.parts import Part
from pure_cli.engines.queue import TRIES, PartQueue


def parts(count: int) -> list[Part]:
    return [Part(count, number) for number in range(1, count + 1)]


def test_each_part_is_handed_out_once_in_order():
    queue = PartQueue([*parts(3), *parts(3)])
    assert [queue.take(), queue.take(), queue.take(), queue.take()] == [*parts(3), None]
    assert not queue.is_over
    for part in parts(3):
        queue.finish(part)
    assert queue.is_over
    assert (queue.done, queue.total, queue.handed_out, queue.repeated) == (parts(3), 3, 3, 0)


def test_a_failed_part_waits_behind_the_others():
    queue = PartQueue(parts(3))
    queue.fail(queue.take(), "its worker died")
    assert [queue.take().number for _ in range(3)] == [2, 3, 1]
    assert queue.repeated == 1


def test_a_part_that_always_fails_is_given_up_and_the_others_are_done():
    queue, tries = PartQueue(parts(4)), 0
    while (part := queue.take()) is not None:
        if part.number == 2:
            tries += 1
            queue.fail(part, f"death {tries}")
        else:
            queue.finish(part)
    assert queue.is_over
    assert tries == TRIES
    assert queue.given_up == {Part(4, 2): [f"death {number}" for number in range(1, TRIES + 1)]}
    assert [part.number for part in queue.done] == [1, 3, 4]


def test_nothing_is_to_do_where_there_are_no_parts():
    assert PartQueue([]).is_over


def test_what_is_not_at_work_can_neither_end_nor_fail():
    queue = PartQueue(parts(2))
    with pytest.raises(KeyError):
        queue.finish(Part(2, 1))
    queue.finish(queue.take())
    with pytest.raises(KeyError):
        queue.fail(Part(2, 1), "late")


@pytest.mark.parametrize("seed", range(20))
def test_whatever_fails_every_part_ends_and_none_is_done_twice(seed):
    chance, queue, at_work = random.Random(seed), PartQueue(parts(15)), []
    while not queue.is_over:
        if chance.random() < 0.6 and (part := queue.take()) is not None:
            at_work.append(part)
        elif at_work:
            part = at_work.pop(chance.randrange(len(at_work)))
            if chance.random() < 0.4:
                queue.fail(part, "chance")
            else:
                queue.finish(part)
    assert sorted([*queue.done, *queue.given_up]) == parts(15)
    assert queue.handed_out == queue.total + queue.repeated
