"""What stands in for the structures in the tests of the faces under asyncio does nothing without these."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction, signature
from typing import Any

import pytest

import redisext
from redisext import Queue, serializer
from redisext.backend.abc import Backend
from redisext.model import Model
from tests.elements import Event
from tests.faces import FACES, Bridge, Loop
from tests.watching import Watched

structures = pytest.mark.parametrize("structure", FACES, ids=lambda structure: str(structure.__name__))


class Broken(Exception):
    """Raised by a face's method in place of what it does."""


@pytest.fixture
def bridge(loop: Loop) -> Bridge:
    return Bridge(loop, redisext.aconnect("memory://test-faces"))


@structures
@pytest.mark.parametrize("watched", [False, True], ids=["alone", "behind another backend"])
def test_each_method_is_that_of_the_face_under_asyncio(
    monkeypatch: pytest.MonkeyPatch,
    stand_ins: dict[object, type],
    bridge: Bridge,
    structure: type[Model[Any]],
    *,
    watched: bool,
) -> None:
    face = FACES[structure]
    assert issubclass(stand_ins[structure], structure)
    model: Any = stand_ins[structure]("key", Watched(bridge) if watched else bridge)
    names = {name for name in dir(face) if not name.startswith("_") and iscoroutinefunction(getattr(face, name))}
    assert {"expire", "ttl", "persist", "rename", "exists"} <= names
    for name in names:
        monkeypatch.setattr(face, name, broken)
        needed = [one for one in signature(getattr(structure, name)).parameters.values() if one.default is one.empty]
        with pytest.raises(Broken):
            getattr(model, name)(*(None for _ in needed[1:]))


async def broken(*args: object, **kwargs: object) -> None:
    raise Broken


# What Python has signs for, and the method that does it under asyncio.
SIGNS: tuple[tuple[type[Model[Any]], str, Callable[[Any], object]], ...] = (
    (redisext.HashMap, "size", len),
    (redisext.HashMap, "contains", lambda model: "a" in model),
    (redisext.HashMap, "get", lambda model: model["a"]),
    (redisext.HashMap, "update", lambda model: model.__setitem__("a", 1)),
    (redisext.HashMap, "remove", lambda model: model.__delitem__("a")),
    (redisext.HashMap, "all", lambda model: model | {}),
    (redisext.HashMap, "__aiter__", list),
    (redisext.HashMap, "pairs", lambda model: list(model.pairs())),
    (redisext.HashMap, "keys", lambda model: list(model.keys())),
    (redisext.HashMap, "values", lambda model: list(model.values())),
    (redisext.HashMap, "items", lambda model: list(model.items())),
    (redisext.Lock, "__aenter__", lambda model: model.__enter__()),
    (redisext.Lock, "__aexit__", lambda model: model.__exit__(None, None, None)),
    (redisext.Pool, "update", lambda model: model.__ior__({"a"})),
    (redisext.Pool, "difference_update", lambda model: model.__isub__({"a"})),
    (redisext.Pool, "intersection_update", lambda model: model.__iand__({"a"})),
    (redisext.Pool, "symmetric_difference_update", lambda model: model.__ixor__({"a"})),
    (redisext.Pool, "members", lambda model: model == {"a"}),
    (redisext.Pool, "contains", lambda model: "a" in model),
    (redisext.Pool, "__aiter__", list),
    (redisext.PriorityQueue, "contains", lambda model: "a" in model),
    (redisext.Queue, "size", len),
    (redisext.Queue, "__aiter__", list),
    (redisext.SortedSet, "contains", lambda model: "a" in model),
    (redisext.SortedSet, "__aiter__", list),
    (redisext.Stack, "__aiter__", list),
)


@pytest.mark.parametrize(("structure", "name", "use"), SIGNS, ids=[f"{one.__name__} {name}" for one, name, _ in SIGNS])
def test_what_python_has_signs_for_is_done_by_the_method_of_that_name(
    monkeypatch: pytest.MonkeyPatch,
    stand_ins: dict[object, type],
    bridge: Bridge,
    structure: type[Model[Any]],
    name: str,
    use: Callable[[Any], object],
) -> None:
    model = stand_ins[structure]("key", bridge)
    with monkeypatch.context() as patch:
        coroutine = iscoroutinefunction(getattr(FACES[structure], name))
        patch.setattr(FACES[structure], name, broken if coroutine else broken_at_once)
        with pytest.raises(Broken):
            use(model)


def broken_at_once(self: object) -> None:
    raise Broken


def test_what_is_said_of_a_class_is_said_of_the_face_too(stand_ins: dict[object, type], bridge: Bridge) -> None:
    stand_in: Any = stand_ins[Queue]

    class Jobs(stand_in[Event]):  # type: ignore[misc]
        KEY = "jobs"
        EXPIRE = 5
        SERIALIZER = serializer.JSON

    face: Any = Jobs(connection=bridge)._face
    assert issubclass(type(face), redisext.AsyncQueue.of(Event))
    assert (face.key, face.EXPIRE, face.SERIALIZER) == ("jobs", 5, serializer.JSON)
    assert type(face).__name__ == "Jobs"


def test_the_synchronous_face_is_refused_where_its_stand_in_is_wanted(db: Backend) -> None:
    queue = redisext.Queue[int]("jobs", db)  # by another name than those of this module
    if isinstance(db, Bridge):
        assert Queue is not redisext.Queue
        with pytest.raises(AssertionError, match="the synchronous face"):
            queue.push(1)
    else:
        assert Queue is redisext.Queue
        assert queue.push(1) == 1
