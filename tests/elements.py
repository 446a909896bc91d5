"""What the tests put into collections."""

from __future__ import annotations

from pydantic import BaseModel


class Place(BaseModel, frozen=True):
    city: str
    floor: int = 0


class Event(BaseModel, frozen=True):
    """A nested model, which can be a member of a set."""

    name: str
    place: Place | None = None
    tags: tuple[str, ...] = ()
