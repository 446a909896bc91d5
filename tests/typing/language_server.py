"""A client of a language server, as small as one can be: it shows a document, and asks about a place in it.

https://microsoft.github.io/language-server-protocol/specifications/lsp/3.17/specification/
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

__all__ = ["CURSOR", "LanguageServer", "Place", "Value"]

Value: TypeAlias = "bool | int | str | list[Value] | dict[str, Value] | None"

CURSOR = "<cursor>"
"""Where in a document the question is about."""


class Place:
    """The lines from `line` on (from 0) of the file at `path`."""

    def __init__(self, uri: str, line: int) -> None:
        self.path = Path(uri.removeprefix("file://"))
        self.line = line

    def __repr__(self) -> str:
        return f"{self.path}:{self.line + 1}"

    @property
    def text(self) -> str:
        """What stands on that line."""
        return self.path.read_text().splitlines()[self.line].strip()


class LanguageServer:
    """A language server for the project in `root`: `with LanguageServer(command, root) as server: ...`.

    `settings` is what an editor would have in its settings. A server that does not answer within `patience` seconds is
    ended, and the question fails.
    """

    def __init__(
        self, command: Sequence[str], root: Path, settings: Mapping[str, Value] | None = None, patience: float = 60
    ) -> None:
        self._root = root
        self._settings = dict(settings or {})
        self._patience = patience
        self._ids = count(1)
        self._documents = count(1)
        # In a group of its own: a launcher and the server it has launched end together.
        self._process = subprocess.Popen(
            command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def __enter__(self) -> Self:
        folder: Value = {"uri": self._root.as_uri(), "name": self._root.name}
        text: Value = {
            "hover": {"contentFormat": ["markdown"]},
            "completion": {"completionItem": {"documentationFormat": ["markdown"]}},
            "signatureHelp": {"signatureInformation": {"documentationFormat": ["markdown"]}},
        }
        self._ask(
            "initialize",
            {
                "processId": None,
                "rootUri": self._root.as_uri(),
                "workspaceFolders": [folder],
                "capabilities": {
                    "textDocument": text,
                    "workspace": {"configuration": True, "workspaceFolders": True},
                },
            },
        )
        self._tell("initialized", {})
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        with self._process:
            self._end()

    def completions(self, text: str) -> list[str]:
        """What can stand at the cursor, in the order in which an editor shows it."""
        answer = self._about("textDocument/completion", text)
        items = answer["items"] if isinstance(answer, dict) else answer
        assert isinstance(items, list)
        found: list[tuple[str, str]] = []
        for item in items:
            assert isinstance(item, dict)
            found.append((str(item.get("sortText", item["label"])), str(item["label"])))
        return [label for _, label in sorted(found)]

    def hover(self, text: str) -> str:
        """What is shown over the word at the cursor, in Markdown."""
        match self._about("textDocument/hover", text):
            case {"contents": {"value": str(value)}}:
                return value
            case other:
                raise AssertionError(other)

    def signatures(self, text: str) -> list[tuple[str, str]]:
        """Each way to call what the cursor is in the brackets of: the signature, and its documentation."""
        found: list[tuple[str, str]] = []
        match self._about("textDocument/signatureHelp", text):
            case {"signatures": [*signatures]}:
                for one in signatures:
                    match one:
                        case {"label": str(label), "documentation": {"value": str(documentation)}}:
                            found.append((label, documentation))
                        case {"label": str(label)}:
                            found.append((label, ""))
                        case other:
                            raise AssertionError(other)
            case other:
                raise AssertionError(other)
        return found

    def definitions(self, text: str) -> list[Place]:
        """Where the name at the cursor is defined."""
        found: list[Place] = []
        answer = self._about("textDocument/definition", text)
        for one in answer if isinstance(answer, list) else [answer]:
            match one:
                case {"uri": str(uri), "range": {"start": {"line": int(line)}}}:
                    found.append(Place(uri, line))
                case other:
                    raise AssertionError(other)
        return found

    def _about(self, question: str, text: str) -> Value:
        """Ask about the place of `CURSOR` in a new document."""
        before, found, after = text.partition(CURSOR)
        assert found, f"no {CURSOR} in the document"
        document: dict[str, Value] = {"uri": (self._root / f"document_{next(self._documents)}.py").as_uri()}
        self._tell(
            "textDocument/didOpen",
            {"textDocument": {**document, "languageId": "python", "version": 1, "text": before + after}},
        )
        lines = before.split("\n")
        position: Value = {"line": len(lines) - 1, "character": len(lines[-1])}
        answer = self._ask(question, {"textDocument": document, "position": position})
        self._tell("textDocument/didClose", {"textDocument": document})
        return answer

    def _ask(self, method: str, parameters: Value) -> Value:
        number = next(self._ids)
        watchdog = threading.Timer(self._patience, self._end)
        watchdog.start()
        try:
            self._send({"id": number, "method": method, "params": parameters})
            while True:
                match self._receive():
                    case {"id": answered, "result": result} if answered == number:
                        return result
                    case {"id": answered, "error": error} if answered == number:
                        raise RuntimeError(f"{method}: {error}")
                    case {"id": asked, "method": "workspace/configuration", "params": {"items": [*items]}}:
                        self._send({"id": asked, "result": [self._setting(item) for item in items]})
                    case {"id": asked, "method": _}:
                        self._send({"id": asked, "result": None})
                    case _:
                        pass  # what it only tells: progress, diagnostics, its log
        finally:
            watchdog.cancel()

    def _end(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)

    def _setting(self, item: Value) -> Value:
        match item:
            case {"section": str(section)}:
                return self._settings.get(section)
            case _:
                return None

    def _tell(self, method: str, parameters: Value) -> None:
        self._send({"method": method, "params": parameters})

    def _send(self, message: dict[str, Value]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self._process.stdin.flush()

    def _receive(self) -> Value:
        stdout = self._process.stdout
        assert stdout is not None
        length = 0
        while (line := stdout.readline()) != b"\r\n":
            if not line:
                raise ConnectionError(f"the language server ended, or was silent for {self._patience} s")
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        message: Value = json.loads(stdout.read(length))
        return message
