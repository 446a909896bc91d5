"""Typed collections over Redis.

    import redisext

    db = redisext.connect("redis://localhost:6379/0")
    jobs = redisext.Queue[Event]("jobs", db)
    jobs.push(Event(name="signup"))
    event = jobs.pop()          # Event | None
"""

from redisext.backend import Backend, connect
from redisext.queue import PriorityQueue, Queue

__version__ = "3.0.0.dev0"
