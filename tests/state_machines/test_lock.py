"""`Lock`, as two see it, beside the name of its owner."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from redisext import Backend, Lock, LockNotOwned
from tests.state_machines.machine import KEY, Machine, drive
from tests.watching import keys, send

WHO = st.integers(0, 1)
EXPIRATIONS = st.none() | st.integers(100, 1000)


class Ownership(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.locks = [Lock(KEY, self.db), Lock(KEY, self.db)]
        self.owner: int | None = None
        self.expiration: int | None = None
        self.believes = [False, False]
        """Who has a token, though somebody may have broken the lock since."""

    def acquired(self, who: int, expiration: int | None, acquired: bool) -> None:
        assert acquired is (self.owner is None)
        if acquired:
            self.owner, self.expiration = who, expiration
            self.believes[who] = True

    @rule(who=WHO, expiration=EXPIRATIONS)
    def acquire(self, who: int, expiration: int | None) -> None:
        self.acquired(who, expiration, self.locks[who].acquire(expiration))

    @rule(who=WHO, expiration=EXPIRATIONS)
    def acquire_and_wait(self, who: int, expiration: int | None) -> None:
        wait = 10 if self.owner is None else 0
        self.acquired(who, expiration, self.locks[who].acquire(expiration, wait=wait))

    @rule(who=WHO)
    def release(self, who: int) -> None:
        if self.owner in (who, None):
            assert self.locks[who].release() is (self.owner == who)
            self.owner = None
        else:
            with pytest.raises(LockNotOwned):
                self.locks[who].release()
        self.believes[who] = False

    @rule(who=WHO, seconds=st.integers(100, 1000))
    def extend(self, who: int, seconds: int) -> None:
        assert self.locks[who].extend(seconds) is (self.owner == who)
        if self.owner == who:
            self.expiration = seconds

    @rule(who=WHO)
    def break_it(self, who: int) -> None:
        assert self.locks[who].remove() is (self.owner is not None)
        self.owner = None

    @invariant()
    def they_agree(self) -> None:
        assert [lock.locked() for lock in self.locks] == [self.owner is not None] * 2
        assert [lock.token is not None for lock in self.locks] == self.believes
        assert keys(self.db) == ([] if self.owner is None else [KEY.encode()])
        if self.owner is not None:
            assert send(self.db, "GET", KEY) == (self.locks[self.owner].token or "").encode()
            left = self.locks[0].ttl()
            assert left == -1 if self.expiration is None else self.expiration - 60 < left <= self.expiration


def test_a_lock_has_one_owner_at_a_time(db: Backend) -> None:
    drive(Ownership, db)
