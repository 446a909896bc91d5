"""The two faces of a structure, `Queue` and `AsyncQueue`, are one: what is said of the one holds for the other.

What they may differ in stands in the tables at the head; all else must be the same, word for word.
"""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias, get_overloads

import pytest

import redisext
from redisext.lists import AsyncListModel, ListModel
from redisext.lock import AsyncLock, Lock
from redisext.model import AsyncModel, Model

STRUCTURES: Final = ("Counter", "HashMap", "Lock", "Map", "Pool", "PriorityQueue", "Queue", "SortedSet", "Stack")

TRANSLATIONS: Final = (
    *((rf"\b{name}\[", f"Async{name}[") for name in STRUCTURES),
    (r"\bIterator\[", "AsyncIterator["),
    (r"\bKeysView\[(\w+)\]", r"AsyncIterator[\1]"),
    (r"\bValuesView\[(\w+)\]", r"AsyncIterator[\1]"),
    (r"\bItemsView\[(\w+, \w+)\]", r"AsyncIterator[tuple[\1]]"),
    (r"\bConnectionSource\b", "AsyncConnectionSource"),
    (r"\bbackends\.Backend\b", "backends.AsyncBackend"),
    (r"\bredis\.Redis\b", "redis.asyncio.Redis"),
)
"""What an annotation reads under asyncio, where it does not read the same."""

AWAITABLE: Final = {"__iter__": "__aiter__", "__enter__": "__aenter__", "__exit__": "__aexit__"}
"""Python's own protocols that have a name of their own under asyncio."""

NAMED: Final = {
    "__len__": "size",
    "__contains__": "contains",
    "__getitem__": "get",
    "__setitem__": "set",
    "__delitem__": "remove",
    "__ior__": "update",
    "__isub__": "difference_update",
    "__iand__": "intersection_update",
    "__ixor__": "symmetric_difference_update",
}
"""Python's protocols that cannot be awaited, and the methods that do the same on both faces."""

NOT_AWAITED: Final = {"__init__", "of", "connect_to_master", "connect_to_slave"}
"""Besides properties and what is iterated: what does no I/O."""

OWN_DOCSTRING: Final = {"backend"}
"""What has more to tell under asyncio: each event loop has a backend of its own."""

Function: TypeAlias = Callable[..., Any]
Parameter: TypeAlias = tuple[str, str, object, str]


class Faces(NamedTuple):
    """The same class twice: as it is, and under asyncio."""

    sync: type[Model]
    under_asyncio: type[AsyncModel]


PUBLIC: Final = [Faces(getattr(redisext, name), getattr(redisext, f"Async{name}")) for name in STRUCTURES]
BASES: Final = [Faces(Model, AsyncModel), Faces(ListModel, AsyncListModel)]

structures: Final = pytest.mark.parametrize("faces", PUBLIC, ids=lambda faces: faces.sync.__name__)
classes: Final = pytest.mark.parametrize("faces", [*BASES, *PUBLIC], ids=lambda faces: faces.sync.__name__)


def test_every_structure_has_two_faces_and_is_compared() -> None:
    public = [getattr(redisext, name) for name in redisext.__all__]
    models = {one.__name__ for one in public if isinstance(one, type) and issubclass(one, (Model, AsyncModel))}
    assert models == {*STRUCTURES, *(f"Async{name}" for name in STRUCTURES)}


@structures
def test_both_have_the_same_names(faces: Faces) -> None:
    assert public_names(faces.under_asyncio) == public_names(faces.sync)


@classes
def test_each_class_body_has_the_same_methods_in_the_same_order(faces: Faces) -> None:
    written = [AWAITABLE.get(name, name) for name in vars(faces.sync)]
    compared = {*public_names(faces.sync), *AWAITABLE.values()}
    assert [name for name in vars(faces.under_asyncio) if name in compared] == [
        name for name in written if name in compared
    ]


@structures
def test_both_describe_the_same_commands_for_the_same_types(faces: Faces) -> None:
    said = [[vars(face).get(name) for name in ("__parameters__", "_positions", "_describes")] for face in faces]
    assert said[1] == said[0]
    assert said[0][2] is not None


@structures
def test_the_parameters_are_the_same(faces: Faces) -> None:
    for name, one, other in functions(faces):
        assert parameters(other) == [translated(parameter) for parameter in parameters(one)], name


@structures
def test_the_results_are_the_same_once_they_are_awaited(faces: Faces) -> None:
    for name, one, other in functions(faces):
        assert returned(other) == translation(returned(one)), name


@structures
def test_the_overloads_are_the_same(faces: Faces) -> None:
    for name, one, other in functions(faces):
        there = [(parameters(overload), returned(overload)) for overload in get_overloads(other)]
        assert there == [
            ([translated(parameter) for parameter in parameters(overload)], translation(returned(overload)))
            for overload in get_overloads(one)
        ], name


@structures
def test_the_docstrings_are_the_same(faces: Faces) -> None:
    for name, one, other in functions(faces):
        assert prose(other) == translation(prose(one)) or name in OWN_DOCSTRING, name


@classes
def test_what_a_class_may_say_of_itself_is_the_same(faces: Faces) -> None:
    said = [inspect.get_annotations(face) for face in faces]
    here, there = ({name: text for name, text in one.items() if not name.startswith("_")} for one in said)
    assert there == {name: translation(text) for name, text in here.items()}


@structures
def test_all_that_does_io_is_awaited_or_iterated(faces: Faces) -> None:
    for name, _, other in functions(faces):
        awaited = not (
            name in NOT_AWAITED
            or isinstance(inspect.getattr_static(faces.under_asyncio, name), property)
            or returned(other).startswith("AsyncIterator[")
        )
        assert all(inspect.iscoroutinefunction(one) is awaited for one in (other, *get_overloads(other))), name


@structures
def test_what_python_cannot_await_has_a_name_on_both_faces(faces: Faces) -> None:
    for protocol, name in NAMED.items():
        assert getattr(faces.under_asyncio, protocol, None) is None
        if getattr(faces.sync, protocol, None) is not None:
            assert callable(getattr(faces.sync, name, None)), name


@structures
@pytest.mark.parametrize("wrong", ["len(model)", "iter(model)", "list(model)", "'x' in model", "model['x']"])
def test_what_python_cannot_await_is_an_error_at_once(faces: Faces, wrong: str) -> None:
    model = faces.under_asyncio("key", "memory://")
    with pytest.raises(TypeError):
        eval(wrong, {"model": model})


def test_a_difference_is_found() -> None:
    """Lest the comparison compare nothing."""
    assert {"acquire", "release", "token", "expire", "__init__", "__aenter__"} <= {
        name for name, *_ in functions(Faces(Lock, AsyncLock))
    }

    class Here(Model):
        def size(self, limit: int = 0, *, key: Iterator[int]) -> int:
            """How many.

            >>> 1 + 1
            2
            """
            raise NotImplementedError

    class There(AsyncModel):
        async def size(self, limit: int = 1, *, key: Iterator[int]) -> float:
            """How few."""
            raise NotImplementedError

    faces = Faces(Here, There)
    for test in (
        test_the_parameters_are_the_same,
        test_the_results_are_the_same_once_they_are_awaited,
        test_the_docstrings_are_the_same,
    ):
        with pytest.raises(AssertionError, match="size"):
            test(faces)
    assert prose(Here.size) == "How many."


def public_names(face: type) -> set[str]:
    return {name for name in dir(face) if not name.startswith("_")}


def functions(faces: Faces) -> Iterator[tuple[str, Function, Function]]:
    """The functions that both faces have, by their name under asyncio."""
    names = {name: name for name in sorted(public_names(faces.sync))} | {"__init__": "__init__"} | AWAITABLE
    for here, there in names.items():
        one, other = (
            function(inspect.getattr_static(face, name, None)) for face, name in zip(faces, (here, there), strict=True)
        )
        assert (one is None) is (other is None), there
        if one is not None and other is not None:
            yield there, one, other


def function(member: object) -> Function | None:
    member = getattr(member, "__func__", member)  # of a class method
    if isinstance(member, property):
        return member.fget
    return member if inspect.isfunction(member) else None


def parameters(one: Function) -> list[Parameter]:
    found: Iterable[inspect.Parameter] = inspect.signature(one).parameters.values()
    return [(each.name, each.kind.description, each.default, str(each.annotation)) for each in found]


def translated(parameter: Parameter) -> Parameter:
    name, kind, default, annotation = parameter
    return name, kind, default, translation(annotation)


def returned(one: Function) -> str:
    return str(inspect.signature(one).return_annotation)


def translation(text: str) -> str:
    for sync, under_asyncio in TRANSLATIONS:
        text = re.sub(sync, under_asyncio, text)
    return text


def prose(one: Function) -> str:
    """The docstring without its examples."""
    parts = doctest.DocTestParser().parse(inspect.getdoc(one) or "")
    return " ".join(" ".join(part for part in parts if isinstance(part, str)).split())
