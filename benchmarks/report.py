"""The tables: for a terminal, and for docs/performance.md, where they stand between two markers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from benchmarks.operations import OPERATIONS, How
from benchmarks.results import Quartiles, Results, Row, quartiles
from benchmarks.targets import Target, targets

BEGIN: Final = "<!-- written by `make bench` -->"
END: Final = "<!-- until here -->"


def text(results: Results) -> Iterator[str]:
    """All of it, a line for each client in each case."""
    yield f"{'time by that of the control':<42}{'':<36}{'wall':>6}  {'(quartiles)':<17}{'CPU':>6}{'one, us':>11}"
    for what, rows in by_case(results):
        yield what
        for row in rows:
            low, middle, high = quartiles(row.wall)
            part = f"   measured on {row.share:.0%} of it" if row.share < 1 else ""
            yield (
                f"{'':<42}{row.client:<36}{middle:>6.2f}  {f'({low:.2f} to {high:.2f})':<17}"
                f"{quartiles(row.cpu)[1]:>6.2f}{row.microseconds:>11.1f}{part}"
            )
    for figure in results.figures:
        low, middle, high = quartiles(figure.values)
        yield f"{figure.what:<54}{figure.client:<24}{middle:>6.1f} {figure.unit} ({low:.1f} to {high:.1f})"
    yield ""
    yield f"{'to reach':<74}{'beside':<22}{'wanted':>8}{'measured':>10}  {'(quartiles)':<18}"
    for target in shown(results):
        yield f"{target.what:<74}{target.beside:<22}{wanted(target):>8}{measured(target):<32}{verdict(target)}"
    for name, why in results.not_run.items():
        yield f"not run: {name}: {why}"


def shown(results: Results) -> Iterator[Target]:
    return (target for target in targets(results) if target.measured or results.whole)


def markdown(results: Results) -> Iterator[str]:
    yield f"Python {results.python}, {results.server}, redis-py {results.redis_py['bench']}, {results.rounds} rounds"
    yield f"in {results.seconds / 60:.0f} minutes, on two processors shared with others.{results.note}"
    yield ""
    yield "### To reach"
    yield ""
    yield from table(
        ["what", "beside", "at most", "measured (quartiles)", ""],
        (
            [target.what, target.beside, wanted(target), measured(target).strip(), verdict(target)]
            for target in shown(results)
        ),
    )
    yield ""
    for title, awaits in (("One after the other, in batches and in threads", False), ("Under asyncio", True)):
        rows = [row for row in results.rows if how(row).awaits is awaits]
        if not rows:
            continue
        control = "redis.asyncio" if awaits else "redis-py"
        clients = [row.client for row in rows if row.client != control and not is_control_elsewhere(row)]
        clients = list(dict.fromkeys(clients))
        yield f"### {title}"
        yield ""
        yield f"Wall time by that of {control} on ready-made bytes, median and quartiles."
        yield ""
        yield from table(
            ["", f"{control}, µs", *clients],
            (wall_line(what, its, control, clients) for what, its in by_case(results, awaits)),
        )
        yield ""
        yield f"CPU time of the client's process by that of {control}, median."
        yield ""
        yield from table(["", *clients], (cpu_line(what, its, clients) for what, its in by_case(results, awaits)))
        yield ""
    yield "### redis-py in the neighbours' environments"
    yield ""
    yield "By the control, the median of all cases: how much of a neighbour's time is its redis-py."
    yield ""
    elsewhere = list(dict.fromkeys(row.client for row in results.rows if is_control_elsewhere(row)))
    yield from table(["", "wall", "CPU"], (elsewhere_line(results, client) for client in elsewhere))
    yield ""
    yield "### In a fresh process"
    yield ""
    yield from table(
        ["", "client", "median (quartiles)"],
        ([figure.what, figure.client, spread(quartiles(figure.values), figure.unit)] for figure in results.figures),
    )
    if results.not_run:
        yield ""
        yield "### Not run"
        yield ""
        yield from table(["client", "why"], ([name, escaped(why)] for name, why in results.not_run.items()))


def is_control_elsewhere(row: Row) -> bool:
    return row.client.startswith(("redis-py ", "redis.asyncio "))


def elsewhere_line(results: Results, client: str) -> list[str]:
    rows = [row for row in results.rows if row.client == client]
    walls, cpus = ([quartiles(times)[1] for times in its] for its in ([r.wall for r in rows], [r.cpu for r in rows]))
    return [client, f"{quartiles(walls)[1]:.2f}", f"{quartiles(cpus)[1]:.2f}"]


def wall_line(what: str, rows: list[Row], control: str, clients: list[str]) -> list[str]:
    by_client = {row.client: row for row in rows}
    alone = f"{by_client[control].microseconds:.1f}" if control in by_client else ""
    return [what, alone, *(wall_cell(by_client.get(client)) for client in clients)]


def cpu_line(what: str, rows: list[Row], clients: list[str]) -> list[str]:
    by_client = {row.client: row for row in rows}
    return [what, *(f"{quartiles(by_client[one].cpu)[1]:.2f}" if one in by_client else "" for one in clients)]


def wall_cell(row: Row | None) -> str:
    if row is None:
        return ""
    low, middle, high = quartiles(row.wall)
    about = "~" if row.share < 1 else ""
    return f"{about}**{middle:.2f}** ({low:.2f} to {high:.2f})"


def table(heads: list[str], lines: Iterable[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for cells in lines:
        yield f"| {' | '.join(cells)} |"


def wanted(target: Target) -> str:
    return "" if target.wanted is None else number(target.wanted, target.unit)


def measured(target: Target) -> str:
    return "" if target.measured is None else f" {spread(target.measured, target.unit)}"


def verdict(target: Target) -> str:
    return {True: "", False: "MISSED", None: "" if target.measured else "not measured"}[target.met]


def spread(values: Quartiles, unit: str) -> str:
    low, middle, high = values
    if low == middle == high:
        return number(middle, unit)
    return f"{number(middle, unit)} ({number(low, unit)} to {number(high, unit)})"


def number(value: float, unit: str) -> str:
    match unit:
        case "x":
            return f"{value:.2f}"
        case "":
            return f"{value:.0f} slower"
        case _:
            return f"{value:.1f} {unit}"


def by_case(results: Results, awaits: bool | None = None) -> Iterator[tuple[str, list[Row]]]:
    for operation in OPERATIONS:
        if awaits is not None and operation.how.awaits is not awaits:
            continue
        for payload in operation.payloads:
            rows = [row for row in results.rows if (row.operation, row.payload) == (operation.title, payload)]
            if rows:
                yield f"{operation.title} ({payload})", rows


def how(row: Row) -> How:
    return next(one.how for one in OPERATIONS if one.title == row.operation)


def escaped(words: str) -> str:
    return re.sub(r"([|<>*_`])", r"\\\1", words)


def renew(document: Path, results: Results) -> None:
    """Put the tables of *results* between the markers in *document*."""
    before, _, rest = document.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    tables = "\n".join(markdown(results))
    document.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}")
