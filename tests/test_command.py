"""Commands and steps by themselves: values that know no server, and the driver that carries them out."""

from __future__ import annotations

import hashlib
import pickle
import time
from collections.abc import Callable, Generator
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from redisext.command import Argument, Command, Op, Reply, Script, Steps, Wait, run, text
from redisext.errors import DecodeError
from redisext.reply import integer
from redisext.slots import beside

INCRBY = Op("INCRBY", "string")
SCRIPT = Script("return redis.call('GET', KEYS[1])")
RUN_SCRIPT = Op("get by script", "string", script=SCRIPT)

ARGUMENTS: st.SearchStrategy[Argument] = st.binary() | st.text() | st.integers() | st.floats(allow_nan=False)
WORDS = st.lists(st.binary(min_size=1), min_size=1, max_size=3).map(tuple)


def incr(key: bytes = b"hits", by: int = 1) -> Command[int]:
    return Command(INCRBY, (key,), (by,), integer)


FIELDS = [
    *((one, [field.name for field in fields(one)]) for one in (incr(), INCRBY)),
    *((one, [*one._fields]) for one in (SCRIPT, Wait(1))),
]


class TestCommand:
    def test_it_knows_the_words_to_send(self) -> None:
        command = Command(Op("LPUSH"), (b"jobs",), (b"a", "b", 3, 0.5), integer)
        assert command.words == command.words_in_full == ("LPUSH", b"jobs", b"a", "b", 3, 0.5)

    def test_a_script_is_sent_by_its_digest_and_whole_where_that_is_not_known(self) -> None:
        command = Command(RUN_SCRIPT, (b"a", b"b"), (5,), integer)
        digest = hashlib.sha1(SCRIPT.source.encode()).hexdigest()
        assert command.words == ("EVALSHA", digest, 2, b"a", b"b", 5)
        assert command.words_in_full == ("EVAL", SCRIPT.source, 2, b"a", b"b", 5)

    @pytest.mark.parametrize(("value", "names"), FIELDS, ids=["Command", "Op", "Script", "Wait"])
    def test_it_cannot_be_changed(self, value: object, names: list[str]) -> None:
        for name in names:
            with pytest.raises(AttributeError):
                setattr(value, name, None)
            with pytest.raises(AttributeError):
                delattr(value, name)

    @pytest.mark.parametrize(("value", "names"), FIELDS, ids=["Command", "Op", "Script", "Wait"])
    def test_it_is_small(self, value: object, names: list[str]) -> None:
        assert not hasattr(value, "__dict__")
        with pytest.raises(AttributeError):
            object.__setattr__(value, "more", 1)

    @given(WORDS, st.lists(ARGUMENTS, max_size=3).map(tuple), WORDS, st.lists(ARGUMENTS, max_size=3).map(tuple))
    def test_two_are_equal_when_they_send_the_same(
        self,
        keys: tuple[bytes, ...],
        args: tuple[Argument, ...],
        other_keys: tuple[bytes, ...],
        other_args: tuple[Argument, ...],
    ) -> None:
        command = Command(INCRBY, keys, args, integer)
        same = Command(INCRBY, keys, args, lambda _: 0)
        assert command == same
        assert hash(command) == hash(same)
        assert command != Command(Op("DECRBY", "string"), keys, args, integer)
        other = Command(INCRBY, other_keys, other_args, integer)
        assert (command == other) == ((keys, args) == (other_keys, other_args))

    def test_scripts_are_equal_by_their_source(self) -> None:
        assert Script("return 1") == Script("return 1")
        assert Script("return 1") != Script("return 2")

    def test_it_survives_pickling_inside_an_error(self) -> None:
        command = Command(RUN_SCRIPT, (b"k",), (5,), lambda _: 0)
        assert pickle.loads(pickle.dumps(command)) == command

    def test_it_is_shown_as_it_would_be_typed(self) -> None:
        assert repr(incr(by=2)) == "Command(INCRBY b'hits' 2)"
        assert repr(Command(RUN_SCRIPT, (b"k",), ("text", 0.5), integer)) == "Command(get by script b'k' 'text' 0.5)"

    @given(st.binary(max_size=500) | st.text(max_size=500) | st.integers(0, 10**300))
    def test_a_long_value_is_cut(self, value: Argument) -> None:
        shown = repr(Command(INCRBY, (b"k",), (value,), integer)).removeprefix("Command(INCRBY b'k' ").removesuffix(")")
        assert len(shown) <= 43
        assert shown == repr(value) or (shown.endswith("...") and repr(value).startswith(shown[:-3]))

    def test_reading_the_reply_gives_the_result(self) -> None:
        assert incr().read(5) == 5

    def test_bytes_that_do_not_decode_are_reported_with_the_key(self) -> None:
        def parse(reply: Reply) -> int:
            assert isinstance(reply, bytes)
            raise DecodeError(reply, "int")

        command = Command(INCRBY, (b"caf\xe9", b"other"), (), parse)
        with pytest.raises(DecodeError, match="under key") as caught:
            command.read(b"x")
        assert (caught.value.key, caught.value.raw) == ("caf\\xe9", b"x")

    def test_other_errors_of_reading_pass(self) -> None:
        with pytest.raises(ZeroDivisionError):
            Command(INCRBY, (b"k",), (), lambda _: 1 // 0).read(5)

    @pytest.mark.parametrize(
        ("last", "timeout"), [(0.5, 0.5), (7, 7.0), (0, None), ("0.25", 0.25), (b"0", None)], ids=repr
    )
    def test_a_blocking_command_tells_how_long_it_may_take(self, last: Argument, timeout: float | None) -> None:
        assert Command(Op("BRPOP", "list", blocks=True), (b"jobs",), (last,), integer).timeout == timeout

    def test_what_only_reads_can_be_repeated(self) -> None:
        assert Op("GET", reads=True).repeatable
        assert not Op("INCR").repeatable
        assert Op("SET", repeatable=True).repeatable
        assert replace(Op("GET", reads=True), name="LLEN").repeatable


@pytest.mark.parametrize(
    ("key", "shown"), [(b"hits", "hits"), ("☃".encode(), "☃"), (b"\xff\x00", "\\xff\x00"), (b"", "")]
)
def test_a_key_is_read_as_text(key: bytes, shown: str) -> None:
    assert text(key) == shown


# --- Steps


class Server:
    """Answers each command with the next of `answers`; an error among them is raised."""

    def __init__(self, *answers: object) -> None:
        self.answers = [*answers]
        self.asked: list[Command[object]] = []

    def __call__(self, command: Command[object]) -> object:
        self.asked.append(command)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def twice(by: int) -> Steps[int]:
    """Two round trips, of which the second depends on the first."""
    first = yield from incr(by=by)
    second = yield from incr(by=first)
    return first + second


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits, none of which takes any time."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


class TestRun:
    def test_each_result_is_sent_in_and_the_last_is_returned(self) -> None:
        server = Server(3, 10)
        assert run(twice(2), server) == 13
        assert server.asked == [incr(by=2), incr(by=3)]

    def test_a_command_alone_is_steps_too(self) -> None:
        assert run(iter(incr()), Server(7)) == 7

    def test_a_falsy_result_is_a_result(self) -> None:
        for answer in (0, None, b"", ()):
            assert run(iter(incr()), Server(answer)) == answer

    def test_steps_can_be_made_of_steps(self) -> None:
        def four_times() -> Steps[int]:
            first = yield from twice(1)
            second = yield from twice(first)
            return first * second

        server = Server(1, 2, 3, 4)
        assert run(four_times(), server) == 21
        assert [one.args for one in server.asked] == [(1,), (1,), (3,), (3,)]

    def test_steps_without_a_command_just_return(self) -> None:
        def nothing() -> Steps[str]:
            return "done"
            yield from incr()  # type: ignore[unreachable]  # it makes this a generator

        assert run(nothing(), Server()) == "done"

    def test_time_passes_where_they_wait(self, slept: list[float]) -> None:
        def patient() -> Steps[int]:
            yield Wait(0.5)
            found = yield from incr()
            yield Wait(0.25)
            return found

        assert run(patient(), Server(1)) == 1
        assert slept == [0.5, 0.25]

    def test_an_error_ends_them_and_reaches_the_caller(self) -> None:
        server = Server(3, ConnectionError("gone"))
        with pytest.raises(ConnectionError, match="gone"):
            run(twice(2), server)
        assert len(server.asked) == 2

    @pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), StopIteration(5)], ids=repr)
    def test_an_error_is_thrown_in_so_that_they_clean_up(self, error: BaseException) -> None:
        """The commands of a `finally` are carried out, too."""

        def clean() -> Steps[int]:
            try:
                return (yield from incr(by=1))
            finally:
                yield from incr(by=-1)

        server = Server(error, 0)
        # A generator cannot let a StopIteration pass.
        with pytest.raises(RuntimeError if isinstance(error, StopIteration) else type(error)) as caught:
            run(clean(), server)
        assert server.asked == [incr(by=1), incr(by=-1)]
        assert error in (caught.value, caught.value.__cause__)

    def test_they_may_catch_it_and_go_on(self) -> None:
        def again() -> Steps[int]:
            while True:
                try:
                    return (yield from incr())
                except ConnectionError:
                    yield Wait(0)

        assert run(again(), Server(ConnectionError(), ConnectionError(), 5)) == 5

    def test_an_error_in_cleaning_up_comes_after_the_first(self) -> None:
        def clean() -> Steps[int]:
            try:
                return (yield from incr(by=1))
            finally:
                yield from incr(by=-1)

        first, second = ConnectionError("first"), ValueError("second")
        with pytest.raises(ValueError, match="second") as caught:
            run(clean(), Server(first, second))
        assert caught.value.__context__ is first

    def test_an_error_of_their_own_reaches_the_caller(self) -> None:
        def broken() -> Steps[int]:
            yield from incr()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            run(broken(), Server(1))

    def test_an_interrupted_wait_is_thrown_in_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(seconds: float) -> None:
            raise KeyboardInterrupt

        def patient() -> Steps[None]:
            try:
                yield Wait(60)
            finally:
                yield from incr(by=-1)

        monkeypatch.setattr(time, "sleep", interrupt)
        server = Server(0)
        with pytest.raises(KeyboardInterrupt):
            run(patient(), server)
        assert server.asked == [incr(by=-1)]

    def test_they_are_finished_when_the_driver_returns(self) -> None:
        steps: list[Generator[object, object, int]] = []

        def kept(execute: Callable[[Command[object]], object]) -> int:
            made = twice(1)
            steps.append(made)
            return run(made, execute)

        kept(Server(1, 1))
        with pytest.raises(StopIteration):
            next(steps[0])


@given(st.binary(min_size=1, max_size=12) | st.text("ab{}\n", min_size=1, max_size=8).map(str.encode))
def test_what_stands_beside_a_key_is_in_its_slot(key: bytes) -> None:
    """Slots as redis-py counts them, and hash tags as the server finds them."""
    for prefix in (b"", b"app:", b"a{", b"{}", b"a}"):
        assert key_slot(beside(prefix, prefix + key) + b":more") == key_slot(prefix + key)
