"""`Map` beside one value, and `HashMap` beside a `dict`."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from redisext import NOTHING, Backend, CommandRefused, HashMap, Map
from tests.state_machines.machine import (
    ANY_ELEMENTS,
    INTS,
    KEY,
    MEMBERS,
    OPTIONALS,
    TEXTS,
    Elements,
    Machine,
    drive,
    shown,
)


def map_machine(elements: Elements) -> type[Machine]:
    element, values = elements

    class AMap(Machine):
        def __init__(self) -> None:
            super().__init__()
            self.map: Map[Any] = Map.of(element)(KEY, self.db)
            self.twin: Any = NOTHING

        @rule(value=values)
        def set(self, value: Any) -> None:
            assert self.map.set(value) is True
            self.twin = value

        @rule(value=values)
        def update(self, value: Any) -> None:
            given: list[Any] = []

            def fn(old: Any) -> Any:
                given.append(old)
                return value

            assert shown(self.map.update(fn)) == shown(value)
            [old] = given
            assert shown(old) == shown(None if self.twin is NOTHING else self.twin)
            self.twin = value

        @rule()
        def update_with_the_same(self) -> None:
            if self.twin is not NOTHING:
                assert shown(self.map.update(copy.copy)) == shown(self.twin)

        @rule()
        def remove(self) -> None:
            assert self.map.remove() is (self.twin is not NOTHING)
            self.twin = NOTHING

        @invariant()
        def they_agree(self) -> None:
            assert shown(self.map.get(NOTHING)) == shown(self.twin)
            assert self.map.exists() is (self.twin is not NOTHING)

    return AMap


@pytest.mark.parametrize("elements", ANY_ELEMENTS.values(), ids=ANY_ELEMENTS)
def test_a_map_is_one_value_or_none(elements: Elements, db: Backend) -> None:
    drive(map_machine(elements), db)


def hash_map_machine(keys: Elements, values: Elements) -> type[Machine]:
    key_type, some_keys = keys
    value_type, some_values = values
    pairs = st.dictionaries(some_keys, some_values, max_size=3)

    class AHashMap(Machine):
        def __init__(self) -> None:
            super().__init__()
            self.map: HashMap[Any, Any] = HashMap.of(key_type, value_type)(KEY, self.db)
            self.twin: dict[Any, Any] = {}

        # A key that is there is worth a rule's while more often than chance has one.
        def known(self, key: Any, number: int) -> Any:
            known = sorted(self.twin, key=repr)
            return known[number % len(known)] if known and number % 2 else key

        @rule(key=some_keys, number=st.integers(0, 9), value=some_values)
        def set(self, key: Any, number: int, value: Any) -> None:
            key = self.known(key, number)
            assert self.map.set(key, value) is (key not in self.twin)
            self.twin[key] = value

        @rule(key=some_keys, value=some_values)
        def set_item(self, key: Any, value: Any) -> None:
            self.map[key] = value
            self.twin[key] = value

        @rule(pairs=pairs)
        def update(self, pairs: dict[Any, Any]) -> None:
            self.map.update(pairs)
            self.twin.update(pairs)

        @rule(pairs=pairs)
        def merge(self, pairs: dict[Any, Any]) -> None:
            assert self.map | pairs == self.twin | pairs
            assert pairs | self.map == pairs | self.twin
            self.map |= pairs
            self.twin |= pairs

        @rule(key=some_keys, number=st.integers(0, 9))
        def get(self, key: Any, number: int) -> None:
            key = self.known(key, number)
            assert shown(self.map.get(key, NOTHING)) == shown(self.twin.get(key, NOTHING))
            assert (key in self.map) is (key in self.twin)
            if key in self.twin:
                assert shown(self.map[key]) == shown(self.twin[key])
            else:
                with pytest.raises(KeyError):
                    self.map[key]

        @rule(some=st.lists(some_keys, max_size=3))
        def get_many(self, some: list[Any]) -> None:
            assert self.map.get_many(some) == {key: self.twin[key] for key in some if key in self.twin}

        @rule(key=some_keys, number=st.integers(0, 9), value=some_values)
        def set_default(self, key: Any, number: int, value: Any) -> None:
            key = self.known(key, number)
            assert shown(self.map.setdefault(key, value)) == shown(self.twin.setdefault(key, value))

        @rule(key=some_keys, number=st.integers(0, 9))
        def remove(self, key: Any, number: int) -> None:
            key = self.known(key, number)
            assert self.map.remove(key) is (key in self.twin)
            self.twin.pop(key, None)

        @rule(key=some_keys, number=st.integers(0, 9))
        def delete(self, key: Any, number: int) -> None:
            key = self.known(key, number)
            if key in self.twin:
                del self.map[key]
                del self.twin[key]
            else:
                with pytest.raises(KeyError):
                    del self.map[key]

        @rule(key=some_keys, number=st.integers(0, 9))
        def pop(self, key: Any, number: int) -> None:
            key = self.known(key, number)
            if key in self.twin:
                assert shown(self.map.pop(key)) == shown(self.twin.pop(key))
            else:
                assert self.map.pop(key, NOTHING) is NOTHING
                with pytest.raises(KeyError):
                    self.map.pop(key)

        @rule()
        def pop_item(self) -> None:
            if self.twin:
                key, value = self.map.popitem()
                assert shown(value) == shown(self.twin.pop(key))
            else:
                with pytest.raises(KeyError):
                    self.map.popitem()

        @rule()
        def clear(self) -> None:
            if len(self.twin) > 3:
                self.map.clear()
                self.twin.clear()

        @invariant()
        def they_agree(self) -> None:
            assert len(self.map) == len(self.twin)
            assert self.map.all() == self.twin
            assert sorted(map(shown, self.map.items())) == sorted(map(shown, self.twin.items()))
            assert self.map.exists() is bool(self.twin)

    return AHashMap


HASH_MAPS: dict[str, tuple[Elements, Elements]] = {
    "str to int": ((str, TEXTS), (int, INTS)),
    "int to optional": ((int, INTS), (str | None, OPTIONALS)),
    "bytes to bytes": (MEMBERS["bytes"], MEMBERS["bytes"]),
    "model to model": (MEMBERS["model"], ANY_ELEMENTS["model"]),
    "float to list": (MEMBERS["float"], ANY_ELEMENTS["list"]),
}


@pytest.mark.parametrize(("keys", "values"), HASH_MAPS.values(), ids=HASH_MAPS)
def test_a_hash_map_is_a_dict(keys: Elements, values: Elements, db: Backend) -> None:
    drive(hash_map_machine(keys, values), db)


class Counters(Machine):
    """Numbers that are counted in a hash map."""

    def __init__(self) -> None:
        super().__init__()
        self.map = HashMap[str, int](KEY, self.db)
        self.twin: dict[str, int] = {}

    @rule(key=st.sampled_from("ab"), by=st.integers(-5, 5) | st.integers(-(2**63), 2**63 - 1))
    def incr(self, key: str, by: int) -> None:
        old = self.twin.get(key, 0)
        new = old + by
        if all(-(2**63) <= number < 2**63 for number in (old, new)):
            assert self.map.incr(key, by) == new
            self.twin[key] = new
        else:
            with pytest.raises(CommandRefused):
                self.map.incr(key, by)

    @rule(key=st.sampled_from("ab"), value=INTS)
    def set(self, key: str, value: int) -> None:
        self.map[key] = value
        self.twin[key] = value

    @invariant()
    def they_agree(self) -> None:
        assert self.map.all() == self.twin


def test_a_hash_map_counts_as_numbers_do(db: Backend) -> None:
    drive(Counters, db)
