"""The environments, and their processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.servers import RedisServer

ROOT: Final = Path(__file__).parent.parent
CONTROLS: Final = "benchmarks.clients.redis_py"

# The bench comes last, so that Redisext 2.0.2 is not taken for the one here.
_RUN: Final = "import sys; sys.path.append({root!r}); from benchmarks.{module} import main; main(*sys.argv[1:])"


class Broken(Exception):
    """An environment is not there, or its process ended."""


class Environment:
    """One environment, with its clients, and a process in it that measures them."""

    def __init__(self, name: str, python: Path, modules: list[str], server: RedisServer) -> None:
        self.name = name
        self._python = python
        self._server = server
        if not python.exists():
            raise Broken(f"there is no {python.relative_to(ROOT)}: make neighbours")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with all else
        self._process = subprocess.Popen(
            self._command("worker", CONTROLS, *modules),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_environ(),
            text=True,
        )
        self.about: dict[str, Any] = self.ask("about")
        self.clients: dict[str, dict[str, str]] = self.about["clients"]

    def ask(self, what: str, **arguments: object) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        try:
            print(json.dumps([what, arguments]), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._broken() from None
        answer = self._process.stdout.readline()
        if not answer:
            raise self._broken()
        return json.loads(answer)

    def fresh(self, what: str, *arguments: str) -> dict[str, float]:
        """What a process that has just begun tells."""
        done = subprocess.run(
            self._command("fresh", what, *arguments), env=_environ(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Broken(_last_line(done.stderr))
        figures: dict[str, float] = json.loads(done.stdout)
        return figures

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._errors.close()

    def _command(self, module: str, *arguments: str) -> list[str]:
        run = _RUN.format(root=str(ROOT), module=module)
        return [str(self._python), "-P", "-c", run, self._server.host, str(self._server.port), *arguments]

    def _broken(self) -> Broken:
        self._process.wait(timeout=10)
        self._errors.seek(0)
        return Broken(_last_line(self._errors.read().decode()))


def here(server: RedisServer) -> Environment:
    """The one that this process runs in."""
    modules = [f"benchmarks.clients.{path.stem}" for path in sorted(ROOT.glob("benchmarks/clients/*.py"))]
    modules.remove(CONTROLS)
    return Environment("bench", Path(sys.executable), modules, server)


def neighbours(server: RedisServer) -> tuple[list[Environment], dict[str, str]]:
    """Those of the neighbours, and why others are not there."""
    found: list[Environment] = []
    missing: dict[str, str] = {}
    for path in sorted(ROOT.glob("benchmarks/neighbours/*.py")):
        folder = ROOT / ".venv" / f"bench-{path.stem}"
        log = folder / "not-installed"
        try:
            if log.exists():
                raise Broken(f"could not be installed: {_last_line(log.read_text())}")
            environment = Environment(
                path.stem, folder / "bin" / "python", [f"benchmarks.neighbours.{path.stem}"], server
            )
        except Broken as error:
            missing[path.stem] = str(error)
        else:
            found.append(environment)
    return found, missing


def _environ() -> dict[str, str]:
    """This process's, but that what was imported once is kept compiled: else each import would compile it again."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "it ended without a word")
