"""What type checkers say of programs that use Redisext: nothing where they are right, and what is wrong where not.

Each checker runs once, over all of `must_pass*.py` and of `must_fail/`, set up as the project's own files say.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Final, NamedTuple

import pytest

import redisext
from redisext import AsyncBackend, Backend

FOLDER: Final = Path(__file__).parent
ROOT: Final = FOLDER.parent.parent
PACKAGE: Final = ROOT / "redisext"
MUST_PASS: Final = sorted(FOLDER.glob("must_pass*.py"))
MUST_FAIL: Final = sorted((FOLDER / "must_fail").glob("*.py"))

FINDINGS: Final = {
    "argument": "mypy=arg-type pyright=reportArgumentType ty=invalid-argument-type pyrefly=bad-argument-type",
    "assignment": "mypy=assignment pyright=reportAssignmentType ty=invalid-assignment pyrefly=bad-assignment",
    "attribute": "mypy=attr-defined pyright=reportAttributeAccessIssue ty=missing-attribute pyrefly=missing-attribute",
    "comparison": "mypy=comparison-overlap pyright=reportUnnecessaryComparison ty=nothing pyrefly=nothing",
    "context-manager": (
        "mypy=attr-defined pyright=reportGeneralTypeIssues ty=invalid-context-manager pyrefly=bad-context-manager"
    ),
    "index": "mypy=index pyright=reportIndexIssue ty=not-subscriptable pyrefly=bad-index",
    "missing-argument": "mypy=call-arg pyright=reportCallIssue ty=missing-argument pyrefly=missing-argument",
    "none": "mypy=union-attr pyright=reportOptionalMemberAccess ty=missing-union-attribute pyrefly=missing-attribute",
    "not-a-number": "mypy=misc pyright=reportAttributeAccessIssue ty=no-matching-overload pyrefly=no-matching-overload",
    "not-awaitable": "mypy=misc pyright=reportGeneralTypeIssues ty=invalid-await pyrefly=not-async",
    "not-awaited": ("mypy=unused-coroutine pyright=reportUnusedCoroutine ty=unused-awaitable pyrefly=unused-coroutine"),
    "not-iterable": "mypy=attr-defined pyright=reportGeneralTypeIssues ty=not-iterable pyrefly=not-iterable",
    "operator": "mypy=operator pyright=reportOperatorIssue ty=unsupported-operator pyrefly=unsupported-operation",
    "overload": "mypy=call-overload pyright=reportCallIssue ty=no-matching-overload pyrefly=no-matching-overload",
    "override": (
        "mypy=override pyright=reportIncompatibleMethodOverride ty=incompatible-method-override pyrefly=bad-override"
    ),
    "type-argument": (
        "mypy=type-var pyright=reportInvalidTypeArguments ty=invalid-type-arguments pyrefly=bad-specialization"
    ),
    "unwanted-argument": (
        "mypy=call-arg pyright=reportCallIssue ty=too-many-positional-arguments pyrefly=bad-argument-count"
    ),
}
"""What a mark can say (`# E: argument`), in the words of each checker."""


class Finding(NamedTuple):
    """`where` is a line of a file in this folder."""

    where: str
    code: str
    message: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.code} {self.message}"


class TestCheckers:
    def test_all_that_must_pass_does(self, checker: str, found: list[Finding]) -> None:
        compare(checker, MUST_PASS, found)

    def test_all_that_must_fail_does_and_nothing_else(self, checker: str, found: list[Finding]) -> None:
        compare(checker, MUST_FAIL, found)


def examples(parameter: str) -> list[FunctionType]:
    """The functions in what must pass that ask for a backend by this name."""
    modules = [importlib.import_module(f"tests.typing.{file.stem}") for file in MUST_PASS]
    return [
        function
        for module in modules
        for _, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and list(inspect.signature(function).parameters) == [parameter]
    ]


def name_of(example: FunctionType) -> str:
    return f"{example.__module__.removeprefix('tests.typing.')}.{example.__name__}"


class TestWhatPasses:
    """Each example, on a store of its own."""

    @pytest.mark.parametrize("example", examples("db"), ids=name_of)
    def test_it_also_runs(self, example: Callable[[Backend], None]) -> None:
        with redisext.connect(f"memory://{example.__module__}-{example.__name__}") as db:
            example(db)

    @pytest.mark.parametrize("example", examples("adb"), ids=name_of)
    def test_it_also_runs_in_an_event_loop(self, example: Callable[[AsyncBackend], Awaitable[None]]) -> None:
        async def main() -> None:
            async with redisext.aconnect(f"memory://{example.__module__}-{example.__name__}") as adb:
                await example(adb)

        asyncio.run(main())


class TestPublicNames:
    def test_every_type_is_known(self) -> None:
        """As pyright judges a package for those who use it without its source."""
        pytest.importorskip("pyright")
        report = json.loads(pyright("--verifytypes", "redisext", "--ignoreexternal", "--outputjson"))
        unknown = [symbol for symbol in report["typeCompleteness"]["symbols"] if not symbol["isTypeKnown"]]
        assert unknown == []
        assert report["typeCompleteness"]["completenessScore"] == 1

    def test_none_is_any(self) -> None:
        found = [
            f"{module.relative_to(ROOT)}:{annotation.lineno}: {name}: {ast.unparse(annotation)}"
            for module in sorted(PACKAGE.rglob("*.py"))
            for name, annotation in signatures(ast.parse(module.read_text()))
            if re.search(r"\bAny\b", ast.unparse(annotation))
        ]
        assert found == []


# --- Marks


def compare(checker: str, files: list[Path], found: list[Finding]) -> None:
    """Fail if *checker* found anything in *files* that is not marked there, or did not find what is."""
    names = [str(file.relative_to(FOLDER)) for file in files]
    seen = {finding[:2]: finding for finding in found if finding.where.rpartition(":")[0] in names}
    marked = {finding[:2]: finding for file in files for finding in marks(file, checker)}
    unexpected = [f"found, not marked: {seen[one]}" for one in seen if one not in marked]
    missing = [f"marked, not found: {marked[one]}" for one in marked if one not in seen]
    if unexpected or missing:
        pytest.fail("\n".join((f"{checker}:", *unexpected, *missing)))


def marks(file: Path, checker: str) -> Iterator[Finding]:
    """What *checker* is to find in *file*."""
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        if mark := re.search(r"  # E: (.+)", line):
            words = mark[1].split()
            if words[0] in FINDINGS:
                words[:1] = FINDINGS[words[0]].split()
            codes = dict(word.split("=") for word in words)
            for code in codes.get(checker, "nothing").split(","):
                if code != "nothing":
                    yield Finding(f"{file.relative_to(FOLDER)}:{number}", code)


# --- Checkers


def mypy() -> Iterator[Finding]:
    for line in run("-m", "mypy", "--output", "json", *FILES).splitlines():
        one = json.loads(line)
        if one["severity"] == "error":
            yield Finding(where(one["file"], one["line"]), one["code"], one["message"])


def pyright_in_strict_mode() -> Iterator[Finding]:
    for one in json.loads(pyright("--project", str(FOLDER), "--outputjson"))["generalDiagnostics"]:
        yield Finding(where(one["file"], one["range"]["start"]["line"] + 1), one.get("rule", ""), one["message"])


def ty() -> Iterator[Finding]:
    for one in json.loads(run("-m", "ty", "check", "--python", sys.executable, "--output-format", "gitlab", *FILES)):
        place = one["location"]
        yield Finding(where(place["path"], place["positions"]["begin"]["line"]), one["check_name"], one["description"])


def pyrefly() -> Iterator[Finding]:
    options = ["--preset", "strict", "--python-interpreter-path", sys.executable, "--output-format", "json"]
    for one in json.loads(run("-m", "pyrefly", "check", *options, *FILES))["errors"]:
        yield Finding(where(one["path"], one["line"]), one["name"], one["concise_description"])


CHECKERS: Final = {"mypy": mypy, "pyright": pyright_in_strict_mode, "ty": ty, "pyrefly": pyrefly}
FILES: Final = [str(file.relative_to(ROOT)) for file in (*MUST_PASS, *MUST_FAIL)]


@pytest.fixture(scope="module", params=CHECKERS)
def checker(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    pytest.importorskip(name)
    return name


@pytest.fixture(scope="module")
def found(checker: str) -> list[Finding]:
    """All that *checker* finds."""
    return list(CHECKERS[checker]())


def pyright(*arguments: str) -> str:
    # It asks the `python` on PATH where packages are, the one in this checkout too.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return run("-m", "pyright", *arguments, PATH=path, PYTHONPATH=str(ROOT))


def run(*arguments: str, **environment: str) -> str:
    """What a Python program prints when it runs in the project's root."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | environment,
    )
    assert done.stdout, done.stderr
    return done.stdout


def where(path: str, line: int) -> str:
    # Not all lie in this folder: mypy checks on what the examples import.
    return f"{os.path.relpath(ROOT / path, FOLDER)}:{line}"


# --- Signatures


def signatures(tree: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """The annotations that a user can meet, each with the name of what it belongs to."""
    overloaded = {node.name for node in functions(tree) if is_overload(node)}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and is_public(node.name):
            yield from ((f"{node.name}.{name}", annotation) for name, annotation in signatures(node))
        elif isinstance(node, ast.AnnAssign) and is_public(name := ast.unparse(node.target)):
            yield name, node.annotation
    for function in functions(tree):
        name = function.name
        if is_public(name) and (is_overload(function) or name not in overloaded):
            arguments = function.args
            every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
            yield from ((name, one.annotation) for one in every if one and one.annotation)
            if function.returns:
                yield name, function.returns


def functions(tree: ast.Module | ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def is_overload(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(one, ast.Name) and one.id == "overload" for one in function.decorator_list)


def is_public(name: str) -> bool:
    return not name.startswith("_") or name.endswith("__")
