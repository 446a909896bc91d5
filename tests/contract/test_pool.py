"""What a user may rely on in a `Pool`: a `set` that lives in Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableSet
from collections.abc import Set as AbstractSet
from itertools import product
from typing import ClassVar, TypeAlias, cast

import pytest

from redisext import (
    NOTHING,
    Backend,
    ConfigurationError,
    DecodeError,
    EncodeError,
    Pool,
    WrongType,
    serializer,
)
from tests.elements import Event, Place
from tests.watching import Watched, keys, send


@pytest.fixture
def tokens(db: Backend) -> Pool[str]:
    return Pool[str]("tokens", db)


class TestEachElementOnce:
    def test_push_tells_whether_the_element_is_new(self, tokens: Pool[str]) -> None:
        assert tokens.push("a") is True
        assert tokens.push("a") is False
        assert tokens.members() == ["a"]

    def test_pop_takes_any_element_until_there_is_none(self, tokens: Pool[str]) -> None:
        tokens |= {"a", "b"}
        assert {tokens.pop(), tokens.pop()} == {"a", "b"}
        assert tokens.pop() is None
        assert tokens.pop("none") == "none"
        assert tokens.pop(default=NOTHING) is NOTHING

    def test_peek_shows_any_element_and_leaves_it(self, tokens: Pool[str]) -> None:
        assert tokens.peek() is None
        assert tokens.peek(default=NOTHING) is NOTHING
        tokens.push("a")
        assert tokens.peek() == "a"
        assert tokens.members() == ["a"]

    def test_it_tells_what_it_contains(self, tokens: Pool[str]) -> None:
        tokens.push("a")
        assert tokens.contains("a") is True
        assert tokens.contains("b") is False
        assert "a" in tokens
        assert "b" not in tokens

    def test_members_is_a_list_of_all(self, tokens: Pool[str]) -> None:
        assert tokens.members() == []
        tokens |= {"a", "b"}
        assert sorted(tokens.members()) == ["a", "b"]

    def test_its_size_is_its_length(self, tokens: Pool[str]) -> None:
        assert len(tokens) == tokens.size() == 0
        assert not tokens
        tokens |= {"a", ""}
        assert len(tokens) == tokens.size() == 2
        assert tokens

    def test_equal_models_are_one_element(self, db: Backend) -> None:
        events = Pool[Event]("events", db)
        assert events.push(Event(name="x", place=Place(city="Žižkov"))) is True
        assert events.push(Event(place=Place(floor=0, city="Žižkov"), name="x")) is False
        event = events.pop()
        assert event == Event(name="x", place=Place(city="Žižkov"))
        assert type(event) is Event

    def test_equal_elements_that_json_writes_differently_are_one(self, db: Backend) -> None:
        groups = Pool[frozenset[str]]("groups", db)
        words = [str(number) for number in range(50)]
        assert groups.push(frozenset(words)) is True
        assert groups.push(frozenset(reversed(words))) is False

    def test_an_emptied_pool_leaves_no_key(self, tokens: Pool[str], db: Backend) -> None:
        removals: list[Callable[[], object]] = [
            tokens.pop,
            tokens.clear,
            lambda: tokens.discard("a"),
            lambda: tokens.remove("a"),
            lambda: tokens.__isub__({"a"}),
            lambda: tokens.__iand__(set()),
            lambda: tokens.__ixor__({"a"}),
        ]
        for remove in removals:
            tokens.push("a")
            remove()
            assert keys(db) == []

    def test_without_an_element_type_it_holds_bytes(self, db: Backend) -> None:
        raw = Pool("raw", db)
        raw |= {b"\x00\xff", b"\xfe"}
        raw ^= {b"\xfe", b"\x80"}
        raw &= {b"\x00\xff", b"\x80", b"\x90"}
        assert raw == {b"\x00\xff", b"\x80"}

    def test_it_reads_what_the_original_stored(self, db: Backend) -> None:
        class Tokens(Pool[str]):
            SERIALIZER = serializer.String

        send(db, "SADD", "tokens", "a")
        assert Tokens("tokens", db).pop() == "a"

    def test_of_takes_a_type_that_is_known_only_at_run_time(self, db: Backend) -> None:
        events = Pool.of(Event)("events", db)
        events.push(Event(name="x"))
        assert events.members() == [Event(name="x")]


class TestFalsyElements:
    @pytest.mark.parametrize(
        ("element", "value"),
        [(int, 0), (float, 0.0), (str, ""), (bytes, b""), (bool, False), (tuple[int, ...], ()), (list[int], [])],
        ids=repr,
    )
    def test_a_falsy_element_is_an_element(self, db: Backend, element: type[object], value: object) -> None:
        pool = Pool.of(element)("pool", db)
        assert pool.push(value) is True
        assert value in pool
        found = [*pool.members(), *pool, pool.peek("none"), pool.pop("none")]
        assert found == [value] * 4
        assert {type(one) for one in found} == {type(value)}
        assert pool.pop("none") == "none"

    def test_a_stored_none_is_told_from_an_empty_pool_by_a_default(self, db: Backend) -> None:
        names = Pool[str | None]("names", db)
        names.push(None)
        assert None in names
        assert names.peek(NOTHING) is None
        assert names.pop(NOTHING) is None
        assert names.pop(NOTHING) is NOTHING


Binary: TypeAlias = Callable[[AbstractSet[str], AbstractSet[str]], object]

ORDER: dict[str, Binary] = {
    "<=": lambda left, right: left <= right,
    "<": lambda left, right: left < right,
    ">=": lambda left, right: left >= right,
    ">": lambda left, right: left > right,
}
EQUALITY: dict[str, Binary] = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
}
OPERATORS: dict[str, Binary] = {
    "&": lambda left, right: left & right,
    "|": lambda left, right: left | right,
    "-": lambda left, right: left - right,
    "^": lambda left, right: left ^ right,
}
IN_PLACE: dict[str, Callable[[Pool[str], AbstractSet[str]], Pool[str]]] = {
    "&": lambda pool, other: pool.__iand__(other),
    "|": lambda pool, other: pool.__ior__(other),
    "-": lambda pool, other: pool.__isub__(other),
    "^": lambda pool, other: pool.__ixor__(other),
}

SETS: list[set[str]] = [set(), {"a"}, {"a", ""}, {"b"}, {"a", "b", ""}]


def pools(db: Backend, *contents: set[str]) -> Iterator[Pool[str]]:
    """A pool with each of these contents."""
    for number, elements in enumerate(contents):
        pool = Pool[str](number, db)
        pool.clear()
        pool.__ior__(elements)
        yield pool


class TestAsAMutableSet:
    def test_it_is_one(self, tokens: Pool[str]) -> None:
        assert isinstance(tokens, MutableSet)
        assert isinstance(tokens, AbstractSet)

    def test_add_discard_and_remove(self, tokens: Pool[str]) -> None:
        tokens.add("a")
        tokens.add("a")
        assert tokens == {"a"}
        tokens.discard("b")
        tokens.discard("a")
        assert tokens == set()
        with pytest.raises(KeyError, match=r"^'a'$"):
            tokens.remove("a")
        tokens.add("a")
        tokens.remove("a")
        assert tokens == set()

    def test_clear_removes_everything(self, tokens: Pool[str]) -> None:
        tokens |= {"a", "b"}
        tokens.clear()
        assert tokens == set()
        tokens.clear()

    def test_iteration_gives_each_element(self, tokens: Pool[str]) -> None:
        assert list(tokens) == []
        tokens |= {"a", "b"}
        assert sorted(tokens) == ["a", "b"]

    @pytest.mark.parametrize("compare", [*(ORDER | EQUALITY).values()], ids=[*ORDER, *EQUALITY])
    def test_it_compares_as_sets_do(self, db: Backend, compare: Binary) -> None:
        for left, right in product(SETS, SETS):
            ours, theirs = pools(db, left, right)
            for one, other in [(ours, theirs), (ours, right), (left, theirs), (ours, dict.fromkeys(right).keys())]:
                assert compare(one, other) is compare(left, right)

    @pytest.mark.parametrize("combine", OPERATORS.values(), ids=OPERATORS)
    def test_it_combines_as_sets_do_and_gives_a_set(self, db: Backend, combine: Binary) -> None:
        for left, right in product(SETS, SETS):
            ours, theirs = pools(db, left, right)
            for one, other in [(ours, theirs), (ours, right), (left, theirs), (ours, frozenset(right))]:
                found = combine(one, other)
                assert found == combine(left, right)
                assert type(found) is set
            assert ours == left
            assert theirs == right

    @pytest.mark.parametrize("operator", IN_PLACE)
    def test_it_changes_in_place_as_sets_do(self, db: Backend, operator: str) -> None:
        for left, right in product(SETS, SETS):
            [theirs] = pools(db, right)
            for other in (right, frozenset(right), theirs):
                _, ours = pools(db, right, left)
                assert IN_PLACE[operator](ours, other) is ours
                assert ours == OPERATORS[operator](left, right)
                assert theirs == right

    @pytest.mark.parametrize("operator", IN_PLACE)
    def test_it_changes_in_place_by_itself_as_sets_do(self, tokens: Pool[str], operator: str) -> None:
        tokens |= {"a", ""}
        IN_PLACE[operator](tokens, tokens)
        assert tokens == ({"a", ""} if operator in "|&" else set())

    def test_the_operators_in_place_keep_the_object(self, tokens: Pool[str]) -> None:
        same = tokens
        tokens |= {"a", "b", "c"}
        tokens -= {"a"}
        tokens &= {"b", "c", "d"}
        tokens ^= {"c", "d"}
        assert tokens is same
        assert tokens == {"b", "d"}

    def test_the_operators_in_place_have_the_names_that_sets_give_them(self, tokens: Pool[str]) -> None:
        tokens.update(["a", "b", "c", "a"])
        assert tokens == {"a", "b", "c"}
        tokens.difference_update(iter(["a", "x"]))
        assert tokens == {"b", "c"}
        tokens.intersection_update(("c", "d"))
        assert tokens == {"c"}
        tokens.symmetric_difference_update(["c", "d", "d"])
        assert tokens == {"d"}

    def test_by_those_names_they_take_any_iterable_as_sets_do(self, tokens: Pool[str]) -> None:
        for name in ("update", "difference_update", "intersection_update", "symmetric_difference_update"):
            for items in (["b", "x"], "bx", {"b": 1, "x": 2}, []):
                twin = {"a", "b"}
                tokens.clear()
                tokens.update(twin)
                getattr(twin, name)(items)
                getattr(tokens, name)(items)
                assert tokens == twin

    def test_a_set_changes_in_place_by_a_pool(self, tokens: Pool[str]) -> None:
        tokens |= {"a", "b"}
        local = {"b", "c"}
        local |= tokens
        assert local == {"a", "b", "c"}
        local -= tokens
        assert local == {"c"}

    @pytest.mark.parametrize("combine", [*(ORDER | OPERATORS).values()], ids=[*ORDER, *OPERATORS])
    def test_it_refuses_what_is_no_set_as_sets_do(self, tokens: Pool[str], combine: Binary) -> None:
        others: list[object] = [["a"], "a", 5, None]
        for other in others:
            no_set = cast("set[str]", other)
            for one, another in [(tokens, no_set), (no_set, tokens)]:
                with pytest.raises(TypeError, match=r"not supported|unsupported operand"):
                    combine(one, another)

    def test_it_equals_no_other_collection(self, tokens: Pool[str]) -> None:
        tokens.push("a")
        others: list[object] = [["a"], ("a",), "a", {"a": 1}, 5, None]
        assert tokens not in others

    def test_it_cannot_be_hashed_as_a_set_cannot(self, tokens: Pool[str]) -> None:
        with pytest.raises(TypeError, match="unhashable"):
            hash(tokens)

    def test_isdisjoint_takes_any_iterable(self, tokens: Pool[str], db: Backend) -> None:
        tokens |= {"a", "b"}
        other = Pool[str]("other", db)
        other.push("b")
        assert tokens.isdisjoint(["c", "d"])
        assert not tokens.isdisjoint(iter(["a"]))
        assert not tokens.isdisjoint(other)

    def test_elements_that_can_be_no_members_are_passed_over_where_a_set_would(self, tokens: Pool[str]) -> None:
        tokens |= {"a", "b"}
        mixed = cast("set[str]", {"a", 5, None})
        assert tokens & mixed == {"a"}
        assert not tokens >= cast("set[str]", {5})
        tokens -= mixed
        assert tokens == {"b"}
        tokens &= cast("set[str]", {"b", 5})
        assert tokens == {"b"}
        tokens &= cast("set[str]", {5})
        assert tokens == set()


class TestWhatIsRefused:
    @pytest.mark.parametrize("value", ["5", True, 5.0, None], ids=repr)
    def test_an_element_of_another_type_is_added_by_nobody(self, db: Backend, value: object) -> None:
        numbers = Pool[int]("numbers", db)
        number = cast("int", value)
        additions: list[Callable[[], object]] = [
            lambda: numbers.push(number),
            lambda: numbers.add(number),
            lambda: numbers.update([7, number]),
            lambda: numbers.symmetric_difference_update([7, number]),
            lambda: numbers.__ior__({7, number}),
            lambda: numbers.__ixor__({7, number}),
        ]
        for add in additions:
            with pytest.raises(EncodeError, match=r"int.*'numbers'"):
                add()
        assert keys(db) == []

    def test_an_error_of_what_makes_the_elements_names_its_own_key(self, db: Backend) -> None:
        others = Pool[int]("others", db)

        def made() -> Iterator[int]:
            yield 7
            others.commands.push(cast("int", "5"))

        for add in (Pool[int]("numbers", db).update, Pool[int]("numbers", db).symmetric_difference_update):
            with pytest.raises(EncodeError, match="'others'"):
                add(made())
        assert keys(db) == []

    @pytest.mark.parametrize("value", ["5", True, None, [5]], ids=repr)
    def test_an_element_of_another_type_is_not_in_it(self, db: Backend, value: object) -> None:
        seen = Watched(db)
        numbers = Pool[int]("numbers", seen)
        assert value not in numbers
        assert seen.commands == []
        for ask in (numbers.contains, numbers.discard, numbers.remove):
            with pytest.raises(EncodeError, match=r"int.*'numbers'"):
                ask(cast("int", value))
        assert seen.commands == []

    @pytest.mark.parametrize("element", [object, int | float], ids=str)
    def test_a_type_whose_equals_are_written_differently_is_refused_with_the_class(
        self, db: Backend, element: object
    ) -> None:
        with pytest.raises(ConfigurationError, match="set member"):
            Pool.of(cast("type[object]", element))("pool", db)


OPERATIONS: dict[str, Callable[[Pool[str]], object]] = {
    "push": lambda tokens: tokens.push("a"),
    "add": lambda tokens: tokens.add("a"),
    "pop": lambda tokens: tokens.pop(),
    "peek": lambda tokens: tokens.peek(),
    "discard": lambda tokens: tokens.discard("a"),
    "remove": lambda tokens: tokens.remove("a"),
    "members": lambda tokens: tokens.members(),
    "contains": lambda tokens: tokens.contains("a"),
    "in": lambda tokens: "a" in tokens,
    "len": len,
    "size": lambda tokens: tokens.size(),
    "iteration": lambda tokens: list(iter(tokens)),
    "|=": lambda tokens: tokens.__ior__({"a"}),
    "&=": lambda tokens: tokens.__iand__({"a"}),
    "-=": lambda tokens: tokens.__isub__({"a"}),
    "^=": lambda tokens: tokens.__ixor__({"a"}),
}


class TestWhatOthersStored:
    @pytest.mark.parametrize("raw", [b"", b"{}", b"null", b"\xff"], ids=repr)
    def test_an_element_taken_that_cannot_be_read_is_on_the_error(self, db: Backend, raw: bytes) -> None:
        send(db, "SADD", "events", raw)
        with pytest.raises(DecodeError, match=r"'events'.*Event") as caught:
            Pool[Event]("events", db).pop()
        assert caught.value.raw == raw
        assert keys(db) == []

    def test_looking_at_an_element_that_cannot_be_read_leaves_it(self, db: Backend) -> None:
        send(db, "SADD", "events", b"{}")
        events = Pool[Event]("events", db)
        looks: list[Callable[[], object]] = [events.members, events.peek, lambda: list(iter(events))]
        for look in looks:
            with pytest.raises(DecodeError, match="'events'") as caught:
                look()
            assert caught.value.raw == b"{}"
        assert send(db, "SMEMBERS", "events") == [b"{}"]

    @pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
    def test_another_structure_under_its_key_is_named_and_left_alone(
        self, db: Backend, operation: Callable[[Pool[str]], object]
    ) -> None:
        send(db, "SET", "tokens", "1")
        with pytest.raises(WrongType, match=r"'tokens' holds a string.* works on a set"):
            operation(Pool[str]("tokens", db))
        assert send(db, "GET", "tokens") == b"1"


class TestManyElements:
    SIZE = 5000

    def test_iteration_gives_all_in_pages(self, db: Backend) -> None:
        Pool[int]("numbers", db).__ior__(set(range(self.SIZE)))
        seen = Watched(db)
        assert set(iter(Pool[int]("numbers", seen))) == set(range(self.SIZE))
        assert len(seen.commands) <= 2 * self.SIZE / 500
        assert max(seen.page_sizes()) <= 2 * 500

    WHOLES: ClassVar[dict[str, Callable[[Pool[int], Pool[int]], object]]] = {
        "comparison": lambda numbers, other: numbers == other,
        "subset": lambda numbers, other: numbers <= other,
        "union": lambda numbers, other: numbers | other,
        "difference from a set": lambda numbers, other: {1} - numbers,
        "isdisjoint": lambda numbers, other: numbers.isdisjoint({-1}),
        "addition of a set": lambda numbers, other: numbers.__ior__(set(range(1000))),
        "removal of a set": lambda numbers, other: numbers.__isub__(set(range(1000))),
        "all but a set": lambda numbers, other: numbers.__iand__(set(range(1000))),
        "difference to a set": lambda numbers, other: numbers.__ixor__(set(range(1000))),
    }

    @pytest.mark.parametrize("operation", WHOLES.values(), ids=WHOLES)
    def test_what_takes_the_whole_does_not_ask_for_each_element(
        self, db: Backend, operation: Callable[[Pool[int], Pool[int]], object]
    ) -> None:
        seen = Watched(db)
        numbers, other = Pool[int]("numbers", seen), Pool[int]("other", seen)
        numbers |= set(range(self.SIZE))
        other |= set(range(self.SIZE))
        assert len(seen.sent_by(lambda: operation(numbers, other))) <= 2

    def test_what_stays_during_iteration_is_given(self, db: Backend) -> None:
        numbers = Pool[int]("numbers", db)
        numbers |= set(range(3000))
        found: set[int] = set()
        for number in numbers:
            found.add(number)
            if len(found) == 1000:
                numbers |= set(range(3000, 4000))
                numbers -= set(range(100))
        assert found >= set(range(100, 3000))


class TestCommands:
    def test_reading_makes_no_key(self, tokens: Pool[str], db: Backend) -> None:
        for look in (tokens.pop, tokens.peek, tokens.members, tokens.clear):
            look()
        assert "a" not in tokens
        assert len(tokens) == 0
        assert tokens == set()
        tokens.discard("a")
        for change in (tokens.__ior__, tokens.__iand__, tokens.__isub__, tokens.__ixor__):
            change(set())
        tokens.difference_update(["a"])
        tokens.intersection_update(["a"])
        assert keys(db) == []

    def test_each_operation_sends_the_one_command_that_describes_it(self, db: Backend) -> None:
        seen = Watched(db)
        tokens = Pool[str]("tokens", seen)
        assert seen.sent_by(lambda: tokens.push("a")) == [tokens.commands.push("a")]
        assert seen.sent_by(lambda: tokens.add("a")) == [tokens.commands.push_all(["a"])]
        assert seen.sent_by(lambda: tokens.__ior__({"a"})) == [tokens.commands.push_all(["a"])]
        assert seen.sent_by(lambda: tokens.update(["a"])) == [tokens.commands.push_all(["a"])]
        assert seen.sent_by(lambda: tokens.update([])) == []
        assert seen.sent_by(lambda: tokens.difference_update(["b"])) == [tokens.commands.remove_all(["b"])]
        assert seen.sent_by(lambda: tokens.difference_update([5])) == []
        assert seen.sent_by(lambda: tokens.intersection_update(["a"])) == [tokens.commands.keep(["a"])]
        assert seen.sent_by(lambda: tokens.symmetric_difference_update(["b"])) == [tokens.commands.toggle(["b"])]
        assert seen.sent_by(tokens.size) == [tokens.commands.size()]
        assert seen.sent_by(lambda: tokens.contains("a")) == [tokens.commands.contains("a")]
        assert seen.sent_by(lambda: "a" in tokens) == [tokens.commands.contains("a")]
        assert seen.sent_by(tokens.members) == [tokens.commands.members()]
        assert seen.sent_by(tokens.peek) == [tokens.commands.peek()]
        assert seen.sent_by(lambda: len(tokens)) == [tokens.commands.size()]
        assert seen.sent_by(lambda: list(iter(tokens))) == [tokens.commands.page()]
        assert seen.sent_by(lambda: tokens.remove("a")) == [tokens.commands.remove("a")]
        assert seen.sent_by(lambda: tokens.discard("a")) == [tokens.commands.remove("a")]
        assert seen.sent_by(lambda: tokens.__isub__({"a"})) == [tokens.commands.remove_all(["a"])]
        assert seen.sent_by(lambda: tokens.__iand__({"a"})) == [tokens.commands.keep(["a"])]
        assert seen.sent_by(lambda: tokens.__ixor__({"a"})) == [tokens.commands.toggle(["a"])]
        assert seen.sent_by(tokens.pop) == [tokens.commands.pop()]
        assert seen.sent_by(tokens.clear) == [tokens.commands.delete()]
