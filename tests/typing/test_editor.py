"""What an editor offers and shows to those who write programs with Redisext.

Pyright's language server stands for the editors that use one (Pylance is made of it), jedi for IPython and its kin.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from pydantic import BaseModel

import redisext
from redisext import HashMap, Queue
from tests.typing.language_server import CURSOR, LanguageServer
from tests.typing.must_pass import Recorder

jedi = pytest.importorskip("jedi")

ROOT: Final = Path(__file__).parent.parent.parent

PROGRAM: Final = """
from pydantic import BaseModel

import redisext
from redisext import NOTHING, Counter, HashMap, Lock, Map, Pool, PriorityQueue, Queue, SortedSet, Stack


class Event(BaseModel):
    name: str
    size: int = 0


class Jobs(Queue[Event]):
    KEY = "jobs"


db = redisext.connect("memory://editor")
jobs = Queue[Event]("jobs", db)
events = HashMap[str, Event]("events", db)
"""

PROGRAM_UNDER_ASYNCIO: Final = f"""
{PROGRAM}
from redisext import (
    AsyncCounter, AsyncHashMap, AsyncLock, AsyncMap, AsyncPool, AsyncPriorityQueue, AsyncQueue, AsyncSortedSet,
    AsyncStack, AsyncTransaction, Transaction,
)


class AsyncJobs(AsyncQueue[Event]):
    KEY = "jobs"


adb = redisext.aconnect("memory://editor")
ajobs = AsyncQueue[Event]("jobs", adb)
aevents = AsyncHashMap[str, Event]("events", adb)


async def main() -> None:
    """

QUEUE: Final = {"push", "pop", "pop_wait", "peek", "size", "items", "clear", "expire", "ttl", "commands"}
HASH_MAP: Final = {
    "get",
    "get_many",
    "all",
    "set",
    "incr",
    "update",
    "remove",
    "pop",
    "popitem",
    "keys",
    "items",
    "values",
}
EVENT: Final = {"name", "size", "model_dump"}

AN_EVENT: Final = [
    "jobs.pop()",
    "jobs.peek()",
    "jobs.pop_wait(1)",
    "Jobs().pop()",
    "next(iter(jobs))",
    "jobs.items()[0]",
    'events["a"]',
    'events.get("a")',
    "list(events.values())[0]",
    "events.popitem()[1]",
    'Map[Event]("latest", db).get()',
    'Pool[Event]("pool", db).pop()',
    'Pool[Event]("pool", db).members()[0]',
    'PriorityQueue[Event]("tasks", db).pop()',
    'SortedSet[Event]("scores", db).members()[0]',
    'Stack[Event]("stack", db).pop()',
]

AN_AWAITED_EVENT: Final = [
    "(await ajobs.pop())",
    "(await ajobs.peek())",
    "(await ajobs.pop_wait(1))",
    "(await AsyncJobs().pop())",
    "(await anext(aiter(ajobs)))",
    "(await ajobs.items())[0]",
    '(await aevents.get("a"))',
    "(await anext(aevents.values()))",
    "(await aevents.popitem())[1]",
    '(await AsyncMap[Event]("latest", adb).get())',
    '(await AsyncPool[Event]("pool", adb).pop())',
    '(await AsyncPool[Event]("pool", adb).members())[0]',
    '(await AsyncPriorityQueue[Event]("tasks", adb).pop())',
    '(await AsyncSortedSet[Event]("scores", adb).members())[0]',
    '(await AsyncStack[Event]("stack", adb).pop())',
    "adb.batch().add(ajobs.commands.pop()).result()",
    "db.batch().add(jobs.commands.pop()).result()",
    "db.transact(lambda tx: tx.read(jobs.commands.peek()), watch=[jobs])",
]

LOST_ON_JEDI: Final = {
    one for one in AN_AWAITED_EVENT if not one.endswith((".items())[0]", ".members())[0]", ".popitem())[1]"))
}


@pytest.fixture(scope="module")
def server() -> Iterator[LanguageServer]:
    pytest.importorskip("pyright")
    command = [sys.executable, "-m", "pyright.langserver", "--stdio"]
    with LanguageServer(command, ROOT, {"python": {"pythonPath": sys.executable}}) as server:
        yield server


class TestCompletion:
    def test_a_structure_offers_its_operations(self, server: LanguageServer) -> None:
        assert set(server.completions(f"{PROGRAM}jobs.{CURSOR}")) >= QUEUE
        assert set(server.completions(f"{PROGRAM}Jobs().{CURSOR}")) >= QUEUE
        assert set(server.completions(f"{PROGRAM}events.{CURSOR}")) >= HASH_MAP
        assert set(server.completions(f"{PROGRAM_UNDER_ASYNCIO}ajobs.{CURSOR}")) >= QUEUE
        assert set(server.completions(f"{PROGRAM_UNDER_ASYNCIO}aevents.{CURSOR}")) >= HASH_MAP

    def test_its_commands_are_offered_too(self, server: LanguageServer) -> None:
        assert set(server.completions(f"{PROGRAM}jobs.commands.{CURSOR}")) >= {"push", "pop", "size", "expire"}

    def test_a_batch_offers_its_commands_where_they_are_added(self, server: LanguageServer) -> None:
        program = f"{PROGRAM}with db.batch() as batch:\n    batch"
        assert set(server.completions(f"{program}.{CURSOR}")) >= {"add"}
        assert set(server.completions(f"{program}.add(jobs.commands.{CURSOR})")) >= {"push", "pop", "size", "expire"}
        assert set(server.completions(f"{program}.add(jobs.commands.pop()).{CURSOR}")) >= {"result", "done", "error"}

    @pytest.mark.parametrize("expression", AN_EVENT)
    def test_an_element_offers_its_own_fields_first(self, server: LanguageServer, expression: str) -> None:
        program = f"{PROGRAM}event = {expression}\nif event is not None:\n    event.{CURSOR}"
        assert server.completions(program)[:2] == ["name", "size"]

    @pytest.mark.parametrize("expression", AN_AWAITED_EVENT)
    def test_an_awaited_element_does_too(self, server: LanguageServer, expression: str) -> None:
        program = f"{PROGRAM_UNDER_ASYNCIO}event = {expression}\n    if event is not None:\n        event.{CURSOR}"
        assert server.completions(program)[:2] == ["name", "size"]

    def test_one_not_awaited_does_not(self, server: LanguageServer) -> None:
        assert not EVENT & set(server.completions(f"{PROGRAM_UNDER_ASYNCIO}ajobs.pop().{CURSOR}"))

    def test_elements_that_are_iterated_do(self, server: LanguageServer) -> None:
        program = f"{PROGRAM_UNDER_ASYNCIO}async for event in ajobs:\n        event.{CURSOR}"
        assert server.completions(program)[:2] == ["name", "size"]

    def test_it_does_so_once_nothing_is_excluded(self, server: LanguageServer) -> None:
        program = f"{PROGRAM}event = jobs.pop(default=NOTHING)\nif event is not NOTHING:\n    event.{CURSOR}"
        assert server.completions(program)[:2] == ["name", "size"]

    def test_it_does_so_inside_a_function_for_update(self, server: LanguageServer) -> None:
        program = f'{PROGRAM}Map[Event]("latest", db).update(lambda old: old if old and old.{CURSOR})'
        assert server.completions(program)[:2] == ["name", "size"]


class TestHover:
    def test_a_method_shows_the_element_type_and_what_it_does(self, server: LanguageServer) -> None:
        shown = server.hover(f"{PROGRAM}jobs.pu{CURSOR}sh")
        assert "def push(*items: Event) -> int" in shown
        assert "LPUSH, O(1)" in shown

    def test_a_method_that_takes_a_default_shows_both_ways_to_call_it(self, server: LanguageServer) -> None:
        shown = server.hover(f"{PROGRAM}jobs.po{CURSOR}p")
        assert "def pop() -> (Event | None)" in shown
        assert "def pop(default: D@pop) -> (Event | D@pop)" in shown
        assert "RPOP, O(1)" in shown

    def test_one_for_numbers_shows_the_overload_of_their_kind(self, server: LanguageServer) -> None:
        assert "by: int = 1) -> int" in one_line(server.hover(f'{PROGRAM}Map[int]("best").in{CURSOR}cr'))
        shown = one_line(server.hover(f'{PROGRAM}HashMap[str, float]("prices").in{CURSOR}cr("a")'))
        assert "key: str, by: float = 1 ) -> float" in shown

    @pytest.mark.parametrize(
        ("statement", "shown"),
        [
            (f"taken{CURSOR} = jobs.pop()", "taken: Event | None"),
            (f"taken{CURSOR} = jobs.pop(default=NOTHING)", "taken: Event | Nothing"),
            (f"taken = jobs.pop()\nif taken is not None:\n    taken{CURSOR}", "taken: Event"),
            (f"for taken{CURSOR} in jobs: ...", "taken: Event"),
            (f"size{CURSOR} = jobs.push()", "size: int"),
            (f"size{CURSOR} = jobs.commands.push()", "size: Command[int]"),
            (f"jobs{CURSOR}", "jobs: Queue[Event]"),
            (f'made{CURSOR} = Queue.of(Event)("jobs")', "made: Queue[Event]"),
            (f'raw{CURSOR} = Queue("raw")', "raw: Queue[bytes]"),
            (f'count{CURSOR} = Counter("count")', "count: Counter[int]"),
            (f'with Lock("lock") as lock{CURSOR}: ...', "lock: Lock"),
            (f"everything{CURSOR} = events.all()", "everything: dict[str, Event]"),
            (f'names{CURSOR} = Pool[str]("names") | {{1}}', "names: set[str | int]"),
        ],
    )
    def test_a_variable_shows_its_type(self, server: LanguageServer, statement: str, shown: str) -> None:
        assert server.hover(PROGRAM + statement) == f"```python\n(variable) {shown}\n```"

    def test_a_method_under_asyncio_shows_the_element_type_and_what_it_does(self, server: LanguageServer) -> None:
        for method in (f"ajobs.pu{CURSOR}sh", f"AsyncJobs().pu{CURSOR}sh"):
            shown = server.hover(PROGRAM_UNDER_ASYNCIO + method)
            assert "def push(*items: Event) -> CoroutineType[Any, Any, int]" in shown
            assert "LPUSH, O(1)" in shown
        assert "LPUSH, O(1)" in server.hover(f"{PROGRAM_UNDER_ASYNCIO}AsyncQueue.pu{CURSOR}sh")
        shown = server.hover(f"{PROGRAM_UNDER_ASYNCIO}await ajobs.po{CURSOR}p()")
        assert "def pop() -> CoroutineType[Any, Any, Event | None]" in shown
        assert "RPOP, O(1)" in shown

    @pytest.mark.parametrize(
        ("statement", "shown"),
        [
            (f"taken{CURSOR} = await ajobs.pop()", "taken: Event | None"),
            (f"taken{CURSOR} = await ajobs.pop(default=NOTHING)", "taken: Event | Nothing"),
            (f"async for taken{CURSOR} in ajobs: ...", "taken: Event"),
            (f"async for name{CURSOR}, taken in aevents.items(): ...", "name: str"),
            (f"everything{CURSOR} = await aevents.all()", "everything: dict[str, Event]"),
            (f'made{CURSOR} = AsyncQueue.of(Event)("jobs")', "made: AsyncQueue[Event]"),
            (f'raw{CURSOR} = AsyncQueue("raw")', "raw: AsyncQueue[bytes]"),
            (f'async with AsyncLock("lock") as lock{CURSOR}: ...', "lock: AsyncLock"),
            (f'best{CURSOR} = await AsyncMap[int]("best", adb).incr()', "best: int"),
            (f'total{CURSOR} = await AsyncCounter[float]("total", adb).incr()', "total: float"),
            (f"with db.batch() as batch{CURSOR}: ...", "batch: Batch"),
            (f"async with adb.batch() as batch{CURSOR}: ...", "batch: AsyncBatch"),
            (f"async with adb.transaction() as tx{CURSOR}: ...", "tx: AsyncTransaction"),
            (f"size{CURSOR} = db.batch().add(jobs.commands.push())", "size: Pending[int]"),
            (f"event{CURSOR} = adb.batch().add(ajobs.commands.pop())", "event: Pending[Event | None]"),
            (f"event{CURSOR} = adb.batch().add(ajobs.commands.pop()).result()", "event: Event | None"),
        ],
    )
    def test_a_variable_under_asyncio_or_in_a_batch_shows_its_type(
        self, server: LanguageServer, statement: str, shown: str
    ) -> None:
        assert server.hover(PROGRAM_UNDER_ASYNCIO + statement) == f"```python\n(variable) {shown}\n```"

    def test_a_result_of_a_batch_shows_its_type_and_when_there_is_one(self, server: LanguageServer) -> None:
        program = f"{PROGRAM}with db.batch() as batch:\n    taken = batch.add(jobs.commands.pop())\n"
        shown = server.hover(f"{program}taken.res{CURSOR}ult()")
        assert "def result() -> (Event | None)" in shown
        assert "What the command gave; raises its error if it failed." in shown

    def test_transact_shows_what_the_function_gives(self, server: LanguageServer) -> None:
        sell = "def sell(tx: Transaction) -> int:\n        return tx.read(jobs.commands.size())\n\n    "
        shown = server.hover(f"{PROGRAM_UNDER_ASYNCIO}{sell}sold{CURSOR} = db.transact(sell, watch=[jobs])")
        assert "sold: int" in shown

    def test_a_class_shows_what_it_is_for(self, server: LanguageServer) -> None:
        shown = server.hover(f'{PROGRAM}Que{CURSOR}ue[Event]("jobs")')
        assert "A first-in, first-out queue. Stored as a list: LPUSH, RPOP." in shown


class TestSignatureHelp:
    def test_it_shows_the_element_type_and_what_the_method_does(self, server: LanguageServer) -> None:
        [(signature, documentation)] = server.signatures(f"{PROGRAM}jobs.push({CURSOR})")
        assert signature == "(*items: Event) -> int"
        assert "LPUSH, O(1)" in documentation

    def test_it_does_so_under_asyncio(self, server: LanguageServer) -> None:
        [(signature, documentation)] = server.signatures(f"{PROGRAM_UNDER_ASYNCIO}await ajobs.push({CURSOR})")
        assert signature == "(*items: Event) -> CoroutineType[Any, Any, int]"
        assert "LPUSH, O(1)" in documentation

    def test_it_shows_what_a_batch_takes_and_gives(self, server: LanguageServer) -> None:
        program = f"{PROGRAM}with db.batch() as batch:\n    batch.add"
        [(_, documentation)] = server.signatures(f"{program}({CURSOR}")
        assert "carried out when the block ends" in documentation
        [(signature, _)] = server.signatures(f"{program}({CURSOR}jobs.commands.pop())")
        assert signature == "(command: Command[Event | None]) -> Pending[Event | None]"
        assert "def add(command: Command[R@add]) -> Pending[R@add]" in server.hover(f"{program}{CURSOR}")

    def test_it_shows_what_transact_takes_and_gives(self, server: LanguageServer) -> None:
        [(signature, documentation)] = server.signatures(f"{PROGRAM}db.transact({CURSOR})")
        assert signature.startswith("(fn: (Transaction) -> R@transact, *, watch: ")
        assert signature.endswith(") -> R@transact")
        assert "once the transaction that it filled was carried out" in documentation

    def test_it_shows_how_to_make_a_model(self, server: LanguageServer) -> None:
        [(signature, documentation)] = server.signatures(f"{PROGRAM}Queue[Event]({CURSOR})")
        assert signature.startswith("(key: str | bytes | int | None = None, connection: ")
        assert signature.endswith(" -> Queue[Event]")
        assert documentation.startswith("A first-in, first-out queue.")


class TestGoToDefinition:
    @pytest.mark.parametrize(
        ("expression", "file", "line"),
        [
            (f"jobs.push{CURSOR}", "lists.py", "def push(self, *items: T) -> int:"),
            (f"jobs.commands.push{CURSOR}", "lists.py", "def push(self, *items: T) -> Command[int]:"),
            (f"Queue{CURSOR}", "queue.py", "class Queue(ListModel[T]):"),
            (f"AsyncQueue{CURSOR}", "queue.py", "class AsyncQueue(AsyncListModel[T]):"),
            (f"ajobs.push{CURSOR}", "lists.py", "async def push(self, *items: T) -> int:"),
            (f"ajobs.commands.push{CURSOR}", "lists.py", "def push(self, *items: T) -> Command[int]:"),
            (f"adb.batch().add{CURSOR}", "batch.py", "def add(self, command: Command[R]) -> Pending[R]:"),
            (f"redisext.connect{CURSOR}", "backend/__init__.py", "def connect("),
        ],
    )
    def test_it_leads_to_the_source(self, server: LanguageServer, expression: str, file: str, line: str) -> None:
        [place] = server.definitions(PROGRAM_UNDER_ASYNCIO + expression)
        assert place.path == ROOT / "redisext" / file
        assert place.text == line

    def test_of_an_overloaded_method_it_leads_to_the_body_too(self, server: LanguageServer) -> None:
        *_, last = server.definitions(f"{PROGRAM}jobs.pop{CURSOR}")
        assert last.path == ROOT / "redisext" / "queue.py"
        assert last.text == "def pop(self, default: object = None) -> object:"


# --- IPython and others with jedi


class Event(BaseModel):
    name: str
    size: int = 0


class Jobs(Queue[Event]):
    KEY = "jobs"


@pytest.mark.usefixtures("unmeasured")
class TestJedi:
    """In a file, where jedi has nothing but the source."""

    def completions(self, code: str, program: str = PROGRAM) -> set[str]:
        script = jedi.Script(
            program + code,
            path=ROOT / "document.py",
            environment=jedi.api.environment.InterpreterEnvironment(),
            project=jedi.Project(ROOT),
        )
        return {completion.name for completion in script.complete()}

    @pytest.mark.parametrize(
        "expression", ["jobs", "Jobs()", 'Queue[Event]("jobs", db)', 'Queue.of(Event)("jobs", db)']
    )
    def test_a_structure_offers_its_operations(self, expression: str) -> None:
        assert self.completions(f"{expression}.") >= QUEUE

    @pytest.mark.parametrize("expression", AN_EVENT)
    def test_an_element_offers_its_own_fields(self, expression: str) -> None:
        assert self.completions(f"{expression}.") >= EVENT
        assert self.completions(f"event = {expression}\nevent.") >= EVENT

    @pytest.mark.parametrize(
        "expression", ["ajobs", "AsyncJobs()", 'AsyncQueue[Event]("jobs", adb)', 'AsyncQueue.of(Event)("jobs", adb)']
    )
    def test_a_structure_under_asyncio_does_too(self, expression: str) -> None:
        assert self.completions(f"{expression}.", PROGRAM_UNDER_ASYNCIO) >= QUEUE

    @pytest.mark.parametrize("expression", sorted(set(AN_AWAITED_EVENT) - LOST_ON_JEDI))
    def test_an_awaited_element_does_too(self, expression: str) -> None:
        assert self.completions(f"{expression}.", PROGRAM_UNDER_ASYNCIO) >= EVENT
        assert self.completions(f"event = {expression}\n    event.", PROGRAM_UNDER_ASYNCIO) >= EVENT

    @pytest.mark.parametrize("expression", sorted(LOST_ON_JEDI))
    def test_where_jedi_cannot_follow_an_annotation_helps(self, expression: str) -> None:
        """It follows no overloads that are awaited, no `anext`, and no type that is only found in an argument's."""
        assert not self.completions(f"{expression}.", PROGRAM_UNDER_ASYNCIO) & EVENT
        assert self.completions(f"event: Event = {expression}\n    event.", PROGRAM_UNDER_ASYNCIO) >= EVENT


@pytest.mark.usefixtures("unmeasured")
class TestJediWithLiveObjects:
    """At a prompt, as IPython asks it: jedi has the objects as well."""

    @pytest.fixture
    def recorder(self) -> Iterator[Recorder]:
        with Recorder(redisext.connect("memory://prompt")) as recorder:
            yield recorder

    @pytest.fixture
    def names(self, recorder: Recorder) -> dict[str, object]:
        """What was typed before."""
        names: dict[str, object] = {
            "Event": Event,
            "HashMap": HashMap,
            "Jobs": Jobs,
            "Queue": Queue,
            "db": recorder,
            "events": HashMap[str, Event]("events", recorder),
            "jobs": Queue[Event]("jobs", recorder),
            "jobs_of_a_class": Jobs(connection=recorder),
        }
        return names

    def completions(self, code: str, names: dict[str, object]) -> set[str]:
        return {completion.name for completion in jedi.Interpreter(code, [names]).complete()}

    @pytest.mark.parametrize("expression", ["jobs", "jobs_of_a_class", "Jobs()", 'Queue[Event]("jobs", db)'])
    def test_a_structure_offers_its_operations(self, names: dict[str, object], expression: str) -> None:
        assert self.completions(f"{expression}.", names) >= QUEUE

    @pytest.mark.parametrize(
        "expression",
        [
            "jobs_of_a_class.pop()",
            "jobs_of_a_class.items()[0]",
            "Jobs(db).pop()",
            'Queue[Event]("jobs", db).pop()',
            'HashMap[str, Event]("events", db)["a"]',
        ],
    )
    def test_an_element_offers_its_own_fields(self, names: dict[str, object], expression: str) -> None:
        assert self.completions(f"{expression}.", names) >= EVENT

    @pytest.mark.parametrize("expression", ["jobs.pop()", "jobs.items()[0]", 'events.get("a")'])
    def test_one_of_a_live_model_of_no_named_class_does_not(self, names: dict[str, object], expression: str) -> None:
        """For the types of a live object's methods, jedi reads the source of its class, and `Queue[Event]` has none.

        What the class knows of itself at run time plays no part. At a prompt the next line helps: after
        ``event = jobs.pop()``, `event` is live too.
        """
        assert not self.completions(f"{expression}.", names) & EVENT

    def test_what_is_in_a_live_map_offers_its_fields(self, names: dict[str, object], recorder: Recorder) -> None:
        HashMap[str, Event]("events", recorder)["a"] = Event(name="signup")
        assert self.completions('events["a"].', names) >= EVENT

    def test_the_signature_and_the_documentation_are_shown(self, names: dict[str, object]) -> None:
        [signature] = jedi.Interpreter("jobs.push(", [names]).get_signatures()
        assert "LPUSH, O(1)" in signature.docstring()

    def test_asking_sends_no_command(self, names: dict[str, object], recorder: Recorder) -> None:
        for code in (
            "jobs.",
            "jobs.pop().",
            "jobs.commands.",
            "Jobs(connection=db).pop().",
            "events.",
            "events.pop('a').",
        ):
            self.completions(code, names)
        assert recorder.seen == []

    def test_but_jedi_looks_up_what_stands_in_brackets(self, names: dict[str, object], recorder: Recorder) -> None:
        self.completions('events["a"].', names)
        assert recorder.seen == ["Command(HGET b'events' b'a')"]


def one_line(text: str) -> str:
    return " ".join(text.split())
