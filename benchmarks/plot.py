"""The plot in docs/performance.svg: each client's time by redis-py's, one line for each operation."""
# matplotlib does not say of what type its further arguments are.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.results import Results, Row, quartiles
from benchmarks.targets import OWN

COLOURS: Final = {
    "Redisext": "#c1121f",
    "Redisext, asyncio": "#c1121f",
    "Redisext, embedded": "#f4a261",
    "Redisext, exactly once": "#e9c46a",
    "bare socket": "#111111",
    "redis-py, json": "#1d4e89",
    "redis-py, pickle": "#5fa8d3",
    "redis-py, pydantic": "#a9d6e5",
    "Redisext 2.0.2": "#9d4edd",
    "pottery": "#2a9d8f",
    "redis-collections": "#588157",
    "redis-om": "#8d5524",
    "redis-om, asyncio": "#8d5524",
    "walrus": "#ff7f9f",
    "valkey-glide": "#6c757d",
}


def draw(results: Results, path: Path) -> None:
    rows = [row for row in results.rows if row.payload in {"int", "model"} and row.client in COLOURS]
    whats = list(dict.fromkeys(row.what for row in rows if keep(row)))
    figure = Figure(figsize=(11, 0.42 * len(whats) + 1.8), layout="constrained")
    axes = figure.add_subplot()
    for client, colour in COLOURS.items():
        its = [row for row in rows if row.client == client and row.what in whats]
        if its:
            medians = [quartiles(row.wall)[1] for row in its]
            places = [whats.index(row.what) for row in its]
            size = 70 if client in OWN else 38
            axes.scatter(
                medians, places, s=size, c=colour, marker="D" if client in OWN else "o", label=client, zorder=3
            )
            for row, place in zip(its, places, strict=True):
                low, _, high = quartiles(row.wall)
                axes.plot([low, high], [place, place], color=colour, linewidth=1.2, zorder=2)
    axes.axvline(1, color="#666666", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.set_xticks([0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32], ["1/8", "1/4", "1/2", "1", "2", "4", "8", "16", "32"])
    axes.set_yticks(range(len(whats)), whats)
    axes.invert_yaxis()
    axes.grid(axis="both", color="#e5e5e5", zorder=0)
    axes.set_xlabel("wall time by that of redis-py (redis.asyncio) on ready-made bytes; to the left is faster")
    figure.legend(loc="outside upper center", ncols=5, frameon=False, fontsize="small")
    # The same figures give the same file.
    with mpl.rc_context({"svg.hashsalt": "redisext", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


def keep(row: Row) -> bool:
    """Of the operations on one value, those on the small model stand for all."""
    return row.payload == "model" or "increment" in row.operation
