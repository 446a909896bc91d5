"""What lives in Redis: the events on their way, and what is counted of them."""

from examples.access_log.model import Alert, Event
from redisext import Backend, Counter, HashMap, Lock, Pool, PriorityQueue, Queue, SortedSet


class ImportLock(Lock):
    """Held by the one who imports a log. Should that program die, the lock ends by itself."""

    KEY = "import"
    EXPIRE = 30


class Traffic:
    """The traffic on a site. Any number of threads, processes and machines may `count` it at the same time."""

    def __init__(self, db: Backend) -> None:
        self.db = db
        self.lock = ImportLock(connection=db)
        self.events = Queue[Event]("events", db)
        self.malformed = HashMap[int, str]("malformed", db)  # line number -> line

        self.hits = Counter[int]("hits", db)
        self.bytes = Counter[int]("bytes", db)
        self.errors = Counter[int]("errors", db)
        self.hours = HashMap[int, int]("hours", db)  # hour of the day -> hits
        self.statuses = HashMap[int, int]("statuses", db)  # status -> hits

        self.paths = SortedSet[str]("paths", db)  # by hits
        self.path_bytes = HashMap[str, int]("path-bytes", db)
        self.path_errors = HashMap[str, int]("path-errors", db)

        self.visitors = Pool[str]("visitors", db)
        self.busiest = SortedSet[str]("busiest", db)  # visitors, by hits
        self.alerts = PriorityQueue[Alert]("alerts", db)

        self.counters = (self.hits, self.bytes, self.errors)
        self.collections = (
            *(self.events, self.malformed, self.hours, self.statuses, self.paths, self.path_bytes, self.path_errors),
            *(self.visitors, self.busiest, self.alerts),
        )

    def count(self, event: Event) -> None:
        """Count one event, in one round trip, all or nothing. Nobody's count is lost, however many count."""
        with self.db.transaction() as tx:
            tx.add(self.hits.commands.incr())
            tx.add(self.bytes.commands.incr(event.size))
            tx.add(self.hours.commands.incr(event.time.hour))
            tx.add(self.statuses.commands.incr(event.status))
            tx.add(self.paths.commands.incr(event.path))
            tx.add(self.path_bytes.commands.incr(event.path, event.size))
            tx.add(self.visitors.commands.push(event.visitor))
            tx.add(self.busiest.commands.incr(event.visitor))
            if event.status >= 500:
                tx.add(self.errors.commands.incr())
                tx.add(self.path_errors.commands.incr(event.path))
            if event.status >= 400:
                alert = Alert(minute=event.time.replace(second=0), path=event.path, status=event.status)
                # What broke comes before what was never there.
                tx.add(self.alerts.commands.push(alert, priority=1 if event.status >= 500 else 2))

    def expire(self, seconds: float) -> None:
        """Have all but the lock deleted after *seconds*; 0 deletes at once."""
        with self.db.batch() as batch:
            for model in (*self.counters, *self.collections):
                batch.add(model.commands.expire(seconds))

    def disagreements(self, lines: int) -> list[str]:
        """What does not add up after a log of so many *lines*: nothing, if each was counted once."""
        hits = self.hits.get(0)
        sums = {
            "hits and malformed lines": (hits + len(self.malformed), lines),
            "hits by hour": (sum(self.hours.all().values()), hits),
            "hits by status": (sum(self.statuses.all().values()), hits),
            "hits by path": (sum(score for score, _ in self.paths.members(with_scores=True)), hits),
            "hits by visitor": (sum(score for score, _ in self.busiest.members(with_scores=True)), hits),
            "bytes by path": (sum(self.path_bytes.all().values()), self.bytes.get(0)),
            "errors by path": (sum(self.path_errors.all().values()), self.errors.get(0)),
            "visitors": (len(self.visitors), len(self.busiest)),
            "events left in the queue": (len(self.events), 0),
        }
        return [f"{what}: {found:,}, not {due:,}" for what, (found, due) in sums.items() if found != due]
