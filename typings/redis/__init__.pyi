# What is used of redis-py, with the types that it has over RESP2 and with undecoded replies.
# redis-py's own say `Any`, or the union of what its sync and async clients give.

from . import asyncio as asyncio
from . import exceptions as exceptions
from .client import Pipeline as Pipeline
from .client import Redis as Redis
from .connection import Connection as Connection
from .connection import ConnectionPool as ConnectionPool

__version__: str
