"""What a line of the log says."""

import re
from datetime import datetime

from pydantic import AwareDatetime, BaseModel, NonNegativeInt

COMBINED = re.compile(r'(\S+) \S+ \S+ \[([^]]+)\] "([A-Z]+) (\S+) HTTP/[\d.]+" (\d{3}) (\d+|-) "([^"]*)" "([^"]*)"')


class Event(BaseModel):
    """One request and its answer."""

    visitor: str
    time: AwareDatetime
    method: str
    path: str
    status: NonNegativeInt
    size: NonNegativeInt
    referer: str
    agent: str


class Alert(BaseModel):
    """A path that could not be served, in this minute."""

    minute: AwareDatetime
    path: str
    status: NonNegativeInt


def parse(line: str) -> Event | None:
    """The event of a line in Combined Log Format; None if the line is malformed."""
    match = COMBINED.fullmatch(line)
    if match is None:
        return None
    visitor, time, method, path, status, size, referer, agent = match.groups()
    try:
        return Event(
            visitor=visitor,
            time=datetime.strptime(time, "%d/%b/%Y:%H:%M:%S %z"),
            method=method,
            path=path,
            status=int(status),
            size=0 if size == "-" else int(size),
            referer=referer,
            agent=agent,
        )
    except ValueError:  # a day such as 31/Feb
        return None
