"""A socket, with hiredis to pack the words and to parse the replies: as fast as Python can be."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Final, TypeVar, cast

import hiredis

from benchmarks.client import Client, Server, chunks
from benchmarks.operations import BEST, CHUNK, How, Operation
from benchmarks.payload import Payload

T = TypeVar("T")

Words = tuple[bytes | int, ...]

_pack = cast(  # its own types know commands of one word only
    "Callable[[Words], bytes]",
    hiredis.pack_command,  # pyright: ignore[reportUnknownMemberType]
)


class BareSocket(Client[T]):
    title = "bare socket"
    about = "hiredis packs and parses; ready-made bytes, one connection, no retries, no pool: the limit"

    def __init__(self, server: Server, payload: Payload[T], key: str) -> None:
        super().__init__(server, payload, key)
        self.socket = socket.create_connection((server.host, server.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = hiredis.Reader(notEnoughData=self)
        self.name = key.encode()
        self.raw = payload.dump(self.value)

    @classmethod
    def can(cls, operation: Operation, payload: str) -> bool:
        return super().can(operation, payload) and operation.how is not How.IN_THREADS

    @property
    def expected(self) -> object:
        return self.raw

    def call(self, *words: bytes | int) -> object:
        self.socket.sendall(_pack(words))
        return self.reply()

    def reply(self) -> object:
        while (reply := self.reader.gets()) is self:
            self.reader.feed(self.socket.recv(65_536))
        return reply

    def call_many(self, words: Words, times: int) -> object:
        self.socket.sendall(b"".join([_pack(words) for _ in range(times)]))
        *_, last = [self.reply() for _ in range(times)]
        return last

    def counter_increment(self) -> object:
        return self.call(b"INCR", self.name)

    def counter_value(self) -> int:
        value = self.call(b"GET", self.name)
        assert isinstance(value, bytes)
        return int(value)

    def map_set(self) -> None:
        self.call(b"SET", self.name, self.raw)

    def map_get(self) -> object:
        return self.call(b"GET", self.name)

    def hash_set(self) -> None:
        self.call(b"HSET", self.name, b"ada", self.raw)

    def hash_get(self) -> object:
        return self.call(b"HGET", self.name, b"ada")

    def queue_push_pop(self) -> object:
        self.call(b"LPUSH", self.name, self.raw)
        return self.call(b"RPOP", self.name)

    def set_add_contains(self) -> bool:
        self.call(b"SADD", self.name, self.raw)
        return bool(self.call(b"SISMEMBER", self.name, self.raw))

    def sorted_fill(self) -> None:
        for score, raw in enumerate(self.payload.dumped(BEST)):
            self.call(b"ZADD", self.name, score, raw)

    def sorted_add_range(self) -> object:
        self.call(b"ZADD", self.name, b"0", self.raw)
        return self.call(b"ZREVRANGE", self.name, b"0", b"-1")

    def batch_increment(self, size: int) -> None:
        self.call_many((b"INCR", self.name), size)

    def batch_set(self, size: int) -> None:
        self.call_many((b"SET", self.name, self.raw), size)

    def batch_get(self, size: int) -> object:
        return self.call_many((b"GET", self.name), size)

    def batch_push_pop(self, size: int) -> object:
        self.call_many((b"LPUSH", self.name, self.raw), size // 2)
        return self.call_many((b"RPOP", self.name), size // 2)

    def queue_load(self, count: int) -> None:
        for chunk in chunks(self.payload.dumped(count)):
            self.call(b"LPUSH", self.name, *chunk)

    def queue_size(self) -> object:
        return self.call(b"LLEN", self.name)

    def queue_iterate(self) -> Iterator[object]:
        start = 0
        while page := self.call(b"LRANGE", self.name, start, start + CHUNK - 1):
            assert isinstance(page, list)
            yield from page
            start += CHUNK

    def close(self) -> None:
        self.socket.close()


CLIENTS: Final = (BareSocket,)
