"""What is stored: a number, a text, a small model, a nested one; in the forms in which clients take and give them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel

T = TypeVar("T")


class Event(BaseModel):
    name: str
    user: int
    at: float
    new: bool


class Customer(BaseModel):
    name: str
    address: list[str]
    newsletter: bool


class Line(BaseModel):
    article: str
    description: str
    amount: int
    price: float


class Order(BaseModel):
    """2 KB, as JSON."""

    number: int
    customer: Customer
    lines: list[Line]


@dataclass(frozen=True)
class Payload(Generic[T]):
    """Values of one type; `make` gives a different one for each number."""

    name: str
    kind: type[T]
    make: Callable[[int], T]

    dump: Callable[[T], bytes]
    """As bytes: what a client that knows bytes only is given."""

    load: Callable[[bytes], T]

    to_plain: Callable[[T], object]
    """As what the json module takes."""

    from_plain: Callable[[object], T]

    def to_json(self, value: T) -> str:
        return json.dumps(self.to_plain(value))

    def from_json(self, raw: bytes) -> T:
        return self.from_plain(json.loads(raw))

    def to_pickle(self, value: T) -> bytes:
        return pickle.dumps(value)

    def from_pickle(self, raw: bytes) -> T:
        value: T = pickle.loads(raw)  # noqa: S301  # what was written here
        return value

    @property
    def one(self) -> T:
        return self.several(1)[0]

    def several(self, count: int) -> list[T]:
        values: list[T] = made(self, count)
        return values

    def dumped(self, count: int) -> list[bytes]:
        return dumped(self, count)

    def __hash__(self) -> int:
        return hash(self.name)


@cache  # which does not know that one payload gives values of one type
def made(payload: Payload[Any], count: int) -> list[Any]:
    return [payload.make(number) for number in range(count)]


@cache
def dumped(payload: Payload[Any], count: int) -> list[bytes]:
    return [payload.dump(value) for value in payload.several(count)]


def event(number: int) -> Event:
    return Event(name="signup", user=number, at=1763834400.25, new=True)


def order(number: int) -> Order:
    customer = Customer(name="Ada Lovelace", address=["12 St James's Square", "London"], newsletter=False)
    lines = [
        Line(article=f"A-{line:05}", description="Punched cards, a hundred to the box, blank", amount=line, price=9.25)
        for line in range(1, 18)
    ]
    return Order(number=number, customer=customer, lines=lines)


def same(value: T) -> T:
    return value


def checked(kind: type[T]) -> Callable[[object], T]:
    def check(value: object) -> T:
        assert isinstance(value, kind)
        return value

    return check


def of_model(name: str, kind: type[M], make: Callable[[int], M]) -> Payload[M]:
    return Payload(
        name=name,
        kind=kind,
        make=make,
        dump=lambda value: value.model_dump_json().encode(),
        load=kind.model_validate_json,
        to_plain=lambda value: value.model_dump(),
        from_plain=kind.model_validate,
    )


M = TypeVar("M", bound=BaseModel)

INT: Final = Payload(
    "int", int, lambda number: 1_000_000 + number, lambda value: b"%d" % value, int, same, checked(int)
)
STR: Final = Payload(
    name="str",
    kind=str,
    make=lambda number: f"user:{number:07}",
    dump=str.encode,
    load=bytes.decode,
    to_plain=same,
    from_plain=checked(str),
)
MODEL: Final = of_model("model", Event, event)
NESTED: Final = of_model("nested", Order, order)

PAYLOADS: Final[dict[str, Payload[int] | Payload[str] | Payload[Event] | Payload[Order]]] = {
    payload.name: payload for payload in (INT, STR, MODEL, NESTED)
}
