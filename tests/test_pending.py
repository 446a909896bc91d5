"""What of several commands is sent again, and what is not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from redisext.backoff import Patience
from redisext.command import Command, Op
from redisext.errors import CommandRefused, ConnectionFailed, DecodeError, OutcomeUnknown
from redisext.pending import Pending, without_overtaking
from redisext.reply import as_it_is

SET = Op("SET")
GET = Op("GET", reads=True)


def asked(op: Op, key: str) -> Pending[object]:
    return Pending(Command(op, (key.encode(),), (), as_it_is))


def refused(one: Pending[object]) -> None:
    """For now: it was not carried out, and may be later."""
    error = CommandRefused("busy")
    error.retriable = True
    one.fail(error)


def cut(one: Pending[object]) -> None:
    """It may have been carried out, and has a record."""
    error = ConnectionFailed("the connection broke")
    error.retriable = error.sent = True
    one.fail(error)


def again(pending: list[Pending[object]]) -> list[int]:
    """Which are sent again."""
    left = without_overtaking(pending, lambda one: one.retriable)
    return [number for number, one in enumerate(pending) if one in left]


class TestOrder:
    def test_a_write_is_not_sent_again_behind_a_later_one_on_its_key(self) -> None:
        pending = [asked(SET, "a"), asked(SET, "a"), asked(SET, "b")]
        refused(pending[0])
        pending[1].settle(b"OK")
        refused(pending[2])
        assert again(pending) == [2]
        assert not pending[0].retriable
        with pytest.raises(CommandRefused):
            pending[0].result()

    @pytest.mark.parametrize(
        "error", [OutcomeUnknown("?", asked(SET, "a").command), DecodeError(b"5", "str")], ids=repr
    )
    def test_nor_behind_one_that_may_have_been_carried_out(self, error: Exception) -> None:
        pending = [asked(SET, "a"), asked(SET, "a")]
        refused(pending[0])
        pending[1].fail(error)
        assert again(pending) == []

    def test_nor_behind_one_that_is_sent_again_and_may_have_been_carried_out(self) -> None:
        pending = [asked(SET, "a"), asked(SET, "a")]
        refused(pending[0])
        cut(pending[1])
        assert again(pending) == [1]

    def test_all_that_broke_together_is_sent_again_in_its_order(self) -> None:
        pending = [asked(SET, "a"), asked(GET, "a"), asked(SET, "a")]
        for one in pending:
            cut(one)
        assert again(pending) == [0, 1, 2]

    def test_all_that_was_refused_together_too(self) -> None:
        pending = [asked(SET, "a"), asked(SET, "a")]
        for one in pending:
            refused(one)
        assert again(pending) == [0, 1]

    def test_a_read_undoes_nothing(self) -> None:
        pending = [asked(GET, "a"), asked(SET, "a"), asked(SET, "b"), asked(GET, "b")]
        refused(pending[0])
        pending[1].settle(b"OK")
        refused(pending[2])
        pending[3].settle(b"5")
        assert again(pending) == [0, 2]

    def test_what_was_refused_for_good_is_nobody_elses_matter(self) -> None:
        pending = [asked(SET, "a"), asked(SET, "a")]
        refused(pending[0])
        pending[1].fail(CommandRefused("for good"))
        assert again(pending) == [0]


def test_a_deadline_keeps_to_that() -> None:
    first, second = asked(SET, "a"), asked(SET, "a")
    rounds: list[int] = []

    def work(pending: Sequence[Pending[object]]) -> None:
        rounds.append(len(pending))
        refused(first)
        second.settle(b"OK")

    Patience(5).persist_with(work, [first, second])
    assert rounds == [2]
    with pytest.raises(CommandRefused):
        first.result()
