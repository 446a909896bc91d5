"""What a user may rely on in a `SortedSet`: elements in the order of their scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import pytest

from redisext import (
    ArgumentError,
    Backend,
    CommandRefused,
    ConfigurationError,
    DecodeError,
    EncodeError,
    SortedSet,
    WrongType,
    serializer,
)
from tests.elements import Event, Place
from tests.watching import Watched, keys, send


@pytest.fixture
def scores(db: Backend) -> SortedSet[str]:
    return SortedSet[str]("scores", db)


@pytest.fixture
def five(scores: SortedSet[str]) -> SortedSet[str]:
    """Five elements, e.g. "d" with the score 4."""
    for score, element in enumerate("abcde", 1):
        scores.add(element, score)
    return scores


class TestElementsByScore:
    def test_members_begin_with_the_highest_score(self, scores: SortedSet[str]) -> None:
        assert scores.add("ada", 3) is True
        assert scores.add("bob", 7.5) is True
        assert scores.add("eve", -1) is True
        assert scores.members() == ["bob", "ada", "eve"]
        assert scores.members(with_scores=True) == [(7.5, "bob"), (3.0, "ada"), (-1.0, "eve")]

    def test_members_can_be_limited_to_the_first_of_them(self, five: SortedSet[str]) -> None:
        assert five.members(limit=2) == ["e", "d"]
        assert five.members(with_scores=True, limit=2) == [(5.0, "e"), (4.0, "d")]
        assert five.members(limit=1) == ["e"]
        assert five.members(limit=0) == []
        assert five.members(with_scores=True, limit=0) == []
        assert five.members(limit=7) == five.members(limit=None) == five.members()

    def test_members_by_score_begin_with_the_lowest(self, five: SortedSet[str]) -> None:
        assert five.members_by_score() == ["a", "b", "c", "d", "e"]
        assert five.members_by_score(2, 4) == ["b", "c", "d"]
        assert five.members_by_score(2, 3, with_scores=True) == [(2.0, "b"), (3.0, "c")]
        assert five.members_by_score(4) == ["d", "e"]
        assert five.members_by_score(max_score=2) == ["a", "b"]

    def test_add_gives_an_element_another_score(self, scores: SortedSet[str]) -> None:
        assert scores.add("ada", 3) is True
        assert scores.add("ada", 5) is False
        assert scores.members(with_scores=True) == [(5.0, "ada")]

    def test_incr_changes_a_score_which_begins_at_zero(self, scores: SortedSet[str]) -> None:
        assert scores.incr("ada") == 1.0
        assert scores.incr("ada", 4) == 5.0
        assert scores.incr("ada", -0.5) == 4.5
        assert type(scores.incr("ada", 1)) is float

    def test_it_tells_the_score_and_the_rank_of_an_element(self, five: SortedSet[str]) -> None:
        assert five.score("b") == 2.0
        assert type(five.score("b")) is float
        assert five.score("x") is None
        assert five.rank("e") == 0
        assert five.rank("a") == 4
        assert five.rank("x") is None

    def test_it_tells_what_it_contains(self, five: SortedSet[str]) -> None:
        assert five.contains("a") is True
        assert five.contains("x") is False
        assert "a" in five
        assert "x" not in five

    def test_length_counts_a_range_of_scores(self, five: SortedSet[str]) -> None:
        assert five.length() == five.size() == len(five) == 5
        assert five.length(2, 4) == 3
        assert five.length(start_score=4) == 2
        assert five.length(end_score=1) == 1
        assert five.length(4, 2) == 0

    def test_rem_removes_an_element(self, five: SortedSet[str]) -> None:
        assert five.rem("c") is True
        assert five.rem("c") is False
        assert five.members() == ["e", "d", "b", "a"]

    def test_truncate_keeps_the_highest(self, five: SortedSet[str]) -> None:
        assert five.truncate(2) == 3
        assert five.members() == ["e", "d"]
        assert five.truncate(2) == 0
        assert five.truncate(7) == 0
        assert five.truncate(0) == 2
        assert five.members() == []

    def test_clean_by_score_removes_a_range_of_scores(self, five: SortedSet[str]) -> None:
        assert five.clean_by_score(2, 4) is True
        assert five.clean_by_score(2, 4) is False
        assert five.members() == ["e", "a"]

    def test_clean_removes_everything(self, five: SortedSet[str], db: Backend) -> None:
        assert five.clean() is True
        assert five.clean() is False
        assert keys(db) == []

    def test_iteration_begins_with_the_highest_score(self, five: SortedSet[str]) -> None:
        assert list(five) == ["e", "d", "c", "b", "a"]

    def test_its_truth_is_that_of_a_collection(self, scores: SortedSet[str]) -> None:
        assert not scores
        scores.add("", 0)
        assert scores

    def test_equal_models_are_one_element(self, db: Backend) -> None:
        events = SortedSet[Event]("events", db)
        assert events.add(Event(name="x", place=Place(city="Žižkov")), 1) is True
        assert events.add(Event(place=Place(floor=0, city="Žižkov"), name="x"), 2) is False
        [event] = events.members()
        assert event == Event(name="x", place=Place(city="Žižkov"))
        assert type(event) is Event

    def test_elements_of_equal_score_stand_in_the_order_of_their_bytes(self, db: Backend) -> None:
        numbers = SortedSet[int]("numbers", db)
        for number in (9, 10, -1, 100):
            numbers.add(number, 1)
        assert numbers.members_by_score() == [-1, 10, 100, 9]
        assert numbers.members() == list(numbers) == [9, 100, 10, -1]

    def test_an_emptied_set_leaves_no_key(self, scores: SortedSet[str], db: Backend) -> None:
        removals: list[Callable[[], object]] = [
            lambda: scores.rem("a"),
            lambda: scores.truncate(0),
            lambda: scores.clean_by_score("-inf", "+inf"),
            scores.clean,
        ]
        for remove in removals:
            scores.add("a", 1)
            remove()
            assert keys(db) == []

    def test_without_an_element_type_it_holds_bytes(self, db: Backend) -> None:
        raw = SortedSet("raw", db)
        raw.add(b"\x00\xff", 1)
        assert raw.members() == [b"\x00\xff"]

    def test_it_reads_what_the_original_stored(self, db: Backend) -> None:
        class Scores(SortedSet[str]):
            SERIALIZER = serializer.String

        send(db, "ZADD", "scores", 3, "ada")
        assert Scores("scores", db).members(with_scores=True) == [(3.0, "ada")]

    def test_of_takes_a_type_that_is_known_only_at_run_time(self, db: Backend) -> None:
        events = SortedSet.of(Event)("events", db)
        events.add(Event(name="x"), 1)
        assert events.members() == [Event(name="x")]


class TestFalsyValues:
    @pytest.mark.parametrize(
        ("element", "value"),
        [(int, 0), (float, 0.0), (str, ""), (bytes, b""), (bool, False), (tuple[int, ...], ()), (list[int], [])],
        ids=repr,
    )
    def test_a_falsy_element_with_the_score_zero_is_an_element(
        self, db: Backend, element: type[object], value: object
    ) -> None:
        elements = SortedSet.of(element)("elements", db)
        assert elements.add(value, 0) is True
        assert value in elements
        assert elements.score(value) == 0.0
        assert elements.rank(value) == 0
        assert elements.length(0, 0) == 1
        found = [*elements, *elements.members(), *elements.members_by_score(0, 0)]
        assert found == [value] * 3
        assert {type(one) for one in found} == {type(value)}
        assert elements.rem(value) is True

    def test_none_can_be_an_element(self, db: Backend) -> None:
        names = SortedSet[str | None]("names", db)
        names.add(None, 1)
        assert None in names
        assert names.members() == [None]


class TestBounds:
    @pytest.mark.parametrize(
        ("lowest", "highest", "found"),
        [
            ("-inf", "+inf", "abcde"),
            (-math.inf, math.inf, "abcde"),
            ("-inf", "inf", "abcde"),
            (2, "4", "bcd"),
            ("(2", 4, "cd"),
            ("(2", "(4", "c"),
            ("2.5", 4.5, "cd"),
            ("(2.", "(.4e1", "c"),
            ("+2", "40E-1", "bcd"),
            (0, "(1", ""),
            (4, 2, ""),
            (6, math.inf, ""),
        ],
        ids=repr,
    )
    def test_a_bound_is_a_number_or_the_servers_text_for_one(
        self, five: SortedSet[str], lowest: float | str, highest: float | str, found: str
    ) -> None:
        assert five.members_by_score(lowest, highest) == list(found)
        assert [element for _, element in five.members_by_score(lowest, highest, with_scores=True)] == list(found)
        assert five.length(lowest, highest) == len(found)
        assert five.clean_by_score(lowest, highest) is bool(found)
        assert five.members_by_score() == [element for element in "abcde" if element not in found]

    @pytest.mark.parametrize(
        "bad",
        ["", "(", "x", "nan", "[1", "1 ", " 1", "1_0", "٣", "((1", math.nan, True, None, 2**53 + 1, 10**400],
        ids=lambda bad: repr(bad)[:20],
    )
    def test_any_other_bound_is_refused_by_its_name_and_nothing_is_sent(self, db: Backend, bad: object) -> None:
        seen = Watched(db)
        scores = SortedSet[str]("scores", seen)
        bound = cast("float", bad)
        calls: list[tuple[str, Callable[[], object]]] = [
            ("start_score", lambda: scores.length(bound)),
            ("end_score", lambda: scores.length(0, bound)),
            ("min_score", lambda: scores.members_by_score(bound)),
            ("max_score", lambda: scores.members_by_score(0, bound, with_scores=True)),
            ("min_score", lambda: scores.clean_by_score(bound, 0)),
            ("max_score", lambda: scores.clean_by_score(0, bound)),
        ]
        for name, call in calls:
            with pytest.raises(ArgumentError, match=name):
                call()
        assert seen.commands == []


class TestScores:
    @pytest.mark.parametrize("score", [0, -0.0, 0.1, 1e-300, -1e300, 2**53, -(2**53), 1 / 3, 5e-324, math.pi], ids=repr)
    def test_a_score_comes_back_as_it_was(self, scores: SortedSet[str], score: float) -> None:
        scores.add("a", score)
        assert scores.score("a") == score
        assert scores.members(with_scores=True) == [(score, "a")]
        assert scores.members_by_score(score, score) == ["a"]

    def test_a_score_can_be_infinite(self, scores: SortedSet[str]) -> None:
        scores.add("last", -math.inf)
        scores.add("first", math.inf)
        assert scores.members(with_scores=True) == [(math.inf, "first"), (-math.inf, "last")]
        assert scores.length("(-inf", "(+inf") == 0

    @pytest.mark.parametrize("bad", [math.nan, True, "1", None, 2**53 + 1, 10**400], ids=lambda bad: repr(bad)[:20])
    def test_what_is_no_score_is_refused_and_nothing_changes(self, scores: SortedSet[str], bad: object) -> None:
        scores.add("a", 1)
        with pytest.raises(ArgumentError, match="score"):
            scores.add("a", cast("float", bad))
        with pytest.raises(ArgumentError, match="by"):
            scores.incr("a", cast("float", bad))
        assert scores.members(with_scores=True) == [(1.0, "a")]

    def test_a_sum_that_is_no_number_is_refused_and_the_score_stays(self, scores: SortedSet[str]) -> None:
        scores.add("a", math.inf)
        with pytest.raises(CommandRefused, match="'scores'"):
            scores.incr("a", -math.inf)
        assert scores.score("a") == math.inf


class TestWhatIsRefused:
    @pytest.mark.parametrize("element", ["5", True, 5.0, None], ids=repr)
    def test_an_element_of_another_type(self, db: Backend, element: object) -> None:
        seen = Watched(db)
        numbers = SortedSet[int]("numbers", seen)
        number = cast("int", element)
        calls: list[Callable[[], object]] = [
            lambda: numbers.add(number, 1),
            lambda: numbers.incr(number),
            lambda: numbers.rem(number),
            lambda: numbers.score(number),
            lambda: numbers.rank(number),
            lambda: numbers.contains(number),
        ]
        for call in calls:
            with pytest.raises(EncodeError, match=r"int.*'numbers'"):
                call()
        assert element not in numbers
        assert seen.commands == []

    @pytest.mark.parametrize("limit", [-1, 1.0, "1", True], ids=repr)
    def test_a_limit_that_is_none(self, db: Backend, limit: object) -> None:
        seen = Watched(db)
        with pytest.raises(ArgumentError, match="limit"):
            SortedSet[str]("scores", seen).members(limit=cast("int", limit))
        assert seen.commands == []

    @pytest.mark.parametrize("size", [-1, 1.0, "1", True, None], ids=repr)
    def test_a_size_that_is_none(self, five: SortedSet[str], size: object) -> None:
        with pytest.raises(ArgumentError, match="size"):
            five.truncate(cast("int", size))
        assert len(five) == 5

    @pytest.mark.parametrize("element", [object, int | float], ids=str)
    def test_a_type_whose_equals_are_written_differently_together_with_the_class(
        self, db: Backend, element: object
    ) -> None:
        with pytest.raises(ConfigurationError, match="sorted-set member"):
            SortedSet.of(cast("type[object]", element))("elements", db)


OPERATIONS: dict[str, Callable[[SortedSet[str]], object]] = {
    "add": lambda scores: scores.add("a", 1),
    "incr": lambda scores: scores.incr("a"),
    "rem": lambda scores: scores.rem("a"),
    "truncate": lambda scores: scores.truncate(0),
    "clean_by_score": lambda scores: scores.clean_by_score(0, 1),
    "members": lambda scores: scores.members(),
    "members_by_score": lambda scores: scores.members_by_score(),
    "score": lambda scores: scores.score("a"),
    "rank": lambda scores: scores.rank("a"),
    "contains": lambda scores: scores.contains("a"),
    "in": lambda scores: "a" in scores,
    "length": lambda scores: scores.length(),
    "len": len,
    "size": lambda scores: scores.size(),
    "iteration": lambda scores: list(iter(scores)),
}


class TestWhatOthersStored:
    def test_an_element_that_cannot_be_read_is_an_error_that_holds_it(self, db: Backend) -> None:
        send(db, "ZADD", "events", 1, b"{}")
        events = SortedSet[Event]("events", db)
        looks: list[Callable[[], object]] = [
            events.members,
            lambda: events.members(with_scores=True),
            events.members_by_score,
            lambda: events.members_by_score(with_scores=True),
            lambda: list(iter(events)),
        ]
        for look in looks:
            with pytest.raises(DecodeError, match=r"'events'.*Event") as caught:
                look()
            assert caught.value.raw == b"{}"
        assert send(db, "ZRANGE", "events", 0, -1) == [b"{}"]

    @pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
    def test_another_structure_under_its_key_is_named_and_left_alone(
        self, db: Backend, operation: Callable[[SortedSet[str]], object]
    ) -> None:
        send(db, "SET", "scores", "1")
        with pytest.raises(WrongType, match=r"'scores' holds a string.* works on a zset"):
            operation(SortedSet[str]("scores", db))
        assert send(db, "GET", "scores") == b"1"


class TestManyElements:
    @pytest.mark.parametrize("size", [499, 500, 501, 2345])
    def test_iteration_gives_each_once_in_order_and_in_pages(self, db: Backend, size: int) -> None:
        pairs = [word for number in range(size) for word in (number, number)]
        send(db, "ZADD", "numbers", *pairs)
        seen = Watched(db)
        assert list(iter(SortedSet[int]("numbers", seen))) == list(reversed(range(size)))
        assert len(seen.commands) <= size / 500 + 1
        assert max(seen.page_sizes()) <= 500


class TestCommands:
    def test_reading_makes_no_key(self, scores: SortedSet[str], db: Backend) -> None:
        for look in (scores.members, scores.members_by_score, scores.length, scores.clean):
            look()
        for ask in (scores.score, scores.rank, scores.contains, scores.rem):
            ask("a")
        assert "a" not in scores
        assert len(scores) == 0
        assert list(scores) == []
        assert scores.truncate(0) == 0
        assert keys(db) == []

    def test_each_operation_sends_the_one_command_that_describes_it(self, db: Backend) -> None:
        seen = Watched(db)
        scores = SortedSet[str]("scores", seen)
        commands = scores.commands
        assert seen.sent_by(lambda: scores.add("a", 1)) == [commands.add("a", 1)]
        assert seen.sent_by(lambda: scores.incr("a", 2)) == [commands.incr("a", 2)]
        assert seen.sent_by(scores.members) == [commands.members()]
        assert seen.sent_by(lambda: scores.members(with_scores=True)) == [commands.members_with_scores()]
        assert seen.sent_by(lambda: scores.members(limit=3)) == [commands.members(3)]
        assert seen.sent_by(lambda: scores.members_by_score(1, 2)) == [commands.members_by_score(1, 2)]
        assert seen.sent_by(lambda: scores.members_by_score(1, 2, with_scores=True)) == [
            commands.members_by_score_with_scores(1, 2)
        ]
        assert seen.sent_by(lambda: scores.score("a")) == [commands.score("a")]
        assert seen.sent_by(lambda: scores.rank("a")) == [commands.rank("a")]
        assert seen.sent_by(lambda: scores.contains("a")) == [commands.contains("a")]
        assert seen.sent_by(lambda: "a" in scores) == [commands.contains("a")]
        assert seen.sent_by(lambda: scores.length(1, 2)) == [commands.length(1, 2)]
        assert seen.sent_by(lambda: len(scores)) == [commands.size()]
        assert seen.sent_by(scores.size) == [commands.size()]
        assert seen.sent_by(lambda: list(iter(scores))) == [commands.page()]
        assert seen.sent_by(lambda: scores.rem("a")) == [commands.rem("a")]
        assert seen.sent_by(lambda: scores.truncate(5)) == [commands.truncate(5)]
        assert seen.sent_by(lambda: scores.clean_by_score(1, 2)) == [commands.clean_by_score(1, 2)]
        assert seen.sent_by(scores.clean) == [commands.delete()]
