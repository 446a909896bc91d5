"""What is stored: a small pydantic model, and the bytes that others are given ready-made."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel


class Event(BaseModel):
    name: str
    user: int
    at: float
    new: bool


EVENT: Final = Event(name="signup", user=7, at=1763834400.25, new=True)
RAW: Final = EVENT.model_dump_json().encode()
