"""Collections driven at random beside their plain-Python twins.

A machine has a rule for each operation, which does the same to the collection and to the twin and compares what comes
of it. After each step its invariants compare all that can be seen of the two.

Which element a set or a hash gives away is for the server to choose. So what is drawn must not depend on what is there:
a rule that is for some states only asks about them itself, where a precondition would make its run one of a kind.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from redisext import Backend
from tests.elements import Event, Place
from tests.faces import Bridge
from tests.watching import send

T = TypeVar("T")

KEY = "key"


class Machine(RuleBasedStateMachine):
    """Begins with an empty key on `db`, which `drive` gives it."""

    db: ClassVar[Backend]

    def __init__(self) -> None:
        super().__init__()
        send(self.db, "DEL", KEY)


def drive(machine: type[Machine], db: Backend) -> None:
    """Drive the machine, as long as hypothesis's profile says: a sixth of the examples that it has for other tests.

    Under asyncio half of these: the commands are the same, and each step takes longer.
    """
    share = 12 if isinstance(db, Bridge) else 6
    on_db = cast("type[Machine]", type(machine.__name__, (machine,), {"db": db}))
    run_state_machine_as_test(
        on_db,
        settings=settings(
            max_examples=settings().max_examples // share,
            stateful_step_count=50 if settings.get_current_profile_name() == "thorough" else 25,
            suppress_health_check=[HealthCheck.too_slow],  # a server takes the time that it takes
        ),
    )


def shown(value: T) -> tuple[type[T], str]:
    """What tells a value from all others, and NaN not from itself."""
    return type(value), repr(value)


# --- What goes in

INTS = st.integers() | st.sampled_from([0, 1, -1, 2**53 + 1, -(2**53) - 1, 2**64])
FLOATS = st.floats() | st.sampled_from([0.0, -0.0, 0.1])
NUMBERS = (st.floats(allow_nan=False) | st.sampled_from([0.0, 0.1])).map(lambda number: number + 0.0)
"""Without NaN, which nobody finds again, and without -0.0, which comes back as its equal."""
TEXTS = st.text(max_size=5) | st.sampled_from(["", "0", "null", "ž", "\0", "\N{GRINNING FACE}"])
BYTES = st.binary(max_size=5) | st.sampled_from([b"", b"0", b"\xff\x00"])
BOOLS = st.booleans()
OPTIONALS = st.none() | TEXTS
LISTS = st.lists(INTS, max_size=3)
FROZENSETS = st.frozensets(TEXTS, max_size=3)
EVENTS = st.builds(
    Event,
    name=TEXTS,
    place=st.none() | st.builds(Place, city=TEXTS, floor=INTS),
    tags=st.lists(TEXTS, max_size=2).map(tuple),
)

Elements = tuple[Any, st.SearchStrategy[Any]]
"""An element type, and values of it. Each machine is made for several, which no type checker can follow."""

ANY_ELEMENTS: dict[str, Elements] = {
    "int": (int, INTS),
    "float": (float, FLOATS),
    "str": (str, TEXTS),
    "bytes": (bytes, BYTES),
    "bool": (bool, BOOLS),
    "optional": (str | None, OPTIONALS),
    "list": (list[int], LISTS),
    "model": (Event, EVENTS),
}

MEMBERS: dict[str, Elements] = {
    "int": (int, INTS),
    "float": (float, NUMBERS),
    "str": (str, TEXTS),
    "bytes": (bytes, BYTES),
    "optional": (str | None, OPTIONALS),
    "frozenset": (frozenset[str], FROZENSETS),
    "model": (Event, EVENTS),
}
"""What can be looked up by its bytes, and be in a plain set."""
