"""What was measured, as it is written to the file of figures, and what can be asked of it."""

from __future__ import annotations

import statistics
from typing import Annotated

from pydantic import AfterValidator, BaseModel

Quartiles = tuple[float, float, float]

Rounded = Annotated[float, AfterValidator(lambda value: round(value, 4))]
"""The file is kept, and read by people."""


class Row(BaseModel):
    """What one client did in one case.

    `wall` and `cpu` are its times by those of the control in the same round, over all rounds; `microseconds` is the
    median of the time for one. `share` is how much of the work it was given, if it would have needed too long for all.
    """

    operation: str
    payload: str
    client: str
    environment: str
    wall: list[Rounded]
    cpu: list[Rounded]
    microseconds: Rounded
    share: float = 1

    @property
    def what(self) -> str:
        return f"{self.operation} ({self.payload})"


class Figure(BaseModel):
    """A figure that is no ratio: milliseconds or megabytes."""

    what: str
    client: str
    unit: str
    values: list[Rounded]


class Results(BaseModel):
    python: str
    server: str
    redis_py: dict[str, str]
    rounds: int
    whole: bool = True
    """Whether nothing was left out."""

    seconds: float = 0
    note: str = ""
    clients: dict[str, str] = {}
    rows: list[Row] = []
    figures: list[Figure] = []
    not_run: dict[str, str] = {}
    """Which client could not be run, or where it did not do the work; and why."""

    def row(self, operation: str, payload: str, client: str) -> Row | None:
        for row in self.rows:
            if (row.operation, row.payload, row.client) == (operation, payload, client):
                return row
        return None

    def figure(self, what: str, client: str) -> Figure | None:
        for figure in self.figures:
            if (figure.what, figure.client) == (what, client):
                return figure
        return None


def quartiles(values: list[float]) -> Quartiles:
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def beside(row: Row, other: Row) -> Quartiles:
    """The one's wall time by the other's, in the same rounds."""
    return quartiles([mine / theirs for mine, theirs in zip(row.wall, other.wall, strict=True)])
