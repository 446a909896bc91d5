"""What a user may rely on in a `HashMap`: a `dict` that lives in Redis."""

from __future__ import annotations

from collections import ChainMap
from collections import Counter as Tally
from collections.abc import Callable, ItemsView, Iterable, KeysView, Mapping, MutableMapping, ValuesView
from functools import partial
from types import MappingProxyType
from typing import ClassVar, cast

import pytest

from redisext import (
    NOTHING,
    ArgumentError,
    Backend,
    CommandRefused,
    ConfigurationError,
    DecodeError,
    EncodeError,
    HashMap,
    WrongType,
    serializer,
)
from tests.elements import Event, Place
from tests.threads import at_once
from tests.watching import Watched, keys, send


@pytest.fixture
def stock(db: Backend) -> HashMap[str, int]:
    return HashMap[str, int]("stock", db)


class TestValuesByKey:
    def test_it_is_used_as_a_dict(self, stock: HashMap[str, int]) -> None:
        stock["apples"] = 3
        stock["pears"] = 0
        assert stock["apples"] == 3
        assert "apples" in stock
        assert stock.contains("apples") is True
        assert "plums" not in stock
        assert stock.contains("plums") is False
        assert len(stock) == stock.size() == 2
        del stock["apples"]
        assert dict(stock) == {"pears": 0}

    def test_set_tells_whether_the_key_is_new(self, stock: HashMap[str, int]) -> None:
        assert stock.set("apples", 3) is True
        assert stock.set("apples", 4) is False
        assert stock.get("apples") == 4

    def test_get_gives_a_default_for_a_missing_key(self, stock: HashMap[str, int]) -> None:
        stock["apples"] = 3
        assert stock.get("apples", 7) == 3
        assert stock.get("pears") is None
        assert stock.get("pears", 7) == 7
        assert stock.get("pears", default=NOTHING) is NOTHING

    def test_remove_tells_whether_the_key_was_there(self, stock: HashMap[str, int]) -> None:
        stock["apples"] = 3
        assert stock.remove("apples") is True
        assert stock.remove("apples") is False

    def test_numbers_are_counted_in_place(self, stock: HashMap[str, int], db: Backend) -> None:
        assert stock.incr("apples") == 1
        assert stock.incr("apples", 5) == 6
        assert stock.incr("apples", -7) == -1
        prices = HashMap[str, float]("prices", db)
        assert prices.incr("apples", 0.5) == 0.5
        assert type(prices.incr("apples")) is float

    def test_many_values_are_read_in_one_command(self, stock: HashMap[str, int]) -> None:
        stock.update(apples=3, pears=0)
        assert stock.get_many(["apples", "plums", "pears"]) == {"apples": 3, "pears": 0}
        assert stock.get_many(iter(["apples"])) == {"apples": 3}
        assert stock.get_many([]) == {}

    def test_all_gives_a_dict_of_everything(self, stock: HashMap[str, int]) -> None:
        assert stock.all() == {}
        stock.update(apples=3, pears=0)
        assert stock.all() == {"apples": 3, "pears": 0}

    def test_keys_and_values_have_any_type_that_is_given(self, db: Backend) -> None:
        places = HashMap[Place, Event]("places", db)
        here, party = Place(city="Žižkov", floor=2), Event(name="", tags=("x",))
        places[here] = party
        assert places[Place(city="Žižkov", floor=2)] == party
        [(place, event)] = places.items()
        assert (type(place), type(event)) == (Place, Event)

    def test_ints_are_keys_as_text(self, db: Backend) -> None:
        squares = HashMap[int, int]("squares", db)
        squares.update({number: number**2 for number in (-1, 0, 2)})
        assert squares.all() == {-1: 1, 0: 0, 2: 4}
        assert send(db, "HGET", "squares", "-1") == b"1"

    def test_an_emptied_map_leaves_no_key(self, stock: HashMap[str, int], db: Backend) -> None:
        for empty in (lambda: stock.remove("a"), lambda: stock.pop("a"), stock.popitem, stock.clear):
            stock["a"] = 1
            cast("Callable[[], object]", empty)()
            assert keys(db) == []

    def test_without_types_keys_and_values_are_bytes(self, db: Backend) -> None:
        raw = HashMap("raw", db)
        raw[b"\xff\x00"] = b"\xfe"
        assert raw.all() == {b"\xff\x00": b"\xfe"}
        assert raw.setdefault(b"\xff\x00", b"") == b"\xfe"
        assert raw.pop(b"\xff\x00") == b"\xfe"

    def test_it_reads_what_the_original_stored(self, db: Backend) -> None:
        class Settings(HashMap[str, object]):
            SERIALIZER = serializer.JSON

        send(db, "HSET", "settings", "volume", "11")
        assert Settings("settings", db).get("volume") == 11

    def test_of_takes_types_that_are_known_only_at_run_time(self, db: Backend) -> None:
        stock = HashMap.of(str, int)("stock", db)
        assert stock.incr("apples") == 1


class TestFalsyValues:
    @pytest.mark.parametrize(
        ("element", "value"),
        [(int, 0), (float, 0.0), (str, ""), (bytes, b""), (bool, False), (list[int], []), (dict[str, int], {})],
        ids=repr,
    )
    def test_a_falsy_value_is_not_a_missing_one(self, db: Backend, element: type[object], value: object) -> None:
        values = HashMap.of(str, element)("values", db)
        values["key"] = value
        found = [
            values["key"],
            values.get("key", "missing"),
            values.setdefault("key", value),
            values.get_many(["key"])["key"],
            values.all()["key"],
            *values.values(),
            values.pop("key", "missing"),
        ]
        assert found == [value] * 7
        assert {type(one) for one in found} == {type(value)}

    @pytest.mark.parametrize(
        ("element", "key"), [(int, 0), (float, 0.0), (str, ""), (bytes, b""), (bool, False)], ids=repr
    )
    def test_a_falsy_key_is_a_key(self, db: Backend, element: type[object], key: object) -> None:
        values = HashMap.of(element, int)("values", db)
        values[key] = 1
        assert key in values
        assert list(values) == [key]
        assert values.popitem() == (key, 1)

    def test_a_stored_none_is_told_from_a_missing_key(self, db: Backend) -> None:
        names = HashMap[str, str | None]("names", db)
        names["a"] = None
        assert names["a"] is None
        assert names.get("a", NOTHING) is None
        assert names.get_many(["a", "b"]) == {"a": None}
        assert names.setdefault("a", "x") is None
        assert names.pop("a", NOTHING) is None
        assert names.pop("a", NOTHING) is NOTHING


class TestAsAMutableMapping:
    def test_it_is_one(self, stock: HashMap[str, int]) -> None:
        assert isinstance(stock, MutableMapping)
        assert isinstance(stock, Mapping)

    def test_a_missing_key_is_a_key_error_that_names_it(self, stock: HashMap[str, int]) -> None:
        with pytest.raises(KeyError, match=r"^'plums'$"):
            stock["plums"]
        with pytest.raises(KeyError, match=r"^'plums'$"):
            del stock["plums"]
        with pytest.raises(KeyError, match=r"^'plums'$"):
            stock.pop("plums")
        with pytest.raises(KeyError):
            stock.popitem()

    def test_its_truth_is_that_of_a_dict(self, stock: HashMap[str, int]) -> None:
        assert not stock
        stock["apples"] = 0
        assert stock

    def test_iteration_gives_the_keys(self, stock: HashMap[str, int]) -> None:
        assert list(stock) == []
        stock.update(apples=3, pears=0)
        assert sorted(stock) == ["apples", "pears"]

    def test_keys_is_a_set_like_view_that_follows_the_map(self, stock: HashMap[str, int]) -> None:
        view = stock.keys()
        assert isinstance(view, KeysView)
        stock.update(apples=3, pears=0)
        assert set(view) == view == {"apples", "pears"}
        assert len(view) == 2
        assert "apples" in view
        assert "plums" not in view
        assert view & {"apples", "plums"} == {"apples"}
        assert view | {"plums"} == {"apples", "pears", "plums"}
        assert view - {"apples"} == {"pears"}
        assert view ^ {"apples", "plums"} == {"pears", "plums"}
        assert view <= {"apples", "pears", "plums"}
        assert view.isdisjoint({"plums"})

    def test_items_is_a_set_like_view_that_follows_the_map(self, stock: HashMap[str, int]) -> None:
        view = stock.items()
        assert isinstance(view, ItemsView)
        stock.update(apples=3, pears=0)
        assert sorted(view) == [("apples", 3), ("pears", 0)]
        assert len(view) == 2
        assert ("apples", 3) in view
        assert ("apples", 4) not in view
        assert ("plums", 3) not in view
        strangers: list[object] = [(5, 3), ("apples", "3"), ("apples",), ("apples", 3, 3), ["apples", 3], "ab", 5]
        assert not any(cast("tuple[str, int]", stranger) in view for stranger in strangers)
        assert view & {("apples", 3), ("apples", 4)} == {("apples", 3)}
        assert view == {"apples": 3, "pears": 0}.items()

    def test_values_is_a_view_that_follows_the_map(self, stock: HashMap[str, int]) -> None:
        view = stock.values()
        assert isinstance(view, ValuesView)
        stock.update(apples=3, pears=0, plums=3)
        assert sorted(view) == [0, 3, 3]
        assert len(view) == 3
        assert 3 in view
        assert 4 not in view

    @pytest.mark.parametrize("view", ["keys", "items", "values"])
    def test_a_view_shows_what_it_is_of(self, stock: HashMap[str, int], view: str) -> None:
        made: object = getattr(stock, view)()
        assert repr(stock) in repr(made)

    def test_it_equals_every_mapping_with_the_same_pairs(self, stock: HashMap[str, int], db: Backend) -> None:
        stock.update(apples=3, pears=0)
        other = HashMap[str, int]("other", db)
        other.update(stock)
        assert stock == {"pears": 0, "apples": 3}
        assert {"pears": 0, "apples": 3} == stock  # noqa: SIM300  # this way round too
        assert stock == other
        assert stock != {"apples": 3}
        assert stock != {"apples": 3, "pears": 1}
        unlike: list[object] = [[("apples", 3), ("pears", 0)], 5, None]
        assert stock not in unlike

    def test_it_cannot_be_hashed_as_a_dict_cannot(self, stock: HashMap[str, int]) -> None:
        with pytest.raises(TypeError, match="unhashable"):
            hash(stock)

    def test_update_takes_what_dict_update_takes(self, stock: HashMap[str, int], db: Backend) -> None:
        class HasKeys:
            def keys(self) -> Iterable[str]:
                return ["k"]

            def __getitem__(self, key: str, /) -> int:
                return 5

        other = HashMap[str, int]("other", db)
        other["other"] = 4
        stock.update({"mapping": 1}, keyword=2)
        stock.update([("pair", 3)], other_keyword=4)
        stock.update(iter([("iterator", 3)]))
        stock.update(only=6)
        stock.update(other)
        stock.update(HasKeys())
        stock.update(MappingProxyType(ChainMap({"chained": 7})))
        stock.update({})
        stock.update([])
        assert stock == {
            "mapping": 1,
            "keyword": 2,
            "pair": 3,
            "other_keyword": 4,
            "iterator": 3,
            "only": 6,
            "other": 4,
            "k": 5,
            "chained": 7,
        }

    def test_update_takes_the_words_of_its_parameters_as_keys(self, stock: HashMap[str, int]) -> None:
        stock.update(self=1, other=2)
        assert stock == {"self": 1, "other": 2}

    def test_update_with_itself_changes_nothing(self, stock: HashMap[str, int]) -> None:
        stock.update(apples=3)
        stock.update(stock)
        stock |= stock
        assert stock == {"apples": 3}

    @pytest.mark.parametrize("other", [5, [1], [("a",)], "ab", None], ids=repr)
    def test_update_refuses_what_dict_update_refuses(self, stock: HashMap[str, int], other: object) -> None:
        local: dict[str, int] = {}
        with pytest.raises((TypeError, ValueError)):
            local.update(cast("dict[str, int]", other))
        with pytest.raises((TypeError, ValueError)):
            stock.update(cast("dict[str, int]", other))
        assert stock == {}

    def test_setdefault_sets_a_value_only_where_there_is_none(self, stock: HashMap[str, int], db: Backend) -> None:
        assert stock.setdefault("apples", 3) == 3
        assert stock.setdefault("apples", 4) == 3
        assert stock["apples"] == 3
        names = HashMap[str, str | None]("names", db)
        assert names.setdefault("a") is None
        assert names.all() == {"a": None}

    def test_pop_takes_a_value_out(self, stock: HashMap[str, int]) -> None:
        stock.update(apples=3, pears=0)
        assert stock.pop("apples") == 3
        assert stock.pop("apples", 7) == 7
        assert stock.pop("apples", None) is None
        assert stock.pop("pears", 7) == 0
        assert stock == {}

    def test_popitem_takes_pairs_until_there_are_none(self, stock: HashMap[str, int]) -> None:
        pairs = {"apples": 3, "pears": 0, "plums": 5}
        stock.update(pairs)
        assert dict([stock.popitem(), stock.popitem(), stock.popitem()]) == pairs
        with pytest.raises(KeyError):
            stock.popitem()

    def test_clear_removes_everything(self, stock: HashMap[str, int]) -> None:
        stock.update(apples=3)
        stock.clear()
        assert stock == {}
        stock.clear()

    def test_merging_gives_a_dict_and_the_right_side_wins(self, stock: HashMap[str, int], db: Backend) -> None:
        stock.update(apples=3, pears=0)
        other = HashMap[str, int]("other", db)
        other.update(pears=9, plums=1)
        assert stock | {"pears": 9} == {"apples": 3, "pears": 9}
        assert {"pears": 9, "plums": 1} | stock == {"pears": 0, "plums": 1, "apples": 3}
        assert stock | other == {"apples": 3, "pears": 9, "plums": 1}
        assert type(stock | other) is dict
        assert stock == {"apples": 3, "pears": 0}

    def test_merging_in_place_takes_what_update_takes(self, stock: HashMap[str, int]) -> None:
        same = stock
        stock |= {"apples": 3}
        stock |= [("pears", 0)]
        assert stock is same
        assert stock == {"apples": 3, "pears": 0}

    @pytest.mark.parametrize("other", [5, None, [("a", 1)]], ids=repr)
    def test_merging_refuses_what_is_no_mapping(self, stock: HashMap[str, int], other: object) -> None:
        mapping = cast("dict[str, int]", other)
        with pytest.raises(TypeError, match="unsupported operand"):
            _ = stock | mapping
        with pytest.raises(TypeError, match="unsupported operand"):
            _ = mapping | stock

    def test_a_dict_is_merged_with_it_in_place(self, stock: HashMap[str, int]) -> None:
        stock["apples"] = 3
        local = {"pears": 0}
        local |= stock
        assert local == {"pears": 0, "apples": 3}
        assert {**stock} == {"apples": 3}


class TestUpdateOfAValue:
    def test_it_replaces_the_value_by_one_made_from_it(self, stock: HashMap[str, int]) -> None:
        stock["pears"] = 1
        given: list[int | None] = []

        def more(old: int | None) -> int:
            given.append(old)
            return (old or 0) + 7

        assert stock.update_value("apples", more) == 7
        assert stock.update_value("apples", more) == 14
        assert given == [None, 7]
        assert stock == {"apples": 14, "pears": 1}

    def test_it_starts_over_when_somebody_else_was_faster(self, db: Backend) -> None:
        words = HashMap[str, str]("words", db)
        given: list[str | None] = []
        others: list[Callable[[], object]] = [
            lambda: words.set("a", "x"),
            lambda: words.set("a", "xy"),  # longer, with the old value as its beginning
            lambda: words.remove("a"),
            lambda: words.set("b", "of another key"),
        ]

        def append(old: str | None) -> str:
            others[len(given)]()
            given.append(old)
            return f"{old}!"

        assert words.update_value("a", append) == "None!"
        assert given == [None, "x", "xy", None]
        assert words == {"a": "None!", "b": "of another key"}

    def test_threads_lose_no_update(self, db: Backend) -> None:
        words = HashMap[str, list[int]]("words", db)

        def extend(thread: int) -> None:
            for _ in range(20):
                words.update_value("a", lambda old: [*(old or []), thread])

        at_once([partial(extend, thread) for thread in range(4)])
        assert Tally(words["a"]) == dict.fromkeys(range(4), 20)

    def test_the_expiry_stays(self, stock: HashMap[str, int]) -> None:
        stock["apples"] = 1
        stock.expire(60)
        stock.update_value("apples", lambda _: 2)
        stock.update_value("pears", lambda _: 3)
        assert 0 < stock.ttl() <= 60

    def test_any_bytes_are_compared_exactly(self, db: Backend) -> None:
        raw = HashMap[bytes, bytes]("raw", db)
        raw[b"\xff\x00"] = b"\xff\x00\xfe"
        assert raw.update_value(b"\xff\x00", lambda old: (old or b"") + b"\x80") == b"\xff\x00\xfe\x80"

    def test_a_stored_none_is_a_value_like_any_other(self, db: Backend) -> None:
        names = HashMap[str, str | None]("names", db)
        names["a"] = None
        assert names.update_value("a", lambda old: f"{old}") == "None"
        assert names.update_value("a", lambda _: None) is None
        assert names.all() == {"a": None}

    def test_an_error_of_the_function_changes_nothing(self, stock: HashMap[str, int]) -> None:
        stock["apples"] = 1
        with pytest.raises(ZeroDivisionError):
            stock.update_value("apples", lambda _: 1 // 0)
        assert stock == {"apples": 1}

    def test_a_key_or_a_result_of_another_type_changes_nothing(self, stock: HashMap[str, int]) -> None:
        with pytest.raises(EncodeError, match=r"int as str.*'stock'"):
            stock.update_value(cast("str", 5), lambda _: 1)
        with pytest.raises(EncodeError, match=r"str as int.*'stock'"):
            stock.update_value("apples", lambda _: cast("int", "5"))
        assert stock == {}

    def test_a_value_that_it_cannot_read_is_not_overwritten(self, db: Backend) -> None:
        send(db, "HSET", "events", "a", b"{}")
        with pytest.raises(DecodeError, match=r"'events'.*Event") as caught:
            HashMap[str, Event]("events", db).update_value("a", lambda _: Event(name="x"))
        assert caught.value.raw == b"{}"
        assert send(db, "HGET", "events", "a") == b"{}"

    def test_it_takes_two_commands_when_nobody_interferes(self, db: Backend) -> None:
        seen = Watched(db)
        stock = HashMap[str, int]("stock", seen)
        assert len(seen.sent_by(lambda: stock.update_value("apples", lambda _: 1))) == 2


class TestWhatIsRefused:
    @pytest.mark.parametrize("value", ["5", True, 5.0, None], ids=repr)
    def test_a_value_of_another_type_is_stored_by_nobody(self, stock: HashMap[str, int], value: object) -> None:
        number = cast("int", value)
        stores: list[Callable[[], object]] = [
            lambda: stock.set("a", number),
            lambda: stock.__setitem__("a", number),
            lambda: stock.setdefault("a", number),
            lambda: stock.update({"b": 1, "a": number}),
            lambda: stock.update(b=1, a=number),
        ]
        for store in stores:
            with pytest.raises(EncodeError, match=r"int.*'stock'"):
                store()
        assert keys(stock.backend) == []

    @pytest.mark.parametrize("key", [5, b"a", None], ids=repr)
    def test_a_key_of_another_type_is_no_key(self, stock: HashMap[str, int], key: object) -> None:
        stock["5"] = 5
        word = cast("str", key)
        calls: list[Callable[[], object]] = [
            lambda: stock[word],
            lambda: stock.get(word),
            lambda: stock.set(word, 1),
            lambda: stock.remove(word),
            lambda: stock.pop(word, None),
            lambda: stock.incr(word),
            lambda: stock.setdefault(word, 1),
            lambda: stock.get_many(["5", word]),
            lambda: stock.update({"a": 1, word: 1}),
        ]
        for call in calls:
            with pytest.raises(EncodeError, match=r"str.*'stock'"):
                call()
        assert stock == {"5": 5}

    @pytest.mark.parametrize("key", [5, b"a", None, ["a"]], ids=repr)
    def test_a_key_of_another_type_is_not_in_it(self, db: Backend, key: object) -> None:
        seen = Watched(db)
        stock = HashMap[str, int]("stock", seen)
        assert key not in stock
        with pytest.raises(EncodeError, match=r"str.*'stock'"):
            stock.contains(cast("str", key))
        assert seen.commands == []

    @pytest.mark.parametrize("by", ["1", True, 1.5, None, 2**63], ids=repr)
    def test_an_int_changes_by_an_int(self, stock: HashMap[str, int], by: object) -> None:
        with pytest.raises(ArgumentError):
            stock.incr("apples", cast("int", by))
        assert stock == {}

    def test_what_is_no_number_cannot_be_counted(self, db: Backend) -> None:
        names = HashMap[str, str]("names", db)
        names["a"] = "5"
        with pytest.raises(EncodeError, match="str cannot be incremented"):
            names.incr("a")  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        assert names["a"] == "5"

    def test_an_overflow_is_refused_and_the_number_stays(self, stock: HashMap[str, int]) -> None:
        stock["apples"] = 2**63 - 1
        with pytest.raises(CommandRefused, match="'stock'"):
            stock.incr("apples")
        assert stock["apples"] == 2**63 - 1

    def test_keys_whose_equals_are_written_differently_are_refused_with_the_class(self, db: Backend) -> None:
        with pytest.raises(ConfigurationError, match="hash key"):
            HashMap.of(cast("type[object]", int | float), int)("numbers", db)


OPERATIONS: dict[str, Callable[[HashMap[str, int]], object]] = {
    "get": lambda stock: stock.get("a"),
    "[]": lambda stock: stock["a"],
    "[] =": lambda stock: stock.__setitem__("a", 1),
    "del": lambda stock: stock.__delitem__("a"),
    "in": lambda stock: "a" in stock,
    "contains": lambda stock: stock.contains("a"),
    "len": len,
    "size": lambda stock: stock.size(),
    "update_value": lambda stock: stock.update_value("a", lambda _: 1),
    "iteration": lambda stock: list(iter(stock)),
    "values": lambda stock: list(iter(stock.values())),
    "all": lambda stock: stock.all(),
    "get_many": lambda stock: stock.get_many(["a"]),
    "set": lambda stock: stock.set("a", 1),
    "update": lambda stock: stock.update(a=1),
    "setdefault": lambda stock: stock.setdefault("a", 1),
    "incr": lambda stock: stock.incr("a"),
    "remove": lambda stock: stock.remove("a"),
    "pop": lambda stock: stock.pop("a"),
    "popitem": lambda stock: stock.popitem(),
}


class TestWhatOthersStored:
    def test_a_value_that_cannot_be_read_is_an_error_that_holds_it(self, db: Backend) -> None:
        send(db, "HSET", "events", "a", b"{}")
        events = HashMap[str, Event]("events", db)
        looks: list[Callable[[], object]] = [
            lambda: events["a"],
            lambda: events.get("a"),
            lambda: events.get_many(["a"]),
            lambda: list(iter(events.values())),
            lambda: list(events.items()),
            lambda: events.setdefault("a", Event(name="x")),
            events.all,
        ]
        for look in looks:
            with pytest.raises(DecodeError, match=r"'events'.*Event") as caught:
                look()
            assert caught.value.raw == b"{}"
        assert send(db, "HGETALL", "events") == [b"a", b"{}"]

    def test_a_value_taken_that_cannot_be_read_is_on_the_error(self, db: Backend) -> None:
        send(db, "HSET", "events", "a", b"{}")
        with pytest.raises(DecodeError) as caught:
            HashMap[str, Event]("events", db).pop("a")
        assert caught.value.raw == b"{}"
        assert keys(db) == []

    def test_a_key_that_cannot_be_read_is_an_error_that_holds_it(self, db: Backend) -> None:
        send(db, "HSET", "squares", "two", "4")
        with pytest.raises(DecodeError, match=r"'squares'.*int") as caught:
            list(HashMap[int, int]("squares", db))
        assert caught.value.raw == b"two"

    @pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
    def test_another_structure_under_its_key_is_named_and_left_alone(
        self, db: Backend, operation: Callable[[HashMap[str, int]], object]
    ) -> None:
        send(db, "SET", "stock", "1")
        with pytest.raises(WrongType, match=r"'stock' holds a string.* works on a hash"):
            operation(HashMap[str, int]("stock", db))
        assert send(db, "GET", "stock") == b"1"


class TestManyPairs:
    SIZE = 5000

    @pytest.fixture
    def seen(self, db: Backend) -> Watched:
        seen = Watched(db)
        HashMap[int, int]("numbers", db).update({number: -number for number in range(self.SIZE)})
        return seen

    ITERATIONS: ClassVar[dict[str, Callable[[HashMap[int, int]], set[tuple[int, int]]]]] = {
        "keys": lambda numbers: {(number, -number) for number in numbers},
        "values": lambda numbers: {(-negative, negative) for negative in iter(numbers.values())},
        "items": lambda numbers: set(iter(numbers.items())),
    }

    @pytest.mark.parametrize("iterate", ITERATIONS.values(), ids=ITERATIONS)
    def test_iteration_gives_all_in_pages(
        self, seen: Watched, iterate: Callable[[HashMap[int, int]], set[tuple[int, int]]]
    ) -> None:
        assert iterate(HashMap[int, int]("numbers", seen)) == {(number, -number) for number in range(self.SIZE)}
        assert len(seen.commands) <= 2 * self.SIZE / 500
        assert max(seen.page_sizes()) <= 2 * 500

    WHOLES: ClassVar[dict[str, Callable[[HashMap[int, int]], object]]] = {
        "update from it": lambda numbers: HashMap[int, int]("copy", numbers.backend).update(numbers),
        "merge": lambda numbers: numbers | {1: 1},
        "merge from the right": lambda numbers: {1: 1} | numbers,
        "merge of two": lambda numbers: numbers | numbers,
        "merge in place": lambda numbers: numbers.__ior__(numbers),
        "equality": lambda numbers: numbers == {},
    }

    @pytest.mark.parametrize("operation", WHOLES.values(), ids=WHOLES)
    def test_what_takes_the_whole_does_not_ask_for_each_key(
        self, seen: Watched, operation: Callable[[HashMap[int, int]], object]
    ) -> None:
        operation(HashMap[int, int]("numbers", seen))
        assert len(seen.commands) <= 2 * self.SIZE / 500

    def test_what_stays_during_iteration_is_given(self, db: Backend) -> None:
        numbers = HashMap[int, int]("numbers", db)
        numbers.update(dict.fromkeys(range(3000), 0))
        found: set[int] = set()
        for number in numbers:
            found.add(number)
            if len(found) == 1000:
                numbers.update(dict.fromkeys(range(3000, 4000), 0))
        assert found >= set(range(3000))


class TestCommands:
    def test_reading_makes_no_key(self, stock: HashMap[str, int], db: Backend) -> None:
        assert stock.get("a") is None
        assert stock.get_many(["a"]) == {}
        assert stock.pop("a", None) is None
        assert stock.remove("a") is False
        assert "a" not in stock
        assert len(stock) == 0
        assert list(stock.items()) == []
        assert stock.all() == {}
        assert stock == {}
        stock.update()
        stock.clear()
        assert keys(db) == []

    def test_each_operation_sends_the_one_command_that_describes_it(self, db: Backend) -> None:
        seen = Watched(db)
        stock = HashMap[str, int]("stock", seen)
        assert seen.sent_by(lambda: stock.set("a", 1)) == [stock.commands.set("a", 1)]
        assert seen.sent_by(lambda: stock.__setitem__("a", 1)) == [stock.commands.update([("a", 1)])]
        assert seen.sent_by(lambda: stock.update(a=1, b=2)) == [stock.commands.update([("a", 1), ("b", 2)])]
        assert seen.sent_by(lambda: stock.get("a")) == [stock.commands.get("a")]
        assert seen.sent_by(lambda: stock["a"]) == [stock.commands.get("a")]
        assert seen.sent_by(lambda: stock.get_many(["a", "b"])) == [stock.commands.get_many(["a", "b"])]
        assert seen.sent_by(lambda: stock.get_many([])) == []
        assert seen.sent_by(stock.all) == [stock.commands.all()]
        assert seen.sent_by(lambda: "a" in stock) == [stock.commands.contains("a")]
        assert seen.sent_by(lambda: stock.contains("a")) == [stock.commands.contains("a")]
        assert seen.sent_by(lambda: len(stock)) == [stock.commands.size()]
        assert seen.sent_by(stock.size) == [stock.commands.size()]
        assert seen.sent_by(lambda: list(iter(stock))) == [stock.commands.page()]
        assert seen.sent_by(lambda: stock.setdefault("a", 1)) == [stock.commands.setdefault("a", 1)]
        assert seen.sent_by(lambda: stock.incr("a", 5)) == [stock.commands.incr("a", 5)]
        assert seen.sent_by(lambda: stock.remove("c")) == [stock.commands.remove("c")]
        assert seen.sent_by(lambda: stock.pop("a")) == [stock.commands.pop("a")]
        assert seen.sent_by(stock.popitem) == [stock.commands.popitem()]
        assert seen.sent_by(stock.clear) == [stock.commands.delete()]
