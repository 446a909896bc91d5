from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping
from ssl import SSLContext

from hiredis import Reader
from redis.driver_info import DriverInfo

from redisext.command import Argument, Reply

class _Parser:
    _reader: Reader | None

class AbstractConnection:
    _parser: _Parser
    _reader: StreamReader | None
    _writer: StreamWriter | None
    def __init__(self, **kwargs: str | float | DriverInfo | None) -> None: ...
    async def connect(self) -> None: ...
    async def send_command(self, *args: Argument) -> None: ...
    async def read_response(self) -> Reply: ...
    async def disconnect(self, nowait: bool = ...) -> None: ...

class Connection(AbstractConnection):
    host: str
    port: int
    def _connection_arguments(self) -> Mapping[str, str | int | SSLContext]: ...

class SSLConnection(Connection): ...
class UnixDomainSocketConnection(AbstractConnection): ...

class ConnectionPool:
    def make_connection(self) -> AbstractConnection: ...
    async def disconnect(self) -> None: ...

class BlockingConnectionPool(ConnectionPool):
    def __init__(
        self,
        max_connections: int = ...,
        timeout: float | None = ...,
        connection_class: type[AbstractConnection] = ...,
        **connection_kwargs: str | float | DriverInfo | None,
    ) -> None: ...
