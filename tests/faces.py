"""The faces under asyncio behind the names of the synchronous ones, so that what is promised of both is written once.

Each structure has a stand-in: a subclass of it, whose methods are those of the face under asyncio, carried out in an
event loop that runs in another thread. `Stack[str]`, ``class Jobs(Queue[Event])`` and `Queue.of` work on it, and make
the class of the face under asyncio as they make that of the stand-in. What Python cannot await goes by its name there:

    len(jobs), "x" in tags, stock["x"], with lock    size(), contains("x"), get("x"), async with lock
    tags |= {"x"}, for job in jobs                   update({"x"}), async for job in jobs

What has no counterpart there (the comparison of sets, the views of a mapping) is made of what has one.

A stand-in takes a :class:`Bridge`, or another backend over one, as those of tests.watching: its face then runs over
that one, in threads.
"""

from __future__ import annotations

import asyncio
import threading
import types
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    ItemsView,
    Iterator,
    KeysView,
    Sequence,
    ValuesView,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from inspect import iscoroutinefunction
from queue import SimpleQueue
from types import TracebackType
from typing import Any, ClassVar, Final, NoReturn, Self, TypeVar, cast, get_args, get_origin

import pytest

import redisext
from redisext import Backend, EncodeError, element, hashmap
from redisext.backend.abc import AsyncBackend, AsyncExecutor, AsyncSession, Executor, Session
from redisext.batch import AsyncBatches, Batches, Pending
from redisext.command import Command
from redisext.model import AsyncModel, Model

R = TypeVar("R")

LONGEST = 120
"""How long (seconds) anything may take before its test fails."""


class Loop:
    """An event loop in a thread of its own, which others ask to carry something out."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(64))
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="the tests' event loop", daemon=True)
        self._thread.start()

    @property
    def may_call_back(self) -> bool:
        """Whether what is carried out may call a function that asks for more."""
        return True

    def run(self, call: Callable[[], Awaitable[R]]) -> R:
        """What comes of *call*, made and awaited in the loop."""
        assert threading.current_thread() is not self._thread, "the loop would wait for itself"
        outcome: SimpleQueue[tuple[R | None, BaseException | None]] = SimpleQueue()

        async def carry_out() -> None:
            try:
                result = await call()
            except BaseException as error:  # noqa: BLE001  # whoever asked for the result gets it, and not the loop
                outcome.put((None, error))
            else:
                outcome.put((result, None))

        self._loop.call_soon_threadsafe(self._begin, carry_out)
        result, error = outcome.get(timeout=LONGEST)
        if error is not None:
            try:
                raise error
            finally:
                del error  # it holds this frame
        return cast("R", result)

    def close(self) -> None:
        """Stop what is still under way, and end the loop."""

        async def end() -> None:
            for task in self._tasks - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)
            await self._loop.shutdown_asyncgens()
            await self._loop.shutdown_default_executor()

        self.run(end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _begin(self, carry_out: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._loop.create_task(carry_out())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class LoopInThisThread(Loop):
    """One that runs in the only thread that asks it anything, while it is asked: nothing is handed to and fro."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()

    @property
    def may_call_back(self) -> bool:
        return False

    def run(self, call: Callable[[], Awaitable[R]]) -> R:
        async def carry_out() -> R:
            async with asyncio.timeout(LONGEST):
                return await call()

        # Not `Runner.run`, which prepares for Ctrl-C anew each time.
        return self._loop.run_until_complete(carry_out())

    def close(self) -> None:
        self._runner.close()


class Bridge(Batches):
    """A synchronous backend: whatever it is asked, a backend under asyncio does in its loop."""

    def __init__(self, loop: Loop, under_asyncio: AsyncBackend) -> None:
        self.loop = loop
        self.under_asyncio = under_asyncio

    @property
    def prefix(self) -> str:
        return self.under_asyncio.prefix

    @property
    def location(self) -> str:
        return self.under_asyncio.location

    @property
    def deadline(self) -> float | None:
        return self.under_asyncio.deadline

    @property
    def primary(self) -> Bridge:
        return Bridge(self.loop, self.under_asyncio.primary)

    def steady(self) -> Executor:
        return _BridgeExecutor(self.loop, self.under_asyncio.steady())

    def execute(self, command: Command[R]) -> R:
        return self.loop.run(partial(self.under_asyncio.execute, command))

    def execute_many(self, pending: Sequence[Pending[object]]) -> None:
        self.loop.run(partial(self.under_asyncio.execute_many, pending))

    def commit(self, pending: Sequence[Pending[object]]) -> None:
        self.loop.run(partial(self.under_asyncio.commit, pending))

    @contextmanager
    def session(self, watch: Sequence[bytes] = ()) -> Generator[Session]:
        session = self.under_asyncio.session(watch)
        entered = self.loop.run(session.__aenter__)
        try:
            yield _BridgeSession(self.loop, entered)
        finally:
            self.loop.run(partial(session.__aexit__, None, None, None))

    def close(self) -> None:
        self.loop.run(self.under_asyncio.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self.under_asyncio)


class _BridgeExecutor:
    def __init__(self, loop: Loop, executor: AsyncExecutor) -> None:
        self._loop = loop
        self._executor = executor

    def execute(self, command: Command[R]) -> R:
        return self._loop.run(partial(self._executor.execute, command))


class _BridgeSession:
    def __init__(self, loop: Loop, session: AsyncSession) -> None:
        self._loop = loop
        self._session = session

    def execute(self, command: Command[R]) -> R:
        return self._loop.run(partial(self._session.execute, command))

    def commit(self, pending: Sequence[Pending[object]]) -> bool:
        return self._loop.run(partial(self._session.commit, pending))


class InThreads(AsyncBatches):
    """A backend under asyncio: whatever it is asked, a synchronous one does in a thread."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    @property
    def prefix(self) -> str:
        return self.backend.prefix

    @property
    def location(self) -> str:
        return self.backend.location

    @property
    def primary(self) -> InThreads:
        return InThreads(self.backend.primary)

    async def execute(self, command: Command[R]) -> R:
        return await asyncio.to_thread(self.backend.execute, command)

    async def execute_many(self, pending: Sequence[Pending[object]]) -> None:
        await asyncio.to_thread(self.backend.execute_many, pending)

    @asynccontextmanager
    async def session(self, watch: Sequence[bytes] = ()) -> AsyncGenerator[AsyncSession]:
        session = self.backend.session(watch)
        entered = await asyncio.to_thread(session.__enter__)
        try:
            yield _SessionInThreads(entered)
        finally:
            await asyncio.to_thread(session.__exit__, None, None, None)

    async def aclose(self) -> None:
        await asyncio.to_thread(self.backend.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        await self.aclose()


class _SessionInThreads:
    def __init__(self, session: Session) -> None:
        self._session = session

    async def execute(self, command: Command[R]) -> R:
        return await asyncio.to_thread(self._session.execute, command)

    async def commit(self, pending: Sequence[Pending[object]]) -> bool:
        return await asyncio.to_thread(self._session.commit, pending)


class _HoldingTheLoop(InThreads):
    """The same in a loop where nobody else is."""

    async def execute(self, command: Command[R]) -> R:
        return self.backend.execute(command)


# --- The stand-ins. What they are subclasses of, and so what types their methods have, is known at run time only.

FACES: Final[dict[type[Model[Any]], type[AsyncModel[Any]]]] = {
    Model: AsyncModel,
    redisext.Counter: redisext.AsyncCounter,
    redisext.HashMap: redisext.AsyncHashMap,
    redisext.Lock: redisext.AsyncLock,
    redisext.Map: redisext.AsyncMap,
    redisext.Pool: redisext.AsyncPool,
    redisext.PriorityQueue: redisext.AsyncPriorityQueue,
    redisext.Queue: redisext.AsyncQueue,
    redisext.SortedSet: redisext.AsyncSortedSet,
    redisext.Stack: redisext.AsyncStack,
}

_SETTINGS: Final = ("KEY", "CONNECTION", "CONNECTION_REUSE", "SERIALIZER", "EXPIRE", "__module__", "__qualname__")


class StandIn:
    """The base of all stand-ins, before the structure itself."""

    _loop: ClassVar[Loop]
    _face_class: ClassVar[Any]

    def __init__(self, key: str | bytes | int | None = None, connection: object = None) -> None:
        # Before the structure's own, so that it is the face under asyncio that refuses what is wrong.
        self._face: Any = self._face_class(key, _under_asyncio(connection))
        structure: Any = super()
        structure.__init__(key, connection)

    def __init_subclass__(cls) -> None:
        kind: type = cls
        if issubclass(kind, Model) and "_face_class" not in vars(cls):
            cls._face_class = _class_under_asyncio(cls)
        super().__init_subclass__()

    @property
    def key(self) -> object:
        return self._face.key

    @property
    def commands(self) -> object:
        return self._face.commands

    def awaited(self, name: str, /, *args: object, **kwargs: object) -> Any:
        """What the face's method gives."""
        args = tuple(map(_fetched, args))
        return self._loop.run(partial(getattr(self._face, name), *args, **kwargs))

    def updated(self, name: str, *args: object) -> Any:
        """The same where it calls a function of the test's: in this thread, so that this may use stand-ins too."""
        if not self._loop.may_call_back:
            return self.awaited(name, *args)
        backend: Backend = cast("Any", self).backend
        return asyncio.run(getattr(self._face_class(self.key, _HoldingTheLoop(backend)), name)(*args))

    def iterated(self, iterate: Callable[[Any], AsyncIterator[Any]]) -> Iterator[Any]:
        """What *iterate* makes of the face, one by one."""
        iterator = iterate(self._face)
        while True:
            try:
                one = self._loop.run(partial(anext, iterator))
            except StopAsyncIteration:
                return
            yield one

    def _holds(self, contains: object, value: object) -> bool:
        try:
            return bool(self.awaited("contains", value))
        except EncodeError:
            return False


class HashMapStandIn(StandIn):
    """What `HashMap` has besides its methods."""

    def __getitem__(self, key: object) -> object:
        value = self.awaited("get", key, _MISSING)
        if value is _MISSING:
            raise KeyError(key)
        return value

    def __setitem__(self, key: object, value: object) -> None:
        self.awaited("update", [(key, value)])

    def update_value(self, key: object, fn: object) -> object:
        return self.updated("update_value", key, fn)

    def pairs(self) -> Iterator[Any]:
        return self.iterated(lambda face: face.pairs())

    def keys(self) -> KeysView[Any]:
        return _Keys(cast("Any", self))

    def values(self) -> ValuesView[Any]:
        return _Values(cast("Any", self))

    def items(self) -> ItemsView[Any, Any]:
        return _Items(cast("Any", self))


_MISSING: Final = object()


class _Keys(KeysView[Any]):
    _mapping: Any

    def __iter__(self) -> Iterator[Any]:
        return iterated(self._mapping, lambda face: face.keys())


class _Values(hashmap._Values[Any]):  # pyright: ignore[reportPrivateUsage]
    _mapping: Any

    def __iter__(self) -> Iterator[Any]:
        return iterated(self._mapping, lambda face: face.values())


class _Items(hashmap._Items[Any, Any]):  # pyright: ignore[reportPrivateUsage]
    _mapping: Any

    def __iter__(self) -> Iterator[Any]:
        return iterated(self._mapping, lambda face: face.items())


def iterated(mapping: HashMapStandIn, iterate: Callable[[Any], AsyncIterator[Any]]) -> Iterator[Any]:
    return mapping.iterated(iterate)


class MapStandIn(StandIn):
    """What `Map` has besides its methods."""

    def update(self, fn: object) -> object:
        return self.updated("update", fn)


class LockStandIn(StandIn):
    """What `Lock` has besides its methods."""

    @property
    def token(self) -> object:
        return self._face.token

    def __enter__(self) -> Self:
        self.awaited("__aenter__")
        return self

    def __exit__(self, *raised: object) -> None:
        self.awaited("__aexit__", *raised)


_BASES: Final[dict[object, type[StandIn]]] = {
    redisext.HashMap: HashMapStandIn,
    redisext.Lock: LockStandIn,
    redisext.Map: MapStandIn,
}


def stand_ins(loop: Loop) -> dict[object, type]:
    """For each structure what stands in for it: its face under asyncio, in *loop*."""
    return {structure: _stand_in(structure, face, loop) for structure, face in FACES.items()}


def _stand_in(structure: Any, face: type[AsyncModel[Any]], loop: Loop) -> type:
    base = _BASES.get(structure, StandIn)
    body: dict[str, object] = {
        "__module__": structure.__module__,
        "__qualname__": structure.__qualname__,
        "_loop": loop,
        "_face_class": face,
    }
    for name in dir(face):
        if iscoroutinefunction(getattr(face, name)) and not name.startswith("_") and name not in vars(base):
            body[name] = _awaits(name)
    if hasattr(face, "__aiter__"):
        body["__iter__"] = _iterates
    generic = structure[structure.__parameters__] if structure.__parameters__ else structure
    return types.new_class(structure.__name__, (base, generic), exec_body=lambda namespace: namespace.update(body))


def _awaits(name: str) -> object:
    def method(self: StandIn, /, *args: object, **kwargs: object) -> object:
        return self.awaited(name, *args, **kwargs)

    return method


def _iterates(self: StandIn) -> Iterator[Any]:
    return self.iterated(aiter)


def _class_under_asyncio(cls: type) -> object:
    """The class that a statement, or a subscription, would have made of the face under asyncio."""
    bases = tuple(map(_counterpart, vars(cls).get("__orig_bases__", cls.__bases__)))
    if element.subscripted(cls):
        return bases[0]
    body = {name: value for name, value in vars(cls).items() if name in _SETTINGS}
    return types.new_class(cls.__name__, bases, exec_body=lambda namespace: namespace.update(body))


def _counterpart(base: object) -> object:
    origin: object = get_origin(base)
    if _is_stand_in(origin):
        generic: Any = _counterpart(origin)
        return cast("object", generic[get_args(base)])
    return vars(base)["_face_class"] if _is_stand_in(base) else base


def _is_stand_in(base: object) -> bool:
    return isinstance(base, type) and issubclass(base, StandIn)


def _under_asyncio(connection: object) -> object:
    if isinstance(connection, Bridge):
        return connection.under_asyncio
    if isinstance(connection, Backend) and not isinstance(connection, type):
        return InThreads(connection)
    return connection


def _fetched(value: object) -> object:
    """What a stand-in holds: in the loop, where the face's method looks at it, it could not be asked."""
    if isinstance(value, HashMapStandIn):
        return value.awaited("all")
    if isinstance(value, StandIn):
        return value.awaited("members")
    return value


def replace(monkeypatch: pytest.MonkeyPatch, module: types.ModuleType, replacements: dict[object, type]) -> None:
    """For one test, have all structures that *module* names be stood in for, and none used in itself."""
    for name, value in list(vars(module).items()):
        if isinstance(value, type) and value in replacements:
            monkeypatch.setattr(module, name, replacements[value])
    for name in ("_run", "_run_steps"):
        monkeypatch.setattr(Model, name, _refuse)


def _refuse(self: object, what: object) -> NoReturn:
    raise AssertionError(f"{self!r} is the synchronous face: this test is about the one under asyncio")
