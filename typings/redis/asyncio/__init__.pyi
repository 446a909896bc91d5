# What is used of redis-py's asyncio, with the types that it has over RESP2 and with undecoded replies.

from .client import Pipeline as Pipeline
from .client import Redis as Redis
from .connection import ConnectionPool as ConnectionPool
