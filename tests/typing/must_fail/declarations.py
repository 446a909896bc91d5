"""What a class says of itself."""

# pyright: reportUnknownMemberType=false, reportUnusedExpression=false

from __future__ import annotations

from redisext import Counter, Pool, Queue
from redisext.backend.redis import Connection


class Encoder:
    """It lacks `decode`."""

    def encode(self, item: str) -> bytes:
        return item.encode()


class WrongWay:
    """It decodes from text, and no reply is text."""

    def encode(self, item: str) -> bytes:
        return item.encode()

    def decode(self, item: str) -> str:
        return item


class ToObjects:
    """What it gives cannot be sent."""

    def encode(self, item: str) -> list[str]:
        return [item]

    def decode(self, item: bytes) -> str:
        return item.decode()


class ByMethods:
    """Its methods need an instance."""

    def encode(self, item: str) -> bytes:
        return item.encode()

    def decode(self, item: bytes) -> str:
        return item.decode()


class WithoutDecode(Queue[str]):
    SERIALIZER = Encoder()  # E: assignment


class WithWrongDecode(Queue[str]):
    SERIALIZER = WrongWay()  # E: assignment


class WithWrongEncode(Queue[str]):
    SERIALIZER = ToObjects()  # E: assignment


class WithClass(Queue[str]):
    SERIALIZER = ByMethods  # E: assignment


class WithName(Queue[str]):
    SERIALIZER = "json"  # E: assignment


class WithNumber(Queue[str]):
    CONNECTION = 5  # E: assignment


class WithInstance(Queue[str]):
    CONNECTION = Connection()  # E: assignment


class WithOtherClass(Queue[str]):
    CONNECTION = Encoder  # E: assignment


class WithSettings(Connection):
    MASTER = ("localhost", 6379)  # E: assignment


class WithList(Queue[str]):
    KEY = ["jobs"]  # E: assignment


class WithText(Queue[str]):
    EXPIRE = "60"  # E: assignment


class WithTextReuse(Queue[str]):
    CONNECTION_REUSE = "no"  # E: assignment


class WithOtherPush(Queue[str]):
    def push(self, item: int) -> int:  # E: override pyrefly=bad-override,missing-override-decorator
        return item


class WithOtherSize(Pool[str]):
    def members(self) -> set[str]:  # E: override pyrefly=bad-override,missing-override-decorator
        return set()


class Visitors(Counter[int]):
    KEY = "visitors"


Visitors.KEY = 5.5  # E: assignment pyright=reportAttributeAccessIssue
Visitors().KEY = "others"  # E: attribute mypy=misc ty=invalid-attribute-access pyrefly=read-only
Visitors().key = None  # E: assignment mypy=assignment,misc pyright=reportAttributeAccessIssue pyrefly=read-only
