"""The element type at run time: `Queue[Event]` is a class, wherever and however `Event` is written."""

from __future__ import annotations

import copy
import gc
import sys
import types
import typing
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import pytest
import typing_extensions
from pydantic import BaseModel, Field, SecretStr

from redisext import serializer
from redisext.codec import Codec, type_name
from redisext.counter import Counter
from redisext.errors import ConfigurationError, EncodeError
from redisext.hashmap import HashMap, Map
from redisext.model import Model
from redisext.pool import Pool, SortedSet
from redisext.queue import PriorityQueue, Queue
from redisext.serializer import Serializer
from redisext.stack import Stack
from tests.elements import Event

STORE = "memory://test-element"

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


def untyped(cls: object) -> Any:
    """A class whose type arguments no checker looks at."""
    return cls


def elements(cls: Any) -> tuple[str, ...]:
    """The names of a class's element types, of which a model is made first."""
    model: Model[Any] = cls("key", STORE)
    made: tuple[Codec[object], ...] = type(model)._made_codecs  # pyright: ignore[reportPrivateUsage]
    return tuple(codec.element for codec in made)


# --- Given at once


class Jobs(Queue[T]):
    """Generic, and of this module."""


class Batches(Jobs[list[T]]):
    pass


class Swapped(HashMap[V, K], Generic[K, V]):
    """Its variables are not in the order of its base's."""


class ByName(HashMap[str, V]):
    """One of the variables has its type already."""


class ListsByName(ByName[list[V]]):
    pass


class EventJobs(Queue[Event]):
    KEY = "events"


class Aside:
    pass


class Mixed(Aside, EventJobs):
    pass


class Raw(Queue):
    """Without a type, as in redisext 2.0.2."""


class TestGiven:
    @pytest.mark.parametrize(
        ("cls", "names"),
        [
            (Queue[Event], ("Event",)),
            (Queue[int | None], ("int | None",)),
            (Stack[dict[str, int]], ("dict[str, int]",)),
            (HashMap[str, Event], ("str", "Event")),
            (Queue[Annotated[int, Field(ge=0)]], ("Annotated[int, Ge(ge=0)]",)),
            (Queue[Literal["on", "off"]], ("Literal['on', 'off']",)),
            (Queue[None], ("None",)),
            (EventJobs, ("Event",)),
            (Mixed, ("Event",)),
            (Jobs[Event], ("Event",)),
            (Batches[int], ("list[int]",)),
            (Swapped[int, str], ("str", "int")),
            (ByName[int], ("str", "int")),
            (ListsByName[int], ("str", "list[int]")),
            (Counter[int], ("int",)),
            (Counter[float], ("float",)),
            (Counter, ("int",)),
            (Queue, ("bytes",)),
            (Raw, ("bytes",)),
            (HashMap, ("bytes", "bytes")),
        ],
        ids=lambda one: type_name(one) if isinstance(one, type) else "",
    )
    def test_it_is_known(self, cls: object, names: tuple[str, ...]) -> None:
        assert elements(cls) == names

    def test_it_decides_what_is_taken_and_given(self) -> None:
        jobs = Queue[Event]("jobs", STORE)
        jobs.push(Event(name="signup"))
        assert jobs.pop() == Event(name="signup")
        other: Any = 5
        with pytest.raises(EncodeError):
            jobs.push(other)

    def test_a_local_class_serves(self) -> None:
        class Local(BaseModel):
            name: str

        class LocalJobs(Queue[Local]):
            pass

        for jobs in (Queue[Local]("local", STORE), LocalJobs("local", STORE)):
            jobs.push(Local(name="a"))
            assert jobs.pop() == Local(name="a")

    def test_conditions_are_checked(self) -> None:
        numbers = Queue[Annotated[int, Field(ge=0)]]("numbers", STORE)
        numbers.push(0)
        with pytest.raises(EncodeError, match="does not meet the type's conditions"):
            numbers.push(-1)

    def test_a_subclass_of_a_class_that_has_its_type_keeps_it(self) -> None:
        class Urgent(EventJobs):
            pass

        class More(Urgent, Generic[T]):
            """Its variable is for something else."""

        assert elements(Urgent) == elements(More[int]) == ("Event",)

    def test_the_innermost_generic_class_can_name_the_variables_otherwise(self) -> None:
        class Rows(HashMap[K, list[V]]):
            pass

        class Columns(Rows[V, K]):
            pass

        assert elements(Columns[int, str]) == ("int", "list[str]")

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="class Jobs[T] is Python 3.12's")
    def test_type_parameters_in_python_3_12s_own_syntax(self) -> None:
        namespace: dict[str, Any] = {"Queue": Queue, "HashMap": HashMap, "__name__": __name__}
        exec("class New[T](Queue[list[T]]): ...\nclass Two[K, V](HashMap[V, K]): ...", namespace)
        assert elements(namespace["New"][int]) == ("list[int]",)
        assert elements(namespace["Two"][int, str]) == ("str", "int")
        with pytest.raises(ConfigurationError, match="New leaves its type variable T open"):
            namespace["New"]("key", STORE)

    def test_a_variables_default_is_taken_where_nothing_is_given(self) -> None:
        D = typing_extensions.TypeVar("D", default=int)

        class Numbers(Queue[list[D]]):
            pass

        assert elements(Numbers) == ("list[int]",)
        assert elements(Numbers[str]) == ("list[str]",)


class TestClass:
    def test_it_is_one_class_for_one_type(self) -> None:
        assert Queue[Event] is Queue[Event]
        assert Queue[list[int]] is Queue[list[int]]
        assert untyped(Queue[Event]) is not Queue[int]
        assert Jobs[Event] is not Queue[Event]

    def test_it_is_told_by_isinstance_and_issubclass(self) -> None:
        jobs, event_queue, int_queue = Queue[Event]("jobs", STORE), untyped(Queue[Event]), untyped(Queue[int])
        assert isinstance(jobs, Queue)
        assert isinstance(jobs, event_queue)
        assert not isinstance(jobs, int_queue)
        assert isinstance(EventJobs(connection=STORE), event_queue)
        assert issubclass(Jobs[Event], Jobs)
        assert not issubclass(Jobs[Event], event_queue)

    def test_it_shows_its_type(self) -> None:
        assert repr(Queue[Event]) == "<class 'redisext.queue.Queue[Event]'>"
        assert repr(HashMap[str, int | None]) == "<class 'redisext.hashmap.HashMap[str, int | None]'>"
        assert repr(Queue[Event]("jobs", STORE)).startswith("Queue[Event]('jobs', ")
        assert repr(Jobs[int]) == f"<class '{__name__}.Jobs[int]'>"
        assert Queue[Event].__doc__ == Queue.__doc__

    def test_the_order_of_a_union_tells_two_apart(self) -> None:
        """They are read in that order, although Python calls them equal."""
        first, second = Queue[int | str], Queue[str | int]
        assert first is not second
        assert (elements(first), elements(second)) == (("int | str",), ("str | int",))
        assert Queue[int | str] is first
        assert Queue[str | int] is second

    def test_it_is_collected_when_nobody_uses_it(self) -> None:
        used: list[weakref.ref[Any]] = [
            weakref.ref(Queue[list[list[int]]]),
            weakref.ref(HashMap[str, list[list[int]]]),
        ]
        Queue[list[list[int]]]("key", STORE)
        gc.collect()
        assert [ref() for ref in used] == [None, None]

    def test_it_lives_as_long_as_a_model_of_it(self) -> None:
        jobs = Queue[list[list[str]]]("key", STORE)
        gc.collect()
        assert type(jobs) is Queue[list[list[str]]]

    def test_conditions_that_cannot_be_hashed_make_a_class_each_time(self) -> None:
        cls = Queue[Annotated[int, {"not": "hashable"}]]
        assert issubclass(cls, Queue)
        assert elements(cls) == ("Annotated[int, {'not': 'hashable'}]",)

    def test_a_type_known_only_at_run_time_is_given_to_of(self) -> None:
        for cls in (Queue, PriorityQueue, Stack, Pool, SortedSet, Map):
            assert cls.of(Event) is untyped(cls)[Event]
        assert HashMap.of(str, Event) is HashMap[str, Event]
        assert Jobs.of(Event) is Jobs[Event]

    def test_the_number_of_types_is_checked(self) -> None:
        with pytest.raises(TypeError, match="Too many"):
            untyped(Queue)[int, str]
        with pytest.raises(TypeError, match="is not a generic class"):
            untyped(Queue[int])[str]

    def test_annotations_are_left_alone_by_copying(self) -> None:
        assert copy.deepcopy(Queue[Event]) is Queue[Event]


# --- A name that is not defined yet


class TestForwardReference:
    def test_to_a_class_further_down(self) -> None:
        assert elements(Queue["Later"]) == ("Later",)
        assert elements(Queue[list["Later"]]) == (f"list[{__name__}.Later]",)
        assert elements(HashMap[str, "Later"]) == ("str", "Later")
        assert elements(Queue["Later | None"]) == (f"{__name__}.Later | None",)
        assert Queue["Later"] is Queue[Later]

    def test_that_was_written_before_the_class(self) -> None:
        assert elements(EarlyQueue) == ("Later",)
        assert elements(EarlyLists) == (f"list[{__name__}.Later]",)
        assert repr(EarlyQueue) == "<class 'redisext.queue.Queue[Later]'>"

    def test_in_the_base_of_a_class(self) -> None:
        assert elements(EarlyJobs) == ("Later",)
        assert elements(EarlyGeneric) == (f"list[{__name__}.Later]",)

    def test_inside_of_a_class_to_one_further_down(self) -> None:
        assert elements(EarlyBoxes) == ("Box",)

    def test_to_the_class_around_it(self) -> None:
        assert elements(Node.Waiting) == ("Node",)

    def test_to_a_local_class(self) -> None:
        early = Queue["Local"]

        class Early(Queue["Local"]):
            pass

        class Local(BaseModel):
            name: str

        class LocalJobs(Queue["Local"]):
            pass

        for cls in (early, Early, LocalJobs, Queue["Local"]):
            assert elements(cls) == ("Local",)
        assert elements(Queue[list["Local"]])[0].endswith("Local]")

    def test_is_found_in_the_functions_that_run_around_the_maker(self) -> None:
        def make() -> object:
            return early("key", STORE)

        early = untyped(Queue)["Local"]

        class Local(BaseModel):
            name: str

        assert type(make()) is early
        assert Local.__name__ == "Local"

    def test_is_found_in_the_module_where_the_model_is_made(self) -> None:
        other = {"jobs": untyped(Queue)["Elsewhere"], "Event": Event, "__name__": "elsewhere"}
        exec("Elsewhere = Event\nmodel = jobs('key', 'memory://test-element')", other)
        assert elements(other["jobs"]) == ("Event",)

    def test_of_a_class_in_another_module_is_found_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        other = types.ModuleType("elsewhere")
        monkeypatch.setitem(sys.modules, "elsewhere", other)
        vars(other).update(HashMap=HashMap, V=V, Event=Event)
        exec("class Half(HashMap['Elsewhere', V]): ...\nElsewhere = Event", vars(other))
        assert elements(vars(other)["Half"][int]) == ("Event", "int")

    def test_is_not_found_in_those_who_have_nothing_to_do_with_it(self) -> None:
        """Neither in a caller's caller, as in a framework that runs the program, nor in Redisext."""
        other: dict[str, Any] = {"Stranger": Event, "__name__": "framework"}
        exec("def call(make): return make()", other)
        for name in ("Stranger", "ElementCommands"):
            cls = untyped(Queue)[name]
            with pytest.raises(ConfigurationError, match=f"{name} is not defined where it is used"):
                other["call"](lambda cls=cls: cls("key", STORE))

    def test_to_a_module_that_is_not_read_to_its_end(self) -> None:
        cls = untyped(Queue)["half_read.Event"]
        with pytest.raises(ConfigurationError, match="Event is not defined"):
            cls("key", STORE)
        vars(half_read)["Event"] = Event
        assert elements(cls) == ("Event",)

    def test_inside_of_the_class_is_waited_for_too(self) -> None:
        class Outer(BaseModel):
            inner: Further | None = None

        class OuterJobs(Queue[Outer]):
            pass

        with pytest.raises(ConfigurationError, match="of OuterJobs cannot be found: Further is not defined"):
            OuterJobs("key", STORE)

        class Further(BaseModel):
            name: str

        Outer.model_rebuild()
        assert elements(OuterJobs) == ("Outer",)
        assert Further in BaseModel.__subclasses__()

    @pytest.mark.parametrize(
        "cls",
        [untyped(Queue)["Missing"], untyped(Queue)[untyped(list)["Missing"]], untyped(HashMap)[str, "Missing | None"]],
        ids=str,
    )
    def test_that_is_never_found_is_named(self, cls: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"of \w+\[.*\] cannot be found: Missing is not defined"):
            cls("key", STORE)

    def test_a_text_that_is_a_value_is_none(self) -> None:
        assert elements(Queue[Literal["Missing"]]) == ("Literal['Missing']",)
        assert elements(Queue[Annotated[int, "Missing"]]) == ("Annotated[int, 'Missing']",)

    def test_to_a_type_variable_leaves_it_open(self) -> None:
        class Forward(Queue["T"]):
            pass

        assert elements(Forward[int]) == ("int",)


half_read = types.ModuleType("half_read")

EarlyQueue = Queue["Later"]
EarlyLists = Queue[list["Later"]]


class EarlyJobs(Queue["Later"]):
    pass


@dataclass
class Box:
    later: list[Later]


class EarlyBoxes(Queue[Box]):
    pass


class EarlyGeneric(Jobs[list["Later"]]):
    pass


class Node(BaseModel):
    """Of the same name as a class of pytest's, which is among those who import this module."""

    class Waiting(Queue["Node"]):
        pass

    name: str


class Later(BaseModel):
    name: str


# --- A variable that is left open


class TestOpenVariable:
    @pytest.mark.parametrize(
        ("cls", "named"),
        [
            (Jobs, "Jobs leaves its type variable T open: say of what it is, as in Jobs"),
            (Batches, "Batches leaves its type variable T open"),
            (ByName, "ByName leaves its type variable V open"),
            (Swapped, "Swapped leaves its type variable V open"),
            (untyped(Queue)[T], r"Queue\[T\] leaves its type variable T open"),
            (untyped(Jobs)[T], r"Jobs\[T\] leaves its type variable T open"),
            (untyped(HashMap)[str, untyped(list)[V]], r"HashMap\[str, list\[~V\]\] leaves its type variable V open"),
            (untyped(Counter)[T], r"Counter\[T\] leaves its type variable T open"),
        ],
        ids=str,
    )
    def test_is_named_when_a_model_is_made(self, cls: Any, named: str) -> None:
        with pytest.raises(ConfigurationError, match=named):
            cls("key", STORE)

    def test_a_type_can_be_put_in_for_it(self) -> None:
        queue_of, by_name = untyped(Queue)[T], untyped(HashMap)[str, untyped(list)[V]]
        assert queue_of[int] is Queue[int]
        assert by_name[int] is HashMap[str, list[int]]
        assert by_name[T][int] is HashMap[str, list[int]]
        assert queue_of[Event]("key", STORE).pop() is None

    def test_it_is_typings_note_to_all_others(self) -> None:
        note = untyped(HashMap)[str, V]
        assert typing.get_origin(note) is HashMap
        assert typing.get_args(note) == (str, V)
        assert repr(note) == "redisext.hashmap.HashMap[str, ~V]"
        assert note == untyped(HashMap)[str, V]
        assert typing.get_args(note | None) == (note, type(None))

    def test_a_serializer_needs_no_type(self) -> None:
        class Pickled(Queue[T]):
            SERIALIZER = serializer.Pickle

        jobs = untyped(Pickled)("pickled", STORE)
        jobs.push({1, 2})
        assert jobs.pop() == {1, 2}


# --- Types that cannot be stored


class TestRefusal:
    def test_it_comes_with_the_class_statement(self) -> None:
        for base, why in (
            (Queue[SecretStr], "SecretStr cannot be stored"),
            (untyped(Queue)["SecretStr"], "SecretStr cannot be stored"),
            (Pool[Any], "Any cannot be a set member"),
            (HashMap[Any, int], "Any cannot be a set member, a sorted-set member or a hash key"),
        ):
            with pytest.raises(ConfigurationError, match=why):
                types.new_class("Refused", (base,))

    def test_or_with_the_constructor(self) -> None:
        for cls in (Queue[SecretStr], Jobs[SecretStr], Pool[int | float], HashMap[Any, int]):
            with pytest.raises(ConfigurationError, match="cannot be"):
                untyped(cls)("key", STORE)

    def test_but_never_with_an_annotation(self) -> None:
        def annotated(
            one: Queue[SecretStr], two: Pool[Any], three: HashMap[T, Callable[[], None]] | None
        ) -> Jobs[object]:
            raise NotImplementedError

        hints = typing.get_type_hints(annotated)
        assert hints["one"] is Queue[SecretStr]
        assert hints["two"] is Pool[Any]
        assert hints["three"] == untyped(HashMap)[T, Callable[[], None]] | None
        assert hints["return"] is Jobs[object]
        assert untyped(Queue)["Missing"].__name__ == "Queue[Missing]"

    @pytest.mark.parametrize("wrong", [str, bool, bytes, "str", int | float, list[int]], ids=str)
    def test_a_counter_counts_numbers_and_says_so_with_its_type(self, wrong: object) -> None:
        with pytest.raises(ConfigurationError, match=r"its elements are int or float, not "):
            untyped(Counter)[wrong]

    def test_a_counter_of_a_name_is_judged_when_it_is_found(self) -> None:
        assert elements(untyped(Counter)["int"]) == ("int",)
        later = untyped(Counter)["Number"]

        class Number(BaseModel):
            value: int

        assert Number.__name__ == "Number"
        with pytest.raises(ConfigurationError, match=r"its elements are int or float, not Number"):
            later("key", STORE)

    def test_a_serializer_of_the_classs_own_stores_what_the_type_cannot(self) -> None:
        class Secrets(Queue[SecretStr]):
            SERIALIZER = serializer.Pickle

        class Typed(Secrets, Queue[SecretStr]):
            pass

        for cls in (Secrets, Typed):
            secrets = cls("secrets", STORE)
            secrets.push(SecretStr("hidden"))
            assert secrets.pop() == SecretStr("hidden")

    def test_a_serializer_of_an_undefined_name_needs_no_definition(self) -> None:
        body = {"SERIALIZER": serializer.JSON}
        jsons = types.new_class("Jsons", (untyped(Queue)["Missing"],), exec_body=lambda names: names.update(body))
        assert elements(jsons) == ("Missing",)

    def test_a_hash_maps_serializer_is_for_its_values(self) -> None:
        class Pickled(HashMap[str, set[int]]):
            SERIALIZER = serializer.Pickle

        pickled = Pickled("map", STORE)
        pickled["a"] = {1}
        assert pickled["a"] == {1}
        key: Any = 5
        with pytest.raises(EncodeError, match="as str"):
            pickled[key] = {1}

    def test_a_subclass_can_do_without_its_bases_serializer(self) -> None:
        class Named(Queue[int]):
            SERIALIZER: ClassVar[Serializer | None] = serializer.JSON

        class Derived(Named):
            SERIALIZER = None

        text: Any = "text"
        Named("named", STORE).push(text)
        with pytest.raises(EncodeError):
            Derived("named", STORE).push(text)
