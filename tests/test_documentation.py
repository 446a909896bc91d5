"""What the documentation shows is what happens."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest

import redisext

ROOT = Path(__file__).parent.parent
MODULES = [
    "redisext",
    *(found.name for found in pkgutil.walk_packages(redisext.__path__, "redisext.")),
]


@pytest.fixture(autouse=True)
def an_empty_store() -> None:
    """The examples share the stores on these names, and begin with nothing in them."""
    for name in ("docs", "docs-async", "readme"):
        with redisext.connect(f"memory://{name}") as db:
            db.client.flushall()


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_give_what_they_show(name: str) -> None:
    module: ModuleType = importlib.import_module(name)
    results = doctest.testmod(module)
    assert not results.failed


def test_the_structures_all_show_an_example() -> None:
    shown = {example.name.rpartition(".")[2] for name in MODULES for example in _examples(name)}
    structures = {"Counter", "Map", "HashMap", "Pool", "SortedSet", "Queue", "Stack", "PriorityQueue", "Lock"}
    assert structures <= shown
    assert {f"Async{structure}" for structure in structures} <= shown


def _examples(name: str) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder().find(importlib.import_module(name))
    return [test for test in found if test.examples]


def test_the_readme_gives_what_it_shows() -> None:
    results = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert results.attempted > 10
    assert not results.failed


def test_the_readme_names_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    assert re.search(r"^make demo", readme, re.MULTILINE)
    assert re.search(r"^make test", readme, re.MULTILINE)
