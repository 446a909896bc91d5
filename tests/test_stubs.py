"""The narrow stubs in typings/ say nothing that the installed libraries do not hold to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

# The environments of other interpreters and of the lowest versions have no checkers.
pytest.importorskip("mypy")

ROOT = Path(__file__).parent.parent
PACKAGES = sorted(folder.name for folder in (ROOT / "typings").iterdir())

# A narrow stub leaves out what is not used here, and has `**kwargs` for settings that the library names one by one. All
# else that stubtest finds is wrong.
LEFT_OUT = re.compile(
    r"is inconsistent, (stub does not have (\*\*?\w+ )?parameter|metaclass differs|runtime .* is not keyword-only"
    r"|runtime does not have \*\*kwargs parameter)"
)


def findings(typings: Path) -> list[str]:
    """What mypy's stubtest has to say of *typings* against the libraries installed."""
    found = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "--concise", "--ignore-missing-stub", *PACKAGES],
        env={**os.environ, "MYPYPATH": f"{typings}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not found.stderr, found.stderr
    return [line for line in found.stdout.splitlines() if LEFT_OUT.search(line) is None]


def test_the_stubs_agree_with_the_installed_libraries() -> None:
    assert PACKAGES == ["fakeredis", "redis"]
    assert findings(ROOT / "typings") == []


def test_a_stub_that_names_what_is_not_there_is_found(tmp_path: Path) -> None:
    for module in (ROOT / "typings").rglob("*.pyi"):
        copy = tmp_path / module.relative_to(ROOT / "typings")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(module.read_text().replace("def release(self, connection:", "def release(self, returned:"))
    assert [finding.partition(",")[0] for finding in findings(tmp_path)] == [
        "redis.connection.ConnectionPool.release is inconsistent",
    ]
