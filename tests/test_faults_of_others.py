"""Faults that collections over Redis have had elsewhere, and in this one's first version; none of them here.

Each test is named for what holds instead. Whatever is about several at a time is tried by real threads.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections import Counter as Tally
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

import pytest

import redisext
from redisext import (
    NOTHING,
    Backend,
    Counter,
    DecodeError,
    EncodeError,
    HashMap,
    Lock,
    LockNotOwned,
    Map,
    Pool,
    PriorityQueue,
    Queue,
    SortedSet,
    Stack,
    serializer,
)
from redisext.model import Model
from tests.elements import Event
from tests.servers import RedisServer
from tests.threads import AT_ONCE, at_once
from tests.watching import Watched, keys, send


def python(program: str, *, hash_seed: int = 0) -> str:
    """What a program prints that runs in a process of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


class TestFalsyValues:
    @pytest.mark.parametrize("value", [[], {}, False, 0, 0.0, "", None], ids=repr)
    def test_a_serializer_sees_them_like_any_other(self, db: Backend, value: object) -> None:
        class Items(Queue[object]):
            SERIALIZER = serializer.JSON

        class Value(Map[object]):
            SERIALIZER = serializer.JSON

        class Values(HashMap[str, object]):
            SERIALIZER = serializer.JSON

        items, one, several = Items("items", db), Value("one", db), Values("several", db)
        items.push(value)
        one.set(value)
        several["key"] = value
        for found in (items.pop(NOTHING), one.get(NOTHING), several.get("key", NOTHING)):
            assert found == value
            assert type(found) is type(value)


class TestLock:
    def test_of_eight_who_try_at_once_one_gets_it(self, db: Backend) -> None:
        for trial in range(40):
            locks = [Lock(f"lock {trial}", db) for _ in range(8)]
            assert Tally(at_once([lock.acquire for lock in locks])) == {True: 1, False: 7}

    def test_of_eight_who_wait_a_moment_one_gets_it(self, db: Backend) -> None:
        for trial in range(5):
            locks = [Lock(f"lock {trial}", db) for _ in range(8)]
            assert Tally(at_once([partial(lock.acquire, wait=0.01) for lock in locks])) == {True: 1, False: 7}

    def test_nobody_but_its_holder_releases_it(self, db: Backend) -> None:
        """Not even the same thread, by another object."""
        holder, stranger = Lock("lock", db), Lock("lock", db)
        holder.acquire()
        with pytest.raises(LockNotOwned):
            stranger.release()
        assert stranger.locked() is True
        assert holder.release() is True

    def test_a_hold_that_expired_does_not_release_the_next_one(self, db: Backend) -> None:
        late, next_one = Lock("lock", db), Lock("lock", db)
        late.acquire(0.01)
        assert next_one.acquire(wait=10) is True
        with pytest.raises(LockNotOwned):
            late.release()
        assert next_one.release() is True

    @pytest.mark.parametrize("expiration", [0.001, 0.2, 0.999])
    def test_a_dead_holder_of_less_than_a_second_is_outlived(self, db: Backend, expiration: float) -> None:
        Lock("lock", db).acquire(expiration)
        begun = time.monotonic()
        assert Lock("lock", db).acquire(wait=10) is True
        assert time.monotonic() - begun < expiration + AT_ONCE

    def test_its_block_is_given_the_lock(self, db: Backend) -> None:
        lock = Lock("lock", db)
        with lock as held:
            assert held is lock


class TestPriorityQueue:
    def test_eight_threads_take_each_item_once(self, db: Backend) -> None:
        tasks = PriorityQueue[int]("tasks", db)
        for number in range(400):
            tasks.push(number, number % 7)

        def take_all() -> list[int]:
            taken: list[int] = []
            while (number := tasks.pop()) is not None:
                taken.append(number)
            return taken

        taken = at_once([take_all] * 8)
        assert sorted(number for some in taken for number in some) == list(range(400))

    def test_nothing_is_taken_from_an_empty_one(self, db: Backend) -> None:
        assert PriorityQueue[int]("tasks", db).pop() is None

    def test_equal_items_are_one_as_its_docstring_says(self, db: Backend) -> None:
        tasks = PriorityQueue[str]("tasks", db)
        assert tasks.push("sweep", 1) is True
        assert tasks.push("sweep", 2) is False
        assert tasks.size() == 1
        assert "holds each item once" in (redisext.PriorityQueue.__doc__ or "")

    def test_each_change_is_one_command(self, db: Backend) -> None:
        seen = Watched(db)
        tasks = PriorityQueue[str]("tasks", seen)
        assert len(seen.sent_by(lambda: tasks.push("sweep", 1))) == 1
        assert len(seen.sent_by(tasks.pop)) == 1


class TestCounting:
    TIMES = 200

    def test_four_threads_lose_no_increment(self, db: Backend) -> None:
        counter, total = Counter[int]("counter", db), Counter[float]("total", db)
        one, several = Map[int]("one", db), HashMap[str, int]("several", db)
        scores = SortedSet[str]("scores", db)

        def count() -> None:
            for _ in range(self.TIMES):
                counter.incr()
                total.incr(0.5)
                one.incr()
                several.incr("key")
                scores.incr("element")

        at_once([count] * 4)
        assert counter.get() == one.get() == several["key"] == scores.score("element") == 4 * self.TIMES
        assert total.get() == 2 * self.TIMES

    def test_four_threads_lose_no_update_and_see_no_error(self, db: Backend) -> None:
        words = Map[list[int]]("words", db)

        def extend(thread: int) -> None:
            for _ in range(30):
                words.update(lambda old: [*(old or []), thread])

        at_once([partial(extend, thread) for thread in range(4)])
        assert Tally(words.get()) == dict.fromkeys(range(4), 30)

    def test_one_of_eight_creates_what_was_absent(self, db: Backend) -> None:
        for trial in range(10):
            settings, names = HashMap[str, int](f"settings {trial}", db), Pool[str](f"names {trial}", db)
            chosen = at_once([partial(settings.setdefault, "key", thread) for thread in range(8)])
            assert set(chosen) == {settings["key"]}
            assert sum(at_once([partial(settings.set, "other", thread) for thread in range(8)])) == 1
            assert sum(at_once([partial(names.push, "name")] * 8)) == 1

    def test_threads_that_set_different_fields_overwrite_none(self, db: Backend) -> None:
        settings = HashMap[int, int]("settings", db)
        at_once([partial(settings.update, {thread: thread, thread + 8: thread}) for thread in range(8)])
        assert settings == {field: field % 8 for field in range(16)}

    def test_eight_threads_take_each_element_once(self, db: Backend) -> None:
        queue, stack, pool = Queue[int]("queue", db), Stack[int]("stack", db), Pool[int]("pool", db)
        pairs = HashMap[int, int]("pairs", db)
        queue.push(*range(200))
        stack.push(*range(200))
        pool |= set(range(200))
        pairs.update({number: number for number in range(200)})

        def take() -> list[int | None]:
            return [taken for _ in range(25) for taken in (queue.pop(), stack.pop(), pool.pop(), pairs.popitem()[0])]

        taken = [number for some in at_once([take] * 8) for number in some]
        assert Tally(taken) == dict.fromkeys(range(200), 4)
        assert keys(db) == []


class TestLongLists:
    def test_iterating_two_hundred_items_takes_one_command(self, db: Backend) -> None:
        seen = Watched(db)
        for items in (Queue[int]("queue", seen), Stack[int]("stack", seen)):
            items.push(*range(200))
            assert len(seen.sent_by(lambda items=items: list(iter(items)))) == 1  # type: ignore[misc]

    def test_a_value_is_not_looked_for_by_fetching_every_item(self, db: Backend) -> None:
        seen = Watched(db)
        for items in (Queue[int]("queue", seen), Stack[int]("stack", seen)):
            items.push(*range(200))
            seen.commands.clear()
            with pytest.raises(TypeError):
                assert 5 in items
            assert seen.commands == []

    def test_one_item_is_taken_from_nine_thousand_and_the_others_stay(self, db: Backend) -> None:
        for items, first in ((Queue[int]("queue", db), 0), (Stack[int]("stack", db), 8999)):
            items.push(*range(9000))
            assert items.pop() == first
            assert items.size() == 8999

    def test_items_are_iterated_in_their_order_and_not_in_that_of_their_text(self, db: Backend) -> None:
        queue = Queue[int]("queue", db)
        queue.push(*range(12))
        assert list(queue) == list(range(11, -1, -1))

    def test_nothing_is_removed_by_its_place(self, db: Backend) -> None:
        """Redis could only remove the first of those that are equal to it."""
        for items in (Queue[int]("queue", db), Stack[int]("stack", db)):
            items.push(5, 5, 5)
            with pytest.raises(TypeError):
                del cast("list[int]", items)[1]
            assert items.items() == [5, 5, 5]


class TestCompareAndSet:
    @pytest.mark.parametrize("raced", ["ab", "a\0", "", "A", "a "], ids=repr)
    def test_a_value_that_only_begins_like_the_old_one_is_another(self, db: Backend, raced: str) -> None:
        word = Map[str]("word", db)
        word.set("a")
        given: list[str | None] = []

        def append(old: str | None) -> str:
            given.append(old)
            if len(given) == 1:
                word.set(raced)
            return f"{old}!"

        assert word.update(append) == f"{raced}!"
        assert given == ["a", raced]


class TestIdentity:
    def test_values_with_equal_hashes_are_different_keys(self, db: Backend) -> None:
        assert hash(-1) == hash(-2)
        squares = HashMap[int, int]("squares", db)
        squares.update({-1: 1, -2: 4})
        assert (squares[-1], squares[-2]) == (1, 4)
        numbers = Pool[int]("numbers", db)
        numbers.push(-1)
        assert -2 not in numbers

    PROGRAM = """
import redisext
from tests.elements import Event, Place
pool = redisext.Pool[frozenset[str]]("pool", {url!r})
pool.push(frozenset(map(str, range(20))))
pairs = redisext.HashMap[Event, dict[str, int]]("pairs", {url!r})
pairs[Event(name="x", place=Place(city="Žižkov"))] = {{}}
print(len(pool), len(pairs), pool.members() == [frozenset(map(str, range(20)))], sorted(map(hash, "ab")))
"""

    def test_every_process_writes_equal_values_alike_whatever_its_hash_seed(self, server: RedisServer) -> None:
        server.call("FLUSHALL")
        printed = [python(self.PROGRAM.format(url=server.url), hash_seed=seed) for seed in (1, 2, 3)]
        assert len(set(printed)) == 3
        assert {line[:8] for line in printed} == {"1 1 True"}

    def test_in_one_process_too(self, db: Backend) -> None:
        pool = Pool[frozenset[str]]("pool", db)
        words = [str(number) for number in range(20)]
        for turn in range(20):
            pool.push(frozenset(words[turn:] + words[:turn]))
        assert len(pool) == 1

    STORED: tuple[tuple[object, object, bytes], ...] = (
        (int, 5, b"5"),
        (float, 0.5, b"0.5"),
        (str, "ž", b"\xc5\xbe"),
        (bytes, b"\xff", b"\xff"),
        (bool, True, b"true"),
        (list[int], [1, 2], b"[1,2]"),
        (Event, Event(name="ž"), '{"name":"ž","place":null,"tags":[]}'.encode()),
    )

    @pytest.mark.parametrize(("element", "value", "raw"), STORED, ids=lambda one: str(one)[:20])
    def test_values_are_stored_as_plain_text_and_never_as_pickles(
        self, db: Backend, element: object, value: object, raw: bytes
    ) -> None:
        """What is stored today is read tomorrow: these bytes do not change."""
        queue = Queue.of(cast("type[object]", element))("queue", db)
        queue.push(value)
        assert send(db, "LRANGE", "queue", 0, -1) == [raw]


class TestFidelity:
    def test_tuples_come_back_as_tuples(self, db: Backend) -> None:
        pairs = Queue[tuple[int, str]]("pairs", db)
        pairs.push((1, "a"))
        assert pairs.pop() == (1, "a")
        nested = Map[dict[str, list[tuple[int, ...]]]]("nested", db)
        nested.set({"a": [(1, 2), ()]})
        assert nested.get() == {"a": [(1, 2), ()]}

    def test_a_tuple_that_would_come_back_as_a_list_is_refused(self, db: Backend) -> None:
        lists, anything = Queue[list[int]]("lists", db), Queue[Any]("anything", db)
        with pytest.raises(EncodeError):
            lists.push(cast("list[int]", (1, 2)))
        with pytest.raises(EncodeError):
            anything.push((1, 2))
        assert keys(db) == []

    @pytest.mark.parametrize("big", [2**53 + 1, -(2**53) - 1, 2**63 - 1, 2**64 + 1, 10**30])
    def test_big_ints_pass_through_scripts_unchanged(self, db: Backend, big: int) -> None:
        one, several, pool = Map[int]("one", db), HashMap[int, int]("several", db), Pool[int]("pool", db)
        one.set(big)
        assert one.update(lambda old: (old or 0) + 1) == big + 1 == one.get()
        assert several.setdefault(big, big) == several.setdefault(big, 1) == big
        assert several.pop(big) == big
        several[big] = big
        assert several.popitem() == (big, big)
        pool ^= {big}
        pool &= {big, 1}
        assert pool == {big}

    def test_bytes_that_cannot_be_read_are_not_passed_over(self, db: Backend) -> None:
        send(db, "LPUSH", "queue", b"\xff", b"1")
        send(db, "SADD", "pool", b"\xff", b"1")
        send(db, "HSET", "pairs", b"a", b"\xff", b"b", b"1")
        send(db, "ZADD", "sorted", 1, b"\xff", 2, b"1")
        queue, pool, pairs = Queue[int]("queue", db), Pool[int]("pool", db), HashMap[str, int]("pairs", db)
        ordered = SortedSet[int]("sorted", db)
        looks: list[Callable[[], object]] = [
            queue.items,
            lambda: list(iter(queue)),
            pool.members,
            lambda: list(iter(pool)),
            lambda: pool == {1},
            pairs.all,
            lambda: list(pairs.items()),
            lambda: pairs == {"b": 1},
            ordered.members,
            lambda: list(iter(ordered)),
        ]
        for look in looks:
            with pytest.raises(DecodeError) as caught:
                look()
            assert caught.value.raw == b"\xff"


AnyModel: TypeAlias = Model[Any]


class TestExpiry:
    def test_a_change_keeps_it(self, db: Backend) -> None:
        counter, one, pairs = Counter[int]("counter", db), Map[int]("one", db), HashMap[str, int]("pairs", db)
        pool, ordered = Pool[str]("pool", db), SortedSet[str]("ordered", db)
        queue, tasks = Queue[str]("queue", db), PriorityQueue[str]("tasks", db)
        counter.incr()
        one.set(1)
        pairs.update(a=1, b=2, c=3)
        pool |= {"a", "b", "c", "d"}
        for element in "abcd":
            ordered.add(element, 1)
            tasks.push(element, 1)
        queue.push("a", "b", "c", "d")
        models: list[AnyModel] = [counter, one, pairs, pool, ordered, queue, tasks]
        for model in models:
            model.expire(60)
        changes: list[Callable[[], object]] = [
            *(counter.incr, counter.decr),
            *(one.incr, one.decr, lambda: one.update(lambda old: (old or 0) + 1)),
            *(lambda: pairs.update(a=2, d=4), lambda: pairs.incr("a"), lambda: pairs.setdefault("e", 5)),
            *(lambda: pairs.pop("a"), lambda: pairs.remove("b"), pairs.popitem),
            *(lambda: pool.push("e"), lambda: pool.__ior__({"f"}), lambda: pool.__ixor__({"a", "g"})),
            *(lambda: pool.__iand__({"b", "c", "d"}), lambda: pool.__isub__({"b"}), pool.pop),
            *(lambda: ordered.add("a", 2), lambda: ordered.add("e", 2), lambda: ordered.incr("a")),
            *(lambda: ordered.truncate(3), lambda: ordered.rem("a"), lambda: ordered.clean_by_score(2, 2)),
            *(lambda: queue.push("e"), queue.pop, lambda: queue.pop_wait(1)),
            *(lambda: tasks.push("e", 1), lambda: tasks.push("a", 2), tasks.pop, lambda: tasks.pop_wait(1)),
        ]
        for change in changes:
            change()
            assert all(0 < model.ttl() <= 60 for model in models)

    def test_only_a_new_value_takes_it_away(self, db: Backend) -> None:
        counter, one = Counter[int]("counter", db), Map[int]("one", db)
        for model, change in ((counter, counter.set), (one, one.set)):
            change(1)
            model.expire(60)
            change(2)
            assert model.ttl() == -1


class TestWhatIsLeftAlone:
    def test_reading_deletes_nothing(self, db: Backend) -> None:
        counter, one, pairs = Counter[int]("counter", db), Map[int]("one", db), HashMap[str, int]("pairs", db)
        pool, ordered = Pool[str]("pool", db), SortedSet[str]("ordered", db)
        queue, stack, tasks = Queue[str]("queue", db), Stack[str]("stack", db), PriorityQueue[str]("tasks", db)
        lock = Lock("lock", db)
        counter.incr()
        one.incr()
        pairs.update(a=1, b=2)
        pool |= {"a", "b"}
        ordered.add("a", 1)
        queue.push("a", "b")
        stack.push("a", "b")
        tasks.push("a", 1)
        lock.acquire(60)
        models: list[AnyModel] = [counter, one, pairs, pool, ordered, queue, stack, tasks, lock]
        before = self.whole(db)
        for _ in range(3):
            for model in models:
                model.exists()
                model.ttl()
            looks: list[Callable[[], object]] = [
                *(counter.get, one.get, pairs.all, pool.members, pool.peek, ordered.members, lock.locked),
                *(queue.items, queue.peek, queue.size, stack.items, stack.peek, tasks.items, tasks.peek),
            ]
            for look in looks:
                look()
            for whole in (pairs.items(), pairs.values(), pairs, pool, ordered, queue, stack):
                list(whole)
            assert pairs.get("a") == 1
            assert "a" in pool
            assert pool | {"c"} == {"a", "b", "c"}
            assert pairs | {"c": 3} == {"a": 1, "b": 2, "c": 3}
        assert self.whole(db) == before
        assert len(before) == len(models)

    def test_forgetting_a_model_deletes_nothing(self, db: Backend) -> None:
        for number, kind in enumerate([Queue[int], Stack[int]]):
            kind(number, db).push(1)
        Lock("lock", db).acquire()
        HashMap[str, int]("{lock}:waiting", db)["a"] = 1
        before = self.whole(db)
        gc.collect()
        assert self.whole(db) == before
        assert len(before) == 4

    def test_importing_the_package_changes_no_other(self) -> None:
        program = """
import json, pickle, redis, pydantic
from redis import client, connection, exceptions
modules = [json, json.encoder, json.decoder, pickle, redis, client, connection, exceptions, pydantic]
classes = [json.JSONEncoder, json.JSONDecoder, redis.Redis, connection.Connection, pydantic.BaseModel]
def whole():
    return {(one.__name__, name): id(value) for one in modules + classes for name, value in list(vars(one).items())}
before, dumps = whole(), json.dumps
import redisext, redisext.serializer, redisext.backend.redis
redisext.Map[list[int]]("key", "memory://").set([1])
after = whole()
print([name for name, value in before.items() if after.get(name) != value], json.dumps is dumps)
"""
        assert python(program) == "[] True"

    @staticmethod
    def whole(db: Backend) -> dict[bytes, object]:
        """All keys, and what is in them."""
        reads: dict[bytes, tuple[str, tuple[int, ...]]] = {
            b"string": ("GET", ()),
            b"list": ("LRANGE", (0, -1)),
            b"hash": ("HGETALL", ()),
            b"set": ("SMEMBERS", ()),
            b"zset": ("ZRANGE", (0, -1)),
        }
        found: dict[bytes, object] = {}
        for key in keys(db):
            kind = send(db, "TYPE", key)
            assert isinstance(kind, bytes)
            command, args = reads[kind]
            reply = send(db, command, key, *args)
            found[key] = sorted(map(repr, reply)) if isinstance(reply, list) else reply
        return found
